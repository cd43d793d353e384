"""The decimated stream: smallest, largest and mean count of every so many samples, so that a day fits a screen.

A row never reaches over the end of a block, which is what a crash leaves whole: rows need no repair afterwards.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled

_LANES: Final = 32  # elements reduced side by side: fills the widest registers, and a few channels divide it


def factor(dt_ns: int) -> int:
    """Samples in a row: the power of two that comes nearest to a thousand rows a second (1 for a slow stream)."""
    return 1 << max(0, round(math.log2(1e6 / dt_ns)))


def decimate(
    counts: NDArray[np.int16], rows_of: int
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.float32]]:
    """(minimum, maximum, mean) [row, channel] of [n, channel] counts, `rows_of` samples a row.

    The last row holds the samples that do not fill one.
    """
    n, width = counts.shape
    rows = -(-n // rows_of)
    minimum, maximum = np.empty((2, rows, width), np.int16)
    total = np.empty((rows, width), np.int64)
    if n and width:
        _reduce(np.ascontiguousarray(counts).reshape(-1), width, rows_of * width, minimum, maximum, total)
    sizes = np.full((rows, 1), rows_of, np.float64)
    if n % rows_of:
        sizes[-1] = n % rows_of
    return minimum, maximum, (total / sizes).astype(np.float32)


@compiled
def _reduce(flat: Any, width: int, row: int, minimum: Any, maximum: Any, total: Any) -> None:
    """One row after the other, each of `row` elements of all channels in turn.

    Adjacent elements are reduced side by side, whatever channel they are of, since the compiler fills registers only
    over a loop of known length; what each lane holds goes to its channel at the end of the row.
    """
    low, high = np.empty(_LANES, np.int16), np.empty(_LANES, np.int16)
    part = np.empty(_LANES, np.int32)  # holds 2^16 rows of lanes
    for r in range(minimum.shape[0]):
        begin, end = r * row, min((r + 1) * row, flat.size)
        for c in range(width):
            minimum[r, c], maximum[r, c], total[r, c] = flat[begin + c], flat[begin + c], 0
        at = begin
        if _LANES % width == 0:
            while end - at >= _LANES:
                stop = min(end - (end - at) % _LANES, at + (_LANES << 15))
                for k in range(_LANES):
                    low[k], high[k], part[k] = flat[at + k], flat[at + k], 0
                while at < stop:
                    for k in range(_LANES):
                        value = flat[at + k]
                        low[k] = min(low[k], value)
                        high[k] = max(high[k], value)
                        part[k] += value
                    at += _LANES
                for k in range(_LANES):
                    c = k % width
                    minimum[r, c] = min(minimum[r, c], low[k])
                    maximum[r, c] = max(maximum[r, c], high[k])
                    total[r, c] += part[k]
        for k in range(at, end):
            c = (k - begin) % width
            minimum[r, c] = min(minimum[r, c], flat[k])
            maximum[r, c] = max(maximum[r, c], flat[k])
            total[r, c] += flat[k]
