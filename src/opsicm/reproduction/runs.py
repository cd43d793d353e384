"""Making the runs: several at a time, resumable, each kept under the hash of all that decides it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

from opsicm.cli.execute import execute
from opsicm.core.errors import OpsicmError
from opsicm.experiment.file import LoadedExperiment, experiment_from_text
from opsicm.reproduction.cases import Case, Plan
from opsicm.reproduction.paper import IDS
from opsicm.reproduction.variants import LONGEST
from opsicm.runner.runner import Progress

_DONE: Final = "done.json"
_INTERRUPTED: Final = "interrupted"
_LOOK_s: Final = 0.2  # how often a stop is looked for while workers work

Told = Callable[[Case, float], None]
"""Told of a case and how much of it is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Made:
    """A case and its run file; `path` None where there is none, and the `reason`."""

    case: Case
    path: Path | None
    reason: str = ""


def run_all(
    planned: Plan,
    folder: Path,
    stop: Callable[[], bool],
    told: Told,
    workers: int = 1,
    whole: Callable[[str, list[Made]], None] = lambda *_: None,
) -> dict[str, list[Made]]:
    """Make every run that `folder` does not hold; by experiment, in the plan's order. Fewer if a stop was asked for.

    `whole` is told of an experiment and its runs, in the plan's order, once the last of them is made.
    """
    made: dict[str, Made] = {}
    left = {experiment: {case.key for case in cases} for experiment, cases in planned.cases.items()}

    def of(experiment: str) -> list[Made]:
        return [made[case.key] for case in planned.cases[experiment] if case.key in made]

    for one in make(longest_first(planned) if workers > 1 else planned.all, folder, stop, told, workers):
        made[one.case.key] = one
        left[one.case.experiment].discard(one.case.key)
        if not left[one.case.experiment]:
            whole(one.case.experiment, of(one.case.experiment))
    return {experiment: of(experiment) for experiment in planned.cases}


def longest_first(planned: Plan) -> list[Case]:
    """Every run to make, those that take longest first: several at a time then end together."""
    order = {name: k for k, name in enumerate((*LONGEST, *IDS)[::-1])}
    return sorted(planned.all, key=lambda case: -order[case.experiment])


def make(cases: Iterable[Case], folder: Path, stop: Callable[[], bool], told: Told, workers: int = 1) -> Iterator[Made]:
    """Make the run of every case that `folder` does not hold already; stops within and between runs when asked.

    A run that fails is a `Made` with its reason, and the next one is made all the same. One that was interrupted is
    not kept: it is made again when asked for again. With more than one of `workers` each run has a process; a case's
    result does not depend on it.
    """
    waiting = []
    for case in cases:
        done = finished(folder / case.key)
        if done is None:
            waiting.append(case)
        else:
            told(case, 1.0)
            yield Made(case, done)
    if workers > 1 and len(waiting) > 1:
        yield from _in_processes(waiting, folder, stop, told, workers)
        return
    for case in waiting:
        if stop():
            return
        made = _make_one(case.loaded, case.seed, folder / case.key, stop, partial(told, case))
        if made[1] == _INTERRUPTED:
            return
        told(case, 1.0)
        yield Made(case, *made)


def _make_one(
    loaded: LoadedExperiment, seed: int | None, place: Path, stop: Callable[[], bool], told: Callable[[float], None]
) -> tuple[Path | None, str]:
    """(run file, "") or (None, why there is none)."""

    def progress(now: Progress) -> None:
        told(min(1.0, now.t_ns / now.total_ns) if now.total_ns else 0.0)

    shutil.rmtree(place, ignore_errors=True)
    try:
        execution = execute(loaded, place, None, seed, None, stop, progress)
    except OpsicmError as error:
        return None, str(error)
    if execution.ending.outcome == "interrupted":
        return None, _INTERRUPTED
    if execution.ending.error is not None:
        return None, str(execution.ending.error)
    _keep(place, execution.path)
    return execution.path, ""


def _in_processes(
    waiting: Sequence[Case], folder: Path, stop: Callable[[], bool], told: Told, workers: int
) -> Iterator[Made]:
    context = multiprocessing.get_context("spawn")
    asked = context.Event()
    with ProcessPoolExecutor(workers, context, _begin, (asked,)) as pool:
        jobs = {
            pool.submit(_work, case.loaded.text, case.loaded.document.name, case.seed, folder / case.key): case
            for case in waiting
        }
        left: set[Future[tuple[Path | None, str]]] = set(jobs)
        try:
            while left:
                ended, left = wait(left, _LOOK_s, FIRST_COMPLETED)
                if stop() and not asked.is_set():
                    asked.set()
                    left = {job for job in left if not job.cancel()}
                for job in ended:
                    path, reason = job.result()
                    if reason != _INTERRUPTED:
                        told(jobs[job], 1.0)
                        yield Made(jobs[job], path, reason)
        finally:  # whoever asked for runs has failed: nobody will take the rest
            asked.set()
            pool.shutdown(cancel_futures=True)


_ASKED: Final[list[Event]] = []


def _begin(asked: Event) -> None:
    _ASKED[:] = [asked]
    begin_child()


def _work(text: str, name: str, seed: int | None, place: Path) -> tuple[Path | None, str]:
    return _make_one(experiment_from_text(text, name), seed, place, _ASKED[0].is_set, lambda _: None)


def finished(place: Path) -> Path | None:
    """The run file that a case has left at `place`, if its run had come to its end."""
    try:
        said = json.loads((place / _DONE).read_text(encoding="utf-8"))
        path = place / str(said["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if path.is_file() else None


def _keep(place: Path, path: Path) -> None:
    # Written beside and moved, so that a half-written word never says that a run is there.
    new = place / (_DONE + ".new")
    new.write_text(json.dumps({"run": path.relative_to(place).as_posix()}), encoding="utf-8")
    os.replace(new, place / _DONE)


def begin_child() -> None:
    """A stop comes from the parent, not from the terminal, which sends its signal to all; and it ends with its parent.

    One that outlived a killed parent would go on with what is waiting, in folders where the command, given again, may
    be writing already.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
