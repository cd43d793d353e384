"""Which row of which pass a hop belongs to, from where the hops were: a hop's `line` counts on from pass to pass where
a pattern repeats by itself, and begins again where an event starts the step anew."""

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
    """Of hops in their order: `row` of each in its pass, `begins` of the passes (index of a hop), unit vector `along` a
    row, `length` [m] of a row, and whether it is a `raster` or one line."""

    row: Ints
    begins: Ints
    along: Floats
    length: float
    raster: bool


def passes(x: Floats, y: Floats, line: NDArray[np.int32], pixel: NDArray[np.int32]) -> Passes:
    """The passes of a pattern of at least two places [m].

    By how much `line` has grown when hops are back in the first row tells how many rows there are; where it has not
    grown, or they never came back, `line` is the row. A pass begins where the row does not grow.
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


def apart(x: Floats, y: Floats, pixel: NDArray[np.int32]) -> bool:
    """Whether hops have a pattern at all: pixels in a row, at places that are known and differ."""
    if x.size < 2 or pixel.min() < 0 or pixel.max() < 1 or not np.isfinite(x + y).all():
        return False
    return bool(np.ptp(x) > 0.0 or np.ptp(y) > 0.0)
