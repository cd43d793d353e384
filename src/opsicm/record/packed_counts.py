"""Chunks of samples, packed by Blosc2, as the live log and the run file keep them.

Bitshuffle works on whole samples, all channels of one instant as one element: it lays the same bit of the same channel
side by side, so that counts need not be laid out by channel first. LZ4 follows (decision 0170).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ELEMENTS: Final = 131_072  # counts in a chunk at most: 256 kB, whose bit planes LZ4 finds repetitions in
LEVEL: Final = 6  # the lowest of LZ4's levels that takes the chunk as one block
_BYTES: Final = np.dtype(np.int16).itemsize


def chunk_rows(width: int) -> int:
    """Samples in a chunk of `width` channels: the largest power of two that keeps it within `ELEMENTS`."""
    return 1 << ((ELEMENTS // max(1, width)).bit_length() - 1)


def pack(counts: NDArray[np.int16]) -> bytes:
    """Contiguous counts [sample, channel] as one Blosc2 chunk."""
    packed: bytes = library().compress2(counts, **parameters(counts.shape[1]))
    return packed


def unpack(packed: bytes | memoryview, into: NDArray[np.int16]) -> None:
    """A Blosc2 chunk into contiguous `into` [sample, channel]; raises `ValueError` where it is not of that size."""
    size = int.from_bytes(packed[4:8], "little")
    if size != into.nbytes or not into.flags.c_contiguous:
        raise ValueError(f"a chunk of {size} bytes for {into.nbytes}")
    try:
        read = library().decompress2(packed, dst=into, nthreads=1)
    except RuntimeError as error:
        raise ValueError(f"Blosc2 says {error}") from error
    del read


def packed_part(chunk: memoryview) -> memoryview:
    """The packed chunk within what the run file keeps; raises `ValueError` where that is no Blosc2 frame with one.

    Places as in Blosc2's description of its contiguous frames: bytes of the header, bytes of the chunk, big-endian.
    """
    begin = int.from_bytes(chunk[11:15], "big")
    size = int.from_bytes(chunk[39:47], "big")
    if bytes(chunk[2:9]) != b"b2frame" or begin + size > len(chunk):
        raise ValueError("a chunk does not begin as a Blosc2 frame does")
    return chunk[begin : begin + size]


def parameters(width: int) -> dict[str, Any]:
    """How Blosc2 packs a chunk of `width` channels."""
    return {
        "codec": library().Codec.LZ4,
        "clevel": LEVEL,
        "typesize": _BYTES * width,
        "filters": [library().Filter.BITSHUFFLE],
        "filters_meta": [0],
        "nthreads": 1,
    }


@cache
def library() -> Any:
    """Blosc2, which takes a quarter of a second to load. It lets go of Python's lock meanwhile: others go on."""
    import blosc2  # noqa: PLC0415

    blosc2.set_releasegil(True)
    return blosc2
