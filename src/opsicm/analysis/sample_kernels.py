"""Compiled passes over raw samples: int16 counts in, counted sums out. Never NaN as a sentinel: every bin has a count.

Each kernel reads the interleaved counts [n, channel] once, hop by hop. A hop here is a fall: samples [begin, end).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled

I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

NOT_CROSSED: Final = -1
# A bin's accumulator: the number of samples above bit 40, the sum of (count + 2^15) below. A fall of 2^23 samples
# (84 s at 100 kS/s) still fits.
_ONE: Final = 1 << 40
_MASK: Final = _ONE - 1
_OFFSET: Final = 1 << 15
_BLOCK: Final = 64
_HISTOGRAM: Final = 1 << 16
TABLE: Final = 1 << 18  # z - low for any int16 z and any low within 2^16 of 0


@compiled
def first_below(counts: I16, column: int, begin: int, end: int, threshold: int) -> int:
    """Index of the first sample in [begin, end) whose count is <= `threshold`; NOT_CROSSED when none is.

    Blocks of 64 are tested whole, so that the compiler can use vectors; only the last is searched.
    """
    k = begin
    while k + _BLOCK <= end:
        lowest = np.int16(32767)
        for j in range(_BLOCK):
            lowest = min(lowest, counts[k + j, column])
        if lowest <= threshold:
            break
        k += _BLOCK
    while k < end:
        if counts[k, column] <= threshold:
            return k
        k += 1
    return NOT_CROSSED


@compiled
def threshold_samples(counts: I16, column: int, begin: I64, end: I64, threshold: I64, out: I64) -> None:
    """`first_below` for every hop: `begin`, `end`, `threshold` [hop]; `out` [hop] the sample or NOT_CROSSED."""
    for h in range(begin.size):
        out[h] = first_below(counts, column, begin[h], end[h], threshold[h])


@compiled
def fall_begins(counts: I16, height_column: int, begin: int, end: int) -> int:
    """The first sample at which z is highest within the first eighth of a fall: before it the scanner still rises.

    A scanner with a lag goes on rising for some samples after its command has turned: those belong to no approach.
    """
    stop = begin + max(1, (end - begin) // 8)
    column = np.uint64(height_column)
    highest = np.int16(-32768)
    for k in range(begin, stop):
        highest = max(highest, counts[np.uint64(k), column])
    for k in range(begin, stop):
        if counts[np.uint64(k), column] == highest:
            return k
    return begin


@compiled
def bin_of_count(per_count: float, bins: int, out: NDArray[np.uint16]) -> None:
    """Fill `out` [TABLE]: at index c + TABLE/2 the cell of a height c counts above the lowest bin.

    Cell 1 is the lowest bin; cell 0 collects what lies below it and cell bins + 1 what lies above.
    """
    for k in range(out.size):
        b = int(np.floor((k - out.size // 2) * per_count))
        out[k] = np.uint16(min(max(b + 1, 0), bins + 1))


@compiled
def bin_hops(
    counts: I16, current: int, height: int, begin: I64, end: I64, threshold: I64, low: I64, cell: NDArray[np.uint16],
    sums: I64, numbers: I32, outside: I64, mode: I32, mode_count: I32, crossed: I64,
) -> None:  # fmt: skip
    """One pass: threshold sample, section and raw mode of every hop.

    `current`, `height` are columns of `counts`. `low` [hop] is the height count at the bottom of a hop's lowest bin,
    `cell` the table of `bin_of_count`. `sums` [hop, bin] of current counts and `numbers` [hop, bin] are filled;
    `outside` [hop] counts samples in no bin. `mode` [hop] is the most frequent current count of the fall (the lowest
    of equals), `mode_count` [hop] how often it came. `crossed` [hop] as `threshold_samples`. Binning starts where z
    is highest (`fall_begins`). A table look-up for the bin, and packed accumulators, keep it to two read-modify-writes
    per sample.
    """
    bins = sums.shape[1]
    histogram = np.zeros((2, _HISTOGRAM), np.int32)
    # Two of each, for even and odd samples: neighbours hit one address, and a load would wait for the store before it.
    cells = np.zeros((2, bins + 2), np.int64)
    even, odd, even_cells, odd_cells = histogram[0], histogram[1], cells[0], cells[1]
    top = bins + 1
    i_column, z_column = np.uint64(current), np.uint64(height)
    for h in range(begin.size):
        last = end[h]
        first = fall_begins(counts, height, begin[h], last) if last > begin[h] else last
        base = np.int64(low[h]) - TABLE // 2
        lowest: Any = 2 * _OFFSET - 1
        pairs = (last - first) // 2
        at: Any = first_below(counts, current, begin[h], first, threshold[h])
        limit = threshold[h] + _OFFSET
        # Run-length: a bin's sum stays in a register until the height leaves it.
        present = cell[np.uint64(counts[first, height] - base)] if last > first else np.uint16(0)
        packed: Any = 0
        for pair in range(pairs):
            # Unsigned indices: a signed one is tested for counting from the end at every access.
            k, k1 = np.uint64(first + 2 * pair), np.uint64(first + 2 * pair + 1)
            a, b = np.int64(counts[k, i_column]) + _OFFSET, np.int64(counts[k1, i_column]) + _OFFSET
            even[np.uint64(a)] += 1
            odd[np.uint64(b)] += 1
            lowest = min(lowest, a, b)
            if lowest <= limit and at == NOT_CROSSED:
                at = first + 2 * pair if a <= limit else first + 2 * pair + 1
            here = cell[np.uint64(counts[k, z_column] - base)]
            there = cell[np.uint64(counts[k1, z_column] - base)]
            if here == present and there == present:
                packed += 2 * _ONE + a + b
            else:
                even_cells[np.uint64(present)] += packed
                even_cells[np.uint64(here)] += _ONE + a
                odd_cells[np.uint64(there)] += _ONE + b
                present, packed = there, 0
        even_cells[np.uint64(present)] += packed
        if first + 2 * pairs < last:
            a = np.int64(counts[last - 1, current]) + _OFFSET
            even[np.uint64(a)] += 1
            lowest = min(lowest, a)
            even_cells[cell[np.uint64(counts[last - 1, height] - base)]] += _ONE + a
        outside[h] = ((even_cells[0] + odd_cells[0]) >> 40) + ((even_cells[top] + odd_cells[top]) >> 40)
        for j in range(bins):
            packed = even_cells[j + 1] + odd_cells[j + 1]
            numbers[h, j] = packed >> 40
            sums[h, j] = (packed & _MASK) - (packed >> 40) * _OFFSET
        cells[:] = 0
        best, most = 0, 0
        # Upwards from the lowest count until every sample has been met: nobody needs to know the highest.
        left, value = last - first, lowest
        while left > 0:
            number = even[np.uint64(value)] + odd[np.uint64(value)]
            even[np.uint64(value)] = 0
            odd[np.uint64(value)] = 0
            left -= number
            if number > most:
                best, most = value, number
            value += 1
        mode[h] = best - _OFFSET
        mode_count[h] = most
        if at == NOT_CROSSED and last > first and counts[last - 1, current] <= threshold[h]:
            at = last - 1
        crossed[h] = at
