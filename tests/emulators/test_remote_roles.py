"""Every role of a world in another process passes the contract of that role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opsicm.cli.rigs import load_rig, prepare
from opsicm.experiment.file import read_experiment
from opsicm.experiment.rig_file import Role
from opsicm.instruments.clock import Clock
from opsicm.instruments.roles import Amplifier, CoarseStage, HopController, Potentiostat, Rig, Scanner
from tests.fixtures.role_contracts import (
    AmplifierContract,
    CoarseStageContract,
    HopControllerContract,
    PotentiostatContract,
    ScannerContract,
)

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def rig(world: Path) -> Iterator[Rig]:
    experiment = read_experiment(world / "experiment.yaml")
    stand_in = Role(driver="world_process", address=str(world))
    remote = prepare(experiment, load_rig(experiment, None), 1, lambda _: None, stand_in=stand_in).rig
    yield remote
    remote.hop_controller._connection.loss("test", "closed", "")  # type: ignore[attr-defined]


class OfTheOtherProcess:
    """The clock of each suite's device."""

    @pytest.fixture
    def clock(self, rig: Rig) -> Clock:
        return rig.clock


class TestAmplifier(OfTheOtherProcess, AmplifierContract):
    @pytest.fixture
    def device(self, rig: Rig) -> Amplifier:
        return rig.amplifier


class TestPotentiostat(OfTheOtherProcess, PotentiostatContract):
    @pytest.fixture
    def device(self, rig: Rig) -> Potentiostat:
        return rig.potentiostat


class TestScanner(OfTheOtherProcess, ScannerContract):
    @pytest.fixture
    def device(self, rig: Rig) -> Scanner:
        return rig.scanner


class TestCoarseStage(OfTheOtherProcess, CoarseStageContract):
    @pytest.fixture
    def device(self, rig: Rig) -> CoarseStage:
        return rig.coarse_stage


class TestHopController(OfTheOtherProcess, HopControllerContract):
    hops_after_stop = 3  # the world runs 80 ms in the 20 ms between two looks, and a hop lasts 75 ms

    @pytest.fixture
    def device(self, rig: Rig) -> HopController:
        rig.potentiostat.safe()
        rig.clock.wait_until(rig.coarse_stage.move_to(rig.hop_controller.start_height))
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
        return rig.hop_controller
