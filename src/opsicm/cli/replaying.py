"""Replays a stored run into a new run folder at a chosen speed: event by event, or as the rig of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from opsicm.cli.execute import Execution, execute
from opsicm.cli.rigs import stored_run_role
from opsicm.core.errors import LimitCrossed, Problem
from opsicm.experiment.file import LoadedExperiment
from opsicm.instruments.clock import Pacer, utc_now
from opsicm.record import run_folder
from opsicm.record.replay import Replay
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.runner.runner import Progress


def replay_run(run: Path, out: Path, speed: float | None, stop: Callable[[], bool]) -> Path:
    """Replay `run` and return the new run file. Ctrl-C ends it early and keeps the part replayed so far."""
    pacer = Pacer(speed, stop)

    def hold(t_ns: int) -> None:
        pacer.hold(t_ns)
        if stop():
            raise LimitCrossed(Problem("replay", "", "was interrupted", "the part replayed so far is kept"))

    with Replay(run) as stored:
        header = stored.header
        folder = run_folder.create(out, f"replay {header.title}", utc_now(), header.experiment_text, header.rig_text)
        return stored.into(SharedRecorder(folder), hold)


def execute_on_run(
    run: Path,
    experiment: LoadedExperiment,
    out: Path,
    speed: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], None] = lambda _: None,
    estimate: float | None = None,
) -> Execution:
    """Execute `experiment` on the stored run in the folder `run`; a difference from the record ends it with a fault."""
    with Replay(run) as replay:
        header = replay.header.provenance
    provenance = {name: header[name] for name in ("source", "seed", "replay_of") if name in header}
    return execute(
        experiment,
        out,
        str(run),
        None,
        speed,
        stop,
        progress,
        estimate,
        stand_in=stored_run_role(run),
        provenance=provenance,
    )
