"""Reads what version 0.1.0 recorded into, `segment-0001.h5`, …: HDF5 files that grew in SWMR mode.

One file holds samples of one segment at most, and everything else that came meanwhile. Every row carries the serial
number under which it was recorded: a writer that followed one that died began again at the last serial that was on the
disk, in a new file, and what both files hold counts once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin  # noqa: F401  registers the filter that the samples are stored with
import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import Problem, UnreadableRun
from opsicm.record import packed_counts, trial_reading
from opsicm.record.damaged_file import DAMAGE_ERRORS
from opsicm.record.log import HOP_ROW, Columns, Decimated, Group, Samples, block_row, reading_rows
from opsicm.record.recorder import RunHeader, header_of
from opsicm.record.run_folder import OLD_HEADER, RunFolder

_VERSION: Final = 1
_BLOCKS_A_GROUP: Final = 64
_STREAM: Final = ("minimum", "maximum", "mean")


def read(folder: RunFolder) -> tuple[RunHeader | None, Iterator[Group], list[str]]:
    """(header, everything in order, losses as texts, complete once all of it was read)."""
    losses: list[str] = []
    files = []
    for path in folder.old_live_files():
        try:
            files.append(_OldFile(path))
        except DAMAGE_ERRORS as error:
            losses.append(f"{path.name}: {str(error).splitlines()[0]}")
    header = files[0].header if files else None
    if header is None and (folder.path / OLD_HEADER).is_file():
        header = header_of((folder.path / OLD_HEADER).read_text(encoding="utf-8"))
    return header, _groups(files, losses), losses


def _groups(files: list[_OldFile], losses: list[str]) -> Iterator[Group]:
    later: int | None = None
    for file in reversed(files):
        file.before = later
        later = file.first_serial if later is None else min(later, file.first_serial)
    for file in files:
        yield from file.groups(losses)
        file.close()


class _OldFile:
    """One file, up to serial `before` (None: to its end)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            head = file.read(48)
        # A file shorter than its own superblock says: a reader in SWMR mode would wait for the rest, long.
        if len(head) < 48 or path.stat().st_size < int.from_bytes(head[28:36], "little"):
            raise OSError(f"truncated: {path.stat().st_size} bytes")
        if (wrong := trial_reading.why_unreadable(path)) is not None:
            raise OSError(wrong)
        self._file = h5py.File(path, "r", swmr=True, libver="latest")
        if int(self._file.attrs["live_version"]) > _VERSION:
            limit = f"this version reads up to {_VERSION}"
            value = str(self._file.attrs["live_version"])
            raise UnreadableRun(Problem("live_version", value, limit, "update opsicm", str(path)))
        self.first_serial = int(self._file.attrs["first_serial"])
        self.header: RunHeader = header_of(self._file["header"][:].tobytes().decode("utf-8"))
        self.before: int | None = None
        self._columns = Columns.of(self.header.channels)
        # By the list of links, since `in` takes what is damaged for what is not there.
        self._names = frozenset(self._file)

    def close(self) -> None:
        self._file.close()

    def groups(self, losses: list[str]) -> Iterator[Group]:
        """Its samples, a number of blocks at a time, then its hops and slow rows."""
        blocks, first = self._rows("blocks", losses), 0
        broken = 0
        while first < blocks.size:
            part = blocks[first : first + _BLOCKS_A_GROUP]
            first += part.size
            group = self._group(part, int(blocks["first_sample"][0]))
            broken += part.size - group.blocks[0].size
            yield group
        if broken:
            losses.append(f"{self._path.name}: the samples of {broken} blocks are not whole")
        yield Group(
            hops=[_as(HOP_ROW, self._rows("hops", losses))], readings=[reading_rows(self._rows("readings", losses))]
        )

    def _group(self, blocks: NDArray[Any], base: int) -> Group:
        group, whole, rows = Group(), [], []
        in_stream = sorted((*self._columns.full, *self._columns.short))
        short = [in_stream.index(k) for k in self._columns.short]
        for block in blocks:
            at, n = int(block["first_sample"]) - base, int(block["samples"])
            a, b = int(block["row"]), int(block["row"] + block["rows"])
            try:
                counts = self._file["counts"][at : at + n] if "counts" in self._names else None
                stream = [self._file[name][a:b] for name in _STREAM] if "mean" in self._names else []
            except DAMAGE_ERRORS:
                continue
            if _checksum(counts, *stream) != int(block["data_crc"]):
                continue  # what a crash caught on its way to the disk
            if counts is not None:
                packed = packed_counts.pack(np.ascontiguousarray(counts))
                group.samples.append(Samples(int(block["segment"]), at + base, n, counts.shape[1], packed))
            if short:
                rows.append(Decimated(*(values[:, short] for values in stream)))
            whole.append(block)
        group.blocks = [_as(block_row(len(self.header.channels)), np.array(whole, blocks.dtype))]
        group.decimated = rows
        return group

    def _rows(self, name: str, losses: list[str]) -> NDArray[Any]:
        """Whole rows: what never reached the disk reads as zeros."""
        try:
            rows = self._file[name][:]
        except DAMAGE_ERRORS as error:  # what the other tables hold is not lost with it
            losses.append(f"{self._path.name}: its {name} cannot be read ({str(error).splitlines()[0]})")
            return np.empty(0, self._file[name].dtype)
        data, size, whole = rows.tobytes(), rows.dtype.itemsize, 0
        while whole < rows.size and rows["serial"][whole] > 0:
            if zlib.crc32(data[whole * size : (whole + 1) * size - 4]) != rows["crc"][whole]:
                break
            whole += 1
        if whole < rows.size:
            losses.append(f"{self._path.name}: {rows.size - whole} of its {name} are not whole")
        kept: NDArray[Any] = rows[:whole]
        return kept if self.before is None else kept[kept["serial"] < self.before]


def _as(dtype: np.dtype[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """The fields of `dtype` of the rows."""
    out = np.zeros(rows.size, dtype)
    for name in dtype.names or ():
        out[name] = rows[name]
    return out


def _checksum(*arrays: NDArray[Any] | None) -> int:
    value = 0
    for array in arrays:
        if array is not None and array.size:
            value = zlib.crc32(np.ascontiguousarray(array).data.cast("B"), value)
    return value
