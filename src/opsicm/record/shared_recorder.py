"""The recorder of a live run: everything goes into shared memory, a writer process takes it from there.

Nothing here waits for the disk but an `intent`, and nothing here imports HDF5: on a full disk that library can end its
process, and this is the process that moves the pipette. A writer that dies is replaced at once; what it had not
brought to the disk is still in the ring.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Fact, Kind, SampleBlock
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.record import ring, run_folder
from opsicm.record.journal import Journal
from opsicm.record.recorder import Reading, RunHeader, header_text
from opsicm.record.ring import Ring
from opsicm.record.run_folder import RunFolder

DEPTH: Final = 22.0  # [s] of samples that the ring holds
_LEAST: Final = 32 << 20  # [bytes]
_START_WITHIN: Final = 20.0  # [s] on a machine whose cores are all busy
_STUCK_AFTER: Final = 60.0  # [s] without a byte taken while the ring is full
_DEATHS: Final = 5  # of its own accord, in a row, without anything committed between them
_KILLED_FOR: Final = 20.0  # [s] without anything committed while somebody kills each writer: the ring holds no more
WRITER: Final = (sys.executable, "-P", "-m", "opsicm.record.writer_process")
_BLOCKED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SharedRecorder:
    """A `Recorder`. `writer` is the command line that starts a writer; `depth` [s] the ring's."""

    def __init__(self, folder: RunFolder, writer: Sequence[str] = WRITER, depth: float = DEPTH) -> None:
        self._folder = folder
        self._command = writer
        self._depth = depth
        self._changed = threading.Event()
        self._notes: list[tuple[Kind, str]] = []
        self._failure: Problem | None = None
        self._journal_error: OSError | None = None
        self._inserted = 0
        self._last = Fact(-1, 0, "note", "run", "record")
        self._pressed = False
        self._next: tuple[int, int] | None = None  # (segment, sample) that the next block must begin with
        self._space = stopwatch()
        self.restarts = 0

    # -- Recorder ---------------------------------------------------------------------------------------------------

    def open(self, header: RunHeader) -> None:
        run_folder.stop_if_short(self._folder.path)
        self._channels = len(header.channels)
        part = self._folder.header.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            file.write(header_text(header))
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._folder.header)
        # Held through the descriptor that every writer inherits: free only when this process and its writer are gone.
        self._lock = os.open(self._folder.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._journal = Journal(self._folder.journal)
        rate = 2.0 * self._channels * 1e9 / header.dt_ns
        self._ring = Ring.create(max(_LEAST, round(1.1 * self._depth * rate)))
        self._wake_read, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._process = self._start()
        try:
            self._ring.reserve()  # while the writer starts
        except OSError as error:
            size, limit = f"{self._ring.capacity * 1e-6:.0f} MB", f"cannot be had ({error.strerror})"
            self._fail("memory for the record", size, limit, "end other programs or record fewer channels")
        self._watch = threading.Thread(target=self._supervise, name="record-supervisor", daemon=True)
        self._watch.start()
        waited = stopwatch()
        while self._ring.state == ring.STARTING and self._failure is None and waited() < _START_WITHIN:
            self._changed.wait(0.01)
        if self._ring.state == ring.STARTING and self._failure is None:
            self._fail("writer process", "not ready", f"must start within {_START_WITHIN:g} s", "look at the machine")
        self._raise()

    def block(self, block: SampleBlock) -> None:
        self._raise()
        self._in_order(block)
        self._put(ring.BLOCK, ring.block_parts(block))

    def hops(self, step: str, records: NDArray[Any]) -> None:
        self._raise()
        if records.size:
            self._put(ring.HOPS, ring.hops_parts(step, records))

    def reading(self, reading: Reading) -> None:
        self._raise()
        self._put(ring.READING, (ring.reading_row(reading).tobytes(),))
        if self._space() > 1.0:
            self._space = stopwatch()
            run_folder.stop_if_short(self._folder.path)

    def fact(self, fact: Fact) -> None:
        """Journal a fact, after the record's own notes. Only an `intent` that cannot be kept raises: an error here must
        not keep a run from making its rig safe."""
        notes, self._notes = self._notes, []
        for kind, message in notes:
            self._inserted += 1
            seq = fact.seq + self._inserted - 1
            self._write(Fact(seq, max(fact.t_ns, self._last.t_ns), kind, "run", "record", {"message": message}))
        self._write(replace(fact, seq=fact.seq + self._inserted))
        if fact.kind == "intent":
            self._raise()

    def close(self) -> Path:
        """The path of `run.nxs`; where that could not be made, the folder, whose live files `recover` reads."""
        try:
            self._journal.close()
        except OSError as error:
            self._journal_error = error
        self._ring.close()
        self._wake_up()
        self._watch.join()
        for descriptor in (self._wake, self._wake_read, self._lock):
            os.close(descriptor)
        self._ring.release()
        run_file = self._folder.run_file
        return run_file if run_file.is_file() else self._folder.path

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> float:
        """How full the ring is, 0 … 1: what the disk has yet to take."""
        return self._ring.backlog / self._ring.capacity

    @property
    def writer(self) -> int:
        """The process id of the present writer."""
        return self._process.pid

    def wait(self, seconds: float) -> None:
        """Let that much time pass, or less if the record fails."""
        self._changed.wait(seconds)

    @property
    def ready(self) -> bool:
        """Whether the present writer takes records."""
        return self._ring.state == ring.READY

    @property
    def positions(self) -> tuple[int, int]:
        """(bytes put so far, of them on the disk)."""
        return self._ring.committed + self._ring.backlog, self._ring.committed

    def latencies(self, since: int) -> tuple[list[int], int]:
        """[ns] from `block` to the file, of those since `since`."""
        return self._ring.latencies(since)

    # -- ring -------------------------------------------------------------------------------------------------------

    def _put(self, kind: int, parts: ring.Parts) -> None:
        full = stopwatch()
        taken = self._ring.waiting
        while not self._ring.put(kind, parts, monotonic_ns()):
            self._note_pressure("the ring is full: acquisition waits for the disk")
            self._changed.wait(0.005)
            self._raise()
            if self._ring.waiting != taken:
                taken, full = self._ring.waiting, stopwatch()
            elif full() > _STUCK_AFTER:
                limit = f"nothing was taken for {_STUCK_AFTER:g} s and the ring is full"
                self._fail("writer process", "stuck", limit, "look at the disk; then opsicm recover")
        if self._ring.backlog > self._ring.capacity // 2:
            self._note_pressure(f"the disk is slow: {self.backlog:.0%} of the ring waits for it")
        elif self._ring.backlog < self._ring.capacity // 4:
            self._pressed = False
        self._wake_up()

    def _note_pressure(self, message: str) -> None:
        if not self._pressed:
            self._pressed = True
            self._notes.append(("quality", message))

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # 64 kB of wake-ups are unread: the writer will wake anyway
            os.write(self._wake, b"\1")

    def _in_order(self, block: SampleBlock) -> None:
        n, width = block.counts.shape
        if width != self._channels:
            limit = f"the header announced {self._channels}"
            raise LimitCrossed(Problem("block", f"{width} channels wide", limit, "mend the hop controller"))
        position = (block.segment, block.first_sample)
        if self._next is not None and (
            position[0] < self._next[0] or (position[0] == self._next[0] and position != self._next)
        ):
            limit = f"sample {self._next[1]} of segment {self._next[0]} comes next; a gap begins a new segment"
            value = f"sample {position[1]} of segment {position[0]}"
            raise LimitCrossed(Problem("block", value, limit, "mend the hop controller"))
        self._next = (block.segment, block.first_sample + n)

    # -- journal ----------------------------------------------------------------------------------------------------

    def _write(self, fact: Fact) -> None:
        self._last = fact
        try:
            self._journal.write(fact)
        except OSError as error:
            self._fail(
                "journal", str(error.strerror), "every fact must be kept", "free some space; then opsicm recover"
            )

    def _fail(self, thing: str, value: str, limit: str, remedy: str) -> None:
        self._failure = self._failure or Problem(thing, value, limit, remedy, str(self._folder.path))
        self._changed.set()

    def _raise(self) -> None:
        if self._failure is not None:
            raise LimitCrossed(self._failure)

    # -- writer -----------------------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a writer with the signals that end a run blocked from the start."""
        source = str(Path(__file__).resolve().parents[2])
        python_path = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": source if not python_path else f"{source}{os.pathsep}{python_path}"}
        passed = (self._ring.descriptor, self._wake_read, self._lock)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        try:
            return subprocess.Popen(
                [*self._command, str(self._folder.path), str(self._ring.descriptor), str(self._wake_read)],
                pass_fds=passed,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                close_fds=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _supervise(self) -> None:
        deaths, committed, since = 0, self._ring.committed, stopwatch()
        while True:
            code = self._process.wait()
            if self._ring.state == ring.FINISHED:
                return
            if self._ring.committed != committed:
                deaths, committed, since = 0, self._ring.committed, stopwatch()
            deaths += 1
            hopeless = deaths >= _DEATHS and (code >= 0 or since() > _KILLED_FOR)
            reason = self._ring.message or (f"signal {-code}" if code < 0 else f"code {code}")
            if hopeless or self._disk_is_full():
                self._fail(
                    "writer process",
                    f"ended ({reason})",
                    "the record cannot be kept",
                    "free some space or mend the disk; then opsicm recover",
                )
                return
            self.restarts += 1
            self._notes.append(("alarm", f"the writer process ended ({reason}) and was started again: nothing is lost"))
            self._ring.state = ring.STARTING
            self._ring.message = ""
            self._process = self._start()

    def _disk_is_full(self) -> bool:
        available, total = run_folder.free(self._folder.path)
        return available < run_folder.stop_below(total) / 5
