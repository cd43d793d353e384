"""Which reader reads which experiment, and an experiment's runs opened and read by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opsicm.analysis.result import Result
from opsicm.reproduction.cases import Plan
from opsicm.reproduction.open_runs import Runs, opened
from opsicm.reproduction.readings import currents, heights, images, pipettes, towers, voltammograms
from opsicm.reproduction.readings.reading import Reader
from opsicm.reproduction.runs import Made
from opsicm.reproduction.table import Compared, Read, is_declared, table
from opsicm.reproduction.variants import SWITCHED_OFF

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
