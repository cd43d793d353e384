"""The decimated stream: smallest, largest and mean count of every so many samples, so that a day fits a screen.

A row never reaches over the end of a block, which is what a crash leaves whole: rows need no repair afterwards.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_ACROSS: Final = 256  # elements reduced side by side: 512 bytes, enough to hide the cost of a call of the inner loop
_FOLDED: Final = 8  # samples beside each other that are laid out anew


def factor(dt_ns: int) -> int:
    """Samples in a row: the power of two that comes nearest to a thousand rows a second (1 for a slow stream)."""
    return 1 << max(0, round(math.log2(1e6 / dt_ns)))


def row_extents(
    first: NDArray[np.int64], samples: NDArray[np.int64], rows_of: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(first sample, sample after the last) of every row of blocks of so many `samples` from `first` on."""
    rows = -(-samples // rows_of)
    of_block = np.arange(int(rows.sum())) - np.repeat(np.cumsum(rows) - rows, rows)
    begins = np.repeat(first, rows) + of_block * rows_of
    return begins, np.minimum(begins + rows_of, np.repeat(first + samples, rows))


def decimate(
    counts: NDArray[np.int16], rows_of: int
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.float32], NDArray[np.int32]]:
    """(minimum, maximum, mean, samples) of [n, channel] counts, `rows_of` (a power of two) samples a row.

    NumPy reduces at the speed of the cache only over long inner loops, and a row has few channels:
    `reshape(...).min(axis=1)` takes thirty times as long at eight channels, whose inner loop is eight elements long. So
    `_ACROSS` adjacent elements are reduced over the rest of the row first, the result is folded in half while it is
    long, and the last few per cent are transposed. The last row holds the samples that do not fill one.
    """
    n, width = counts.shape
    whole = n // rows_of
    beside = min(rows_of, 1 << max(0, _ACROSS.bit_length() - width.bit_length()))
    if whole * rows_of == 0:
        minimum = maximum = np.empty((0, width), np.int16)
        total = np.empty((0, width), np.int32)
    else:
        wide = counts[: whole * rows_of].reshape(whole, rows_of // beside, beside * width)
        minimum = _across(_down(wide, width, np.minimum, np.int16), width, np.minimum)
        maximum = _across(_down(wide, width, np.maximum, np.int16), width, np.maximum)
        total = _across(_down(wide, width, np.add, np.int32), width, np.add)
    mean = (total / np.float64(rows_of)).astype(np.float32)
    samples = np.full(whole, rows_of, np.int32)
    if left_over := n - whole * rows_of:
        tail = counts[n - left_over :]
        minimum = np.concatenate([minimum, tail.min(axis=0, keepdims=True)])
        maximum = np.concatenate([maximum, tail.max(axis=0, keepdims=True)])
        mean = np.concatenate([mean, tail.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)])
        samples = np.append(samples, np.int32(left_over))
    return minimum, maximum, mean, samples


def _down(wide: NDArray[np.int16], width: int, reduction: np.ufunc, dtype: type[np.integer[Any]]) -> NDArray[Any]:
    """[row, beside] of [row, between, beside], folded once more where nothing lies between."""
    if wide.shape[1] > 1:
        return np.asarray(reduction.reduce(wide, axis=1, dtype=dtype))
    if wide.shape[2] == width:  # a row is one sample
        return wide[:, 0].astype(dtype)
    half = wide.shape[2] // 2
    return np.asarray(reduction(wide[:, 0, :half], wide[:, 0, half:], dtype=dtype))


def _across(values: NDArray[Any], width: int, reduction: np.ufunc) -> NDArray[Any]:
    """[row, channel] of [row, sample beside sample and channel]."""
    while values.shape[1] > _FOLDED * width:
        half = values.shape[1] // 2
        values = reduction(values[:, :half], values[:, half:])
    rows, beside = values.shape[0], values.shape[1] // width
    laid = values.reshape(rows, beside, width).transpose(1, 0, 2).reshape(beside, rows * width)
    reduced: NDArray[Any] = reduction.reduce(laid, axis=0).reshape(rows, width)
    return reduced
