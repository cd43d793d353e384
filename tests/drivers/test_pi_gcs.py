"""PI controllers through PI's client, against the emulated one with the twin behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers.pi_gcs import PiScanner, safe_channel
from opsicm.drivers.safe_line import SafeLine
from opsicm.drivers.vertical_axis import MotorisedStage, travel_time
from opsicm.emulators.gcs_controller import GcsController, Motor, PiezoZ, scanner_axes
from opsicm.emulators.paced_world import PacedWorld
from opsicm.instruments.clock import pause, stopwatch
from opsicm.instruments.link import NOTICED
from opsicm.instruments.roles import CoarseStage, SafeChannel, Scanner
from tests.fixtures.emulated_role import (
    WorldClock,
    connected,
    paced_world,
    promised,
    revived,
    rig_with,
    true_height,
    wait_for,
)
from tests.fixtures.role_contracts import CoarseStageContract, ScannerContract

pytestmark = pytest.mark.real_time

PIEZO = {"up": 1, "z_range_um": 20, "xy_range_um": 80}
M_111 = {"up": 1, "travel_mm": 15}
SPEED = 4.0  # of the world: nobody waits for a stage that creeps
BUSY = 0.2  # [s] that a busy machine may add
NM = 1e-9
SHOWN = ["silent", "partial", "garbage", "busy", "reset", "nan"]


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with paced_world(SPEED) as world:
        yield world


@pytest.fixture
def piezo(world: PacedWorld) -> Iterator[GcsController]:
    lower(world)
    controller = GcsController("127.0.0.1:0", scanner_axes(world))
    yield controller
    controller.close()


@pytest.fixture
def motor(world: PacedWorld) -> Iterator[GcsController]:
    wait_for(world, world.ask(lambda rig: rig.coarse_stage.move_to(3e-6, 0.02)))
    controller = GcsController("127.0.0.1:0", {"1": Motor(world, 1)})
    yield controller
    controller.close()


def the_motor(controller: GcsController) -> Motor:
    axis = controller.axes["1"]
    assert isinstance(axis, Motor)
    return axis


def lower(world: PacedWorld) -> None:
    """Put the twin's pipette to the middle of its range, where a hop would have left it."""

    def to_the_middle(rig: Any) -> None:
        probe = rig.scanner._probe
        probe.z = probe.z_command = 0.0

    world.ask(to_the_middle)


@contextmanager
def scanner_at(controller: GcsController, world: PacedWorld, **settings: Any) -> Iterator[PiScanner]:
    rig = rig_with("scanner", "pi_gcs", controller.address, {**PIEZO, **settings})
    with connected(rig, "scanner", WorldClock(world)) as scanner:
        yield scanner


@contextmanager
def stage_at(controller: GcsController, world: PacedWorld, **settings: Any) -> Iterator[MotorisedStage]:
    rig = rig_with("coarse_stage", "pi_gcs", controller.address, {**M_111, **settings})
    with connected(rig, "coarse_stage", WorldClock(world)) as stage:
        yield stage


@pytest.fixture
def scanner(piezo: GcsController, world: PacedWorld) -> Iterator[PiScanner]:
    with scanner_at(piezo, world) as scanner:
        yield scanner


@pytest.fixture
def stage(motor: GcsController, world: PacedWorld) -> Iterator[MotorisedStage]:
    with stage_at(motor, world) as stage:
        yield stage


@contextmanager
def opened(device: Any) -> Iterator[SafeLine]:
    """The safe channel that a device's address names, opened as a watchdog would."""
    assert isinstance(device, SafeChannel)
    name, _, rest = device.safe_address.partition(" ")
    assert name == "driver:opsicm.drivers.pi_gcs:safe_channel"
    with closing(safe_channel(json.loads(rest.rsplit("#", 1)[0]))) as line:
        yield line


class TestPiScanner(ScannerContract):
    """The contract of a scanner."""

    @pytest.fixture
    def device(self, scanner: PiScanner) -> PiScanner:
        return scanner

    @pytest.fixture
    def clock(self, world: PacedWorld) -> WorldClock:
        return WorldClock(world)


class TestPiStage(CoarseStageContract):
    """The contract of a coarse stage."""

    beyond = 8e-3

    @pytest.fixture
    def device(self, stage: MotorisedStage) -> MotorisedStage:
        return stage

    @pytest.fixture
    def clock(self, world: PacedWorld) -> WorldClock:
        return WorldClock(world)


# -- scanner --------------------------------------------------------------------------------------------------------


def test_a_scanner_plays_its_role_and_says_who_it_is(scanner: PiScanner, world: PacedWorld) -> None:
    assert isinstance(scanner, Scanner)
    identity = scanner.identity()
    assert (identity.model, identity.serial, identity.firmware) == ("PI E-727.3CDA", "116000000", "13.21.00.09")
    assert identity.client.startswith("pipython ")
    assert scanner.z_range == pytest.approx((-10e-6, 10e-6))
    assert scanner.xy_range == pytest.approx((-40e-6, 40e-6))
    assert scanner.read_z() == pytest.approx(world.ask(lambda rig: rig.scanner.read_z()), abs=NM)
    state = scanner.state()
    assert state.quality is Quality.GOOD
    assert state.settings["servo"] == 1.0
    assert state.settings["z_um"] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("up", [1, -1])
def test_safe_withdraws_to_the_end_that_is_up(world: PacedWorld, up: int) -> None:
    lower(world)
    controller = GcsController("127.0.0.1:0", scanner_axes(world, up))
    with scanner_at(controller, world, up=up) as scanner:
        assert scanner.read_z() == pytest.approx(0.0, abs=NM)
        scanner.safe()
        scanner.safe()
        assert scanner.read_z() == pytest.approx(10e-6, abs=NM)
        assert world.ask(lambda rig: rig.scanner.read_z()) == pytest.approx(10e-6, abs=NM)
    assert f"MOV 3 {20 if up == 1 else 0}" in controller.log
    controller.close()


@pytest.mark.parametrize("stop_disconnects", [True, False])
def test_safe_takes_a_driven_axis_off_its_analogue_input_and_never_gives_it_back(
    world: PacedWorld, stop_disconnects: bool
) -> None:
    lower(world)
    controller = GcsController("127.0.0.1:0", scanner_axes(world, analogue=True))
    controller.stop_disconnects = stop_disconnects
    with scanner_at(controller, world, analogue=True) as scanner:
        assert scanner.state().settings["analogue_input"] == 4.0
        assert not any(line.startswith(("MOV", "SPA ", "STP")) for line in controller.log), "it reads only"
        scanner.safe()
        assert world.ask(lambda rig: rig.scanner.read_z()) == pytest.approx(10e-6, abs=NM)
        assert controller.axes["3"].analogue == 0
        state = scanner.state()
        assert state.quality is Quality.SUSPECT
        assert "off its analogue input" in state.message
    refused = pytest.raises(BadInput, match=r"on no analogue input.*PIMikroMove with the pipette far up")
    with refused, scanner_at(controller, world, analogue=True):
        pass
    assert controller.axes["3"].analogue == 0
    with scanner_at(controller, world, analogue=True, analogue_input=4) as scanner:  # a new run, on purpose
        assert controller.axes["3"].analogue == 4
        assert scanner.state().quality is Quality.GOOD
    controller.close()


def test_it_is_rearmed_on_purpose_within_a_run(world: PacedWorld) -> None:
    lower(world)
    axes = scanner_axes(world, analogue=True)
    z = axes["3"]
    assert isinstance(z, PiezoZ)
    controller = GcsController("127.0.0.1:0", axes)
    with scanner_at(controller, world, analogue=True, analogue_input=4) as scanner:
        scanner.rearm()
        scanner.safe()
        z.output = 10.0
        with pytest.raises(LimitCrossed, match="would lower the pipette by 10 µm"):
            scanner.rearm()
        assert z.analogue == 0
        z.output = 20.0
        scanner.rearm()
        assert z.analogue == 4
        assert scanner.state().quality is Quality.GOOD
    controller.close()


def test_an_axis_is_not_given_back_to_an_output_that_would_lower_it(world: PacedWorld) -> None:
    world.ask(lambda rig: rig.scanner.safe())
    axes = scanner_axes(world)
    z = axes["3"]
    assert isinstance(z, PiezoZ)
    z.output = 10.0
    controller = GcsController("127.0.0.1:0", axes)
    refused = pytest.raises(BadInput, match="would lower the pipette by 10 µm; set the output of the hop controller")
    with refused, scanner_at(controller, world, analogue=True, analogue_input=4):
        pass
    assert z.analogue == 0
    z.output = 20.0
    with scanner_at(controller, world, analogue=True, analogue_input=4):
        assert z.analogue == 4
    with (
        pytest.raises(BadInput, match="z axis is on analogue input 4"),
        scanner_at(controller, world, analogue=True, analogue_input=7),
    ):
        pass
    controller.close()


def test_on_an_analogue_input_that_the_file_does_not_know_it_withdraws_all_the_same(world: PacedWorld) -> None:
    lower(world)
    controller = GcsController("127.0.0.1:0", scanner_axes(world, analogue=True))
    with scanner_at(controller, world) as scanner:
        scanner.safe()
        assert scanner.read_z() == pytest.approx(10e-6, abs=NM)
    controller.close()


def test_with_its_servo_off_it_is_refused_at_first_and_suspect_later(piezo: GcsController, world: PacedWorld) -> None:
    with scanner_at(piezo, world) as scanner:
        piezo.axes["3"].servo = False
        assert "its servo is off" in scanner.state().message
        scanner.safe()  # switches it on
        assert scanner.read_z() == pytest.approx(10e-6, abs=NM)
    piezo.axes["3"].servo = False
    with pytest.raises(BadInput, match="z_axis is '3'; its servo is off"), scanner_at(piezo, world):
        pass


def test_an_overflow_is_suspect(scanner: PiScanner, piezo: GcsController) -> None:
    piezo.faults.set("overload")
    state = scanner.state()
    assert (state.quality, state.message) == (Quality.SUSPECT, "its amplifier is at the end of its range (overflow)")
    assert scanner.state().quality is Quality.GOOD


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"up": None}, "up; is missing: which sign of the axis' own position"),
        ({"z_range_um": None}, "z_range_um; is missing"),
        ({"z_range_um": 100}, "z_range_um is 100; axis 3 of the controller goes from 0 to 20 µm"),
        ({"z_axis": "1"}, "z_range_um is 20; axis 1 of the controller goes from 0 to 80 µm"),
        ({"xy_range_um": 20}, "xy_range_um is 20; axis 1"),
    ],
)
def test_a_scanner_other_than_the_file_says_is_refused(
    piezo: GcsController, world: PacedWorld, settings: dict[str, Any], message: str
) -> None:
    given = {key: value for key, value in {**PIEZO, **settings}.items() if value is not None}
    rig = rig_with("scanner", "pi_gcs", piezo.address, given)
    with pytest.raises(BadInput, match=message), connected(rig, "scanner", WorldClock(world)):
        pass


@pytest.mark.parametrize("kind", SHOWN)
def test_a_fault_of_a_scanner_that_is_over_is_not_noticed(scanner: PiScanner, piezo: GcsController, kind: str) -> None:
    piezo.faults.set(kind)
    assert scanner.read_z() == pytest.approx(0.0, abs=NM)
    assert piezo.faults.takes(kind) is None, "it was shown"
    piezo.faults.set(kind)
    scanner.safe()
    assert scanner.read_z() == pytest.approx(10e-6, abs=NM)


@pytest.mark.parametrize("kind", ["silent", "partial", "busy", "nan"])
def test_a_scanner_that_is_lost_is_noticed_in_time_and_revived(
    scanner: PiScanner, piezo: GcsController, kind: str
) -> None:
    piezo.faults.set(kind, times=-1)
    waited = stopwatch()
    with pytest.raises(InstrumentLost) as error:
        scanner.read_z()
    assert waited() < NOTICED + BUSY
    assert error.value.role == "scanner"
    waited = stopwatch()
    with pytest.raises(InstrumentLost):
        scanner.safe()
    assert waited() < 0.01
    assert scanner.state().quality is Quality.MISSING
    piezo.faults.clear()
    state = revived(scanner)
    assert state.quality is Quality.GOOD, state.message
    assert scanner.read_z() == pytest.approx(0.0, abs=NM)


def test_a_late_answer_within_the_time_out_is_taken(scanner: PiScanner, piezo: GcsController) -> None:
    piezo.faults.set("late", 0.06)
    waited = stopwatch()
    assert scanner.read_z() == pytest.approx(0.0, abs=NM)
    assert 0.06 <= waited() < 0.12


def test_a_watchdog_withdraws_it_by_a_line_of_its_own(
    scanner: PiScanner, piezo: GcsController, world: PacedWorld
) -> None:
    with opened(scanner) as withdraw:
        piezo.faults.set("silent")  # the first connection waits meanwhile
        assert scanner.read_z() == pytest.approx(0.0, abs=NM)
        waited = stopwatch()
        assert withdraw()
        assert waited() < 0.1
    assert world.ask(lambda rig: rig.scanner.read_z()) == pytest.approx(10e-6, abs=NM)
    assert scanner.read_z() == pytest.approx(10e-6, abs=NM), "and the first goes on"


def test_a_withdrawal_that_nobody_sees_is_not_confirmed(scanner: PiScanner, piezo: GcsController) -> None:
    with opened(scanner) as withdraw:
        piezo.faults.set("stuck", times=-1)
        scanner.read_z()
        assert not withdraw()
        piezo.close()
        assert not withdraw()


def test_a_controller_for_one_client_offers_no_safe_channel(piezo: GcsController, world: PacedWorld) -> None:
    with scanner_at(piezo, world, shared_line=False) as scanner:
        assert not isinstance(scanner, SafeChannel)


def test_what_somebody_else_has_stopped_is_not_taken_for_our_error(scanner: PiScanner, piezo: GcsController) -> None:
    piezo.error = 10
    assert scanner.read_z() == pytest.approx(0.0, abs=NM)
    assert piezo.error == 0


# -- coarse stage ---------------------------------------------------------------------------------------------------


def test_a_stage_goes_where_it_is_told_and_arrives_when_it_says(
    stage: MotorisedStage, motor: GcsController, world: PacedWorld
) -> None:
    assert isinstance(stage, CoarseStage)
    assert stage.position() == pytest.approx(3e-6, abs=NM)
    arrival = promised(stage, world, 203e-6, 0.5e-3, lambda: the_motor(motor).arrival_ns)
    expected = travel_time(200e-6, 0.5e-3, 4e-3, 4e-3)
    assert expected == pytest.approx(0.4 + 0.5 / 4), "the way at its speed, and one ramp"
    assert (arrival - world.now_ns()) * 1e-9 == pytest.approx(expected, abs=0.02 * SPEED)
    pause(0.4 * expected / SPEED)
    assert 3e-6 < stage.position() < 203e-6
    wait_for(world, arrival)
    assert stage.position() == pytest.approx(203e-6, abs=NM)
    assert true_height(world) == pytest.approx(203e-6, abs=NM)
    state = stage.state()
    assert state.quality is Quality.GOOD
    assert state.settings["engaged_at_mm"] == pytest.approx(7.5)
    assert state.settings["referenced"] == 1.0


def test_a_stage_that_is_told_again_arrives_once(
    stage: MotorisedStage, motor: GcsController, world: PacedWorld
) -> None:
    promised(stage, world, 23e-6, 0.1e-3, lambda: the_motor(motor).arrival_ns)
    wait_for(world, promised(stage, world, 23e-6, 0.1e-3, lambda: the_motor(motor).arrival_ns))
    assert true_height(world) == pytest.approx(23e-6, abs=NM)
    assert stage.move_to(23e-6) <= world.now_ns() + 1e6


def test_beyond_its_limits_it_is_refused_and_nothing_moves(stage: MotorisedStage, world: PacedWorld) -> None:
    with pytest.raises(OutsideDomain, match="its position is 15497 µm; the stage's own limits are 0 … 15000 µm"):
        stage.move_to(8e-3)
    with pytest.raises(OutsideDomain, match="height is -600 µm; lowest_um"):
        stage.move_to(-600e-6)
    with pytest.raises(LimitCrossed, match=r"Velocity out of limits.*its error 8"):
        stage.move_to(23e-6, 5e-3)
    assert true_height(world) == pytest.approx(3e-6, abs=NM)


def test_a_stage_without_reference_or_servo_must_not_move(
    stage: MotorisedStage, motor: GcsController, world: PacedWorld
) -> None:
    motor.axes["1"].referenced = False
    with pytest.raises(LimitCrossed, match=r"it is not referenced; .*reference it with the pipette off"):
        stage.move_to(23e-6)
    assert stage.state().message == "it is not referenced"
    motor.axes["1"].referenced, motor.axes["1"].servo = True, False
    with pytest.raises(LimitCrossed, match="its servo is off"):
        stage.move_to(23e-6)
    assert true_height(world) == pytest.approx(3e-6, abs=NM)


def test_safe_halts_a_stage_that_goes_down_and_no_other_axis(
    stage: MotorisedStage, motor: GcsController, world: PacedWorld
) -> None:
    wait_for(world, stage.move_to(203e-6, 0.5e-3))
    down = stage.move_to(3e-6, 0.5e-3)
    stage.safe()
    stage.safe()
    wait_for(world, down)
    assert 100e-6 < true_height(world) < 203e-6
    assert "HLT 1" in motor.log
    assert "STP" not in motor.log


def test_a_watchdog_halts_the_stage(stage: MotorisedStage, motor: GcsController, world: PacedWorld) -> None:
    with opened(stage) as halt:
        stage.move_to(203e-6, 0.5e-3)
        assert halt()
        height = true_height(world)
        pause(0.03)
        assert true_height(world) == height < 203e-6
        motor.close()
        assert not halt()


def test_the_unit_of_another_stage_is_refused(motor: GcsController, world: PacedWorld) -> None:
    refused = pytest.raises(BadInput, match="travel_mm is 102; the stage's own limits are 15 mm apart")
    with refused, stage_at(motor, world, travel_mm=102):
        pass


@pytest.mark.parametrize("kind", ["silent", "reset"])
def test_a_stage_that_is_lost_is_noticed_in_time_and_revived(
    stage: MotorisedStage, motor: GcsController, kind: str
) -> None:
    motor.faults.set(kind, times=-1)
    waited = stopwatch()
    with pytest.raises(InstrumentLost):
        stage.move_to(4e-6)
    assert waited() < NOTICED + BUSY
    motor.faults.clear()
    assert revived(stage).quality is Quality.GOOD
    assert stage.move_to(4e-6) > 0
