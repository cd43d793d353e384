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

from faults.outcome import Outcome, failed_checks
from faults.stream import Stream, folder
from opsicm.core.facts import Fact
from opsicm.record.shared_recorder import SharedRecorder


def kill(pid: int) -> None:
    """-9."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def once(
    stream: Stream, kills: int, seconds: float, draw: random.Random, workspace: Path
) -> tuple[int, float, list[str]]:
    """(blocks lost, longest restart [s], what else was wrong) of one run with `kills` kills: of these an eighth, one at
    least, while it closes and finalises, and a quarter of the others hit the writer that follows while it starts."""
    recorder = SharedRecorder(folder(workspace))
    recorder.open(stream.header())
    recorder.fact(Fact(0, 0, "run_started", "run", "run", {"title": "fault"}))
    pool, count = stream.pool(), round(seconds / stream.period)
    closing_kills = min(3, max(1, kills // 8))
    moments = sorted(draw.randrange(count) for _ in range(kills - closing_kills))
    began, slowest, done = time.monotonic(), 0.0, 0
    for k in range(count):
        recorder.block(stream.block(pool, k))
        recorder.reading(stream.reading(k))
        recorder.fact(stream.fact(k + 1, k))
        while done < len(moments) and moments[done] <= k:
            # Before the next block, anywhere in the period: flush and segment change as they come.
            time.sleep(draw.random() * stream.period)
            in_start_up = draw.random() < 0.25 and done + 1 < len(moments)
            slowest = max(slowest, restarted(recorder, draw.random() * 0.4 if in_start_up else None))
            done += 2 if in_start_up else 1
        time.sleep(max(0.0, began + (k + 1) * stream.period - time.monotonic()))
    recorder.fact(stream.end(count + 1, count))
    pauses = [draw.random() * 0.6 for _ in range(closing_kills)]
    closing = threading.Thread(target=lambda: kill_later(recorder, pauses))
    closing.start()
    path = recorder.close()
    closing.join()
    stored = list(stream.kept(path))
    wrong = failed_checks(path)
    if stored != list(range(count)):
        wrong.append("blocks out of order")
    return count - len(set(stored)), slowest, wrong


def restarted(recorder: SharedRecorder, again: float | None) -> float:
    """[s] until a writer is ready after a kill, and after a second one `again` [s] into the start of the next."""
    before = recorder.restarts
    kill(recorder.writer)
    if again is not None:
        while recorder.restarts == before:
            time.sleep(0.001)
        time.sleep(again)
        before = recorder.restarts
        kill(recorder.writer)
    killed = time.monotonic()
    while (recorder.restarts == before or not recorder.ready) and time.monotonic() - killed < 30.0:
        time.sleep(0.01)  # a recorder that has given up says so at the next block
    return time.monotonic() - killed


def kill_later(recorder: SharedRecorder, pauses: list[float]) -> None:
    """Kill after each pause [s] whoever writes then."""
    for seconds in pauses:
        time.sleep(seconds)
        kill(recorder.writer)


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Both rates in full; the lower one in short."""
    rates = [(10_000, "100 kS/s x 8"), (1_000, "1 MS/s x 8")]
    outcomes = []
    for dt_ns, name in rates[:1] if short else rates:
        stream = Stream(8, dt_ns, round(5e7 / dt_ns), 30)
        kills = 4 if short else 50
        with tempfile.TemporaryDirectory() as workspace:
            lost, slowest, wrong = once(stream, kills, 2.0 if short else 40.0, draw, Path(workspace))
        observed = f"{lost} blocks lost, restart at most {slowest:.2f} s" + "".join(f"; {text}" for text in wrong)
        holds = lost == 0 and slowest <= 2.0 and not wrong
        outcomes.append(Outcome("F1", f"kill -9 the writer, {name}", kills, observed, holds))
    return outcomes
