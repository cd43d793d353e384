"""The samples of a live file, chunk by chunk: packed in a thread of their own, written as they are packed.

A chunk that lies within a block is packed straight from the ring; what is left over waits for the next block, and is
written as a chunk that ends in zeros when the file is flushed.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

# A chunk is packed as the file's filters would, bitshuffle-LZ4 and then Fletcher-32, but outside the HDF5 library: HDF5
# would copy a block into its chunk cache, pack it under its global lock and copy it again; here it is read once, out of
# the ring, in a thread that holds neither Python's lock nor HDF5's. The C code is that of hdf5plugin and h5py, and the
# tests read every chunk back through HDF5's own filters.
_HEAD: Final = 12  # bytes: unpacked bytes (8) and bytes in a block (4), big-endian, as filter 32008 begins a chunk
_SUM: Final = 4
_SIZE: Final = np.dtype(np.int16).itemsize


class ChunkPress:
    """Packs and unpacks chunks of `elements` int16; raises `OSError` or `AttributeError` where no library offers it."""

    def __init__(self, elements: int) -> None:
        shuffle = ctypes.CDLL(str(next(Path(hdf5plugin.PLUGINS_PATH).glob("libh5bshuf.*"), "libh5bshuf.so")))
        size = ctypes.c_size_t
        self._compress = shuffle.bshuf_compress_lz4
        self._compress.restype, self._compress.argtypes = (
            ctypes.c_int64,
            [ctypes.c_void_p, ctypes.c_void_p, size, size, size],
        )
        self._decompress = shuffle.bshuf_decompress_lz4
        self._decompress.restype, self._decompress.argtypes = self._compress.restype, self._compress.argtypes
        bound = shuffle.bshuf_compress_lz4_bound
        bound.restype, bound.argtypes = size, [size, size, size]
        default = shuffle.bshuf_default_block_size
        default.restype, default.argtypes = size, [size]
        # HDF5 exports its checksum for its own parts; a build that hides it raises AttributeError here.
        self._checksum = ctypes.CDLL(h5py.h5d.__file__).H5_checksum_fletcher32
        self._checksum.restype, self._checksum.argtypes = ctypes.c_uint32, [ctypes.c_void_p, size]
        self._elements = elements
        self.room = int(bound(elements, _SIZE, 0)) + _HEAD + _SUM
        block = int(default(_SIZE)) * _SIZE
        self._head = (elements * _SIZE).to_bytes(8, "big") + block.to_bytes(4, "big")

    def pack(self, counts: NDArray[np.int16], into: NDArray[np.uint8]) -> int:
        """Bytes that the packed chunk takes in `into`, which must have `room`; `counts` must be contiguous."""
        if counts.size != self._elements or into.size < self.room or not counts.flags.c_contiguous:
            raise ValueError(f"{counts.size} elements into {into.size} bytes")
        to = into.ctypes.data
        packed = self._compress(counts.ctypes.data, to + _HEAD, counts.size, _SIZE, 0)
        if packed < 0:
            raise OSError(f"bitshuffle says {packed}")
        end = _HEAD + packed
        data = into.data
        data[:_HEAD] = self._head
        data[end : end + _SUM] = self._checksum(to, end).to_bytes(_SUM, "little")
        return int(end) + _SUM

    def unpack(self, packed: NDArray[np.uint8], into: NDArray[np.int16]) -> None:
        """The chunk in `packed` into `into`, which must be contiguous; raises `OSError` if it is damaged."""
        if into.size != self._elements or not into.flags.c_contiguous:
            raise ValueError(f"{self._elements} elements into {into.size}")
        end = packed.size - _SUM
        at, data = packed.ctypes.data, packed.data
        if end < _HEAD or data[:_HEAD] != self._head:
            raise OSError("a chunk does not begin as bitshuffle-LZ4 of its size does")
        if self._checksum(at, end) != int.from_bytes(data[end:], "little"):
            raise OSError("a chunk does not match its checksum")
        read = self._decompress(at + _HEAD, into.ctypes.data, into.size, _SIZE, 0)
        if read != end - _HEAD:
            raise OSError(f"bitshuffle says {read}")


_AHEAD: Final = 12  # chunks on their way at most: what they look into must stay in the ring


class PackedCounts:
    """Appends int16 [sample, channel] to `dataset`, which must be empty, chunked by rows and have the press's filters.

    Arrays given to `append` must not change before `settle` or `flush` returns.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._rows, self._width = dataset.chunks
        self._length = self._extent = self._on_way = 0
        self._tail = np.zeros((self._rows, self._width), np.int16)
        self._in_tail = 0
        self._dirty = False
        # Memory is used again: to ask for it anew costs as much as to copy a chunk.
        self._free: list[NDArray[np.uint8]] = []
        self._spare: list[NDArray[np.int16]] = []
        self._todo: SimpleQueue[tuple[int, NDArray[np.int16], NDArray[np.uint8]] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, NDArray[np.int16], NDArray[np.uint8], int | Exception]] = SimpleQueue()
        try:
            self._press: ChunkPress | None = ChunkPress(self._rows * self._width)
        except (OSError, AttributeError):  # a build that does not offer it: HDF5 packs by itself, more slowly
            self._press = None
        else:
            threading.Thread(target=self._work, args=(self._press,), daemon=True).start()

    def append(self, counts: NDArray[np.int16]) -> None:
        """Keep them; they are in the file after `settle`, but for less than a chunk that waits for more or a flush."""
        at, n = 0, counts.shape[0]
        while at < n:
            take = min(self._rows - self._in_tail, n - at)
            part = counts[at : at + take]
            at += take
            self._length += take
            if take == self._rows:
                self._send(self._length - take, np.ascontiguousarray(part))
                continue
            self._tail[self._in_tail : self._in_tail + take] = part
            self._in_tail += take
            self._dirty = self._in_tail < self._rows
            if not self._dirty:
                self._send(self._length - self._rows, self._tail)
                self._in_tail = 0
                self._tail = self._spare.pop() if self._spare else np.zeros_like(self._tail)

    def settle(self) -> None:
        """Every whole chunk so far is written."""
        while self._on_way:
            self._take()

    def flush(self) -> None:
        """Everything so far is written."""
        if self._dirty:
            self._tail[self._in_tail :] = 0
            self._send(self._length - self._in_tail, self._tail)
            self._dirty = False
        self.settle()

    def close(self) -> None:
        """End the thread; nothing may come after."""
        self._todo.put(None)

    def _send(self, row: int, counts: NDArray[np.int16]) -> None:
        if self._press is None:
            self._reach()
            rows = counts[: self._length - row]
            space = self._dataset.id.get_space()
            space.select_hyperslab((row, 0), rows.shape)
            self._dataset.id.write(h5py.h5s.create_simple(rows.shape), space, rows)
            return
        if self._on_way >= _AHEAD:
            self._take()
        into = self._free.pop() if self._free else np.empty(self._press.room, np.uint8)
        self._on_way += 1
        self._todo.put((row, counts, into))

    def _take(self) -> None:
        row, counts, packed, size = self._done.get()
        self._on_way -= 1
        if isinstance(size, Exception):
            raise size
        self._reach()
        self._dataset.id.write_direct_chunk((row, 0), packed[:size])
        self._free.append(packed)
        if counts.base is None and counts is not self._tail and len(self._spare) < _AHEAD:
            self._spare.append(counts)

    def _reach(self) -> None:
        """The dataset is as long as what is known; what is announced of it are the rows of `blocks`, later."""
        if self._length > self._extent:
            self._dataset.id.set_extent((self._length, self._width))
            self._extent = self._length

    def _work(self, press: ChunkPress) -> None:
        while (job := self._todo.get()) is not None:
            row, counts, into = job
            try:
                self._done.put((row, counts, into, press.pack(counts, into)))
            except (OSError, ValueError) as error:
                self._done.put((row, counts, into, error))


# Reading: HDF5 unpacks a chunk into its own memory and copies the requested part; here a complete chunk is unpacked
# straight into the result. A chunk that is packed in another way goes through HDF5.
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
        packed_as_here = (
            [entry[0] for entry in filters] == [hdf5plugin.BSHUF_ID, _FLETCHER]
            and filters[0][2][2:] == (dataset.dtype.itemsize, 0, _LZ4)
            and dataset.dtype == np.dtype("<i2")
            and dataset.ndim == 2
            and dataset.chunks[1] == dataset.shape[1]
        )
        try:
            return ChunkPress(int(np.prod(dataset.chunks))) if packed_as_here else None
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
            target = counts[a - first : b - first]
            chunk = self._chunk(at, packed)
            if chunk is None:
                self.dataset.read_direct(target, np.s_[a:b])
            elif b - a == rows:
                press.unpack(chunk, target)
            else:
                chunk_rows = np.empty((rows, counts.shape[1]), np.int16)
                press.unpack(chunk, chunk_rows)
                target[:] = chunk_rows[a - at : b - at]

    def _chunk(self, at: int, into: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """The packed chunk that begins at row `at`; None where there is none or not as it should be: HDF5 judges."""
        try:
            mask, chunk = self.dataset.id.read_direct_chunk((at, 0), out=into.data)
        except (MemoryError, RuntimeError, ValueError):  # not there; or larger than any can be
            return None
        return None if mask else into[: len(chunk)]
