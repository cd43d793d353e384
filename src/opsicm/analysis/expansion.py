"""Expansion of the specimen: height change per branch, in nm and in % of its thickness."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.branches import Branch, branch_names, branches, time_at_charge
from opsicm.analysis.hop_series import HopSeries, value_at
from opsicm.analysis.result import Result, failed

_WINDOW: Final = 15
_METHOD: Final = (
    "height at the ends of the branch (where the charge turns), each a polynomial through {window} hops or passes; "
    "over the thickness of the experiment file, whose own uncertainty is not included; u: scatter and cross-talk of "
    "both ends"
)


def expansion_results(
    series: HopSeries,
    cell_t: NDArray[np.float64],
    cell_charge: NDArray[np.float64],
    thickness: float,
    drift_to_height: float,
    charge_floor: float = 0.0,
    window: int = _WINDOW,
    degree: int = 1,
) -> list[Result]:
    """Height and volume change of every branch, and of its halves by charge (SOC 0–50–100 % of the branch).

    `cell_t` [s], `cell_charge` [C] (n,) of the whole run; `thickness` [m]; `drift_to_height` [m·s] turns a relative
    drift of the reference [1/s] into a height error (fall time × dz/dlnI); `charge_floor` [C] is no charge at all. A
    height is a polynomial of `degree` through `window` hops. dV/V = dh/thickness: assumes that the electrode swells
    along its normal only. Branches that no hop accompanies are left out; one that the hops accompany in part fails,
    with the reason.
    """
    found = branches(cell_t, cell_charge, charge_floor)
    if not found or series.size < 3:
        why = "no charge was passed" if not found else f"{series.size} good hops; at least 3 are needed"
        outcome = "no branch" if not found else "no hops"
        return [
            failed(
                "expansion_lithiation", "%", _METHOD.format(window=window), outcome, f"{why}: sweep or hop for longer"
            )
        ]
    results: list[Result] = []
    for name, branch in zip(branch_names(found), found, strict=True):
        overlap = min(branch.stop, series.t[-1]) - max(branch.start, series.t[0])
        if overlap > 0.01 * (branch.stop - branch.start):
            results.extend(
                _of_branch(name, branch, series, cell_t, cell_charge, thickness, drift_to_height, window, degree)
            )
    return results


def _of_branch(
    name: str, branch: Branch, series: HopSeries, t: NDArray[np.float64], charge: NDArray[np.float64],
    thickness: float, drift_to_height: float, window: int, degree: int,
) -> list[Result]:  # fmt: skip
    middle = time_at_charge(t, charge, branch, 0.5)
    moments = (branch.start, middle, branch.stop)
    gap = max(float(np.min(np.abs(series.t - moment))) for moment in moments)
    if gap > 0.05 * (branch.stop - branch.start):
        reason = f"the nearest hop is {gap:.1f} s from an end of the branch: hop during all of it"
        return [failed(f"expansion_{name}", "%", _METHOD.format(window=window), "not covered", reason)]
    inside = (series.t >= branch.start) & (series.t <= branch.stop)
    trace = xr.DataArray(
        series.height[inside], dims="hop", coords={"t": ("hop", series.t[inside])}, attrs={"units": "m"}
    )
    heights = [_height(series, moment, drift_to_height, window, degree) for moment in moments]
    flags = {"bad_hops": series.bad, "restless_hops": series.restless}
    percent = 100.0 / thickness
    method = _METHOD.format(window=window)
    (h0, u0), (h1, u1), (h2, u2) = heights
    pairs = {
        f"height_change_{name}": (h2 - h0, math.hypot(u0, u2), 1e9, "nm"),
        f"expansion_{name}": (h2 - h0, math.hypot(u0, u2), percent, "%"),
        f"expansion_{name}_first_half": (h1 - h0, math.hypot(u0, u1), percent, "%"),
        f"expansion_{name}_second_half": (h2 - h1, math.hypot(u1, u2), percent, "%"),
    }
    halves = "; halves are halves of the branch's charge"
    return [
        Result(key, float(dh * scale), float(u * scale), unit, method + (halves if "half" in key else ""),
               flags=flags, trace=trace)
        for key, (dh, u, scale, unit) in pairs.items()
    ]  # fmt: skip


def _height(series: HopSeries, when: float, drift_to_height: float, window: int, degree: int) -> tuple[float, float]:
    """Height [m] at `when` [s] with its uncertainty, scatter and cross-talk in quadrature."""
    height, u, _ = value_at(series.t, series.height, when, window, degree)
    current, _, slope = value_at(series.t, series.current, when, window, degree)
    return height, math.hypot(u, drift_to_height * slope / current)
