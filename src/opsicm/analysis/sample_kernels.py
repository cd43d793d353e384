"""Compiled passes over raw samples: int16 counts in, counted sums out. Never NaN as a sentinel: every bin has a count.

A sample is one 32-bit word, current in the low half and height in the high: a kernel then loads both at once, and a
search for a threshold runs over contiguous words, which the compiler turns into vectors. A hop here is a fall: samples
[begin, end).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

NOT_CROSSED: Final = -1
# A bin's accumulator: the number of samples above bit 40, the sum of (count + 2^15) below. A fall of 2^23 samples
# (84 s at 100 kS/s) still fits.
_ONE: Final = 1 << 40
_MASK: Final = _ONE - 1
_OFFSET: Final = 1 << 15
_LOW: Final = 0xFFFF
_BLOCK: Final = 256  # longer than what the compiler unrolls, which would keep it from using vectors
_HISTOGRAM: Final = 1 << 16
_STRETCH: Final = 64  # of four samples
TABLE: Final = 1 << 18  # z - low for any int16 z and any low within 2^16 of 0


@compiled
def first_below(words: I32, begin: int, end: int, threshold: int) -> int:
    """Index of the first sample in [begin, end) whose current is <= `threshold`; NOT_CROSSED when none is.

    Blocks are tested whole; only the last is searched. The current shifted to the top half compares as it would alone,
    because the limit has its lower half zero as well.
    """
    if threshold < -_OFFSET:
        return NOT_CROSSED
    limit = np.int32(min(threshold, _OFFSET - 1) << 16)
    k = begin
    while k + _BLOCK <= end:
        lowest = np.int32(2147483647)
        for j in range(_BLOCK):
            lowest = min(lowest, np.int32(words[np.uint64(k + j)] << 16))
        if lowest <= limit:
            break
        k += _BLOCK
    while k < end:
        if np.int32(words[np.uint64(k)] << 16) <= limit:
            return k
        k += 1
    return NOT_CROSSED


@compiled
def threshold_samples(words: I32, begin: I64, end: I64, threshold: I64, out: I64) -> None:
    """`first_below` for every hop: `begin`, `end`, `threshold` [hop]; `out` [hop] the sample or NOT_CROSSED."""
    for h in range(begin.size):
        out[h] = first_below(words, begin[h], end[h], threshold[h])


@compiled
def fall_begins(words: I32, begin: int, end: int) -> int:
    """The first sample at which z is highest within the first eighth of a fall: before it the scanner still rises.

    A scanner with a lag goes on rising for some samples after its command has turned: those belong to no approach.
    """
    stop = begin + max(1, (end - begin) // 8)
    highest = np.int32(-32768)
    for k in range(begin, stop):
        highest = max(highest, np.int32(words[np.uint64(k)] >> 16))
    for k in range(begin, stop):
        if np.int32(words[np.uint64(k)] >> 16) == highest:
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
    words: I32, pairs: I64, begin: I64, end: I64, threshold: I64, low: I64, cell: NDArray[np.uint16],
    sums: I64, numbers: I32, outside: I64, mode: I32, mode_count: I32, crossed: I64,
) -> None:  # fmt: skip
    """Threshold sample, section and raw mode of every hop.

    `pairs` is `words` seen two at a time. `low` [hop] is the height count at the bottom of a hop's lowest bin, `cell`
    the table of `bin_of_count`. `sums` [hop, bin] of current counts and `numbers` [hop, bin] are filled; `outside`
    [hop] counts samples in no bin. `mode` [hop] is the most frequent current count of the fall (the lowest of equals),
    `mode_count` [hop] how often it came. `crossed` [hop] as `threshold_samples`. Binning starts where z is highest
    (`fall_begins`). Two loads bring four samples; each costs a table look-up for its bin and two read-modify-writes.
    """
    bins = sums.shape[1]
    histogram = np.zeros(_HISTOGRAM, np.int32)
    # Four of each, in turn: neighbours hit one bin, and a load would wait for the store before it.
    c0, c1 = np.zeros(bins + 2, np.int64), np.zeros(bins + 2, np.int64)
    c2, c3 = np.zeros(bins + 2, np.int64), np.zeros(bins + 2, np.int64)
    for h in range(begin.size):
        last = end[h]
        first = fall_begins(words, begin[h], last) if last > begin[h] else last
        base = np.int64(low[h]) - TABLE // 2
        lowest: Any = np.int64(2 * _OFFSET - 1)
        even = first + (first & 1)
        quads = max(last - even, 0) // 4
        limit, crossing = threshold[h] + _OFFSET, last
        for stretch in range(0, quads, _STRETCH):
            for q in range(stretch, min(stretch + _STRETCH, quads)):
                # Unsigned indices: a signed one is tested for counting from the end at every access.
                k = np.uint64(even // 2 + 2 * q)
                two, next_two = pairs[k], pairs[k + np.uint64(1)]
                i0, i1 = (two & _LOW) ^ _OFFSET, ((two >> 32) & _LOW) ^ _OFFSET
                i2, i3 = (next_two & _LOW) ^ _OFFSET, ((next_two >> 32) & _LOW) ^ _OFFSET
                histogram[np.uint64(i0)] += 1
                histogram[np.uint64(i1)] += 1
                histogram[np.uint64(i2)] += 1
                histogram[np.uint64(i3)] += 1
                lowest = min(lowest, i0, i1, i2, i3)
                c0[np.uint64(cell[np.uint64(((two << 32) >> 48) - base)])] += _ONE + i0
                c1[np.uint64(cell[np.uint64((two >> 48) - base)])] += _ONE + i1
                c2[np.uint64(cell[np.uint64(((next_two << 32) >> 48) - base)])] += _ONE + i2
                c3[np.uint64(cell[np.uint64((next_two >> 48) - base)])] += _ONE + i3
            if lowest <= limit and crossing == last:
                crossing = even + 4 * stretch
        # What pairs of four leave at either end.
        for part in range(2):
            a, b = (first, min(even, last)) if part == 0 else (even + 4 * quads, last)
            for j in range(a, b):
                word = np.int64(words[np.uint64(j)])
                i0 = (word & _LOW) ^ _OFFSET
                histogram[np.uint64(i0)] += 1
                lowest = min(lowest, i0)
                c0[np.uint64(cell[np.uint64((word >> 16) - base)])] += _ONE + i0
        top = bins + 1
        outside[h] = ((c0[0] + c1[0] + c2[0] + c3[0]) >> 40) + ((c0[top] + c1[top] + c2[top] + c3[top]) >> 40)
        for j in range(bins):
            packed = c0[j + 1] + c1[j + 1] + c2[j + 1] + c3[j + 1]
            numbers[h, j] = packed >> 40
            sums[h, j] = (packed & _MASK) - (packed >> 40) * _OFFSET
        c0[:] = 0
        c1[:] = 0
        c2[:] = 0
        c3[:] = 0
        best, most = 0, 0
        # Upwards from the lowest count until every sample has been met: nobody needs to know the highest.
        left, value = last - first, lowest
        while left > 0:
            number = histogram[np.uint64(value)]
            histogram[np.uint64(value)] = 0
            left -= number
            if number > most:
                best, most = value, number
            value += 1
        mode[h] = best - _OFFSET
        mode_count[h] = most
        # The stretch in which the current first reached the threshold is known: only there, and before it began.
        at = first_below(words, begin[h], min(even, last), threshold[h])
        crossed[h] = (
            at if at != NOT_CROSSED else first_below(words, min(crossing, even + 4 * quads), last, threshold[h])
        )
