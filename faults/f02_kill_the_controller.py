"""F2: kill -9 the controlling process; the world lives in another one. Holds when the watchdog has the probe up within
200 ms and the cell at open circuit within 1 s, and the run opens with at most a second lost."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

from faults.outcome import Outcome
from faults.watched_run import until, watched_run
from opsicm.record.reader import Run
from opsicm.record.recover import recover

_UP_WITHIN, _OPEN_WITHIN, _LOST_AT_MOST = 0.2, 1.0, 1.0  # [s]


def once(draw: random.Random, workspace: Path) -> tuple[float, float, float, list[str]]:
    """([s] to probe up, to cell open, of data lost, what else was wrong) of one kill."""
    with watched_run(workspace) as watched:
        time.sleep(draw.random() * 5.0)
        os.kill(watched.controller.pid, signal.SIGKILL)
        killed = time.monotonic_ns()
        until("safe", 20.0, lambda: len(watched.made_safe) >= 5)
        made_safe = {role: (t - killed) * 1e-9 for role, t in watched.made_safe.items()}
        folder = watched.folder
    until("writer", 60.0, lambda: all(recovery.opens for recovery in recover([folder], "faults")))
    wrong = []
    with Run(folder) as run:
        last = max((fact.t_ns for fact in run.facts), default=0)
        rows = run.slow["t_ns"].values
        lost = max(0.0, (last - int(rows[-1])) * 1e-9) if rows.size else last * 1e-9
        if run.outcome == "completed":
            wrong.append("it says that it was completed")
    if list(made_safe) != ["hop_controller", "scanner", "coarse_stage", "potentiostat", "amplifier"]:
        wrong.append(f"made safe in the order {list(made_safe)}")
    return max(made_safe["hop_controller"], made_safe["scanner"]), made_safe["potentiostat"], lost, wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """2 kills in short, 50 in full."""
    n = 2 if short else 50
    with tempfile.TemporaryDirectory() as workspace:
        kills = [once(draw, Path(workspace) / str(k)) for k in range(n)]
    up, opened, lost = (max(times) for times in zip(*(kill[:3] for kill in kills), strict=True))
    wrong = [text for kill in kills for text in kill[3]]
    observed = f"probe up in {up * 1e3:.0f} ms, cell open in {opened * 1e3:.0f} ms, {lost:.2f} s lost, all at most"
    holds = up <= _UP_WITHIN and opened <= _OPEN_WITHIN and lost <= _LOST_AT_MOST and not wrong
    return [Outcome("F2", "kill -9 the controlling process (watchdog)", n, "; ".join([observed, *wrong[:3]]), holds)]
