"""Both analogue instruments through NI's own client, the emulated card and the twin's circuit behind them.

What is soldered and what the rig file says are two texts. The twin's circuit does not know the sign table.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest

from opsicm.core.errors import BadInput, LimitCrossed
from opsicm.core.facts import Quality
from opsicm.emulators.ni_grpc_server import NiGrpcServer
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.clock import Clock, pause, stopwatch
from opsicm.instruments.roles import Amplifier, Potentiostat
from opsicm.instruments.wiring_check import Finding, bias_steps, checked, potential_step
from opsicm.physics.pipette.geometry import geometric_resistance
from opsicm.physics.pipette.ion_current import resistance
from opsicm.runner.bias import BiasTracker
from tests.fixtures.analogue_bench import RIG, Bench, analogue_bench
from tests.fixtures.role_contracts import AmplifierContract, PotentiostatContract

pytestmark = pytest.mark.real_time

MS = 1_000_000


def written(before: str, after: str, text: str = RIG) -> str:
    assert before in text
    return text.replace(before, after)


INVERTED_COMMAND = written("command_output: Dev1/ao1", "command_output: Dev1/ao1, command_sign: -1")
INVERTED_CURRENT = written("gain: 1.0e-9}", "gain: 1.0e-9, sign: -1}")
BOTH_INVERTED = written("gain: 1.0e-9}", "gain: 1.0e-9, sign: -1}", INVERTED_COMMAND)
INVERTED_CELL = written("input: Dev1/ai2}", "input: Dev1/ai2, sign: -1}")
TWO_ELECTRODES = written("grounding: common", "grounding: two_electrode")
A_FIFTH = written("external_bias_mV_per_V: 200", "external_bias_mV_per_V: 40")
INVERTED_INPUT = written("input_V_per_V: -1", "input_V_per_V: 1")


def findings(bench: Bench) -> dict[str, Finding]:
    setup = bench.setup
    ohms = resistance(geometric_resistance(setup.pipette), setup.specimen.electrolyte, setup.fill)
    grounding = setup.rig.rig.wiring.grounding
    listed = bias_steps(bench.amplifier, bench.potentiostat, bench.clock, grounding, ohms)
    return {finding.name: finding for finding in listed}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with analogue_bench() as wired_as_written:
        yield wired_as_written


@pytest.fixture(autouse=True)
def answering(bench: Bench) -> None:
    """On a busy machine the card may fall silent in one test: the next one waits until it is back, as a run would."""
    watch = stopwatch()
    while bench.amplifier.state().quality != Quality.GOOD:
        assert watch() < 5.0
        pause(0.02)


def wait(bench: Bench, seconds: float) -> None:
    bench.clock.wait_until(bench.clock.now_ns() + round(seconds * 1e9))


class TestAmplifierOnTheWire(AmplifierContract):
    """The patch clamp behind the emulated card does what every amplifier does."""

    @pytest.fixture
    def device(self, bench: Bench) -> Amplifier:
        amplifier: Amplifier = bench.amplifier
        return amplifier

    @pytest.fixture
    def clock(self, bench: Bench) -> Clock:
        return bench.clock


class TestPotentiostatOnTheWire(PotentiostatContract):
    """The analogue potentiostat behind the emulated card does what every driven potentiostat does."""

    beyond = PotentialRamp(3.0)

    @pytest.fixture
    def device(self, bench: Bench) -> Iterator[Potentiostat]:
        yield bench.potentiostat
        bench.potentiostat.safe()

    @pytest.fixture
    def clock(self, bench: Bench) -> Clock:
        return bench.clock


def test_identity_and_telegraphs_through_the_client(bench: Bench) -> None:
    identity = bench.amplifier.identity()
    assert identity.model.startswith("axopatch_200b, by the lines of ")
    assert identity.client.startswith("nidaqmx ")
    assert bench.amplifier.state().settings == {"gain_V_A": 1e9, "filter_Hz": 5000.0, "mode": "voltage_clamp"}
    assert bench.potentiostat.state().settings["cell"] == "off"


def test_a_rig_wired_as_it_is_written_passes_every_check(bench: Bench) -> None:
    assert {name: finding.ok for name, finding in findings(bench).items()} == dict.fromkeys(
        ("bias", "bias sign", "bias size", "reference"), True
    )
    steps = potential_step(bench.amplifier, bench.potentiostat, bench.clock, "common")
    assert [(step.name, step.ok) for step in steps] == [
        ("potential", True),
        ("cell current", True),
        ("reference step", True),
    ]
    assert bench.potentiostat.state().settings["cell"] == "off"


def test_a_ramp_and_a_current_through_the_wire(bench: Bench) -> None:
    potentiostat = bench.potentiostat
    before = potentiostat.read().charge
    at_ns = bench.clock.now_ns() + 100 * MS
    potentiostat.apply(PotentialRamp(1.2, -0.05), at_ns)
    bench.clock.wait_until(at_ns + 300 * MS)
    reading = potentiostat.read()
    assert reading.potential == pytest.approx(1.2 - 0.05 * (reading.t_ns - at_ns) * 1e-9, abs=8e-3)
    assert reading.current < 0.0
    assert reading.charge < before
    before = reading.charge
    at_ns = bench.clock.now_ns() + 100 * MS
    potentiostat.apply(ConstantCurrent(-1e-4, lowest=0.2), at_ns)
    bench.clock.wait_until(at_ns + 400 * MS)
    reading = potentiostat.read()
    assert reading.control == "current"
    assert reading.current == pytest.approx(-1e-4, abs=6e-6)
    assert reading.charge - before < -1e-4 * 0.25
    potentiostat.apply(OpenCircuit(), 0)
    wait(bench, 0.1)
    assert potentiostat.read().control == "open_circuit"
    potentiostat.safe()


def test_the_bias_follows_the_cell_on_the_wire(bench: Bench) -> None:
    """V_tip = V_cmd + E within what a ramp's rate times the age of a reading allows."""
    tracker = BiasTracker(bench.amplifier, bench.clock, 0.7, "common", 0.1)
    rate, at_ns = 0.02, bench.clock.now_ns() + 100 * MS
    bench.potentiostat.apply(PotentialRamp(1.2, -rate), at_ns)
    tracker.control_changed(PotentialRamp(1.2, -rate), at_ns)
    bench.clock.wait_until(at_ns + 100 * MS)
    off, latency = [], []
    for _ in range(12):
        reading = bench.potentiostat.read()
        tracker.update(reading)
        latency.append((bench.clock.now_ns() - reading.t_ns) * 1e-9)
        off.append(tracker.residual(bench.amplifier.read()[1], reading))
        wait(bench, 0.03)
    bench.potentiostat.safe()
    bench.amplifier.safe()
    assert statistics.median(map(abs, off)) < rate * max(latency) + 2e-3


def test_a_turned_gain_is_told_and_scales_the_current(bench: Bench) -> None:
    bench.amplifier.command(-0.9)  # so that twice the current does not clip
    wait(bench, 0.1)
    before, _ = bench.amplifier.read()
    panel = bench.server.circuit.panel
    panel.gain = 2.0
    try:
        wait(bench, 0.1)
        state = bench.amplifier.state()
        assert state.quality is Quality.SUSPECT
        assert "the gain is 2 mV/pA and the rig file says 1: currents would be 2 times too large" in state.message
        assert bench.amplifier.read()[0] == pytest.approx(2.0 * before, rel=0.05)
    finally:
        panel.gain = 1.0
        bench.amplifier.safe()
    wait(bench, 0.1)
    assert bench.amplifier.state().quality is Quality.GOOD


def test_a_gain_that_is_wrong_before_the_run_is_refused() -> None:
    def turned(server: NiGrpcServer) -> None:
        server.circuit.panel.gain = 10.0

    with pytest.raises(BadInput, match="the gain is 10 mV/pA and the rig file says 1"), analogue_bench(before=turned):
        pass


@pytest.mark.parametrize(
    ("text", "grounding", "fails", "sentence"),
    [
        (INVERTED_COMMAND, "common", "bias sign", "more NEGATIVE current"),
        (INVERTED_CURRENT, "common", "bias sign", "more NEGATIVE current"),
        (BOTH_INVERTED, "common", "reference", "the polarity of one of them is inverted"),
        (INVERTED_CELL, "common", "reference", "the polarity of one of them is inverted"),
        (A_FIFTH, "common", "bias size", "currents or commands are 5 times too large"),
        (RIG, "two_electrode", "reference", "the reference does not follow the cell"),
        (TWO_ELECTRODES, "common", "reference", "the reference is not where either of them says"),
        (TWO_ELECTRODES, "two_electrode", "", ""),
    ],
)
def test_wrong_wiring_is_noticed_before_anything_moves(text: str, grounding: str, fails: str, sentence: str) -> None:
    with analogue_bench(text, RIG, grounding) as bench:
        found = findings(bench)
        assert bench.potentiostat.state().settings["cell"] == "off"
    failed = [name for name, finding in found.items() if finding.ok is False]
    assert (fails in failed) if fails else (failed == [])
    if fails:
        assert sentence in found[fails].sentence


def test_an_inverted_set_point_opens_the_cell_again() -> None:
    """The bias steps cannot see the potentiostat's input; the driver does, at its second look after it closed."""
    with analogue_bench(INVERTED_INPUT) as bench:
        assert all(finding.ok for finding in findings(bench).values())
        (finding, *_) = checked(lambda: potential_step(bench.amplifier, bench.potentiostat, bench.clock, "common"))
        assert finding.ok is False
        assert "-1.20" in finding.sentence
        at_ns = bench.clock.now_ns() + 50 * MS
        bench.potentiostat.apply(PotentialRamp(1.2), at_ns)
        bench.clock.wait_until(at_ns + 450 * MS)
        with pytest.raises(LimitCrossed, match="look at the sign of input_V_per_V"):
            bench.potentiostat.read()
        assert bench.potentiostat.state().settings["cell"] == "off"
