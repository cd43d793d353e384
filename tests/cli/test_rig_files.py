"""The rig files that are shipped: each is read, and its specification made, without any instrument."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from opsicm.cli.emulated_rig import standing_experiment
from opsicm.cli.main import main
from opsicm.cli.rigs import REGISTRY, load_rig, rig_setup, specimen_parameters
from opsicm.core.errors import BadInput
from opsicm.emulators.registry import entries_of
from opsicm.experiment.file import EXPERIMENTS, read_experiment
from opsicm.experiment.refusal import KeyPath
from opsicm.experiment.rig_file import PRESETS, LoadedRig, read_rig, rig_from_text
from opsicm.experiment.yaml_file import read_yaml, yaml_text
from opsicm.instruments.registry import ROLES
from opsicm.instruments.specification import RigSpecification

RIGS = sorted((EXPERIMENTS / "rigs").glob("*.yaml"))
EMULATED = {"emulated": "short/e09_height_during_voltammogram.yaml", "emulated-smu": "short/e05_titration.yaml"}


def specification_of(loaded: LoadedRig) -> RigSpecification:
    experiment = standing_experiment(loaded)
    setup = rig_setup(experiment, loaded, specimen_parameters(experiment, loaded).values)
    return REGISTRY.specification(setup)


def test_every_kind_of_bench_has_its_file() -> None:
    names = {path.stem for path in RIGS}
    assert names == {"paper", "ni-pi-zaber-smu", "read-only-potentiostat", "openspm", *EMULATED}


@pytest.mark.parametrize("path", RIGS, ids=lambda path: path.stem)
def test_a_rig_file_is_read_and_specified_without_an_instrument(path: Path) -> None:
    loaded = read_rig(path)
    specification = specification_of(loaded)
    low, high = specification.amplifier.command_range
    external = loaded.rig.wiring.external_bias_mV_per_V
    assert (low, high) == pytest.approx((-10e-3 * external, 10e-3 * external))
    assert specification.scanner.z_reach == pytest.approx(10e-6)
    assert specification.coarse_stage.speed == pytest.approx(5e-4)
    assert specification.hop_controller.timing.overload == pytest.approx(9.5e-9)
    assert specification.potentiostat.rest_potential == 1.2
    assert loaded.rig.verified is False


@pytest.mark.parametrize("path", [*RIGS[::3], PRESETS / "twin-graphite.yaml"], ids=lambda path: path.stem)
def test_no_mapping_of_a_rig_file_takes_a_key_that_nobody_reads(path: Path) -> None:
    document = read_yaml(path)
    mappings = list(mappings_in(document.data))
    assert {(), ("limits",), ("wiring",), ("roles", "amplifier")} <= set(mappings)
    for mapping in mappings:
        data: Any = copy.deepcopy(document.data)
        reduce(lambda holder, part: holder[part], mapping, data)["pipete_nA"] = 1
        with pytest.raises(BadInput, match="pipete_nA") as refused:
            specification_of(rig_from_text(yaml_text(data), str(path)))
        assert all(problem.line is not None for problem in refused.value.problems), mapping


def mappings_in(data: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every mapping."""
    items: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    if isinstance(data, dict):
        yield path
    for part, value in items:
        yield from mappings_in(value, (*path, part))


@pytest.mark.parametrize("name", ["paper", "read-only-potentiostat"])
def test_the_axes_of_an_amplifier_of_0_to_10_V_stay_within_it(name: str) -> None:
    loaded = read_rig(EXPERIMENTS / f"rigs/{name}.yaml")
    settings, reach = loaded.role("scanner").settings, specification_of(loaded).scanner.xy_reach
    assert reach == pytest.approx(50e-6)
    for axis, farthest_um in (("z", 10.0), ("xy", 1e6 * reach)):
        zero, swing = float(settings[f"{axis}_zero_V"]), farthest_um / float(settings[f"{axis}_um_per_V"])
        assert (zero - swing, zero + swing) == pytest.approx((0.0, 10.0))


@pytest.mark.parametrize("path", RIGS, ids=lambda path: path.stem)
def test_every_number_to_be_changed_says_where_it_is_read_off(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 120
    if path.stem not in EMULATED:
        assert "read off" in text
        assert text.count("#") > 12


@pytest.mark.parametrize("name", EMULATED)
def test_an_emulated_bench_has_an_emulator_for_each_address_and_passes_check_with_its_experiment(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = EXPERIMENTS / f"rigs/{name}.yaml"
    loaded = read_rig(rig)
    addresses = {loaded.role(role).address for role in ROLES}
    assert {entry.address for entry in entries_of(loaded)} == addresses
    assert all("127.0.0.1" in str(address) for address in addresses)
    experiment = EXPERIMENTS / EMULATED[name]
    assert load_rig(read_experiment(experiment), str(rig)).rig.title == loaded.rig.title
    assert main(["check", str(experiment), "--rig", str(rig)]) == 0
    said = capsys.readouterr().out
    assert "emulated, with twin/graphite behind them" in said
    assert said.count("NOT VERIFIED ON HARDWARE") == 5
