"""From a raw trace of current and height to its hops' results: for any file that recorded the withdrawals too."""

from __future__ import annotations

from dataclasses import replace
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
    if found.setpoint_found:
        # The stop would be the first sample at the turn's own drop: how far noise reaches, not how far the tip went.
        reason = "the setpoint is not stated, and the drop at the turn holds the overshoot: give --setpoint"
        results.append(failed("overshoot", "nm", "stop to lowest z", "not identifiable", reason))
    else:
        results.append(_overshoot(z, found, good, flags))
    results.append(_middle("reference_current", found.reference[good] * 1e12, "pA", "mean over the plateau", flags))
    results.append(_height(found, flags))
    if t is not None and found.size > 2:
        results.append(_period(t, found))
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


def _overshoot(z: F64, found: FoundHops, good: NDArray[np.bool_], flags: dict[str, int]) -> Result:
    result = _middle("overshoot", found.overshoot[good] * 1e9, "nm", "stop to lowest z", flags)
    # The crossing lies anywhere within the sample before the stop, the same way at every hop.
    steps = [abs(float(z[s] - z[s - 1])) for s in found.stop[good] if s > 0]
    u = float(np.hypot(result.u or 0.0, 1e9 * float(np.median(steps)) / 12**0.5)) if steps else result.u
    return replace(result, u=u, method=f"{result.method}, and a sample of the fall, even over it")


def _period(t: F64, found: FoundHops) -> Result:
    name, method = "hop_period", "median from turn to turn of z; u: 1.2533 MAD-sigma/sqrt(n), at least a sample's"
    if np.any(np.diff(t) <= 0.0):
        return failed(name, "ms", method, "reversed axis", "time stands still or runs backwards: look at its column")
    period = np.diff(t[found.turn])
    middle = float(np.median(period))
    # Turns fall on samples: a period that repeats to the sample is not known better than the sample interval.
    sample = float(np.median(np.diff(t)))
    spread = max(1.4826 * float(np.median(np.abs(period - middle))), sample / 12**0.5)
    flags = {"gaps": int((period > 3.0 * middle).sum())}
    return Result(name, 1e3 * middle, 1e3 * 1.2533 * spread / period.size**0.5, "ms", method, flags=flags)


def _height(found: FoundHops, flags: dict[str, int]) -> Result:
    heights = found.z_stop[found.contact]
    trace = xr.DataArray(heights, dims="hop", attrs={"units": "m", "quantity": "height at the stop"})
    sigma = scatter(heights) if heights.size >= 5 else float(np.std(heights))
    method = "standard deviation of one height at the stop, from second differences of successive hops"
    # Second differences of neighbours are correlated: 35/18 times the variance that as many free numbers would have.
    u = sigma * float(np.sqrt(35.0 / 18.0 / (2.0 * max(heights.size - 3, 1))))
    return Result("height_scatter", sigma * 1e9, u * 1e9, "nm", method, flags=flags, trace=trace)
