"""Every device of the twin passes the contract of its role."""

from __future__ import annotations

import pytest

from opsicm.instruments.clock import Clock
from opsicm.instruments.roles import Amplifier, CoarseStage, HopController, Potentiostat, Rig, Scanner
from tests.fixtures.laboratory import Laboratory
from tests.fixtures.role_contracts import (
    AmplifierContract,
    CoarseStageContract,
    HopControllerContract,
    PotentiostatContract,
    ScannerContract,
)
from tests.twin.test_twin_rig import twin


class OfTheTwin:
    """The rig of which each suite takes its device and the clock."""

    @pytest.fixture
    def rig(self, laboratory: Laboratory) -> Rig:
        return twin(laboratory)

    @pytest.fixture
    def clock(self, rig: Rig) -> Clock:
        return rig.clock


class TestAmplifier(OfTheTwin, AmplifierContract):
    @pytest.fixture
    def device(self, rig: Rig) -> Amplifier:
        return rig.amplifier


class TestPotentiostat(OfTheTwin, PotentiostatContract):
    @pytest.fixture
    def device(self, rig: Rig) -> Potentiostat:
        return rig.potentiostat


class TestScanner(OfTheTwin, ScannerContract):
    @pytest.fixture
    def device(self, rig: Rig) -> Scanner:
        return rig.scanner


class TestCoarseStage(OfTheTwin, CoarseStageContract):
    @pytest.fixture
    def device(self, rig: Rig) -> CoarseStage:
        return rig.coarse_stage


class TestHopController(OfTheTwin, HopControllerContract):
    @pytest.fixture
    def device(self, rig: Rig) -> HopController:
        rig.clock.wait_until(rig.coarse_stage.move_to(rig.hop_controller.start_height))
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)
        return rig.hop_controller
