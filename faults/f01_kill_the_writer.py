"""F1: kill -9 the writer, at random moments of its whole life. Holds when no block is lost and it is back in 2 s."""

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
from opsicm.facts.fact import Fact
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.record.validate import validate


def kill(pid: int) -> None:
    """-9."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def once(stream: Stream, kills: int, seconds: float, draw: random.Random, where: Path) -> tuple[int, float, list[str]]:
    """(blocks lost, longest restart [s], what else was wrong) of one run with `kills` kills, the last while closing."""
    recorder = SharedRecorder(folder(where))
    recorder.open(stream.header())
    recorder.fact(Fact(0, 0, "run_started", "run", "run", {"title": "fault"}))
    pool, count = stream.pool(), round(seconds / stream.period)
    moments = sorted(draw.randrange(count) for _ in range(kills - 1))
    began, slowest, done = time.monotonic(), 0.0, 0
    for k in range(count):
        recorder.block(stream.block(pool, k))
        recorder.reading(stream.reading(k))
        recorder.fact(stream.fact(k + 1, k))
        while done < len(moments) and moments[done] <= k:
            # Before the next block, anywhere in the period: start-up, flush, segment change as they come.
            time.sleep(draw.random() * stream.period)
            before = recorder.restarts
            kill(recorder.writer)
            killed = time.monotonic()
            while recorder.restarts == before or not recorder.ready:
                time.sleep(0.01)
            slowest = max(slowest, time.monotonic() - killed)
            done += 1
        time.sleep(max(0.0, began + (k + 1) * stream.period - time.monotonic()))
    recorder.fact(stream.end(count + 1, count))
    closing = threading.Thread(target=lambda: kill_later(recorder.writer, draw.random() * 0.6))
    closing.start()
    path = recorder.close()
    closing.join()
    kept = list(stream.kept(path))
    wrong = [f"{finding.check}: {finding.seen}" for finding in validate(path) if not finding.ok]
    if kept != list(range(count)):
        wrong.append("blocks out of order")
    return count - len(set(kept)), slowest, wrong


def kill_later(pid: int, seconds: float) -> None:
    """Kill after `seconds`, if it is still there."""
    time.sleep(seconds)
    kill(pid)


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Both rates in full; the lower one in short."""
    rates = [(10_000, "100 kS/s x 8"), (1_000, "1 MS/s x 8")]
    outcomes = []
    for dt_ns, name in rates[:1] if short else rates:
        stream = Stream(8, dt_ns, round(5e7 / dt_ns), 30)
        kills = 4 if short else 50
        with tempfile.TemporaryDirectory() as where:
            lost, slowest, wrong = once(stream, kills, 2.0 if short else 40.0, draw, Path(where))
        seen = f"{lost} blocks lost, restart at most {slowest:.2f} s" + "".join(f"; {text}" for text in wrong)
        held = lost == 0 and slowest <= 2.0 and not wrong
        outcomes.append(Outcome("F1", f"kill -9 the writer, {name}", kills, seen, held))
    return outcomes
