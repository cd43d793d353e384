"""Reads samples from a run file, with every checksum looked at.

HDF5 unpacks a chunk into its own memory and copies the requested part, one chunk at a time; here a whole chunk is
unpacked straight into the result, outside HDF5's lock, in several threads where there is much to read. A chunk that is
packed in another way, as version 0.1.0 did, goes through HDF5.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Final

import hdf5plugin
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest as checksum

from opsicm.record import packed_counts

_THREADS_FROM: Final = 16  # chunks: 4 MB, below which starting a thread costs more than it brings
_MOST_THREADS: Final = 4


class CountsReader:
    """Rows of `dataset`, int16 [sample, channel]; `sums` are the XXH3 of its packed chunks, None in older files."""

    def __init__(self, dataset: Any, sums: Any = None) -> None:
        self.dataset = dataset
        self._sums_of = sums
        self._last: tuple[int, NDArray[np.int16]] | None = None  # the chunk of which a part was read last

    @cached_property
    def _sums(self) -> list[int] | None:
        """Of each chunk; None where HDF5 has to read it."""
        dataset = self.dataset
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
        as_here = (
            self._sums_of is not None
            and filters[:1] == [hdf5plugin.BLOSC2_ID]
            and dataset.dtype == np.dtype("<i2")
            and dataset.ndim == 2
            and dataset.chunks[1] == dataset.shape[1]
        )
        return self._sums_of[:].tolist() if as_here else None

    def read(self, first: int, stop: int, threads: int | None = None) -> NDArray[np.int16]:
        """Rows [first, stop); raises `OSError` where a chunk is damaged. `threads` None: as there are processors."""
        counts: NDArray[np.int16] = np.empty((max(0, stop - first), self.dataset.shape[1]), np.int16)
        self.read_into(counts, first, threads)
        return counts

    def read_into(self, counts: NDArray[np.int16], first: int, threads: int | None = None) -> None:
        """As many rows from `first` on as `counts`, which must be contiguous, has room for."""
        stop = first + counts.shape[0]
        if counts.size and not 0 <= first <= stop <= self.dataset.shape[0]:
            raise IndexError(f"rows {first} to {stop} of {self.dataset.shape[0]}")
        if not counts.size:
            return
        if self._sums is None:
            self.dataset.read_direct(counts, np.s_[first:stop])
            return
        rows = self.dataset.chunks[0]
        begins = range(first - first % rows, stop, rows)

        def work(some: range) -> None:
            for at in some:
                self._take(at, counts, first, stop)

        n = min(threads or min(os.cpu_count() or 1, _MOST_THREADS), len(begins) // _THREADS_FROM)
        if n < 2:
            work(begins)
            return
        part = -(-len(begins) // n)
        with ThreadPoolExecutor(n) as pool:
            list(pool.map(work, (begins[k : k + part] for k in range(0, len(begins), part))))

    def _take(self, at: int, counts: NDArray[np.int16], first: int, stop: int) -> None:
        """What [first, stop) has of the chunk that begins at row `at`."""
        rows = self.dataset.chunks[0]
        a, b = max(at, first), min(at + rows, stop)
        target = counts[a - first : b - first]
        if b - a == rows:
            self._unpack(at, target)
            return
        last = self._last
        if last is None or last[0] != at:
            chunk = np.empty((rows, counts.shape[1]), np.int16)
            self._unpack(at, chunk)
            self._last = last = (at, chunk)
        target[:] = last[1][a - at : b - at]

    def _unpack(self, at: int, into: NDArray[np.int16]) -> None:
        assert self._sums is not None
        k = at // self.dataset.chunks[0]
        try:
            mask, chunk = self.dataset.id.read_direct_chunk((at, 0))
            packed = packed_counts.packed_part(memoryview(chunk))
            if mask or k >= len(self._sums) or checksum(packed) != self._sums[k]:
                raise ValueError("does not match its checksum")
            packed_counts.unpack(packed, into)
        except (MemoryError, RuntimeError, ValueError, IndexError) as error:
            if self._sums[k : k + 1] == [0] and not self.dataset.id.get_chunk_info_by_coord((at, 0)).size:
                into[:] = 0  # no sample of it has come: it is among the lost ones
                return
            raise OSError(f"samples from {at}: a chunk {error}") from error
