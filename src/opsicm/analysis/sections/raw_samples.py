"""Raw samples as counts, and the approaches in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RawSamples:
    """Interleaved `counts` [n, channel]; value = counts · scale + offset for two of the columns.

    `current`, `height` are the columns; scales and offsets in [A] and [m]. `counts` may be a view of a file.
    """

    counts: NDArray[np.int16]
    current: int
    height: int
    current_scale: float
    current_offset: float
    height_scale: float
    height_offset: float

    @property
    def words(self) -> NDArray[np.int32]:
        """A 32-bit word a sample, current in the low half: `counts` itself where it is [current, height], else a copy.

        Little-endian machines only, which are all that this package is built for.
        """
        counts = self.counts
        in_place = counts.shape[1] == 2 and (self.current, self.height) == (0, 1) and counts.flags.c_contiguous
        pair = counts if in_place else np.ascontiguousarray(counts[:, [self.current, self.height]])
        return pair.reshape(-1).view(np.int32)

    def rising(self, sign: float = 1.0) -> RawSamples:
        """The same samples with the current times `sign` (±1), and counts that rise with both values.

        The kernels need that, because they search for the first current count below a threshold. Copies only where a
        count decreases with its value, as at a negative bias.
        """
        columns = [self.counts[:, self.current], self.counts[:, self.height]]
        scales = [sign * self.current_scale, self.height_scale]
        offsets = [sign * self.current_offset, self.height_offset]
        if min(scales) > 0.0:
            return replace(self, current_scale=scales[0], current_offset=offsets[0])
        for k in range(2):
            if scales[k] < 0.0:
                # ~n is -n - 1: unlike -n, 16 bits hold it for every n. So n·scale = ~n·(-scale) - scale.
                columns[k], offsets[k], scales[k] = ~columns[k], offsets[k] - scales[k], -scales[k]
        return RawSamples(np.column_stack(columns), 0, 1, scales[0], offsets[0], scales[1], offsets[1])

    def height_count(self, z: F64) -> NDArray[np.int64]:
        """The height count nearest to `z` [m]."""
        return np.rint((z - self.height_offset) / self.height_scale).astype(np.int64)

    def current_count(self, current: F64) -> NDArray[np.int64]:
        """The largest current count that is not above `current` [A]."""
        return np.floor((current - self.current_offset) / self.current_scale).astype(np.int64)

    def si_current(self, counts: NDArray[np.int64] | NDArray[np.int32] | NDArray[np.int16]) -> F64:
        """Current [A] of counts."""
        return np.asarray(counts * self.current_scale + self.current_offset, dtype=np.float64)

    def si_height(self, counts: NDArray[np.int16]) -> F64:
        """Height [m] of counts."""
        return np.asarray(counts * self.height_scale + self.height_offset, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Approaches:
    """The approaches ('falls') of hops as samples [begin, end) [hop], with reference current and setpoint of each."""

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    reference: F64
    setpoint: F64

    @property
    def size(self) -> int:
        """Number of approaches."""
        return int(self.begin.size)
