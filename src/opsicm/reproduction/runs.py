"""Executes the runs: several at a time, resumable, each stored under the hash of everything that determines it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
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
_POLL_s: Final = 0.2  # between two checks of the stop flag while workers run

OnProgress = Callable[[Case, float], None]
"""Called with a case and the fraction of it that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class CaseRun:
    """A case and its run file; `path` None where there is none, and the `reason`."""

    case: Case
    path: Path | None
    reason: str = ""


class Workers(AbstractContextManager["Workers"]):
    """`count` processes that make runs and evaluate them, started with the first job.

    Both in the same ones: each start costs seconds of imports and of machine code that is loaded. At the end of the
    `with` block what still waits is dropped, and a run in progress is stopped.
    """

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.count, self.stop = count, context.Event()
        self.pool = ProcessPoolExecutor(count, context, _start_worker, (self.stop,))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.pool.shutdown(cancel_futures=True)


def run_all(
    plans: Mapping[str, Plan],
    folder: Path,
    stop: Callable[[], bool],
    on_progress: OnProgress,
    workers: Workers | None = None,
    on_complete: Callable[[str, str, list[CaseRun]], None] = lambda *_: None,
) -> dict[str, dict[str, list[CaseRun]]]:
    """Execute every run of `plans`, by set, that `folder` does not hold yet: one run for all sets that share it.

    Returns the runs by set and experiment, in the plans' order; fewer after a stop. `on_complete` is called with a set,
    an experiment and its runs once the last of them is finished.
    """
    finished_runs: dict[str, CaseRun] = {}
    pending = {(name, e): {case.key for case in cases} for name, one in plans.items() for e, cases in one.cases.items()}

    def of(cases: Iterable[Case]) -> list[CaseRun]:
        return [replace(finished_runs[case.key], case=case) for case in cases if case.key in finished_runs]

    order = (
        longest_first(plans.values())
        if workers and workers.count > 1
        else [case for one in plans.values() for case in one.all]
    )
    for one in make_runs({case.key: case for case in order}.values(), folder, stop, on_progress, workers):
        finished_runs[one.case.key] = one
        for (name, experiment), keys in pending.items():
            if one.case.key in keys:
                keys.discard(one.case.key)
                if not keys:
                    on_complete(name, experiment, of(plans[name].cases[experiment]))
    return {name: {e: of(cases) for e, cases in one.cases.items()} for name, one in plans.items()}


def longest_first(plans: Iterable[Plan]) -> list[Case]:
    """Every run, the longest first, so that several workers end at about the same time."""
    order = {name: k for k, name in enumerate((*LONGEST, *IDS)[::-1])}
    return sorted((case for one in plans for case in one.all), key=lambda case: -order[case.experiment])


def make_runs(
    cases: Iterable[Case],
    folder: Path,
    stop: Callable[[], bool],
    on_progress: OnProgress,
    workers: Workers | None = None,
) -> Iterator[CaseRun]:
    """Execute every case that `folder` does not hold yet; stops within and between runs when asked.

    A run that fails is a `CaseRun` with its reason, and the next one starts all the same. An interrupted run is not
    kept: the next call repeats it. With several `workers` they make the runs, else this process does; the result of a
    case does not depend on it.
    """
    waiting = []
    for case in cases:
        done = finished_run(folder / case.key)
        if done is None:
            waiting.append(case)
        else:
            on_progress(case, 1.0)
            yield CaseRun(case, done)
    if workers and workers.count > 1:
        yield from _in_processes(waiting, folder, stop, on_progress, workers)
        return
    for case in waiting:
        if stop():
            return
        path, reason = run_into(case.loaded, case.seed, folder / case.key, stop, partial(on_progress, case))
        if reason == _INTERRUPTED:
            return
        on_progress(case, 1.0)
        yield CaseRun(case, path, reason)


def run_into(
    loaded: LoadedExperiment,
    seed: int | None,
    run_folder: Path,
    stop: Callable[[], bool],
    on_progress: Callable[[float], None],
) -> tuple[Path | None, str]:
    """(run file, "") or (None, reason)."""

    def progress(now: Progress) -> None:
        on_progress(min(1.0, now.t_ns / now.total_ns) if now.total_ns else 0.0)

    # Imported here: it brings HDF5, which the process of the command itself does without. And no process of the
    # recorder's own: a run that is lost is made again, and two for each of a hundred runs cost a third of all.
    from opsicm.record.direct_recorder import DirectRecorder

    shutil.rmtree(run_folder, ignore_errors=True)
    try:
        execution = execute(loaded, run_folder, None, seed, None, stop, progress, recorder_of=DirectRecorder)
    except OpsicmError as error:
        return None, str(error)
    if execution.ending.outcome == "interrupted":
        return None, _INTERRUPTED
    if execution.ending.error is not None:
        return None, str(execution.ending.error)
    _mark_done(run_folder, execution.path)
    return execution.path, ""


def _in_processes(
    waiting: Sequence[Case], folder: Path, stop: Callable[[], bool], on_progress: OnProgress, workers: Workers
) -> Iterator[CaseRun]:
    jobs = {
        workers.pool.submit(
            _make_in_worker, case.loaded.text, case.loaded.document.name, case.seed, folder / case.key
        ): case
        for case in waiting
    }
    left: set[Future[tuple[Path | None, str]]] = set(jobs)
    while left:
        ended, left = wait(left, _POLL_s, FIRST_COMPLETED)
        if stop() and not workers.stop.is_set():
            workers.stop.set()
            left = {job for job in left if not job.cancel()}
        for job in ended:
            path, reason = job.result()
            if reason != _INTERRUPTED:
                on_progress(jobs[job], 1.0)
                yield CaseRun(jobs[job], path, reason)


_STOP_EVENT: Final[list[Event]] = []


def _start_worker(stop_event: Event) -> None:
    _STOP_EVENT[:] = [stop_event]
    begin_child()


def _make_in_worker(text: str, name: str, seed: int | None, run_folder: Path) -> tuple[Path | None, str]:
    return run_into(experiment_from_text(text, name), seed, run_folder, _STOP_EVENT[0].is_set, lambda _: None)


def finished_run(run_folder: Path) -> Path | None:
    """The run file of a case in `run_folder`, if its run was finished."""
    try:
        note = json.loads((run_folder / _DONE).read_text(encoding="utf-8"))
        path = run_folder / str(note["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if path.is_file() else None


def _mark_done(run_folder: Path, path: Path) -> None:
    # Written under another name and moved, so that a half-written note never counts as a finished run.
    unfinished = run_folder / (_DONE + ".new")
    unfinished.write_text(json.dumps({"run": path.relative_to(run_folder).as_posix()}), encoding="utf-8")
    os.replace(unfinished, run_folder / _DONE)


def begin_child() -> None:
    """Prepare a child process: only the parent stops it, not the terminal, and it ends when its parent does.

    A child that outlived a killed parent would continue with the waiting runs, in folders to which the command, started
    again, may be writing.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
