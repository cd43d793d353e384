"""Experiments read and drawn as soon as their runs are made, in a process of its own beside those that make them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from opsicm.analysis.result import Result, failed
from opsicm.app.reproduce import child_process
from opsicm.app.reproduce.declared import AS_DECLARED
from opsicm.app.reproduce.planning import Plan
from opsicm.app.reproduce.runs import Made
from opsicm.app.reproduce.table import NOT_RUN, Compared, compare


@dataclass(frozen=True, slots=True)
class Read:
    """What one experiment's runs gave: results by row, by row and term switched off, and the figures drawn."""

    found: Mapping[str, Result]
    without: Mapping[str, Mapping[str, Result]]
    drawn: tuple[Path, ...] = field(default=())


class Reader(AbstractContextManager["Reader"]):
    """A process that reads experiments and draws them into `figures`, one after another, in the order given.

    Not in the processes that make runs: whatever reads runs imports HDF5, which has no place beside a live one.
    """

    def __init__(self, figures: Path) -> None:
        self._figures = figures
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), child_process.begin)
        self._jobs: dict[str, Future[Read]] = {}

    def begin(self, experiment: str, made: Sequence[Made]) -> None:
        """Read this experiment, of which all runs are made, as soon as the process is free."""
        if any(is_declared(one) for one in made):
            self._jobs[experiment] = self._pool.submit(_read, experiment, tuple(made), self._figures)

    def read(self) -> dict[str, Read]:
        """What was read, by experiment; waits for it, and raises what the process raised."""
        return {experiment: job.result() for experiment, job in self._jobs.items()}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def table(
    experiments: Sequence[str], planned: Plan, made: Mapping[str, Sequence[Made]], reads: Mapping[str, Read]
) -> list[Compared]:
    """Every row of these experiments; where there is no number, why."""
    found: dict[str, Result] = {}
    absent: dict[str, Result] = {}
    without: dict[str, Mapping[str, Result]] = {}
    for experiment in experiments:
        reason = planned.refused.get(experiment) or _why_not(made.get(experiment, []))
        absent[experiment] = failed(
            experiment, "", "", NOT_RUN, reason or "none of these runs gives it; the short form leaves some out"
        )
        if experiment in reads:
            found.update(reads[experiment].found)
            without.update(reads[experiment].without)
    return compare(found, absent, without, experiments)


def is_declared(one: Made) -> bool:
    """Whether this is a finished run of the declared set: without one there is nothing to read."""
    return one.case.variant == AS_DECLARED and one.path is not None


def _why_not(made: Sequence[Made]) -> str:
    reasons = [f"{one.case.label}: {one.reason}" for one in made if one.path is None]
    return reasons[0] if reasons else ("" if made else "it was interrupted before its first run")


def _read(experiment: str, made: Sequence[Made], figures: Path) -> Read:
    from opsicm.app.reproduce.pictures import Pictures
    from opsicm.app.reproduce.reading_all import read

    pictures = Pictures(figures)
    found = read(experiment, made, pictures.draw)
    return Read(_bare(found.found), {n: _bare(each) for n, each in found.without.items()}, tuple(pictures.drawn))


def _bare(results: Mapping[str, Result]) -> dict[str, Result]:
    """The same without what they were read from: traces are drawn already, and would have to be sent."""
    return {name: replace(result, trace=None) for name, result in results.items()}
