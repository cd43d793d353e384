"""Experiments read and drawn as soon as their runs are made, in a process of its own beside those that make them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from opsicm.analysis.result import Result
from opsicm.reproduction import child_process
from opsicm.reproduction.rows import Read, is_declared
from opsicm.reproduction.runs import Made


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


def _read(experiment: str, made: Sequence[Made], figures: Path) -> Read:
    from opsicm.reproduction.open_runs import read
    from opsicm.reproduction.pictures import Pictures

    pictures = Pictures(figures)
    found = read(experiment, made, pictures.draw)
    return Read(_bare(found.found), {n: _bare(each) for n, each in found.without.items()}, tuple(pictures.drawn))


def _bare(results: Mapping[str, Result]) -> dict[str, Result]:
    """The same without what they were read from: traces are drawn already, and would have to be sent."""
    return {name: replace(result, trace=None) for name, result in results.items()}
