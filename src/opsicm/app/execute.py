"""From an experiment file to a finished run file: what `opsicm run` and `opsicm demo` do."""

from __future__ import annotations

import getpass
import platform
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from opsicm.app.rigs import load_rig, prepare, seed_of
from opsicm.instruments.clock import Pacer, utc_now
from opsicm.protocol.experiment_file import LoadedExperiment
from opsicm.record import disk_space, run_folder
from opsicm.record.recorder import Header
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.run.runner import Ending, Progress, Runner


@dataclass(frozen=True, slots=True)
class Execution:
    """A run that has ended: its file and how it ended."""

    path: Path
    ending: Ending


def execute(
    experiment: LoadedExperiment,
    out: Path,
    rig: str | None = None,
    seed: int | None = None,
    speed: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], None] = lambda _: None,
    estimate: float | None = None,
) -> Execution:
    """Run `experiment`, recording below `out`. `speed` None is as fast as it goes, 1 is real time.

    `estimate` [bytes] of the run file, where it is known: twice that must be free.

    Raises `BadInput` before anything is written when the input cannot be used. Whatever happens later is in the file:
    `Execution.ending` says it.
    """
    disk_space.refuse_if_short(out, estimate)
    loaded = load_rig(experiment, rig)
    chosen = seed_of(experiment.experiment, loaded, seed)
    pacer = Pacer(speed, stop)
    started = utc_now()
    prepared = prepare(experiment, loaded, chosen, pacer.hold)
    title = experiment.experiment.title
    folder = run_folder.create(out, title, started, experiment.text, loaded.text)
    kept = experiment.experiment.record
    recorder = SharedRecorder(folder)
    recorder.open(
        Header(
            title=title,
            started_utc=started.isoformat(timespec="milliseconds"),
            experiment_text=experiment.text,
            rig_text=loaded.text,
            channels=tuple(replace(c, policy=kept.policy(c.name)) for c in prepared.rig.hop_controller.channels),
            dt_ns=prepared.rig.hop_controller.timing.dt_ns,
            parameters=prepared.parameters,
            provenance=_provenance(loaded.rig.title, chosen, loaded.rig.is_twin),
        )
    )
    runner = Runner(
        experiment.experiment, prepared.rig, recorder, prepared.capacity, prepared.reversible, stop, progress
    )
    try:
        ending = runner.run()
    finally:
        path = recorder.close()
    return Execution(path, ending)


def who() -> str:
    """User, host and version: for what is done to a run after it."""
    return f"{_user()}@{socket.gethostname()}, opsicm {version('opsicm')}, {utc_now().isoformat(timespec='seconds')}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _provenance(rig: str, seed: int, twin: bool) -> dict[str, str | int]:
    return {
        "opsicm": version("opsicm"),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "host": socket.gethostname(),
        "user": _user(),
        "rig": rig,
        "seed": seed,
        "source": "digital twin" if twin else "instruments",
    }
