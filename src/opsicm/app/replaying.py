"""A stored run told again into a new run folder, at a chosen pace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from opsicm.errors import LimitCrossed, Problem
from opsicm.instruments.clock import Pacer, utc_now
from opsicm.record import run_folder
from opsicm.record.replay import Replay
from opsicm.record.shared_recorder import SharedRecorder


def replay_run(run: Path, out: Path, speed: float | None, stop: Callable[[], bool]) -> Path:
    """The new run file. Ctrl-C ends it early: what was told by then is kept, without a last fact."""
    pacer = Pacer(speed, stop)

    def hold(t_ns: int) -> None:
        pacer.hold(t_ns)
        if stop():
            raise LimitCrossed(Problem("replay", "", "was interrupted", "what was told by then is kept"))

    with Replay(run) as stored:
        header = stored.header
        folder = run_folder.create(out, f"replay {header.title}", utc_now(), header.experiment_text, header.rig_text)
        return stored.into(SharedRecorder(folder), hold)
