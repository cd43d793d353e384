"""A ring of bytes in memory that two processes share: the controlling process puts, the writer takes.

One producer, one consumer, no lock: each side moves its own mark only. A record stays in the ring until the writer has
it in the log (`committed`), so that a writer that dies loses nothing: the next one goes on from the end of the log.
The memory is an anonymous file handed over as a descriptor: nothing is left behind in the file system, and it lives as
long as either process does. Marks are aligned 8-byte stores behind the bytes they announce, which x86-64 keeps in
order; on a machine that reorders stores the system calls between two records (the wake-up) are the barrier.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import HOP_DTYPE, SampleBlock
from opsicm.record.recorder import Reading

_CONTROL: Final = 4096
_TEXT_AT: Final = 512
_MAGIC: Final = 0x4F505349434D5231
_HEADER: Final = np.dtype([("kind", "i4"), ("length", "u4"), ("put_ns", "i8")])
_PAD: Final = 0
_POPULATE_WRITE: Final = 23  # MADV_POPULATE_WRITE, which Python's mmap has no name for
_HEAD, _COMMITTED, _CLOSED, _STATE, _SYNCED, _SYNCED_NS = 2, 3, 4, 5, 6, 7
_LATENCIES, _LATENCY_AT, _LATENCY_ROOM = 9, 16, 48  # a count, then the last 48 of them: all 8-byte slots before 512

STARTING: Final = 0
READY: Final = 1
FINISHED: Final = 2
FAILED: Final = 3


@dataclass(frozen=True, slots=True)
class RingEntry:
    """One record as the writer sees it: `payload` looks into the ring and is good until the record is committed.

    `serial` is the position where it ends: it grows from record to record and needs no counter of its own.
    """

    serial: int
    kind: int
    put_ns: int
    payload: memoryview


class Ring:
    """The shared memory behind one run. `descriptor` goes to the writer process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)
        self._marks = memoryview(self._map)[:_TEXT_AT].cast("q")
        if self._marks[0] != _MAGIC:
            raise ValueError(f"descriptor {descriptor} holds no ring")
        self.capacity = self._marks[1]
        self._bytes = memoryview(self._map)[_CONTROL:]

    @staticmethod
    def create(capacity: int) -> Ring:
        """A new ring of `capacity` bytes (rounded up to whole pages)."""
        capacity = -(-capacity // mmap.PAGESIZE) * mmap.PAGESIZE
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("opsicm-ring")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, _CONTROL + capacity)
        os.pwrite(descriptor, np.array([_MAGIC, capacity], np.int64).tobytes(), 0)
        return Ring(descriptor)

    def reserve(self) -> None:
        """Take the memory now; raises `OSError` where the machine has too little. A page that is only asked for by
        the block that needs it costs several times the copy of that block, and may not be there at all. Being there is
        half of it: this process's own table must know each page as well, which Linux fills in one call since 5.14."""
        os.posix_fallocate(self.descriptor, 0, _CONTROL + self.capacity)
        with suppress(OSError):  # an older kernel, or none of Linux: the first lap then asks page by page
            self._map.madvise(_POPULATE_WRITE)

    def release(self) -> None:
        """Give the memory back; the ring cannot be used afterwards."""
        self._marks.release()
        self._bytes.release()
        with suppress(BufferError):  # an entry that is still in use keeps the memory until it is released
            self._map.close()
        os.close(self.descriptor)

    # -- the controlling process ------------------------------------------------------------------------------------

    def put(self, kind: int, parts: tuple[memoryview | bytes, ...], put_ns: int) -> bool:
        """Append a record made of `parts`; False, and nothing done, if there is no room now."""
        length = sum(len(part) for part in parts)
        size = _HEADER.itemsize + -(-length // 8) * 8
        if size + _HEADER.itemsize > self.capacity // 2:
            raise ValueError(f"a record of {length} bytes does not fit a ring of {self.capacity}")
        head = self._marks[_HEAD]
        left = self.capacity - head % self.capacity
        pad = left if left < size + _HEADER.itemsize else 0  # always leave room for the header of a pad
        if self.capacity - (head - self._marks[_COMMITTED]) < pad + size:
            return False
        if pad:
            self._write_header(head, _PAD, pad - _HEADER.itemsize, 0)
            head += pad
        self._write_header(head, kind, length, put_ns)
        at = head % self.capacity + _HEADER.itemsize
        for part in parts:
            self._bytes[at : at + len(part)] = part
            at += len(part)
        self._marks[_HEAD] = head + size
        return True

    def _write_header(self, position: int, kind: int, length: int, put_ns: int) -> None:
        at = position % self.capacity
        header = np.array([(kind, length, put_ns)], _HEADER)
        self._bytes[at : at + _HEADER.itemsize] = header.tobytes()

    def close(self) -> None:
        """Mark the end: nothing more will be put."""
        self._marks[_CLOSED] = 1

    @property
    def put_bytes(self) -> int:
        """All that has been put so far."""
        return self._marks[_HEAD]

    # -- the writer -------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the controlling process has marked the end."""
        return self._marks[_CLOSED] == 1

    @property
    def committed(self) -> int:
        """Position up to which everything is in the log: a kill does not take it any more."""
        return self._marks[_COMMITTED]

    def commit(self, position: int) -> None:
        """Everything before `position` is in the log and may be overwritten."""
        self._marks[_COMMITTED] = position

    @property
    def synced(self) -> tuple[int, int]:
        """(position up to which everything is on the disk: no power cut takes it any more; when that was found, ns)."""
        return self._marks[_SYNCED], self._marks[_SYNCED_NS]

    def note_synced(self, position: int, now_ns: int) -> None:
        """Everything before `position` is on the disk."""
        self._marks[_SYNCED] = position
        self._marks[_SYNCED_NS] = now_ns

    def take(self, position: int) -> Iterator[RingEntry]:
        """Every record from `position` on that is there now, in order."""
        head = self._marks[_HEAD]
        while position < head:
            at = position % self.capacity
            kind, length, put_ns = np.frombuffer(self._bytes, _HEADER, 1, at)[0].tolist()
            size = _HEADER.itemsize + -(-length // 8) * 8
            begin = at + _HEADER.itemsize
            position += size
            if kind != _PAD:
                yield RingEntry(position, kind, put_ns, self._bytes[begin : begin + length])

    def note_latency(self, nanoseconds: int) -> None:
        """Remember how long a block took from `put` to the file."""
        count = self._marks[_LATENCIES]
        self._marks[_LATENCY_AT + count % _LATENCY_ROOM] = nanoseconds
        self._marks[_LATENCIES] = count + 1

    def latencies(self, since: int) -> tuple[list[int], int]:
        """[ns] of the blocks written since `since` (the last 48 at most), and how many there were in all."""
        count = self._marks[_LATENCIES]
        first = max(since, count - _LATENCY_ROOM)
        return [self._marks[_LATENCY_AT + k % _LATENCY_ROOM] for k in range(first, count)], count

    # -- both -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> int:
        """The writer's state: STARTING, READY, FINISHED or FAILED."""
        return self._marks[_STATE]

    @state.setter
    def state(self, value: int) -> None:
        self._marks[_STATE] = value

    @property
    def message(self) -> str:
        """The writer's last message."""
        return bytes(self._map[_TEXT_AT:_CONTROL]).split(b"\0", 1)[0].decode("utf-8", "replace")

    @message.setter
    def message(self, text: str) -> None:
        data = text.encode("utf-8")[: _CONTROL - _TEXT_AT - 1]
        self._map[_TEXT_AT : _TEXT_AT + len(data) + 1] = data + b"\0"


# Entries of the ring: blocks of samples, hop records and slow rows, as bytes with a fixed layout.
BLOCK: Final = 1
HOPS: Final = 2
READING: Final = 3

STEP_BYTES: Final = 96  # a step's text path, UTF-8; `check` could not name a longer one on one line
CONTROL_BYTES: Final = 32
MODE_BYTES: Final = 24
READING_DTYPE: Final = np.dtype(
    [
        ("t_ns", "i8"),
        ("potential", "f8"),
        ("current", "f8"),
        ("charge", "f8"),
        ("set_point", "f8"),
        ("soc", "f8"),
        ("pipette_current", "f8"),
        ("pipette_bias", "f8"),
        ("bias_residual", "f8"),
        ("z", "f8"),
        ("coarse_z", "f8"),
        ("control", f"S{CONTROL_BYTES}"),
        ("amplifier_gain", "f8"),
        ("amplifier_filter", "f8"),
        ("amplifier_mode", f"S{MODE_BYTES}"),
    ]
)
"""A slow row: cell and probe together; NaN, or an empty text, where a value is not known."""
_TEXTS: Final = {"control": (CONTROL_BYTES, "cell control"), "amplifier_mode": (MODE_BYTES, "amplifier mode")}
_BLOCK_HEAD: Final = np.dtype(
    [("segment", "i8"), ("first_sample", "i8"), ("t0_ns", "i8"), ("dt_ns", "i8"), ("samples", "i8"), ("channels", "i8")]
)

Parts = tuple[memoryview | bytes, ...]


def block_parts(block: SampleBlock) -> Parts:
    """A block as bytes: numbers, quality, counts."""
    n, width = block.counts.shape
    head = np.array([(block.segment, block.first_sample, block.t0_ns, block.dt_ns, n, width)], _BLOCK_HEAD)
    counts = np.ascontiguousarray(block.counts, np.int16)
    quality = np.ascontiguousarray(block.quality, np.uint8)
    # A byte more where the channels are odd in number: the counts that follow are read where they lie.
    return head.tobytes(), quality.tobytes() + bytes(width % 2), counts.data.cast("B") if n else b""


def block_of(payload: memoryview) -> SampleBlock:
    """The block whose counts look into `payload`: no copy."""
    segment, first, t0_ns, dt_ns, n, width = np.frombuffer(payload, _BLOCK_HEAD, 1)[0].tolist()
    at = _BLOCK_HEAD.itemsize
    quality = np.frombuffer(payload, np.uint8, width, at)
    counts = np.frombuffer(payload[at + width + width % 2 :], np.int16, n * width).reshape(n, width)
    return SampleBlock(segment, first, t0_ns, dt_ns, counts, quality)


def hops_parts(step: str, records: NDArray[Any]) -> Parts:
    """Hop records of one step as bytes."""
    rows = np.ascontiguousarray(records, HOP_DTYPE)
    return _text(step, STEP_BYTES, "step path"), rows.tobytes()


def hops_of(payload: memoryview) -> tuple[bytes, NDArray[Any]]:
    """(step, records)."""
    return bytes(payload[:STEP_BYTES]).rstrip(b"\0"), np.frombuffer(payload[STEP_BYTES:], HOP_DTYPE)


def reading_row(reading: Reading) -> NDArray[Any]:
    """A reading as one row."""
    return np.array([tuple(_column(name, getattr(reading, name)) for name in READING_DTYPE.names or ())], READING_DTYPE)


def _column(name: str, value: Any) -> Any:
    if name in _TEXTS:
        return _text(value, *_TEXTS[name]).rstrip(b"\0")
    return np.nan if value is None else value


def reading_of(payload: memoryview) -> NDArray[Any]:
    """The row."""
    return np.frombuffer(payload, READING_DTYPE, 1)


def _text(text: str, length: int, thing: str) -> bytes:
    data = text.encode("utf-8")
    if len(data) > length:
        limit = f"the record keeps {length} bytes of it"
        raise BadInput(Problem(thing, f"{len(data)} bytes long", limit, "give it a shorter name"))
    return data.ljust(length, b"\0")
