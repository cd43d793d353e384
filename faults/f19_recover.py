"""F19: `opsicm recover` while the run lives, twice, two at a time, and killed in its middle. Holds when a live run is
left alone and named, and when in the end everything that was in the log is in a valid run file, the
same after each time."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults import steered_writer
from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.record.run_folder import RunFolder
from opsicm.record.shared_recorder import SharedRecorder

LOG_BYTES = 1 << 19  # so that the log has several files, and a kill may leave some of them
STREAM = Stream(8, 10_000, 5_000, 15)
BLOCKS = 40


# What `opsicm recover` does, without the second that its command line takes to load.
_RECOVER = """
import sys
from pathlib import Path
from opsicm.record.recover import recover
(recovery,) = recover([Path(sys.argv[1])], "faults")
print(recovery.state, recovery.path, recovery.note)
sys.exit(not recovery.opens)
"""


def recovering(path: Path, whole_command: bool = False) -> subprocess.Popen[str]:
    """`opsicm recover`, started; only what it does, or the command as it is typed."""
    words = ["-m", "opsicm", "recover"] if whole_command else ["-c", _RECOVER]
    command = [sys.executable, *words, str(path)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "COLUMNS": "1000"}
    )


def answer(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(its exit code, what it said)."""
    text, _ = process.communicate()
    return process.returncode, text


def left_by_a_kill(workspace: Path) -> tuple[Path, list[str]]:
    """(a folder as a kill of all processes leaves it, with everything in its log; what was wrong while it lived)."""
    run = folder(workspace / "lives")
    recorder = SharedRecorder(run, steered_writer.command(file_bytes=LOG_BYTES))
    recorder.open(STREAM.header())
    STREAM.record(recorder, BLOCKS)
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.02)
    before = {path.name for path in run.path.iterdir()}
    code, text = answer(recovering(run.path, whole_command=True))
    wrong = []
    if code == 0 or not text.startswith("running") or run.path.name not in text:
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
    pair = [answer(process) for process in [recovering(path), recovering(path)]]
    wrong = [f"two at a time: {text.strip()}" for code, text in pair if code and not text.startswith("running")]
    if not any(text.startswith("recovered") for _, text in pair):
        wrong.append(f"two at a time: {[text.strip() for _, text in pair]}")
    wrong += whole(path)
    before = hashlib.sha256((path / "run.nxs").read_bytes()).digest()
    code, text = answer(recovering(path))
    if code or not text.startswith("whole"):
        wrong.append(f"the second time: {text.strip()}")
    if hashlib.sha256((path / "run.nxs").read_bytes()).digest() != before:
        wrong.append("the second time changed the run file")
    return wrong


def killed(left: Path, path: Path, moment: float | str) -> list[str]:
    """What was wrong after a kill at `moment` [s], or as soon as a file of that name is there or no more there."""
    shutil.copytree(left, path)
    process = recovering(path)
    began = time.monotonic()

    def come() -> bool:
        if isinstance(moment, float):
            return time.monotonic() - began >= moment
        return (path / moment).exists() == moment.startswith("run")

    while process.poll() is None and not come():
        time.sleep(0.0002)
    process.send_signal(signal.SIGKILL)
    answer(process)
    code, text = answer(recovering(path))
    return [f"killed at {moment}: {text}" for text in ([text.strip()] if code else whole(path))]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Kills over the whole life of `recover`: 3 in short, 50 in full, and at each step of its end."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        left, wrong = left_by_a_kill(workspace)
        several = twice(left, workspace)
        began = time.monotonic()
        shutil.copytree(left, workspace / "20260102T030405Z_timed")
        answer(recovering(workspace / "20260102T030405Z_timed"))
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
