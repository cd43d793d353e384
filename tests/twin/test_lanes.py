"""The fast loop against its scalar definition: event log, samples and the state carried on, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.hop import HopTiming, start
from opsicm.physics.pipette.approach import over, relative_current
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.twin.fast_loop import (
    OUTCOME,
    Z_MIN,
    Z_STOP,
    FilterState,
    Hops,
    Instrument,
    LoopState,
    Slice,
    Stream,
    approach_table,
    run_slice,
    run_slice_by_definition,
    zero_order_hold,
)

PACKED = approach_curve(Pipette()).packed
CURVE = approach_table(PACKED)
BULK = 3.6e-9
DWELL = Hops(np.zeros(0), np.zeros(0), np.zeros((0, 5), np.int64), np.zeros((0, 5)))


def at_height(z: float, current: float) -> LoopState:
    """A controller and a pipette at rest at `z` [m] with `current` [A] behind the low-pass."""
    return LoopState(start(z), FilterState(z, 0.0, current), 0)


def slices(run: object, case: dict[str, object]) -> list[object]:
    """Everything that `run` leaves of a plan taken in slices: log, counts, state and motion after each."""
    assert callable(run)
    rng = np.random.default_rng(int(str(case["seed"])))
    hops, columns, limit = 4, int(str(case["columns"])), int(str(case["limit"]))
    surface, amplitude = -3e-7 - 2e-7 * rng.random(hops), 2e-7 + 4e-7 * rng.random(hops)
    plan = Hops(surface, amplitude, np.zeros((hops, 5), np.int64), np.full((hops, 5), np.inf), limit)
    bulk = np.array(case["bulk"]) * BULK
    state, sample = at_height(0.0, float(bulk[0])), int(str(case["first"]))
    left: list[object] = [plan.moments, plan.measured]
    for k in range(bulk.size - 1):
        count = int(rng.integers(1, 4000))
        counts = np.zeros((count, columns), np.int16)
        now = Slice(count, bulk[k], bulk[k + 1], 1e-9 * k, 1e-9 * (k + 1), 1e-12 * k, 1e-12 * (k + 1))
        state, taken, *clipped = run(
            state, case["hop"], case["instrument"], now, Stream(sample, 3, 11), plan, CURVE, counts
        )
        left += [counts[:taken], np.array(state.controller), np.array(state.filters)]
        left.append(np.array([state.finished, taken, *clipped]))
        sample += taken
        if taken < count or state.finished == hops:
            break
    return left


@st.composite
def cases(draw: st.DrawFn) -> dict[str, object]:
    """Settings, electronics and worlds, sensible and absurd: drops of the current collapse a reference or overload."""
    numbers = st.floats(0.02, 1.0)
    timing = HopTiming(
        draw(numbers) * 4e-3,
        draw(numbers) * 4e-3,
        draw(numbers) * 1e-3,
        draw(st.integers(0, 60)) * 1e-5,
        draw(st.sampled_from([3.7e-9, 9.5e-9])),
        10_000,
    )
    instrument = Instrument(
        draw(st.sampled_from([0.05, 1.0])),
        draw(st.sampled_from([0.01, 0.27, 1.0])),
        draw(st.sampled_from([0.0, 3.5e-12, 4e-11])),
        draw(st.sampled_from([0.0, 3e-10])),
        draw(st.sampled_from([1e-5, 2e-7])),
        3.05e-13 * draw(st.sampled_from([1.0, 0.3])),
        3.05e-10,
        draw(st.sampled_from([0.0, 0.05, 0.6])),
        draw(st.sampled_from([0.05, 1.0, 1.5])),
    )
    sign = draw(st.sampled_from([1.0, -1.0]))
    level = st.sampled_from([1.0, 1.0, 1.0, 1.02, 0.85, 1.2])
    return {
        "hop": timing.settings(
            HopParameters(5e-7, draw(numbers) * 1e-4, draw(st.floats(0.003, 0.1)), draw(st.sampled_from([2e-7, 2e-6])))
        ),
        "instrument": instrument,
        "bulk": [sign * v for v in draw(st.lists(level, min_size=6, max_size=9))],
        "seed": draw(st.integers(0, 10**6)),
        "first": draw(st.sampled_from([0, 5, 16, 65_530 - 300])),
        "limit": draw(st.sampled_from([2**62, 3000])),
        "columns": draw(st.sampled_from([2, 3])),
    }


@settings(max_examples=120, deadline=None)
@given(case=cases())
def test_the_fast_loop_leaves_what_its_definition_leaves(case: dict[str, object]) -> None:
    for ours, definition in zip(slices(run_slice, case), slices(run_slice_by_definition, case), strict=True):
        np.testing.assert_array_equal(ours, definition)


def test_a_dwell_is_the_same_in_both_loops() -> None:
    left = []
    for run in (run_slice, run_slice_by_definition):
        counts = np.zeros((5000, 3), np.int16)
        instrument = Instrument(0.05, 0.27, 3.5e-12, 3e-10, 1e-5, 3.05e-13, 3.05e-10)
        hop = HopTiming(1e-3, 1e-3, 1e-4, 0.0, 9e-9, 10_000).settings(HopParameters(1e-6, 3e-5, 0.02, 5e-6))
        now = Slice(5000, BULK, BULK, 0.0, 1e-9)
        end = run(at_height(0.0, BULK), hop, instrument, now, Stream(3, 1, 1), DWELL, CURVE, counts)
        left.append((end, counts.tobytes()))
    assert left[0] == left[1]


def test_the_curve_of_the_loop_is_the_finite_element_one() -> None:
    distance = np.concatenate(([-1e-9, 0.0], np.geomspace(1.2e-9, 1e-4, 4000)))
    instrument = Instrument(1.0, 1.0, 0.0, 0.0, 1e-3, 1e-14, 1e-9)
    hop = HopTiming(1e-3, 1e-3, 1e-4, 0.0, 9e-9, 10_000).settings(HopParameters(1e-6, 3e-5, 0.02, 5e-6))
    bulk, seen = 3e-10, []
    for d in distance:
        counts = np.zeros((1, 2), np.int16)
        now = Slice(1, bulk, bulk, 1.0, 1.0)
        run_slice_by_definition(at_height(d, 0.0), hop, instrument, now, Stream(0, 1, 1), DWELL, CURVE, counts)
        seen.append(counts[0, 0])
    expected = np.floor(over(relative_current, distance, PACKED) * bulk / 1e-14 + 0.5)
    # Single precision moves a value across the edge between two counts now and then.
    assert np.max(np.abs(np.array(seen) - expected)) <= 1.0
    assert np.mean(np.array(seen) != expected) < 0.02


@pytest.mark.parametrize("damping", [0.1, 1.0, 2.0])
def test_the_scanner_of_second_order_rings_as_the_closed_form_says(damping: float) -> None:
    w = 0.05
    held = zero_order_hold(Instrument(1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, w, damping))
    z, speed, seen = -1.0, 0.0, []
    for _ in range(200):
        z, speed = held.zz * z + held.zv * speed, held.vz * z + held.vv * speed
        seen.append(z)
    t = np.arange(1, 201)
    poles = -damping * w + w * np.sqrt(complex(damping**2 - 1.0)) * np.array([1.0, -1.0])
    if damping == 1.0:
        exact = -(1.0 + w * t) * np.exp(-w * t)
    else:
        a, b = poles
        exact = np.real((b * np.exp(a * t) - a * np.exp(b * t)) / (a - b))
    np.testing.assert_allclose(seen, exact, atol=1e-12)


@pytest.mark.parametrize(("speed", "latency"), [(3e-5, 3e-4), (6e-5, 6e-4), (1e-4, 2e-4)])
def test_overshoot_is_speed_times_latency(speed: float, latency: float) -> None:
    """Without lags and noise: from the sample that crosses to the lowest one, within 5 %, the goal."""
    instrument = Instrument(1.0, 1.0, 0.0, 0.0, 1e-5, 3.05e-13, 1e-11)
    hop = HopTiming(1e-4, 1e-4, 4e-4, latency, 9e-9, 10_000).settings(HopParameters(2e-7, speed, 0.02, 5e-6))
    plan = Hops(np.full(3, -2e-7), np.full(3, 2e-7), np.zeros((3, 5), np.int64), np.full((3, 5), np.inf))
    counts = np.zeros((40_000, 2), np.int16)
    now = Slice(counts.shape[0], BULK, BULK)
    run_slice(at_height(0.0, BULK), hop, instrument, now, Stream(0, 1, 1), plan, CURVE, counts)
    assert np.all(plan.moments[:, OUTCOME] == 0)
    np.testing.assert_allclose(plan.measured[:, Z_STOP] - plan.measured[:, Z_MIN], speed * latency, rtol=0.05)
