"""The finished runs of one experiment, opened, analysed as a user's would be, and read by its reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from opsicm.analysis.result import Result
from opsicm.record.reader import Run
from opsicm.reproduction.cases import Plan
from opsicm.reproduction.declared import SWITCHED_OFF
from opsicm.reproduction.readings import currents, heights, images, pipettes, towers, voltammograms
from opsicm.reproduction.readings.reading import Analysed, Reader, Runs
from opsicm.reproduction.rows import Read, is_declared, table
from opsicm.reproduction.runs import Made
from opsicm.reproduction.table import Compared
from opsicm.results.run_results import results_of


@contextmanager
def opened(made: Iterable[Made]) -> Iterator[Runs]:
    """The runs of one experiment, opened and analysed; closed at the end."""
    with ExitStack() as open_files:
        runs: list[Analysed] = []
        for one in made:
            if one.path is not None:
                run = open_files.enter_context(Run(one.path))
                runs.append(Analysed(one.case, run, tuple(results_of(run))))
        yield Runs(tuple(runs))


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
