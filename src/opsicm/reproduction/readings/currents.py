"""E4 and E5: constant current, and pulses with rests."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from opsicm.analysis.cell.half_cycles import HalfCycle, half_cycles
from opsicm.analysis.cell.steps import split_steps
from opsicm.analysis.result import Result
from opsicm.reproduction.open_runs import Analysed, Runs
from opsicm.reproduction.readings.reading import F64, as_row, missing, reading
from opsicm.reproduction.variants import KAPPA_PROPORTIONAL


def constant_current(runs: Runs) -> list[Result]:
    """E4: how far and how steadily the pipette current moves on charge (lithiation) and on discharge."""
    run = runs.of()[0]
    t, cell, pipette = _rows(run)
    parts = half_cycles(t, cell)
    rows: list[Result] = []
    for kind in ("lithiation", "delithiation"):
        part = next((p for p in parts if p.kind == kind), None)
        if part is None or part.stop - part.first < 20:
            rows += [missing(f"E4.{what}_{kind}", f"no {kind} at constant current") for what in ("change", "slope")]
            continue
        rows += _stretch(kind, part, t, pipette)
    return rows


def _stretch(kind: str, part: HalfCycle, t: F64, pipette: F64) -> list[Result]:
    before = pipette[max(0, part.first - 20) : part.first]
    inside = slice(part.first + 1, part.stop)
    ts, i = t[inside] - t[part.first], pipette[inside]
    rest = float(before.mean()) if before.size else float(i[0])
    noise = float(np.std(np.diff(i))) / 2.0**0.5
    tail = i[-max(5, i.size // 50) :]
    u_change = noise * (1.0 / tail.size + 1.0 / max(before.size, 1)) ** 0.5
    how = f"rows of the constant current, {ts[-1]:.0f} s"
    rows = [
        reading(
            f"E4.change_{kind}",
            float(tail.mean()) - rest,
            u_change,
            "A",
            f"mean of the last 2 % of the {how}, less the rest before it; the ohmic step is in it",
        )
    ]
    late = ts > 0.5 * ts[-1]
    slope, u = _line(ts[late], i[late])
    rows.append(
        reading(f"E4.slope_{kind}", 60e12 * slope, 60e12 * u, "pA/min", f"line through the second half of the {how}")
    )
    if kind == "lithiation":
        thirds = [(ts > a * ts[-1]) & (ts <= b * ts[-1]) for a, b in ((1 / 3, 2 / 3), (2 / 3, 1.0))]
        (middle, u_middle), (last, u_last) = (_line(ts[m], i[m]) for m in thirds)
        u = abs(last / middle) * float(np.hypot(u_middle / middle, u_last / last)) if middle and last else 0.0
        method = f"lines through the last and the middle third of the {how}"
        rows.append(reading("E4.constancy", last / middle if middle else float("nan"), u, "1", method))
    return rows


def titration(runs: Runs) -> list[Result]:
    """E5: the step, its spread over the pulses, and what moves at rest."""
    run = runs.of()[0]
    rows = [as_row("E5.step", "pipette_step_ohmic", run)]
    others = runs.of(KAPPA_PROPORTIONAL)
    rows += [as_row("E5.step_proportional", "pipette_step_ohmic", other) for other in others]
    t, cell, pipette = _rows(run)
    found = run.results.get("pipette_step_ohmic")
    if found is None or found.value is None or not isinstance(found.trace, xr.DataArray):
        return rows
    steps = np.abs(found.trace.values)
    middle = float(np.median(steps))
    u = max(step.u_ohmic for step in split_steps(t, pipette, cell)) / middle
    method = f"100 (largest - smallest)/median over {steps.size} steps; u: the worst step's own"
    rows.append(reading("E5.step_over_soc", 100.0 * float(np.ptp(steps)) / middle, 100.0 * u, "%", method))
    rests = [p for p in half_cycles(t, cell) if p.kind == "rest" and p.first > 0 and p.stop - p.first >= 20]
    if not rests:
        return [*rows, missing("E5.rest", "no rest of twenty rows"), missing("E5.relaxation", "no rest of twenty rows")]
    potential = run.run.cell["potential"].values
    drift = np.array([_ends(pipette, p) for p in rests])
    relaxed = np.abs([_ends(potential, p, first=2) for p in rests])
    how = f"mean of a rest's last tenth less that of its first tenth, the first row left out; {len(rests)} rests"
    rows.append(
        reading(
            "E5.rest",
            100.0 * float(np.median(drift)) / middle,
            100.0 * _u_median(drift) / middle,
            "%",
            f"median of: {how}; over the step",
        )
    )
    how = f"mean of a rest's last tenth less its second and third row, {len(rests)} rests"
    rows.append(reading("E5.relaxation", float(np.median(relaxed)), _u_median(relaxed), "V", f"median size of: {how}"))
    return rows


def _rows(run: Analysed) -> tuple[F64, F64, F64]:
    cell = run.run.cell
    return cell["t_ns"].values * 1e-9, cell["current"].values, run.run.slow["pipette_current"].values


def _ends(values: F64, part: HalfCycle, first: int = 0) -> float:
    """Mean of the last tenth less the mean of the first `first` rows, or tenth; the row of the switch is left out."""
    inside = values[part.first + 1 : part.stop]
    few = max(2, inside.size // 10)
    return float(inside[-few:].mean() - inside[: first or few].mean())


def _u_median(values: F64) -> float:
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return 1.2533 * spread / math.sqrt(values.size)


def _line(t: F64, i: F64) -> tuple[float, float]:
    """Slope and its u; the scatter about the line counts as white."""
    x = t - t.mean()
    slope = float(x @ (i - i.mean()) / (x @ x))
    rest = i - i.mean() - slope * x
    variance = float(rest @ rest) / max(t.size - 2, 1)
    return slope, math.sqrt(variance / float(x @ x))
