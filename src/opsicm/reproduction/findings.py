"""What follows from the comparison table as a whole: rows that exclude one another, and figures that would decide.

Numbers with a row's name come from the runs of the table; the others are computed here from the parameter set, and
the paper's from its rows. So the page changes with the runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from opsicm.core.statistics import straight_line
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set
from opsicm.physics.cell.electrolyte import conductivity_proportional, conductivity_with_maximum
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.pipette.electroosmosis import flow_conductance, sensitivity
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance
from opsicm.physics.pipette.ion_current import Curve, junction_potential
from opsicm.reproduction.paper import ROWS, WITHIN
from opsicm.reproduction.table import ComparedRow
from opsicm.reproduction.variants import CALIBRATED, PROPORTIONAL, DeclaredSet
from opsicm.results.number_text import number

Record = Mapping[str, Any]
_PAPER: Final = {row.id: row.paper for row in ROWS if row.paper is not None}
_BIAS: Final = 0.7  # [V] of the pipette in E5, and where the current of E1 is read
_PULSE: Final = 8.0  # [A/m²] of the pulses of E5
_WANDER: Final = 500e-6  # [1] rms within a minute, of a pipette that was measured and of the twin's
_RADIUS: Final = 50e-9  # [m] of the paper's aperture
_CONES: Final = (3.0, 4.0, 6.0, 9.0, 12.0)  # [°]
_MAXIMA: Final = (600.0, 800.0, 900.0, 950.0, 990.0, 1050.0, 1500.0, math.inf)  # [mol/m³] of κ; inf: κ ∝ c
# [M] outside, of the forms of E1. Not read from its files: the page is written without them too.
SALTS: Final[Mapping[str, tuple[float, ...]]] = {
    "short": (0.25, 0.5, 1.0, 1.5),
    "long": (0.25, 0.5, 0.75, 1.0, 1.25, 1.5),
}
_NEIGHBOURS: Final = ("graphite-li-pc", "graphite-li-lipf6-ec-dec", "graphite-li-ec-diglyme")  # measured κ(c)
_FLAT: Final = next(row.within for row in ROWS if row.id == "E5.rest")  # of the step


def findings(records: Sequence[Record], form: str) -> str:
    """The page in Markdown. `records` as `reproduce --json` writes them; `form` of the experiments, long or short.

    A row that was not run stands as "not run". The conclusions in words are those of the default set; a number that
    contradicts one says so by itself, because both stand in one sentence.
    """
    table = {record["id"]: record for record in records}
    p = parameter_set(DEFAULT_SET).values
    parts = [
        "# Findings: what the table says as a whole",
        "",
        f"From the {form} forms of the experiments under `{DEFAULT_SET}`, its variants and the sets beside it. Names "
        "such as E4.level are rows of the [table](reproduction.md). A finding here is a contradiction or a "
        "consequence, not a verdict on the paper: most could be settled by reading a dozen numbers off its figures, "
        "which its text does not print. They are at the end.",
        "",
        *_slope_and_ramp(table, p, form),
        *_flat_rests(table, p),
        *_order(table),
        *_ratio(table, p),
        *_vessel(table, p, form),
        *_twelve(table, p),
    ]
    return "\n".join(parts) + "\n"


def write_findings(compared: Iterable[ComparedRow], folder: Path, form: str) -> Path:
    """The page as `findings.md` in `folder`; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "findings.md"
    path.write_text(findings([one.record() for one in compared], form), encoding="utf-8")
    return path


def _here(
    table: Mapping[str, Record], row: str, term: str = "", under: DeclaredSet | None = None, otherwise: str = ""
) -> str:
    """A row's number with its unit, with a `term` switched off, `under` another set or read `otherwise`.

    Where there is no number, why there is none.
    """
    if row not in table:
        return "not run"
    one = table[row]["without"].get(term) if term else table[row]
    if under is not None:
        one = table[row]["sets"].get(under.name)
    if otherwise:
        one = table[row]["otherwise"].get(otherwise)
    if one is None or one["here"] is None:
        # A term off gives no record where it gives no number, run or not.
        missing = "no number" if term else "not run"
        return missing if one is None else str(one["outcome"]).partition(":")[0]
    unit = table[row]["unit"]
    return f"{number(one['here'], one['u'])}{'' if unit == '1' else ' ' + unit}"


def _kappa(p: CellParameters, maximum: float) -> Curve:
    """κ(c) through the set's value at 1 M, with its maximum at `maximum` [mol/m³]; proportional for infinity."""
    at_1M = float(p.electrolyte.conductivity(1000.0))
    curve = conductivity_proportional(at_1M) if math.isinf(maximum) else conductivity_with_maximum(at_1M, maximum)
    grid = np.arange(curve.size, dtype=np.float64)
    return lambda c: np.asarray(np.interp(c, grid, curve))


def calibration_line(kappa: Curve, p: CellParameters, salts: Sequence[float]) -> tuple[float, float]:
    """(R², slope [%]) of a line through the currents of E1 over outside `salts` [M], rising, 1 M inside.

    I = G (V − V_rev) at the bias of the row, with two Ag/AgCl electrodes, the slope over the whole range and of the
    line's middle, as the rows E1.linearity and E1.slope have them. Assumes no flow through the tip and no noise.
    """
    c, e = 1000.0 * np.asarray(salts, dtype=np.float64), p.electrolyte
    reversal = junction_potential(1000.0, c, e.temperature, e.transference, e.tdf, "silver_chloride")
    current = flow_conductance(1.0, kappa, 1000.0, c, 0.0) * (_BIAS - reversal)
    line = straight_line(c, current)
    middle, _ = line.at(float(0.5 * (c[0] + c[-1])))
    return float(np.corrcoef(c, current)[0, 1] ** 2), float(100.0 * line.slope * (c[-1] - c[0]) / middle)


def _salts(form: str) -> tuple[list[float], list[float]]:
    """The outside salts [M] of E1.linearity and of E1.linearity_low in a form of the experiments."""
    salts = SALTS[form]
    return [c for c in salts if c >= 0.5], [c for c in salts if c <= 1.0]


def _both_rise(p: CellParameters, low: Sequence[float]) -> str:
    """For which maxima of κ salt alone gives a line that rises (R² above the table's limit) and s < 0, in words."""
    found = []
    for maximum in np.arange(600.0, 1000.0, 10.0):
        kappa = _kappa(p, float(maximum))
        s, (r_squared, slope) = sensitivity(kappa, 1000.0, 1000.0), calibration_line(kappa, p, low)
        if s < 0.0 < slope and r_squared >= 1.0 - WITHIN:
            found.append((1e-3 * float(maximum), s))
    if not found:
        return "no maximum below 1 M passes even that"
    return f"a maximum between {found[0][0]:g} and 1 M passes even that, with s between {found[0][1]:.2f} and 0"


def _slope_and_ramp(table: Mapping[str, Record], p: CellParameters, form: str) -> list[str]:
    wide, low = _salts(form)
    curves = [
        ("κ ∝ c" if math.isinf(maximum) else f"maximum at {1e-3 * maximum:g} M", _kappa(p, maximum), p)
        for maximum in _MAXIMA
    ]
    for name in _NEIGHBOURS:
        neighbour = parameter_set(name).values
        curves.append((f"`{name}`", neighbour.electrolyte.conductivity, neighbour))
    rows = []
    for name, kappa, one in curves:
        lines = [
            f"{r_squared:.2f}, {slope:+.0f} %"
            for r_squared, slope in (calibration_line(kappa, one, c) for c in (wide, low))
        ]
        rows.append(f"| {name} | {sensitivity(kappa, 1000.0, 1000.0):+.3f} | {' | '.join(lines)} |")
    return [
        "## 1. A calibration line that rises, and a current that rises throughout a charge",
        "",
        "E1 finds a pipette current that grows with the salt outside. E4 can be read as a current that goes on rising "
        "during the whole charge and falling during the whole discharge. Can salt at the pipette do both?",
        "",
        "At constant current the ohmic part is constant. At a lithiating electrode salt is depleted for every "
        "transference number below 1: migration brings less than the electrode takes. So on charge the drift that "
        "salt makes at the pipette has the sign of −s, where s = dlnI/dlnc is the sensitivity to the salt outside *at "
        "1 M*, the bath of E4. The slope of E1 is an average over a range of salt, which the text does not print. "
        "Where κ has its maximum a little below 1 M, and E1 was measured mostly below it, the line rises and s is "
        "negative: salt then does both. What speaks against it is not the sign of the line but that it is called one.",
        "",
        "| κ(c) | s at 1 M | E1 over 0.5–1.5 M: R², slope | E1 over 0.25–1 M: R², slope |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        "R² and slope are those of E1's rows, from conductance and junction of the Ag/AgCl electrodes alone, at the "
        f"{form} form's concentrations (the last two measured curves begin at 0.5 and 0.66 M and are "
        f"joined to the origin below). The table takes an R² above {1.0 - WITHIN:g} for a line. Over 0.25–1 M "
        f"{_both_rise(p, low)}: a current that rises on charge through salt, but hardly.",
        "",
        f"Here: E1.slope_low {_here(table, 'E1.slope_low')}, under κ ∝ c "
        f"{_here(table, 'E1.slope_low', under=PROPORTIONAL)}; E4.slope_lithiation "
        f"{_here(table, 'E4.slope_lithiation')} on charge, read from all but the first tenth "
        f"{_here(table, 'E4.slope_lithiation', otherwise='all but the first tenth')}, so that at this s even the sign "
        f"depends on the window; E4.slope_delithiation {_here(table, 'E4.slope_delithiation')} on discharge, with the "
        f"salt term off {_here(table, 'E4.slope_delithiation', 'salt off')}.",
        "",
        "So E1 and a ramp in E4 ask together for a maximum just below 1 M, a calibration from below, and a small ramp. "
        "Or E4 means a level, which is what 'had to be in a steady state' says and what the twin does on "
        f"charge (E4.level_100_lithiation {_here(table, 'E4.level_100_lithiation')} of the initial step). Or the "
        "drift is not of the salt at the pipette. One other source has the right signs: the liquid at the "
        "*reference*, which the counter enriches on charge and depletes on discharge. Most of the twin's slope on "
        f"discharge is of this kind, because its counter is assumed {1e3 * (p.bath_depth - p.reference_height):g} mm "
        "from the reference. A run with the counter far away, or with a second reference, would show it.",
        "",
        "And a pipette drifts by itself. One that was measured wanders by 0.05 % within a minute and 0.4 % within an "
        "hour ([real data](reference/real-data.md)); the twin's does too, and a line through two hours of such a "
        f"current has a slope of {_walk_slope(p):.1g} pA/min (rms). A ramp in one run of E4 that is no steeper says "
        "nothing of salt; the same ramp in several, of opposite sign on charge and discharge, does.",
        "",
    ]


def _walk_slope(p: CellParameters) -> float:
    """Slope [pA/min, rms] of a line through two hours of the current of E4 as the pipette alone wanders.

    The least-squares slope of a Brownian motion of variance q t over T varies by 6 q/(5 T).
    """
    per_kappa = geometric_resistance(Pipette(radius=_RADIUS, cone_angle=math.radians(CALIBRATED["pipette.cone_deg"])))
    current = _BIAS * float(p.electrolyte.conductivity(1000.0)) / per_kappa
    return 60e12 * current * _WANDER * math.sqrt(1.2 / 60.0 / 7200.0)


def _flat_rests(table: Mapping[str, Record], p: CellParameters) -> list[str]:
    proportional = table.get("E5.rest", {}).get("sets", {}).get(PROPORTIONAL.name, {}).get("here")
    s = sensitivity(_kappa(p, math.inf), 1000.0, 1000.0)
    limit = (
        ""
        if not proportional
        else f" The drift grows about as s, so that flat rests, within {100 * _FLAT:g} % of the "
        f"step, need s below {100.0 * _FLAT * s / abs(proportional):.2f}."
    )
    return [
        "## 2. κ ∝ c and flat rests",
        "",
        "Between the pulses of E5 'no significant change was observed in the SICM current'. With κ ∝ c, which makes "
        f"E1 a perfect line (s = {s:.2f}), the pipette current relaxes by "
        f"{_here(table, 'E5.rest', under=PROPORTIONAL)} of the step within a rest of 300 s, because the "
        "salt does; with the default conductivity by "
        f"{_here(table, 'E5.rest')}. Without convection it would be "
        f"{_here(table, 'E5.rest', 'convection off')}.{limit} More "
        "would be a curve that Figure 3e shows. The authors hold that the gradient 'can be kept constant "
        "by setting the graphite anode current as 0 mA'; diffusion levels it in δ²/D, minutes for 0.3 mm.",
        "",
    ]


def _order(table: Mapping[str, Record]) -> list[str]:
    first, last, order = (
        table.get(f"E11.{row}", {}).get("here") for row in ("reversal_first", "reversal_last", "order")
    )
    second = (
        f"There is a second one, at {_here(table, 'E11.reversal_last')}, where salt that delithiation has enriched "
        "outweighs the ohmic drop."
        if None not in (first, last) and first != last
        else "There is no second one here: salt that delithiation enriches would have to outweigh the ohmic drop."
    )
    place = "" if order is None else "before C" if order < 0.0 else "after C"
    return [
        "## 3. The order of C and D",
        "",
        "Figure 6 is described in the order B (higher near the sample), C (this trend 'was changed at +0.5 V of the "
        "reverse scan'), D (lower near the sample), E (uniform). In the twin the current near the sample first falls "
        "below that far away where the cell current changes sign, after the turn: at "
        f"{_here(table, 'E11.reversal_first')}. {second} It raises the current near the sample, and it comes late, "
        f"when the current has passed its largest. D, read at the largest delithiating current, is {place} here "
        f"(E11.order {_here(table, 'E11.order')}).",
        "",
        "So neither reading gives the order of the text: a change at +0.5 V *followed by* a lower current near the "
        "sample. If C is the first change, it is at the wrong potential; if it is the second, what follows is a "
        "higher current near the sample, and D belongs before C.",
        "",
    ]


def turning_points(p: CellParameters, ratio: float) -> list[tuple[float, float]]:
    """(x, volume change) where an electrode must turn for its first half of charge to swell by `ratio` of its second.

    From the volumes of the stages alone: v(x/2) / (v(x) - v(x/2)) = ratio, x from 0.05 to 1. Assumes that the whole
    electrode has one x and starts empty; swelling factor, kinetics and resistance then cancel.
    """
    x = np.linspace(0.05, 1.0, 1901)
    half, whole = p.material.volume_change(0.5 * x), p.material.volume_change(x)
    away = half - ratio * (whole - half)  # not the quotient: a volume that stops growing would divide by 0
    crossed = np.flatnonzero(np.diff(away >= 0.0))
    points = []
    for k in crossed:
        at = float(x[k] - away[k] * (x[k + 1] - x[k]) / (away[k + 1] - away[k]))
        points.append((at, float(p.material.volume_change(at))))
    return points


def _ratio(table: Mapping[str, Record], p: CellParameters) -> list[str]:
    ratio, total = _PAPER["E9.ratio"], _PAPER["E9.total"]
    rows = []
    for x, change in turning_points(p, ratio):
        swelling = 0.01 * total / change
        note = "more than all of the particles' own swelling" if swelling > 1.0 else "possible"
        rows.append(f"| {x:.2f} | {100.0 * change:.2f} % | {swelling:.2f} | {note} |")
    return [
        "## 4. What the ratio of the halves fixes",
        "",
        "The authors say that the amount of swelling 'is not important': it is a property of the place. The *ratio* "
        f"of the two halves, {ratio:.2f}, is not: the place cancels in it, as far as it follows the volume of its "
        "particles at once (the twin's plates are late by some seconds). Given the volumes of the stages it says how "
        "far the electrode was lithiated when the sweep turned round, whatever the resistance and the place; a "
        "spread of sizes moves it by less than 1 % where the paper's ratio is:",
        "",
        "| x at the turn | volume of the particles | factor for the paper's total | |",
        "|---:|---:|---:|---|",
        *rows,
        "",
        "The factor is the share of the particles' swelling that appears as thickness; above 1 the layer would have "
        f"to grow by more than what is in it (the set assumes {p.swelling_factor:.2f}, pores that keep their volume). "
        f"Here E9.ratio is {_here(table, 'E9.ratio')} and E9.total {_here(table, 'E9.total')}: this electrode turned "
        f"elsewhere. With 85 % of the drop compensated the total is {_here(table, 'E9.total_compensated')} and the "
        f"ratio {_here(table, 'E9.ratio_compensated')}, with {_here(table, 'E9.ten_hops_compensated')} in ten hops: a "
        "total alone can be right for the wrong state.",
        "",
    ]


def _vessel(table: Mapping[str, Record], p: CellParameters, form: str) -> list[str]:
    kappa = float(p.electrolyte.conductivity(p.electrolyte.concentration))
    radius = math.sqrt(p.area / math.pi)
    slab, uniform, primary = (
        1e4 * length / kappa for length in (p.reference_height, 8.0 * radius / (3.0 * math.pi), math.pi * radius / 4.0)
    )
    reach = 1e-3 * _PAPER["E11.C"]
    D = float(p.electrolyte.diffusivity(p.electrolyte.concentration))
    faster = "" if form == "long" else " (at a faster sweep than the paper's)"
    return [
        "## 5. What the reach of the gradient says about the cell",
        "",
        f"At +0.5 V in reverse the paper sees a gradient 'only within {1e3 * reach:g} mm'. Below the straight ohmic "
        f"drop this can only be salt that delithiation has enriched, and in √(Dt) it takes {reach**2 / D:.0f} s to "
        "get that far: at the paper's 0.5 mV/s a third of a volt, from the turn of the current to C. Here E11.C is "
        f"{_here(table, 'E11.C')}{faster}; of the salt alone, with the ohmic term off, "
        f"{_here(table, 'E11.C', 'ohmic off')}.",
        "",
        "Such a layer is heavier than the liquid above it. In a walled vessel it stays and grows: 122 mM at the "
        "specimen after an hour at 0.4 mA/cm². On a disk that lies open in a dish it runs off sideways until diffusion "
        "and flow balance: the axisymmetric flow, solved, has 57 mM over 0.5 mm then "
        "([decision 0306](explanations/decisions/0306-what-runs-off-a-disk.md)). So a *length* of "
        f"{1e3 * reach:g} mm tells neither from the other, as a thin-layer estimate on this page once said; how much "
        "salt there is does, and with it the potential at which it outweighs the ohmic drop. On delithiation salt is "
        "enriched at the sample: here the paper's reading and the theory agree.",
        "",
        "The resistance of the bath would tell as well. Up to the reference of this set, "
        f"{1e3 * p.reference_height:g} mm above, a walled column has {slab:.0f} Ω cm²; an open disk of "
        f"{1e4 * p.area:.2f} cm² has at most {uniform:.0f} (even current) or {primary:.0f} Ω cm² (even potential), "
        "however far the reference. A wall as deep as that means that the counter is above, where the pipette comes "
        "from. The text shows neither; the decay of the swing with height (E2.far_over_near) would tell them apart.",
        "",
    ]


def cone_table(p: CellParameters) -> Iterable[tuple[float, float, float]]:
    """(half-cone angle [°], current at rest [A], distance to the reference [m]) that all give the paper's step of E5.

    I₀ = V κ/R_geo and dI = i L_eff/R_geo: the step fixes L_eff/R_geo alone, and I₀ separates the two.
    """
    step, kappa = 1e-9 * _PAPER["E5.step"], float(p.electrolyte.conductivity(1000.0))
    for angle in _CONES:
        per_kappa = geometric_resistance(Pipette(radius=_RADIUS, cone_angle=math.radians(angle)))
        yield angle, _BIAS * kappa / per_kappa, step / _PULSE * per_kappa


def _twelve(table: Mapping[str, Record], p: CellParameters) -> list[str]:
    cones = ", ".join(f"{angle:g}°: {1e9 * i:.1f} nA, {1e3 * far:.1f} mm" for angle, i, far in cone_table(p))
    here = {row: _here(table, row) for row in _PAPER.keys() | table.keys()}

    def shown(row: str) -> str:
        return here.get(row, "not run")

    declared = CALIBRATED["pipette.cone_deg"]
    numbers = (
        (
            "3e",
            "pipette current at rest",
            f"cone and reference at once, which the step alone cannot: {cones}",
            f"{declared:g}° is assumed",
        ),
        ("3a", "swing at 10 µm", "the same, with the peak current of 3b", shown("E2.swing_10")),
        (
            "3a",
            "swing at 3000 µm over that at 10 µm",
            "walled column or open disk, and where the reference is",
            f"change {shown('E2.far_over_near')}",
        ),
        (
            "3b",
            "peak current and its potential",
            "active mass, kinetics, resistance left uncompensated",
            "in figure_3ab",
        ),
        ("3c", "a level or a ramp", "finding 1", f"E4.level_50_lithiation {shown('E4.level_50_lithiation')}"),
        (
            "3c",
            "change on charge and on discharge",
            "equal and opposite if ohmic; the difference is salt, or the reference electrode's",
            f"{shown('E4.change_lithiation')}, {shown('E4.change_delithiation')}",
        ),
        (
            "2d",
            "lowest and highest concentration",
            "whether E1 crosses the maximum of the conductivity",
            "0.25–1.5 M assumed",
        ),
        (
            "2d",
            "slope over the current at 1 M",
            "s, and with it findings 1 and 2",
            f"{shown('E1.slope_low')} over 0.25–1 M",
        ),
        ("3e", "change within a rest", "s below 0.2 or not: finding 2", f"{shown('E5.rest')} of the step"),
        (
            "5b",
            "charge of the sweep down",
            "x at the turn, independent of the volume curve: finding 4",
            shown("E9.ratio"),
        ),
        (
            "6a",
            "potentials at which the traces of 0.1 and 2.6 mm cross",
            "whether C is the current's zero or the salt's: finding 3",
            f"{shown('E11.reversal_first')}, {shown('E11.reversal_last')}",
        ),
        ("6c", "slope of C beyond 1 mm", "the ohmic part, and so what is salt: finding 5", shown("E11.C")),
    )
    return [
        "## 6. Twelve numbers that would decide",
        "",
        "None is in the text; each could be read off a figure of the paper.",
        "",
        "| figure | number | what it decides | here |",
        "|---|---|---|---|",
        *(f"| {figure} | {what} | {why} | {value} |" for figure, what, why, value in numbers),
    ]
