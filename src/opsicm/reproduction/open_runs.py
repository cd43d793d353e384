"""The finished runs of one experiment, open and analysed as a user's would be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from opsicm.analysis.result import Result
from opsicm.record.reader import Run
from opsicm.reproduction.cases import Case
from opsicm.reproduction.runs import CaseRun
from opsicm.reproduction.variants import AS_DECLARED
from opsicm.results.run_results import results_of


@dataclass(frozen=True, slots=True)
class Analysed:
    """One finished run, open, with the values that were varied and all results that a user would get."""

    case: Case
    run: Run
    results: Mapping[str, Result]

    def value(self, path: str) -> Any:
        """The varied value whose path ends in `path`, as `park.height_um`."""
        return next(value for name, value in self.case.values if name.endswith(path))


@dataclass(frozen=True, slots=True)
class Runs:
    """The finished runs of one experiment, by variant."""

    all: tuple[Analysed, ...]

    def of(self, variant: str = AS_DECLARED) -> list[Analysed]:
        """The runs of a variant, in the order in which they were made."""
        return [run for run in self.all if run.case.variant == variant]

    def taking(self, variant: str) -> Runs:
        """These runs with those of `variant` in the place of the declared set's, and no others."""
        return Runs(tuple(replace(run, case=replace(run.case, variant=AS_DECLARED)) for run in self.of(variant)))


@contextmanager
def opened(case_runs: Iterable[CaseRun]) -> Iterator[Runs]:
    """The runs of one experiment, opened and analysed; closed at the end."""
    runs: list[Analysed] = []
    try:
        for one in case_runs:
            if one.path is not None:
                run = Run(one.path)
                runs.append(Analysed(one.case, run, {}))
                runs[-1] = Analysed(one.case, run, {result.name: result for result in results_of(run)})
        yield Runs(tuple(runs))
    finally:
        for analysed in runs:
            analysed.run.close()
