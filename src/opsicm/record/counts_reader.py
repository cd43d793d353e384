"""Reads the samples of a run file chunk by chunk into their place, past HDF5's filters.

HDF5 unpacks a chunk into memory of its own and then copies what was asked for; here a chunk that is asked for whole is
unpacked where it belongs. What is not packed as this program packs goes through HDF5.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from opsicm.record.chunk_press import ChunkPress

_FLETCHER: Final = 3  # HDF5's number of the filter
_LZ4: Final = 2  # among bitshuffle's own parameters


class CountsReader:
    """Rows of `dataset`, int16 [sample, channel], read with every checksum looked at."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    @cached_property
    def _press(self) -> ChunkPress | None:
        """What unpacks its chunks; None where HDF5 has to."""
        dataset = self.dataset
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(k) for k in range(properties.get_nfilters())]
        ours = (
            [one[0] for one in filters] == [hdf5plugin.BSHUF_ID, _FLETCHER]
            and filters[0][2][2:] == (dataset.dtype.itemsize, 0, _LZ4)
            and dataset.dtype == np.dtype("<i2")
            and dataset.ndim == 2
            and dataset.chunks[1] == dataset.shape[1]
        )
        try:
            return ChunkPress(int(np.prod(dataset.chunks))) if ours else None
        except (OSError, AttributeError):  # a build that does not offer it
            return None

    def read(self, first: int, stop: int) -> NDArray[np.int16]:
        """Rows [first, stop); raises `OSError` where a chunk is damaged."""
        counts: NDArray[np.int16] = np.empty((max(0, stop - first), self.dataset.shape[1]), np.int16)
        self.read_into(counts, first)
        return counts

    def read_into(self, counts: NDArray[np.int16], first: int) -> None:
        """As many rows from `first` on as `counts`, which must be contiguous, has room for."""
        stop = first + counts.shape[0]
        if counts.size and not 0 <= first <= stop <= self.dataset.shape[0]:
            raise IndexError(f"rows {first} to {stop} of {self.dataset.shape[0]}")
        press, rows = self._press, self.dataset.chunks[0]
        if press is None:
            if counts.size:
                self.dataset.read_direct(counts, np.s_[first:stop])
            return
        packed = np.empty(press.room, np.uint8)
        for at in range(first - first % rows, stop, rows):
            a, b = max(at, first), min(at + rows, stop)
            here = counts[a - first : b - first]
            chunk = self._chunk(at, packed)
            if chunk is None:
                self.dataset.read_direct(here, np.s_[a:b])
            elif b - a == rows:
                press.unpack(chunk, here)
            else:
                whole = np.empty((rows, counts.shape[1]), np.int16)
                press.unpack(chunk, whole)
                here[:] = whole[a - at : b - at]

    def _chunk(self, at: int, into: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """The packed chunk that begins at row `at`; None where there is none or not as it should be: HDF5 judges."""
        try:
            mask, chunk = self.dataset.id.read_direct_chunk((at, 0), out=into.data)
        except (MemoryError, RuntimeError, ValueError):  # not there; or larger than any can be
            return None
        return None if mask else into[: len(chunk)]
