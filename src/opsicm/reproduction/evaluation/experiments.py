"""The evaluation of each experiment, applied to its runs and to those with a term switched off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from opsicm.analysis.result import Result
from opsicm.reproduction.evaluation import currents, heights, images, pipettes, towers, voltammograms
from opsicm.reproduction.evaluation.row_value import Evaluation
from opsicm.reproduction.open_runs import ExperimentRuns, opened
from opsicm.reproduction.runs import CaseRun
from opsicm.reproduction.table import ExperimentResults
from opsicm.reproduction.variants import SWITCHED_OFF

EVALUATIONS: Final[dict[str, Evaluation]] = {
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


def evaluate(
    experiment: str, case_runs: Sequence[CaseRun], while_open: Callable[[str, ExperimentRuns], None]
) -> ExperimentResults:
    """Evaluate one experiment's runs; `while_open` is called with them before they are closed."""
    without: dict[str, dict[str, Result]] = {}
    otherwise: dict[str, dict[str, Result]] = {}
    with opened(case_runs) as runs:
        results = EVALUATIONS[experiment](runs)
        rows = {result.name: result for result in results if not result.of.part}
        for result in (one for one in results if one.of.part):
            otherwise.setdefault(result.name, {})[result.of.part] = result
        for term in SWITCHED_OFF:
            if runs.of(term):
                for result in EVALUATIONS[experiment](runs.with_variant_as_declared(term)):
                    if not result.of.part:
                        without.setdefault(result.name, {})[term] = result
        while_open(experiment, runs)
    return ExperimentResults(rows, without, otherwise)
