"""F22: the run folder is moved, made read-only or deleted while the run lives, and a foreign `run.nxs` is put into it.
Holds when nothing is lost; and when a run whose folder is deleted stops and says so."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from faults import steered_writer
from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.core.errors import LimitCrossed
from opsicm.record.recover import recover
from opsicm.record.run_folder import RunFolder
from opsicm.record.shared_recorder import SharedRecorder

LOG_BYTES = 1 << 19  # so that the log goes on in a new file while the folder is elsewhere
NOTICED_WITHIN = 2.0  # [s] that a run may go on whose folder is gone
STREAM = Stream(8, 10_000, 5_000, 15)
BLOCKS = 40


def opened(workspace: Path) -> tuple[RunFolder, SharedRecorder]:
    """A run that has begun."""
    run = folder(workspace)
    recorder = SharedRecorder(run, steered_writer.command(file_bytes=LOG_BYTES))
    recorder.open(STREAM.header())
    return run, recorder


def at(moment: int, do: Callable[[], object]) -> Callable[[int], None]:
    """Something to do before block `moment`."""

    def look(k: int) -> None:
        if k == moment:
            do()

    return look


def moved(draw: random.Random, workspace: Path) -> list[str]:
    """What was wrong after a move to another folder, another one put in its place, and a kill of both processes."""
    run, recorder = opened(workspace)
    new = workspace / "elsewhere" / "moved"
    new.parent.mkdir()

    def move() -> None:
        run.path.rename(new)
        run.path.mkdir()
        for pid in (recorder.writer, recorder.converter):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    STREAM.record(recorder, BLOCKS, at(draw.randrange(BLOCKS), move))
    path = recorder.close()
    if path != new / "run.nxs":
        return [f"moved: {recorder.unfinished or path}"]
    left = [file.name for file in run.path.iterdir()]
    return [f"moved: {text}" for text in STREAM.lacks(path, BLOCKS) + ([f"in its old place: {left}"] if left else [])]


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """A folder in which nothing may be made, renamed or removed, by root neither."""
    path.chmod(0o555)
    if os.geteuid() == 0:
        subprocess.run(["chattr", "+i", str(path)], check=True)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", str(path)], check=True)
        path.chmod(0o755)


def why_never_read_only(workspace: Path) -> str | None:
    """Why a folder cannot be made read-only here; None if it can."""
    try:
        with read_only(workspace):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no folder can be made read-only for this user: {error}"
    return None


def made_read_only(draw: random.Random, workspace: Path, for_good: bool) -> list[str]:
    """What was wrong in a folder that is read-only for a while, or until the run has ended: `recover` follows."""
    run, recorder = opened(workspace)
    first, last = sorted(draw.sample(range(BLOCKS), 2))
    with contextlib.ExitStack() as locked:

        def look(k: int) -> None:
            if k == first:
                locked.enter_context(read_only(run.path))
            if k == last and not for_good:
                locked.close()

        STREAM.record(recorder, BLOCKS, look)
        path = recorder.close()
    wrong = []
    if for_good:
        if path.is_file() or "cannot be written" not in str(recorder.unfinished):
            wrong.append(f"it says {recorder.unfinished}")
        (recovery,) = recover([run.path], "faults")
        path = recovery.path
        if not recovery.opens:
            return [*wrong, f"read-only: {recovery.note}"]
    elif recorder.unfinished:
        return [f"read-only for a while: {recorder.unfinished}"]
    return [f"read-only: {text}" for text in wrong + STREAM.lacks(path, BLOCKS)]


def deleted(draw: random.Random, workspace: Path, name: str) -> tuple[list[str], float]:
    """(what was wrong, [s] until the run was stopped) with the folder, or all that is in it, deleted."""
    run, recorder = opened(workspace)
    gone: list[float] = []

    def delete() -> None:
        for _ in range(100):  # the converter may make a file meanwhile
            with contextlib.suppress(OSError):
                shutil.rmtree(run.path)
                break
        if name != "folder":
            run.path.mkdir()
        gone.append(time.monotonic())

    wrong, noticed = [], 0.0
    try:
        STREAM.record(recorder, 4 * BLOCKS, at(draw.randrange(BLOCKS), delete))
        wrong.append(f"{name} deleted: it went on to its end")
    except LimitCrossed as error:
        noticed = time.monotonic() - gone[0]
        if "run folder" not in str(error) or "deleted" not in str(error):
            wrong.append(f"{name} deleted: it says {error}")
    recorder.fact(STREAM.end(5 * BLOCKS, 5 * BLOCKS))  # the runner says how it ended, and its rig is safe
    recorder.close()
    if recorder.unfinished is None or "deleted" not in recorder.unfinished:
        wrong.append(f"{name} deleted: it says {recorder.unfinished} in the end")
    if noticed > NOTICED_WITHIN:
        wrong.append(f"{name} deleted: stopped after {noticed:.1f} s")
    return wrong, noticed


def foreign(draw: random.Random, workspace: Path, kind: str, crash: bool) -> list[str]:
    """What was wrong with a run into whose folder somebody puts a `run.nxs`; with a crash, `recover` makes the file."""
    run, recorder = opened(workspace)
    text = draw.randbytes(1000)

    def put() -> None:
        if kind == "a link to nothing":
            run.run_file.symlink_to("nothing")
        elif kind == "a folder":
            run.run_file.mkdir()
            (run.run_file / "theirs").write_bytes(text)
        else:
            source = run.unfinished_file if kind == "a copy of the unfinished file" else None
            run.run_file.write_bytes(source.read_bytes() if source is not None and source.exists() else text)

    STREAM.record(recorder, BLOCKS, at(draw.randrange(BLOCKS // 2, BLOCKS), put))
    found = run.path / "run.nxs.found-1"
    if crash:
        while recorder.positions[0] != recorder.positions[1]:
            recorder.wait(0.02)
        left = shutil.copytree(run.path, workspace / "left", symlinks=True)
        recorder.close()
        (recovery,) = recover([left], "faults")
        if not recovery.opens:
            return [f"{kind}: {recovery.note}"]
        path, found = recovery.path, left / found.name
    else:
        path = recorder.close()
        if recorder.unfinished:
            return [f"{kind}: {recorder.unfinished}"]
    wrong = STREAM.lacks(path, BLOCKS)
    kept = {
        "a link to nothing": found.is_symlink,
        "a folder": lambda: (found / "theirs").read_bytes() == text,
        "a copy of the unfinished file": found.is_file,
    }.get(kind, lambda: found.read_bytes() == text)
    if not kept():
        wrong.append("what was put there is gone")
    return [f"{kind}: {text}" for text in wrong]


KINDS = ("another file", "a copy of the unfinished file", "a link to nothing", "a folder")


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Each once in short; five times, at other moments, in full."""
    times, outcomes = 1 if short else 5, []

    def judge(fault: str, cases: Sequence[Callable[[Path], list[str]]], fine: str) -> None:
        wrong: list[str] = []
        for case in cases:
            with tempfile.TemporaryDirectory() as workspace:
                wrong += case(Path(workspace))
        outcomes.append(Outcome("F22", fault, len(cases), "; ".join(wrong[:3]) or fine, not wrong))

    judge("folder moved, both processes killed", [lambda w: moved(draw, w)] * times, "nothing lost")
    with tempfile.TemporaryDirectory() as workspace:
        impossible = why_never_read_only(Path(workspace))
    if impossible:
        outcomes.append(Outcome("F22", "folder made read-only", 0, impossible, None))
    else:
        cases = [lambda w: made_read_only(draw, w, True), lambda w: made_read_only(draw, w, False)]
        judge("folder made read-only, for good and for a while", cases * times, "nothing lost")
    longest = [0.0]

    def delete(workspace: Path, name: str) -> list[str]:
        wrong, noticed = deleted(draw, workspace, name)
        longest.append(noticed)
        return wrong

    cases = [lambda w: delete(w, "folder"), lambda w: delete(w, "content")]
    judge("folder, or all that is in it, deleted", cases * times, "")
    last = outcomes.pop()
    fine = f"stopped after {max(longest):.2f} s at most, and says why"
    outcomes.append(replace(last, observed=last.observed or fine))
    ways = list(product(KINDS, (False, True)))[:: 3 if short else 1]  # in short two of them without, one with a crash
    cases = [partial(foreign, draw, kind=kind, crash=crash) for kind, crash in ways]
    judge("a foreign run.nxs put into it", cases * (1 if short else 2), "nothing lost, the foreign one kept")
    return outcomes
