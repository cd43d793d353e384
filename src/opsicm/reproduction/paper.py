"""The comparison table: what the paper reports, row by row. No other module contains its result numbers.

Takahashi, Takamatsu, Korchev, Fukuma, JACS Au 2023, 3, 1089, doi 10.1021/jacsau.2c00677. Conditions of an experiment
(rates, heights, hop settings) are in the experiment files; here are its results.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

Verdict = Literal["agrees", "same trend", "disagrees", "not stated"]
Expected = Literal["value", "at most", "positive", "negative", "unchanged", "one", "nothing"]

WITHIN: Final = 0.15  # of the paper's number, where its precision is finer
_CERTAIN: Final = 2.0  # value over u from which on a sign counts


def verdict(
    expected: Expected, here: float, u: float | None = None, paper: float | None = None, precision: float = 0.0
) -> Verdict:
    """Judge `here` ± `u` against what the paper reports; all in one unit.

    `expected` says what the paper gives:
      value       a number `paper`, printed to ± `precision`: *agrees* within the larger of `precision` and 15 % of it,
                  *same trend* farther off with its sign, else *disagrees*;
      at most     an upper bound `paper`: *agrees* up to 15 % above it, else *disagrees*;
      positive, negative   a direction in words: *same trend* when `here` has the sign and is 2 u from zero;
      unchanged   "no change" in words, `here` in % of what could have changed: *same trend* within 15 %;
      one         proportion, linearity or mirror image in words, `here` a ratio: *same trend* within 0.15 of 1;
      nothing     the paper is silent: *not stated*.
    A number without a printed counterpart can reach *same trend* at best. `u` is that of `here`; the paper prints none.
    """
    if not isfinite(here):
        raise ValueError(f"{here} is not a number: give the reason instead of judging it")
    if expected == "nothing":
        return "not stated"
    if expected in ("value", "at most"):
        if paper is None:
            raise ValueError(f"expected {expected!r} needs the paper's number")
        if expected == "at most":
            return "agrees" if here <= paper * (1.0 + WITHIN) else "disagrees"
        if abs(here - paper) <= max(precision, WITHIN * abs(paper)):
            return "agrees"
        return "same trend" if here * paper > 0.0 else "disagrees"
    if expected == "unchanged":
        return "same trend" if abs(here) <= 100.0 * WITHIN else "disagrees"
    if expected == "one":
        return "same trend" if abs(here - 1.0) <= WITHIN else "disagrees"
    signed = here if expected == "positive" else -here
    return "same trend" if signed > _CERTAIN * (u or 0.0) else "disagrees"


Kind = Literal["input", "calibrated", "predicted"]
IDS: Final = tuple(f"E{k}" for k in range(1, 13))


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that the paper reports.

    `id` as `E5.step`; `quantity` and `unit` of both numbers; `kind`: *input* (a parameter of the twin: recovering it
    tests the instrument, not nature), *calibrated* (one parameter was chosen to give it) or *predicted*; `expected` and
    `statement` what the paper reports, as the rule of `verdict` and in words; `paper` the printed number, or None, with
    its `precision`.
    """

    id: str
    quantity: str
    unit: str
    kind: Kind
    expected: Expected
    statement: str
    paper: float | None = None
    precision: float = 0.0

    @property
    def experiment(self) -> str:
        """`E5` of `E5.step`."""
        return self.id.partition(".")[0]


_P: Final = "predicted"
_I: Final = "input"
_NO: Final = "the text prints no number"
LEVELS: Final = {"plane": "after plane", "degree_2": "after total degree 2"}  # as the analysis names them


def _levelled(*rows: Row) -> tuple[Row, ...]:
    """Each row of a raw Rq, and the same after a plane and after total degree 2: the text does not say which it is."""
    statement = "levelling is not stated"
    return tuple(
        one
        for row in rows
        for one in (
            row,
            *(
                Row(f"{row.id}_{level}", f"the same, {words}", row.unit, row.kind, "nothing", statement)
                for level, words in LEVELS.items()
            ),
        )
    )


ROWS: Final[tuple[Row, ...]] = (
    # Figures 2c, d: current against the salt outside.
    Row(
        "E1.linearity",
        "R² of a line, current at +0.7 V over outside salt, κ with a maximum",
        "1",
        _P,
        "one",
        "'linear relationship'; " + _NO,
    ),
    Row("E1.linearity_proportional", "the same, κ ∝ c", "1", _P, "one", "'linear relationship'; " + _NO),
    Row(
        "E1.slope",
        "change of the current at +0.7 V over the range of salt, of its mean, κ with a maximum",
        "%",
        _P,
        "positive",
        "the current follows the salt; " + _NO,
    ),
    Row("E1.slope_proportional", "the same, κ ∝ c", "%", _P, "positive", "the current follows the salt; " + _NO),
    # Figures 3a, b: voltammograms with the pipette at four distances.
    Row(
        "E2.swing_10",
        "pipette current at the lithiation peak less its rest, 10 µm",
        "nA",
        _P,
        "positive",
        "opposite to the cell current; " + _NO,
    ),
    Row("E2.swing_100", "the same at 100 µm", "nA", _P, "positive", "opposite to the cell current; " + _NO),
    Row("E2.swing_1000", "the same at 1000 µm", "nA", _P, "positive", "opposite to the cell current; " + _NO),
    Row("E2.swing_3000", "the same at 3000 µm", "nA", _P, "positive", "opposite to the cell current; " + _NO),
    Row(
        "E2.swing_10_proportional",
        "the same at 10 µm, κ ∝ c",
        "nA",
        _P,
        "positive",
        "opposite to the cell current; " + _NO,
    ),
    Row(
        "E2.swing_delithiation",
        "pipette current at the delithiation peak less its rest, 10 µm",
        "nA",
        _P,
        "negative",
        "opposite to the cell current; " + _NO,
    ),
    Row(
        "E2.far_over_near",
        "change of the swing from 10 to 3000 µm",
        "%",
        _P,
        "negative",
        "'smaller when the distance increased'",
    ),
    Row("E2.contrast", "correlation of pipette and cell current at 10 µm", "1", _P, "negative", "'contrasting'"),
    Row(
        "E2.cell_current",
        "spread of the cell's peak current over the four distances",
        "%",
        _P,
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
        "opposite to the cell current; " + _NO,
    ),
    Row("E3.swing_fast", "the same, fastest rate", "nA", _P, "positive", "opposite to the cell current; " + _NO),
    # Figures 3c, d: constant current.
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
    Row(
        "E4.slope_lithiation",
        "slope of the pipette current on charge (lithiation), second half",
        "pA/min",
        _P,
        "positive",
        "'increased or decreased at an almost constant rate'; " + _NO,
    ),
    Row(
        "E4.slope_delithiation",
        "the same on discharge (delithiation)",
        "pA/min",
        _P,
        "negative",
        "'increased or decreased at an almost constant rate'; " + _NO,
    ),
    Row(
        "E4.constancy",
        "slope of the last third over that of the middle third, lithiation",
        "1",
        _P,
        "one",
        "'almost constant rate regardless of the potential'",
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
        "E5.step_proportional",
        "the same, κ ∝ c, with the same cone",
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
        "'constant regardless of the SOC'",
    ),
    Row(
        "E5.rest",
        "change of the pipette current within a rest, of the step (median)",
        "%",
        _P,
        "unchanged",
        "'no significant change' at rest",
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
    *_levelled(
        Row("E6.Rq_first", "Rq at +0.7 V on the way down, raw", "µm", _I, "value", "1.27 µm", 1.27, 0.005),
        Row("E6.Rq_0.5", "Rq at +0.5 V on the way down, raw", "µm", _P, "value", "1.30 µm", 1.30, 0.005),
        Row("E6.Rq_0.3", "Rq at +0.3 V on the way down, raw", "µm", _P, "value", "1.32 µm", 1.32, 0.005),
        Row("E6.Rq_0.1", "Rq at +0.1 V on the way down, raw", "µm", _P, "value", "1.31 µm", 1.31, 0.005),
        Row("E6.Rq_back_0.2", "Rq at +0.2 V on the way back, raw", "µm", _P, "value", "1.32 µm", 1.32, 0.005),
        Row(
            "E6.Rq_back_0.4",
            "Rq at +0.4 V on the way back, raw (printed for +0.3 V, which the ladder has not)",
            "µm",
            _P,
            "value",
            "1.09 µm",
            1.09,
            0.005,
        ),
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
        "potential at which the structure changes most beyond even swelling",
        "V",
        _I,
        "value",
        "structural change in the image of 0.2 V",
        0.2,
        0.1,
    ),
    # Figures 4c, d: images at open circuit.
    *_levelled(
        Row("E7.Rq_before", "Rq at SOC 0 %, raw", "µm", _I, "value", "1.40 µm", 1.40, 0.005),
        Row("E7.Rq_charged", "Rq at SOC 100 %, raw", "µm", _P, "value", "1.55 µm", 1.55, 0.005),
        Row("E7.Rq_after", "Rq at SOC 0 % again, raw", "µm", _P, "value", "1.12 µm", 1.12, 0.005),
    ),
    Row("E7.expansion", "mean height change on charge (lithiation)", "nm", _P, "positive", "expansion; " + _NO),
    Row(
        "E7.reversible",
        "mean height change on discharge (delithiation)",
        "nm",
        _P,
        "negative",
        "'some structural changes returned'; " + _NO,
    ),
    Row(
        "E7.irreversible",
        "area of the image whose height did not come back within 4 u",
        "%",
        _P,
        "positive",
        "'a part of the structure did not'; " + _NO,
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
    Row("E8.step", "step edge of HOPG", "nm", _I, "value", "10 nm", 10.0, 0.5),
    # Figures 5a, b: one point during a voltammogram.
    Row("E9.onset", "potential at which the height begins to rise, lithiation", "V", _I, "value", "+0.8 V", 0.8, 0.05),
    Row(
        "E9.knee",
        "potential at which the slope of the height grows most, lithiation",
        "V",
        _P,
        "value",
        "'around +0.2 V'",
        0.2,
        0.05,
    ),
    Row("E9.stage_2", "expansion to SOC 50 %", "%", _I, "value", "4.11 % to stage 2", 4.11, 0.005),
    Row("E9.stage_2_height", "height change to SOC 50 %", "µm", _I, "value", "1.15 µm", 1.15, 0.005),
    Row("E9.stage_1", "expansion from SOC 50 to 100 %", "%", _I, "value", "1.78 % from stage 2 to 1", 1.78, 0.005),
    Row("E9.stage_1_height", "height change from SOC 50 to 100 %", "µm", _I, "value", "0.50 µm", 0.50, 0.005),
    Row("E9.total", "expansion, SOC 0 to 100 %", "%", _P, "value", "5.89 %", 5.89, 0.005),
    Row(
        "E9.total_compensated",
        "the same with iR compensation (85 %), which the text does not state",
        "%",
        _P,
        "value",
        "5.89 %",
        5.89,
        0.005,
    ),
    Row(
        "E9.mirror",
        "height lost on delithiation over height gained on lithiation",
        "1",
        _P,
        "one",
        "shrinkage mirrors expansion",
    ),
    Row("E9.ten_hops", "largest change of the bulk current over ten hops", "%", _P, "at most", "0.5 %", 0.5, 0.05),
    Row(
        "E9.repeats",
        "range of the knee's potential over three repeats",
        "mV",
        _P,
        "nothing",
        "'the same' in n = 3; the text prints no spread",
    ),
    # Figures 5c-e: one line during a voltammogram.
    Row(
        "E10.kymograph",
        "largest change of the line's mean height",
        "nm",
        _P,
        "positive",
        "reversible change clearly visualised; " + _NO,
    ),
    Row(
        "E10.reach",
        "distance within which the current is lower than its mode by 0.1 %",
        "nm",
        _P,
        "value",
        "250–300 nm",
        275.0,
        25.0,
    ),
    Row("E10.difference", "current at 60–270 nm less the approach's mode", "pA", _P, "negative", "lower current"),
    Row("E10.null", "the same of geometry alone", "pA", _P, "nothing", "not considered in the text"),
    Row(
        "E10.net", "the difference less geometry alone", "pA", _P, "negative", "read as an electrolyte profile; " + _NO
    ),
    Row(
        "E10.hollows",
        "current at 60–270 nm less the mode, in the line's hollows less elsewhere",
        "pA",
        _P,
        "negative",
        "low current around a depressed structure; " + _NO,
    ),
    Row("E10.hollows_null", "the same of geometry alone", "pA", _P, "nothing", "not considered in the text"),
    Row(
        "E10.repeats",
        "range of the largest change over three repeats on one specimen, of its mean",
        "%",
        _P,
        "unchanged",
        "'similar results' in n = 3",
    ),
    Row(
        "E10.repeats_difference",
        "the same of the current at 60–270 nm",
        "%",
        _P,
        "unchanged",
        "'similar results' in n = 3",
    ),
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
    Row("E11.C", "reach of the gradient in reverse at +0.5 V", "mm", _P, "value", "within 0.4 mm", 0.4, 0.05),
    Row("E11.D", "current at 0.1 less 2.6 mm, reverse", "nA", _P, "negative", "lower near the sample; " + _NO),
    Row("E11.E", "current at 0.1 less 2.6 mm, at the end, of the largest", "%", _P, "unchanged", "'almost uniform'"),
    Row("E11.traces", "swing at 2.6 less swing at 0.1 mm", "nA", _P, "negative", "smaller far away; " + _NO),
    # Figures S2, S3: pipettes.
    Row("E12.spread", "spread of the resistance over pipettes made alike", "%", _I, "nothing", _NO),
    Row("E12.drift", "drift of the current at constant bias", "%/h", _P, "nothing", _NO),
    Row(
        "E12.size",
        "change of the conductance per aperture radius",
        "nS/nm",
        _P,
        "positive",
        "I-V against aperture size; " + _NO,
    ),
)
