"""The coarse stage travels: speed, steps, backlash, and what the pipette's current makes of a moving height."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.errors import OutsideDomain
from opsicm.experiment.controls import ConstantCurrent
from opsicm.instruments.roles import Rig
from opsicm.twin.coarse_motion import NEVER, CoarseMotion
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.world import World
from tests.fixtures.laboratory import RIG, TEXT, Laboratory


def twin(laboratory: Laboratory, rig: str = RIG) -> tuple[Rig, World]:
    experiment = laboratory.experiment(TEXT, rig)
    made = prepare(experiment, load_rig(experiment, None), 1, lambda _: None).rig
    assert isinstance(made.hop_controller, TwinHopController)
    return made, made.hop_controller.world


heights = st.integers(0, 3000).map(lambda um: um * 1e-6)


@given(way=st.lists(heights, min_size=1, max_size=6), backlash=st.floats(0.0, 5e-5), early=st.floats(0.2, 1.0))
def test_the_carriage_stays_in_the_play_and_is_where_the_motor_is_after_a_way_down(
    way: list[float], backlash: float, early: float
) -> None:
    travel, now = CoarseMotion(1e-3, 5e-4, backlash), 0
    for target in way:
        before, carriage = travel.motor(now), travel.carriage(now)
        arrival = travel.begin(target, None, now)
        assert arrival - now == pytest.approx(abs(target - before) / 5e-4 * 1e9, abs=1.0)
        assert travel.carriage(now) == carriage
        now += round(early * (arrival - now))
        motor, true = travel.motor(now), travel.carriage(now)
        assert motor - backlash - 1e-15 <= true <= motor + 1e-15
        if motor <= before - backlash:
            assert true == pytest.approx(motor, abs=1e-15)
        if motor >= before + backlash:
            assert true == pytest.approx(motor - backlash, abs=1e-15)


def test_the_motion_goes_straight_between_its_bends() -> None:
    travel = CoarseMotion(1e-3, 5e-4, backlash=10e-6)
    arrival = travel.begin(1.1e-3, None, 0)
    slack = travel.next_breakpoint(0)
    assert slack == 20_000_000  # 10 µm at 0.5 mm/s
    assert travel.next_breakpoint(slack) == arrival == 200_000_000
    assert travel.next_breakpoint(arrival) == NEVER
    assert travel.carriage(slack) == 1e-3
    middle = travel.carriage((slack + arrival) // 2)
    assert middle == pytest.approx(0.5 * (travel.carriage(slack) + travel.carriage(arrival)), rel=1e-12)


def test_a_motor_with_steps_stops_at_one() -> None:
    travel = CoarseMotion(0.0, 5e-4, step=0.625e-6)
    assert travel.motor(travel.begin(10e-6, None, 0)) == pytest.approx(10e-6)
    assert travel.motor(travel.begin(9.9e-6, None, 10**9) + 1) == pytest.approx(10e-6)


def test_position_follows_the_motion_and_the_command_says_when_it_ends(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory)
    arrival = rig.coarse_stage.move_to(1.003e-3)
    assert arrival == pytest.approx(2_000_000_000, abs=1)
    seen = []
    for t in range(0, 2_500_000_000, 500_000_000):
        rig.clock.wait_until(t)
        seen.append(rig.coarse_stage.position())
    assert seen == pytest.approx([3e-6, 253e-6, 503e-6, 753e-6, 1003e-6])
    assert rig.coarse_stage.move_to(0.003e-3, speed=1e-3) - rig.clock.now_ns() == pytest.approx(10**9, abs=1)


@pytest.mark.parametrize("speed", [0.0, -1e-3, float("nan")])
def test_a_speed_that_is_none_is_refused(laboratory: Laboratory, speed: float) -> None:
    rig, _ = twin(laboratory)
    with pytest.raises(OutsideDomain, match="coarse speed"):
        rig.coarse_stage.move_to(1e-3, speed)


def test_the_current_of_a_tower_is_that_of_each_height(laboratory: Laboratory) -> None:
    # Under a constant current the profile hardly moves in a second: what a moving pipette reads must be what the
    # closed form dI = -i (z_ref - z)/R_geo says at the height it has at that instant, at both ends and in between.
    rig, world = twin(laboratory)
    rig.coarse_stage.move_to(100e-6)
    rig.potentiostat.apply(ConstantCurrent(-4e-4), 400_000_000)
    rig.clock.wait_until(1_000_000_000)
    begins = rig.clock.now_ns()
    arrival = rig.coarse_stage.move_to(1.1e-3)
    for k in range(12):
        t = begins + k * (arrival - begins) // 11 + 7_000_001
        rig.clock.wait_until(t)
        state = world.state_at(t)
        height = world.coarse_z(t)
        assert height == pytest.approx(min(100e-6 + 5e-4 * (t - begins) * 1e-9, 1.1e-3), rel=1e-9)
        offset = state.current / 0.5e-4 * (4e-3 - height) / 0.62
        # kappa(c) near its maximum: the bath's own few mM move it by less than 0.1 %.
        assert state.offset == pytest.approx(offset, rel=2e-3)


def test_the_cell_does_not_feel_the_pipette_travel(laboratory: Laboratory) -> None:
    def seen(moves: bool) -> tuple[float, float]:
        rig, _ = twin(laboratory)
        rig.potentiostat.apply(ConstantCurrent(-4e-4), 300_000_000)
        for k in range(1, 8):
            if moves:
                rig.coarse_stage.move_to(1e-3 if k % 2 else 50e-6)
            rig.clock.wait_until(k * 333_000_000)
        reading = rig.potentiostat.read()
        return reading.charge, reading.potential

    assert seen(True) == seen(False)


def test_the_piezo_never_goes_down_before_the_stage_has_gone_up(laboratory: Laboratory) -> None:
    rig, _ = twin(laboratory)
    controller = rig.hop_controller
    controller.safe()  # the piezo stands 3 µm up
    arrival = rig.coarse_stage.move_to(0.0)
    lowest = np.inf
    while rig.clock.now_ns() < arrival:
        lowest = min(lowest, rig.coarse_stage.position() + rig.scanner.read_z())
        rig.clock.wait_until(rig.clock.now_ns() + 1_000_000)
    assert lowest > 2.9e-6
    assert rig.scanner.read_z() == 0.0


def test_after_a_way_up_the_pipette_is_lower_than_the_motor_says(laboratory: Laboratory) -> None:
    rig, world = twin(
        laboratory,
        RIG.replace("driver: twin\n  hop_controller", "driver: twin\n    settings: {backlash_um: 2}\n  hop_controller"),
    )
    rig.clock.wait_until(rig.coarse_stage.move_to(13e-6))
    now = rig.clock.now_ns()
    assert rig.coarse_stage.position() == pytest.approx(13e-6)
    assert world.coarse_z(now) == pytest.approx(11e-6)
    rig.clock.wait_until(rig.coarse_stage.move_to(3e-6))
    assert world.coarse_z(rig.clock.now_ns()) == pytest.approx(3e-6)
