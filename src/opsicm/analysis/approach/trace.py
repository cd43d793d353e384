"""Results of a raw trace with many hops, withdrawals included, and of the approaches before them.

The trace is first cut into hops (`find_hops`: plateau, approach or "fall", stop, turn and withdrawal of each), then
into states (`change_points` of the reference current): what a tip measured before it broke is not averaged with what it
measured afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from opsicm.analysis.approach.fit import NoFit, longest_by_chance
from opsicm.analysis.approach.results import approach_results
from opsicm.analysis.hops.change_points import ChangePoint, change_points, states
from opsicm.analysis.hops.cross_talk import ten_hop_change
from opsicm.analysis.hops.series import HopSeries
from opsicm.analysis.hops.state_changes import drift_result, level_result, state_change_results
from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import median_with_u, noise_from_differences, robust_sigma, scatter_with_u, u_of_rectangle

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_SWING: Final = 0.3  # of a hop's amplitude: a smaller reversal of z is vibration or creep of a piezo
_LONG: Final = 2.0  # amplitudes: a longer way down is an approach, with or without a hop at its end
_FEWEST_ALIKE: Final = 3  # hops among longer ways of z
_TURN: Final = 0.02  # of the amplitude: the plateau ends where z has come down this far
_SHORTEST_PLATEAU: Final = 8
_SHOWN: Final = 3  # hops of a trace whose samples are kept for its figure
_STEPWISE: Final = 2  # samples: a withdrawal as short as this was not recorded
_SPIKE: Final = 6.0  # sigmas: a sample of the plateau farther from its median is not the reference
_LAST: Final = 10  # samples before the turn, within which an instrument that stopped has turned
_METHOD: Final = "hops detected in the raw trace by the reversals of z"


@dataclass(frozen=True, slots=True)
class TraceHops:
    """Hops of a trace, as sample indices and SI values; one entry per hop.

    `start`, `fall`, `stop`, `turn`, `top`: the plateau begins, z begins to fall, the current crosses the threshold,
    z is lowest, z has come back up. `reference`, `i_stop` [A]; `z_stop`, `z_turn` [m]; `overshoot` [m] = z_stop -
    z_turn. `contact` False where the current never crossed, `saturated` True where the approach began at the end of the
    amplifier's range. `setpoint` [1] as given, or estimated from the trace. `approaches`: samples of long ways
    down, before the first hop or between hops.
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
    saturated: NDArray[np.bool_]
    setpoint: float
    setpoint_estimated: bool
    approaches: tuple[slice, ...] = field(default=())

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

    Turns of z are peaks of a prominence of 30 % of the hops' amplitude (`_turns`), so that hops of like amplitude are
    found behind a much longer approach. A way down longer than two amplitudes is an approach: it ends where z rests
    about one amplitude above its lowest point, the first hop's plateau, or at that point itself, which is then no hop.
    A plateau ends where z has come down by 2 % of the amplitude, or by 4 times its own scatter. The reference is the
    mean current over the second half of the plateau, samples beyond six sigma of their median left out, or over the
    first tenth of the approach where no plateau was recorded. The stop is the first sample of the approach at which
    |current| is below (1 - setpoint)·|reference| and from which on at least half of the samples to the turn are: a
    spike is no stop. Without `setpoint` the drop is taken as the median over hops of the largest drop before z turns,
    which contains the overshoot: `setpoint_estimated` says so.
    Fails as a value with a named outcome: no current or height, no withdrawal (stepwise files), reversed axis, every
    hop saturated.
    """
    refusal = _unusable(current, z)
    if refusal is not None:
        return refusal
    width = max(1, z.size // 200_000)
    smooth = uniform_filter1d(z, width) if width > 1 else z
    bottoms, amplitude = _turns(smooth)
    if bottoms.size == 0:
        return NoFit(
            "no hops", "z never comes down and goes up again: a file without withdrawals is read as approaches"
        )
    tops = _tops_between(smooth, bottoms)
    if np.median(tops[1:] - bottoms) <= _STEPWISE:
        return NoFit("no hops", "z goes back up within two samples: stepwise approaches without their withdrawals")
    noise = noise_from_differences(smooth, spread=robust_sigma)
    first, is_hop, approaches = _long_ways(smooth, tops, bottoms, amplitude, noise)
    if not is_hop.any():
        return NoFit("no hops", "every way down of z is a single approach")
    start, fall = _plateaus(smooth, first, tops[:-1], bottoms, noise)
    start, fall, bottoms, after = start[is_hop], fall[is_hop], bottoms[is_hop], tops[1:][is_hop]
    resolution = float(np.min(np.diff(np.unique(current))))
    reference = _reference(current, start, fall, bottoms, resolution)
    if np.median(np.abs(current[bottoms])) > np.median(np.abs(reference)) * (1.0 + 1e-9):
        return NoFit("reversed axis", "the current is larger at the lowest z: give z up positive")
    windows = list(zip(reference.tolist(), fall.tolist(), bottoms.tolist(), strict=True))
    drop = 1.0 - np.array([_relative_current_at_turn(current, *window) for window in windows])
    threshold = setpoint if setpoint is not None else float(np.median(drop))
    stop = np.array([_first_below(current, threshold, *window) for window in windows])
    contact = stop >= 0
    if setpoint is None:
        # Half of the hops reach the median drop: the others stopped as well, if they dropped at all.
        contact |= drop > 0.5 * threshold
    stop = np.where(stop >= 0, stop, bottoms)
    saturated = _saturated(current, fall, bottoms)
    if saturated.all():
        pinned = int((np.abs(current) >= np.max(np.abs(current)) * (1.0 - 1e-12)).sum())
        reason = (
            f"every hop is at the end of the range: {pinned} of {z.size} samples sit at the largest; lower the gain"
        )
        return NoFit("saturated", reason)
    return TraceHops(
        start,
        fall,
        stop,
        bottoms.astype(np.int64),
        after,
        reference,
        current[stop],
        z[stop],
        z[bottoms],
        contact,
        saturated,
        threshold,
        setpoint is None,
        approaches,
    )


def count_withdrawals(z: F64) -> int:
    """How often z (gaps interpolated) comes down and goes up again by 30 % of a hop; 0 without withdrawals."""
    known = np.isfinite(z)
    if known.sum() < 3:
        return 0
    interpolated = np.interp(np.arange(z.size), np.flatnonzero(known), z[known])
    bottoms, _ = _turns(interpolated)
    if bottoms.size == 0 or np.median(_tops_between(interpolated, bottoms)[1:] - bottoms) <= _STEPWISE:
        return 0
    return int(bottoms.size)


def ways_down(z: F64) -> list[slice]:
    """The approaches of a record with at most one withdrawal between them: each from its highest z to the next.

    A way down of less than 30 % of the range is no approach. The whole record where z does not come down twice.
    """
    known = np.flatnonzero(np.isfinite(z))
    if known.size < 3:
        return [slice(0, z.size)]
    values = z[known]
    span = float(np.ptp(values))
    bottoms, _ = find_peaks(-values, prominence=max(_SWING * span, 1e-300))
    tops = _tops_between(values, bottoms.astype(np.int64))
    begins = [int(top) for top in tops if float(values[top] - values[top:].min()) > _SWING * span]
    if len(begins) < 2:
        return [slice(0, z.size)]
    edges = [0, *(int(known[top]) for top in begins[1:]), z.size]
    return [slice(a, b) for a, b in pairwise(edges)]


def _turns(z: F64) -> tuple[I64, float]:
    """(samples at which z is lowest, the hops' amplitude) [m].

    The amplitude is the largest prominence of a turn, or, where there are few of that, the largest of a second kind of
    turn: at least three, all within 20 % of one another in the middle half, at bottoms that lie on one surface (to half
    an amplitude), and not of the scatter of z. Such are the hops between a first approach and a final withdrawal.
    """
    scatter = noise_from_differences(z, spread=robust_sigma)
    # A ramp far below any resolution: of equal bottoms each would have the prominence of the whole record.
    z = z + 1e-9 * float(np.ptp(z)) * np.arange(z.size) / z.size
    bottoms, properties = find_peaks(-z, prominence=max(20.0 * scatter, 1e-4 * float(np.ptp(z))))
    prominence = properties["prominences"]
    if not bottoms.size:
        return bottoms.astype(np.int64), 0.0
    amplitude = float(prominence.max())
    large = prominence >= _SWING * amplitude
    others = prominence[~large]
    if others.size >= max(_FEWEST_ALIKE, 2 * int(large.sum())):
        alike = prominence >= _SWING * float(others.max())
        quartiles = np.quantile(prominence[alike], (0.25, 0.5, 0.75))
        on_one_surface = robust_sigma(z[bottoms[alike]]) < 0.5 * float(quartiles[1])
        if alike.sum() >= 2 * large.sum() + _FEWEST_ALIKE and np.ptp(quartiles) < 0.2 * quartiles[1] and on_one_surface:
            return bottoms[alike].astype(np.int64), float(quartiles[1])
    amplitude = float(np.median(prominence[large]))
    return bottoms[large].astype(np.int64), amplitude


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
    return None


def _tops_between(z: F64, bottoms: I64) -> I64:
    """The highest sample before, between and after the bottoms: always one more than bottoms."""
    edges = np.concatenate(([0], bottoms, [z.size]))
    return np.array([a + int(np.argmax(z[a:b])) for a, b in pairwise(edges)], dtype=np.int64)


def _long_ways(
    z: F64, tops: I64, bottoms: I64, amplitude: float, noise: float
) -> tuple[I64, NDArray[np.bool_], tuple[slice, ...]]:
    """(first sample that a hop's plateau may have, whether each bottom is a hop's, the approaches)."""
    first = np.concatenate(([0], bottoms[:-1])).astype(np.int64)
    is_hop = np.ones(bottoms.size, bool)
    approaches = []
    for k, (top, bottom) in enumerate(zip(tops[:-1].tolist(), bottoms.tolist(), strict=True)):
        if z[top] - z[bottom] <= _LONG * amplitude:
            continue
        near = top + int(np.flatnonzero(z[top : bottom + 1] > z[bottom] + 1.5 * amplitude)[-1]) + 1
        lowest = float(z[bottom]) + 0.5 * amplitude
        rest = _rest(z[near : bottom + 1], lowest, max(_TURN * amplitude, 4.0 * noise), noise)
        is_hop[k] = rest is not None
        end = bottom if rest is None else near + rest
        first[k] = end
        approaches.append(slice(top, end + 1))
    return first, is_hop, tuple(approaches)


def _rest(z: F64, lowest: float, margin: float, noise: float) -> int | None:
    """The first sample at which `z` rests above `lowest` for a plateau, within `margin`; None where it never does."""
    ahead = _SHORTEST_PLATEAU
    if z.size <= ahead:
        return None
    # A way down of constant speed comes down by far more than the margin within a plateau, unless it is sampled finely.
    speed = float(np.median(-np.diff(z)))
    length = max(ahead, int(np.ceil(3.0 * margin / speed))) if speed > 0.0 else ahead
    if z.size <= length:
        return None
    resting = (np.abs(z[length:] - z[:-length]) <= margin) & (z[:-length] >= lowest)
    at = np.flatnonzero(resting)
    if not at.size:
        return None
    slowing = z[at[0] : at[0] + length + 1]
    return int(at[0] + np.flatnonzero(slowing <= slowing.min() + 4.0 * noise)[0])


def _plateaus(z: F64, first: I64, tops: I64, bottoms: I64, noise: float) -> tuple[I64, I64]:
    start, fall = np.empty_like(tops), np.empty_like(tops)
    for k, (begin, bottom) in enumerate(zip(first.tolist(), bottoms.tolist(), strict=True)):
        top = max(int(tops[k]), begin)
        margin = max(_TURN * (z[top] - z[bottom]), 4.0 * noise)
        high = np.flatnonzero(z[begin:bottom] >= z[top] - margin)
        start[k], fall[k] = (begin + int(high[0]), begin + int(high[-1])) if high.size else (begin, begin)
    return start, fall


def _reference(current: F64, start: I64, fall: I64, bottoms: I64, resolution: float) -> F64:
    reference = np.empty(start.size)
    for k, (a, f, b) in enumerate(zip(start, fall, bottoms, strict=True)):
        # The first half of the plateau is left out: the scanner still rings after the withdrawal.
        first, last = (a + f) // 2, f + 1
        if last - first < _SHORTEST_PLATEAU:
            first, last = f, f + max(1, (b - f) // 10)
        plateau = current[first:last]
        away = np.abs(plateau - np.median(plateau))
        # No less than one count of the converter: of a quiet current most samples are alike.
        reference[k] = float(np.mean(plateau[away <= _SPIKE * max(robust_sigma(away, 0.0), resolution)]))
    return reference


def _relative_current_at_turn(current: F64, reference: float, fall: int, bottom: int) -> float:
    tail = current[max(fall, bottom - max(3, (bottom - fall) // 200)) : bottom + 1]
    return float(np.median(tail) / reference) if reference else 1.0


def _first_below(current: F64, setpoint: float, reference: float, fall: int, bottom: int) -> int:
    """The stop, -1 without one: the first sample below from which on half of those to the turn are below as well.

    Noise may have ended an approach that only just began to drop: then it is a sample right before the turn.
    """
    part = current[fall : bottom + 1]
    below = part * reference <= (1.0 - setpoint) * reference * reference
    remaining = np.cumsum(below[::-1])[::-1]
    lasting = np.flatnonzero(below & (2 * remaining >= np.arange(part.size, 0, -1)))
    if lasting.size:
        return fall + int(lasting[0])
    late = np.flatnonzero(below[-_LAST:])
    return bottom + 1 - min(_LAST, part.size) + int(late[0]) if late.size else -1


def _saturated(current: F64, fall: I64, bottoms: I64) -> NDArray[np.bool_]:
    """Hops during whose approach, while z moves, a run of samples sits at the largest or smallest current of the trace.

    How long a run must be follows from how often two neighbours are alike elsewhere: of a quiet current, digitised
    coarsely, many are. The plateau is left out: without noise its current is one number.
    """
    pinned = (current == np.max(current)) | (current == np.min(current))
    alike = np.append(False, np.diff(current) == 0.0)
    moving = np.zeros(current.size + 1, np.int64)
    np.add.at(moving, fall, 1)
    np.add.at(moving, bottoms, -1)
    falling = np.cumsum(moving[:-1]) > 0
    longest = longest_by_chance(current, (falling & ~pinned)[1:])
    held = pinned & alike & falling
    # Length of the run of equal pinned samples that ends at each sample.
    count = np.arange(current.size)
    run = count - np.maximum.accumulate(np.where(held, 0, count)) + 1
    long_runs = np.append(0, np.cumsum(held & (run >= longest)))
    return np.asarray(long_runs[bottoms + 1] > long_runs[fall])


def trace_results(
    current: F64, z: F64, t: F64 | None = None, setpoint: float | None = None, bias: float | None = None
) -> list[Result]:
    """Number of hops, states, heights, setpoint, overshoot, reference and period of a raw trace; approaches before it.

    `current` [A], `z` [m] up positive, `t` [s] (None: no period), (n,); `setpoint` the relative drop when it is known;
    `bias` [V] for the resistance of the approaches. Where the reference passes from one level to another, the change
    comes first, and everything else but the number of hops is of each state. Hops without contact and saturated ones
    are left out and counted. Fails with the named outcomes of `find_hops`.
    """
    hops = find_hops(current, z, setpoint)
    if isinstance(hops, NoFit):
        return [failed("hops", "1", _METHOD, hops.outcome, hops.reason)]
    first_saturated = np.flatnonzero(hops.saturated)
    flags = {"without_contact": int((~hops.contact).sum())}
    if first_saturated.size:
        flags |= {"saturated_hops": int(first_saturated.size), "first_saturated_hop": int(first_saturated[0]) + 1}
    changes = change_points(hops.reference)
    times = None if t is None or np.any(np.diff(t) <= 0.0) else t[hops.stop]
    trace = _hops_trace(current, z, t, hops, changes)
    results = state_change_results(changes, "reference_jump", "reference current", "hop", times)
    results.append(Result("hops", float(hops.size), 0.0, "1", _METHOD, flags=flags, trace=trace))
    origin = "largest drop before z turns (includes the overshoot)" if hops.setpoint_estimated else "as given"
    results.append(
        Result("setpoint", 100.0 * hops.setpoint, None, "%", f"relative drop that ends an approach: {origin}")
    )
    for number, state in enumerate(states(hops.size, changes), start=1):
        of_state = _state_results(z, t, hops, np.arange(hops.size)[state])
        results += [r.within(part="state", number=number) for r in of_state] if changes else of_state
    if t is not None and hops.size > 2:
        results.append(_period_result(t, hops))
    for number, part in enumerate(hops.approaches, start=1):
        of_approach = approach_results(z[part], current[part], bias, setpoint)
        results += [r.within(curve=number) for r in of_approach] if len(hops.approaches) > 1 else of_approach
    return results


def _state_results(z: F64, t: F64 | None, hops: TraceHops, members: NDArray[np.intp]) -> list[Result]:
    """Results of the hops `members`, between two changes of state."""
    good = members[hops.contact[members] & ~hops.saturated[members]]
    if good.size < 3:
        reason = f"{good.size} of {members.size} hops with contact and within the range; three are needed"
        outcome = "saturated" if hops.saturated[members].mean() > 0.5 else "too few hops"
        return [failed("height_scatter", "nm", _METHOD, outcome, reason)]
    flags = {"without_contact": int((~hops.contact[members]).sum())}
    if hops.saturated[members].any():
        flags["saturated_hops"] = int(hops.saturated[members].sum())
    results = []
    if hops.setpoint_estimated:
        # The stop would be the first sample with the drop at the turn: that measures the noise, not the overshoot.
        reason = "the setpoint is not stated, and the drop at the turn includes the overshoot: give --setpoint"
        results.append(failed("overshoot", "nm", "stop to lowest z", "not identifiable", reason))
    else:
        results += _overshoot_results(z, t, hops, good, flags)
    reference = hops.reference[good]
    results.append(level_result("reference_current", 1e12 * reference, "pA", "hops, mean over the plateau", flags))
    results += drift_result("reference_drift", reference, "hops", flags)
    stops = hops.stop[good][hops.stop[good] > 0]
    sample = float(np.median(np.abs(z[stops] - z[stops - 1]))) if stops.size else 0.0
    heights = 1e9 * hops.z_stop[good]
    results.append(level_result("height_at_stop", heights, "nm", "hops, z at the stop", flags, 1e9 * sample))
    results.append(_height_scatter_result(hops.z_stop[good], flags, sample))
    zeros = np.zeros(good.size)
    times = hops.turn[good].astype(np.float64) if t is None else t[hops.turn[good]]
    series = HopSeries(times, hops.z_stop[good], reference, zeros, zeros, hops.setpoint, flags["without_contact"])
    return [*results, ten_hop_change(series, noise_from_differences(series.current))]


def _hops_trace(current: F64, z: F64, t: F64 | None, hops: TraceHops, changes: list[ChangePoint]) -> xr.Dataset | None:
    """Height and reference of every hop in contact, and the samples of `_SHOWN` hops with their stops.

    These are from the middle of the trace, or about its first change of state.
    """
    good = np.flatnonzero(hops.contact)
    if not good.size:
        return None
    centre = int(np.searchsorted(good, changes[0].index)) if changes else good.size // 2
    middle = good[min(max(0, centre - _SHOWN // 2), max(0, good.size - _SHOWN)) :][:_SHOWN]
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


def _overshoot_results(
    z: F64, t: F64 | None, hops: TraceHops, good: NDArray[np.intp], flags: dict[str, int]
) -> list[Result]:
    """How far, and how long, z went on below the stop."""
    # The crossing lies anywhere within the sample before the stop: a rectangle, common to all hops.
    after = hops.stop[good][hops.stop[good] > 0]
    stops = hops.stop[good]
    quantities = [("overshoot", 1e9 * hops.overshoot[good], 1e9 * np.abs(z[after] - z[after - 1]), "nm")]
    if t is not None and not np.any(np.diff(t) <= 0.0):
        last = hops.turn[good]
        quantities.append(("overshoot_time", 1e3 * (t[last] - t[stops]), 1e3 * (t[after] - t[after - 1]), "ms"))
    results = []
    for name, values, steps, unit in quantities:
        middle, u = median_with_u(values)
        u = float(np.hypot(u, u_of_rectangle(float(np.median(steps))))) if steps.size else u
        method = (
            "median over the hops, stop to lowest z; u: 1.2533 MAD-sigma/sqrt(n), and one sample of the approach as a "
            "rectangle"
        )
        results.append(Result(name, middle, u, unit, method, flags=flags))
    return results


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


def _height_scatter_result(heights: F64, flags: dict[str, int], sample: float) -> Result:
    trace = xr.DataArray(heights, dims="hop", attrs={"units": "m", "quantity": "height at the stop"})
    sigma, u = scatter_with_u(heights)
    method = (
        "standard deviation of one height at the stop, from second differences of successive hops (below five: plain)"
    )
    # Stops lie on samples: heights that agree to one of them may scatter by as much as lies within it.
    if sigma < u_of_rectangle(sample):
        u, method = max(u, u_of_rectangle(sample)), f"{method}; below one sample of the approach, which is in u"
    return Result("height_scatter", sigma * 1e9, u * 1e9, "nm", method, flags=flags, trace=trace)
