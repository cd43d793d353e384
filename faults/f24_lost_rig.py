"""F24: the process of the rig is killed, is stopped for good, or is wanted by a second run. Holds when the run ends by
itself within 45 s with exit 3, its end in the journal, a message that the rig is not known to be safe, and its file;
and when the second run is refused before it makes a folder, without harm to the first."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

from faults.outcome import Outcome
from faults.watched_run import EXPERIMENT, process, until, watched_run

_ENDS_WITHIN = 45.0  # [s]: a call has 20 s, each of four roles 2 s


def lost(draw: random.Random, workspace: Path, number: signal.Signals) -> tuple[float, list[str]]:
    """([s] until the run had ended, what was wrong) of a rig's process hit by a signal."""
    with watched_run(workspace) as run:
        time.sleep(draw.random() * 2.0)
        os.kill(run.world.pid, number)
        code, seconds = run.ended(_ENDS_WITHIN)
        stdout, stderr = run.printed
        wrong = [] if code == 3 else [f"exit {code}"]
        wrong += [text for text in ("RIG NOT KNOWN TO BE SAFE", "by hand") if text not in stderr]
        wrong += [text for text in ("Traceback", "internal error") if text in stderr]
        if not Path(stdout.strip()).is_file():
            wrong.append(f"no file at {stdout!r}")
        last = run.facts[-1]
        if (last.kind, last.data.get("outcome")) != ("run_ended", "fault"):
            wrong.append(f"the journal ends with {last.kind}")
        if not any("the watchdog was asked to make the rig safe" in alarm for alarm in run.alarms()):
            wrong.append("the watchdog was not asked")
        return seconds, wrong


def wanted(workspace: Path) -> list[str]:
    """What was wrong when a second run wanted the rig of the first."""
    with watched_run(workspace) as run:
        second = workspace / "second"
        second.mkdir()
        (second / "experiment.yaml").write_text(EXPERIMENT, encoding="utf-8")
        words = ("run", str(second / "experiment.yaml"), "--world", str(workspace), "--out", str(second / "out"))
        with process(second, "-m", "opsicm", *words) as refused:
            code = refused.wait(60.0)
        stderr = (second / "stderr").read_text(encoding="utf-8")
        wrong = [] if code == 2 else [f"the second run: exit {code}"]
        if f"rig is in use by process {run.controller.pid}" not in stderr:
            wrong.append(f"the second run: {stderr!r}")
        if (second / "out").exists():
            wrong.append("the second run made a folder")
        facts = len(run.facts)
        until("another fact of the first run", 30.0, lambda: len(run.facts) > facts)
        run.controller.send_signal(signal.SIGTERM)
        code, _ = run.ended(_ENDS_WITHIN)
        if code != 130 or run.alarms():
            wrong.append(f"the first run: exit {code}, {run.alarms()}")
        return wrong


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """2 kills and one second run in short; 20, one and 2 stopped in full."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        kills = [lost(draw, workspace / f"kill{k}", signal.SIGKILL) for k in range(2 if short else 20)]
        stops = [lost(draw, workspace / f"stop{k}", signal.SIGSTOP) for k in range(0 if short else 2)]
        second = wanted(workspace / "second")
    wrong = [text for _, each in (*kills, *stops) for text in each]
    seconds = max(seconds for seconds, _ in (*kills, *stops))
    observed = "; ".join([f"every run ended in {seconds:.1f} s at most, rig not known to be safe", *wrong[:3]])
    refused = "; ".join(["exit 2, the first run went on", *second])
    return [
        Outcome("F24", "the rig's process is killed or stopped", len(kills) + len(stops), observed, not wrong),
        Outcome("F24", "a second run wants the rig", 1, refused, not second),
    ]
