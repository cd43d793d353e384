"""The cell's side of a run: extreme currents, charge out and back, and the pipette current beside them."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from opsicm.analysis.branches import branches
from opsicm.analysis.hop_series import scatter
from opsicm.analysis.result import Result, failed

_SIGN: Final = "negative lithiates"


def cell_results(cell: xr.Dataset, slow: xr.Dataset) -> list[Result]:
    """Extreme cell currents, charge of each branch, charge balance, and the pipette current at those moments.

    `cell` and `slow` are the run file's rows (dimension `row`). u of a current is its scatter from row to row; of a
    charge, that scatter integrated over n rows of dt as white noise, sigma dt √n. The potentiostat's own calibration is
    not included. Fails with the outcome "no current" when nothing flowed.
    """
    current = cell["current"].values
    if current.size < 5 or not np.any(current):
        return [
            failed("peak_lithiation_current", "mA", "", "no current", "no current flowed: run a sweep or a current")
        ]
    t = cell["t_ns"].values * 1e-9
    trace = xr.DataArray(current, dims="row", coords={"potential": ("row", cell["potential"].values)})
    noise = scatter(current)
    results: list[Result] = []
    pipette = slow["pipette_current"].values
    for name, index in (("lithiation", int(np.argmin(current))), ("delithiation", int(np.argmax(current)))):
        if bool(current[index] < 0.0) != (name == "lithiation"):
            continue
        at = f"at {cell['potential'].values[index]:.4f} V, {t[index]:.1f} s; {_SIGN}"
        results.append(
            Result(f"peak_{name}_current", float(current[index] * 1e3), noise * 1e3, "mA", f"extreme {at}", trace=trace)
        )
        change = pipette[index] - pipette[0]
        method = f"pipette current {at}, less its first reading; far from the surface or at the hop's top"
        u = float(np.sqrt(2.0) * scatter(pipette))
        results.append(Result(f"pipette_change_at_peak_{name}", float(change * 1e12), u * 1e12, "pA", method))
    for branch in branches(t, cell["charge"].values):
        method = f"the potentiostat's charge between its turns, {branch.start:.0f}–{branch.stop:.0f} s; {_SIGN}; "
        method += "u: scatter of the current over the rows, integrated as white noise"
        u = noise * float(np.median(np.diff(t)) * (branch.stop - branch.start)) ** 0.5  # sigma dt √(T/dt)
        results.append(Result(f"charge_{branch.kind}", branch.charge / 3.6, u / 3.6, "mAh", method))
    return results
