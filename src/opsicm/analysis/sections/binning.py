"""Sections I(x, z) and volumes I(x, y, z): mean current in bins of height, less the mode of each approach.

Compiled passes over raw samples: int16 counts in, sums with their number of samples out; a bin without a sample has the
number 0, never NaN. A sample is one 32-bit word, current in the low half and height in the high: a kernel then loads
both at once, and a search for a threshold runs over contiguous words, which the compiler turns into vectors. An
approach is samples [begin, end).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.approach.template import Template
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

NOT_CROSSED: Final = -1
# A bin's accumulator: the number of samples above bit 40, the sum of (count + 2^15) below it, so that one addition
# does both. An approach of 2^23 samples (84 s at 100 kS/s) still fits.
_ONE: Final = 1 << 40
_MASK: Final = _ONE - 1
_OFFSET: Final = 1 << 15
_LOW: Final = 0xFFFF
_BLOCK: Final = 256  # longer than what the compiler would unroll instead of using vectors
_HISTOGRAM: Final = 1 << 16
_CHUNK: Final = 64  # groups of four samples between two looks for the threshold
TABLE: Final = 1 << 18  # z - low for any int16 z and any low within 2^16 of 0


@compiled
def first_below(words: I32, begin: int, end: int, threshold: int) -> int:
    """Index of the first sample in [begin, end) whose current is <= `threshold`; NOT_CROSSED when none is.

    The minimum of a block decides whether it is searched. The current is compared in the top half of the word, where
    the sign bit is right and the low half is zero on both sides.
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
def approach_begins(words: I32, begin: int, end: int) -> int:
    """The first sample at which z is highest within the first eighth: before it the scanner still moves up.

    A scanner with a lag moves up for some samples after its command has turned: these belong to no approach.
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
    words: I32,
    pairs: I64,
    begin: I64,
    end: I64,
    threshold: I64,
    low: I64,
    cell: NDArray[np.uint16],
    sums: I64,
    numbers: I32,
    outside: I64,
    mode: I32,
    mode_count: I32,
    crossed: I64,
) -> None:
    """Threshold sample, section and raw mode of every hop in one pass.

    `pairs` is a view of `words`, two at a time. `low` [hop] is the height count at the bottom of a hop's lowest bin,
    `cell` the table of `bin_of_count`. `sums` [hop, bin] of current counts and `numbers` [hop, bin] are filled;
    `outside` [hop] counts samples in no bin. `mode` [hop] is the most frequent current count of the approach (the
    lowest of equals), `mode_count` [hop] how often it occurred. `crossed` [hop] as `threshold_samples`. Binning starts
    where z is highest (`approach_begins`).

    The cost is memory traffic, hence the order: two loads of 64 bits bring four samples; each then costs a table
    look-up for its bin (cheaper than scaling, rounding and two comparisons) and two read-modify-writes, histogram and
    bin. The threshold is compared once per 256 samples with the lowest current so far; the chunk in which it was
    crossed is searched afterwards.
    """
    bins = sums.shape[1]
    histogram = np.zeros(_HISTOGRAM, np.int32)
    # Four accumulators in turn: neighbouring samples hit the same bin, so that with one accumulator each load would
    # wait for the store before it.
    c0, c1 = np.zeros(bins + 2, np.int64), np.zeros(bins + 2, np.int64)
    c2, c3 = np.zeros(bins + 2, np.int64), np.zeros(bins + 2, np.int64)
    for h in range(begin.size):
        last = end[h]
        first = approach_begins(words, begin[h], last) if last > begin[h] else last
        base = np.int64(low[h]) - TABLE // 2
        lowest: Any = np.int64(2 * _OFFSET - 1)
        even = first + (first & 1)
        quads = max(last - even, 0) // 4
        limit, crossing = threshold[h] + _OFFSET, last
        for chunk in range(0, quads, _CHUNK):
            for q in range(chunk, min(chunk + _CHUNK, quads)):
                # Unsigned indices: with signed ones the compiler tests at every access for counting from the end.
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
                crossing = even + 4 * chunk
        # The samples before and after the groups of four.
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
        # Upwards from the lowest count until every sample is accounted for: no maximum had to be tracked.
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
        # The chunk in which the current first reached the threshold is known: search it, and the odd sample before it.
        at = first_below(words, begin[h], min(even, last), threshold[h])
        crossed[h] = (
            at if at != NOT_CROSSED else first_below(words, min(crossing, even + 4 * quads), last, threshold[h])
        )


_FARTHEST: Final = 1 << 16  # counts of a bin edge from 0: beyond the range of 16-bit heights


@dataclass(frozen=True, slots=True)
class Sections:
    """Mean current [A] of every hop in bins of height, with the number of samples in each bin.

    `current` [hop, bin] is 0 where `number` is 0. `bottom` [hop] [m] is the lower
    edge of bin 0, `width` [m] of a bin. `mode` [hop] [A] is the most frequent raw current of the approach, `mode_count`
    how often it occurred. `height` [hop] [m] at the threshold, where `crossed`; `outside` [hop] samples in no bin.
    """

    current: F64
    number: NDArray[np.int32]
    bottom: F64
    width: float
    mode: F64
    mode_count: NDArray[np.int32]
    height: F64
    crossed: NDArray[np.bool_]
    outside: NDArray[np.int64]

    @property
    def centres(self) -> F64:
        """Heights of the bins' centres above `bottom` [m]."""
        return np.asarray((np.arange(self.current.shape[1]) + 0.5) * self.width, dtype=np.float64)

    def masked(self, values: F64) -> F64:
        """`values` [hop, bin] with NaN in bins without samples."""
        return np.where(self.number > 0, values, np.nan)


def heights_at_threshold(samples: RawSamples, approaches: Approaches) -> tuple[F64, NDArray[np.bool_]]:
    """Height [m] of the first sample of each approach below (1 - setpoint)·reference, and whether there is one.

    The definition of the hop controller. Positive currents only (see `bin_sections`). Height 0 where none crossed.
    Noise alone triggers a threshold that is only a few of its sigmas away: then
    fit.
    """
    _check_usable(samples, approaches)
    at = np.empty(approaches.size, np.int64)
    threshold = samples.current_count(approaches.reference * (1.0 - approaches.setpoint))
    threshold_samples(samples.words, approaches.begin, approaches.end, threshold, at)
    return _heights(samples, at)


def bin_sections(samples: RawSamples, approaches: Approaches, bottom: F64, width: float, bins: int) -> Sections:
    """Section, raw mode and height of every approach in one pass over the counts.

    `bottom` [hop] [m] of the lowest bin: one value for all gives a section over absolute height, the surface of each
    hop one over distance. `width` [m] of a bin. Their edges are rounded to a height count. The bin mean of a noisy
    height blurs by that noise; a bin's u is sigma / sqrt(number) for white noise. Samples before the highest of the
    approach are left out (the scanner still moves up). Fails (`OutsideDomain`) for negative currents, an empty
    selection, or bins that lie outside the range of the converter. The sums equal those of a plain loop exactly.
    """
    _check_usable(samples, approaches)
    per_count = samples.height_scale / width
    hops = approaches.size
    low = samples.height_count(np.broadcast_to(bottom, (hops,)))
    if not 0.0 < per_count <= 1.0 or int(np.abs(low).max()) > _FARTHEST:
        limit = "a bin must be at least one height count, and the lowest within the converter's range"
        value = f"{bins} bins of {width:g} m at {samples.height_scale:g} m per count"
        raise OutsideDomain(Problem("section", value, limit, "choose wider bins, or a bottom among the heights"))
    cell = np.empty(TABLE, np.uint16)
    bin_of_count(per_count, bins, cell)
    sums, numbers = np.empty((hops, bins), np.int64), np.empty((hops, bins), np.int32)
    outside, mode, mode_count = np.empty(hops, np.int64), np.empty(hops, np.int32), np.empty(hops, np.int32)
    at = np.empty(hops, np.int64)
    threshold = samples.current_count(approaches.reference * (1.0 - approaches.setpoint))
    words = samples.words
    bin_hops(
        words,
        words[: words.size // 2 * 2].view(np.int64),
        approaches.begin,
        approaches.end,
        threshold,
        low,
        cell,
        sums,
        numbers,
        outside,
        mode,
        mode_count,
        at,
    )
    mean = sums / np.maximum(numbers, 1) * samples.current_scale + samples.current_offset
    height, crossed = _heights(samples, at)
    lowest = np.asarray(low * samples.height_scale + samples.height_offset)
    return Sections(
        np.where(numbers > 0, mean, 0.0),
        numbers,
        lowest,
        width,
        samples.si_current(mode),
        mode_count,
        height,
        crossed,
        outside,
    )


def drift_free(section: Sections, approaches: Approaches, noise: float) -> F64:
    """Each approach less its mode [hop, bin] [A], with the drift during each approach removed first.

    The mode is the most frequent current of the approach. A current common to the whole approach (a transient of the
    cell that is slow against one approach) cancels. Assumes that most of the approach is far from the sample.
    Source: JACS Au 2023, 3, 1089, Figure 5 (difference from the most frequent current).

    The drift of an approach is the line through its reference and the next one (the last takes the one before; median
    of three neighbours, so that a single step of the bulk is no drift), subtracted at the time at which each bin was
    passed; the mode is that of the remainder, convolved with `noise` [A]. Needed under a transient that changes the
    current by more than its noise in one approach. Assumes a constant approach rate and a drift that is linear from one
    reference to the next. Fails with fewer than two approaches (no drift known).
    """
    if approaches.size < 2:
        raise OutsideDomain(Problem("approaches", "1", "a drift needs two references", "hop at least twice"))
    rate = np.diff(approaches.reference) / np.diff(approaches.begin)
    rate = np.append(rate, rate[-1])
    # A step of the bulk between two approaches (the cell switched) is no drift of either: the median removes it.
    rate[1:-1] = np.median(np.column_stack((rate[:-2], rate[1:-1], rate[2:])), axis=1)
    # Time in samples: bins are passed from the top down, each for as many samples as it contains.
    passed = np.cumsum(section.number[:, ::-1], axis=1)[:, ::-1] - 0.5 * section.number
    level = section.current - rate[:, None] * passed
    out = np.full(level.shape, np.nan)
    for h in range(approaches.size):
        filled = section.number[h] > 0
        if filled.any():
            out[h, filled] = level[h, filled] - _mode_of(
                level[h, filled], section.number[h, filled].astype(np.float64), noise
            )
    return out


def null_section(section: Sections, template: Template, bulk: F64, surface: F64, noise: float) -> F64:
    """The section that geometry alone gives: the template's approach less its mode, in the same bins [hop, bin].

    `bulk` [hop] [A] far from the sample, `surface` [hop] [m] (z0 of the fit), `noise` [A] the current's standard
    deviation: the mode of a noisy approach is the maximum of its density convolved with the noise. The same bins are
    empty. Assumes a constant approach rate, a flat sample and no concentration change. Compare with it before calling a
    low current near the sample depletion: geometry alone lowers it by about 0.13 % at 270 nm (3 degrees, 50 nm).
    """
    z = section.bottom[:, None] + section.centres[None, :]
    distance = z - surface[:, None]
    current = bulk[:, None] * template.relative_current(distance)
    reached = section.number > 0
    out = np.full(current.shape, np.nan)
    for h in range(current.shape[0]):
        filled = reached[h]
        if filled.any():
            # Weighted by the samples that the measured approach had in each bin.
            out[h] = current[h] - _mode_of(current[h, filled], section.number[h, filled].astype(np.float64), noise)
    return np.where(reached, out, np.nan)


def _mode_of(current: F64, weight: F64, noise: float) -> float:
    sigma = max(noise, 1e-6 * float(np.max(np.abs(current))))
    grid = np.linspace(float(current.max()) - 6.0 * sigma, float(current.max()) + 2.0 * sigma, 801)
    density = (weight * np.exp(-0.5 * ((grid[:, None] - current) / sigma) ** 2)).sum(axis=1)
    return float(grid[int(np.argmax(density))])


def _heights(samples: RawSamples, at: NDArray[np.int64]) -> tuple[F64, NDArray[np.bool_]]:
    crossed = at != NOT_CROSSED
    z = samples.si_height(samples.counts[np.where(crossed, at, 0), samples.height])
    return np.where(crossed, z, 0.0), crossed


def _check_usable(samples: RawSamples, approaches: Approaches) -> None:
    if approaches.size == 0:
        raise OutsideDomain(Problem("approaches", "0", "a section needs at least one", "detect the hops first"))
    n = samples.counts.shape[0]
    if int(approaches.begin.min()) < 0 or int(approaches.end.max()) > n:
        value = f"{int(approaches.begin.min())} to {int(approaches.end.max())}"
        raise OutsideDomain(Problem("approaches", value, f"the record has {n} samples", "use the hops of this record"))
    if np.any(approaches.reference <= 0.0):
        limit = "every reference current must be above 0 A"
        raise OutsideDomain(Problem("reference current", "negative", limit, "negate the counts for a negative bias"))
