"""A Zaber stage through its maker's client, against the emulated one with the twin behind."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import tty
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers.vertical_axis import MotorisedStage, StageOnSharedLine, travel_time
from opsicm.drivers.zaber import safe_channel
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.zaber_device import LIMIT_MAX, STEP, ZaberDevice
from opsicm.instruments.clock import pause, stopwatch
from opsicm.instruments.link import NOTICED
from opsicm.instruments.roles import CoarseStage, SafeChannel
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
from tests.fixtures.role_contracts import CoarseStageContract

pytestmark = pytest.mark.real_time

X_LSM025A = {"up": 1, "step_nm": 47.625, "travel_mm": 25.4}
SPEED = 4.0  # of the world: a stage that creeps over 50 µm would keep the tests waiting
BUSY = 0.2  # [s] that a busy machine may add


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with paced_world(SPEED) as world:
        yield world


@pytest.fixture
def device(world: PacedWorld) -> Iterator[ZaberDevice]:
    arrival = world.ask(lambda rig: rig.coarse_stage.move_to(3e-6, 0.02))
    wait_for(world, arrival)
    device = ZaberDevice(world, "127.0.0.1:0")
    yield device
    device.close()


@contextmanager
def stage_at(device: ZaberDevice, world: PacedWorld, **settings: Any) -> Iterator[MotorisedStage]:
    rig = rig_with("coarse_stage", "zaber", device.address, {**X_LSM025A, **settings})
    with connected(rig, "coarse_stage", WorldClock(world)) as stage:
        yield stage


@pytest.fixture
def stage(device: ZaberDevice, world: PacedWorld) -> Iterator[MotorisedStage]:
    with stage_at(device, world) as stage:
        yield stage


class TestZaberStage(CoarseStageContract):
    """The contract of a coarse stage."""

    beyond = 13e-3

    @pytest.fixture
    def device(self, stage: MotorisedStage) -> MotorisedStage:
        return stage

    @pytest.fixture
    def clock(self, world: PacedWorld) -> WorldClock:
        return WorldClock(world)


def test_it_plays_its_role_and_says_who_it_is(stage: MotorisedStage) -> None:
    assert isinstance(stage, CoarseStage)
    identity = stage.identity()
    assert (identity.model, identity.serial, identity.firmware) == ("Zaber device 50081", "12345", "7.38")
    assert identity.client.startswith("zaber-motion ")
    state = stage.state()
    assert state.quality is Quality.GOOD
    assert state.settings["engaged_at_mm"] == pytest.approx(LIMIT_MAX // 2 * STEP * 1e3)
    assert state.settings["height_um"] == pytest.approx(3.0)


def test_where_the_operator_has_engaged_it_is_at_the_start_height(stage: MotorisedStage, world: PacedWorld) -> None:
    assert stage.position() == pytest.approx(3e-6, abs=STEP)
    assert true_height(world) == pytest.approx(3e-6, abs=STEP)


def test_it_goes_where_it_is_told_and_arrives_when_it_says(
    stage: MotorisedStage, device: ZaberDevice, world: PacedWorld
) -> None:
    arrival = promised(stage, world, 203e-6, 0.5e-3, lambda: device.arrival_ns)
    expected = travel_time(200e-6, 0.5e-3, 0.0596, 0.0596)  # 205 · 10⁴/1.6384 · 47.625 nm, in m/s²
    assert (arrival - world.now_ns()) * 1e-9 == pytest.approx(expected, abs=0.02 * SPEED)
    pause(0.4 * expected / SPEED)
    assert 3e-6 < stage.position() < 203e-6
    wait_for(world, arrival)
    assert stage.position() == pytest.approx(203e-6, abs=STEP)
    assert true_height(world) == pytest.approx(203e-6, abs=STEP)
    assert stage.state().quality is Quality.GOOD


def test_a_motion_sent_again_is_the_same_motion(stage: MotorisedStage, device: ZaberDevice, world: PacedWorld) -> None:
    promised(stage, world, 203e-6, 0.5e-3, lambda: device.arrival_ns)
    wait_for(world, promised(stage, world, 203e-6, 0.5e-3, lambda: device.arrival_ns))
    assert stage.position() == pytest.approx(203e-6, abs=STEP)
    assert stage.move_to(203e-6) <= world.now_ns()
    assert stage.position() == pytest.approx(203e-6, abs=STEP)


def test_mounted_the_other_way_round_up_is_still_up(device: ZaberDevice, world: PacedWorld) -> None:
    device.close()
    mounted = ZaberDevice(world, "127.0.0.1:0", up=-1)
    with stage_at(mounted, world, up=-1) as stage:
        wait_for(world, stage.move_to(23e-6, 2e-3))
        assert true_height(world) == pytest.approx(23e-6, abs=2 * STEP)
        assert stage.position() == pytest.approx(23e-6, abs=2 * STEP)
    mounted.close()


def test_a_frame_in_the_rig_file_outlives_the_connection(device: ZaberDevice, world: PacedWorld) -> None:
    with stage_at(device, world) as stage:
        engaged_at = stage.state().settings["engaged_at_mm"]
        wait_for(world, stage.move_to(53e-6, 2e-3))
    pause(0.02)
    with stage_at(device, world, engaged_at_mm=engaged_at, start_height_um=3) as resumed:
        assert resumed.position() == pytest.approx(53e-6, abs=2 * STEP)
    pause(0.02)
    with stage_at(device, world) as anew:  # without it, where it stands now is where the operator has engaged
        assert anew.position() == pytest.approx(3e-6, abs=2 * STEP)


def test_the_operator_has_left_the_tip_at_the_start_height_wherever_the_piezo_stands(device: ZaberDevice) -> None:
    """A run ends with the piezo at its top: a tip engaged then is 3 µm up, and the scanner's zero 7 µm below it."""
    with stage_at(device, device._world) as stage:
        stage.engaged_with(10e-6)
        assert stage.position() == pytest.approx(-7e-6, abs=1e-7)
        assert stage.state().settings["start_height_um"] == pytest.approx(-7.0)
        engaged = stage.state().settings["engaged_at_mm"]
    with stage_at(device, device._world, engaged_at_mm=engaged, start_height_um=3) as resumed:
        resumed.engaged_with(10e-6)  # the rig file's own frame is that of the zero
        assert resumed.position() == pytest.approx(3e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("height", "limit"),
    [(-600e-6, "lowest_um and highest_um"), (1.5e-3, "lowest_um and highest_um"), (float("nan"), "lowest_um")],
)
def test_a_height_beyond_the_bounds_is_refused_and_nothing_moves(
    device: ZaberDevice, world: PacedWorld, height: float, limit: str
) -> None:
    with stage_at(device, world, highest_um=1000) as stage:
        with pytest.raises(OutsideDomain, match=limit):
            stage.move_to(height)
        assert true_height(world) == pytest.approx(3e-6, abs=STEP)


def test_a_height_beyond_the_travel_is_refused_and_nothing_moves(stage: MotorisedStage, world: PacedWorld) -> None:
    with pytest.raises(OutsideDomain, match=r"its position is 25702\.97 µm; the stage.s own limits are 0"):
        stage.move_to(13.006e-3)
    with pytest.raises(OutsideDomain, match="speed is 0 mm/s"):
        stage.move_to(5e-6, 0.0)
    assert true_height(world) == pytest.approx(3e-6, abs=STEP)


@pytest.mark.parametrize(("flag", "why"), [("WR", "no reference position"), ("FS", "stalled")])
def test_a_stage_that_has_lost_its_place_must_not_move(
    stage: MotorisedStage, device: ZaberDevice, world: PacedWorld, flag: str, why: str
) -> None:
    device.flags.add(flag)
    with pytest.raises(LimitCrossed, match=f"{flag}; it must not move: .*{why}.*Zaber Launcher"):
        stage.move_to(23e-6)
    state = stage.state()
    assert state.quality is Quality.SUSPECT
    assert why in state.message
    assert state.settings["flags"] == flag
    assert true_height(world) == pytest.approx(3e-6, abs=STEP)


def test_a_stall_on_the_way_shows_in_its_state(stage: MotorisedStage, device: ZaberDevice, world: PacedWorld) -> None:
    for _ in range(5):
        arrival = stage.move_to(203e-6, 0.5e-3)
        device.stall()
        device.flags.clear()  # and somebody has cleared the flag: the place tells it still
        if true_height(world) < 200e-6:
            break
        wait_for(world, stage.move_to(3e-6, 0.5e-3))  # it had arrived before: the machine was busy
    wait_for(world, arrival)
    state = stage.state()
    assert state.quality is Quality.SUSPECT
    assert "should have arrived at 203 µm" in state.message


def test_safe_stops_it_on_its_way_down_but_not_on_its_way_up(stage: MotorisedStage, world: PacedWorld) -> None:
    up = stage.move_to(203e-6, 0.5e-3)
    stage.safe()
    wait_for(world, up)
    assert true_height(world) == pytest.approx(203e-6, abs=STEP)
    down = stage.move_to(3e-6, 0.5e-3)
    stage.safe()
    stage.safe()
    wait_for(world, down)
    assert 100e-6 < true_height(world) < 203e-6


# -- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["silent", "partial", "garbage", "busy", "reset", "nan"])
def test_a_fault_that_is_over_is_not_noticed(stage: MotorisedStage, device: ZaberDevice, kind: str) -> None:
    device.faults.set(kind)
    assert stage.position() == pytest.approx(3e-6, abs=STEP)
    device.faults.set(kind)
    assert stage.move_to(4e-6) > 0
    assert device.faults._set == {}, "the fault was shown"


@pytest.mark.parametrize("kind", ["silent", "garbage", "busy", "nan"])
def test_a_fault_that_stays_is_noticed_in_time_and_revived_when_it_is_over(
    stage: MotorisedStage, device: ZaberDevice, kind: str
) -> None:
    device.faults.set(kind, times=-1)
    waited = stopwatch()
    with pytest.raises(InstrumentLost) as error:
        stage.position()
    assert waited() < NOTICED + BUSY
    assert error.value.role == "coarse_stage"
    waited = stopwatch()
    with pytest.raises(InstrumentLost):
        stage.move_to(4e-6)
    assert waited() < 0.01
    assert stage.state().quality is Quality.MISSING
    device.faults.clear()
    state = revived(stage)
    assert state.quality is Quality.GOOD, state.message
    assert stage.position() == pytest.approx(3e-6, abs=STEP)


def test_a_late_answer_within_the_time_out_is_taken(stage: MotorisedStage, device: ZaberDevice) -> None:
    device.faults.set("late", 0.06)
    waited = stopwatch()
    assert stage.position() == pytest.approx(3e-6, abs=STEP)
    assert 0.06 <= waited() < 0.12


def test_a_stuck_position_shows_once_it_should_have_arrived(
    stage: MotorisedStage, device: ZaberDevice, world: PacedWorld
) -> None:
    device.faults.set("stuck", times=-1)
    arrival = stage.move_to(53e-6, 2e-3)
    wait_for(world, arrival)
    assert "stands at 3 µm" in stage.state().message


def test_switched_off_it_is_lost_and_back_when_it_is_on_again(world: PacedWorld, device: ZaberDevice) -> None:
    with stage_at(device, world) as stage:
        device.close()
        waited = stopwatch()
        with pytest.raises(InstrumentLost, match="lost; it does not answer"):
            stage.position()
        assert waited() < NOTICED + BUSY
        again = ZaberDevice(world, device.address)
        assert revived(stage).quality is Quality.GOOD
        again.close()


# -- the file and the line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"up": None}, "up; is missing: which sign of the axis' own position lifts the pipette"),
        ({"step_nm": None}, "step_nm; is missing: the size of a microstep"),
        ({"lowest_um": 10, "highest_um": 5}, "lowest_um is 10; must be below highest_um, 5"),
        ({"step_nm": 476.25}, "travel_mm is 25.4; the stage's own limits are 254 mm apart"),
        ({"travel_mm": None}, "travel_mm; is missing"),
    ],
)
def test_a_setting_that_would_drive_it_wrongly_is_refused(
    device: ZaberDevice, world: PacedWorld, settings: dict[str, Any], message: str
) -> None:
    given = {key: value for key, value in {**X_LSM025A, **settings}.items() if value is not None}
    rig = rig_with("coarse_stage", "zaber", device.address, given)
    with pytest.raises(BadInput, match=message), connected(rig, "coarse_stage", WorldClock(world)):
        pass


@pytest.mark.parametrize(
    ("address", "message"), [("127.0.0.1:0", "must be HOST:PORT"), ("127.0.0.1:1", "nobody answers there")]
)
def test_an_address_that_is_none_is_refused(world: PacedWorld, address: str, message: str) -> None:
    rig = rig_with("coarse_stage", "zaber", address, X_LSM025A)
    with pytest.raises(BadInput, match=message), connected(rig, "coarse_stage", WorldClock(world)):
        pass


def test_a_line_that_takes_one_client_offers_no_safe_channel(stage: MotorisedStage, device: ZaberDevice) -> None:
    assert not isinstance(stage, SafeChannel)
    host, _, port = device.address.partition(":")
    with pytest.raises(BadInput, match="nobody answers there"):
        safe_channel({"where": [host, int(port)], "device": 1, "axis": 1})
    assert stage.position() == pytest.approx(3e-6, abs=STEP)


def test_on_a_line_for_several_another_process_can_stop_it(device: ZaberDevice, world: PacedWorld) -> None:
    device.close()
    shared = ZaberDevice(world, "127.0.0.1:0", clients=4)
    with stage_at(shared, world, shared_line=True) as stage:
        assert isinstance(stage, StageOnSharedLine)
        name, _, rest = stage.safe_address.partition(" ")
        settings, role = rest.rsplit("#", 1)
        assert (name, role) == ("driver:opsicm.drivers.zaber:safe_channel", "coarse_stage")
        with closing(safe_channel(json.loads(settings))) as stop:
            stage.move_to(203e-6, 0.5e-3)
            assert stop()
            height = true_height(world)
            pause(0.03)
            assert true_height(world) == height < 203e-6
            shared.close()
            assert not stop()


def test_a_serial_port_is_the_same_line(device: ZaberDevice, world: PacedWorld) -> None:
    host, _, port = device.address.partition(":")
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    ended = threading.Event()

    def bridge(line: socket.socket) -> None:
        while not ended.is_set():
            watched: list[Any] = [near, line]
            ready, _, _ = select.select(watched, [], [], 0.01)
            if near in ready:
                line.sendall(os.read(near, 256))
            if line in ready:
                os.write(near, line.recv(256))

    with socket.create_connection((host, int(port))) as line:
        thread = threading.Thread(target=bridge, args=(line,))
        thread.start()
        try:
            rig = rig_with("coarse_stage", "zaber", os.ttyname(far), X_LSM025A)
            with connected(rig, "coarse_stage", WorldClock(world)) as stage:
                wait_for(world, stage.move_to(23e-6))
                assert stage.position() == pytest.approx(23e-6, abs=STEP)
        finally:
            ended.set()
            thread.join()
    os.close(near)
    os.close(far)
