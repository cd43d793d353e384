"""F23: the writer, the converter or both are stopped (SIGSTOP) and stay so: in the middle of the run, and at its end.
Holds when that is noticed within a second, said, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.record.journal import read_lines
from opsicm.record.shared_recorder import SharedRecorder

NOTICED_WITHIN = 1.0  # [s]
STREAM = Stream(8, 10_000, 5_000, 100)


def stop(pid: int) -> None:
    """Stop a process for good."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


class Stopping:
    """Stops processes of a run and measures how long it takes until others are in their place."""

    def __init__(self, recorder: SharedRecorder, names: tuple[str, ...]) -> None:
        self._recorder, self._names = recorder, names
        self.noticed = 0.0  # [s]
        self._thread: threading.Thread | None = None

    def now(self) -> None:
        """Stop them, and go on."""
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        before = {name: getattr(self._recorder, name) for name in self._names}
        for pid in before.values():
            stop(pid)
        began = time.monotonic()
        while any(os.path.exists(f"/proc/{pid}") for pid in before.values()) and time.monotonic() - began < 60.0:
            time.sleep(0.005)
        self.noticed = time.monotonic() - began

    def join(self) -> float:
        """[s] until they were gone."""
        if self._thread is not None:
            self._thread.join()
        return self.noticed


def in_the_middle(names: tuple[str, ...], seconds: float, draw: random.Random, workspace: Path) -> list[str]:
    """What was wrong when they were stopped and the run went on for `seconds`."""
    run = folder(workspace)
    recorder = SharedRecorder(run)
    recorder.open(STREAM.header())
    stopping, at, count = Stopping(recorder, names), draw.randrange(30), round(seconds / STREAM.period) + 30
    STREAM.record(recorder, count, lambda k: stopping.now() if k == at else None)
    path = recorder.close()
    wrong = [f"noticed after {s:.2f} s" for s in [stopping.join()] if s > NOTICED_WITHIN]
    journal = "\n".join(read_lines(run.journal)[0])
    wrong += [f"a stopped {name} is not named" for name in names if f"{name} process was stopped" not in journal]
    return wrong + ([recorder.unfinished] if recorder.unfinished else STREAM.lacks(path, count))


def at_the_end(names: tuple[str, ...], draw: random.Random, workspace: Path) -> list[str]:
    """What was wrong when they were stopped as the run closed. Nobody is told: the journal has ended."""
    recorder = SharedRecorder(folder(workspace))
    recorder.open(STREAM.header())
    stopping, count = Stopping(recorder, names), 10
    STREAM.record(recorder, count)
    pause = draw.choice([0.0, draw.random() * 0.05, draw.random()])
    timer = threading.Timer(pause, stopping.now)
    timer.start() if pause else stopping.now()
    path = recorder.close()
    timer.cancel()
    wrong = [f"noticed after {s:.2f} s" for s in [stopping.join()] if s > NOTICED_WITHIN]
    return wrong + ([recorder.unfinished] if recorder.unfinished else STREAM.lacks(path, count))


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """2 s in short, 30 s in full; at the end once each in short, ten times in full."""
    which = {"the writer": ("writer",), "the converter": ("converter",), "both": ("writer", "converter")}
    outcomes, seconds, times = [], 2.0 if short else 30.0, 1 if short else 10
    for name, processes in which.items():
        if not (short and name == "both"):
            with tempfile.TemporaryDirectory() as workspace:
                wrong = in_the_middle(processes, seconds, draw, Path(workspace))
            fine = "replaced within a second, said, nothing lost"
            outcomes.append(Outcome("F23", f"{name} stopped for {seconds:g} s", 1, "; ".join(wrong) or fine, not wrong))
        wrong = []
        for _ in range(times):
            with tempfile.TemporaryDirectory() as workspace:
                wrong += at_the_end(processes, draw, Path(workspace))
        fine = "replaced within a second, nothing lost"
        observed = "; ".join(wrong[:3]) or fine
        outcomes.append(Outcome("F23", f"{name} stopped as the run ends", times, observed, not wrong))
    return outcomes
