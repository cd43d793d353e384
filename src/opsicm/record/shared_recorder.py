"""The recorder of a live run: everything goes into shared memory, a writer process takes it from there into the log,
and a converter process makes the run file of the log.

Nothing here waits for the disk but an `intent`. A process that dies or is stopped is replaced at once: what the writer
had not brought into the log is still in the ring, and the converter begins again from the log.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Fact, Kind, SampleBlock
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.record import ring, run_folder
from opsicm.record.journal import Journal
from opsicm.record.log import LogWriter
from opsicm.record.recorder import Reading, RunHeader
from opsicm.record.ring import Ring
from opsicm.record.run_folder import JOURNAL, LOG_FILE, RUN_FILE, RunFolder

DEPTH: Final = 22.0  # [s] of samples that the ring holds
_LEAST: Final = 32 << 20  # [bytes]
_START_WITHIN: Final = 20.0  # [s] on a machine whose cores are all busy
_STUCK_AFTER: Final = 60.0  # [s] without a byte taken while the ring is full or the run ends
_SLOW_AFTER: Final = 5.0  # [s] without anything brought to the disk
_DEATHS: Final = 5  # of its own accord, in a row, without anything committed between them
_KILLED_FOR: Final = 20.0  # [s] without anything committed while somebody kills each writer: the ring holds no more
_FOLDER_EVERY: Final = 1.0  # [s] between two looks at whether the folder is still there
_LOOK_EVERY: Final = 0.05  # [s] between two looks at the processes
_SILENT_FOR: Final = 120.0  # [s] without a word from the converter once the run has ended
_CONVERTERS: Final = 5  # begun after the run has ended, if somebody kills them; `recover` does it later as well
WRITER: Final = (sys.executable, "-P", "-m", "opsicm.record.writer_process")
CONVERTER: Final = (sys.executable, "-P", "-m", "opsicm.record.converter")
_BLOCKED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SharedRecorder:
    """A `Recorder`. `writer` and `converter` are the command lines that start those; `depth` [s] the ring's.

    It holds the folder from now on, through a descriptor that both processes inherit: `recover` finds it in use until
    all of them are gone, and a run whose folder is moved goes on.
    """

    def __init__(
        self,
        folder: RunFolder,
        writer: Sequence[str] = WRITER,
        depth: float = DEPTH,
        converter: Sequence[str] = CONVERTER,
    ) -> None:
        self._folder = folder
        self._writer_command, self._converter_command = writer, converter
        self._depth = depth
        self._changed = threading.Event()
        self._closing = False
        self._notes: list[tuple[Kind, str]] = []
        self._failure: Problem | None = None
        self._inserted = 0
        self._last = Fact(-1, 0, "note", "run", "record")
        self._pressed = self._slow = False
        self._next: tuple[int, int] | None = None  # (segment, sample) that the next block must begin with
        self._space = stopwatch()
        self.restarts = 0
        self.unfinished: str | None = None  # why there is no run file, once closed
        self._lock = os.open(folder.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    # -- Recorder ---------------------------------------------------------------------------------------------------

    def open(self, header: RunHeader) -> None:
        run_folder.stop_if_short(self._folder.path)
        self._channels = len(header.channels)
        LogWriter.begin(self._folder, header)
        self._journal = Journal(self._folder.journal)
        rate = 2.0 * self._channels * 1e9 / header.dt_ns
        size = max(_LEAST, round(1.1 * self._depth * rate))
        try:
            self._ring = Ring.create(size)
        except OSError as error:
            self._fail_memory(size, error)
            self._raise()
        self._wake_read, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._process = self._start_writer()
        self._converter = self._start_converter()
        try:
            self._ring.reserve()  # while the writer starts
        except OSError as error:
            self._fail_memory(size, error)
        self._watch = threading.Thread(target=self._supervise, name="record-supervisor", daemon=True)
        self._watch.start()
        waited = stopwatch()
        while self._ring.state == ring.STARTING and self._failure is None and waited() < _START_WITHIN:
            self._changed.wait(0.01)
        if self._ring.state == ring.STARTING and self._failure is None:
            self._fail("writer process", "not ready", f"must start within {_START_WITHIN:g} s", "look at the machine")
        if self._failure is not None:
            self._closing = True
            self._end(self._process)
            self._watch.join()
            self._end(self._converter)
        self._raise()
        self._opened_ns = monotonic_ns()

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
        """The path of `run.nxs`; the folder, with the reason in `unfinished`, where that could not be made. `recover`
        makes it then from what is kept."""
        try:
            self._journal.close()
        except OSError as error:
            self.unfinished = f"the journal could not be kept ({error.strerror})"
        self._ring.close()
        self._closing = True
        self._wake_up()
        self._watch.join()
        if self._ring.state == ring.FINISHED:
            self._finish_converter()
        elif self._failure is not None and self.unfinished is None:
            self.unfinished = f"{self._failure.thing} {self._failure.value}"
        self._end(self._process)
        self._end(self._converter)
        path = self._where()
        if self.unfinished is None and not (path / RUN_FILE).is_file():
            self.unfinished = f"{path} is gone"
        for descriptor in (self._wake, self._wake_read, self._lock):
            os.close(descriptor)
        self._ring.release()
        return path if self.unfinished else path / RUN_FILE

    def _where(self) -> Path:
        """The folder, where it is now."""
        with contextlib.suppress(OSError):
            return Path(os.readlink(f"/proc/self/fd/{self._lock}"))
        return self._folder.path

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> float:
        """How full the ring is, 0 … 1: what the writer has yet to take."""
        return (self._ring.put_bytes - self._ring.committed) / self._ring.capacity

    @property
    def writer(self) -> int:
        """The process id of the present writer."""
        return self._process.pid

    @property
    def converter(self) -> int:
        """The process id of the present converter."""
        return self._converter.pid

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
        return self._ring.put_bytes, self._ring.synced[0]

    def latencies(self, since: int) -> tuple[list[int], int]:
        """[ns] from `block` to the log, of those since `since`."""
        return self._ring.latencies(since)

    # -- ring -------------------------------------------------------------------------------------------------------

    def _put(self, kind: int, parts: ring.Parts) -> None:
        full = _awake()
        taken = self._ring.committed
        while not self._ring.put(kind, parts, monotonic_ns()):
            self._note_pressure("the ring is full: acquisition waits for the writer")
            self._changed.wait(0.005)
            self._raise()
            if self._ring.committed != taken:
                taken, full = self._ring.committed, _awake()
            elif full() > _STUCK_AFTER:
                limit = f"nothing was taken for {_STUCK_AFTER:g} s and the ring is full"
                self._fail("writer process", "stuck", limit, "look at the disk; then opsicm recover")
        if self.backlog > 0.5:
            self._note_pressure(f"the record is slow: {self.backlog:.0%} of the ring waits for it")
        elif self.backlog < 0.25:
            self._pressed = False
        self._note_slow_disk()
        self._wake_up()

    def _note_pressure(self, message: str) -> None:
        if not self._pressed:
            self._pressed = True
            self._notes.append(("quality", message))

    def _note_slow_disk(self) -> None:
        position, at_ns = self._ring.synced
        since = at_ns or self._opened_ns  # a disk may be slow from the first time on
        behind = (monotonic_ns() - since) * 1e-9 if position < self._ring.committed else 0.0
        if behind > _SLOW_AFTER and not self._slow:
            limit = f"for {behind:.0f} s nothing has reached it, and a power cut would take that"
            self._notes.append(("quality", f"the disk is slow: {limit}"))
        self._slow = behind > _SLOW_AFTER or (self._slow and behind > 0.0)

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

    def _fail_memory(self, size: int, error: OSError) -> None:
        limit, remedy = f"cannot be had ({error.strerror})", "end other programs or record fewer channels"
        if error.errno == errno.EFBIG:  # shared memory is a file
            remedy = "lift the file-size limit with ulimit -f unlimited"
        self._fail("memory for the record", f"{size * 1e-6:.0f} MB", limit, remedy)

    def _raise(self) -> None:
        if self._failure is not None:
            raise LimitCrossed(self._failure)

    # -- processes --------------------------------------------------------------------------------------------------

    def _start_writer(self) -> subprocess.Popen[bytes]:
        passed = (self._lock, self._ring.descriptor, self._wake_read)
        return self._start(self._writer_command, passed, subprocess.DEVNULL, subprocess.DEVNULL)

    def _start_converter(self) -> subprocess.Popen[bytes]:
        process = self._start(self._converter_command, (self._lock,), subprocess.PIPE, subprocess.PIPE)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process

    @staticmethod
    def _start(command: Sequence[str], passed: Sequence[int], stdin: int, stdout: int) -> subprocess.Popen[bytes]:
        """Start a process with the signals that end a run blocked from the start."""
        source = str(Path(__file__).resolve().parents[2])
        python_path = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": source if not python_path else f"{source}{os.pathsep}{python_path}"}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        try:
            return subprocess.Popen(
                [*command, *map(str, passed)],
                pass_fds=passed,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                close_fds=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _supervise(self) -> None:
        """Replace each process that ends or is stopped, until the writer has finished or nothing helps."""
        deaths, committed, since, looked = 0, self._ring.committed, _awake(), stopwatch()
        pause = threading.Event()  # that nobody sets
        while True:
            pause.wait(_LOOK_EVERY)
            self._replace_converter()
            if looked() > _FOLDER_EVERY and not self._closing and self._failure is None:
                looked = stopwatch()
                self._look_at_folder()
            if self._ring.committed != committed:
                deaths, committed, since = 0, self._ring.committed, _awake()
            elif not (deaths or self._closing):  # nothing may come for long: a parked pipette, a paused run
                since = _awake()
            code, stopped = _end_of(self._process)
            if code is None:
                if since() > _STUCK_AFTER and self._closing:
                    limit = f"nothing was taken for {_STUCK_AFTER:g} s"
                    self._fail("writer process", "stuck", limit, "look at the disk; then opsicm recover")
                    self._process.kill()
                    return
                continue
            if self._ring.state == ring.FINISHED or (self._closing and self._failure is not None):
                return
            deaths += 1
            hopeless = deaths >= _DEATHS and (code >= 0 or since() > _KILLED_FOR)
            reason = "was stopped" if stopped else f"ended ({self._ring.message or _code_text(code)})"
            if hopeless or self._disk_is_full():
                self._look_at_folder()  # a folder that is gone is why it ended
                if self._failure is None:
                    remedy = "free some space or mend the disk; then opsicm recover"
                    self._fail("writer process", reason, "the record cannot be kept", remedy)
                return
            self.restarts += 1
            self._notes.append(("alarm", f"the writer process {reason} and was started again: nothing is lost"))
            self._ring.state = ring.STARTING
            self._ring.message = ""
            self._process = self._start_writer()

    def _look_at_folder(self) -> None:
        """Fail where nothing that is recorded could be found any more. A folder that was moved is no such thing."""
        with contextlib.suppress(OSError):
            if os.fstat(self._lock).st_nlink and {LOG_FILE.format(1), JOURNAL} <= set(os.listdir(self._lock)):
                return
        self.unfinished = "the run folder was deleted, or what it holds"
        self._fail("run folder", "deleted, or what it holds", "nothing of this run is kept any more", "begin it again")

    def _replace_converter(self) -> None:
        code, stopped = _end_of(self._converter)
        if code is None:
            assert self._converter.stdout is not None
            _lines(self._converter.stdout)  # so that the pipe does not fill
        elif code < 0:
            reason = "was stopped" if stopped else f"ended ({_code_text(code)})"
            self._notes.append(("alarm", f"the converter process {reason} and was started again: nothing is lost"))
            self._end(self._converter)
            self._converter = self._start_converter()

    def _finish_converter(self) -> None:
        """Wait until the run file is made, and say in `unfinished` why not. One that gave up while the run went on is
        begun again: what kept it may be over."""
        pause, begun = threading.Event(), 1
        if _end_of(self._converter)[0] is not None:
            self._end(self._converter)
            self._converter = self._start_converter()
        spoke, said = _awake(), b""
        while True:
            stdin, stdout = self._converter.stdin, self._converter.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.close()  # the log is complete
            code, _ = _end_of(self._converter)
            if heard := _lines(stdout):
                said, spoke = said + heard, _awake()
            if code is None:
                if spoke() > _SILENT_FOR:
                    self._converter.kill()
                pause.wait(0.01)
            elif code == 0:
                self.unfinished = self.unfinished or json.loads(said.splitlines()[-1]).get("error")
                return
            elif begun == _CONVERTERS:
                self.unfinished = self.unfinished or f"the converter process ended ({_code_text(code)})"
                return
            else:
                self._end(self._converter)
                begun, said, spoke = begun + 1, b"", _awake()
                self._converter = self._start_converter()

    def _disk_is_full(self) -> bool:
        available, total = run_folder.free(self._folder.path)
        return available < run_folder.stop_below(total) / 5


def _awake() -> Callable[[], float]:
    """As `stopwatch`, if it is looked at all the time: what passes between two looks counts for a second at most. A
    machine that sleeps, or whose processes are all stopped, keeps nobody waiting."""
    last, total = monotonic_ns(), 0.0

    def look() -> float:
        nonlocal last, total
        now = monotonic_ns()
        last, total = now, total + min((now - last) * 1e-9, 1.0)
        return total

    return look


def _end_of(process: subprocess.Popen[bytes]) -> tuple[int | None, bool]:
    """(how the process ended, None while it lives; whether it had been stopped, which a kill then ends)."""
    stopped = False
    if process.poll() is None and hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):
            stopped = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    if stopped:
        process.kill()
        process.wait()
    return process.poll(), stopped


def _code_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


def _lines(stream: IO[bytes]) -> bytes:
    """What can be read at once."""
    with contextlib.suppress(BlockingIOError):
        return os.read(stream.fileno(), 1 << 16)
    return b""
