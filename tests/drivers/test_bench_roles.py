"""The instruments of the emulated bench, through their vendors' clients, pass the contracts of their roles together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from faults.emulated_run import EXPERIMENT, bench
from opsicm.cli.emulated_rig import emulated
from opsicm.cli.rigs import prepare
from opsicm.core.facts import Quality
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit
from opsicm.experiment.file import experiment_from_text
from opsicm.instruments.clock import Clock, pause, stopwatch
from opsicm.instruments.roles import Amplifier, HopController, Potentiostat, Rearmable, Rig
from tests.fixtures.role_contracts import AmplifierContract, HopControllerContract, PotentiostatContract

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    loaded, experiment = bench("emulated-smu"), experiment_from_text(EXPERIMENT)
    with ExitStack() as connections:
        connections.enter_context(emulated(loaded, experiment, 1.0, 1))
        drivers = connections.enter_context(ExitStack())
        yield prepare(experiment, loaded, 1, lambda _: None, connections=drivers).rig


@pytest.fixture
def ready(rig: Rig) -> Rig:
    """The bench once its first samples are there, which a busy machine is late with."""
    waited = stopwatch()
    while waited() < 20.0 and (rig.amplifier.state().quality or rig.hop_controller.state().quality):
        pause(0.05)
    return rig


class OfTheBench:
    """The clock of each suite's device."""

    @pytest.fixture
    def clock(self, ready: Rig) -> Clock:
        return ready.clock


class TestPatchClamp(OfTheBench, AmplifierContract):
    command_error = 5e-3

    @pytest.fixture
    def device(self, ready: Rig) -> Amplifier:
        return ready.amplifier


class TestSourceMeasureUnit(OfTheBench, PotentiostatContract):
    current = 1e-4
    current_error = 2e-5
    settling = 0.4
    beyond = ConstantCurrent(0.05)
    when_safe = Quality.STALE  # its relay has disconnected the cell

    @pytest.fixture
    def device(self, ready: Rig) -> Potentiostat:
        self.apply(ready.potentiostat, ready.clock, OpenCircuit())
        return ready.potentiostat


class TestHopBox(OfTheBench, HopControllerContract):
    beyond = 60e-6

    @pytest.fixture
    def device(self, ready: Rig) -> HopController:
        ready.hop_controller.safe()
        assert isinstance(ready.scanner, Rearmable)
        ready.scanner.rearm()
        ready.clock.wait_until(ready.coarse_stage.move_to(ready.hop_controller.start_height))
        ready.amplifier.command(0.7 - ready.potentiostat.read().potential)
        return ready.hop_controller


def test_the_piezo_is_drawn_up_before_the_stage_comes_down(ready: Rig) -> None:
    """Stage and piezo are two makers' and know nothing of each other: after a contact the piezo stands low."""
    assert isinstance(ready.scanner, Rearmable)
    ready.hop_controller.safe()
    ready.scanner.rearm()
    ready.clock.wait_until(ready.coarse_stage.move_to(ready.hop_controller.start_height))
    ready.amplifier.command(0.7 - ready.potentiostat.read().potential)
    contract = TestHopBox()
    contract.begin_segment()
    assert ready.hop_controller.run(contract.plan, lambda: False).hops["outcome"].tolist() == [0, 0]
    assert ready.scanner.read_z() < -0.5e-6
    ready.clock.wait_until(ready.coarse_stage.move_to(ready.coarse_stage.position() - 1e-6))
    assert ready.scanner.read_z() > -0.02e-6
