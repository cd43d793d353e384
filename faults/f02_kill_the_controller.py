"""F2: kill -9 the controlling process; the world lives in another one. Holds when the watchdog has the probe up within
200 ms and the cell at open circuit within 1 s, and the run opens with at most a second lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.outcome import Outcome
from opsicm.core.facts import Fact
from opsicm.emulators.safe_world import CALLS
from opsicm.record.journal import read_lines
from opsicm.record.reader import Run
from opsicm.record.recover import recover

_UP_WITHIN, _OPEN_WITHIN, _LOST_AT_MOST = 0.2, 1.0, 1.0  # [s]
_TIMEOUT = 90.0  # [s] for processes to start on a busy machine
_EXPERIMENT = """\
opsicm: 1
title: to be killed
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - hold: {potential_V: 0.3, for_s: 3}
  - sweep: {from_V: 0.3, to_V: 0.1, rate_mV_s: 20, cycles: 100}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [-0.5, 2.0]}
"""


@contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _until(event: str, seconds: float, ready: object) -> None:
    began = time.monotonic()
    while not ready():  # type: ignore[operator]
        if time.monotonic() - began > seconds:
            raise TimeoutError(event)
        time.sleep(0.005)


def once(draw: random.Random, workspace: Path) -> tuple[float, float, float, list[str]]:
    """([s] to probe up, to cell open, of data lost, what else was wrong) of one kill."""
    workspace.mkdir()
    (workspace / "experiment.yaml").write_text(_EXPERIMENT, encoding="utf-8")
    file, out, witness = str(workspace / "experiment.yaml"), workspace / "out", workspace / "witness"

    def kinds() -> list[str]:
        journals = list(out.glob("*/journal.jsonl"))
        return [Fact.from_line(line).kind for line in read_lines(journals[0])[0]] if journals else []

    with _process("-m", "opsicm.cli.world_process", file, str(workspace)):
        _until("world", _TIMEOUT, (workspace / CALLS).exists)
        with _process("-m", "opsicm", "run", file, "--world", str(workspace), "--out", str(out)) as controller:
            # From the first thing that is applied on: before it nothing was set in motion.
            _until("run", _TIMEOUT, lambda: "applied" in kinds())
            time.sleep(draw.random() * 5.0)
            os.kill(controller.pid, signal.SIGKILL)
            killed = time.monotonic_ns()
            _until("safe", 20.0, lambda: witness.read_text().count("\n") >= 4)
        made_safe = {role: (int(t) - killed) * 1e-9 for role, t in map(str.split, witness.read_text().splitlines())}
    (folder,) = [path.parent for path in out.glob("*/journal.jsonl")]
    _until("writer", 60.0, lambda: all(recovery.opens for recovery in recover([folder], "faults")))
    wrong = []
    with Run(folder) as run:
        last = max((fact.t_ns for fact in run.facts), default=0)
        rows = run.slow["t_ns"].values
        lost = max(0.0, (last - int(rows[-1])) * 1e-9) if rows.size else last * 1e-9
        if run.outcome == "completed":
            wrong.append("it says that it was completed")
    if list(made_safe) != ["hop_controller", "scanner", "potentiostat", "amplifier"]:
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
