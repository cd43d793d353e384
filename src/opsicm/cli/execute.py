"""Executes an experiment and records its run file, for `opsicm run`, `demo` and `reproduce`."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import resource
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.cli.live_settings import Revisions, shift_between
from opsicm.cli.progress import Pace
from opsicm.cli.resume import ResumedRun
from opsicm.cli.rigs import REGISTRY, Prepared, data_source, load_rig, prepare, seed_of, specimen_parameters
from opsicm.cli.terminal import err
from opsicm.cli.verification import instruments_of, unverified
from opsicm.cli.wiring import check_at_start
from opsicm.core.errors import BadInput, LimitCrossed, Problem
from opsicm.core.output_file import as_utf8
from opsicm.experiment.data_files import amplitude_maps
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.rig_file import LoadedRig, Role
from opsicm.instruments.clock import Pacer, utc_now
from opsicm.instruments.roles import ENGAGEMENT, Rig
from opsicm.record import run_folder
from opsicm.record.recorder import LiveRecorder, RunHeader
from opsicm.record.run_folder import JOURNAL, RunFolder
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.runner.commands import Inbox, StopSignal
from opsicm.runner.control_socket import ControlSocket
from opsicm.runner.resume import BEGINNING
from opsicm.runner.runner import Progress, RunContext, Runner, RunOutcome
from opsicm.runner.watchdog import Unwatched, Watch, Watchdog

_LEAST_FILE: Final = 64e6  # [bytes]
_SAME_PLACE_MM: Final = 1e-3  # a stage that was not moved answers within this
_JOURNAL_HEAD: Final = 50  # facts among which the one is that a run has started


@dataclass(frozen=True, slots=True)
class Execution:
    """A run that has ended: its file and how it ended."""

    path: Path
    ending: RunOutcome


def execute(
    experiment: LoadedExperiment,
    out: Path,
    rig: str | None = None,
    seed: int | None = None,
    speed: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], None] = lambda _: None,
    estimate: float | None = None,
    resumed: ResumedRun | None = None,
    stand_in: Role | None = None,
    provenance: Mapping[str, str | int] | None = None,
    say: Callable[[str], None] = lambda _: None,
    expected: float | None = None,
    recorder_of: Callable[[RunFolder], LiveRecorder] = SharedRecorder,
) -> Execution:
    """Run `experiment`, recording below `out`. `speed` None is as fast as possible, 1 is real time.

    `estimate` [bytes] of the run file, where it is known: twice that must be free; `expected` [s] is the forecast of
    the run's duration. `resumed` is the state of the interrupted run that this one continues, `stand_in` plays every
    role in place of the rig file's drivers, and `provenance` then states where the data come from. `say` is given what
    an operator should read at once. `recorder_of` makes the recorder: the default keeps a run against every crash.

    Raises `BadInput` before anything is written when the input cannot be used. Whatever happens after that is recorded
    in the file and returned as `Execution.ending`.
    """
    run_folder.refuse_if_short(out, estimate)
    _refuse_under_a_file_size_limit(estimate)
    loaded = load_rig(experiment, rig)
    run_seed = seed_of(experiment.experiment, loaded, seed)
    inbox: Inbox = StopSignal(stop)
    if stand_in is None:  # said here, so that a run from Python says it too
        for sentence in unverified(loaded):
            err.print(sentence)

    def waiting() -> bool:
        return inbox.waiting()

    pacer = Pacer(_pace(loaded, speed, stand_in), waiting)
    started = utc_now()
    before = () if resumed is None else resumed.history
    with ExitStack() as connections:
        prepared = prepare(experiment, loaded, run_seed, pacer.hold, before, stand_in, connections)
        if stand_in is None and resumed is None and (message := engaged_elsewhere(loaded, prepared.rig, out)):
            err.print(message)
        origin = {**(instruments_of(loaded, prepared.rig) if stand_in is None else {}), **(provenance or {})}
        maps = amplitude_maps(experiment)
        stated = {**prepared.parameters, **_fingerprints(maps)}
        if resumed is not None:
            resumed.refuse_changed(stated)
        title = experiment.experiment.title
        folder = run_folder.create(out, _folder_title(title), started, experiment.text, loaded.text)
        if resumed is not None:
            resumed.claim(folder.path)
        pace = Pace(expected)
        inbox = control = connections.enter_context(closing(ControlSocket(folder.path, inbox, pace.record)))
        recorder = recorder_of(folder)
        header = _header(experiment, loaded, prepared, started.isoformat(timespec="milliseconds"), stated)
        recorder.open(replace(header, provenance={**header.provenance, **origin}))
        run_context = RunContext(
            prepared.capacity,
            prepared.reversible,
            shift_between,
            Revisions(experiment, loaded, run_seed),
            maps,
            BEGINNING if resumed is None else resumed.start,
            prepared.swelling,
            None
            if stand_in is not None
            else check_at_start(loaded, prepared, specimen_parameters(experiment, loaded).values),
        )
        try:
            with watched(prepared.rig, folder.path) as watch:
                told = pace.telling(progress)
                runner = Runner(experiment.experiment, prepared.rig, recorder, inbox, run_context, told, watch, say)
                ending = runner.run()
        finally:
            # Closed before the run file is made, during which no command would be answered.
            control.close()
            path = recorder.close()
    if recorder.unfinished is not None:
        limit = f"could not be made: {recorder.unfinished}"
        problem = Problem("run file", "run.nxs", limit, f"opsicm recover {path} makes it of what is kept", str(path))
        ending = RunOutcome("fault", ending.error or LimitCrossed(problem))
    return Execution(path, ending)


def engaged_elsewhere(loaded: LoadedRig, rig: Rig, out: Path) -> str:
    """What to write in the rig file where the last run in `out` was engaged at another position of the stage.

    Empty where the rig file says where that is, where the stage has no motor, and where it stands there still: without
    `engaged_at_mm` the place where a stage stands is taken for the place of engagement, and a run ends above that.
    """
    stated = loaded.role("coarse_stage").settings
    now = rig.coarse_stage.state().settings
    at, above = (now.get(key) for key in ENGAGEMENT)
    if ENGAGEMENT[0] in stated or not isinstance(at, float) or not isinstance(above, float):
        return ""
    for folder in sorted((path for path in out.glob("*") if (path / JOURNAL).is_file()), reverse=True):
        before = _engagement_of(folder)
        if before is None:
            continue
        then, height = before
        if abs(then - at) < _SAME_PLACE_MM:
            return ""
        return (
            f"coarse stage: it stands at {at:.4f} mm, which is taken for {above:g} µm above the specimen; the last "
            f"run, {folder.name}, was engaged at {then:.4f} mm. Unless the tip was engaged anew, stop, and write in "
            f"the rig file's roles.coarse_stage.settings: engaged_at_mm: {then:.9g}, start_height_um: {height:.9g}"
        )
    return ""


def _engagement_of(folder: Path) -> tuple[float, float] | None:
    """(position [mm], height [µm]) of the stage's engagement in a run's journal; None where it says none."""
    try:
        with (folder / JOURNAL).open(encoding="utf-8") as journal:
            for line in islice(journal, _JOURNAL_HEAD):
                frame = json.loads(line).get("data", {}).get("coarse_stage")
                if frame is not None:
                    return float(frame[ENGAGEMENT[0]]), float(frame[ENGAGEMENT[1]])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # a stranger's folder, or a torn one
        return None
    return None


def _refuse_under_a_file_size_limit(estimate: float | None) -> None:
    """Raise `BadInput` where this process may not write files as large as the run's, nor share memory."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    needed = max(_LEAST_FILE, 2.0 * (estimate or 0.0))
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        limit = f"the run's files and the memory of its record need {needed * 1e-6:.0f} MB"
        raise BadInput(
            Problem("file-size limit", f"{allowed * 1e-6:.2g} MB", limit, "lift it with ulimit -f unlimited")
        )


def _pace(loaded: LoadedRig, speed: float | None, stand_in: Role | None) -> float | None:
    """How many times faster than the wall clock simulated time may pass; 1 beside an instrument."""
    if not REGISTRY.real_time(loaded, stand_in):
        return speed
    if speed not in (None, 1.0):
        raise BadInput(
            Problem("--speed", f"{speed:g}", "the rig has instruments, which run in real time", "leave it out")
        )
    return 1.0


def _folder_title(title: str) -> str:
    """The title shortened so that the values at its end, which tell the runs of a series apart, fit the folder name."""
    head, opens, values = title.rpartition(" (")
    if not (opens and values.endswith(")")):
        return title
    last = run_folder.slug(values)
    room = run_folder.LONGEST_SLUG - len(last) - 1
    return f"{run_folder.slug(head)[:room].rstrip('-')} {last}" if room > 0 else values


@contextmanager
def watched(rig: Rig, folder: Path) -> Iterator[Watch]:
    """A watchdog over a rig that has safe channels."""
    if not rig.safe_addresses:
        yield Unwatched()
        return
    with closing(Watchdog(rig.safe_addresses, folder)) as watchdog:
        yield watchdog


def _fingerprints(maps: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """A checksum of each amplitude map, by its step: the maps themselves are in the hops."""
    sums = {step: hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() for step, values in maps.items()}
    return {"amplitude_maps_sha256": sums} if sums else {}


def _experiment_file(experiment: LoadedExperiment) -> dict[str, str]:
    """Where the experiment file lies: the files that it names are seen from there. Nothing for a text of no file."""
    path = Path(experiment.document.name)
    return {"experiment_file": as_utf8(str(path.resolve()))} if path.is_file() else {}


def _header(
    experiment: LoadedExperiment, loaded: LoadedRig, prepared: Prepared, started_utc: str, stated: Mapping[str, Any]
) -> RunHeader:
    policies = experiment.experiment.record
    controller = prepared.rig.hop_controller
    return RunHeader(
        title=experiment.experiment.title,
        started_utc=started_utc,
        experiment_text=experiment.text,
        rig_text=loaded.text,
        channels=tuple(replace(c, policy=policies.policy(c.name)) for c in controller.channels),
        dt_ns=controller.timing.dt_ns,
        parameters=stated,
        provenance={
            **host_and_versions(),
            **_experiment_file(experiment),
            "rig": loaded.rig.title,
            "seed": prepared.seed,
            "source": data_source(loaded),
        },
    )


def signature() -> str:
    """User, host, version and time, recorded with every change to a run after it has ended."""
    return f"{_user()}@{socket.gethostname()}, opsicm {version('opsicm')}, {utc_now().isoformat(timespec='seconds')}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def host_and_versions() -> dict[str, str | int]:
    """Who records, where, and with what: of every run's provenance."""
    return {
        "opsicm": version("opsicm"),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "host": socket.gethostname(),
        "user": _user(),
    }
