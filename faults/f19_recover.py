"""F19: `opsicm recover` while the run lives, twice, two at a time, and killed in its middle. Holds when a live run is
left alone and named, and when in the end everything that was in the log is in a valid run file, the
same after each time."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from faults import steered_writer
from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.record.recover import recover
from opsicm.record.run_folder import RunFolder
from opsicm.record.shared_recorder import SharedRecorder

LOG_BYTES = 1 << 19  # so that the log has several files, and a kill may leave some of them
STREAM = Stream(8, 10_000, 5_000, 15)
BLOCKS = 40


# Processes forked from one that has loaded everything: kills then fall on the work, not on the start of Python.
_CONTEXT = multiprocessing.get_context("forkserver")


def _recover_and_say(path: Path, end: Connection) -> None:
    (recovery,) = recover([path], "faults")
    end.send((recovery.opens, f"{recovery.state} {recovery.path} {recovery.note}"))


class Recovering:
    """A process that recovers `path`."""

    def __init__(self, path: Path) -> None:
        self._end, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_recover_and_say, args=(path, theirs))
        self._process.start()
        theirs.close()

    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def kill(self) -> None:
        """-9."""
        self._process.kill()

    def answer(self) -> tuple[bool, str]:
        """(whether nothing remains to be recovered, what it said)."""
        try:
            opens, text = self._end.recv()
        except EOFError:
            opens, text = False, "killed"
        self._process.join()
        return opens, text


def left_by_a_kill(workspace: Path) -> tuple[Path, list[str]]:
    """(a folder as a kill of all processes leaves it, with everything in its log; what was wrong while it lived)."""
    run = folder(workspace / "lives")
    recorder = SharedRecorder(run, steered_writer.command(file_bytes=LOG_BYTES))
    recorder.open(STREAM.header())
    STREAM.record(recorder, BLOCKS)
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.02)
    before = {path.name for path in run.path.iterdir()}
    command = [sys.executable, "-m", "opsicm", "recover", str(run.path)]
    wide = {**os.environ, "COLUMNS": "1000"}
    completed = subprocess.run(command, capture_output=True, text=True, check=False, env=wide)
    text, wrong = completed.stdout + completed.stderr, []
    if completed.returncode == 0 or not text.startswith("running") or run.path.name not in text:
        wrong.append(f"a live run: {text.strip()}")
    if {path.name for path in run.path.iterdir()} != before:
        wrong.append("a live run was changed")
    left = shutil.copytree(run.path, workspace / "left", ignore=shutil.ignore_patterns("*.part"))
    path = recorder.close()
    return left, wrong + [f"the run that lived: {text}" for text in STREAM.lacks(path, BLOCKS)]


def whole(path: Path) -> list[str]:
    """What is wrong with a recovered folder."""
    run = RunFolder(path)
    if not run.run_file.is_file():
        return ["no run file"]
    left = [file.name for file in (*run.logs(), run.unfinished_file) if file.exists()]
    return STREAM.lacks(run.run_file, BLOCKS) + ([f"left in the folder: {left}"] if left else [])


def twice(left: Path, workspace: Path) -> list[str]:
    """What was wrong with two at a time, and another one after them."""
    path = shutil.copytree(left, workspace / "20260102T030405Z_twice")
    pair = [process.answer() for process in [Recovering(path), Recovering(path)]]
    wrong = [f"two at a time: {text}" for opens, text in pair if not opens and not text.startswith("running")]
    if not any(text.startswith("recovered") for _, text in pair):
        wrong.append(f"two at a time: {[text for _, text in pair]}")
    wrong += whole(path)
    before = hashlib.sha256((path / "run.nxs").read_bytes()).digest()
    opens, text = Recovering(path).answer()
    if not opens or not text.startswith("whole"):
        wrong.append(f"the second time: {text}")
    if hashlib.sha256((path / "run.nxs").read_bytes()).digest() != before:
        wrong.append("the second time changed the run file")
    return wrong


def killed(left: Path, path: Path, moment: float | str) -> list[str]:
    """What was wrong after a kill at `moment` [s], or as soon as a file of that name is there or no more there."""
    shutil.copytree(left, path)
    process, began = Recovering(path), time.monotonic()

    def come() -> bool:
        if isinstance(moment, float):
            return time.monotonic() - began >= moment
        return (path / moment).exists() == moment.startswith("run")

    while process.lives() and not come():
        time.sleep(0.0002)
    process.kill()
    process.answer()
    opens, text = Recovering(path).answer()
    return [f"killed at {moment}: {text}" for text in (whole(path) if opens else [text])]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Kills over the whole life of `recover`: 2 in short, 44 in full, and at each step of its end."""
    _CONTEXT.set_forkserver_preload(["blosc2", "opsicm.record.converter", "opsicm.record.recover"])
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        left, wrong = left_by_a_kill(workspace)
        several = twice(left, workspace)
        began = time.monotonic()
        shutil.copytree(left, workspace / "20260102T030405Z_timed")
        Recovering(workspace / "20260102T030405Z_timed").answer()
        takes = time.monotonic() - began
        n = 2 if short else 44
        moments: list[float | str] = [(k + draw.random()) / n * takes for k in range(n)]
        moments += ["run.nxs", "record-0001.log"] if short else ["run.nxs.part", "run.nxs", "record-0001.log"] * 2
        middle = []
        for k, moment in enumerate(moments):
            path = workspace / f"20260102T030405Z_killed-{k}"
            middle += killed(left, path, moment)
            shutil.rmtree(path)
    fine = "everything kept, nothing else left"
    return [
        Outcome("F19", "recover while the run lives", 1, "; ".join(wrong) or "refused by name", not wrong),
        Outcome("F19", "recover twice, and two at a time", 3, "; ".join(several) or fine, not several),
        Outcome("F19", "kill -9 recover in its middle", len(moments), "; ".join(middle[:3]) or fine, not middle),
    ]
