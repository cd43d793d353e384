"""From a raw trace of current and height to its hops' results: for any file that recorded the withdrawals too."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.approach_fit import NoFit
from opsicm.analysis.cross_talk import ten_hop_change
from opsicm.analysis.find_hops import FoundHops, find_hops
from opsicm.analysis.hop_series import HopSeries, scatter
from opsicm.analysis.result import Result, failed

F64 = NDArray[np.float64]
_FOUND: Final = "hops found in the raw trace as turns of z"


def trace_results(current: F64, z: F64, t: F64 | None = None, setpoint: float | None = None) -> list[Result]:
    """Number of hops, heights, setpoint, overshoot, reference and period of a raw trace.

    `current` [A], `z` [m] up positive, `t` [s] (None: no period), (n,); `setpoint` the relative drop when it is known.
    Fails with the named outcomes of `find_hops`.
    """
    found = find_hops(current, z, setpoint)
    if isinstance(found, NoFit):
        return [failed("hops", "1", _FOUND, found.outcome, found.reason)]
    good = found.contact
    flags = {"without_contact": int((~good).sum())}
    results = [Result("hops", float(found.size), 0.0, "1", _FOUND, flags=flags)]
    how = "largest drop before z turns (holds the overshoot)" if found.setpoint_found else "as given"
    n = max(int(good.sum()), 1)
    results.append(Result("setpoint", 100.0 * found.setpoint, None, "%", f"relative drop that ends a fall: {how}"))
    if good.sum() < 3:
        reason = f"{int(good.sum())} hops with contact; three are needed"
        return [*results, failed("height_scatter", "nm", _FOUND, "too few hops", reason)]
    results.append(_middle("overshoot", found.overshoot[good] * 1e9, "nm", "stop to lowest z", flags))
    results.append(_middle("reference_current", found.reference[good] * 1e12, "pA", "mean over the plateau", flags))
    results.append(_height(found, flags))
    if t is not None and found.size > 2:
        period = np.diff(t[found.turn])
        # Turns fall on samples: a period that repeats to the sample is not known better than the sample interval.
        sample = float(np.median(np.diff(t)))
        u = max(float(np.std(period)), sample / 12**0.5) / period.size**0.5
        results.append(Result("hop_period", float(np.median(period)) * 1e3, u * 1e3, "ms", "from turn to turn of z"))
    nothing = np.zeros(n)
    when = found.turn[good].astype(np.float64) if t is None else t[found.turn[good]]
    series = HopSeries(
        when, found.z_stop[good], found.reference[good], nothing, nothing, found.setpoint, flags["without_contact"]
    )
    return [*results, ten_hop_change(series, scatter(series.current))]


def _middle(name: str, values: F64, unit: str, what: str, flags: dict[str, int]) -> Result:
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    method = f"median over the hops, {what}; u: 1.2533 MAD-sigma/sqrt(n)"
    return Result(name, middle, 1.2533 * spread / values.size**0.5, unit, method, flags=flags)


def _height(found: FoundHops, flags: dict[str, int]) -> Result:
    heights = found.z_stop[found.contact]
    trace = xr.DataArray(heights, dims="hop", attrs={"units": "m", "quantity": "height at the stop"})
    sigma = scatter(heights) if heights.size >= 5 else float(np.std(heights))
    method = "standard deviation of one height at the stop, from second differences of successive hops"
    u = sigma / float(np.sqrt(2.0 * max(heights.size - 3, 1)))
    return Result("height_scatter", sigma * 1e9, u * 1e9, "nm", method, flags=flags, trace=trace)
