"""The writer: the only process that opens HDF5 for writing. Started by the recorder, one at a time.

    python -m opsicm.record.writer_process FOLDER RING WAKE

It takes records from the ring, appends them to a live file, hands that file to the system twice a second and to the
disk as often (`fdatasync`, in a thread, so that a slow disk never keeps it from taking more), and only then lets the
ring forget. It ends when the ring is closed (then it makes `run.nxs`) or when its parent has died (then it closes the
live file plainly and leaves `run.nxs` to `opsicm recover`). The recorder starts it with SIGINT, SIGTERM and SIGHUP
blocked: what ends a run is the ring, not a key that reaches the whole process group.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from opsicm.core.facts import SampleBlock
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.record import ring
from opsicm.record.live_file import LiveFile
from opsicm.record.recorder import header_of
from opsicm.record.ring import Ring, RingEntry
from opsicm.record.run_folder import RunFolder

FLUSH_EVERY: Final = 0.5  # [s]: with the disk's own time, at most a second is lost to a power cut
_GATHER: Final = 1e-3  # [s] what comes in this time is taken at once: a woken process costs more than a short record
_PART: Final = 8  # of the ring, that may be taken before it must be on the disk
_PARENT_EVERY: Final = 0.25  # [s] between two looks at whether the parent lives


class DiskThread:
    """Brings files to the disk, one request at a time; `done` is the mark that then may be committed."""

    def __init__(self, commit: Callable[[int], None], slow: Callable[[], None] = lambda: None) -> None:
        self._commit = commit
        self._slow = slow
        self._asked = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._work: tuple[Sequence[Callable[[], None]], int] | None = None
        self.error: OSError | None = None
        threading.Thread(target=self._loop, daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way to the disk."""
        return self._idle.is_set()

    def begin(self, sync: Sequence[Callable[[], None]], mark: int) -> None:
        """Sync in the thread, then commit the position `mark`."""
        self._idle.clear()
        self._work = (sync, mark)
        self._asked.set()

    def wait(self) -> None:
        """Return when it is idle; raises what the disk said."""
        self._idle.wait()
        if self.error is not None:
            raise self.error

    def _loop(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            assert self._work is not None
            sync, mark = self._work
            try:
                self._slow()
                for one in sync:
                    one()
                self._commit(mark)
            except OSError as error:
                self.error = error
            self._idle.set()


class Writer:
    """Takes everything from one ring into the live files of one folder."""

    def __init__(self, folder: RunFolder, shared: Ring, slow: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._ring = shared
        self._header = header_of(folder.header.read_text(encoding="utf-8"))
        self._position = shared.rewind()
        self._disk = DiskThread(shared.commit, slow)
        self._journal = os.open(folder.journal, os.O_RDONLY)
        self._file = self._new_file()
        self._on_way: list[int] = []  # when the blocks were put whose samples are not in the file yet
        self._since_flush = stopwatch()
        self._flushed = False
        shared.state = ring.READY

    def _new_file(self) -> LiveFile:
        file = LiveFile(self._folder.next_live_file(), self._header, self._position + 1)
        file.sync()
        self._folder.sync()  # the name as well
        return file

    def take(self) -> int:
        """Take what is there; returns how many records that was."""
        count = 0
        for record in self._ring.take(self._position):
            self._keep(record)
            self._position = record.serial
            count += 1
            if self.due:
                self.flush()
        self._file.settle()
        self._note_latencies()
        return count

    def _keep(self, record: RingEntry) -> None:
        if record.kind == ring.BLOCK:
            self._block(record, ring.block_of(record.payload))
        elif record.kind == ring.HOPS:
            self._file.hops(record.serial, *ring.hops_of(record.payload))
        elif record.kind == ring.READING:
            self._file.reading(record.serial, ring.reading_of(record.payload))

    def _block(self, record: RingEntry, block: SampleBlock) -> None:
        if self._file.key not in {None, (block.segment, block.dt_ns)}:
            self._file.flush()
            self._disk.wait()
            self._file.close()
            self._file = self._new_file()
        self._file.block(record.serial, block)
        self._on_way.append(record.put_ns)

    def _note_latencies(self) -> None:
        now = monotonic_ns()
        for put_ns in self._on_way:
            self._ring.note_latency(now - put_ns)
        self._on_way.clear()

    def flush(self) -> None:
        """To the system now; to the disk as soon as the disk has done what it was asked before."""
        if self._disk.error is not None:
            raise self._disk.error
        self._file.flush()
        self._note_latencies()
        self._since_flush = stopwatch()
        self._flushed = True
        if self._disk.idle and self._ring.committed != self._position:
            self._disk.begin([self._file.sync, self._sync_journal], self._position)

    @property
    def due(self) -> bool:
        """Whether the last flush is long enough ago. The first is due at once: one writer after another may be killed,
        and each must bring something to the disk. So is one that the ring needs: what has been taken is not forgotten
        before it is on the disk, and who records faster than life would wait for the next half second."""
        return not self._flushed or self._since_flush() >= FLUSH_EVERY or (self._filling and self._disk.idle)

    @property
    def _filling(self) -> bool:
        """Whether what was taken and is not on the disk holds a good part of the ring."""
        return self._position - self._ring.committed > self._ring.capacity // _PART

    def _sync_journal(self) -> None:
        os.fdatasync(self._journal)

    def finish(self) -> None:
        """Everything taken is on the disk and the live file is closed plainly."""
        while self.take():
            pass
        self._file.flush()
        self._disk.wait()
        self._file.close()
        self._sync_journal()
        self._ring.commit(self._position)


def serve(folder: RunFolder, shared: Ring, wake: int, slow: Callable[[], None] = lambda: None) -> None:
    """The writer's whole life."""
    parent = os.getppid()
    writer = Writer(folder, shared, slow)
    orphan = False
    while not shared.closed and not orphan:
        # Within the flush period even if nobody wakes us: what came last must not wait for what comes next.
        ready, _, _ = select.select([wake], [], [], _PARENT_EVERY)
        if ready and not os.read(wake, 65536):
            orphan = True  # the other end is closed
        select.select([], [], [], _GATHER)
        orphan = orphan or os.getppid() != parent
        writer.take()
        if writer.due:
            writer.flush()
    writer.finish()
    if not orphan:
        from opsicm.record.finalise import finalise  # noqa: PLC0415  not needed before, and the start is waited for

        try:
            finalise(folder)
        except Exception as error:  # noqa: BLE001  everything is safe in the live files: trying again would not help
            shared.message = f"{type(error).__name__}: {error}"
    shared.state = ring.FINISHED


def main(arguments: Sequence[str], slow: Callable[[], None] = lambda: None) -> None:
    """Serve, and say in the ring why not. With a full disk the file must not be closed: HDF5 may crash over it."""
    folder, shared, wake = RunFolder(Path(arguments[0])), Ring(int(arguments[1])), int(arguments[2])
    try:
        serve(folder, shared, wake, slow)
    except BaseException as error:  # noqa: BLE001  the process ends here, whatever it was
        shared.message = f"{type(error).__name__}: {error}"
        shared.state = ring.FAILED
        os._exit(1)
    os._exit(0)  # no atexit of HDF5: everything is closed


if __name__ == "__main__":
    main(sys.argv[1:])
