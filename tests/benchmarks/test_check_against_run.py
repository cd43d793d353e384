"""What `check` says of the short experiments, held against their runs; the dear ones stand in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.check_against_run import comparisons
from opsicm.cli.execute import execute
from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import experiment_path, read_experiment
from opsicm.record.reader import Run

CHEAP = {
    "e01_current_against_salt": (4, 3),
    "e02_current_at_four_distances": (0, 3),
    "e03_scan_rates": (3, 3),
    "e08_step_edge_of_hopg": (0, 6),
    "e10_line_during_voltammogram": (0, 5),
    "e11_tower_during_voltammogram": (0, 5),
    "e12_pipettes": (2, 4),
}
# The twin's cell takes one straight step of 0.1 s after a change of control: decision 0107.
KNOWN = {("e08_step_edge_of_hopg", "ten hops")}


@pytest.mark.parametrize("name", CHEAP)
def test_the_run_shows_what_check_predicted(name: str, tmp_path: Path) -> None:
    which, least = CHEAP[name]
    experiment = expanded(read_experiment(experiment_path(f"short/{name}.yaml")))[which]
    with Run(execute(experiment, tmp_path).path) as run:
        items = list(comparisons(run))
    assert len(items) >= least
    off = [item for item in items if not item.holds and (name, item.quantity) not in KNOWN]
    assert not off, off
