"""How a hop is made: the file and the object that reaches the hop controller have the same bounds."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import to_si
from opsicm.experiment.hop_parameters import AMPLITUDE_NM, APPROACH_UM, FALL_NM_PER_MS, SETPOINT_PCT
from opsicm.experiment.probe_steps import Engage, Hop, Modulate
from opsicm.experiment.setup import Envelope
from opsicm.instruments.hop import HopTiming

TIMING = HopTiming(settle=2e-4, reference=3e-4, withdraw_rate=4e-4, latency=5e-5, overload=9e-9, dt_ns=10_000)
HOP = Hop(at_um=(0, 0), amplitude_nm=2000, fall_nm_per_ms=30, setpoint_pct=2)


@pytest.mark.parametrize(
    ("key", "bounds", "name"),
    [
        ("amplitude_nm", AMPLITUDE_NM, "hop amplitude"),
        ("fall_nm_per_ms", FALL_NM_PER_MS, "hop fall rate"),
        ("setpoint_pct", SETPOINT_PCT, "hop setpoint"),
    ],
)
def test_what_a_file_may_say_a_hop_controller_accepts_and_nothing_else(
    key: str, bounds: tuple[float, float], name: str
) -> None:
    low, high = bounds
    for value in (max(low, 1e-6), 0.5 * (low + high), high):  # the lowest setpoint is anything above 0
        hop = HOP.model_copy(update={key: value}).hop_parameters(Envelope().approach)
        Hop.model_validate({**HOP.model_dump(exclude_none=True), key: value})
        assert TIMING.settings(hop).setpoint == hop.setpoint
    for value in (low * 0.999, -1.0, high * 1.001, math.inf):
        with pytest.raises(ValidationError):
            Hop.model_validate({**HOP.model_dump(exclude_none=True), key: value})
        with pytest.raises(OutsideDomain, match=f"{name} is .*at most"):
            HOP.model_copy(update={key: value}).hop_parameters(Envelope().approach)


def test_the_farthest_approach_has_the_bounds_of_the_envelope() -> None:
    for value in APPROACH_UM[1], 1e-3:
        assert HOP.hop_parameters(Envelope(approach_um=value).approach).approach == to_si("approach_um", value)
    for value in 0.0, APPROACH_UM[1] * 1.001:
        with pytest.raises(ValidationError):
            Envelope(approach_um=value)
        with pytest.raises(OutsideDomain, match="hop approach"):
            HOP.hop_parameters(to_si("approach_um", value))


def test_bias_levels_travel_with_the_hop() -> None:
    step = Modulate(**HOP.model_dump(exclude_none=True), levels_V=(0.8, 0.6), dwell_ms=20, blanking_ms=2)
    bias = step.hop_parameters(5e-6).bias_levels
    assert bias is not None
    assert (bias.levels, bias.dwell, bias.blanking) == ((0.8, 0.6), 0.02, 0.002)
    plain = HOP.hop_parameters(5e-6)
    assert plain.bias_levels is None
    assert TIMING.period(step.hop_parameters(5e-6)) - TIMING.period(plain) == pytest.approx(0.04, rel=1e-12)


def test_an_engagement_withdraws_by_a_micrometre_between_its_two_contacts() -> None:
    engage = Engage(fall_nm_per_ms=30, setpoint_pct=2, step_um=5)
    hop = engage.hop_parameters(5e-6)
    assert (hop.amplitude, hop.approach) == (1e-6, 5e-6)
    assert (hop.fall_rate, hop.setpoint) == (HOP.fall_rate, HOP.setpoint)
