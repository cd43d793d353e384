"""Every experiment of the paper as a file, its numbers those of the paper.

Takahashi, Takamatsu, Korchev, Fukuma, JACS Au 2023, 3, 1089-1099, doi 10.1021/jacsau.2c00677. Beside each row: where
in the paper the number stands. A number that the paper does not state is not asserted here; the files say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from opsicm.experiment import file as experiment_file
from opsicm.experiment.controls import PotentialRamp, cell_actions
from opsicm.experiment.file import read_experiment
from opsicm.experiment.rig_file import read_rig, rig_path

EXPERIMENTS = Path(experiment_file.__file__).parents[1] / "experiments"
FILES = {path.name[:3]: path for path in sorted(EXPERIMENTS.glob("e*.yaml"))}
IDS = [f"e{number:02d}" for number in range(1, 13)]


class Fact(NamedTuple):
    """The value at `path` of experiment `name` is `value`; `source` says where the paper states it."""

    name: str
    path: str
    value: Any
    source: str


FACTS = [
    Fact("e01", "pipette.fill_M", 1.0, "methods: pipette filled with 1.0 M LiClO4; the outside is varied"),
    Fact("e02", "cell[-1].sweep.from_V", 1.7, "Figure 3a, b: 0 to 1.7 V"),
    Fact("e02", "cell[-1].sweep.to_V", 0.0, "Figure 3a, b"),
    Fact("e02", "cell[-1].sweep.rate_mV_s", 10.0, "Figure 3a, b: 10 mV/s"),
    Fact("e02", "pipette.bias_V", 0.7, "Figure 3: +0.7 V"),
    Fact("e02", "vary.probe[0].park.height_um", [10, 100, 1000, 3000], "Figure 3b: 10, 100, 1000, 3000 um"),
    Fact("e03", "pipette.bias_V", 0.7, "Figure S4: as Figure 3"),
    Fact("e04", "pipette.bias_V", 0.7, "Figure 3c, d: +0.7 V"),
    Fact("e04", "probe[0].park.height_um", 10.0, "Figure 3c, d: 10 um"),
    Fact("e05", "pipette.bias_V", 0.7, "Figure 3e: +0.7 V"),
    Fact("e06", "cell[0].ladder", {"from_V": 1.7, "to_V": 0.1, "step_mV": 200.0, "rest_s": 300.0}, "Figure 4a: steps"),
    Fact("e06", "cell[1].ladder", {"from_V": 0.2, "to_V": 1.6, "step_mV": 200.0, "rest_s": 300.0}, "Figure 4b: back"),
    Fact("e06", "probe[-1].raster.size_um", [20.0, 20.0], "Figure 4: 20 x 20 um2"),
    Fact("e06", "probe[-1].raster.pixels", [128, 128], "Figure 4: 128 x 128 pixels"),
    Fact("e06", "pipette.bias_V", 0.7, "Figure 4a: +0.7 V"),
    Fact("e07", "cell[0].constant_current.current_mA_cm2", 0.4, "Figure 4c: discharge at 0.4 mA/cm2"),
    Fact("e07", "cell[0].constant_current.until.potential_V", 1.7, "Figure 4c: to 1.7 V, SOC 0 %"),
    Fact("e07", "cell[2].constant_current.current_mA_cm2", -0.4, "Figure 4c: charge at 0.4 mA/cm2"),
    Fact("e07", "cell[2].constant_current.until.potential_V", 0.0, "Figure 4c: to 0 V, SOC 100 %"),
    Fact("e07", "cell[4].constant_current.until.potential_V", 1.7, "Figure 4c: discharge again"),
    Fact("e07", "pipette.bias_V", 0.8, "Figure 4c: +0.8 V"),
    Fact("e08", "pipette.bias_V", 0.8, "Figure S6: +0.8 V"),
    Fact("e08", "rig", "twin/hopg", "Figure S6: HOPG"),
    Fact("e09", "cell[-1].sweep.rate_mV_s", 0.3, "Figure 5a, b: 0.3 mV/s"),
    Fact("e09", "cell[0].*.cycles", 2, "Figure 5: after two conditioning cycles"),
    Fact("e09", "probe[-1].hop.amplitude_nm", 2000.0, "Figure 5: amplitude 2000 nm"),
    Fact("e09", "probe[-1].hop.fall_nm_per_ms", 30.0, "Figure 5: 30 nm/ms"),
    Fact("e09", "probe[-1].hop.setpoint_pct", 2.0, "Figure 5: setpoint 98 %, a drop of 2 %"),
    Fact("e10", "cell[-1].sweep.rate_mV_s", 0.3, "Figure 5c: the same voltammogram"),
    Fact("e10", "cell[0].*.cycles", 2, "Figure 5: after two conditioning cycles"),
    Fact("e10", "pipette.bias_V", 0.7, "Figure 5: +0.7 V"),
    Fact("e11", "cell[-1].sweep.rate_mV_s", 0.5, "Figure 6: 0.5 mV/s"),
    Fact("e11", "cell[0].*.cycles", 2, "Figure 6: after two conditioning cycles"),
    Fact("e11", "probe[-1].tower.low_um", 100.0, "methods: 0.1 to 2.6 mm"),
    Fact("e11", "probe[-1].tower.high_um", 2600.0, "methods: 0.1 to 2.6 mm"),
    Fact("e11", "probe[-1].tower.speed_mm_s", 0.5, "methods: 0.5 mm/s"),
    Fact("e11", "pipette.bias_V", 0.7, "Figure 6: +0.7 V"),
]


def found(data: Any, path: str) -> Any:
    """The value at `path` of the file's form; `*` is whatever word a step has, `[-1]` the last."""
    head, _, rest = path.partition(".")
    name, _, index = head.partition("[")
    if name == "vary":
        return data["vary"][rest]
    inner = next(iter(data.values())) if name == "*" else data[name]
    if index:
        inner = inner[int(index[:-1])]
    return found(inner, rest) if rest else inner


def data_of(name: str) -> Any:
    """The file's form of an experiment, defaults written out."""
    return read_experiment(FILES[name]).experiment.model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: f"{fact.name} {fact.path}")
def test_the_paper_s_numbers(fact: Fact) -> None:
    value = found(data_of(fact.name), fact.path)
    if isinstance(fact.value, dict):
        assert {key: value[key] for key in fact.value} == fact.value, fact.source
    else:
        assert value == fact.value, fact.source


def test_e05_is_pulses_of_120_s_and_rests_of_300_s_at_0_8_mA_cm2() -> None:
    steps = [next(iter(step.items())) for step in data_of("e05")["cell"]]
    pulses = [settings for word, settings in steps if word == "constant_current"]
    rests = [settings for word, settings in steps if word == "open_circuit"]
    assert {abs(pulse["current_mA_cm2"]) for pulse in pulses} == {0.8}, "Figure 3e"
    assert {pulse["until"]["for_s"] for pulse in pulses} == {120.0}, "Figure 3e"
    assert {rest["for_s"] for rest in rests} == {300.0}, "Figure 3e"


def test_e04_is_0_4_mA_cm2_both_ways() -> None:
    currents = [
        step["constant_current"]["current_mA_cm2"] for step in data_of("e04")["cell"] if "constant_current" in step
    ]
    assert currents == [-0.4, 0.4], "Figure 3c, d"


def test_every_experiment_is_there_in_both_forms_and_readme_says_what_to_look_at() -> None:
    assert sorted(FILES) == IDS
    assert sorted(path.name[:3] for path in (EXPERIMENTS / "short").glob("e*.yaml")) == IDS
    readme = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    for path in FILES.values():
        assert path.name in readme


def test_the_common_numbers_of_the_rig() -> None:
    for name in IDS[1:11]:
        experiment = read_experiment(FILES[name]).experiment
        assert experiment.pipette.radius_nm == 50, "methods: inner aperture radius 50 nm"
        assert experiment.electrolyte.salt_M == 1.0, "methods: 1.0 M LiClO4"
        if name != "e08":
            assert experiment.specimen.area_cm2 == 0.5, "methods: 0.50 cm2"
            assert experiment.specimen.thickness_um == 28, "methods: 28 um"


def test_e06_is_seventeen_images() -> None:
    steps = read_experiment(FILES["e06"]).experiment.cell
    levels = [level for step in steps for level in getattr(step, "levels")()]  # noqa: B009 - any step's
    assert levels == pytest.approx(
        [1.7, 1.5, 1.3, 1.1, 0.9, 0.7, 0.5, 0.3, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]
    )
    assert "0.3 V is not on its ladder" in FILES["e06"].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["e02", "e03", "e06", "e08", "e09", "e10", "e11"])
@pytest.mark.parametrize("folder", [EXPERIMENTS, EXPERIMENTS / "short"], ids=["long", "short"])
def test_a_specimen_rests_where_its_program_begins(folder: Path, name: str) -> None:
    """A specimen that jumps passes more current in its first seconds than in the rest of a sweep."""
    experiment = read_experiment(next(folder.glob(f"{name}*.yaml"))).experiment
    potentiostat = read_rig(rig_path(experiment.rig)).rig.roles.potentiostat
    rest = experiment.specimen.rest_V
    controls = (action.control for action in cell_actions(experiment.cell, 1e-4, 1.0))
    first = next(control for control in controls if isinstance(control, PotentialRamp))
    assert first.start == (potentiostat.settings["initial_V"] if rest is None else rest)
