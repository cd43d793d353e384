"""Packs a chunk as the file's filters would, bitshuffle-LZ4 and then Fletcher-32, but outside the HDF5 library, and
unpacks it straight into its place.

Given to HDF5 whole, a block is copied into the chunk cache, packed under the library's one lock and copied again;
packed here it is read once, out of the ring, in a thread that holds no lock of Python's or of HDF5's. The C code is
the same: it comes with hdf5plugin and h5py, and what HDF5's own filters then make of a chunk is what every test reads.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

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
