"""The comparison table: what the paper reports, row by row. No other module contains its result numbers.

Takahashi, Takamatsu, Korchev, Fukuma, JACS Au 2023, 3, 1089, doi 10.1021/jacsau.2c00677. Conditions of an experiment
(rates, heights, hop settings) are in the experiment files; here are its results, and how each is read from a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

Verdict = Literal["agrees", "same trend", "disagrees", "not stated", "not modelled"]
Expected = Literal["value", "positive", "negative", "unchanged", "one", "part", "nothing"]

WITHIN: Final = 0.15  # of the paper's number, where its precision is finer
FACTOR: Final = 1.5  # beyond this ratio to the paper's number, either way, the trend is not the same
_CERTAIN: Final = 2.0  # value over u from which on a sign counts
_HALF: Final = 50.0  # [%] a part that is more than half is no longer "a part"


def verdict(
    expected: Expected,
    here: float,
    u: float | None = None,
    paper: float | None = None,
    tolerance: float = 0.0,
    within: float = WITHIN,
) -> Verdict:
    """Judge `here` ± `u` against what the paper reports; all in one unit.

    `expected` says what the paper gives:
      value       a number `paper`: *agrees* within `tolerance` if `u` is smaller than that, *same trend* within a
                  factor of 1.5, else *disagrees*;
      positive, negative   a direction in words: *same trend* when `here` has the sign and is 2 u from zero;
      unchanged   "no change" in words, `here` in % of what could have changed: *same trend* `within` that;
      one         proportion, linearity or a constant level in words, `here` a ratio: *same trend* within 0.15 of 1;
      part        "a part" in words, `here` in %: *same trend* from 2 u above zero to one half;
      nothing     the paper is silent: *not stated*.
    A number without a printed counterpart can reach *same trend* at best. `u` is that of `here`; the paper prints none.
    A value whose u is not known, or as wide as the tolerance, cannot agree: it might as well lie outside.
    """
    if not isfinite(here):
        raise ValueError(f"{here} is not a number: give the reason instead of judging it")
    if expected == "nothing":
        return "not stated"
    if expected == "value":
        if paper is None:
            raise ValueError(f"expected {expected!r} needs the paper's number")
        if u is not None and u < tolerance and abs(here - paper) <= tolerance:
            return "agrees"
        return "same trend" if 1.0 / FACTOR <= here / paper <= FACTOR else "disagrees"
    if expected == "unchanged":
        return "same trend" if abs(here) <= 100.0 * within else "disagrees"
    if expected == "one":
        return "same trend" if abs(here - 1.0) <= WITHIN else "disagrees"
    signed = -here if expected == "negative" else here
    certain = signed > _CERTAIN * (u or 0.0)
    return "same trend" if certain and (expected != "part" or here <= _HALF) else "disagrees"


Kind = Literal["input", "calibrated", "predicted", "by construction"]
_CHARGES: Final = ("lithiation", "delithiation")
# The pipette's current is then the cell current times a resistance that falls with the height above the specimen.
_OF_A_RESISTOR: Final = frozenset(
    {f"E2.{row}" for row in ("swing_10", "swing_100", "swing_1000", "swing_3000", "swing_delithiation")}
    | {"E2.far_over_near", "E2.contrast", "E3.contrast", "E3.swing_slow", "E3.swing_fast"}
    | {f"E4.{row}_{kind}" for row in ("change", "level_10", "level_50", "level_100") for kind in _CHARGES}
    | {"E5.step_over_soc", "E5.rest", "E11.A", "E11.B", "E11.D", "E11.E", "E11.traces"}
)
KINDS: Final[tuple[Kind, ...]] = ("input", "calibrated", "predicted", "by construction")
IDS: Final = tuple(f"E{k}" for k in range(1, 13))


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that the paper reports.

    `id` as `E5.step`; `quantity` and `unit` of both numbers; `expected` and `statement` what the paper reports, as the
    rule of `verdict` and in words; `paper` the printed number, or None, with its `precision`. `kind`:

    - *input*: a parameter of the twin, or one that passes through it unchanged, as the roughness of an image before
      anything has moved: recovering it tests the instrument and not nature;
    - *calibrated*: one parameter was chosen to give it;
    - *predicted*: what physics and the measuring chain made of the rest;
    - *by construction*: the twin could not give anything else, or it repeats another row. It has no verdict.

    `variation` is the range over which the paper's own numbers of one quantity vary, in `unit`. `definition` says how
    the number is read where the paper does not; it was fixed before the result was known, and the evaluation gives what
    other readings would have given. `within` is what still counts as unchanged, where a figure of the paper would show
    less than 15 %. `resistor` says that a plain resistor in place of the bath gives the same words: the row tests the
    sign of Ohm's drop, or that salt does not spoil it, and no more. `not_modelled` says why the twin cannot show this
    at all.
    """

    id: str
    quantity: str
    unit: str
    kind: Kind
    expected: Expected
    statement: str
    paper: float | None = None
    precision: float = 0.0
    variation: float | None = None
    definition: str = ""
    not_modelled: str = ""
    within: float = WITHIN

    @property
    def resistor(self) -> bool:
        """Whether a plain resistor in place of the bath would give what the paper says."""
        return self.id in _OF_A_RESISTOR

    @property
    def experiment(self) -> str:
        """`E5` of `E5.step`."""
        return self.id.partition(".")[0]

    @property
    def tolerance(self) -> float:
        """How near the paper's number counts as agreement [unit].

        The printed precision or 15 %, whichever is larger. For a prediction at most a quarter of the paper's own
        variation, so that no constant agrees with both ends of it, nor with one end and the middle; and where the paper
        gives no variation to measure nearness by, the printed precision alone.
        """
        if self.paper is None:
            return 0.0
        share = WITHIN * abs(self.paper)
        if self.kind == "predicted":
            share = 0.0 if self.variation is None else min(share, 0.25 * self.variation)
        return max(self.precision, share)

    def judge(self, here: float, u: float | None) -> Verdict | None:
        """The verdict on a number of this row; None by construction."""
        if self.kind == "by construction":
            return None
        if self.not_modelled:
            return "not modelled"
        return verdict(self.expected, here, u, self.paper, self.tolerance, self.within)


_P: Final[Kind] = "predicted"
_I: Final[Kind] = "input"
_C: Final[Kind] = "by construction"
_NO: Final = "the text prints no number"
_OPPOSITE: Final = "opposite to the cell current; " + _NO
_LINE: Final = "'linear relationship between the electrolyte concentration and ion current'; " + _NO
_RATE: Final = "'The rate of volume change itself is not important'"
_STEADY: Final = "'had to be in a steady state'; " + _NO
_DRIFT: Final = "'increased or decreased at an almost constant rate'; " + _NO
_THRICE: Final = "'similar volume changes' in n = 3"
_MEMORY: Final = "largest change of the bulk current over ten hops in a row, worst of the sweep"
_AREA: Final = "areal Sq of the image about its mean, not levelled: 'R_q values of … topographic images'"
_E6_RANGE: Final = 1.32 - 1.09  # µm
_E7_RANGE: Final = 1.55 - 1.12
_IN_CELL: Final = "the bath is one layer over the whole specimen and the approach curve that of a flat one"


def _calibration_rows() -> tuple[Row, ...]:
    """E1 over two ranges of salt: the text prints none."""
    rows: list[Row] = []
    for ending, salt in (("", "0.5–1.5 M"), ("_low", "0.25–1.0 M")):
        line = f"R² of a line, current at +0.7 V over outside salt, {salt}"
        slope = f"change of the current at +0.7 V over {salt}, of that at the middle"
        what = f"a line, where it holds (R² above {1.0 - WITHIN:g})"
        rows.append(Row(f"E1.linearity{ending}", line, "1", _P, "one", _LINE))
        rows.append(Row(f"E1.slope{ending}", slope, "%", _P, "positive", _LINE, definition=what))
    return tuple(rows)


def _level_rows() -> tuple[Row, ...]:
    """E4 read as a steady state: the level at 10, 50 and 100 % of the charge, in both directions."""
    return tuple(
        Row(
            f"E4.level_{share}_{kind}",
            f"change of the pipette current at {share} % of the charge over the initial step, {kind}",
            "1",
            _P,
            "one",
            _STEADY,
            definition="mean of 2 % of the rows there, less the rest before; over that of the first ten rows",
        )
        for kind in _CHARGES
        for share in (10, 50, 100)
    )


ROWS: Final[tuple[Row, ...]] = (
    # Figures 2c, d: current against the salt outside.
    *_calibration_rows(),
    # Figures 3a, b: voltammograms with the pipette at four distances.
    Row("E2.swing_10", "pipette current at the lithiation peak less its rest, 10 µm", "nA", _P, "positive", _OPPOSITE),
    Row("E2.swing_100", "the same at 100 µm", "nA", _P, "positive", _OPPOSITE),
    Row("E2.swing_1000", "the same at 1000 µm", "nA", _P, "positive", _OPPOSITE),
    Row("E2.swing_3000", "the same at 3000 µm", "nA", _P, "positive", _OPPOSITE),
    Row(
        "E2.swing_delithiation",
        "pipette current at the delithiation peak less its rest, 10 µm",
        "nA",
        _P,
        "negative",
        _OPPOSITE,
    ),
    Row(
        "E2.far_over_near",
        "change of the swing from 10 to 3000 µm",
        "%",
        _P,
        "negative",
        "'smaller when the … distance increased'",
    ),
    Row("E2.contrast", "correlation of pipette and cell current at 10 µm", "1", _P, "negative", "'contrasting'"),
    Row(
        "E2.cell_current",
        "spread of the cell's peak current over the four distances",
        "%",
        _C,
        "unchanged",
        "'the graphite anode current responses were the same'",
    ),
    # Figure S4: scan rates.
    Row(
        "E3.contrast",
        "correlation of pipette and cell current, least negative of all rates",
        "1",
        _P,
        "negative",
        "'contrasted response' at every rate",
    ),
    Row(
        "E3.swing_slow",
        "pipette current at the lithiation peak less its rest, slowest rate",
        "nA",
        _P,
        "positive",
        _OPPOSITE,
    ),
    Row("E3.swing_fast", "the same, fastest rate", "nA", _P, "positive", _OPPOSITE),
    # Figures 3c, d: constant current. The text can be read in two ways, so there are rows for both.
    Row(
        "E4.change_lithiation",
        "change of the pipette current on charge (lithiation), start of the current included",
        "nA",
        _P,
        "positive",
        "a change in both directions, as the current's sign has it; " + _NO,
    ),
    Row(
        "E4.change_delithiation",
        "the same on discharge (delithiation)",
        "nA",
        _P,
        "negative",
        "a change in both directions, as the current's sign has it; " + _NO,
    ),
    *_level_rows(),
    Row(
        "E4.slope_lithiation",
        "slope of the pipette current on charge (lithiation), second half",
        "pA/min",
        _P,
        "positive",
        _DRIFT,
    ),
    Row("E4.slope_delithiation", "the same on discharge (delithiation)", "pA/min", _P, "negative", _DRIFT),
    Row(
        "E4.constancy",
        "slope of the last third over that of the middle third, lithiation",
        "1",
        _P,
        "one",
        "'almost constant rate regardless of the change in the potential'",
        definition="where both slopes are 3 u from zero",
    ),
    # Figure 3e: titration.
    Row(
        "E5.step",
        "step of the pipette current at the starts and ends of the pulses",
        "nA",
        "calibrated",
        "value",
        "0.35 nA",
        0.35,
        0.005,
    ),
    Row(
        "E5.step_over_soc",
        "range of the step over all pulses, of the step",
        "%",
        _P,
        "unchanged",
        "'constant regardless of the graphite with state of charge'",
    ),
    Row(
        "E5.rest",
        "change of the pipette current within a rest, of the step (median)",
        "%",
        _P,
        "unchanged",
        "'no significant change was observed in the SICM current'",
        within=0.05,  # 18 pA of a step of 0.35 nA: more would show in Figure 3e
    ),
    Row(
        "E5.relaxation",
        "change of the electrode potential within a rest (median size)",
        "mV",
        _P,
        "positive",
        "'a change in graphite potential was observed'",
    ),
    # Figures 4a, b: images at held potentials.
    *(
        Row(f"E6.Rq_{name}", f"Rq at {where}", "µm", kind, "value", f"{paper:.2f} µm", paper, 0.005, _E6_RANGE, _AREA)
        for name, where, kind, paper in (
            ("0.7", "+0.7 V on the way down", _I, 1.27),
            # Above every stage: what the twin shows there is the roughness that it was given.
            ("0.5", "+0.5 V on the way down", _I, 1.30),
            ("0.3", "+0.3 V on the way down", _P, 1.32),
            ("0.1", "+0.1 V on the way down", _P, 1.31),
            ("back_0.2", "+0.2 V on the way back", _P, 1.32),
            ("back_0.4", "+0.4 V on the way back (printed for +0.3 V, which the ladder has not)", _P, 1.09),
        )
    ),
    Row(
        "E6.Rq_back_change",
        "change of Rq from +0.2 to +0.4 V on the way back",
        "µm",
        _P,
        "value",
        "1.32 to 1.09 µm",
        1.09 - 1.32,
        0.007,
        definition=_AREA,
    ),
    Row("E6.flakes", "size of the flakes, diameter of equal area, median", "µm", _I, "value", "3–4 µm", 3.5, 0.5),
    Row(
        "E6.no_change",
        "mean height change from 1.7 to 0.9 V, of that from 0.9 to 0.1 V",
        "%",
        _P,
        "unchanged",
        "'could not observe clear topographic changes'",
    ),
    Row("E6.expansion", "mean height change from 0.9 to 0.1 V", "nm", _P, "positive", "volume expansion; " + _NO),
    Row(
        "E6.shrinkage",
        "mean height change from 0.2 to 1.6 V on the way back",
        "nm",
        _P,
        "negative",
        "shrinkage; " + _NO,
    ),
    Row(
        "E6.event",
        "image whose structure changes most beyond even swelling, counted from the turn at +0.1 V",
        "1",
        _I,
        "value",
        "'the structural change was observed in the image of 0.2 V', the first after the turn",
        1.0,
        0.1,
    ),
    # Figures 4c, d: images at open circuit.
    *(
        Row(f"E7.Rq_{name}", f"Rq at {where}", "µm", kind, "value", f"{paper:.2f} µm", paper, 0.005, _E7_RANGE, _AREA)
        for name, where, kind, paper in (
            ("before", "SOC 0 %", _I, 1.40),
            ("charged", "SOC 100 %", _P, 1.55),
            ("after", "SOC 0 % again", _P, 1.12),
        )
    ),
    *(
        Row(f"E7.Rq_{name}", f"change of Rq on {how}", "µm", _P, "value", words, paper, 0.007, definition=_AREA)
        for name, how, words, paper in (
            ("charge", "charge (lithiation)", "1.40 to 1.55 µm", 1.55 - 1.40),
            ("discharge", "discharge (delithiation)", "1.55 to 1.12 µm", 1.12 - 1.55),
        )
    ),
    Row("E7.expansion", "mean height change on charge (lithiation)", "nm", _P, "positive", "expansion; " + _NO),
    Row(
        "E7.reversible",
        "mean height change on discharge (delithiation)",
        "nm",
        _P,
        "negative",
        "'some structural changes returned to their original state'; " + _NO,
    ),
    Row(
        "E7.irreversible",
        "area of the image whose height did not come back",
        "%",
        _P,
        "part",
        "'a part of the structure did not'; " + _NO,
        definition="pixels that end more than 10 % of their own swelling from where they began",
    ),
    Row(
        "E7.section",
        "current at the bottom of a section beyond geometry, of the far current",
        "%",
        _P,
        "unchanged",
        "'almost uniform'",
    ),
    # Figure S6.
    Row(
        "E8.step",
        "step edge of HOPG",
        "nm",
        _I,
        "value",
        "10 nm",
        10.0,
        0.5,
        definition="rim of the edge above the mean of both terraces: the text does not say above what",
    ),
    Row(
        "E8.recovered",
        "that height over what the twin was given, above the same mean of both terraces",
        "1",
        _I,
        "nothing",
        "the true height of the paper's edge is not known",
    ),
    # Figures 5a, b: one point during a voltammogram.
    Row(
        "E9.onset",
        "potential at which the height begins to rise, lithiation",
        "V",
        _I,
        "value",
        "'observed from +0.8 V'",
        0.8,
        0.05,
        definition="first bin of potential that has risen by 2 % of the whole change, as a line in a figure shows it",
    ),
    Row(
        "E9.knee",
        "potential at which the slope of the height grows, lithiation",
        "V",
        _P,
        "value",
        "'the slope of the volume expansion was increased by around +0.2 V'",
        0.2,
        0.05,
        definition="last break of a broken line with two breaks, from the top of the sweep to its turn",
    ),
    Row(
        "E9.ratio",
        "expansion to SOC 50 % over that from SOC 50 to 100 %",
        "1",
        _P,
        "value",
        "4.11 % to stage 2 over 1.78 % from stage 2 to 1",
        4.11 / 1.78,
        0.007,
    ),
    # The two halves are two quantities: their difference is no variation of one.
    Row("E9.stage_2", "expansion to SOC 50 %", "%", _P, "value", f"4.11 % to stage 2. {_RATE}", 4.11, 0.005),
    Row("E9.stage_2_height", "height change to SOC 50 %, of the same", "µm", _C, "value", "1.15 µm", 1.15, 0.005),
    Row(
        "E9.stage_1",
        "expansion from SOC 50 to 100 %",
        "%",
        _P,
        "value",
        f"1.78 % from stage 2 to 1. {_RATE}",
        1.78,
        0.005,
    ),
    Row(
        "E9.stage_1_height",
        "height change from SOC 50 to 100 %, of the same",
        "µm",
        _C,
        "value",
        "0.50 µm",
        0.50,
        0.005,
    ),
    Row("E9.total", "expansion, SOC 0 to 100 %", "%", _P, "value", f"5.89 %. {_RATE}", 5.89, 0.005),
    Row("E9.ten_hops", _MEMORY, "%", _P, "value", "'The ion-current change of the process was 0.5%'", 0.5, 0.05),
    Row(
        "E9.ratio_compensated",
        "the same ratio with iR compensation (85 %), which the text does not state",
        "1",
        _P,
        "value",
        "4.11 % to stage 2 over 1.78 % from stage 2 to 1",
        4.11 / 1.78,
        0.007,
    ),
    Row(
        "E9.total_compensated",
        "expansion, SOC 0 to 100 %, with this compensation",
        "%",
        _P,
        "value",
        f"5.89 %. {_RATE}",
        5.89,
        0.005,
    ),
    Row(
        "E9.ten_hops_compensated",
        f"{_MEMORY}, with this compensation",
        "%",
        _P,
        "value",
        "'The ion-current change of the process was 0.5%'",
        0.5,
        0.05,
    ),
    Row(
        "E9.mirror",
        "height lost on delithiation over height gained on lithiation",
        "1",
        _C,
        "one",
        "shrinkage mirrors expansion",
    ),
    Row(
        "E9.repeats",
        "range of the knee's potential over three places of one electrode",
        "mV",
        _I,
        "nothing",
        "'the potential at which this volume change occurs was the same' (n = 3)",
        definition="places differ by how late their plate follows, which the twin was given, and by noise",
    ),
    # Figures 5c-e: one line during a voltammogram.
    Row(
        "E10.kymograph",
        "largest change of the line's mean height",
        "nm",
        _P,
        "positive",
        "'reversible volume change … clearly visualized'; " + _NO,
    ),
    Row(
        "E10.reach",
        "distance within which the current is lower than its mode",
        "nm",
        _P,
        "nothing",
        "250–300 nm, without the threshold that it depends on",
        definition="by 0.1 % of the current",
    ),
    Row("E10.difference", "current at 60–270 nm less the approach's mode", "pA", _P, "negative", "lower current"),
    Row("E10.null", "the same of geometry alone", "pA", _P, "nothing", "not considered in the text"),
    Row(
        "E10.net",
        "the difference less geometry alone",
        "pA",
        _P,
        "negative",
        "read as an electrolyte profile; " + _NO,
        not_modelled=_IN_CELL,
    ),
    Row(
        "E10.hollows",
        "current at 60–270 nm less the mode, in the line's hollows less elsewhere",
        "pA",
        _P,
        "negative",
        "low current around a depressed structure; " + _NO,
        not_modelled=_IN_CELL,
    ),
    Row("E10.hollows_null", "the same of geometry alone", "pA", _P, "nothing", "not considered in the text"),
    Row(
        "E10.repeats",
        "range of the largest change over three repeats on one specimen, of its mean",
        "%",
        _C,
        "unchanged",
        _THRICE,
    ),
    Row("E10.repeats_difference", "the same of the current at 60–270 nm", "%", _C, "unchanged", _THRICE),
    # Figure 6: millimetres.
    Row("E11.A", "current at 0.1 less 2.6 mm, forward before 0.8 V, of the largest", "%", _P, "unchanged", "flat"),
    Row(
        "E11.B",
        "current at 0.1 less 2.6 mm, forward below 0.8 V",
        "nA",
        _P,
        "positive",
        "higher near the sample; " + _NO,
    ),
    Row(
        "E11.C",
        "length of the gradient near the sample in reverse at +0.5 V",
        "mm",
        _P,
        "value",
        "'observed only within 0.4 mm from the sample surface'",
        0.4,
        0.05,
        definition="a line through the heights above 1 mm, an exponential through what departs from it below",
    ),
    *(
        Row(
            f"E11.reversal_{which}",
            f"potential at which the current at 0.1 less 2.6 mm changes sign in reverse, {which} time",
            "V",
            _P,
            "value",
            "'This trend was changed at +0.5 V of the reverse scan'",
            0.5,
            0.05,
            definition=f"the {which} change of sign of single traverses that leaves the noise on both sides",
        )
        for which in ("first", "last")
    ),
    Row(
        "E11.D",
        "current at 0.1 less 2.6 mm at the largest delithiating current",
        "nA",
        _P,
        "negative",
        "lower near the sample; " + _NO,
    ),
    Row(
        "E11.order",
        "time from C (+0.5 V in reverse) to D (largest delithiating current)",
        "min",
        _P,
        "positive",
        "D is described after C; " + _NO,
    ),
    Row("E11.E", "current at 0.1 less 2.6 mm, at the end, of the largest", "%", _P, "unchanged", "'almost uniform'"),
    Row("E11.traces", "swing at 2.6 less swing at 0.1 mm", "nA", _P, "negative", "smaller far away; " + _NO),
    # Figures S2, S3: pipettes.
    Row("E12.spread", "spread of the resistance over pipettes made alike", "%", _I, "nothing", _NO),
    Row("E12.drift", "drift of the current at constant bias", "%/h", _I, "nothing", _NO),
    Row(
        "E12.size",
        "change of the conductance per aperture radius",
        "nS/nm",
        _C,
        "positive",
        "I-V against aperture size; " + _NO,
    ),
)
