"""Results of single approach curves, of all curves of a scan, and of a raw trace with many hops.

A file of single approaches goes through `approach_results` and `series_results`. A trace that holds the withdrawals as
well is first cut into hops (`find_hops`: plateau, approach or "fall", stop, turn and withdrawal of each);
`trace_results` evaluates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from opsicm.analysis.approach.fit import METHOD, ApproachFit, NoFit, fit_approach, hyperbola
from opsicm.analysis.hops.cross_talk import ten_hop_change
from opsicm.analysis.hops.series import HopSeries
from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import (
    mean_with_u,
    median_with_u,
    noise_from_differences,
    robust_sigma,
    scatter_with_u,
    u_of_rectangle,
    u_of_robust_sigma,
)

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_SWING: Final = 0.3  # of the whole range: a smaller reversal of z is vibration or creep of a piezo
_TURN: Final = 0.02  # of the amplitude: the plateau ends where z has come down this far
_SHORTEST_PLATEAU: Final = 8
_SHOWN: Final = 3  # hops of a trace whose samples are kept for its figure
_STEPWISE: Final = 2  # samples: a withdrawal as short as this was not recorded


@dataclass(frozen=True, slots=True)
class TraceHops:
    """Hops of a trace, as sample indices and SI values; one entry per hop.

    `start`, `fall`, `stop`, `turn`, `top`: the plateau begins, z begins to fall, the current crosses the threshold,
    z is lowest, z has come back up. `reference`, `i_stop` [A]; `z_stop`, `z_turn` [m]; `overshoot` [m] = z_stop -
    z_turn. `contact` False where the current never crossed. `setpoint` [1] as given, or estimated from the trace.
    """

    start: I64
    fall: I64
    stop: I64
    turn: I64
    top: I64
    reference: F64
    i_stop: F64
    z_stop: F64
    z_turn: F64
    contact: NDArray[np.bool_]
    setpoint: float
    setpoint_estimated: bool

    @property
    def size(self) -> int:
        """Number of hops."""
        return int(self.start.size)

    @property
    def overshoot(self) -> F64:
        """How far z went on below the stop [m]."""
        return self.z_stop - self.z_turn


def find_hops(current: F64, z: F64, setpoint: float | None = None) -> TraceHops | NoFit:
    """Find the hops in `current` [A] and `z` [m] (up positive), sampled evenly, withdrawals included.

    Turns of z are peaks of a prominence of 30 % of its range (so one trace holds hops of like amplitude; the slope of
    a sample over an amplitude is allowed). A plateau ends where z has come down by 2 % of the amplitude, or by 4
    times its own scatter. The reference is the mean current over the plateau, or over the first tenth of the
    approach where no plateau was recorded. The stop is the first sample of the approach at which |current| is below
    (1 - setpoint)·|reference|. Without `setpoint` the drop is taken as the median over hops of the largest drop
    before z turns, which contains the overshoot: `setpoint_estimated` says so.
    Fails as a value with a named outcome: no current or height, no withdrawal (stepwise files), reversed axis.
    """
    refusal = _unusable(current, z)
    if refusal is not None:
        return refusal
    width = max(1, z.size // 200_000)
    smooth = uniform_filter1d(z, width) if width > 1 else z
    prominence = _SWING * float(np.ptp(smooth))
    bottoms, _ = find_peaks(-smooth, prominence=prominence)
    if bottoms.size == 0:
        return NoFit(
            "no hops", "z never comes down and goes up again: a file without withdrawals is read as approaches"
        )
    tops = _tops_between(smooth, bottoms)
    if np.median(tops[1:] - bottoms) <= _STEPWISE:
        return NoFit("no hops", "z goes back up within two samples: stepwise approaches without their withdrawals")
    noise = noise_from_differences(smooth, spread=robust_sigma)
    start, fall = _plateaus(smooth, tops[:-1], bottoms, noise)
    reference = _reference(current, start, fall, bottoms)
    if np.median(np.abs(current[bottoms])) > np.median(np.abs(reference)) * (1.0 + 1e-9):
        return NoFit("reversed axis", "the current is larger at the lowest z: give z up positive")
    drop = 1.0 - np.array(
        [
            _relative_current_at_turn(current, r, f, b)
            for r, f, b in zip(reference, fall.tolist(), bottoms.tolist(), strict=True)
        ]
    )
    threshold = setpoint if setpoint is not None else float(np.median(drop))
    stop = np.array(
        [
            _first_below(current, r, threshold, f, b)
            for r, f, b in zip(reference, fall.tolist(), bottoms.tolist(), strict=True)
        ]
    )
    contact = stop >= 0
    stop = np.where(contact, stop, bottoms)
    return TraceHops(
        start,
        fall,
        stop,
        bottoms.astype(np.int64),
        tops[1:],
        reference,
        current[stop],
        z[stop],
        z[bottoms],
        contact,
        threshold,
        setpoint is None,
    )


def count_withdrawals(z: F64) -> int:
    """How often z (gaps interpolated) comes down and goes up again by 30 % of its range; 0 without withdrawals."""
    known = np.isfinite(z)
    if known.sum() < 3:
        return 0
    interpolated = np.interp(np.arange(z.size), np.flatnonzero(known), z[known])
    bottoms, _ = find_peaks(-interpolated, prominence=_SWING * float(np.ptp(interpolated)))
    if bottoms.size == 0 or np.median(_tops_between(interpolated, bottoms)[1:] - bottoms) <= _STEPWISE:
        return 0
    return int(bottoms.size)


def _unusable(current: F64, z: F64) -> NoFit | None:
    if current.size != z.size or z.size < 50:
        return NoFit("too few points", f"{z.size} samples; hops need at least 50 with a current and a height each")
    finite = np.isfinite(current) & np.isfinite(z)
    if not finite.any():
        return NoFit("all NaN", "no sample has both a current and a height; read other columns")
    if not finite.all():
        return NoFit("gaps", f"{int((~finite).sum())} samples have no value; cut the trace there")
    if np.ptp(current) <= 1e-12 * np.max(np.abs(current)):
        return NoFit("constant current", "every current is the same; look at the channel and its wiring")
    if np.ptp(z) == 0.0:
        return NoFit("constant height", "z does not move; look at the z channel")
    extreme = np.abs(current) >= np.max(np.abs(current)) * (1.0 - 1e-12)
    if int(extreme.sum()) > z.size // 2:
        return NoFit("saturated", f"{int(extreme.sum())} of {z.size} samples sit at the largest; lower the gain")
    return None


def _tops_between(z: F64, bottoms: I64) -> I64:
    """The highest sample before, between and after the bottoms: always one more than bottoms."""
    edges = np.concatenate(([0], bottoms, [z.size]))
    return np.array([a + int(np.argmax(z[a:b])) for a, b in pairwise(edges)], dtype=np.int64)


def _plateaus(z: F64, tops: I64, bottoms: I64, noise: float) -> tuple[I64, I64]:
    start, fall = np.empty_like(tops), np.empty_like(tops)
    previous = 0
    for k, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        margin = max(_TURN * (z[top] - z[bottom]), 4.0 * noise)
        high = z[previous:bottom] >= z[top] - margin
        inside = np.flatnonzero(high)
        first, last = previous + int(inside[0]), previous + int(inside[-1])
        start[k], fall[k] = first, last
        previous = int(bottom)
    return start, fall


def _reference(current: F64, start: I64, fall: I64, bottoms: I64) -> F64:
    reference = np.empty(start.size)
    for k, (a, f, b) in enumerate(zip(start, fall, bottoms, strict=True)):
        # The first half of the plateau is left out: the scanner still rings after the withdrawal.
        first, last = (a + f) // 2, f + 1
        if last - first < _SHORTEST_PLATEAU:
            first, last = f, f + max(1, (b - f) // 10)
        reference[k] = float(np.mean(current[first:last]))
    return reference


def _relative_current_at_turn(current: F64, reference: float, fall: int, bottom: int) -> float:
    tail = current[max(fall, bottom - max(3, (bottom - fall) // 200)) : bottom + 1]
    return float(np.mean(tail) / reference) if reference else 1.0


def _first_below(current: F64, reference: float, setpoint: float, fall: int, bottom: int) -> int:
    part = current[fall : bottom + 1]
    below = np.flatnonzero(part * reference <= (1.0 - setpoint) * reference * reference)
    return fall + int(below[0]) if below.size else -1


DISTANCE: Final = "distance at the stop"
POSITION: Final = "surface position"
COEFFICIENT: Final = "hyperbola coefficient C"
RESISTANCE: Final = "pipette resistance"
BULK_RESISTANCE: Final = "pipette resistance far from the sample"
STATED_RESISTANCE: Final = "pipette resistance stated in the file"
CHI2: Final = "chi-squared per degree of freedom"
_RESISTANCE_METHOD: Final = (
    "bias over current, mean of the far half of the approach; u from the scatter of the means of 8 blocks, so that "
    "slow noise counts"
)
_BLOCKS: Final = 8


def approach_results(
    z: F64,
    current: F64,
    bias: float | None = None,
    threshold: float | None = None,
    stated_resistance: float | None = None,
) -> list[Result]:
    """Distance, position, C, resistances and chi-squared of one approach in the order it was measured.

    `z` [m], `current` [A] (without `bias` any multiple of it), `bias` [V], `threshold` the stop criterion as a
    relative drop, `stated_resistance` [Ohm] as the instrument's file has it (it has no uncertainty: none was stated).
    """
    fit = fit_approach(z, current, threshold)
    results = _fit_results(fit, z, current, bias) if isinstance(fit, ApproachFit) else _failed_fit_results(fit)
    results.append(_resistance_result(z, current, bias, fit))
    if stated_resistance is not None:
        results.append(
            Result(STATED_RESISTANCE, stated_resistance / 1e6, None, "MOhm", "as stated in the instrument's file")
        )
    return results


def no_axis_results(what: str) -> list[Result]:
    """Failed results for a recording that lacks the axes a fit needs."""
    reason = f"{what}; export the heights with the current, or name the columns with --columns t=s,I=pA,z=um"
    return _failed_fit_results(NoFit("no z axis", reason))


def series_results(curves: Sequence[Sequence[Result]]) -> list[Result]:
    """Median and spread of the distance and the resistance over the curves of a scan.

    The spread is a robust sigma, which a few failed approaches do not inflate; u as of independent curves. Curves
    without a value are counted.
    """
    results: list[Result] = []
    for name, unit in ((DISTANCE, "nm"), (RESISTANCE, "MOhm")):
        values = np.array([r.value for curve in curves for r in curve if r.name == name and r.value is not None])
        flags = {"curves": len(curves), "without_value": len(curves) - int(values.size)}
        method = "median over the curves of the scan, spread 1.4826 MAD; the method of one curve stands with it"
        if values.size < 3:
            reason = f"{values.size} of {len(curves)} curves have a value; a spread needs three"
            results.append(failed(f"median {name}", unit, method, "too few curves", reason))
            continue
        (middle, u), spread = median_with_u(values), robust_sigma(values)
        u_spread = u_of_robust_sigma(spread, values.size)
        results.append(Result(f"median {name}", middle, u, unit, method, flags=flags))
        results.append(Result(f"spread of {name}", spread, u_spread, unit, method, flags=flags))
    return results


def _fit_results(fit: ApproachFit, z: F64, current: F64, bias: float | None) -> list[Result]:
    u_I, u_C, u_z0 = fit.u
    flags = {
        "points_used": int(fit.used.sum()),
        "disturbed": int(fit.disturbed.sum()),
        "from_contact_on": int(fit.from_contact.sum()),
        "missing": int((~(np.isfinite(z) & np.isfinite(current))).sum()),
    }
    trace = _fit_trace(fit, z, current, bias)
    distance = f"{METHOD}; distance from the last good point before contact to z0"
    nu = max(1, flags["points_used"] - 3)
    results = [
        Result(DISTANCE, fit.distance * 1e9, u_z0 * 1e9, "nm", distance, flags=flags, trace=trace),
        Result(POSITION, fit.z0 * 1e9, u_z0 * 1e9, "nm", METHOD, flags=flags),
        Result(COEFFICIENT, fit.C * 1e9, u_C * 1e9, "nm", METHOD, flags=flags),
        Result(CHI2, fit.chi2_per_dof, (2.0 / nu) ** 0.5, "1", METHOD, flags=flags),
    ]
    if bias is None:
        reason = "the file states no bias; give it to turn the current into a resistance"
        results.append(failed(BULK_RESISTANCE, "MOhm", METHOD, "bias unknown", reason))
    else:
        R = bias / fit.I_inf
        results.append(Result(BULK_RESISTANCE, R / 1e6, abs(R * u_I / fit.I_inf) / 1e6, "MOhm", METHOD, flags=flags))
    return results


def _failed_fit_results(why: NoFit) -> list[Result]:
    names = ((DISTANCE, "nm"), (POSITION, "nm"), (COEFFICIENT, "nm"), (CHI2, "1"), (BULK_RESISTANCE, "MOhm"))
    return [failed(name, unit, METHOD, why.outcome, why.reason) for name, unit in names]


def _resistance_result(z: F64, current: F64, bias: float | None, fit: ApproachFit | NoFit) -> Result:
    finite = np.isfinite(z) & np.isfinite(current) & (current != 0.0)
    if bias is None:
        reason = "the file states no bias; give it to turn the current into a resistance"
        return failed(RESISTANCE, "MOhm", _RESISTANCE_METHOD, "bias unknown", reason)
    if isinstance(fit, NoFit) and fit.outcome not in ("no approach: current does not fall", "not identifiable"):
        return failed(RESISTANCE, "MOhm", _RESISTANCE_METHOD, fit.outcome, fit.reason)
    far = finite & (z >= 0.5 * (np.nanmax(z[finite]) + np.nanmin(z[finite])))
    R = bias / current[far]
    if R.size < 2 * _BLOCKS:
        reason = f"{R.size} points far from the sample; {2 * _BLOCKS} are needed for an uncertainty"
        return failed(RESISTANCE, "MOhm", _RESISTANCE_METHOD, "too few points", reason)
    means = np.array([np.mean(block) for block in np.array_split(R, _BLOCKS)])
    _, u = mean_with_u(means)
    return Result(RESISTANCE, float(np.mean(R)) / 1e6, u / 1e6, "MOhm", _RESISTANCE_METHOD)


def _fit_trace(fit: ApproachFit, z: F64, current: F64, bias: float | None) -> xr.Dataset:
    """The points, which of them were used, the model, and the residual in units of sigma."""
    with np.errstate(divide="ignore", invalid="ignore"):
        model = hyperbola(z, fit.I_inf, fit.C, fit.z0)
    model = np.where(z > fit.z0, model, np.nan)
    points = ("point",)
    data = {
        "z": (points, z),
        "current": (points, current),
        "model": (points, model),
        "residual": (points, (current - model) / fit.sigma),
        "used": (points, fit.used),
        "disturbed": (points, fit.disturbed),
        "from_contact_on": (points, fit.from_contact),
    }
    attrs = {
        "I_inf": fit.I_inf,
        "C": fit.C,
        "z0": fit.z0,
        "u_z0": fit.u[2],
        "z_stop": fit.z_stop,
        "sigma": fit.sigma,
        "chi2_per_dof": fit.chi2_per_dof,
        "current_in_A": bias is not None,
    }
    return xr.Dataset(data, attrs=attrs)


_TRACE_METHOD: Final = "hops detected in the raw trace by the reversals of z"


def trace_results(current: F64, z: F64, t: F64 | None = None, setpoint: float | None = None) -> list[Result]:
    """Number of hops, heights, setpoint, overshoot, reference and period of a raw trace.

    `current` [A], `z` [m] up positive, `t` [s] (None: no period), (n,); `setpoint` the relative drop when it is known.
    Fails with the named outcomes of `find_hops`.
    """
    hops = find_hops(current, z, setpoint)
    if isinstance(hops, NoFit):
        return [failed("hops", "1", _TRACE_METHOD, hops.outcome, hops.reason)]
    good = hops.contact
    flags = {"without_contact": int((~good).sum())}
    results = [
        Result("hops", float(hops.size), 0.0, "1", _TRACE_METHOD, flags=flags, trace=_hops_trace(current, z, t, hops))
    ]
    origin = "largest drop before z turns (includes the overshoot)" if hops.setpoint_estimated else "as given"
    n = max(int(good.sum()), 1)
    results.append(
        Result("setpoint", 100.0 * hops.setpoint, None, "%", f"relative drop that ends an approach: {origin}")
    )
    if good.sum() < 3:
        reason = f"{int(good.sum())} hops with contact; three are needed"
        return [*results, failed("height_scatter", "nm", _TRACE_METHOD, "too few hops", reason)]
    if hops.setpoint_estimated:
        # The stop would be the first sample with the drop at the turn: that measures the noise, not the overshoot.
        reason = "the setpoint is not stated, and the drop at the turn includes the overshoot: give --setpoint"
        results.append(failed("overshoot", "nm", "stop to lowest z", "not identifiable", reason))
    else:
        results.append(_overshoot_result(z, hops, good, flags))
    results.append(
        _median_result("reference_current", hops.reference[good] * 1e12, "pA", "mean over the plateau", flags)
    )
    results.append(_height_scatter_result(hops, flags))
    if t is not None and hops.size > 2:
        results.append(_period_result(t, hops))
    zeros = np.zeros(n)
    times = hops.turn[good].astype(np.float64) if t is None else t[hops.turn[good]]
    series = HopSeries(
        times, hops.z_stop[good], hops.reference[good], zeros, zeros, hops.setpoint, flags["without_contact"]
    )
    return [*results, ten_hop_change(series, noise_from_differences(series.current))]


def _hops_trace(current: F64, z: F64, t: F64 | None, hops: TraceHops) -> xr.Dataset | None:
    """Height and reference of every hop in contact, and the samples of `_SHOWN` hops in the middle with their stops."""
    good = np.flatnonzero(hops.contact)
    if not good.size:
        return None
    middle = good[max(0, good.size // 2 - _SHOWN // 2) :][:_SHOWN]
    first, last = int(hops.start[middle[0]]), int(hops.top[middle[-1]]) + 1
    stops = hops.stop[middle]
    coords = {} if t is None else {"hop_t": ("hop", t[hops.stop[good]]), "sample_t": ("sample", t[first:last])}
    return xr.Dataset(
        {
            "height": ("hop", hops.z_stop[good]),
            "reference": ("hop", hops.reference[good]),
            "current": ("sample", current[first:last]),
            "z": ("sample", z[first:last]),
            "stop_sample": ("stop", stops - first),
            "stop_z": ("stop", hops.z_stop[middle]),
        },
        coords=coords,
        attrs={"units": "m, A, A, m, 1, m"},
    )


def _median_result(name: str, values: F64, unit: str, what: str, flags: dict[str, int]) -> Result:
    middle, u = median_with_u(values)
    method = f"median over the hops, {what}; u: 1.2533 MAD-sigma/sqrt(n)"
    return Result(name, middle, u, unit, method, flags=flags)


def _overshoot_result(z: F64, hops: TraceHops, good: NDArray[np.bool_], flags: dict[str, int]) -> Result:
    result = _median_result("overshoot", hops.overshoot[good] * 1e9, "nm", "stop to lowest z", flags)
    # The crossing lies anywhere within the sample before the stop: a rectangle, common to all hops.
    steps = [abs(float(z[s] - z[s - 1])) for s in hops.stop[good] if s > 0]
    u = float(np.hypot(result.u or 0.0, u_of_rectangle(1e9 * float(np.median(steps))))) if steps else result.u
    return replace(result, u=u, method=f"{result.method}, and one sample of the approach as a rectangle")


def _period_result(t: F64, hops: TraceHops) -> Result:
    name = "hop_period"
    method = "median from turn to turn of z; u: 1.2533 MAD-sigma/sqrt(n), and one sample as a rectangle"
    if np.any(np.diff(t) <= 0.0):
        return failed(name, "ms", method, "reversed axis", "time repeats or runs backwards: check its column")
    period = np.diff(t[hops.turn])
    # Turns lie on samples, and so does the median of their distances.
    middle, u = median_with_u(period, resolution=float(np.median(np.diff(t))))
    flags = {"gaps": int((period > 3.0 * middle).sum())}
    return Result(name, 1e3 * middle, 1e3 * u, "ms", method, flags=flags)


def _height_scatter_result(hops: TraceHops, flags: dict[str, int]) -> Result:
    heights = hops.z_stop[hops.contact]
    trace = xr.DataArray(heights, dims="hop", attrs={"units": "m", "quantity": "height at the stop"})
    sigma, u = scatter_with_u(heights)
    method = (
        "standard deviation of one height at the stop, from second differences of successive hops (below five: plain)"
    )
    return Result("height_scatter", sigma * 1e9, u * 1e9, "nm", method, flags=flags, trace=trace)
