"""V_cmd = V_tip - E on the amplifier's range, E measured late: both drivers on one card, the truth from its cell."""

from __future__ import annotations

import pytest

from opsicm.core.errors import LimitCrossed
from opsicm.experiment.controls import PotentialRamp
from opsicm.runner.bias import BiasTracker
from tests.fixtures.analogue_rig import analogue_rig, bench, device
from tests.fixtures.laboratory import RIG, Laboratory

pytestmark = pytest.mark.real_time

MS = 1_000_000
RATE = 1.0  # [V/s]
BIAS = 0.7  # [V]


@pytest.mark.parametrize("late_ms", [0, 50, 100])
def test_a_late_potentiostat_leaves_rate_times_latency_and_two_millivolts(laboratory: Laboratory, late_ms: int) -> None:
    setup, card = bench(laboratory, analogue_rig())
    clock = card.clock
    with setup.connections:
        potentiostat, amplifier = device(setup, "potentiostat", clock), device(setup, "amplifier", clock)
        tracker = BiasTracker(amplifier, clock, BIAS, "common", 0.1)
        card.late_ns = late_ms * MS
        at_ns = clock.now_ns() + 20 * MS
        potentiostat.apply(PotentialRamp(0.4, RATE), at_ns)
        tracker.control_changed(PotentialRamp(0.4, RATE), at_ns)
        clock.wait_until(at_ns + card.late_ns + 60 * MS)  # the first readings are of before the ramp
        missed, recorded, aged = [], [], []
        for _ in range(15):
            reading = potentiostat.read()
            tracker.update(reading)
            aged.append((clock.now_ns() - reading.t_ns) * 1e-9)
            recorded.append(tracker.residual(amplifier.read()[1], reading))
            clock.wait_until(clock.now_ns() + 20 * MS)
            # By the circuit: the wire at its command, 200 mV/V; the reference at what the output says, inverted twice.
            missed.append(0.2 * card.written("Dev1/ao0") - card.written("Dev1/ao1") - BIAS)
        potentiostat.safe()
    allowed = RATE * max(aged) + 2e-3
    assert max(map(abs, missed)) < allowed
    assert max(map(abs, recorded)) < allowed
    assert late_ms * 1e-3 <= max(aged)


def test_twenty_millivolts_per_volt_cannot_follow_a_sweep(laboratory: Laboratory) -> None:
    narrow = analogue_rig().replace("external_bias_mV_per_V: 200", "external_bias_mV_per_V: 20")
    assert narrow != RIG
    setup, card = bench(laboratory, narrow)
    with setup.connections:
        potentiostat, amplifier = device(setup, "potentiostat", card.clock), device(setup, "amplifier", card.clock)
        assert amplifier.command_range == pytest.approx((-0.2, 0.2))
        tracker = BiasTracker(amplifier, card.clock, BIAS, "common", 0.1)
        with pytest.raises(
            LimitCrossed, match=r"V_tip - E is 0.300 V; the amplifier reaches -0.2 … 0.2 V; use a wider"
        ):
            tracker.update(potentiostat.read())
