"""Hopping in software, through NI's client against the emulated card: the suite of every hop controller, heights
against the twin's own loop, what is refused, what withdraws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from opsicm.cli.rigs import REGISTRY, prepare
from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain
from opsicm.core.facts import Outcome, Quality, SampleBlock
from opsicm.drivers.software_hop import SoftwareHopController
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.rig_file import read_rig, rig_path
from opsicm.instruments.clock import Clock, WallClock, pause, stopwatch
from opsicm.instruments.roles import HopPlan, PlanOutcome
from tests.fixtures.ni_bench import EXPERIMENT, RIG, Bench, ni_bench
from tests.fixtures.rig_contract import plan
from tests.fixtures.role_contracts import HopControllerContract

pytestmark = pytest.mark.real_time

FALL = 1.5e-6  # [m/s]: safe with a loop of 10 ms, as on a busy machine
AMPLITUDE = 1e-7
FOR_EVER = -1


def slow_plan(hops: int, fall_rate: float = FALL, segment: int = 1) -> HopPlan:
    """Short hops at the origin, at a rate for a loop in software."""
    made = plan(hops, segment=segment)
    parameters = HopParameters(AMPLITUDE, fall_rate, 0.02, 5e-6)
    return replace(made, parameters=parameters, amplitude=np.full(hops, AMPLITUDE))


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ni_bench() as bench:
        bench.engage()
        yield bench


@pytest.fixture(scope="module")
def controller(bench: Bench) -> SoftwareHopController:
    device: SoftwareHopController = bench.connect("hop_controller")
    return device


SEGMENTS = iter(range(1, 1000))


@pytest.fixture
def near(bench: Bench, controller: SoftwareHopController) -> SoftwareHopController:
    """The controller with the pipette some 100 nm above where it will meet the surface, and nothing wrong."""
    bench.server.faults.clear()
    watch = stopwatch()
    while controller.state().quality != Quality.GOOD:
        assert watch() < 3.0
        pause(0.01)
    bench.card.write("ao0", -2.85)
    pause(0.03)
    return controller


def run(device: SoftwareHopController, hops: int, stop: Any = lambda: False, fall_rate: float = FALL) -> PlanOutcome:
    """A plan in a segment of its own."""
    return device.run(slow_plan(hops, fall_rate, next(SEGMENTS)), stop)


class TestContract(HopControllerContract):
    """What every hop controller does."""

    hop_plan = slow_plan(2)
    beyond = 41e-6

    @pytest.fixture
    def device(self, near: SoftwareHopController) -> SoftwareHopController:
        near.safe()  # another segment of the same number begins anew
        near._axes.write_z(-2.85e-6)
        pause(0.03)
        return near

    @pytest.fixture
    def clock(self, bench: Bench) -> Clock:
        return bench.card.clock


def test_it_stops_where_the_twins_own_loop_stops(bench: Bench, near: SoftwareHopController) -> None:
    outcome = run(near, 6)
    hops = outcome.hops
    assert hops["outcome"].tolist() == [Outcome.CONTACT] * 6
    rig = prepare(experiment_from_text(EXPERIMENT), read_rig(rig_path("twin/graphite")), 1, lambda _: None).rig
    rig.amplifier.command(0.7 - 1.2)
    own = rig.hop_controller.run(slow_plan(6), lambda: False).hops
    # Both meet the surface from the same height of the coarse stage; of either, noise of a few nanometres.
    assert np.median(hops["z_stop"]) == pytest.approx(np.median(own["z_stop"]), abs=4e-9)
    assert np.median(hops["i_ref"]) == pytest.approx(np.median(own["i_ref"]), rel=0.01)
    assert np.ptp(hops["z_stop"]) < 25e-9
    assert bench.circuit.closest_gap > 5e-9
    assert np.all(np.abs(hops["cell_potential"] - 1.2) < 2e-3)
    assert np.all(np.abs(hops["bias_residual"]) < 2e-3)


def test_samples_of_one_segment_join_across_plans(bench: Bench, near: SoftwareHopController) -> None:
    segment = next(SEGMENTS)
    blocks: list[SampleBlock] = []
    for _ in range(2):
        blocks += near.run(slow_plan(1, segment=segment), lambda: False).blocks
        pause(0.05)
    blocks += near.run(replace(slow_plan(0, segment=segment), until_ns=bench.card.clock.now_ns()), lambda: False).blocks
    index = 0
    for block in blocks:
        assert block.first_sample == index
        assert block.t0_ns == blocks[0].t0_ns + index * 10_000
        assert block.quality.tolist() == [Quality.GOOD] * len(near.channels)
        assert block.counts.flags.c_contiguous
        index += block.counts.shape[0]
    names = [channel.name for channel in near.channels]
    assert names == ["pipette_current", "z", "z_command", "pipette_bias", "cell_potential"]
    shown = {c.name: c.si(np.concatenate([b.counts[:, k] for b in blocks])) for k, c in enumerate(near.channels)}
    assert shown["pipette_bias"] == pytest.approx(-0.5, abs=1e-4)
    assert np.median(shown["cell_potential"]) == pytest.approx(1.2, abs=1e-3)
    assert np.median(shown["pipette_current"]) == pytest.approx(3.6e-9, rel=0.03)
    assert np.median(np.abs(shown["z"] - shown["z_command"])) < 3e-9


def test_a_fall_that_could_crash_is_refused_and_the_safe_one_named(bench: Bench, near: SoftwareHopController) -> None:
    before = bench.circuit.voltage("Dev1/ao0")
    with pytest.raises(OutsideDomain) as refusal:
        near.run(slow_plan(1, 30e-6), lambda: False)
    (problem,) = refusal.value.problems
    assert problem.thing == "fall_nm_per_ms"
    assert problem.value == "30"
    assert "the surface is 34 nm away at a 2 % drop: the tip would touch" in problem.limit
    named = float(problem.remedy.split()[2])
    assert named == pytest.approx(near.safe_fall_rate(0.02) * 1e6, rel=0.05)
    assert bench.circuit.voltage("Dev1/ao0") == before
    overshoot = named * 1e-6 * (near.timing.latency + 0.2e-3 + 1 / (2 * np.pi * 5e3))
    assert overshoot == pytest.approx(0.5 * 33.6e-9, rel=0.06)


def test_its_latency_is_measured_by_the_wire(near: SoftwareHopController) -> None:
    assert near.echoed
    assert 4e-3 <= near.timing.latency < 0.05  # two turns at least
    settings = near.state().settings
    assert settings["loop_latency_ms"] == pytest.approx(near.timing.latency * 1e3)
    assert settings["safe_fall_nm_per_ms"] == pytest.approx(near.safe_fall_rate(0.02) * 1e6)


def test_a_wire_that_is_missing_is_said() -> None:
    text = RIG.replace("latency_input: Dev1/ai7", "latency_input: Dev1/ai6")
    with ni_bench(text) as other:
        other.circuit.echoes.clear()
        with pytest.raises(BadInput, match=r"0.5 V on Dev1/ao7 were not seen .* join the two by a wire"):
            other.connect("hop_controller")


def test_without_a_wire_only_the_turns_are_timed_and_said_to_be() -> None:
    text = RIG.replace("latency_output: Dev1/ao7, latency_input: Dev1/ai7, ", "").replace(", ao7_V: [-5, 5]", "")
    with ni_bench(text) as other:
        device = other.connect("hop_controller")
        assert not device.echoed
        assert device.timing.latency >= 4e-3
        assert "wire latency_output to latency_input" in device.state().message
        assert other.circuit.voltage("Dev1/ao0") == 0.0  # nothing has moved


def test_a_stop_during_an_approach_withdraws_at_once(bench: Bench, near: SoftwareHopController) -> None:
    bench.card.write("ao0", 0.0)  # 3 µm above: an approach of two seconds
    watch = stopwatch()
    outcome = run(near, 3, lambda: watch() > 0.1)
    assert watch() < 0.5
    assert outcome.hops["outcome"].tolist() == [Outcome.ABORTED]
    (hop,) = outcome.hops
    assert bench.circuit.voltage("Dev1/ao0") >= max(0.0, (hop["z_stop"] + AMPLITUDE) * 1e6) - 1e-3
    assert hop["sample_start"] < hop["sample_fall"] < hop["sample_stop"] < hop["sample_top"]


def test_no_surface_within_the_approach_is_no_contact(bench: Bench, near: SoftwareHopController) -> None:
    bench.card.write("ao0", 5.0)
    hop = slow_plan(1, segment=next(SEGMENTS))
    outcome = near.run(replace(hop, parameters=replace(hop.parameters, approach=1.5e-7)), lambda: False)
    assert outcome.hops["outcome"].tolist() == [Outcome.NO_CONTACT]
    assert bench.circuit.voltage("Dev1/ao0") == pytest.approx(5.0, abs=1e-3)


def test_the_last_hop_of_a_plan_is_the_one_in_flight_at_its_end(bench: Bench, near: SoftwareHopController) -> None:
    hop = slow_plan(50, segment=next(SEGMENTS))
    until = bench.card.clock.now_ns() + 150_000_000
    outcome = near.run(replace(hop, until_ns=until), lambda: False)
    assert 1 <= outcome.hops.size < 6
    assert np.all(outcome.hops["t_ns"][:-1] < until)


# -- What must not be fallen through.


@pytest.mark.parametrize(("kind", "said"), [("nan", "suspect"), ("stuck", "stale")])
def test_a_current_that_cannot_be_believed_withdraws_and_pauses(
    bench: Bench, near: SoftwareHopController, kind: str, said: str
) -> None:
    bench.card.write("ao0", 0.0)
    watch = stopwatch()

    def stop() -> bool:
        if watch() > 0.1:
            bench.server.faults.set(kind, times=FOR_EVER)
        return False

    with pytest.raises(InstrumentLost, match=f"pipette current is {said}") as lost:
        run(near, 1, stop)
    assert watch() < 0.5
    assert bench.circuit.voltage("Dev1/ao0") > 2.5  # by the start height of 3 µm, from below 0
    arrived = lost.value.outcome
    assert arrived.hops.size == 0
    assert sum(block.counts.shape[0] for block in arrived.blocks) >= 8000


def test_a_card_that_falls_silent_stops_the_fall_where_it_is(bench: Bench, near: SoftwareHopController) -> None:
    bench.card.write("ao0", 0.0)
    watch = stopwatch()

    def stop() -> bool:
        if watch() > 0.1:
            bench.server.faults.set("silent", times=FOR_EVER)
        return False

    with pytest.raises(InstrumentLost):
        run(near, 1, stop)
    assert watch() < 2.5
    fallen = -bench.circuit.voltage("Dev1/ao0")
    assert fallen < 0.3  # 0.1 s at 1.5 µm/s, and not a write more


def test_a_program_that_is_held_up_does_not_fall_meanwhile(
    bench: Bench, near: SoftwareHopController, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[float, float]] = []
    watch, original = stopwatch(), near._axes.write_z

    def write(z: float) -> None:
        written.append((watch(), z))
        original(z)

    def stop() -> bool:
        if len(written) % 40 == 20:
            pause(0.06)  # as of another program that takes both cores
        return False

    monkeypatch.setattr(near._axes, "write_z", write)
    outcome = run(near, 2, stop)
    assert outcome.hops["outcome"].tolist() == [Outcome.CONTACT] * 2
    heights = np.array([z for _, z in written])
    assert np.diff(heights).min() >= -FALL * 2e-3 * 1.01  # a turn's worth a write, however long it took
    assert bench.circuit.closest_gap > 3e-9


def test_an_overload_withdraws(bench: Bench, near: SoftwareHopController) -> None:
    watch = stopwatch()
    bench.card.write("ao0", 0.0)

    def stop() -> bool:
        if watch() > 0.1:
            bench.server.faults.set("overload", times=FOR_EVER)
        return False

    outcome = run(near, 1, stop)
    assert outcome.hops["outcome"].tolist() == [Outcome.OVERLOAD]


def test_a_scanner_of_another_driver_is_refused() -> None:
    text = RIG.replace(
        "    driver: nidaqmx\n    address: ADDRESS\n    settings: {z_output", "    driver: twin\n    #{z_output"
    )
    text = text.replace("input: Dev1/ai1, gain: 1.0e-6, offset: 5.0e-7", "input: Dev1/ai1")
    with ni_bench(text) as other:
        driver = REGISTRY.find(other.loaded, "hop_controller", "nidaqmx")
        role = other.role("hop_controller")
        with pytest.raises(BadInput, match="writes the scanner's z by itself"):
            driver.connect(role, other.specification, WallClock())


def test_a_whole_rig_on_one_card_hops_and_is_made_safe() -> None:
    with ni_bench() as other:
        rig = REGISTRY.connect(other.setup, other.specification)
        began = rig.clock.now_ns()
        roles = [address.rpartition("#")[2] for address in rig.safe_addresses]
        assert roles[0] == "scanner"  # the probe goes up first
        rig.amplifier.command(0.7 - 1.2)
        device = rig.hop_controller
        assert isinstance(device, SoftwareHopController)
        rate = min(FALL, device.safe_fall_rate(0.02))
        other.card.write("ao0", -2.85)
        pause(0.05)
        outcome = device.run(slow_plan(2, rate), lambda: False)
        hops, samples = outcome.hops, sum(block.counts.shape[0] for block in outcome.blocks)
        # The coarse stage is a twin, and so the clock: it goes on by what has been sampled.
        assert rig.clock.now_ns() - began >= (samples - 1) * 10_000 > 50_000_000
        assert hops["outcome"].tolist() == [Outcome.CONTACT] * 2
        assert np.all(np.abs(hops["bias_residual"]) < 2e-3)
        rig.safe()
        assert rig.scanner.read_z() > hops["z_stop"][-1] + 1e-6
        assert other.circuit.voltage("Dev1/ao1") == 0.0
        assert not other.circuit.line("Dev1/port0/line0")
