"""Results of a series that may change its state: the changes, and the level and the drift of each state."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.hops.change_points import ChangePoint
from opsicm.analysis.result import Result
from opsicm.core.statistics import mean_with_u, median_with_u, u_of_rectangle

F64 = NDArray[np.float64]
_BLOCKS: Final = 8
_MOST: Final = 12  # changes that are listed
_NO_LEVEL: Final = 1e-6  # of the new level: a ratio to less says nothing
_ENDS: Final = 10  # parts of a series: the first and the last are compared


def state_change_results(
    changes: list[ChangePoint],
    name: str,
    quantity: str,
    each: str,
    t: F64 | None = None,
    numbers: NDArray[np.int64] | None = None,
) -> list[Result]:
    """For every change the ratio `name` of the new level to the old, and its time `name`_time [s] where `t` is known.

    `quantity` and `each` say of what the series is ("reference current", "hop"), `t` [s] (n,) when, `numbers` (n,)
    which of all such values each was, from 1 (None: the series is whole). The flags count: `each` (number of the first
    value of the new state), the values within the passage, all changes. Of more than twelve the largest are kept.
    """
    kept = sorted(changes, key=lambda c: -abs(c.after - c.before))[:_MOST]
    results = []
    for k, change in enumerate(sorted(kept, key=lambda c: c.index), start=1):
        index = k if len(kept) > 1 else None
        between = change.index - change.start
        first = change.index + 1 if numbers is None else int(numbers[change.index])
        flags = {each: first, "within_change": between, "changes": len(changes)}
        over = f", which took {between} more" if between else ""
        method = (
            f"{quantity} after over before {each} {first}{over}, from lines through up to 64 values on either side; a "
            "change beyond noise and drift (segmentation by Schwarz's criterion)"
        )
        if abs(change.before) <= _NO_LEVEL * abs(change.after):
            continue
        results.append(Result(name, change.ratio, change.u_ratio, "1", method, flags=flags, index=index))
        if t is not None:
            early, late = float(t[max(change.start - 1, 0)]), float(t[change.index])
            when = f"between the {each} before the change and the first after it; u: a rectangle between them"
            middle, u = 0.5 * (early + late), u_of_rectangle(late - early)
            results.append(Result(f"{name}_time", middle, u, "s", when, flags=flags, index=index))
    return results


def level_result(
    name: str, values: F64, unit: str, what: str, flags: dict[str, int], resolution: float = 0.0
) -> Result:
    """Median of `values` (n,) of one state; u from their scatter, or from that of eight blocks where it is more.

    `resolution` is the step of the lattice on which the values lie, if any (in `unit`): a rectangle beside it.

    Values that drift do not average out: the median of a current that fell by half is not known to a picoampere.
    """
    middle, u = median_with_u(values)
    method = f"median over the {what}; u: 1.2533 MAD-sigma/sqrt(n), or the scatter of {_BLOCKS} blocks where it is more"
    if values.size >= 2 * _BLOCKS:
        _, u_blocks = mean_with_u(np.array([np.median(block) for block in np.array_split(values, _BLOCKS)]))
        u = max(u, u_blocks)
    elif values.size > 2:
        # Too few for blocks: the range as a rectangle where successive values rise or fall throughout.
        rising = np.abs(np.sum(np.sign(np.diff(values)))) == values.size - 1
        u = max(u, u_of_rectangle(float(np.ptp(values)))) if rising else u
    if resolution:
        method, u = f"{method}; one sample as a rectangle", float(np.hypot(u, u_of_rectangle(resolution)))
    return Result(name, middle, u, unit, method, flags=flags)


def drift_result(name: str, values: F64, what: str, flags: dict[str, int]) -> list[Result]:
    """Mean of the last tenth of `values` (at least three) less that of the first, over the mean of both [%].

    [] below six values, or where their mean is 0.
    """
    if values.size < 6:
        return []
    n = max(values.size // _ENDS, 3)
    (begin, u_begin), (end, u_end) = mean_with_u(values[:n]), mean_with_u(values[-n:])
    middle = 0.5 * (begin + end)
    if middle == 0.0:
        return []
    method = f"mean over the last {n} {what} less that over the first {n}, of their mean; u: scatter of either"
    value, u = 100.0 * (end - begin) / abs(middle), 100.0 * float(np.hypot(u_begin, u_end)) / abs(middle)
    return [Result(name, value, u, "%", method, flags=flags)]
