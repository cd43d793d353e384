"""Drivers by name: this package's and other packages', alone and in one rig with the twin."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from docs.examples.dummy_cell import DRIVER, DummyCell
from opsicm.cli.execute import execute
from opsicm.cli.main import main
from opsicm.cli.rigs import REGISTRY, data_source, load_rig, prepare, rig_numbers
from opsicm.core.errors import BadInput
from opsicm.experiment.controls import PotentialRamp
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.rig_file import RoleName
from opsicm.experiment.step_model import FileModel
from opsicm.instruments import registry
from opsicm.instruments.bias_ramp import KINK_ERROR
from opsicm.instruments.clock import WallClock
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.registry import GROUP, ROLES, Driver, Registry
from opsicm.instruments.roles import Rig
from opsicm.instruments.specification import (
    AmplifierSpecification,
    CoarseStageSpecification,
    HopControllerSpecification,
    PotentiostatSpecification,
    RoleSpecification,
    ScannerSpecification,
)
from opsicm.record.reader import Run
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.fixtures.rig_contract import RigContract

POTENTIOSTAT = "  potentiostat:\n    driver: twin\n    settings: {initial_V: 0.4}"
MIXED = RIG.replace(POTENTIOSTAT, "  potentiostat: {driver: dummy_cell, settings: {rest_V: 0.4}}")
# Without iR compensation: the dummy cell has no resistance, so only then do both cells stand at the same potential.
SHORT = TEXT.replace("from_V: 0.4, to_V: 0.0, rate_mV_s: 8", "from_V: 0.4, to_V: 0.36, rate_mV_s: 20")
SHORT = SHORT.replace(", ir_compensation_pct: 97", "")
NO_DRIVERS = (DRIVER, "no driver")
WITHOUT_METHODS = replace(DRIVER, connect=lambda *_: object())


def offer(monkeypatch: pytest.MonkeyPatch, **places: str) -> None:
    """Let an installed package offer drivers: name → module:attribute."""
    offered = EntryPoints(EntryPoint(name, place, GROUP) for name, place in places.items())

    def entry_points(**wanted: Any) -> EntryPoints:
        return offered.select(**wanted)

    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.fixture(autouse=True)
def another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, dummy_cell="docs.examples.dummy_cell:DRIVER")


def mixed(laboratory: Laboratory, rig: str = MIXED) -> Rig:
    experiment = laboratory.experiment(SHORT, rig)
    return prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig


class TestMixed(RigContract):
    """A twin whose potentiostat is another package's passes what every rig passes."""

    @pytest.fixture
    def rig(self, laboratory: Laboratory) -> Rig:
        return mixed(laboratory)


def test_an_experiment_runs_on_twin_and_instrument(laboratory: Laboratory) -> None:
    assert MIXED != RIG
    experiment = laboratory.experiment(SHORT, MIXED)
    assert main(["check", str(laboratory.folder / "experiment.yaml")]) == 0
    execution = execute(experiment, laboratory.folder / "out", seed=1)
    assert execution.ending.outcome == "completed"
    with Run(execution.path) as run:
        assert run.provenance["source"] == "digital twin and instruments"
        # A capacitor of 0.5 F swept by 20 mV/s carries 10 mA, down and back: the reading is the instrument's own.
        current = run.cell["current"].values
        assert current.min() == pytest.approx(-0.01, rel=1e-9)
        assert current.max() == pytest.approx(0.01, rel=1e-9)
        hops = run.hops
        assert hops["outcome"].size > 20
        assert (hops["outcome"].values == 0).all()
        # The bias follows the instrument's potential and the world the same program, so the tip keeps its potential
        # but for the turn of the sweep, where a ramp may miss by KINK.
        assert abs(hops["bias_residual"].values).max() < KINK_ERROR


def test_the_world_follows_the_instrument(laboratory: Laboratory) -> None:
    rig = mixed(laboratory)
    rig.potentiostat.apply(PotentialRamp(0.2), 0)
    rig.clock.wait_until(500_000_000)
    world: Any = rig.hop_controller
    assert world.world.reading().potential == pytest.approx(0.2, abs=1e-3)
    assert rig.potentiostat.read().potential == pytest.approx(0.2)
    rig.safe()
    rig.clock.wait_until(600_000_000)
    assert world.world.reading().control == rig.potentiostat.read().control == "open_circuit"


def test_check_takes_its_numbers_from_whoever_plays_the_role(laboratory: Laboratory) -> None:
    experiment = laboratory.experiment(SHORT, MIXED.replace("rest_V: 0.4", "rest_V: 0.55"))
    assert rig_numbers(experiment, load_rig(experiment, None)).cell.initial_potential == 0.55


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "driver: dummy_cell",
            "driver: acme",
            r"driver is 'acme'; no driver .* registered are dummy_cell, .*replay, .*twin",
        ),
        ("driver: dummy_cell", "driver: acme", "install a package that offers it in its entry points opsicm.drivers"),
        ("coarse_stage:\n    driver: twin", "coarse_stage:\n    driver: dummy_cell", "plays potentiostat only"),
        ("rest_V: 0.4", "rest_mV: 400", "the dummy cell has no such key; did you mean rest_V.* write rest_V: 0.4"),
        ("rest_V: 0.4", "rest_V: 40", r"rig\.yaml:9: .*rest_V is 40; must be at most 5 V"),
        ("driver: dummy_cell, settings: {rest_V: 0.4}", "driver: replay", "stands in for the instruments"),
    ],
)
def test_a_driver_that_cannot_play_is_refused(laboratory: Laboratory, old: str, new: str, words: str) -> None:
    assert MIXED.count(old) == 1
    with pytest.raises(BadInput, match=words):
        mixed(laboratory, MIXED.replace(old, new))


def test_the_problems_of_all_roles_are_found_at_once(laboratory: Laboratory) -> None:
    spoiled = MIXED.replace("rest_V: 0.4", "rest_V: 40").replace("lag_us: 200", "lag_us: -1")
    with pytest.raises(BadInput) as refused:
        mixed(laboratory, spoiled.replace("height_nm: 0.3", "height_nm: -1"))
    assert [problem.thing.split(".")[-1] for problem in refused.value.problems] == ["height_nm", "rest_V", "lag_us"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("no_such_package:DRIVER", "cannot be loaded from no_such_package:DRIVER"),
        ("docs.examples.dummy_cell:MISSING", "cannot be loaded"),
        ("tests.instruments.test_registry:NO_DRIVERS", "neither an opsicm Driver nor a sequence of them"),
    ],
)
def test_a_broken_package_is_named(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, place: str, words: str
) -> None:
    offer(monkeypatch, dummy_cell=place)
    with pytest.raises(BadInput, match=words):
        mixed(laboratory)
    (failed,) = [one for one in Registry({}).registrations() if one.failure]
    assert failed.name == "dummy_cell"


def test_another_package_cannot_replace_the_twin(monkeypatch: pytest.MonkeyPatch, laboratory: Laboratory) -> None:
    offer(monkeypatch, twin="docs.examples.dummy_cell:DRIVER")
    assert not isinstance(mixed(laboratory, RIG).potentiostat, DummyCell)


def test_a_device_without_the_methods_of_its_role_is_refused(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, dummy_cell="tests.instruments.test_registry:WITHOUT_METHODS")
    with pytest.raises(BadInput, match="no Potentiostat: it lacks apply, read, identity, state, safe"):
        mixed(laboratory)


def test_the_list_of_drivers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rig", "list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any(row.split()[:2] == ["dummy_cell", "potentiostat"] for row in rows)
    assert sum(row.startswith("twin ") for row in rows) == len(ROLES)


def test_a_client_that_is_not_installed_is_listed_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, bench="tests.instruments.test_registry:BENCH")
    assert main(["rig", "list"]) == 0
    assert "acme-client (not installed)" in capsys.readouterr().out
    assert main(["rig", "list", "--json"]) == 0
    assert '"client": "acme-client"' in capsys.readouterr().out


# -- A rig of instruments alone: stand-ins for real ones, each with a safe channel.


class _Instrument:
    def __init__(self, device: Any, role: str) -> None:
        self._device, self.safe_address = device, f"/run/acme.sock#{role}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


class _Range(FileModel):
    """The same settings as the twin's have, any of them."""

    model_config = {"extra": "allow"}


_devices: dict[str, Any] = {}
_SPECIFICATIONS: dict[RoleName, RoleSpecification] = {
    "amplifier": AmplifierSpecification(1.5e-14, 5e3, 0.01, (-2.0, 2.0), 1e-8),
    "potentiostat": PotentiostatSpecification(0.4),
    "scanner": ScannerSpecification(1e-5, 4e-5, 2e-4, 3e-10),
    "coarse_stage": CoarseStageSpecification(5e-4),
    "hop_controller": HopControllerSpecification(HopTiming(4e-3, 4e-3, 4e-4, 3e-4, float("inf"), 10_000), 3e-6),
}


def _bench(role: RoleName) -> Driver:
    return Driver(
        "bench",
        role,
        "a bench",
        lambda *_: _Instrument(_devices[role], role),
        lambda _: _SPECIFICATIONS[role],
        _Range,
        client="acme-client",
    )


BENCH = tuple(_bench(role) for role in ROLES)
BENCH_RIG = RIG.replace("driver: twin", "driver: bench")[: RIG.replace("driver: twin", "driver: bench").index("world:")]


@pytest.fixture
def bench(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> LoadedExperiment:
    """An experiment on a rig of instruments; behind them the devices of a twin."""
    twin = mixed(laboratory, RIG)
    _devices.update({role: getattr(twin, role) for role in ROLES})
    offer(monkeypatch, bench="tests.instruments.test_registry:BENCH")
    return laboratory.experiment(SHORT, BENCH_RIG)


def test_a_rig_of_instruments_runs_on_the_wall_clock_with_their_safe_channels(bench: LoadedExperiment) -> None:
    loaded = load_rig(bench, None)
    rig = prepare(bench, loaded, 1, lambda _: None).rig
    assert isinstance(rig.clock, WallClock)
    order = ("hop_controller", "scanner", "coarse_stage", "potentiostat", "amplifier")
    assert rig.safe_addresses == tuple(f"/run/acme.sock#{role}" for role in order)
    assert data_source(loaded) == "instruments"
    assert REGISTRY.real_time(loaded)


def test_the_amplifiers_range_is_an_overload_for_any_rig(bench: LoadedExperiment) -> None:
    numbers = rig_numbers(bench, load_rig(bench, None))
    assert numbers.timing.overload == numbers.current_range == pytest.approx(0.99e-8)


def test_instruments_run_at_no_other_pace(bench: LoadedExperiment, laboratory: Laboratory) -> None:
    with pytest.raises(BadInput, match="--speed is 10; the rig has instruments, which run in real time"):
        execute(bench, laboratory.folder / "out", speed=10.0)


def test_settings_of_a_twin_are_refused_on_instruments(bench: LoadedExperiment, laboratory: Laboratory) -> None:
    assert rig_numbers(bench, load_rig(bench, None))
    told = laboratory.experiment(SHORT + "twin: {terms: {salt: false}}\n", BENCH_RIG)
    with pytest.raises(BadInput, match="twin; is for a digital twin"):
        rig_numbers(told, load_rig(told, None))


def test_the_wall_clock_waits_until_the_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5_000
    monkeypatch.setattr("time.monotonic_ns", lambda: now)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += round(seconds * 0.6e9) + 1  # woken early

    monkeypatch.setattr("time.sleep", sleep)
    wall = WallClock()
    wall.wait_until(1_000_000)
    assert 1_000_000 <= wall.now_ns() < 1_000_100
    before = now
    wall.wait_until(10)
    assert now == before
