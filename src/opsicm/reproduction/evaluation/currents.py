"""E4 and E5: constant current, and pulses with rests."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from opsicm.analysis.cell.parts import ControlledPart
from opsicm.analysis.cell.programmed_parts import programmed_parts
from opsicm.analysis.cell.steps import step_responses
from opsicm.analysis.result import Result
from opsicm.core.statistics import median_with_u, noise_from_differences, straight_line
from opsicm.reproduction.evaluation.row_value import F64, as_row, missing, row_value
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.reproduction.variants import KAPPA_PROPORTIONAL


def constant_current(runs: ExperimentRuns) -> list[Result]:
    """E4: change and slope of the pipette current on charge (lithiation) and on discharge."""
    run = runs.of()[0]
    t, _, pipette = _rows(run)
    parts = [p for p in programmed_parts(run.run.cell) or [] if p.kind == "current"]
    rows: list[Result] = []
    for kind in ("lithiation", "delithiation"):
        part = next((p for p in parts if p.direction == kind), None)
        if part is None or part.stop - part.first < 20:
            rows += [missing(f"E4.{what}_{kind}", f"no {kind} at constant current") for what in ("change", "slope")]
            continue
        rows += _one_direction(kind, part, t, pipette)
    return rows


def _one_direction(kind: str, part: ControlledPart, t: F64, pipette: F64) -> list[Result]:
    before = pipette[max(0, part.first - 20) : part.first]
    inside = slice(part.first + 1, part.stop)
    ts, i = t[inside] - t[part.first], pipette[inside]
    rest = float(before.mean()) if before.size else float(i[0])
    noise = noise_from_differences(i, 1, np.std)
    tail = i[-max(5, i.size // 50) :]
    u_change = noise * (1.0 / tail.size + 1.0 / max(before.size, 1)) ** 0.5
    how = f"rows of the constant current, {ts[-1]:.0f} s"
    rows = [
        row_value(
            f"E4.change_{kind}",
            float(tail.mean()) - rest,
            u_change,
            "A",
            f"mean of the last 2 % of the {how}, less the rest before it; includes the ohmic step",
        )
    ]
    late = ts > 0.5 * ts[-1]
    line = straight_line(ts[late], i[late])
    method = f"line through the second half of the {how}"
    rows.append(row_value(f"E4.slope_{kind}", 60e12 * line.slope, 60e12 * line.u_slope, "pA/min", method))
    if kind == "lithiation":
        thirds = [(ts > a * ts[-1]) & (ts <= b * ts[-1]) for a, b in ((1 / 3, 2 / 3), (2 / 3, 1.0))]
        lines = [straight_line(ts[m], i[m]) for m in thirds]
        middle, last = (one.slope for one in lines)
        u = abs(last / middle) * math.hypot(*(one.u_slope / one.slope for one in lines)) if middle and last else 0.0
        method = f"lines through the last and the middle third of the {how}"
        rows.append(row_value("E4.constancy", last / middle if middle else float("nan"), u, "1", method))
    return rows


def titration(runs: ExperimentRuns) -> list[Result]:
    """E5: the step, its spread over the pulses, and the changes at rest."""
    run = runs.of()[0]
    rows = [as_row("E5.step", run.result("pipette_step_ohmic"))]
    others = runs.of(KAPPA_PROPORTIONAL)
    rows += [as_row("E5.step_proportional", other.result("pipette_step_ohmic")) for other in others]
    t, cell, pipette = _rows(run)
    ohmic = run.result("pipette_step_ohmic")
    if not isinstance(ohmic.trace, xr.DataArray):
        return rows
    steps = np.abs(ohmic.trace.values)
    middle = float(np.median(steps))
    u = max(step.u_ohmic for step in step_responses(t, pipette, cell, parts=programmed_parts(run.run.cell))) / middle
    method = f"100 (largest - smallest)/median over {steps.size} steps; u: that of the worst step"
    rows.append(row_value("E5.step_over_soc", 100.0 * float(np.ptp(steps)) / middle, 100.0 * u, "%", method))
    parts = programmed_parts(run.run.cell) or []
    rests = [p for p in parts if p.kind == "rest" and p.first > 0 and p.stop - p.first >= 20]
    if not rests:
        return [*rows, missing("E5.rest", "no rest of twenty rows"), missing("E5.relaxation", "no rest of twenty rows")]
    potential = run.run.cell["potential"].values
    drift = np.array([_ends(pipette, p) for p in rests])
    relaxed = np.abs([_ends(potential, p, first=2) for p in rests])
    how = f"mean of a rest's last tenth less that of its first tenth, the first row left out; {len(rests)} rests"
    rows.append(row_value("E5.rest", *median_with_u(100.0 * drift / middle), "%", f"median of: {how}; over the step"))
    how = f"mean of a rest's last tenth less its second and third row, {len(rests)} rests"
    rows.append(row_value("E5.relaxation", *median_with_u(relaxed), "V", f"median size of: {how}"))
    return rows


def _rows(run: AnalysedRun) -> tuple[F64, F64, F64]:
    cell = run.run.cell
    return cell["t_ns"].values * 1e-9, cell["current"].values, run.run.slow["pipette_current"].values


def _ends(values: F64, part: ControlledPart, first: int = 0) -> float:
    """Mean of the last tenth less the mean of the first `first` rows, or tenth; the row of the switch is left out."""
    inside = values[part.first + 1 : part.stop]
    few = max(2, inside.size // 10)
    return float(inside[-few:].mean() - inside[: first or few].mean())
