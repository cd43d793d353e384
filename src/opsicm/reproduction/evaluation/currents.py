"""E4 and E5: constant current, and pulses with rests."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from opsicm.analysis.cell.parts import ControlledPart
from opsicm.analysis.cell.programmed_parts import programmed_parts
from opsicm.analysis.cell.steps import step_responses
from opsicm.analysis.result import Result
from opsicm.core.statistics import Line, median_with_u, noise_from_differences, straight_line
from opsicm.reproduction.evaluation.estimators import F64, Estimate, undetermined
from opsicm.reproduction.evaluation.rig_drift import current_walk, slope_of_walk
from opsicm.reproduction.evaluation.row_value import alternative, as_row, estimated, missing, row_value
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.reproduction.paper import WITHIN

_SHARES: Final = (10, 50, 100)  # [%] of the charge at which E4 is read as a level
_FIRST_ROWS: Final = 10  # after the switch: the salt has changed by millimolar there
_SIGN: Final = 2.0  # u from which on a slope has a sign
_CERTAIN: Final = 3.0  # u from which on a slope can be divided by


def constant_current(runs: ExperimentRuns) -> list[Result]:
    """E4: change and slope of the pipette current on charge (lithiation) and on discharge."""
    run = runs.of()[0]
    t, _, pipette = _rows(run)
    parts = [p for p in programmed_parts(run.run.cell) or [] if p.kind == "current"]
    rows: list[Result] = []
    for kind in ("lithiation", "delithiation"):
        part = next((p for p in parts if p.direction == kind), None)
        if part is None or part.stop - part.first < 20:
            names = ("change", "slope", *(f"level_{share}" for share in _SHARES))
            rows += [missing(f"E4.{what}_{kind}", f"no {kind} at constant current") for what in names]
            continue
        rows += _one_direction(run, kind, part, t, pipette)
    return rows


def _one_direction(run: AnalysedRun, kind: str, part: ControlledPart, t: F64, pipette: F64) -> list[Result]:
    before = pipette[max(0, part.first - 20) : part.first]
    inside = slice(part.first + 1, part.stop)
    ts, i = t[inside] - t[part.first], pipette[inside]
    rest = float(before.mean()) if before.size else float(i[0])
    noise = noise_from_differences(i, 1, np.std)
    tail = i[-max(5, i.size // 50) :]
    u_rows = noise * (1.0 / tail.size + 1.0 / max(before.size, 1)) ** 0.5

    def u_after(seconds: float) -> float:
        return math.hypot(u_rows, abs(rest) * current_walk(run, seconds))

    how = f"rows of the constant current, {ts[-1]:.0f} s"
    rows = [
        row_value(
            f"E4.change_{kind}",
            float(tail.mean()) - rest,
            u_after(ts[-1]),
            "A",
            f"mean of the last 2 % of the {how}, less the rest before it; includes the ohmic step{_walks(run)}",
        )
    ]
    # The current is constant, and so time is charge.
    step = float(i[:_FIRST_ROWS].mean()) - rest
    u_step = noise * (1.0 / _FIRST_ROWS + 1.0 / max(before.size, 1)) ** 0.5
    for share in _SHARES:
        row, width = f"E4.level_{share}_{kind}", max(5, i.size // 50)
        end = max(width, round(0.01 * share * i.size))
        level = float(i[end - width : end].mean()) - rest
        u_level = u_after(float(ts[end - 1]))
        method = f"mean of 2 % of the {how}, at {share} % of them, less the rest, over the same of the first"
        method += f" {_FIRST_ROWS}{_walks(run)}"
        rows.append(estimated(row, _level(_ratio(level, u_level, step, u_step, "initial step"), run), "1", method))
        longer = float(i[: 3 * _FIRST_ROWS].mean()) - rest
        label = f"over the first {3 * _FIRST_ROWS} rows"
        rows.append(
            alternative(label, estimated(row, _level(_ratio(level, u_level, longer, u_step, label), run), "1", method))
        )
    for label, first in (("", 0.5), ("last quarter", 0.75), ("all but the first tenth", 0.1)):
        late = ts > first * ts[-1]
        line = _line(ts[late], i[late], rest, run)
        method = f"line through the rows after {first:g} of the {how}{_walks(run)}"
        rows.append(alternative(label, estimated(f"E4.slope_{kind}", _slope(line, run), "pA/min", method)))
    if kind == "lithiation":
        thirds = [(ts > a * ts[-1]) & (ts <= b * ts[-1]) for a, b in ((1 / 3, 2 / 3), (2 / 3, 1.0))]
        method = f"lines through the last and the middle third of the {how}"
        rows.append(estimated("E4.constancy", constancy(*(_line(ts[m], i[m], rest, run) for m in thirds)), "1", method))
    return rows


def _walks(run: AnalysedRun) -> str:
    """What a method says of the drift in its u."""
    return "; u holds the pipette's drift that the rig states" if current_walk(run, 1.0) else ""


def _line(t: F64, i: F64, rest: float, run: AnalysedRun) -> Line:
    """A line through currents [A], with the walk of a pipette that carries `rest` [A] in the u of its slope."""
    line = straight_line(t, i)
    return replace(line, u_slope=math.hypot(line.u_slope, abs(rest) * slope_of_walk(run, float(np.ptp(t)))))


def _level(ratio: Estimate, run: AnalysedRun) -> Estimate:
    """A level over another; undetermined where the pipette drifts by more than what tells a constant level."""
    if ratio.value is not None and ratio.u > WITHIN and current_walk(run, 1.0):
        return undetermined(f"{ratio.value:.2f} ± {ratio.u:.2f}: the drift of the pipette alone would give as much")
    return ratio


def _slope(line: Line, run: AnalysedRun) -> Estimate:
    """The slope [pA/min]; undetermined within 2 u where the pipette drifts: so small a ramp may be its own."""
    slope, u = 60e12 * line.slope, 60e12 * line.u_slope
    if current_walk(run, 1.0) and abs(slope) < _SIGN * u:
        return undetermined(f"{slope:.2g} ± {u:.1g} pA/min: the drift of the pipette alone would give as much")
    return Estimate(slope, u)


def constancy(middle: Line, last: Line) -> Estimate:
    """Slope of `last` over that of `middle`; undetermined where one is within 3 u of 0: noise over noise."""
    for name, line in (("middle", middle), ("last", last)):
        if abs(line.slope) < _CERTAIN * line.u_slope:
            slope, u = 60e12 * line.slope, 60e12 * line.u_slope
            return undetermined(
                f"the slope of the {name} third, {slope:.2g} ± {u:.1g} pA/min, is within 3 u of none: the current "
                "holds a level, and the ratio of two slopes would be noise over noise"
            )
    return _ratio(last.slope, last.u_slope, middle.slope, middle.u_slope, "middle third")


def _ratio(above: float, u_above: float, below: float, u_below: float, name: str) -> Estimate:
    """`above`/`below`; undetermined where `below`, the `name`, is within 3 u of 0."""
    if abs(below) < _CERTAIN * u_below or below == 0.0:
        return undetermined(f"the {name} is within 3 u of none: nothing can be compared with it")
    ratio = above / below
    return Estimate(ratio, math.hypot(u_above, ratio * u_below) / abs(below))


def titration(runs: ExperimentRuns) -> list[Result]:
    """E5: the step, its spread over the pulses, and the changes at rest."""
    run = runs.of()[0]
    rows = [as_row("E5.step", run.result("pipette_step_ohmic"))]
    rows.append(_rest_drift("E5.rest", run))
    t, cell, pipette = _rows(run)
    ohmic = run.result("pipette_step_ohmic")
    if not isinstance(ohmic.trace, xr.DataArray):
        return rows
    steps = np.abs(ohmic.trace.values)
    middle = float(np.median(steps))
    u = max(step.u_ohmic for step in step_responses(t, pipette, cell, parts=programmed_parts(run.run.cell))) / middle
    method = f"100 (largest - smallest)/median over {steps.size} steps; u: that of the worst step"
    rows.append(row_value("E5.step_over_soc", 100.0 * float(np.ptp(steps)) / middle, 100.0 * u, "%", method))
    rests = _rests(run)
    if not rests:
        return [*rows, missing("E5.relaxation", "no rest of twenty rows")]
    potential = run.run.cell["potential"].values
    relaxed = np.abs([_ends(potential, p, first=2) for p in rests])
    how = f"mean of a rest's last tenth less its second and third row, {len(rests)} rests"
    rows.append(row_value("E5.relaxation", *median_with_u(relaxed), "V", f"median size of: {how}"))
    return rows


def _rests(run: AnalysedRun) -> list[ControlledPart]:
    """The rests between the pulses that are long enough to have a beginning and an end."""
    parts = programmed_parts(run.run.cell) or []
    return [p for p in parts if p.kind == "rest" and p.first > 0 and p.stop - p.first >= 20]


def _rest_drift(row: str, run: AnalysedRun) -> Result:
    """Change of the pipette current within a rest, over the run's own step."""
    ohmic, rests = run.result("pipette_step_ohmic"), _rests(run)
    if not isinstance(ohmic.trace, xr.DataArray) or not rests:
        return missing(row, "no rest of twenty rows" if not rests else ohmic.reason)
    step = float(np.median(np.abs(ohmic.trace.values)))
    drift = np.array([_ends(_rows(run)[2], p) for p in rests])
    how = f"mean of a rest's last tenth less that of its first tenth, the first row left out; {len(rests)} rests"
    return row_value(row, *median_with_u(100.0 * drift / step), "%", f"median of: {how}; over the step")


def _rows(run: AnalysedRun) -> tuple[F64, F64, F64]:
    cell = run.run.cell
    return cell["t_ns"].values * 1e-9, cell["current"].values, run.run.slow["pipette_current"].values


def _ends(values: F64, part: ControlledPart, first: int = 0) -> float:
    """Mean of the last tenth less the mean of the first `first` rows, or tenth; the row of the switch is left out."""
    inside = values[part.first + 1 : part.stop]
    few = max(2, inside.size // 10)
    return float(inside[-few:].mean() - inside[: first or few].mean())
