"""A Zaber stage through its maker's client, against the emulated one with the twin behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers.vertical_axis import travel_time
from opsicm.drivers.zaber import SharedZaberStage, ZaberStage, safe_channel
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.zaber_device import LIMIT_MAX, STEP, ZaberDevice
from opsicm.instruments.clock import pause, stopwatch
from opsicm.instruments.link import NOTICED
from opsicm.instruments.registry import RigSetup
from opsicm.instruments.roles import CoarseStage, SafeChannel
from tests.fixtures.emulated_role import WorldClock, connected, paced_world, rig_with

X_LSM025A = {"up": 1, "step_nm": 47.625, "travel_mm": 25.4}
SPEED = 20.0  # of the world: a stage that creeps over 50 µm would keep the tests waiting


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with paced_world(SPEED) as world:
        yield world


@pytest.fixture
def device(world: PacedWorld) -> Iterator[ZaberDevice]:
    world.ask(lambda rig: rig.coarse_stage.move_to(3e-6, 0.02))
    pause(0.02)
    device = ZaberDevice(world, "127.0.0.1:0")
    yield device
    device.close()


@contextmanager
def stage_at(device: ZaberDevice, world: PacedWorld, **settings: Any) -> Iterator[ZaberStage]:
    rig = rig_with("coarse_stage", "zaber", device.address, {**X_LSM025A, **settings})
    with connected(rig, "coarse_stage", WorldClock(world)) as stage:
        yield stage


@pytest.fixture
def stage(device: ZaberDevice, world: PacedWorld) -> Iterator[ZaberStage]:
    with stage_at(device, world) as stage:
        yield stage


def wait_for(world: PacedWorld, t_ns: int) -> None:
    while (left := t_ns - world.now_ns()) > 0:
        pause(left * 1e-9 / world.speed)


def true_height(world: PacedWorld) -> float:
    return world.ask(lambda rig: rig.coarse_stage.position())


def test_it_plays_its_role_and_says_who_it_is(stage: ZaberStage) -> None:
    assert isinstance(stage, CoarseStage)
    identity = stage.identity()
    assert (identity.model, identity.serial, identity.firmware) == ("Zaber device 50081", "12345", "7.38")
    assert identity.client.startswith("zaber-motion ")
    state = stage.state()
    assert state.quality is Quality.GOOD
    assert state.settings["engaged_at_mm"] == pytest.approx(LIMIT_MAX // 2 * STEP * 1e3)
    assert state.settings["height_um"] == pytest.approx(3.0)


def test_where_the_operator_has_engaged_it_is_at_the_start_height(stage: ZaberStage, world: PacedWorld) -> None:
    assert stage.position() == pytest.approx(3e-6, abs=STEP)
    assert true_height(world) == pytest.approx(3e-6, abs=STEP)


def test_it_goes_where_it_is_told_and_arrives_when_it_says(stage: ZaberStage, world: PacedWorld) -> None:
    begun = world.now_ns()
    arrival = stage.move_to(203e-6, 0.5e-3)
    expected = travel_time(200e-6, 0.5e-3, 0.0596, 0.0596)  # 205 · 10⁴/1.6384 · 47.625 nm, in m/s²
    assert (arrival - begun) * 1e-9 == pytest.approx(expected, abs=0.005 * SPEED)
    wait_for(world, begun + round(0.5 * expected * 1e9))
    assert 3e-6 < stage.position() < 203e-6
    wait_for(world, arrival + 20_000_000)
    assert stage.position() == pytest.approx(203e-6, abs=STEP)
    assert true_height(world) == pytest.approx(203e-6, abs=STEP)
    assert stage.state().quality is Quality.GOOD
