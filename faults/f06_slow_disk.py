"""F6: every `fdatasync` sleeps. Holds when no sample is lost and the run's journal says that the disk is slow."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from faults import steered_writer
from faults.outcome import Outcome
from faults.stream import Stream, folder
from opsicm.record.journal import read_lines
from opsicm.record.shared_recorder import SharedRecorder


def once(sleep: float, seconds: float, dt_ns: int, workspace: Path) -> tuple[int, bool, float]:
    """(blocks lost, whether the journal says so, longest time that the acquisition waited [s])."""
    stream = Stream(8, dt_ns, round(5e7 / dt_ns), 10_000)
    pool, count = stream.pool(), round(seconds / stream.period)
    run = folder(workspace)
    recorder = SharedRecorder(run, steered_writer.command(sleep))
    recorder.open(stream.header())
    began, waited = time.monotonic(), 0.0
    for k in range(count):
        before = time.monotonic()
        recorder.block(stream.block(pool, k))
        waited = max(waited, time.monotonic() - before)
        recorder.fact(stream.fact(k, k))
        time.sleep(max(0.0, began + (k + 1) * stream.period - time.monotonic()))
    recorder.fact(stream.end(count, count))
    path = recorder.close()
    reported = any("the disk is slow" in line for line in read_lines(run.journal)[0])
    return count - len(list(stream.kept(path))), reported, waited


def run(draw: random.Random, short: bool) -> list[Outcome]:  # noqa: ARG001  nothing is drawn
    """In full 10 s of sleep at 1 MS/s x 8; in short 6 s, of which 5 are said to be slow, at 100 kS/s x 8."""
    sleep, seconds, dt_ns, rate = (6.0, 6.5, 10_000, "100 kS/s x 8") if short else (10.0, 30.0, 1_000, "1 MS/s x 8")
    with tempfile.TemporaryDirectory() as workspace:
        lost, reported, waited = once(sleep, seconds, dt_ns, Path(workspace))
    shown = "shown" if reported else "NOT shown"
    observed = f"{lost} blocks lost; back-pressure {shown}; acquisition waited {waited:.2f} s at most"
    return [Outcome("F6", f"every fdatasync sleeps {sleep:g} s, {rate}", 1, observed, lost == 0 and reported)]
