"""What the run file keeps of a packed chunk: a Blosc2 frame, which HDF5's Blosc2 filter unpacks, and the Fletcher-32
that HDF5 checks for every reader. Written past the filters, since the chunk has been packed and summed already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import Channel
from opsicm.record import nexus_file, packed_counts

# Places in the header of a Blosc2 frame, as its contiguous frames are described: big-endian numbers.
_HEADER_BYTES: Final = slice(11, 15)
_FRAME_BYTES: Final = slice(16, 24)
_PACKED_BYTES: Final = slice(39, 47)


def counts(group: h5py.Group, channels: Sequence[Channel], rows: int) -> tuple[h5py.Dataset, nexus_file.Growing]:
    """`counts` of a segment in chunks of `rows` samples of all `channels`, and the XXH3 of each packed chunk."""
    width = len(channels)
    item = group.create_dataset(
        "counts",
        (0, width),
        np.int16,
        maxshape=(None, width),
        chunks=(rows, width),
        fletcher32=True,
        **hdf5plugin.Blosc2(cname="lz4", clevel=packed_counts.LEVEL, filters=hdf5plugin.Blosc2.BITSHUFFLE),
    )
    nexus_file.describe(item, channels)
    sums = nexus_file.table(group, "counts_xxh3", np.uint64, ())
    sums.attrs["of"] = "XXH3 (64 bits) of the Blosc2 chunk within each chunk of counts"
    return item, nexus_file.Growing(sums)


def stored(packed: bytes, rows: int, width: int) -> bytes:
    """What HDF5 keeps of a packed chunk of `rows` samples: the Blosc2 frame and its Fletcher-32.

    The frame is what Blosc2 itself makes of the chunk, but for a copy and for packing an index of one entry, which
    together take as long as packing the samples: two lengths in its header are all that differs from chunk to chunk.
    """
    before, after = _frame(rows, width)
    header = bytearray(before)
    header[_FRAME_BYTES] = (len(before) + len(packed) + len(after)).to_bytes(8, "big")
    header[_PACKED_BYTES] = len(packed).to_bytes(8, "big")
    frame = b"".join((header, packed, after))
    return frame + fletcher32(frame).to_bytes(4, "little")


@lru_cache(maxsize=16)
def _frame(rows: int, width: int) -> tuple[bytes, bytes]:
    """What a Blosc2 frame of one chunk of that shape has before and after the chunk."""
    counts = (np.arange(rows * width, dtype=np.int64) * 7919).astype(np.int16).reshape(rows, width)
    whole: bytes = (
        packed_counts.library()
        .SChunk(chunksize=counts.nbytes, data=counts, cparams=packed_counts.parameters(width), contiguous=True)
        .to_cframe()
    )
    packed = packed_counts.pack(counts)
    begin = int.from_bytes(whole[_HEADER_BYTES], "big")
    return whole[:begin], whole[begin + len(packed) :]


def fletcher32(data: bytes) -> int:
    """HDF5's Fletcher-32 of `data`: sums modulo 65535 of its big-endian words and of their running sums.

    In double precision, which holds both sums of 200 kB exactly.
    """
    words = np.frombuffer(data, ">u2", len(data) // 2).astype(np.float64)
    if len(data) % 2:
        words = np.append(words, float(data[-1] << 8))
    first, second = float(words.sum()), float(np.einsum("i,i->", words, _weights(words.size)))
    # HDF5 folds the carry in instead of dividing: a sum that is a multiple of 65535 without being 0 comes out as 65535.
    low, high = (int((value - 1.0) % 65535.0) + 1 if value else 0 for value in (first, second))
    return high << 16 | low


def _weights(n: int) -> NDArray[np.float64]:
    """n, n - 1, ... 1."""
    ramp = _ramp(1 << n.bit_length())
    return ramp[ramp.size - n :]


@lru_cache(maxsize=4)
def _ramp(n: int) -> NDArray[np.float64]:
    return np.arange(n, 0, -1.0)
