"""F2 (the record's part) and F3: kill -9 the controlling process, alone or with its writer, at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults.outcome import Outcome, failed_checks, read_log
from faults.stream import Stream
from opsicm.record.recover import in_use, recover

SECONDS = 2.5


def once(alone: bool, moment: float, workspace: Path, per_segment: int = 15) -> tuple[float, int, list[str]]:
    """(seconds of data lost, blocks lost that were on the disk, what else was wrong) of one kill at `moment` [s]."""
    stream = Stream(8, 10_000, 5_000, per_segment)
    log = workspace / "log"
    command = [
        sys.executable,
        "-m",
        "faults.feeder",
        str(workspace / "out"),
        str(log),
        str(SECONDS),
        "8",
        "10000",
        str(per_segment),
    ]
    feeder = subprocess.Popen(command, start_new_session=True)
    time.sleep(moment)
    os.killpg(feeder.pid, signal.SIGKILL) if not alone else feeder.kill()
    feeder.wait()
    rows, _, closed = read_log(log)
    folders = list((workspace / "out").iterdir()) if (workspace / "out").exists() else []
    if not folders:
        return 0.0, 0, []  # killed before there was a folder
    waited = time.monotonic()
    while in_use(folders[0]) and time.monotonic() - waited < 20.0:
        time.sleep(0.02)  # an orphaned writer ends by itself
    wrong = []
    (recovery,) = recover([folders[0]], "faults")
    if not recovery.opens:
        return SECONDS, len(rows), [recovery.note]
    wrong += failed_checks(recovery.path)
    stored = list(stream.kept(recovery.path))
    if stored != list(range(len(stored))):
        wrong.append("blocks out of order")
    if closed and recovery.state != "whole":
        wrong.append("closed, but no run file")
    on_disk = max((row[2] for row in rows), default=0)
    flushed = sum(row[1] <= on_disk for row in rows)
    return max(0, len(rows) - len(stored)) * stream.period, max(0, flushed - len(stored)), wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Moments over the whole life: interpreter start, recorder start, running, segment change, finalising, after."""
    outcomes = []
    for row, fault, alone, n in (
        ("F2", "kill -9 the controlling process (the record's part)", True, 2 if short else 50),
        ("F3", "kill -9 the whole process group", False, 3 if short else 30),
    ):
        lost, flushed, wrong = 0.0, 0, []
        for k in range(n):
            # Stratified: chance alone would leave start-up or finalising out of a short form.
            moment = (k + draw.random()) / n * (SECONDS + 2.5)
            with tempfile.TemporaryDirectory() as workspace:
                seconds, blocks, messages = once(alone, moment, Path(workspace))
            lost, flushed = max(lost, seconds), flushed + blocks
            wrong += [f"at {moment:.2f} s {text}" for text in messages]
        observed = (
            f"at most {lost:.2f} s lost, {flushed} flushed blocks lost, {n - len(wrong)} of {n} open and are valid"
        )
        observed += "".join(f"; {text}" for text in wrong[:3])
        outcomes.append(Outcome(row, fault, n, observed, lost <= 1.0 and flushed == 0 and not wrong))
    return outcomes
