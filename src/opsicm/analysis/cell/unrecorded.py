"""What a record does not hold: rows that are no measurement, and intervals over which nothing was recorded."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from opsicm.core.statistics import MAD_TO_SIGMA, resolution_of, straight_line

F64 = NDArray[np.float64]

NEAR: Final = 10  # rows to either side that say what is usual there: enough for a median, few against a step
# Times the median difference of neighbours. Differences of white noise have a median of 0.95 sigma, so that 8 of them
# are 5.4 standard deviations of a difference: one false jump in 10^7 rows. Smooth curves never reach it.
JUMP: Final = 8.0
SIGNIFICANT: Final = 4.5  # sigmas: of the few hundred comparisons in a record none happens by chance
ROWS: Final = 4  # fewer have no shape
REGULATED: Final = 0.02  # of a current: a smaller step is within what ranges and regulators of cyclers do by themselves
_REPEATS: Final = 0.3  # of the rows that move, those before which the value stood still
_NO_CELL: Final = 100.0  # [V]: what an instrument writes for a value that it has not got
_FEW: Final = 5  # rows of an overload in a short record
_OUTLIER: Final = 3.0  # times the largest other current: an overload, if the potential knows nothing of it


def noise_about_line(t: F64, values: F64) -> float:
    """Standard deviation of one of `values` (n,), by what each is off the line between its neighbours in time."""
    if t.size < 5:
        return 0.0
    whole = t[2:] - t[:-2]
    share = np.divide(t[1:-1] - t[:-2], whole, out=np.full(whole.size, 0.5), where=whole > 0.0)
    off = values[1:-1] - (1.0 - share) * values[:-2] - share * values[2:]
    return MAD_TO_SIGMA * float(np.median(np.abs(off) / np.sqrt(1.0 + share**2 + (1.0 - share) ** 2)))


def digits_of(values: F64) -> float:
    """What the last digit of `values` [any unit], (n,), stands for, where rows repeat it; 0 where it cannot be told.

    The smallest step between values is one of digits where a slow change stands still for a row or some before it goes
    on; else it may be how far the quantity moved from row to row, or the step of a program. Fails (0) for fast records
    with few digits, and where the value moves in less than every tenth row.
    """
    moving = np.diff(values) != 0.0
    moves = int(np.count_nonzero(moving))
    stands = int(np.count_nonzero(moving[1:] & ~moving[:-1]))
    return resolution_of(values) if stands >= _REPEATS * max(moves, 1) and moves > 0.1 * values.size else 0.0


def usual_difference(differences: F64) -> F64:
    """The larger of the medians of `differences` (n,) over the ten before and the ten after each.

    The larger: where a quiet part ends, the noise of the next one is no jump.
    """
    medians = median_filter(differences, NEAR + 1, mode="mirror")
    k = np.arange(differences.size)
    half = NEAR // 2
    before, after = np.maximum(k - half - 1, 0), np.minimum(k + half + 1, differences.size - 1)
    return np.asarray(np.maximum(medians[before], medians[after]), dtype=np.float64)


def overloads(potential: F64, current: F64) -> NDArray[np.bool_]:
    """Rows whose current or potential is no measurement: alone, far beyond all others, and without effect.

    `potential` [V], `current` [A], (n,). A current three times beyond all but one per cent of the record (at
    least five rows), in no more rows than those together, is an overload where the potential moves no more than
    beside it: a real one moves it by the ohmic drop. A potential that leaves and comes back within one row by 50 mV
    and twenty times what is usual there is a fault of the same kind where the current does not answer. Fails for
    overloads in more rows, and for faults in both columns at once whose potential is below 100 V.
    """
    n = current.size
    bad = np.zeros(n, dtype=bool)
    if n < 2 * ROWS:
        return bad
    size = np.abs(current)
    few = min(max(_FEW, n // 100), n // 4)
    usual = float(np.partition(size, n - 1 - few)[n - 1 - few])
    moved = np.abs(np.diff(potential))
    quiet = JUMP * usual_difference(moved) + 3.0 * digits_of(potential)
    for a, b in _runs(size > _OUTLIER * usual):
        beside = float(np.max(size[[j for j in (a - 1, b) if 0 <= j < n]]))
        if b - a > few or usual == 0.0 or float(size[a:b].min()) < _OUTLIER * beside:
            continue
        edges = slice(max(a - 1, 0), min(b, n - 1))
        if np.all(moved[edges] <= quiet[edges] + 1e-3) or float(np.min(np.abs(potential[a:b]))) > _NO_CELL:
            bad[a:b] = True
    there = np.flatnonzero((moved[:-1] > 0.05) & (moved[1:] > 0.05)) + 1
    answer = JUMP * usual_difference(np.abs(np.diff(current))) + REGULATED * usual
    for k in there:
        back = abs(float(potential[k + 1] - potential[k - 1])) <= 0.1 * float(min(moved[k - 1], moved[k]))
        beside = float(np.median(moved[max(0, k - 1 - NEAR) : k + NEAR]))
        silent = np.all(np.abs(np.diff(current[k - 1 : k + 2])) <= answer[k - 1 : k + 1])
        if back and silent and min(moved[k - 1], moved[k]) > 20.0 * beside:
            bad[k] = True
    return bad


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def unrecorded(t: F64, potential: F64, current: F64) -> NDArray[np.bool_]:
    """Which of the n - 1 intervals between rows nothing is known of; `t` [s], `potential` [V], `current` [A], (n,).

    An interval more than five times those beside it, over which the state did not go on: rows that a change of
    potential or charge triggered are sparse, not missing. It went on if potential and current changed by what the rows
    on either side let expect, within a factor of three, and if the interval is no longer than what was recorded beside
    it: beyond that it would be extrapolated, not interpolated.
    """
    steps = np.diff(t)
    missing = np.zeros(steps.size, dtype=bool)
    if steps.size < ROWS:
        return missing
    usual = median_filter(steps, 2 * NEAR + 1, mode="mirror")
    long = np.flatnonzero((steps > 5.0 * usual) & (steps > 0.0))
    if not long.size:
        return missing
    scales = [(max(noise_about_line(t, v), digits_of(v) / 3.0), v) for v in (potential, current)]
    for k in long:
        if _is_triggered(steps, potential, current, int(k)):
            continue
        went_on = all(_continues(t, v, sigma, int(k)) for sigma, v in scales)
        missing[k] = not went_on or steps[k] > sum(_recorded_beside(steps, usual, int(k)))
    return missing


def _recorded_beside(steps: F64, usual: F64, k: int) -> tuple[float, float]:
    """Time [s] recorded without another long interval, before and after interval k."""
    breaks = np.flatnonzero(steps > 5.0 * usual)
    before, after = breaks[breaks < k], breaks[breaks > k]
    a = int(before[-1]) + 1 if before.size else 0
    b = int(after[0]) if after.size else steps.size
    return float(steps[a:k].sum()), float(steps[k + 1 : b].sum())


def _is_triggered(steps: F64, potential: F64, current: F64, k: int) -> bool:
    """Whether intervals near k are uneven in time but even in potential, or current, or its change: so was k's."""
    near = slice(max(0, k - NEAR), k + NEAR + 1)
    if float(np.percentile(steps[near], 75.0)) < 1.3 * float(np.percentile(steps[near], 25.0)):
        return False
    for values in (potential, current):
        moves = np.abs(np.diff(values))
        usual = float(np.median(moves[near]))
        even = float(np.percentile(moves[near], 75.0)) < 1.5 * float(np.percentile(moves[near], 25.0))
        if usual > 0.0 and even and moves[k] < 2.0 * usual:
            return True
    return False


def _slopes(t: F64, values: F64, k: int) -> list[tuple[float, float]]:
    """Slope and u over up to five rows on either side of interval k, where they are of one piece."""
    slopes = []
    for rows in (slice(max(0, k - 4), k + 1), slice(k + 1, min(t.size, k + 6))):
        if rows.stop - rows.start >= 3 and t[rows.stop - 1] > t[rows.start]:
            line = straight_line(t[rows], values[rows])
            slopes.append((line.slope, line.u_slope))
    return slopes


def _continues(t: F64, values: F64, sigma: float, k: int) -> bool:
    """Whether `values` change over interval k as they do on one side of it at least."""
    took, change = float(t[k + 1] - t[k]), float(values[k + 1] - values[k])
    noise = SIGNIFICANT * 2.0**0.5 * sigma
    for slope, u in _slopes(t, values, k):
        expected = slope * took
        unsure = noise + 2.0 * u * took
        low, high = sorted((expected / 3.0, 3.0 * expected))
        if low - unsure <= change <= high + unsure:
            return True
    return False
