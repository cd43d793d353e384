"""The hop step against what it promises, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsicm.core.errors import OutsideDomain
from opsicm.core.facts import Outcome
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.hop import (
    FALL_BEGINS,
    NO_EVENT,
    STOP_DECIDED,
    TOP_REACHED,
    HopSettings,
    HopState,
    HopTiming,
    start,
    step,
)

TIMING = HopTiming(settle=2e-4, reference=3e-4, withdraw_rate=4e-4, latency=5e-5, overload=9e-9, dt_ns=10_000)
HOP = HopParameters(amplitude=2e-6, fall_rate=30e-6, setpoint=0.02, approach=5e-6)
SETTINGS = TIMING.settings(HOP)


def hop(current: Callable[[float], float], settings: HopSettings = SETTINGS) -> list[tuple[HopState, int]]:
    """One whole hop of a scanner without lag over a specimen that gives `current(z)`."""
    state, trail = start(0.0), []
    for _ in range(100_000):
        state, event = step(state, settings, current(state.z_command), state.z_command)
        trail.append((state, event))
        if event == TOP_REACHED:
            return trail
    raise AssertionError("the hop never ended")


def surface_at(height: float, far: float = 3e-9) -> Callable[[float], float]:
    return lambda z: far * (z - height) / (z - height + 0.7e-9) if z > height else 0.0


def test_the_order_of_events_is_reference_stop_top() -> None:
    events = [event for _, event in hop(surface_at(-1e-6)) if event != NO_EVENT]
    assert events == [FALL_BEGINS, STOP_DECIDED, TOP_REACHED]


def test_it_stops_at_the_setpoint_and_falls_on_for_the_latency_only() -> None:
    trail = hop(surface_at(-1e-6))
    final = trail[-1][0]
    assert final.outcome == Outcome.CONTACT
    # s = 0.98 of the reference, which was taken 1 µm up and is itself a little low; a sample of the fall is 0.3 nm.
    s = 0.98 * 1000.0 / 1000.7
    assert final.z_stop - -1e-6 == pytest.approx(s / (1 - s) * 0.7e-9, abs=0.3e-9)
    fell = final.z_stop - final.z_min
    assert fell == pytest.approx(SETTINGS.latency * SETTINGS.fall_step, abs=1.01 * SETTINGS.fall_step)


def test_it_withdraws_by_the_amplitude_from_the_stop() -> None:
    final = hop(surface_at(-1e-6))[-1][0]
    assert final.z_command - final.z_stop == pytest.approx(2e-6, rel=1e-12)


@given(scale=st.sampled_from([-1.0, 1.0]), height=st.floats(-3e-6, -0.2e-6), setpoint=st.floats(0.005, 0.2))
@settings(max_examples=40, deadline=None)
def test_the_sign_of_the_bias_does_not_matter(scale: float, height: float, setpoint: float) -> None:
    chosen = SETTINGS._replace(setpoint=setpoint)
    plus = hop(surface_at(height), chosen)[-1][0]
    signed = hop(surface_at(height, 3e-9 * scale), chosen)[-1][0]
    assert signed.z_stop == plus.z_stop
    assert signed.i_ref == pytest.approx(scale * plus.i_ref, rel=1e-12)


def test_no_surface_in_range_returns_to_the_top_it_came_from() -> None:
    final = hop(lambda _: 3e-9)[-1][0]
    assert final.outcome == Outcome.NO_CONTACT
    assert final.z_command == 0.0
    deepest = SETTINGS.approach + (SETTINGS.latency + 1) * SETTINGS.fall_step
    assert -final.z_min <= deepest


def test_a_current_already_below_the_threshold_withdraws_a_full_amplitude() -> None:
    samples = iter([3e-9] * (SETTINGS.settle + SETTINGS.reference) + [2e-9] * 100_000)
    final = hop(lambda _: next(samples))[-1][0]
    assert final.outcome == Outcome.BELOW_AT_START
    assert final.z_command == pytest.approx(2e-6)


def test_an_overload_withdraws_at_once() -> None:
    final = hop(lambda z: 3e-9 if z > -0.5e-6 else 9.5e-9)[-1][0]
    assert final.outcome == Outcome.OVERLOAD
    assert final.z_stop == pytest.approx(-0.5e-6, abs=0.4e-9)


def test_the_reference_is_the_mean_over_its_samples_alone() -> None:
    settle, reference = SETTINGS.settle, SETTINGS.reference
    samples = iter([9e-10] * settle + [3e-9 + k * 1e-12 for k in range(reference)] + [1e-9] * 100_000)
    final = hop(lambda _: next(samples))[-1][0]
    assert final.i_ref == pytest.approx(3e-9 + 1e-12 * (reference - 1) / 2, rel=1e-12)


def test_duration_is_what_a_hop_over_a_surface_at_rest_takes() -> None:
    state, count = start(0.0), 0
    tops: list[int] = []
    while len(tops) < 3:
        state, event = step(state, SETTINGS, surface_at(-1e-6)(state.z_command), state.z_command)
        count += 1
        if event == TOP_REACHED:
            tops.append(count)
    assert (tops[2] - tops[1]) * 1e-5 == pytest.approx(TIMING.duration(HOP), rel=2e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amplitude": 0.0}, "hop amplitude is 0"),
        ({"fall_rate": -1.0}, "hop fall rate is -1"),
        ({"approach": math.nan}, "hop approach is nan"),
        ({"setpoint": 0.98}, "a 2 % drop is 0.02"),
    ],
)
def test_impossible_settings_are_refused_with_value_and_limit(change: dict[str, Any], words: str) -> None:
    with pytest.raises(OutsideDomain, match=words):
        replace(HOP, **change)
