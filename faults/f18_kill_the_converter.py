"""F18: kill -9 the converter at drawn moments of its whole life: start-up, following, finishing, and as soon as the run
file has its name and the log is still there. Holds when the run ends with a whole run file and nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

from faults import steered_writer
from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.record.shared_recorder import SharedRecorder

KILLS = 5  # a run
SECONDS = 2.5
LOG_BYTES = 1 << 19  # so that the log has several files, and a kill may leave some of them
KEPT = ["experiment.yaml", "journal.jsonl", "rig.yaml", "run.nxs"]


def kill(recorder: SharedRecorder) -> None:
    """-9, whoever converts now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(recorder.converter, signal.SIGKILL)


def once(draw: random.Random, workspace: Path) -> tuple[list[str], float]:
    """(what was wrong, [s] that `close` took) of one run: a kill in its first second, two as it follows, one as it
    finishes, and one as soon as `run.nxs` is there."""
    stream = Stream(8, 10_000, 5_000, 15)
    count = round(SECONDS / stream.period)
    run = folder(workspace)
    recorder = SharedRecorder(run, steered_writer.command(file_bytes=LOG_BYTES))
    recorder.open(stream.header())
    moments = {draw.randrange(round(1.0 / stream.period)), *(draw.randrange(count) for _ in range(KILLS - 3))}

    def look(k: int) -> None:
        if k in moments:
            time.sleep(draw.random() * stream.period)
            kill(recorder)

    def while_it_closes() -> None:
        time.sleep(draw.random() * 2.0)
        kill(recorder)
        while not run.run_file.exists() and closing:
            time.sleep(0.0002)
        kill(recorder)

    stream.record(recorder, count, look)
    closing, began = [True], time.monotonic()
    killer = threading.Thread(target=while_it_closes)
    killer.start()
    path = recorder.close()
    took = time.monotonic() - began
    closing.clear()
    killer.join()
    if recorder.unfinished is not None:
        return [f"no run file: {recorder.unfinished}"], took
    wrong = stream.lacks(path, count)
    left = sorted(file.name for file in run.path.iterdir())
    return wrong + ([f"left in the folder: {left}"] if left != KEPT else []), took


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """One run in short, ten in full."""
    wrong, longest, runs = [], 0.0, 1 if short else 10
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as workspace:
            messages, took = once(draw, Path(workspace))
        wrong += messages
        longest = max(longest, took)
    observed = "; ".join(wrong[:3]) or f"every run whole, nothing else left; closing took {longest:.1f} s at most"
    return [Outcome("F18", "kill -9 the converter", runs * KILLS, observed, not wrong)]
