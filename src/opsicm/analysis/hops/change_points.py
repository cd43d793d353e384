"""Change points of a series: where a tip broke or clogged, so that what comes after is another state.

A drift is no change of state, however long it lasts; one value that is off is a spike and none either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, median_filter
from scipy.special import stdtrit

from opsicm.core.statistics import LinearFit, linear_fit, noise_from_differences, robust_sigma, straight_line

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_FALSE: Final = 1e-3  # series without a change in which one is found
_SHORTEST: Final = 3  # values of a state: two may be a bubble that passed, and a spike is one
_WINDOWS: Final = (3, 4, 6, 8, 12, 16)  # values on either side of a change, at the finest scale
_COARSER: Final = (12, 16)  # of means of 2, 4, 8 … values: further doublings
_SPIKE: Final = 6.0  # sigmas from the median of five
_POSITIONS: Final = 5  # windows: in a series of so many, a change spoils too few positions to move their median
_SEEN: Final = 1.25  # times white noise: a robust sigma of 30 values scatters by as much
_BETTER: Final = 10.0  # of Schwarz's criterion: "very strong" evidence (Kass and Raftery, JASA 1995, 90, 773)
_ROUNDS: Final = 8
_TRIED: Final = 2000  # positions of one window, most of them beside one that was refused
_QUARTER: Final = 12  # values
_POINTS: Final = 64  # means of a window in which a candidate is held against smooth curves
_PASSAGES: Final = (1, 2, 3, 4, 5, 6, 7, 8)  # values that a change may take, in such a window
_QUICK: Final = 4  # of its own lengths: a state that lasts no longer on either side is part of a drift
_LEVEL: Final = 64  # values beside a change that its levels are taken from
_OFF: Final = 4.0  # sigmas
_PLACES: Final = 10
_NEARBY: Final = 1024
_UNUSUAL: Final = 3.0
_ROUND_OFF: Final = 1e-9


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """One change: the old state ends before value `start`, the new one begins with value `index` (usually the same).

    Levels `before` and `after` with their u are those of the lines on either side, at the change itself.
    """

    start: int
    index: int
    before: float
    after: float
    u_before: float
    u_after: float

    @property
    def ratio(self) -> float:
        """after / before [1]; `before` must not be 0."""
        return self.after / self.before

    @property
    def u_ratio(self) -> float:
        """Standard uncertainty of `ratio`."""
        return float(np.hypot(self.u_after, self.ratio * self.u_before) / abs(self.before))


def change_points(values: F64) -> list[ChangePoint]:
    """Where `values` [any unit], (n,) in order, pass from one level to another that lasts; in order, [] without one.

    1. At every position and for windows of 3 to n/2 values on either side: the height J of a step on a common slope,
    whose u is sigma sqrt(8/w) for white noise (half of a step's information is lost to the slope: a steady drift has
    J = 0), and more where the series wanders: sigma is from second differences; where the series is long against the
    window, u is no less than the robust scatter of J over all positions, and in wider windows it is taken to exceed
    that of white noise as a random walk's would. Largest values of J/u beyond what
    1 of 1000 series of noise reaches (all positions and windows counted) are candidates, the narrowest windows first.
    2. A candidate stands where a passage from level to level on a common slope, between stretches that each last
    four times as long, describes its surroundings better than a cubic or two lines that meet, by 10 of Schwarz's
    criterion, and its height exceeds its u by Student's t. Both count only as many independent values as the means of
    the residual over 1, 2, 4 … values leave. And it is three times what 19 of 20 places of the series change by over
    the same distance. 3. It is taken out and the search repeated.
    Single values off by six sigma are set to their neighbours' median first. Assumes a noise of one size. Fails below
    six values (none is found), and for a state of one or two values.
    Source: the segmentation of Scott and Knott, Biometrics 1974, 30, 507, here on a slope and with Schwarz's criterion
    (Ann. Stat. 1978, 6, 461).
    """
    n = values.size
    if n < 2 * _SHORTEST or not np.isfinite(values).all():
        return []
    sigma = _noise(values)
    clean = _without_spikes(values, sigma)
    level = clean.copy()
    passages: list[tuple[int, int]] = []
    for _ in range(_ROUNDS):
        accepted: list[tuple[int, int]] = []
        for candidates in _candidates(level, sigma):
            _accept(level, candidates, passages, accepted)
        if not accepted:
            break
        for start, index in accepted:
            before, after = _levels(level, start, index, _bounds(n, passages))
            jump = after[0] - before[0]
            level[start:index] -= jump * (np.arange(start, index) - start + 1) / (index - start + 1)
            level[index:] -= jump
    passages.sort()
    passages = [_widened(clean, passage, _bounds(n, passages), sigma) for passage in passages]
    changes = []
    for start, index in passages:
        before, after = _levels(clean, start, index, _bounds(n, passages))
        changes.append(ChangePoint(start, index, before[0], after[0], before[1], after[1]))
    return changes


def _bounds(n: int, passages: list[tuple[int, int]]) -> list[int]:
    return [0, *sorted(edge for passage in passages for edge in passage), n]


def _accept(
    values: F64, candidates: list[tuple[int, int]], passages: list[tuple[int, int]], accepted: list[tuple[int, int]]
) -> None:
    """Append to `passages` and `accepted` the `candidates` of one window that stand, the strongest first."""
    n = values.size
    refused = np.zeros(n + 1, bool)
    for tried, (k, w) in enumerate(candidates):
        if tried >= _TRIED:
            return
        # Near a change that was just found the step is still in the values.
        if refused[k] or any(start - 2 * w < k < index + 2 * w for start, index in accepted):
            continue
        passage = _confirmed(values, k, w, _bounds(n, passages))
        if passage is None:
            refused[max(0, k - w // 2) : k + w // 2 + 1] = True
        else:
            passages.append(passage)
            accepted.append(passage)


def _noise(values: F64) -> float:
    """Noise of one value; where it differs from quarter to quarter (a gain, a limit), that of the noisiest."""
    parts = [values] if values.size < 4 * _QUARTER else [values, *np.array_split(values, 4)]
    sigma = max(noise_from_differences(part) for part in parts)
    return max(sigma, _ROUND_OFF * float(np.max(np.abs(values))), 1e-300)


def states(n: int, changes: list[ChangePoint]) -> list[slice]:
    """The states of a series of `n` values, always one more than changes; values within a passage are in neither."""
    begins = [0, *(c.index for c in changes)]
    return [slice(a, b) for a, b in zip(begins, [*(c.start for c in changes), n], strict=True)]


def _without_spikes(values: F64, sigma: float) -> F64:
    middle = median_filter(values, 5, mode="nearest")
    return np.where(np.abs(values - middle) > _SPIKE * sigma, middle, values)


def _candidates(values: F64, sigma: float) -> Iterator[list[tuple[int, int]]]:
    """(position, window) of steps that noise does not explain, the strongest first: a list for each window, in order.

    The narrowest windows first: the narrowest that shows a change locates it best, and is least mistaken about a curved
    drift.
    """
    scales = len(_WINDOWS) + len(_COARSER) * max(0, int(np.log2(max(values.size / 32, 1))))
    limit = float(-stdtrit(1e9, _FALSE / (2.0 * values.size * scales)))
    memory, widest = 1.0, 1
    series, group = values, 1
    windows: tuple[int, ...] = _WINDOWS
    while series.size >= 2 * windows[0]:
        for w in windows:
            if series.size < 2 * w:
                continue
            step, unit = _steps(series, w)
            u = sigma / group**0.5 * unit
            if step.size >= _POSITIONS * w:
                memory, widest = max(1.0, robust_sigma(step) / u), w * group
                z = np.abs(step) / (u * memory)
            else:
                # Seen in windows of `widest`: of a random walk it grows in proportion.
                z = np.abs(step) / (u * max(1.0, memory if memory < _SEEN else memory * w * group / widest))
            beyond = np.flatnonzero(z > limit)
            strongest = beyond[np.argsort(-z[beyond], kind="stable")]
            yield [(int(p + w) * group, w * group) for p in strongest]
        whole = series.size // 2 * 2
        series, group, windows = series[:whole].reshape(-1, 2).mean(axis=1), 2 * group, _COARSER


def _steps(series: F64, w: int) -> tuple[F64, float]:
    """(J at the positions w … n - w, u of J for sigma 1) of a step on a common slope over `w` values either side."""
    t = np.arange(-w, w) + 0.5
    side = 0.5 * np.sign(t)
    kernel = side - t * float(side @ t) / float(t @ t)
    size = float(kernel @ kernel)
    # correlate1d centres an even kernel on its right half: the value at k is that over [k - w, k + w).
    return correlate1d(series, kernel / size, mode="nearest")[w : series.size - w + 1], size**-0.5


def _confirmed(values: F64, k: int, w: int, bounds: list[int]) -> tuple[int, int] | None:
    """(end of the old state, begin of the new) of the change near `k`, None where a smooth curve does as well."""
    k = min(max(k, 1), values.size - 1)
    reach = max(4 * _SHORTEST, 2 * w)
    first = max(k - reach, *(b for b in bounds if b <= k))
    last = min(k + reach, *(b for b in bounds if b > k))
    group = -(-(last - first) // _POINTS)
    m = (last - first) // group
    if m < 2 * _SHORTEST:
        return None
    y = values[first : first + m * group].reshape(m, group).mean(axis=1)
    x = np.linspace(-1.0, 1.0, m)
    found = _best_passage(x, y)
    if found is None:
        return None
    begin, length, fit = found
    inflation = _memory(fit.residual)
    independent = max(m / inflation**2, 1.0)
    freedom = max(independent - fit.coefficients.size, 1.0)
    limit = float(-stdtrit(freedom, _FALSE / (2.0 * values.size)))
    jump, u = float(fit.coefficients[2]), float(fit.u[2]) * inflation
    floor = (_ROUND_OFF * float(np.max(np.abs(values)))) ** 2 * m
    squares = float(fit.residual @ fit.residual) + floor
    if abs(jump) <= limit * u or independent * np.log((_smooth_squares(x, y) + floor) / squares) < _BETTER:
        return None
    start, index = first + begin * group, first + (begin + length - 1) * group
    if group > 1 and length == 1:
        start = index = _located(values, start, 2 * group, first, last)
    return (start, index) if _is_unusual(values, start, index, max(1, w // 2)) else None


def _is_unusual(values: F64, start: int, index: int, reach: int) -> bool:
    """Whether means over `reach` values before and after differ more than in most places of the series as far apart.

    By three times what 19 of 20 places stay below, a steady slope apart: a quick drift that comes and goes, as of salt
    under a sweep, passes from level to level in many places. Too few places say nothing.
    """
    gap = index - start
    # Places nearby: of a long series they are enough, and cost less.
    first = max(0, start - max(_NEARBY, 32 * (gap + reach)))
    values = values[first : index + max(_NEARBY, 32 * (gap + reach))]
    start, n = start - first, values.size
    sums = np.concatenate(([0.0], np.cumsum(values - values[0])))
    at = np.arange(reach, n - gap - reach + 1)
    if start < reach or start > n - gap - reach:
        return True
    change = (sums[at + gap + reach] - sums[at + gap] - sums[at] + sums[at - reach]) / reach
    elsewhere = change[np.abs(at - start) > gap + reach]
    if elsewhere.size < _PLACES:
        return True
    middle = float(np.median(elsewhere))
    usual = float(np.quantile(np.abs(elsewhere - middle), 0.95))
    return bool(abs(change[start - reach] - middle) > _UNUSUAL * usual)


def _best_passage(x: F64, y: F64) -> tuple[int, int, LinearFit] | None:
    """(first value of the passage, values it takes, fit) that leaves least of `y` on a common slope.

    A passage of length 1 lies between two values; one of length L has L - 1 values in it. The states on either side
    last four times as long: without plateaus a passage is a drift.
    """
    m = y.size
    start, length, ramps, about = _passages(m)
    if not start.size:
        return None
    best = int(np.argmax(np.abs(about @ y)))
    basis = [np.ones(m), x, ramps[best]]
    # Their own slopes on either side, where both have the values for it.
    if min(start[best], m - start[best] - length[best] + 1) >= 2 * _SHORTEST:
        middle = (
            float(np.interp(0.5, ramps[best], x)) if length[best] > 1 else float(x[start[best]] - 0.5 * (x[1] - x[0]))
        )
        basis.append(np.where(x > middle, x - middle, 0.0) - np.where(x < middle, x - middle, 0.0))
    return int(start[best]), int(length[best]), linear_fit(np.column_stack(basis), y)


@lru_cache(maxsize=64)
def _passages(m: int) -> tuple[I64, I64, F64, F64]:
    """(start, length, shape, unit shape about a straight line) of every passage within `m` values."""
    starts, lengths = [], []
    for values in _PASSAGES:
        least = max(_SHORTEST, _QUICK * (values - 1))
        possible = np.arange(least, m - (values - 1) - least + 1, dtype=np.int64)
        starts.append(possible)
        lengths.append(np.full(possible.size, values, dtype=np.int64))
    start, length = np.concatenate(starts), np.concatenate(lengths)
    ramps = np.clip((np.arange(m) - start[:, None] + 1.0) / length[:, None], 0.0, 1.0)
    return start, length, ramps, _about_line(ramps)


@lru_cache(maxsize=64)
def _bends(m: int) -> F64:
    """Unit shapes of two lines that meet, at every value but the outer two, about a straight line."""
    x = np.linspace(-1.0, 1.0, m)
    return _about_line(np.maximum(x - x[2:-2, None], 0.0))


def _about_line(shapes: F64) -> F64:
    m = shapes.shape[1]
    x = np.linspace(-1.0, 1.0, m)
    flat = np.column_stack((np.full(m, m**-0.5), x / float(x @ x) ** 0.5))
    about = shapes - (shapes @ flat) @ flat.T
    return np.asarray(about / np.sqrt(np.einsum("ij,ij->i", about, about))[:, None])


def _memory(residual: F64) -> float:
    """By how much means of neighbours scatter more than means of independent values, at the worst of all lengths."""
    spread = float(np.mean(residual**2))
    if spread == 0.0:
        return 1.0
    worst, length = 1.0, 2
    while residual.size // length >= 2 * _SHORTEST:
        whole = residual.size // length * length
        means = residual[:whole].reshape(-1, length).mean(axis=1)
        worst = max(worst, length * float(np.mean(means**2)) / spread)
        length *= 2
    return float(worst**0.5)


def _smooth_squares(x: F64, y: F64) -> float:
    """The least that a curve without a step leaves: a cubic, or two lines that meet."""
    flat = np.column_stack((np.full(x.size, x.size**-0.5), x / float(x @ x) ** 0.5))
    line = y - flat @ (flat.T @ y)
    two_lines = float(line @ line) - float(np.max((_bends(x.size) @ y) ** 2))
    cubic = linear_fit(np.vander(x, 4), y).residual
    return min(max(two_lines, 0.0), float(cubic @ cubic))


def _located(values: F64, near: int, reach: int, first: int, last: int) -> int:
    """The change to the value, by the largest difference of the means on either side, over twice the reach."""
    low, high = max(first, near - 2 * reach), min(last, near + 2 * reach)
    y = values[low:high] - values[low:high].mean()
    sums, left = np.cumsum(y)[:-1], np.arange(1.0, y.size)
    return low + 1 + int(np.argmax(sums**2 / (left * (y.size - left))))


def _widened(values: F64, passage: tuple[int, int], bounds: list[int], sigma: float) -> tuple[int, int]:
    """The passage with the values beside it that do not lie on the line of their own state yet, by four sigma.

    The narrowest window that shows a slow passage sees its steepest part.
    """
    start, index = passage
    if start == index:
        return passage
    low, high = max(b for b in bounds if b < start), min(b for b in bounds if b > index)
    jump = values[index] - values[start - 1]
    most = 2 * (index - start) + 2 * _SHORTEST
    for edge, far, step in ((start, low, -1), (index, high, 1)):
        at = edge
        while abs(at - edge) < most and abs(far - at) > 4 * _SHORTEST:
            # The value next to the passage against the line through those farther away.
            near = at - 1 if step < 0 else at
            part = (
                values[max(low, near - _LEVEL) : near]
                if step < 0
                else values[near + 1 : near + 1 + _LEVEL][: high - near - 1]
            )
            line = straight_line(np.arange(part.size, dtype=np.float64), part)
            expected, u = line.at(float(part.size if step < 0 else -1))
            if step * jump * (expected - values[near]) <= 0.0 or abs(values[near] - expected) < _OFF * np.hypot(
                sigma, u
            ):
                break
            at += step
        start, index = (at, index) if step < 0 else (start, at)
    return start, index


def _levels(values: F64, start: int, index: int, bounds: list[int]) -> tuple[tuple[float, float], tuple[float, float]]:
    """(level, u) just before `start` and just after `index`, from lines through up to 64 values on either side."""
    low, high = max(b for b in bounds if b < start), min(b for b in bounds if b > index)
    sides = []
    for part, edge in (
        (values[max(low, start - _LEVEL) : start], -0.5),
        (values[index : min(high, index + _LEVEL)], 0.5),
    ):
        x = np.arange(part.size, dtype=np.float64) + (0.5 if edge > 0.0 else 0.5 - part.size)
        fit = linear_fit(np.vander(x, 2 if part.size >= 2 * _SHORTEST else 1, increasing=True), part)
        sides.append((float(fit.coefficients[0]), float(fit.u[0]) * _memory(fit.residual)))
    return sides[0], sides[1]
