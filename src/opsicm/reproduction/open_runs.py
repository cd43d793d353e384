"""The finished runs of one experiment, open and analysed as a user's would be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from opsicm.analysis.result import Result
from opsicm.record.reader import Run
from opsicm.reproduction.cases import Case, Plan
from opsicm.reproduction.declared import AS_DECLARED, SWITCHED_OFF
from opsicm.reproduction.readings import currents, heights, images, pipettes, towers, voltammograms
from opsicm.reproduction.readings.reading import Reader
from opsicm.reproduction.rows import Read, is_declared, table
from opsicm.reproduction.runs import Made
from opsicm.reproduction.table import Compared
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
def opened(made: Iterable[Made]) -> Iterator[Runs]:
    """The runs of one experiment, opened and analysed; closed at the end."""
    runs: list[Analysed] = []
    try:
        for one in made:
            if one.path is not None:
                run = Run(one.path)
                runs.append(Analysed(one.case, run, {}))
                runs[-1] = Analysed(one.case, run, {result.name: result for result in results_of(run)})
        yield Runs(tuple(runs))
    finally:
        for analysed in runs:
            analysed.run.close()


# -- Which reader reads which experiment.


READERS: Final[dict[str, Reader]] = {
    "E1": pipettes.calibration,
    "E2": voltammograms.distances,
    "E3": voltammograms.rates,
    "E4": currents.constant_current,
    "E5": currents.titration,
    "E6": images.held_potentials,
    "E7": images.charged_and_discharged,
    "E8": images.step_edge,
    "E9": heights.one_point,
    "E10": heights.one_line,
    "E11": towers.tower,
    "E12": pipettes.pipettes,
}


# -- From runs to results: an experiment's runs opened and read by its reader.


def read(experiment: str, made: Sequence[Made], look: Callable[[str, Runs], None]) -> Read:
    """Read one experiment's runs; `look` is shown them while they are open."""
    without: dict[str, dict[str, Result]] = {}
    with opened(made) as runs:
        found = {result.name: result for result in READERS[experiment](runs)}
        for term in SWITCHED_OFF:
            if runs.of(term):
                for result in READERS[experiment](runs.taking(term)):
                    without.setdefault(result.name, {})[term] = result
        look(experiment, runs)
    return Read(found, without)


def read_all(
    experiments: Sequence[str], planned: Plan, made: Mapping[str, Sequence[Made]], look: Callable[[str, Runs], None]
) -> list[Compared]:
    """Read every experiment's runs, one after another in this process, and compare."""
    there = [name for name in experiments if any(is_declared(one) for one in made.get(name, []))]
    return table(experiments, planned, made, {name: read(name, made[name], look) for name in there})
