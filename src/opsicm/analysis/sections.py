"""Sections I(x, z) and volumes I(x, y, z): mean current by height, less each approach's own mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis import sample_kernels as kernels
from opsicm.analysis.approach_template import Template
from opsicm.analysis.raw_samples import Falls, RawSamples
from opsicm.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]
_FARTHEST: Final = 1 << 16  # counts of a bin edge from 0: 16-bit heights reach no farther


@dataclass(frozen=True, slots=True)
class Sections:
    """Mean current [A] of every hop in bins of height, with the number of samples in each bin.

    `current` [hop, bin] is 0 where `number` is 0: the count decides, not the value. `bottom` [hop] [m] is the lower
    edge of bin 0, `width` [m] of a bin. `mode` [hop] [A] is the most frequent raw current of the approach, `mode_count`
    how often it came. `height` [hop] [m] at the threshold, where `crossed`; `outside` [hop] samples in no bin.
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
        """`values` [hop, bin] with NaN where no sample fell: for pictures and means, never for the kernels."""
        return np.where(self.number > 0, values, np.nan)


def heights_at_threshold(samples: RawSamples, falls: Falls) -> tuple[F64, NDArray[np.bool_]]:
    """Height [m] of the first sample of each fall whose current is below (1 - setpoint)·reference, and whether one is.

    The hop controller's own definition. Positive currents only (see `sections`). Height 0 where none crossed: the flag
    decides. Reads each fall once. Noise alone fires a threshold that is only a few of its sigmas away: then fit.
    """
    _refuse(samples, falls)
    at = np.empty(falls.size, np.int64)
    threshold = samples.current_count(falls.reference * (1.0 - falls.setpoint))
    kernels.threshold_samples(samples.words, falls.begin, falls.end, threshold, at)
    return _heights(samples, at)


def sections(samples: RawSamples, falls: Falls, bottom: F64, width: float, bins: int) -> Sections:
    """Section, raw mode and height of every fall in one pass over the counts.

    `bottom` [hop] [m] of the lowest bin: one value for all gives a section over absolute height, the hop's own surface
    one over distance. `width` [m] of a bin. Bins are edges rounded to a height count. The bin mean of a noisy height
    blurs by that noise; a bin's u is sigma / sqrt(number) for white noise. Samples before the highest of the fall are
    left out (the scanner still rises). Fails (`OutsideDomain`) for negative currents, an empty selection, or bins that
    lie outside the range of the converter. Equals a scatter of the same samples to the last bit of the sums.
    """
    _refuse(samples, falls)
    per_count = samples.height_scale / width
    hops = falls.size
    low = samples.height_count(np.broadcast_to(bottom, (hops,)))
    if not 0.0 < per_count <= 1.0 or int(np.abs(low).max()) > _FARTHEST:
        limit = "a bin is at least one height count, and the lowest lies within the converter's range"
        value = f"{bins} bins of {width:g} m at {samples.height_scale:g} m per count"
        raise OutsideDomain(Problem("section", value, limit, "choose wider bins, or a bottom among the heights"))
    cell = np.empty(kernels.TABLE, np.uint16)
    kernels.bin_of_count(per_count, bins, cell)
    sums, numbers = np.empty((hops, bins), np.int64), np.empty((hops, bins), np.int32)
    outside, mode, mode_count = np.empty(hops, np.int64), np.empty(hops, np.int32), np.empty(hops, np.int32)
    at = np.empty(hops, np.int64)
    threshold = samples.current_count(falls.reference * (1.0 - falls.setpoint))
    words = samples.words
    kernels.bin_hops(
        words, words[: words.size // 2 * 2].view(np.int64), falls.begin, falls.end, threshold, low, cell, sums,
        numbers, outside, mode, mode_count, at,
    )  # fmt: skip
    mean = sums / np.maximum(numbers, 1) * samples.current_scale + samples.current_offset
    height, crossed = _heights(samples, at)
    lowest = np.asarray(low * samples.height_scale + samples.height_offset)
    return Sections(
        np.where(numbers > 0, mean, 0.0), numbers, lowest, width,
        samples.si_current(mode), mode_count, height, crossed, outside,
    )  # fmt: skip


def mode_normalised(section: Sections, ratio: bool = False) -> F64:
    """Each approach less its own mode [A], or over it less 1 [1]; [hop, bin], NaN where no sample fell.

    The mode is the most frequent raw current of the approach. A current common to the whole approach (a transient of
    the cell that is slow against one fall) drops out. The paper subtracts; the ratio also removes a common change of
    conductance. Assumes that most of the approach is far from the sample. Fails where the current drifts by more than
    its noise during one fall: the mode then lies anywhere on the drift.
    Source: JACS Au 2023, 3, 1089, Figure 5 (difference from the most frequent current).
    """
    mode = section.mode[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = section.current / mode - 1.0 if ratio else section.current - mode
    return section.masked(values)


def drift_free(section: Sections, falls: Falls, noise: float) -> F64:
    """As `mode_normalised` by difference, with the drift during each fall taken away first; [hop, bin] [A].

    The drift of a fall is the line through its own reference and the next one's (the last takes the one before; median
    of three neighbours, so that a single step of the bulk is no drift),
    subtracted at the time at which the fall passed each bin; the mode is then that of what is left, folded with
    `noise` [A]. Use it under a transient that moves the current by more than its noise in one fall. Assumes an even
    fall and a drift that is straight from one reference to the next. Fails with fewer than two falls (no drift known).
    """
    if falls.size < 2:
        raise OutsideDomain(Problem("falls", "1", "a drift needs two references", "use mode_normalised"))
    rate = np.diff(falls.reference) / np.diff(falls.begin)
    rate = np.append(rate, rate[-1])
    # A step of the bulk between two falls (the cell switched) is no drift of either: the median of three knows.
    rate[1:-1] = np.median(np.column_stack((rate[:-2], rate[1:-1], rate[2:])), axis=1)
    # Bins from the top down are passed in proportion to the samples they hold.
    passed = np.cumsum(section.number[:, ::-1], axis=1)[:, ::-1] - 0.5 * section.number
    level = section.current - rate[:, None] * passed
    out = np.full(level.shape, np.nan)
    for h in range(falls.size):
        seen = section.number[h] > 0
        if seen.any():
            out[h, seen] = level[h, seen] - _mode_of(level[h, seen], section.number[h, seen].astype(np.float64), noise)
    return out


def null_section(
    section: Sections, template: Template, bulk: F64, surface: F64, noise: float, ratio: bool = False
) -> F64:
    """What geometry alone would show: the template's approach, less its own mode, on the same bins [hop, bin].

    `bulk` [hop] [A] far from the sample, `surface` [hop] [m] (z0 of the fit), `noise` [A] the current's standard
    deviation: the mode of a noisy approach lies where its density, folded with the noise, is largest. The same bins
    are empty. Assumes an even fall, a flat sample and no concentration change. Compare with it before calling a low
    current near the sample depletion: geometry alone lowers it by about 0.13 % at 270 nm (3 degrees, 50 nm).
    """
    z = section.bottom[:, None] + section.centres[None, :]
    distance = z - surface[:, None]
    current = bulk[:, None] * template.over(distance)
    reached = section.number > 0
    out = np.full(current.shape, np.nan)
    for h in range(current.shape[0]):
        seen = reached[h]
        if seen.any():
            # Weights: the samples that the real approach had in each bin.
            mode = _mode_of(current[h, seen], section.number[h, seen].astype(np.float64), noise)
            out[h] = current[h] / mode - 1.0 if ratio else current[h] - mode
    return np.where(reached, out, np.nan)


def _mode_of(current: F64, weight: F64, noise: float) -> float:
    sigma = max(noise, 1e-6 * float(np.max(np.abs(current))))
    grid = np.linspace(float(current.max()) - 6.0 * sigma, float(current.max()) + 2.0 * sigma, 801)
    density = (weight * np.exp(-0.5 * ((grid[:, None] - current) / sigma) ** 2)).sum(axis=1)
    return float(grid[int(np.argmax(density))])


def _heights(samples: RawSamples, at: NDArray[np.int64]) -> tuple[F64, NDArray[np.bool_]]:
    crossed = at != kernels.NOT_CROSSED
    z = samples.si_height(samples.counts[np.where(crossed, at, 0), samples.height])
    return np.where(crossed, z, 0.0), crossed


def _refuse(samples: RawSamples, falls: Falls) -> None:
    if falls.size == 0:
        raise OutsideDomain(Problem("falls", "0", "a section needs at least one", "find the hops first"))
    n = samples.counts.shape[0]
    if int(falls.begin.min()) < 0 or int(falls.end.max()) > n:
        value = f"{int(falls.begin.min())} to {int(falls.end.max())}"
        raise OutsideDomain(Problem("falls", value, f"the record has {n} samples", "use the record's own hops"))
    if np.any(falls.reference <= 0.0):
        limit = "every reference current must be above 0 A"
        raise OutsideDomain(Problem("reference current", "negative", limit, "negate the counts for a negative bias"))
