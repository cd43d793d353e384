"""Which pass and which row of a repeated raster or line each hop belongs to, from the positions of the hops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STRAIGHT: Final = 1e-3  # of a row's length: rows that lie nearer than this lie on one another


@dataclass(frozen=True, slots=True)
class Passes:
    """The passes over a pattern: `row` of each hop in its pass, index of the hop with which each pass `begins`, unit
    vector `along` a row, `length` [m] of a row, and whether it is a `raster` or one line."""

    row: Ints
    begins: Ints
    along: Floats
    length: float
    raster: bool


def passes(x: Floats, y: Floats, line: NDArray[np.int32], pixel: NDArray[np.int32]) -> Passes:
    """The passes over a pattern of at least two points [m], from the positions of its hops.

    `line` counts on from pass to pass where a pattern repeats by itself, and restarts where an event starts the step
    again. So the number of rows is how far `line` has counted when the hops return to the first row; where it has
    restarted, or they never return, `line` is the row. A pass begins where the row does not increase.
    """
    starts = np.flatnonzero(np.diff(line, prepend=line[0] - 1))
    counts = np.diff([*starts, line.size])
    stop = counts[0]
    left, right = np.argmin(pixel[:stop]), np.argmax(pixel[:stop])
    side = np.array([x[right] - x[left], y[right] - y[left]])
    length = float(np.hypot(*side))
    along = side / length if length > 0.0 else np.array([1.0, 0.0])
    middles = np.column_stack([np.add.reduceat(values, starts) / counts for values in (x, y)])
    across = (middles - middles[0]) @ np.array([-along[1], along[0]])
    pitch = abs(float(across[1])) if starts.size > 1 else 0.0
    raster = pitch > _STRAIGHT * length
    returns = np.flatnonzero(np.abs(across) < pitch / 2) if raster else np.arange(starts.size)
    further = line[starts[returns]] - line[0]
    period = int(further[further > 0].min()) if (further > 0).any() else 0
    row = line.astype(np.int64) % period if period else line.astype(np.int64)
    begins = starts[np.diff(row[starts], prepend=row[0]) <= 0] if starts.size > 1 else starts
    return Passes(row, begins.astype(np.int64), along, length, raster)


def has_pattern(x: Floats, y: Floats, pixel: NDArray[np.int32]) -> bool:
    """Whether hops form a pattern: numbered pixels at known and different positions."""
    if x.size < 2 or pixel.min() < 0 or pixel.max() < 1 or not np.isfinite(x + y).all():
        return False
    return bool(np.ptp(x) > 0.0 or np.ptp(y) > 0.0)
