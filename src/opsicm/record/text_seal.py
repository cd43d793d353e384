"""Checksums of the parts that HDF5 stores without any: the heaps that hold texts, and the references to them.

A damaged length there sends HDF5 into an endless loop that its caller cannot interrupt. Third-party tools need texts
of variable length (the community's validator fails on those of fixed length), so they stay. The finished file carries
a seal behind its HDF5 end, which HDF5 ignores: the position and CRC-32 of each such part, compared before HDF5 reads.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import h5py

_HEAP: Final = b"GCOL\x01\0\0\0"
_END: Final = struct.Struct("<II8s")  # number of entries, their CRC-32, the mark below
_ENTRY: Final = struct.Struct("<QQI")  # position, bytes, CRC-32
_MARK: Final = b"opsicm-1"


def text_references(file: h5py.File) -> list[tuple[int, int]]:
    """(position, bytes) of every scalar text's reference into a heap."""
    places: list[tuple[int, int]] = []

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "O" and item.id.get_offset() is not None:
            places.append((item.id.get_offset(), item.id.get_storage_size()))

    file.visititems(look)
    return places


def chunk_places(file: h5py.File) -> list[tuple[int, int]]:
    """(position, bytes) of every chunk of the datasets, which hold no heap."""
    places: list[tuple[int, int]] = []

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks is not None:
            item.id.chunk_iter(lambda chunk: places.append((chunk.byte_offset, chunk.size)))

    file.visititems(look)
    return places


def seal(path: Path, references: list[tuple[int, int]], data: list[tuple[int, int]]) -> None:
    """Append the checksums of `references` and of the heaps outside `data`, both (position, bytes).

    The file must be closed, and not be written by HDF5 again: that drops the seal.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        places = [*_heaps(file, size, data), *references]
        entries = b"".join(_ENTRY.pack(at, n, zlib.crc32(_read(file, at, n))) for at, n in places)
        file.seek(0, os.SEEK_END)
        file.write(entries + _END.pack(len(entries) // _ENTRY.size, zlib.crc32(entries), _MARK))


def is_sealed(path: Path) -> bool:
    """Whether the file ends in a seal, whole or damaged."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(_MARK)))
        return file.read() == _MARK


def mismatch(path: Path) -> str | None:
    """The first text of a sealed file that does not match its checksum; None for an intact file or one without seal."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < _END.size:
            return None
        file.seek(size - _END.size)
        count, check, word = _END.unpack(file.read(_END.size))
        if word != _MARK:
            return None
        at = size - _END.size - count * _ENTRY.size
        if at < 0 or not count:  # a run file without texts there is not
            return "the seal of its texts is damaged"
        file.seek(at)
        entries = file.read(count * _ENTRY.size)
        if zlib.crc32(entries) != check:
            return "the seal of its texts is damaged"
        for begin, length, crc in _ENTRY.iter_unpack(entries):
            file.seek(begin)
            if zlib.crc32(file.read(length)) != crc:
                return f"texts at byte {begin} do not match their checksum"
    return None


def _heaps(file: BinaryIO, size: int, data: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(position, bytes) of everything outside `data` that begins like a heap; a false one does no harm."""
    heaps, begin = [], 0
    for end, length in [*sorted(data), (size, 0)]:
        between = _read(file, begin, end - begin) if end > begin else b""
        at = between.find(_HEAP)
        while at >= 0:
            length_of = int.from_bytes(between[at + 8 : at + 16], "little")
            heaps.append((begin + at, min(length_of, size - begin - at)))
            at = between.find(_HEAP, at + 8)
        begin = max(begin, end + length)
    return heaps


def _read(file: BinaryIO, at: int, n: int) -> bytes:
    file.seek(at)
    return file.read(n)
