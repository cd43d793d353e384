"""The layout of a live file (`segment-0001.h5`, …) and its readers, which may read while the writer appends.

One file holds samples of one segment at most, and everything else that came meanwhile. Every row carries the serial
number under which it went through the ring: a writer that follows one that died begins again at the last committed
serial, in a new file, and what both files hold counts once.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin  # noqa: F401  registers the filter that the samples are stored with
import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import Problem, UnreadableRun
from opsicm.core.facts import HOP_DTYPE, Channel
from opsicm.record.damaged_file import DAMAGE_ERRORS
from opsicm.record.packed_counts import CountsReader
from opsicm.record.recorder import RunHeader, header_of
from opsicm.record.ring import READING_DTYPE, STEP_BYTES
from opsicm.record.run_folder import RunFolder, number_of

LIVE_VERSION: Final = 1
_SECONDS_A_CHUNK: Final = 0.13
_MOST_ROWS: Final = 16384  # 64 kB of two channels, 256 kB of eight: a hop's samples are read within a millisecond

HOP_ROW: Final = np.dtype([("serial", "i8"), ("step", f"S{STEP_BYTES}"), *HOP_DTYPE.descr, ("crc", "u4")])
READING_ROW: Final = np.dtype([("serial", "i8"), *READING_DTYPE.descr, ("crc", "u4")])


def block_row(channels: int) -> np.dtype[Any]:
    """One row per block: where its samples and its decimated rows are, and what to think of each channel.

    The checksum of the data is there because a crash can leave an old state of a chunk that is valid in itself: its
    own checksum holds, but the end of it is not yet written and reads as zeros.
    """
    return np.dtype(
        [
            ("serial", "i8"),
            ("segment", "i8"),
            ("first_sample", "i8"),
            ("samples", "i8"),
            ("t0_ns", "i8"),
            ("dt_ns", "i8"),
            ("row", "i8"),
            ("rows", "i8"),
            ("quality", "u1", (channels,)),
            ("data_crc", "u4"),  # of counts, minimum, maximum, mean as they were kept
            ("crc", "u4"),
        ]
    )


def seal(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows with their checksums set: over all bytes before the checksum."""
    for k in range(rows.shape[0]):
        rows["crc"][k] = zlib.crc32(rows[k : k + 1].tobytes()[:-4])
    return rows


def sealed(rows: NDArray[Any]) -> int:
    """How many rows from the first on are whole: a row that never reached the disk reads as zeros."""
    data = rows.tobytes()
    size = rows.dtype.itemsize
    for k in range(rows.shape[0]):
        whole = rows["serial"][k] > 0 and zlib.crc32(data[k * size : (k + 1) * size - 4]) == rows["crc"][k]
        if not whole:
            return k
    return int(rows.shape[0])


def data_crc(*arrays: NDArray[Any] | None) -> int:
    """Checksum of what is kept of a block."""
    value = 0
    for array in arrays:
        if array is not None and array.size:
            value = zlib.crc32(np.ascontiguousarray(array).data.cast("B"), value)
    return value


def chunk_rows(dt_ns: int) -> int:
    """Samples in a chunk: a power of two that holds about an eighth of a second, 1024 … 16384."""
    return int(2 ** np.clip(round(np.log2(_SECONDS_A_CHUNK * 1e9 / dt_ns)), 10, np.log2(_MOST_ROWS)))


@dataclass(frozen=True, slots=True)
class Columns:
    """Which channels are kept how: indices into the header's channels."""

    full: tuple[int, ...]
    decimated: tuple[int, ...]

    @staticmethod
    def of(channels: Sequence[Channel]) -> Columns:
        """Every channel that is not `off` is in the decimated stream; those kept in full are in both."""
        full = tuple(k for k, channel in enumerate(channels) if channel.policy == "full")
        return Columns(full, tuple(k for k, channel in enumerate(channels) if channel.policy != "off"))


# A reader that meets a block whose checksum does not hold takes it for one that is being written and reads it again,
# after a pause that HDF5 doubles each time: with HDF5's hundred attempts, a damaged block would be retried for ever.
_ATTEMPTS: Final = 24  # pauses of 1 ns, 2 ns, ... 2^22 ns: 8 ms in all; a write of a block takes microseconds


def open_live(path: Path) -> h5py.File:
    """The file at `path`; raises `OSError` where it cannot be opened."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_LATEST)
    _be_patient(access)
    flags = h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ
    return h5py.File(h5py.h5f.open(str(path).encode(), flags, fapl=access))


def _be_patient(access: h5py.h5p.PropFAID) -> None:
    """h5py has no name for this property of HDF5; a build that hides it keeps its hundred attempts."""
    try:
        set_attempts = ctypes.CDLL(h5py.h5d.__file__).H5Pset_metadata_read_attempts
    except (OSError, AttributeError):
        return
    set_attempts.argtypes = [ctypes.c_int64, ctypes.c_uint]
    set_attempts(access.id, _ATTEMPTS)


_STRETCH: Final = 1 << 19  # samples looked up at a time


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks of one segment in one live file, without a gap: `blocks` are its rows there."""

    part: LivePart
    segment: int
    blocks: NDArray[Any]

    @property
    def first_sample(self) -> int:
        return int(self.blocks["first_sample"][0])

    @property
    def samples(self) -> int:
        return int(self.blocks["samples"].sum())


class LivePart:
    """One live file as it was when it was last looked at, up to serial `before` (None: to its end)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            self._file = self._open()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._whole: dict[str, NDArray[Any]] = {}
        self._written: set[int] = set()
        self._sets: dict[str, h5py.Dataset] = {}
        self._reader: CountsReader | None = None
        self._wrong: dict[str, str] = {}
        self._not_whole = 0
        try:
            if int(self._file.attrs["live_version"]) > LIVE_VERSION:
                raise UnreadableRun(_newer(path, int(self._file.attrs["live_version"])))
            self._names = frozenset(self._file)
            self.first_serial = int(self._file.attrs["first_serial"])
            self.factor = int(self._file.attrs["factor"])
            self.header: RunHeader = header_of(self._file["header"][:].tobytes().decode("utf-8"))
            self._dtypes = {
                "blocks": block_row(max(1, len(self.header.channels))),
                "hops": HOP_ROW,
                "readings": READING_ROW,
            }
        except BaseException:
            self.close()
            raise
        self.before: int | None = None

    def look(self) -> None:
        """See what was added since. Closed and opened anew rather than by `H5Drefresh`, after which HDF5 2.0 may take
        every chunk for the first. A file whose name is gone, since its run is finalised, stays open as it was."""
        if not os.fstat(self._descriptor).st_nlink:
            return
        self._written.clear()
        self._sets.clear()
        self._reader = None
        self._file.close()
        try:
            self._file = self._open()
        except OSError as error:
            limit = f"can no longer be read: {str(error).splitlines()[0]}"
            raise UnreadableRun(Problem("live file", self.path.name, limit, "look for run.nxs beside it")) from error

    def _open(self) -> h5py.File:
        _must_be_whole(self.path)
        return open_live(self.path)

    def rows(self, name: str) -> NDArray[Any]:
        """Whole rows of `blocks`, `hops` or `readings`; reads only what was added since the last call."""
        known = self._whole.get(name)
        start = 0 if known is None else known.shape[0]
        try:
            fresh = self._file[name][start:]
        except DAMAGE_ERRORS as error:  # what the other tables hold is not lost with it
            self._wrong[name] = str(error).splitlines()[0]
            fresh = np.empty(0, self._dtypes[name])
        fresh = fresh[: sealed(fresh)]
        rows = fresh if known is None else np.concatenate([known, fresh])
        self._whole[name] = rows
        return rows if self.before is None else rows[rows["serial"] < self.before]

    def left_out(self) -> Iterator[str]:
        """In words, rows that are not whole, and all behind them: what did not reach the disk, or is damaged."""
        for name in ("blocks", "hops", "readings"):
            known = self._whole.get(name)
            if name in self._wrong:
                yield f"{self.path.name}: its {name} cannot be read ({self._wrong[name]})"
                continue
            missing = self._file[name].shape[0] - (0 if known is None else known.shape[0])
            if missing:
                yield f"{self.path.name}: {missing} of its {name} are not whole"
        if self._not_whole:
            yield f"{self.path.name}: the samples of {self._not_whole} blocks are not whole"

    def piece(self) -> Piece | None:
        """Its samples, as far as the file really holds them; None without any."""
        blocks = self.rows("blocks")
        announced = blocks.size
        try:
            blocks = self._reached(blocks)
        except DAMAGE_ERRORS:
            blocks = blocks[:0]
        self._not_whole = announced - blocks.size
        return Piece(self, int(blocks["segment"][0]), blocks) if blocks.size else None

    def _reached(self, blocks: NDArray[Any]) -> NDArray[Any]:
        """The blocks whose samples are here, but for holes between them."""
        for name, ends in (("counts", np.cumsum(blocks["samples"])), ("mean", blocks["row"] + blocks["rows"])):
            if self.holds(name):
                blocks = blocks[: int(np.searchsorted(ends[: blocks.size], self._file[name].shape[0], "right"))]
        while blocks.size and not self._whole_block(blocks, blocks.size - 1):
            blocks = blocks[:-1]  # what a crash caught on its way to the disk
        return blocks

    def _whole_block(self, blocks: NDArray[Any], k: int) -> bool:
        first = int(blocks["first_sample"][k] - blocks["first_sample"][0])
        try:
            counts = self.counts(first, first + int(blocks["samples"][k])) if self.holds("counts") else None
            return self.matches(blocks[k], counts)
        except OSError:
            return False

    def matches(self, block: Any, counts: NDArray[np.int16] | None) -> bool:
        """Whether `counts` and the decimated rows of `block` are what was kept."""
        first, stop = int(block["row"]), int(block["row"] + block["rows"])
        names = ("minimum", "maximum", "mean") if self.holds("mean") else ()
        return data_crc(counts, *(self.decimated(name, first, stop) for name in names)) == int(block["data_crc"])

    def counts(self, first: int, stop: int) -> NDArray[np.int16]:
        """Counts [first, stop) of this file; raises `OSError` where a chunk never reached the disk or is damaged."""
        dataset = self.dataset("counts")
        rows = dataset.chunks[0]
        self._written = self._written or _written_chunks(dataset)
        for at in range(first - first % rows, stop, rows):
            # A chunk that was not there when the file was looked through may have come since: it is being written.
            if at not in self._written and dataset.id.get_chunk_info_by_coord((at, 0)).byte_offset is None:
                raise OSError(f"{self.path.name}: samples from {at} were never written")
        self._reader = self._reader or CountsReader(dataset)
        return self._reader.read(first, stop)

    def dataset(self, name: str) -> h5py.Dataset:
        """The dataset itself, looked up once: h5py takes longer for that than for a small read."""
        if name not in self._sets:
            self._sets[name] = self._file[name]
        return self._sets[name]

    def holds(self, name: str) -> bool:
        """Whether this file keeps `counts`, or the decimated stream; by the list of links, since `in` takes what is
        damaged for what is not there."""
        return name in self._names

    def decimated(self, name: str, first: int, stop: int) -> NDArray[Any]:
        """Rows of the decimated stream."""
        values: NDArray[Any] = self.dataset(name)[first:stop]
        return values

    def close(self) -> None:
        self._sets.clear()
        self._reader = None
        self._file.close()
        os.close(self._descriptor)


class LiveParts:
    """All live files of `folder` as one record, in order: what two of them hold counts once.

    A file that was interrupted while it was made is left out and named in `skipped`.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._known: dict[Path, LivePart] = {}
        self._closed: set[Path] = set()
        self.look()

    def look(self) -> None:
        """See what was added since the last look. Only the newest file grows: those before it are closed."""
        files = self.folder.live_files()
        self.skipped: list[str] = []
        for path, part in self._known.items():
            if path not in self._closed:
                part.look()
            if files and path != files[-1]:
                self._closed.add(path)
        for path in files:
            if path in self._known:
                continue
            try:
                self._known[path] = LivePart(path)
            except DAMAGE_ERRORS as error:
                self.skipped.append(f"{path.name}: {str(error).splitlines()[0]}")
        self.parts = [self._known[path] for path in sorted(self._known, key=number_of)]
        later: int | None = None
        for part in reversed(self.parts):
            part.before = later
            later = part.first_serial if later is None else min(later, part.first_serial)

    @property
    def header(self) -> RunHeader | None:
        """The run's header; None where it was interrupted before it was written."""
        if self.parts:
            return self.parts[0].header
        if self.folder.header.is_file():
            return header_of(self.folder.header.read_text(encoding="utf-8"))
        return None

    def left_out(self) -> list[str]:
        """What the files announce and do not hold whole, in words; known once rows and segments were asked for."""
        return [*self.skipped, *(text for part in self.parts for text in part.left_out())]

    def rows(self, name: str) -> NDArray[Any] | None:
        """Rows of `hops` or `readings` from all files; None without any file."""
        parts = [part.rows(name) for part in self.parts]
        return np.concatenate(parts) if parts else None

    def segments(self) -> dict[int, list[Piece]]:
        """Pieces of every segment, in order."""
        segments: dict[int, list[Piece]] = {}
        for part in self.parts:
            if (piece := part.piece()) is not None:
                segments.setdefault(piece.segment, []).append(piece)
        return segments

    def close(self) -> None:
        for part in self.parts:
            part.close()


def read_piece(piece: Piece) -> Iterator[tuple[int, NDArray[np.int16] | None, int]]:
    """(first sample in the segment, counts or None where they are lost, how many), block by block, each one checked.

    Read in ranges of many blocks, since a look-up per block costs more than the block; an unreadable range is read
    again block by block, so that only damaged blocks are lost.
    """
    ends = np.cumsum(piece.blocks["samples"])
    begin = 0
    while begin < piece.blocks.size:
        reached = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, reached + _STRETCH, "right")))
        blocks = piece.blocks[begin:stop]
        try:
            blocks_read = list(_stretch(piece, blocks))
        except OSError:
            blocks_read = [entry for block in blocks for entry in _alone(piece, block)]
        yield from blocks_read
        begin = stop


def _stretch(piece: Piece, blocks: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.int16] | None, int]]:
    part, base = piece.part, piece.first_sample
    first, last = blocks[0], blocks[-1]
    start = int(first["first_sample"]) - base
    stop = int(last["first_sample"]) - base + int(last["samples"])
    counts = part.counts(start, stop) if part.holds("counts") else None
    row = int(first["row"])
    names = ("minimum", "maximum", "mean") if part.holds("mean") else ()
    decimated = [part.decimated(name, row, int(last["row"] + last["rows"])) for name in names]
    for block in blocks:
        at, n, k = int(block["first_sample"]) - base - start, int(block["samples"]), int(block["row"]) - row
        block_counts = None if counts is None else counts[at : at + n]
        crc = data_crc(block_counts, *(values[k : k + int(block["rows"])] for values in decimated))
        yield int(block["first_sample"]), block_counts if crc == int(block["data_crc"]) else None, n


def _alone(piece: Piece, block: Any) -> Iterator[tuple[int, NDArray[np.int16] | None, int]]:
    try:
        yield from _stretch(piece, np.array([block], piece.blocks.dtype))
    except OSError:
        yield int(block["first_sample"]), None, int(block["samples"])


def _written_chunks(dataset: h5py.Dataset) -> set[int]:
    """First rows of the chunks that are in the file: one walk, where a look-up for each would walk every time."""
    first_rows: set[int] = set()
    dataset.id.chunk_iter(lambda chunk: first_rows.add(int(chunk.chunk_offset[0])))
    return first_rows


def _must_be_whole(path: Path) -> None:
    """Raise `OSError` for a file shorter than its own superblock says: an SWMR reader would wait for the rest, long."""
    with path.open("rb") as file:
        head = file.read(48)
    end = int.from_bytes(head[28:36], "little")
    if not head.startswith(b"\x89HDF\r\n\x1a\n") or len(head) < 48 or path.stat().st_size < end:
        raise OSError(f"truncated: {path.stat().st_size} bytes of {end}")


def _newer(path: Path, version: int) -> Problem:
    limit = f"this version reads up to {LIVE_VERSION}"
    return Problem("live_version", str(version), limit, "update opsicm", str(path))
