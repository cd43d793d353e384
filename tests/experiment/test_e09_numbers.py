"""E9 as a file: its numbers are the paper's (Takahashi et al., JACS Au 2023, 3, 1089, Figure 5a, b and methods)."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsicm.experiment import file as experiment_file
from opsicm.experiment.cell_steps import Sweep
from opsicm.experiment.controls import step_duration
from opsicm.experiment.file import read_experiment
from opsicm.experiment.probe_steps import Hop, Park

EXPERIMENTS = Path(experiment_file.__file__).parents[1] / "experiments"
NAME = "e09_height_during_voltammogram.yaml"
E09 = read_experiment(EXPERIMENTS / NAME).experiment
SHORT = read_experiment(EXPERIMENTS / "short" / NAME).experiment


def test_two_conditioning_cycles_then_one() -> None:
    assert [type(step) for step in E09.cell] == [Sweep, Sweep]
    conditioning, watched = E09.cell
    assert isinstance(conditioning, Sweep)
    assert isinstance(watched, Sweep)
    assert (conditioning.cycles, watched.cycles) == (2, 1)
    for sweep in (conditioning, watched):
        assert (sweep.from_V, sweep.to_V, sweep.rate_mV_s) == (1.7, 0.0, 0.3)
        assert sweep.ir_compensation_pct == 0  # none is stated
    assert step_duration(watched) == pytest.approx(11_333, abs=1)  # s, implied: 3.4 V at 0.3 mV/s


def test_the_probe_waits_and_then_hops_at_one_point() -> None:
    park, hop = E09.probe
    assert isinstance(park, Park)
    assert isinstance(hop, Hop)
    assert (park.during_index, hop.during_index) == (0, 1)
    assert (hop.amplitude_nm, hop.fall_nm_per_ms, hop.setpoint_pct) == (2000, 30, 2.0)


def test_pipette_and_specimen() -> None:
    assert (E09.pipette.bias_V, E09.pipette.radius_nm) == (0.7, 50)
    assert (E09.specimen.area_cm2, E09.specimen.thickness_um) == (0.5, 28)
    assert E09.specimen.loading == pytest.approx(28e-6 * 1560, rel=0.01)  # kg/m²: thickness times 1.56 g/cm³
    assert E09.electrolyte.salt_M == 1.0


def test_what_heights_are_found_from_is_kept_whole() -> None:
    for experiment in (E09, SHORT):
        assert (experiment.record.pipette_current, experiment.record.z) == ("full", "full")


def test_the_short_form_differs_only_where_it_says_so() -> None:
    (sweep,) = SHORT.cell
    assert isinstance(sweep, Sweep)
    assert (sweep.from_V, sweep.to_V, sweep.rate_mV_s, sweep.cycles) == (1.2, 0.0, 2.0, 1)
    assert sweep.ir_compensation == pytest.approx(0.97)
    assert step_duration(sweep) == pytest.approx(1200)
    assert SHORT.specimen.loading_mg_cm2 == 0.025
    assert SHORT.envelope.cell_V == (-0.3, 2.0)
    assert SHORT.specimen.rest_V is None  # the rig's 1.2 V, where its sweep begins
    same = {
        "specimen": SHORT.specimen.model_copy(update={"loading_mg_cm2": 4.4, "rest_V": 1.7}),
        "title": E09.title,
        "envelope": E09.envelope,
    }
    assert SHORT.model_copy(update={**same, "cell": E09.cell, "probe": E09.probe}) == E09
    (hop,) = SHORT.probe
    assert hop.model_copy(update={"during": "cell[1]"}) == E09.probe[1]


def test_the_files_are_seen_at_the_root_of_the_repository() -> None:
    root = Path(__file__).parents[2]
    assert (root / "experiments").is_symlink()
    assert (root / "experiments" / NAME).samefile(EXPERIMENTS / NAME)
