"""E2 and E3: the pipette parked above the specimen during voltammograms."""

from __future__ import annotations

import numpy as np

from opsicm.analysis.result import Result, Subject
from opsicm.reproduction.evaluation.rig_drift import current_walk, with_walk
from opsicm.reproduction.evaluation.row_value import as_row, missing, over_runs, row_value
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns

_SWING = "pipette_change_at_peak"
_LITHIATION, _DELITHIATION = Subject(part="lithiation"), Subject(part="delithiation")
_HEIGHT = "park.height_um"
_RATE = "rate_mV_s"


def distances(runs: ExperimentRuns) -> list[Result]:
    """E2: swing at four distances and its decrease, its correlation with the cell current, and the cell's constancy."""
    by_height = {round(float(run.value(_HEIGHT))): run for run in runs.of()}
    rows = []
    for height in (10, 100, 1000, 3000):
        row = f"E2.swing_{height}"
        if (run := by_height.get(height)) is None:
            rows.append(missing(row, f"no run at {height} µm"))
        else:
            rows.append(_swing(row, run, _LITHIATION))
    near, far = rows[0], rows[-1]
    method = "100 (swing at 3000 µm / swing at 10 µm - 1), both of E2's rows above"
    rows.append(over_runs("E2.far_over_near", (near, far), lambda s: 100.0 * (s[1] / s[0] - 1.0), method))
    if 10 in by_height:
        rows.append(_swing("E2.swing_delithiation", by_height[10], _DELITHIATION))
        rows.append(_correlation("E2.contrast", by_height[10]))
    peaks = [run.result("peak_current", _LITHIATION) for run in runs.of()]
    method = "100 (largest - smallest)/mean of the peak lithiation current of the runs at four distances"
    rows.append(over_runs("E2.cell_current", peaks, lambda p: 100.0 * float(np.ptp(p) / abs(p.mean())), method))
    return rows


def rates(runs: ExperimentRuns) -> list[Result]:
    """E3: the correlation at every rate, the swing at the slowest and the fastest."""
    by_rate = sorted(runs.of(), key=lambda run: float(run.value(_RATE)))
    each = [_correlation("E3.contrast", run) for run in by_rate]
    listed = ", ".join(f"{float(run.value(_RATE)):g}" for run in by_rate)
    method = f"the least negative of the correlations at {listed} mV/s; {each[0].method}"
    worst = max(each, key=lambda r: r.value if r.value is not None else np.inf)
    contrast = worst if worst.value is None else row_value("E3.contrast", worst.value, worst.u, "1", method)
    slow, fast = by_rate[0], by_rate[-1]
    return [contrast, _swing("E3.swing_slow", slow, _LITHIATION), _swing("E3.swing_fast", fast, _LITHIATION)]


def _swing(row: str, run: AnalysedRun, of: Subject) -> Result:
    """The change of the pipette's current at the peak of a branch, with its drift since the rest in its u."""
    current, slow = run.run.cell["current"].values, run.run.slow["pipette_current"].values
    peak = int(np.argmin(current) if of.part == "lithiation" else np.argmax(current))
    seconds = 1e-9 * float(run.run.cell["t_ns"].values[peak] - run.run.cell["t_ns"].values[0])
    return with_walk(as_row(row, run.result(_SWING, of)), 1e9 * abs(float(slow[0])) * current_walk(run, seconds))


def _correlation(row: str, run: AnalysedRun) -> Result:
    """Pearson's correlation of the pipette's and the cell's current over the rows of the sweep."""
    pipette = run.run.slow["pipette_current"].values
    cell = run.run.cell["current"].values
    swept = run.run.cell["control"].values == "potential"
    x, y = pipette[swept], cell[swept]
    r = float(np.corrcoef(x, y)[0, 1])
    # Rows of a smooth sweep are far from independent: u as of twenty independent rows.
    u = (1.0 - r * r) / 18.0**0.5
    method = "Pearson's r of pipette and cell current over the sweep's rows; u as of twenty independent rows"
    return row_value(row, r, u, "1", method)
