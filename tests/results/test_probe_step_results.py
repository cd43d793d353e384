"""Results of towers, pipette sweeps and modulations of a run: every step of the program, in a repeat too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.analysis.result import Result
from opsicm.record.reader import Run
from opsicm.results.pipette_steps import pipette_results
from opsicm.results.probe_intervals import probe_intervals
from tests.fixtures.laboratory import RIG, Laboratory

# The spelling of the README, without quotes, which is not YAML by the book; a repeat in a repeat; two steps of one
# kind, so that results carry the step's name.
TEXT = """\
opsicm: 1
title: towers in rounds
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - rest: {for_s: 1}
  - rest: {for_s: 16}
  - rest: {for_s: 3}
probe:
  - park: {height_um: 10, during: cell[0]}
  - repeat:
      times: 2
      steps:
        - tower: {low_um: 100, high_um: 600, speed_mm_s: 0.5, record_every_s: 0.05, trips: 1}
        - repeat:
            times: 1
            steps:
              - pipette_sweep: {from_V: -0.5, to_V: 0.5, rate_mV_s: 1000, height_um: 100}
  - modulate: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 60, setpoint_pct: 2, levels_V: [0.8, 0.6], \
dwell_ms: 20, blanking_ms: 2, during: cell[2]}
record: {pipette_bias: full}
envelope: {cell_V: [-0.6, 2.5]}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("rounds")
    flat = RIG.replace("{kind: rough, rq_nm: 300, correlation_nm: 1500, size_um: 20, pixels: 128}", "{kind: flat}")
    return Laboratory(folder).run(TEXT, flat)


@pytest.fixture(scope="module")
def results(run: Run) -> list[Result]:
    return pipette_results(run)


def test_each_round_of_a_repeated_step_is_an_interval_of_its_own(run: Run) -> None:
    intervals = probe_intervals(run)
    assert [interval.path for interval in intervals] == [
        "probe[0]",
        "probe[1].0",
        "probe[1].1.0",
        "probe[1].0",
        "probe[1].1.0",
        "probe[2]",
    ]
    assert [interval.step.word for interval in intervals[:3]] == ["park", "tower", "pipette_sweep"]
    edges = np.array([(interval.start_ns, interval.stop_ns) for interval in intervals])
    assert np.all(edges[1:, 0] >= edges[:-1, 1])


def test_every_round_of_a_tower_and_of_a_pipette_sweep_has_its_results(results: list[Result]) -> None:
    for path in ("probe[1].0", "probe[1].1.0"):
        for number in (1, 2):
            of_round = [result for result in results if (result.of.step, result.of.occurrence) == (path, number)]
            assert any(result.outcome == "ok" for result in of_round), f"round {number} of {path}"


def test_a_modulation_with_an_unquoted_reference_to_its_cell_step_has_its_results(results: list[Result]) -> None:
    fits = [result for result in results if result.name == "conductance" and result.outcome == "ok"]
    assert fits, [result.label for result in results]
