"""The finished runs of one experiment, open and analysed as a user's runs are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from opsicm.analysis.result import WHOLE, Result, Subject, failed
from opsicm.record.reader import Run
from opsicm.reproduction.cases import Case
from opsicm.reproduction.runs import CaseRun
from opsicm.reproduction.table import NOT_RUN
from opsicm.reproduction.variants import AS_DECLARED
from opsicm.results.run_results import results_of


@dataclass(frozen=True, slots=True)
class AnalysedRun:
    """One finished run, open, with its case and all its results."""

    case: Case
    run: Run
    results: tuple[Result, ...]

    def value(self, path: str) -> Any:
        """The varied value whose path ends in `path`, as `park.height_um`."""
        return next(value for name, value in self.case.values if name.endswith(path))

    def result(self, name: str, of: Subject = WHOLE) -> Result:
        """The result `name` of the whole run or of a part of it; a failed one where it does not exist."""
        for result in self.results:
            if (result.name, result.of) == (name, of):
                return result
        what = f"{name} of {of.part}" if of.part else name
        return failed(name, "", "", NOT_RUN, f"the analysis of this run lists no {what}", of)


@dataclass(frozen=True, slots=True)
class ExperimentRuns:
    """The finished runs of one experiment, by variant."""

    all: tuple[AnalysedRun, ...]

    def of(self, variant: str = AS_DECLARED) -> list[AnalysedRun]:
        """The runs of a variant, in order of execution."""
        return [run for run in self.all if run.case.variant == variant]

    def with_variant_as_declared(self, variant: str) -> ExperimentRuns:
        """The runs of `variant` as if they were the declared set, for evaluation by the same code."""
        return ExperimentRuns(
            tuple(replace(run, case=replace(run.case, variant=AS_DECLARED)) for run in self.of(variant))
        )


@contextmanager
def opened(case_runs: Iterable[CaseRun]) -> Iterator[ExperimentRuns]:
    """The runs of one experiment, opened and analysed; closed at the end."""
    with ExitStack() as open_files:
        runs: list[AnalysedRun] = []
        for one in case_runs:
            if one.path is not None:
                run = open_files.enter_context(Run(one.path))
                runs.append(AnalysedRun(one.case, run, tuple(results_of(run))))
        yield ExperimentRuns(tuple(runs))
