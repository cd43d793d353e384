"""F25: the watchdog is killed, or stopped for good. Holds when another one is begun within 1 s, when the journal says
so, when the new one makes the rig safe after a kill of the run, and when a run that is stopped in the same moment ends
within 10 s."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

from faults.outcome import Outcome
from faults.watched_run import until, watched_run

_BEGUN_WITHIN, _ENDS_WITHIN = 1.0, 10.0  # [s]


def replaced(draw: random.Random, workspace: Path, number: signal.Signals) -> tuple[float, float, list[str]]:
    """([s] until another watchdog was begun, until the journal said so, what was wrong)."""
    with watched_run(workspace) as run:
        time.sleep(draw.random() * 2.0)
        (first,) = run.watchdogs()
        os.kill(first, number)
        begun = until("another watchdog", 30.0, lambda: bool(set(run.watchdogs()) - {first}))
        told = begun + until("alarm", 30.0, lambda: any("was replaced" in alarm for alarm in run.alarms()))
        wrong = [] if len(run.watchdogs()) == 1 else [f"{len(run.watchdogs())} watchdogs"]
        run.controller.kill()
        until("safe", 30.0, lambda: len(run.made_safe) >= 4)
        return begun, told, wrong


def ending(workspace: Path) -> tuple[float, list[str]]:
    """([s] until a run that was stopped beside a stopped watchdog had ended, what was wrong)."""
    with watched_run(workspace) as run:
        (watchdog,) = run.watchdogs()
        os.kill(watchdog, signal.SIGSTOP)
        run.controller.send_signal(signal.SIGINT)
        code, seconds = run.ended(60.0)
        wrong = [] if code == 130 else [f"exit {code}"]
        if run.facts[-1].data.get("outcome") != "interrupted":
            wrong.append("no end in the journal")
        if run.watchdogs():
            wrong.append("a watchdog is left")
        return seconds, wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Each signal once in short, 10 times in full."""
    n = 1 if short else 10
    signals = (signal.SIGKILL, signal.SIGSTOP)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        losses = [replaced(draw, workspace / f"{number.name}{k}", number) for number in signals for k in range(n)]
        ends = [ending(workspace / f"end{k}") for k in range(n)]
    begun, told = (max(times) for times in zip(*(loss[:2] for loss in losses), strict=True))
    wrong = [text for loss in losses for text in loss[2]]
    observed = f"another one begun in {begun:.2f} s, told in {told:.2f} s, at most; it made the rig safe"
    holds = begun <= _BEGUN_WITHIN and not wrong
    seconds = max(each[0] for each in ends)
    left = [text for each in ends for text in each[1]]
    ended = "; ".join([f"ended in {seconds:.1f} s at most", *left[:3]])
    return [
        Outcome("F25", "the watchdog is killed or stopped", len(losses), "; ".join([observed, *wrong[:3]]), holds),
        Outcome("F25", "Ctrl-C beside a stopped watchdog", n, ended, seconds <= _ENDS_WITHIN and not left),
    ]
