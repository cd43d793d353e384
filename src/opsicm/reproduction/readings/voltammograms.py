"""E2 and E3: the pipette held above the specimen during voltammograms."""

from __future__ import annotations

import numpy as np

from opsicm.analysis.result import Result
from opsicm.reproduction.open_runs import Analysed, Runs
from opsicm.reproduction.readings.reading import as_row, missing, over_runs, reading, result_of
from opsicm.reproduction.variants import KAPPA_PROPORTIONAL

_SWING = "pipette_change_at_peak_lithiation"
_HEIGHT = "park.height_um"
_RATE = "rate_mV_s"


def distances(runs: Runs) -> list[Result]:
    """E2: swing at four distances, how it shrinks, its contrast with the cell current, and that one's constancy."""
    by_height = {round(float(run.value(_HEIGHT))): run for run in runs.of()}
    rows = []
    for height in (10, 100, 1000, 3000):
        row = f"E2.swing_{height}"
        run = by_height.get(height)
        rows.append(missing(row, f"no run at {height} µm") if run is None else as_row(row, _SWING, run))
    near, far = rows[0], rows[-1]
    method = "100 (swing at 3000 µm / swing at 10 µm - 1), both of E2's rows above"
    rows.append(over_runs("E2.far_over_near", (near, far), lambda s: 100.0 * (s[1] / s[0] - 1.0), method))
    if 10 in by_height:
        rows.append(as_row("E2.swing_delithiation", "pipette_change_at_peak_delithiation", by_height[10]))
        rows.append(_contrast("E2.contrast", by_height[10]))
    peaks = [result_of(run, "peak_lithiation_current") for run in runs.of()]
    method = "100 (largest - smallest)/mean of the peak lithiation current of the runs at four distances"
    rows.append(over_runs("E2.cell_current", peaks, lambda p: 100.0 * float(np.ptp(p) / abs(p.mean())), method))
    others = [run for run in runs.of(KAPPA_PROPORTIONAL) if round(float(run.value(_HEIGHT))) == 10]
    return [*rows, *(as_row("E2.swing_10_proportional", _SWING, run) for run in others)]


def rates(runs: Runs) -> list[Result]:
    """E3: the contrast at every rate, the swing at the slowest and the fastest."""
    by_rate = sorted(runs.of(), key=lambda run: float(run.value(_RATE)))
    each = [_contrast("E3.contrast", run) for run in by_rate]
    said = ", ".join(f"{float(run.value(_RATE)):g}" for run in by_rate)
    method = f"the least negative of the correlations at {said} mV/s; {each[0].method}"
    worst = max(each, key=lambda r: r.value if r.value is not None else np.inf)
    contrast = worst if worst.value is None else reading("E3.contrast", worst.value, worst.u, "1", method)
    return [contrast, as_row("E3.swing_slow", _SWING, by_rate[0]), as_row("E3.swing_fast", _SWING, by_rate[-1])]


def _contrast(row: str, run: Analysed) -> Result:
    """Pearson's correlation of the pipette's and the cell's current over the rows of the sweep."""
    pipette = run.run.slow["pipette_current"].values
    cell = run.run.cell["current"].values
    swept = run.run.cell["control"].values == "potential"
    x, y = pipette[swept], cell[swept]
    r = float(np.corrcoef(x, y)[0, 1])
    # Rows of a smooth sweep are far from independent: u as if every twentieth of the sweep were one reading.
    u = (1.0 - r * r) / 18.0**0.5
    method = "Pearson's r of pipette and cell current over the sweep's rows; u as of twenty independent readings"
    return reading(row, r, u, "1", method)
