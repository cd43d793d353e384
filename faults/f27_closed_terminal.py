"""F27: the terminal of a run closes (SIGHUP; every output fails from then on). Holds when the run ends as by SIGTERM:
the rig made safe by the run itself, its end in the journal, exit 130, a file that opens."""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path

from faults.outcome import Outcome
from faults.watched_run import watched_run
from opsicm.record.reader import Run


def once(draw: random.Random, workspace: Path) -> tuple[float, list[str]]:
    """([s] until the run had ended, what was wrong)."""
    window, terminal = os.openpty()
    with watched_run(workspace, terminal) as run:
        time.sleep(draw.random() * 2.0)
        os.close(window)
        code, seconds = run.ended(60.0)
        wrong = [] if code == 130 else [f"exit {code}"]
        if not any(fact.step == "end" for fact in run.facts):
            wrong.append("the cell is not known to be open")
        if run.alarms() or run.made_safe:
            wrong.append(f"not by itself: {run.alarms()}")
        with Run(run.folder) as record:
            if record.outcome != "interrupted":
                wrong.append(f"its outcome is {record.outcome}")
        return seconds, wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Once in short, 10 times in full."""
    n = 1 if short else 10
    with tempfile.TemporaryDirectory() as folder:
        closed = [once(draw, Path(folder) / str(k)) for k in range(n)]
    wrong = [text for _, each in closed for text in each]
    observed = f"ended safely in {max(seconds for seconds, _ in closed):.1f} s at most"
    return [Outcome("F27", "the terminal closes", n, "; ".join([observed, *wrong[:3]]), not wrong)]
