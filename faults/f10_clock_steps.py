"""F10 (the record's part): the system clock steps by an hour each way, and the whole machine sleeps.

The record takes its times from the samples, never from the wall clock. This is shown with a wall clock that jumps at
every reading and with all processes stopped in the middle; the machine's clock itself is left alone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from faults.outcome import Outcome, failed_checks, read_log
from faults.stream import Stream
from opsicm.record.reader import Run

_STEPPING = """
import datetime, runpy, sys, time
real, looks = time.time, [0]
def stepping():
    looks[0] += 1
    return real() + (3600.0 if looks[0] % 2 else -3600.0)
time.time = stepping
sys.argv = sys.argv[1:]
runpy.run_module("faults.feeder", run_name="__main__")
"""


def once(sleep: float, moment: float, workspace: Path) -> list[str]:
    """What was wrong after a clock that jumps and a sleep of `sleep` [s] at `moment` [s]."""
    log = workspace / "log"
    command = [sys.executable, "-c", _STEPPING, "feeder", str(workspace / "out"), str(log), "2.0", "8", "10000", "1000"]
    feeder = subprocess.Popen(command, start_new_session=True)
    while not read_log(log)[0] and feeder.poll() is None:
        time.sleep(0.02)
    time.sleep(moment)
    os.killpg(feeder.pid, signal.SIGSTOP)
    time.sleep(sleep)
    os.killpg(feeder.pid, signal.SIGCONT)
    feeder.wait()
    (path,) = (workspace / "out").iterdir()
    wrong = failed_checks(path)
    with Run(path) as run:
        if np.any(np.diff(run.slow["t_ns"].values) <= 0):
            wrong.append("a negative interval")
        if run.started_utc != Stream().header().started_utc:
            wrong.append("the anchor moved")
    return wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Twice 1 s in short; 60 s and four shorter ones in full."""
    sleeps = [1.0, 0.5] if short else [60.0, 5.0, 2.0, 1.0, 0.5]
    wrong: list[str] = []
    for sleep in sleeps:
        with tempfile.TemporaryDirectory() as workspace:
            wrong += once(sleep, draw.random(), Path(workspace))
    observed = "; ".join(wrong) or "monotonic stamps, no negative interval"
    return [Outcome("F10", f"clock steps of ±1 h, sleep of {sleeps[0]:g} s", len(sleeps), observed, not wrong)]
