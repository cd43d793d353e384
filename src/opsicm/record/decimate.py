"""The decimated stream: smallest, largest and mean count of every so many samples, so that a day fits a screen.

A row never reaches over the end of a block, which is what a crash leaves whole: rows need no repair afterwards.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_ACROSS: Final = 256  # elements reduced side by side: 512 bytes, enough to hide the cost of a call of the inner loop


def factor(dt_ns: int) -> int:
    """Samples in a row: the power of two that comes nearest to a thousand rows a second (1 for a slow stream)."""
    return 1 << max(0, round(math.log2(1e6 / dt_ns)))


def decimate(
    counts: NDArray[np.int16], rows_of: int
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.float32], NDArray[np.int32]]:
    """(minimum, maximum, mean, samples) of [n, channel] counts, `rows_of` (a power of two) samples a row.

    In two steps, both over rows far longer than the channels are many, which NumPy does at the speed of the cache:
    `_ACROSS` elements side by side are reduced over what lies between them, then what is left, a few per cent, is laid
    out anew and reduced once more. (`reshape(...).min(axis=1)` over a whole row takes thirty times as long at eight
    channels: its inner loop is eight elements long.) The last row holds what is left over.
    """
    n, width = counts.shape
    whole = n // rows_of
    beside = min(rows_of, 1 << max(0, _ACROSS.bit_length() - width.bit_length()))
    if whole * rows_of == 0:
        minimum = maximum = np.empty((0, width), np.int16)
        total = np.empty((0, width), np.int32)
    else:
        wide = counts[: whole * rows_of].reshape(whole, rows_of // beside, beside * width)
        minimum = _across(wide.min(axis=1), width, np.minimum)
        maximum = _across(wide.max(axis=1), width, np.maximum)
        total = _across(wide.sum(axis=1, dtype=np.int32), width, np.add)
    mean = (total / np.float64(rows_of)).astype(np.float32)
    samples = np.full(whole, rows_of, np.int32)
    if rest := n - whole * rows_of:
        tail = counts[n - rest :]
        minimum = np.concatenate([minimum, tail.min(axis=0, keepdims=True)])
        maximum = np.concatenate([maximum, tail.max(axis=0, keepdims=True)])
        mean = np.concatenate([mean, tail.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)])
        samples = np.append(samples, np.int32(rest))
    return minimum, maximum, mean, samples


def _across(values: NDArray[Any], width: int, reduction: np.ufunc) -> NDArray[Any]:
    """[row, channel] of [row, sample beside sample and channel]."""
    rows, beside = values.shape[0], values.shape[1] // width
    laid = values.reshape(rows, beside, width).transpose(1, 0, 2).reshape(beside, rows * width)
    reduced: NDArray[Any] = reduction.reduce(laid, axis=0).reshape(rows, width)
    return reduced
