"""The live record: an append-only log, `record-0001.log`, `record-0002.log`, … in the run folder.

A log is a chain of frames, each a header of 48 bytes and a payload: the run's header first in every file, then samples,
the blocks they came in, hops and slow rows as they happen, and at last the end. Frames are numbered through all files.
Frames between two that `end` belong together: what a kill has cut in the middle counts as not written. A frame's header
carries its own checksum beside that of its payload, so that a damaged payload is passed over and named, and behind a
damaged header the next frame is found. Facts are not here: they are in the journal, which people read.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64
from xxhash import xxh3_64_intdigest as checksum

from opsicm.core.errors import Problem, UnreadableRun
from opsicm.core.facts import HOP_DTYPE, Channel
from opsicm.record.recorder import RunHeader, header_of, header_text
from opsicm.record.ring import READING_DTYPE, STEP_BYTES
from opsicm.record.run_folder import LOG_FILE, RunFolder, number_of

LOG_VERSION: Final = 2
FILE_BYTES: Final = 1 << 30  # a file is followed by the next beyond it: one that every file system takes
HEADER, SAMPLES, BLOCKS, HOPS, OLD_READINGS, END, READINGS = range(1, 8)
NAMES: Final = {
    SAMPLES: "samples",
    BLOCKS: "blocks",
    HOPS: "hops",
    OLD_READINGS: "slow rows",
    READINGS: "slow rows",
    HEADER: "header",
    END: "end",
}

_MAGIC: Final = b"oLog"
_FRAME: Final = struct.Struct("<4sHHQQqQ")  # magic, kind, ends, bytes, number, serial, checksum of the payload
_CHECK: Final = struct.Struct("<Q")
_HEAD: Final = _FRAME.size + _CHECK.size
_SAMPLES_HEAD: Final = struct.Struct("<qqqq")  # segment, first sample, samples, channels
_BLOCKS_HEAD: Final = struct.Struct("<qqqq")  # blocks, the run's channels, rows of the decimated stream, its channels
_SEARCH: Final = 1 << 20
_AT_ONCE: Final = 512  # parts handed to the system together, which takes 1024 at most
_DISK_BLOCK: Final = 4096  # [bytes]

HOP_ROW: Final = np.dtype([("step", f"S{STEP_BYTES}"), *HOP_DTYPE.descr])
READING_ROW: Final = READING_DTYPE
_SINCE_VERSION_2: Final = ("amplifier_gain", "amplifier_filter", "amplifier_mode")
_OLD_READING: Final = np.dtype([(n, READING_DTYPE[n]) for n in READING_DTYPE.names or () if n not in _SINCE_VERSION_2])
"""A slow row of a log of version 1: another kind of frame, so that it is known even where the header is damaged."""


def reading_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Slow rows of any version as `READING_ROW`: NaN or empty in columns that the version had not."""
    out = np.zeros(rows.size, READING_ROW)
    for name in READING_ROW.names or ():
        if name in (rows.dtype.names or ()):
            out[name] = rows[name]
        elif READING_ROW[name].kind == "f":
            out[name] = np.nan
    return out


def block_row(channels: int) -> np.dtype[Any]:
    """One row per block: its place in the segment, the rows it has in the decimated stream, and what to think of each
    channel."""
    return np.dtype(
        [
            ("segment", "i8"),
            ("first_sample", "i8"),
            ("samples", "i8"),
            ("t0_ns", "i8"),
            ("dt_ns", "i8"),
            ("rows", "i8"),
            ("quality", "u1", (max(1, channels),)),
        ]
    )


class Columns(NamedTuple):
    """Which channels are kept how, as indices into the header's channels: sample by sample (`full`), or only in the
    decimated stream (`short`)."""

    full: tuple[int, ...]
    short: tuple[int, ...]

    @staticmethod
    def of(channels: Sequence[Channel]) -> Columns:
        """By the channels' policies."""
        full = tuple(k for k, channel in enumerate(channels) if channel.policy == "full")
        short = tuple(k for k, channel in enumerate(channels) if channel.policy == "decimated")
        return Columns(full, short)


class Decimated(NamedTuple):
    """Rows of the decimated stream, counts [row, channel], of the channels that are kept in no other way."""

    minimum: NDArray[np.int16]
    maximum: NDArray[np.int16]
    mean: NDArray[np.float32]


def joined(parts: Sequence[Decimated]) -> Decimated:
    """Rows that follow one another as one; of no channels where there are none."""
    if not parts:
        nothing = np.empty((0, 0), np.int16)
        return Decimated(nothing, nothing, nothing.astype(np.float32))
    return Decimated(*(np.concatenate(values) for values in zip(*parts, strict=True)))


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples [first, first + rows) of a segment, packed."""

    segment: int
    first: int
    rows: int
    width: int
    packed: bytes


@dataclass(slots=True)
class Group:
    """What belongs together. `blocks` say which samples there should be; what `samples` lack of them is lost."""

    samples: list[Samples] = field(default_factory=list)
    blocks: list[NDArray[Any]] = field(default_factory=list)
    decimated: list[Decimated] = field(default_factory=list)
    hops: list[NDArray[Any]] = field(default_factory=list)
    readings: list[NDArray[Any]] = field(default_factory=list)


# -- frames ---------------------------------------------------------------------------------------------------------

Frame = tuple[int, tuple[bytes | memoryview, ...]]  # kind, parts of the payload


def samples_frame(segment: int, first: int, rows: int, width: int, packed: bytes) -> Frame:
    """Packed samples."""
    return SAMPLES, (_SAMPLES_HEAD.pack(segment, first, rows, width), packed)


def blocks_frame(rows: NDArray[Any], decimated: Decimated) -> Frame:
    """Blocks whose samples are all in the log by now, and the decimated stream of what is kept in no other way."""
    channels = rows["quality"].shape[1]
    arrays = (np.ascontiguousarray(values).tobytes() for values in decimated)
    return BLOCKS, (_BLOCKS_HEAD.pack(rows.size, channels, *decimated.mean.shape), rows.tobytes(), *arrays)


def rows_frame(kind: int, rows: NDArray[Any]) -> Frame:
    """Hops or slow rows."""
    return kind, (rows.tobytes(),)


class LogWriter:
    """Appends groups of frames to the last file of a log that `begin` has begun.

    What a writer before it left unfinished at the end is cut off; `serial` is that of the last whole group, `header`
    the run's.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        logs = folder.logs()
        if not logs:  # the folder, or what was in it, is gone
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder.path))
        *before, path = logs
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        self._open = [descriptor]  # files still to be synced: the last one, which grows, and those it has followed
        self._number = number_of(path)
        self._header, self.serial, self._next, self._size = _last_group(descriptor)
        os.ftruncate(descriptor, self._size)
        if before and not self._header:  # a writer that was killed before it had begun this file
            previous = os.open(before[-1], os.O_RDONLY)
            self._header, self.serial, self._next, _ = _last_group(previous)
            os.close(previous)
            self._begin_file()
        _, self.header = _header(self._header, path)

    @staticmethod
    def begin(folder: RunFolder, header: RunHeader) -> None:
        """Write the first file, with the run's header, and bring it to the disk."""
        text = json.dumps({"log_version": LOG_VERSION, "log": uuid.uuid4().hex, "header": header_text(header)}).encode()
        text += b" " * (-(_HEAD + len(text)) % _DISK_BLOCK)
        descriptor = os.open(folder.path / LOG_FILE.format(1), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            # Twice, in other blocks of the disk, one of which may be damaged: without it nothing can be understood.
            _write(descriptor, [*_frame(HEADER, False, 0, 0, (text,)), *_frame(HEADER, True, 1, 0, (text,))])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        folder.sync()

    def append(self, frames: Sequence[Frame], serial: int) -> None:
        """Append a group; raises `OSError` where the disk does not take it whole."""
        if self._size > FILE_BYTES:
            self._next_file()
        parts: list[bytes | memoryview] = []
        for k, (kind, payload) in enumerate(frames):
            parts += _frame(kind, k == len(frames) - 1, self._next, serial, payload)
            self._next += 1
        self._size += _write(self._open[-1], parts)
        self.serial = serial

    def _next_file(self) -> None:
        """Go on in a new file; in this one where the folder takes no new files any more."""
        path = self._folder.path / LOG_FILE.format(self._number + 1)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        except PermissionError:
            return
        self._open.append(descriptor)
        self._number += 1
        self._begin_file()
        self._folder.sync()

    def _begin_file(self) -> None:
        self._size = _write(self._open[-1], _frame(HEADER, True, self._next, self.serial, (self._header,)))
        self._next += 1

    def sync(self) -> None:
        """Bring everything to the disk; another thread may call this while groups are appended."""
        now = tuple(self._open)
        for descriptor in now:
            os.fdatasync(descriptor)
        for descriptor in now[:-1]:
            self._open.remove(descriptor)
            os.close(descriptor)


def _frame(
    kind: int, ends: bool, number: int, serial: int, payload: tuple[bytes | memoryview, ...]
) -> list[bytes | memoryview]:
    total = xxh3_64()
    for part in payload:
        total.update(part)
    head = _FRAME.pack(_MAGIC, kind, ends, sum(map(len, payload)), number, serial, total.intdigest())
    return [head, _CHECK.pack(checksum(head)), *payload]


def _write(descriptor: int, parts: Sequence[bytes | memoryview]) -> int:
    """Write all of it, without a copy; returns how many bytes that were."""
    left, written = [memoryview(part) for part in parts if len(part)], 0
    while left:
        n = os.writev(descriptor, left[:_AT_ONCE])
        written += n
        done = 0
        while done < len(left) and n >= len(left[done]):
            n -= len(left[done])
            done += 1
        left = left[done:]
        if n:  # the disk took a part of this one
            left[0] = left[0][n:]
    return written


class _Head(NamedTuple):
    kind: int
    ends: bool
    length: int
    number: int
    serial: int
    sum: int


def _head_at(data: bytes | memoryview) -> _Head | None:
    """The header of the frame that `data` begins with; None where that is none."""
    if (
        len(data) < _HEAD
        or data[:4] != _MAGIC
        or _CHECK.unpack(data[_FRAME.size : _HEAD])[0] != checksum(data[: _FRAME.size])
    ):
        return None
    _, kind, ends, length, number, serial, total = _FRAME.unpack(data[: _FRAME.size])
    return _Head(kind, bool(ends), length, number, serial, total)


def _next_head(descriptor: int, begin: int, size: int) -> int | None:
    """Where the next frame begins, from `begin` on."""
    while begin < size:
        data = os.pread(descriptor, _SEARCH + _HEAD, begin)
        at = data.find(_MAGIC)
        while at >= 0:
            if _head_at(data[at : at + _HEAD]) is not None:
                return begin + at
            at = data.find(_MAGIC, at + 1)
        begin += _SEARCH
    return None


def _last_group(descriptor: int) -> tuple[bytes, int, int, int]:
    """(the header's payload, serial of the last whole group, number of the next frame, where the group ends)."""
    at = end = serial = number = 0
    header = b""
    size = os.fstat(descriptor).st_size
    while True:
        head = _head_at(os.pread(descriptor, _HEAD, at))
        if head is None and at < size and (found := _next_head(descriptor, at + 1, size)) is not None:
            at = found  # what lies behind a damaged header is whole
            continue
        if head is None or at + _HEAD + head.length > size:
            return header, serial, number, end
        if head.kind == HEADER and checksum(payload := os.pread(descriptor, head.length, at + _HEAD)) == head.sum:
            header = payload
        at += _HEAD + head.length
        if head.ends:
            end, serial, number = at, head.serial, head.number + 1


# -- reading --------------------------------------------------------------------------------------------------------


class LogReader:
    """Reads a log, also while it grows: `groups` yields what has become whole since the last call.

    `losses` say in words what is damaged or missing; `ended` that the run has ended and all of it was read.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._descriptor = -1
        self._file = 0  # the number of the file that is read
        self._at = 0  # where its next group begins
        self._next = 0  # the number of the next frame
        self._doubts: list[str] = []  # what is damaged in the next group, when it was looked at last
        self.header: RunHeader | None = None
        self.log = ""  # which log it is: a word that no other one has
        self.losses: list[str] = []
        self.ended = False

    def close(self) -> None:
        """Close the file that is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def groups(self, final: bool = False) -> Iterator[Group]:
        """Every whole group that has come. `final`: nothing more will come, so that what is left over is lost."""
        while not self.ended:
            newer = next((path for path in self._folder.logs() if number_of(path) > self._file), None)
            if self._descriptor >= 0:
                while (group := self._read(final or newer is not None)) is not None:
                    yield group
            if newer is None or self.ended:
                return
            self._open(newer)

    def _open(self, path: Path) -> None:
        number = number_of(path)
        if number != self._file + 1:
            gone = ", ".join(LOG_FILE.format(n) for n in range(self._file + 1, number))
            self.losses.append(f"{gone} missing")
        self.close()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        self._file, self._at = number, 0

    def _read(self, whole: bool) -> Group | None:
        """The next group; None where there is none yet. `whole`: this file will not grow any more."""
        group, losses, at, number, ended = Group(), [], self._at, self._next, False
        size = os.fstat(self._descriptor).st_size
        while True:
            head = _head_at(os.pread(self._descriptor, _HEAD, at))
            if head is None and at < size and (found := _next_head(self._descriptor, at + 1, size)) is not None:
                losses.append(f"{self._name}: bytes {at} to {found - 1} are damaged")
                at, number = found, -1
                continue
            if head is None or at + _HEAD + head.length > size:
                if whole and size > self._at:
                    self.losses += [*losses, f"{self._name}: its last {size - self._at} bytes were not whole"]
                    self._at = size
                return None
            if number >= 0 and head.number != number:
                losses.append(f"{self._name}: frames {number} to {head.number - 1} are missing")
            payload = os.pread(self._descriptor, head.length, at + _HEAD)
            if checksum(payload) != head.sum:
                losses.append(f"{self._name}: {NAMES.get(head.kind, 'what is')} in frame {head.number} are damaged")
            else:
                self._keep(group, head.kind, payload)
                ended = ended or head.kind == END
            at, number = at + _HEAD + head.length, head.number + 1
            if head.ends:
                if losses and losses != self._doubts and not whole:
                    self._doubts = losses  # a writer may just be cutting off what one before it left: look again
                    return None
                self._at, self._next = at, number
                self.losses += losses
                self._doubts, self.ended = [], ended
                return group

    @property
    def _name(self) -> str:
        return LOG_FILE.format(self._file)

    def _keep(self, group: Group, kind: int, payload: bytes) -> None:
        if kind == SAMPLES:
            segment, first, rows, width = _SAMPLES_HEAD.unpack_from(payload)
            group.samples.append(Samples(segment, first, rows, width, payload[_SAMPLES_HEAD.size :]))
        elif kind == BLOCKS:
            rows, decimated = _blocks(payload)
            group.blocks.append(rows)
            group.decimated.append(decimated)
        elif kind == HOPS:
            group.hops.append(np.frombuffer(payload, HOP_ROW))
        elif kind == READINGS:
            group.readings.append(np.frombuffer(payload, READING_ROW))
        elif kind == OLD_READINGS:
            group.readings.append(reading_rows(np.frombuffer(payload, _OLD_READING)))
        elif kind == HEADER:
            self.log, self.header = _header(payload, self._folder.path / self._name)


def read_header(folder: RunFolder) -> RunHeader | None:
    """The header of the run that is recorded in `folder`; None without a log that has one."""
    reader = LogReader(folder)
    try:
        next(reader.groups(), None)
    finally:
        reader.close()
    return reader.header


def _blocks(payload: bytes) -> tuple[NDArray[Any], Decimated]:
    blocks, channels, n, width = _BLOCKS_HEAD.unpack_from(payload)
    dtype, at = block_row(channels), _BLOCKS_HEAD.size
    rows = np.frombuffer(payload, dtype, blocks, at)
    at += rows.nbytes
    size = n * width
    extremes = np.frombuffer(payload, np.int16, 2 * size, at).reshape(2, n, width)
    mean = np.frombuffer(payload, np.float32, size, at + extremes.nbytes).reshape(n, width)
    return rows, Decimated(extremes[0], extremes[1], mean)


def _header(payload: bytes, path: Path) -> tuple[str, RunHeader]:
    data = json.loads(payload)
    if int(data["log_version"]) > LOG_VERSION:
        limit = f"this version reads up to {LOG_VERSION}"
        raise UnreadableRun(Problem("log_version", str(data["log_version"]), limit, "update opsicm", str(path)))
    return str(data["log"]), header_of(data["header"])
