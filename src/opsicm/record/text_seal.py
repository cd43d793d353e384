"""Checksums of what HDF5 keeps without any: the heaps in which texts lie, and the references to them.

A damaged length there sends HDF5 round in a circle for ever, and no time-out helps whoever called it. Tools of others
want texts of variable length (the community's validator stumbles over those of fixed length), so they stay; the
finished file carries, behind what HDF5 takes as its end and ignores, where each such place is and its CRC-32, and a
reader compares before HDF5 looks.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import h5py

_HEAP: Final = b"GCOL\x01\0\0\0"
_END: Final = struct.Struct("<II8s")  # places, CRC-32 of their entries, the word below
_ENTRY: Final = struct.Struct("<QQI")  # where, bytes, CRC-32
_WORD: Final = b"opsicm-1"


def references(file: h5py.File) -> list[tuple[int, int]]:
    """(where, bytes) of every scalar text's reference into a heap."""
    found: list[tuple[int, int]] = []

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "O" and item.id.get_offset() is not None:
            found.append((item.id.get_offset(), item.id.get_storage_size()))

    file.visititems(look)
    return found


def data_of(file: h5py.File) -> list[tuple[int, int]]:
    """(where, bytes) of every chunk of the datasets: no heap lies there."""
    found: list[tuple[int, int]] = []

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks is not None:
            item.id.chunk_iter(lambda chunk: found.append((chunk.byte_offset, chunk.size)))

    file.visititems(look)
    return found


def seal(path: Path, references: list[tuple[int, int]], data: list[tuple[int, int]]) -> None:
    """Append the checksums of `references` and of the heaps outside `data`, both (where, bytes).

    The file must be closed, and not be written by HDF5 again: that drops the seal.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        places = [*_heaps(file, size, data), *references]
        entries = b"".join(_ENTRY.pack(at, n, zlib.crc32(_read(file, at, n))) for at, n in places)
        file.seek(0, os.SEEK_END)
        file.write(entries + _END.pack(len(entries) // _ENTRY.size, zlib.crc32(entries), _WORD))


def is_sealed(path: Path) -> bool:
    """Whether the file ends in a seal, whole or damaged."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(_WORD)))
        return file.read() == _WORD


def damage(path: Path) -> str | None:
    """What is wrong with the texts of a sealed file; None where nothing is, or the file has no seal."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < _END.size:
            return None
        file.seek(size - _END.size)
        count, check, word = _END.unpack(file.read(_END.size))
        if word != _WORD:
            return None
        at = size - _END.size - count * _ENTRY.size
        if at < 0:
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
    """(where, bytes) of everything outside `data` that begins like a heap; one that is none does no harm."""
    found, begin = [], 0
    for end, length in [*sorted(data), (size, 0)]:
        between = _read(file, begin, end - begin) if end > begin else b""
        at = between.find(_HEAP)
        while at >= 0:
            length_of = int.from_bytes(between[at + 8 : at + 16], "little")
            found.append((begin + at, min(length_of, size - begin - at)))
            at = between.find(_HEAP, at + 8)
        begin = max(begin, end + length)
    return found


def _read(file: BinaryIO, at: int, n: int) -> bytes:
    file.seek(at)
    return file.read(n)
