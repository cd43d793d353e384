"""Which reader reads which experiment; opens an experiment's runs and reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from opsicm.analysis.result import Result
from opsicm.reproduction.open_runs import Runs, opened
from opsicm.reproduction.readings import currents, heights, images, pipettes, towers, voltammograms
from opsicm.reproduction.readings.reading import Reader
from opsicm.reproduction.runs import CaseRun
from opsicm.reproduction.table import ExperimentResults
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


def read(experiment: str, case_runs: Sequence[CaseRun], look: Callable[[str, Runs], None]) -> ExperimentResults:
    """ExperimentResults one experiment's runs; `look` is shown them while they are open."""
    without: dict[str, dict[str, Result]] = {}
    with opened(case_runs) as runs:
        found = {result.name: result for result in READERS[experiment](runs)}
        for term in SWITCHED_OFF:
            if runs.of(term):
                for result in READERS[experiment](runs.taking(term)):
                    without.setdefault(result.name, {})[term] = result
        look(experiment, runs)
    return ExperimentResults(found, without)
