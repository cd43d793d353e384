"""A run whose world lives in another process, with a watchdog, as real processes that a fault may hit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opsicm.core.facts import Fact
from opsicm.emulators.safe_world import CALLS
from opsicm.record.journal import read_lines

TIMEOUT = 90.0  # [s] for processes to start on a busy machine
EXPERIMENT = """\
opsicm: 1
title: to be killed
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - hold: {potential_V: 0.3, for_s: 3}
  - sweep: {from_V: 0.3, to_V: 0.1, rate_mV_s: 20, cycles: 100}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [-0.5, 2.0]}
"""


# Becomes the leader of a session whose terminal is its standard input, as a shell's child in a window.
_IN_A_TERMINAL = """\
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@dataclass(frozen=True)
class WatchedRun:
    """The two processes; what the controller prints goes to files in `workspace`."""

    workspace: Path
    world: subprocess.Popen[bytes]
    controller: subprocess.Popen[bytes]

    @property
    def facts(self) -> list[Fact]:
        """The journal so far."""
        journals = list((self.workspace / "out").glob("*/journal.jsonl"))
        return [Fact.from_line(line) for line in read_lines(journals[0])[0]] if journals else []

    @property
    def folder(self) -> Path:
        """The run folder."""
        (journal,) = (self.workspace / "out").glob("*/journal.jsonl")
        return journal.parent

    @property
    def made_safe(self) -> dict[str, int]:
        """Role → [ns] at which the world made it safe."""
        lines = (self.workspace / "witness").read_text(encoding="ascii").splitlines()
        return {role: int(t) for role, t in map(str.split, lines)}

    @property
    def printed(self) -> tuple[str, str]:
        """(standard output, standard error) of the controller."""
        texts = [(self.workspace / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
        return texts[0], texts[1]

    def alarms(self) -> list[str]:
        """The messages of the alarms in the journal."""
        return [str(fact.data["message"]) for fact in self.facts if fact.kind == "alarm"]

    def watchdogs(self) -> list[int]:
        """The process ids of the controller's watchdogs."""
        children = []
        for task in Path(f"/proc/{self.controller.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread that has just ended
                children += [int(word) for word in task.read_text(encoding="ascii").split()]
        return [pid for pid in children if _is_watchdog(pid)]

    def ended(self, within: float) -> tuple[int, float]:
        """(exit code of the controller, [s] until it ended)."""
        began = time.monotonic()
        return self.controller.wait(within), time.monotonic() - began


def _is_watchdog(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"opsicm.runner.watchdog" in words and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@contextmanager
def process(workspace: Path, *words: str, terminal: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that is killed at the end, stopped or not; it prints to `workspace`, or to its `terminal`."""
    with (workspace / "stdout").open("wb") as stdout, (workspace / "stderr").open("wb") as stderr:
        if terminal is None:
            started = subprocess.Popen([sys.executable, *words], stdout=stdout, stderr=stderr)
        else:
            started = subprocess.Popen(
                [sys.executable, "-c", _IN_A_TERMINAL, *words], stdin=terminal, stdout=terminal, stderr=terminal
            )
            os.close(terminal)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        started.wait()


def until(event: str, seconds: float, ready: Callable[[], bool]) -> float:
    """[s] until `ready`."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            raise TimeoutError(event)
        time.sleep(0.005)
    return time.monotonic() - began


@contextmanager
def watched_run(workspace: Path, terminal: int | None = None) -> Iterator[WatchedRun]:
    """A run from the first thing that is applied on: before it nothing was set in motion."""
    (workspace / "world").mkdir(parents=True)
    file = workspace / "experiment.yaml"
    file.write_text(EXPERIMENT, encoding="utf-8")
    with process(workspace / "world", "-m", "opsicm.cli.world_process", str(file), str(workspace)) as world:
        until("world", TIMEOUT, (workspace / CALLS).exists)
        words = ("-m", "opsicm", "run", str(file), "--world", str(workspace), "--out", str(workspace / "out"))
        with process(workspace, *words, terminal=terminal) as controller:
            run = WatchedRun(workspace, world, controller)
            try:
                until("run", TIMEOUT, lambda: any(fact.kind == "applied" for fact in run.facts))
                yield run
            finally:
                with contextlib.suppress(ProcessLookupError):  # a stopped world answers nobody
                    os.kill(world.pid, signal.SIGCONT)
