"""Steps of the cell taken ahead of time may not show: not in how they are asked for, nor when they are discarded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsicm.experiment.controls import CellControl, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.twin.specimen import Footprint
from opsicm.twin.trajectory import PipetteTrajectory, TrajectorySegment
from opsicm.twin.world import World
from tests.fixtures.laboratory import Laboratory
from tests.twin.test_surfaces import FLAKES, twin

SECOND = 1_000_000_000
CONTROLS: tuple[CellControl, ...] = (
    PotentialRamp(0.3, -0.03),  # the steps are of 1 mV
    ConstantCurrent(-4e-4, lowest=0.15),  # a cut-off is met on the way
    PotentialRamp(0.12),  # below where the flake comes off
    OpenCircuit(),
)


def state(world: World) -> tuple[bytes, ...]:
    """All that the cell, the flakes and the potentiostat show now."""
    at = np.linspace(0.0, 20e-6, 40)
    heights = world.surface_now(world.specimen.footprint(at, at[::-1]), world.now_ns)
    cell = world.state_at(world.now_ns)
    return (np.array(cell).tobytes(), heights.tobytes(), repr(world.reading()).encode())


def through(
    world: World, changes: list[tuple[int, CellControl]], pieces: list[int], ahead: int
) -> list[tuple[bytes, ...]]:
    """The states at the changes and 3 s after the last, going there by `pieces` [ns], with looks `ahead` [ns]."""
    seen, turn = [], 0
    for t_ns, control in [*changes, (changes[-1][0] + 3 * SECOND, None)]:
        while world.now_ns < t_ns:
            world.advance_to(min(t_ns, world.now_ns + pieces[turn % len(pieces)]))
            turn += 1
            if world.now_ns < t_ns:  # a step that begins now is under pipette as soon as somebody has looked into it
                world.breakpoints(world.now_ns + ahead)
        world.advance_to(t_ns)
        seen.append(state(world))
        if control is not None:
            world.schedule(control, t_ns)
    return seen


@given(
    gaps=st.lists(st.integers(10_000_000, 4 * SECOND), min_size=1, max_size=5),
    pieces=st.lists(st.integers(1_000_000, 2 * SECOND), min_size=1, max_size=4),
    ahead=st.integers(0, 7 * SECOND),
    first=st.integers(0, 3),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_time_is_cut_and_however_far_one_looks_ahead(
    laboratory: Laboratory, gaps: list[int], pieces: list[int], ahead: int, first: int
) -> None:
    surface = FLAKES.replace("}", ", detach_below_V: 0.2, slide_nm: 800}")
    when = np.cumsum(gaps).tolist()
    changes = [(t_ns, CONTROLS[(first + k) % len(CONTROLS)]) for k, t_ns in enumerate(when)]
    _, plain = twin(laboratory, surface)
    _, other = twin(laboratory, surface)
    assert through(other, changes, pieces, ahead) == through(plain, changes, [5_000_000], 0)


def test_a_control_that_comes_while_much_is_known_begins_at_the_end_of_the_step_under_way(
    laboratory: Laboratory,
) -> None:
    _, world = twin(laboratory, FLAKES)
    world.breakpoints(6 * SECOND)
    world.advance_to(1_234_000_000)
    world.schedule(PotentialRamp(0.05), 0)
    world.advance_to(2 * SECOND)
    begin = next(past.begin for past, control, _ in world._past._past if control == "potential")
    assert 1_234_000_000 <= begin <= 1_334_000_000
    assert world.reading().potential == pytest.approx(0.05, abs=1e-3)
    assert world.reading(age=0.9).set_point is None  # nobody knew of it then


def test_the_pipette_may_leave_while_much_is_known(laboratory: Laboratory) -> None:
    rig, world = twin(laboratory, FLAKES)
    rig.potentiostat.apply(PotentialRamp(0.05), 0)
    world.advance_to(5 * SECOND)
    world.breakpoints(9 * SECOND)
    low = world.state_at(world.now_ns).offset
    rig.coarse_stage.move_to(1e-3)
    world.advance_to(20 * SECOND)
    rig.coarse_stage.move_to(1e-3)  # it is there; but the cell itself now stands at the present, not ahead of it
    assert world.cell.ohmic_drop(1e-3) == pytest.approx(
        world.state_at(world.now_ns).offset - world.pipette.junction * np.log(1.0), abs=2e-3
    )
    assert world.state_at(world.now_ns).offset != low


def test_a_segment_is_linear_between_the_ends_of_its_steps() -> None:
    states = tuple((k, -k, 2.0 * k, np.nan, 0.0, 0.0) for k in (0.0, 1.0, 4.0))
    pipette = PipetteTrajectory((0, 10, 20), (1.0, 2.0, 2.0), (0.0, 0.0, 1.0), (5.0, 5.0, 7.0), np.zeros((3, 0)))
    segment = TrajectorySegment((0, 10, 20), states, np.zeros((3, 1)), pipette)
    assert [segment.state_at(t).potential for t in (0, 5, 10, 15, 20, 21)] == [
        0.0,
        0.5,
        1.0,
        2.5,
        4.0,
        pytest.approx(4.3),
    ]
    assert segment.state_at(15).offset == 0.5
    assert segment.state_at(15).salt == 6.0
    assert [segment.step_of(t) for t in (0, 1, 10, 11, 20)] == [0, 0, 0, 1, 1]
    assert segment.first(1).t_ns == (0, 10)


@given(
    st.lists(st.integers(1, 50), min_size=0, max_size=6),
    st.lists(st.integers(-5, 320), min_size=1, max_size=9),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_many_instants_are_what_each_is_alone(lengths: list[int], wanted: list[int], seed: int) -> None:
    """The compiled functions against plain ones: a state for each instant, and NumPy for the heights."""
    random = np.random.default_rng(seed)
    times = tuple(np.cumsum([0, *lengths]).tolist())
    states = tuple(tuple(row) for row in random.normal(size=(len(times), 6)).tolist())
    conductance, offset, salt = (tuple(random.normal(size=len(times)).tolist()) for _ in range(3))
    pipette = PipetteTrajectory(times, conductance, offset, salt, np.zeros((len(times), 0)))
    displacement = random.normal(size=(len(times), 5))
    footprint = Footprint(random.normal(size=4), random.integers(0, 5, (4, 3)))
    segment, instants = TrajectorySegment(times, states, displacement, pipette), np.array(wanted)
    columns, heights = segment.states_at(instants), segment.heights_at(footprint, instants)
    known = footprint.height + displacement[:, footprint.patch_index].mean(axis=-1)
    for k, t_ns in enumerate(wanted):
        np.testing.assert_array_equal([column[k] for column in columns], segment.state_at(t_ns))
        if len(times) == 1:
            expected = known[0]
        else:
            j = min(max(int(np.searchsorted(times, t_ns, side="right")), 1), len(times) - 1)
            w = (t_ns - times[j - 1]) / (times[j] - times[j - 1])
            expected = known[j - 1] + w * (known[j] - known[j - 1])
        np.testing.assert_allclose(heights[k], expected, rtol=1e-12, atol=1e-12)


def test_a_control_may_wait_between_the_end_of_a_step_and_the_next_sample(laboratory: Laboratory) -> None:
    """Samples are taken every 10 µs, steps end at any nanosecond; a paused cell was opened in such a gap."""
    _, world = twin(laboratory, FLAKES)
    world.schedule(PotentialRamp(0.3), 0)
    world.advance_to(SECOND)
    world.breakpoints(SECOND)
    end = world._segment.end
    world.now_ns = end + 5_000  # the first sample after it
    world.schedule(OpenCircuit(), end + 5_000)
    ahead = world.breakpoints(end + SECOND)
    assert ahead
    assert min(ahead) > world.now_ns
    world.advance_to(end + SECOND)
    assert world.reading().control == "open_circuit"
