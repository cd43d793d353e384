"""The writer: takes everything from the ring into the log. Started by the recorder, one at a time.

    python -m opsicm.record.writer_process FOLDER RING WAKE

FOLDER is a descriptor, so that a run whose folder is moved goes on. What comes within `_GATHER` is packed together, in
two threads, and appended as one group; then the ring may forget it: the system has it, and no kill takes it any more.
Twice a second a thread of its own brings the log to the disk (`fdatasync`), so that a slow disk does not keep the
writer from taking more. It ends when the ring is closed, or when its parent has died and everything is taken. The
recorder starts it with SIGINT, SIGTERM and SIGHUP blocked: what ends a run is the ring, not a key that reaches the
whole process group.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import SampleBlock
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.record import decimate, log, packed_counts, ring
from opsicm.record.log import END, HOPS, READINGS, Columns, Decimated, LogWriter
from opsicm.record.ring import Ring, RingEntry
from opsicm.record.run_folder import RunFolder

SYNC_EVERY: Final = 0.5  # [s]: with the disk's own time, at most a second is lost to a power cut
_GATHER: Final = 5e-3  # [s] what comes in this time goes into the log together: a shorter chunk packs less well
_PARENT_EVERY: Final = 0.25  # [s] between two looks at whether the parent lives
_MOST_BYTES: Final = 4 << 20  # of the ring in one group: what is read, unpacked or lost at once
_PACKERS: Final = 2


class DiskThread:
    """Brings log and journal to the disk twice a second; `error` is what the disk said to it."""

    def __init__(self, writer: LogWriter, journal: int, shared: Ring, slow: Callable[[], None]) -> None:
        self._writer, self._journal, self._ring, self._slow = writer, journal, shared, slow
        self._stop = threading.Event()
        self.error: OSError | None = None
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Bring the rest to the disk; raises what the disk said."""
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _loop(self) -> None:
        try:
            while not self._stop.wait(SYNC_EVERY):
                self._sync()
            self._sync()
        except OSError as error:
            self.error = error

    def _sync(self) -> None:
        position = self._writer.serial
        self._slow()
        self._writer.sync()
        os.fdatasync(self._journal)
        self._ring.note_synced(position, monotonic_ns())


class Gathering:
    """Blocks of one segment that go into the log together, cut into chunks as the run file will have them.

    A chunk that lies within a block is packed where it lies in the ring; what is left over is gathered.
    """

    def __init__(self, columns: Columns, channels: int, factor: int) -> None:
        self._columns, self._channels, self._factor = columns, channels, factor
        self._width = len(columns.full)
        self._rows = packed_counts.chunk_rows(self._width)
        self._pool = ThreadPoolExecutor(_PACKERS)
        self._packing: list[PackedLater] = []
        self._blocks: list[NDArray[Any]] = []
        self._short: list[Decimated] = []
        self._tail: NDArray[np.int16] | None = None
        self._tail_at = self._tail_rows = 0
        self.key: tuple[int, int] | None = None  # (segment, dt_ns) of what is gathered

    def add(self, block: SampleBlock) -> None:
        """Gather a block; its counts must not change before they are packed."""
        self.key = (block.segment, block.dt_ns)
        counts, full, short = block.counts, self._columns.full, self._columns.short
        if self._width:
            self._cut(block.first_sample, counts if len(full) == counts.shape[1] else counts[:, full])
        if short:
            self._short.append(Decimated(*decimate.decimate(counts[:, short], self._factor)[:3]))
        row = np.zeros(1, log.block_row(self._channels))
        n = counts.shape[0]
        row[0] = (block.segment, block.first_sample, n, block.t0_ns, block.dt_ns, -(-n // self._factor), block.quality)
        self._blocks.append(row)

    def _cut(self, first: int, counts: NDArray[np.int16]) -> None:
        at, n = 0, counts.shape[0]
        while at < n:
            begin = first + at
            take = min(self._rows - begin % self._rows, n - at)
            part = counts[at : at + take]
            at += take
            if take == self._rows:
                self._send(begin, np.ascontiguousarray(part))
                continue
            if self._tail is None:
                self._tail = np.empty((self._rows, self._width), np.int16)
                self._tail_at, self._tail_rows = begin, 0
            self._tail[self._tail_rows : self._tail_rows + take] = part
            self._tail_rows += take
            if (begin + take) % self._rows == 0:
                self._send_tail()

    def _send_tail(self) -> None:
        if self._tail is not None:
            self._send(self._tail_at, self._tail[: self._tail_rows])
            self._tail = None

    def _send(self, first: int, counts: NDArray[np.int16]) -> None:
        assert self.key is not None
        future = self._pool.submit(packed_counts.pack, counts)
        self._packing.append(PackedLater(self.key[0], first, counts.shape[0], self._width, future))

    def frames(self) -> tuple[list[PackedLater], list[log.Frame]]:
        """Everything gathered: samples that are being packed, and the blocks that they are of."""
        if not self._blocks:
            return [], []
        self._send_tail()
        samples, self._packing = self._packing, []
        blocks = log.blocks_frame(np.concatenate(self._blocks), log.joined(self._short))
        self._blocks.clear()
        self._short.clear()
        return samples, [blocks]


class PackedLater(NamedTuple):
    """Samples on their way through a packer."""

    segment: int
    first: int
    rows: int
    width: int
    packed: Future[bytes]

    def frame(self) -> log.Frame:
        """The frame, as soon as they are packed."""
        return log.samples_frame(self.segment, self.first, self.rows, self.width, self.packed.result())


class Waiting(NamedTuple):
    """A group that is not in the log yet: its frames, up to where in the ring it reaches, when its blocks were put."""

    samples: list[PackedLater]
    frames: list[log.Frame]
    position: int
    put_ns: tuple[int, ...]


class Writer:
    """Takes everything from one ring into the log of one folder."""

    def __init__(self, folder: RunFolder, shared: Ring, slow: Callable[[], None] = lambda: None) -> None:
        self._ring = shared
        self._log = LogWriter(folder)
        header = self._log.header
        # What a writer before this one has brought into the log, and was killed before it said so, is there.
        self._position = max(shared.committed, self._log.serial)
        shared.commit(self._position)
        self._disk = DiskThread(self._log, os.open(folder.journal, os.O_RDONLY), shared, slow)
        factor = decimate.factor(header.dt_ns)
        self._gathering = Gathering(Columns.of(header.channels), len(header.channels), factor)
        self._rows: list[log.Frame] = []  # hops and slow rows of the group, in order
        self._on_way: list[int] = []  # when the blocks of the group were put
        self._groups: deque[Waiting] = deque()
        self._gathered = self._position
        packed_counts.library()  # loaded before it is needed: the first blocks would wait for it
        shared.state = ring.READY

    def take(self) -> bool:
        """Take what is there into the log; whether that was anything."""
        begin = self._position
        for record in self._ring.take(begin):
            self._keep(record)
            self._position = record.serial
            if self._position - self._gathered > _MOST_BYTES:
                self._gather()
        self._gather()
        self._append(0)
        return self._position != begin

    def _keep(self, record: RingEntry) -> None:
        if record.kind == ring.BLOCK:
            block = ring.block_of(record.payload)
            if self._gathering.key not in {None, (block.segment, block.dt_ns)}:
                self._gather()
            self._gathering.add(block)
            self._on_way.append(record.put_ns)
        elif record.kind == ring.HOPS:
            step, records = ring.hops_of(record.payload)
            rows = np.zeros(records.shape[0], log.HOP_ROW)
            rows["step"] = step
            for name in records.dtype.names or ():
                rows[name] = records[name]
            self._rows.append(log.rows_frame(HOPS, rows))
        elif record.kind == ring.READING:
            self._rows.append(log.rows_frame(READINGS, ring.reading_of(record.payload)))

    def _gather(self) -> None:
        """What was kept so far becomes a group; the one before the last goes into the log, while this one is packed."""
        samples, frames = self._gathering.frames()
        self._groups.append(Waiting(samples, [*frames, *self._rows], self._position, tuple(self._on_way)))
        self._gathered = self._position
        self._rows.clear()
        self._on_way.clear()
        self._append(1)

    def _append(self, but: int) -> None:
        """Groups into the log, in order, all but the last so many."""
        while len(self._groups) > but:
            if self._disk.error is not None:
                raise self._disk.error
            group = self._groups.popleft()
            frames = [*(one.frame() for one in group.samples), *group.frames]
            if frames:
                self._log.append(frames, group.position)
                self._ring.commit(group.position)
            now = monotonic_ns()
            for put_ns in group.put_ns:
                self._ring.note_latency(now - put_ns)

    def finish(self) -> None:
        """Everything is in the log and on the disk, and the log says that it ends."""
        while self.take():
            pass
        self._log.append([(END, (b"",))], self._position)
        self._disk.close()


def serve(folder: RunFolder, shared: Ring, wake: int, slow: Callable[[], None] = lambda: None) -> None:
    """The writer's whole life."""
    parent = os.getppid()
    writer = Writer(folder, shared, slow)
    orphan = False
    waited = stopwatch()
    while not shared.closed and not orphan:
        ready, _, _ = select.select([wake], [], [], _PARENT_EVERY)
        if ready and not os.read(wake, 65536):
            orphan = True  # the other end is closed
        select.select([], [], [], max(0.0, _GATHER - waited()))
        orphan = orphan or os.getppid() != parent
        writer.take()
        waited = stopwatch()
    writer.finish()
    shared.state = ring.FINISHED


def main(arguments: Sequence[str], slow: Callable[[], None] = lambda: None) -> None:
    """Serve, and say in the ring why not."""
    os.fchdir(int(arguments[0]))
    folder, shared, wake = RunFolder(Path()), Ring(int(arguments[1])), int(arguments[2])
    try:
        serve(folder, shared, wake, slow)
    except BaseException as error:  # noqa: BLE001  the process ends here, whatever it was
        shared.message = f"{type(error).__name__}: {error}"
        shared.state = ring.FAILED
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
