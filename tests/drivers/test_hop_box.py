"""The driver of a hop controller over the wire: the twin behind the reference server, and what goes wrong on a line."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.hop_protocol import ReadyWorld, device, ready_pieces
from opsicm.cli.rigs import REGISTRY, prepare, specimen_parameters
from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed
from opsicm.core.facts import Outcome, Quality
from opsicm.drivers import hop_wire
from opsicm.drivers.hop_box import HopBox, HopBoxSettings, safe_channel, specify
from opsicm.emulators.hop_frames import State
from opsicm.emulators.hop_server import Device, HopServer
from opsicm.emulators.paced_world import SLICE_NS, PacedWorld
from opsicm.emulators.registry import Entry, serve
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.rig_file import read_rig, rig_from_text, rig_path
from opsicm.instruments.clock import monotonic_ns, pause, stopwatch
from opsicm.instruments.registry import RigSetup, RoleSetup
from opsicm.instruments.roles import HopController, HopPlan, PlanOutcome, Rig
from opsicm.physics.pipette.geometry import Pipette
from tests.fixtures.rig_contract import RigContract, plan

pytestmark = pytest.mark.real_time

TEXT = """\
opsicm: 1
title: what stands behind the wire
rig: twin/graphite
pipette: {bias_V: 0.7}
cell: [{open_circuit: {for_s: 1}}]
"""
RIG = rig_path("twin/graphite").read_text(encoding="utf-8")
EXPERIMENT = experiment_from_text(TEXT)
NOTICED = 0.9  # [s]: half a second by the contract, and what a busy machine adds


def never() -> bool:
    return False


def world_at(speed: float) -> PacedWorld:
    behind = read_rig(rig_path("twin/graphite"))

    def connect(hold: Callable[[int], None]) -> Rig:
        return prepare(EXPERIMENT, behind, 1, hold, slice_ns=round(SLICE_NS * speed)).rig

    return PacedWorld(connect, speed)


def at_start_height(world: PacedWorld) -> None:
    """Pipette 3 µm above the surface, bias applied, whatever was before."""

    def ready(rig: Rig) -> None:
        rig.coarse_stage.move_to(rig.hop_controller.start_height)
        rig.amplifier.command(0.7 - rig.potentiostat.read().potential)

    world.ask(ready)


def server_of(world: PacedWorld) -> HopServer:
    def stated(rig: Rig) -> Device:
        controller, scanner = rig.hop_controller, rig.scanner
        heights = (controller.timing, controller.start_height, controller.channels)
        return Device(*heights, scanner.z_range, scanner.xy_range)

    return HopServer(world, world.ask(stated))


def setup_of(address: str, connections: ExitStack, text: str = RIG, **settings: float) -> RoleSetup:
    """The role in a rig file in which the hop controller answers at `address`."""
    driver = f"  hop_controller:\n    driver: hop_box\n    address: tcp://{address}\n"
    loaded = rig_from_text(text.replace("  hop_controller:\n    driver: twin\n", driver))
    parameters = specimen_parameters(EXPERIMENT, loaded).values
    rig = RigSetup(loaded, EXPERIMENT.experiment, parameters, Pipette(50e-9), connections=connections)
    return RoleSetup("hop_controller", loaded.role("hop_controller").address, HopBoxSettings(**settings), rig)


def box_at(address: str, connections: ExitStack, **settings: float) -> HopBox:
    setup = setup_of(address, connections, RIG, **settings)
    return HopBox(setup, specify(setup))


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with world_at(1.0) as paced:
        yield paced


@dataclass
class Bench:
    """A world, a server of it and a driver connected to the server."""

    world: PacedWorld
    server: HopServer
    box: HopBox
    connections: ExitStack
    segment: int = 0

    def plan(self, hops: int, **changes: Any) -> HopPlan:
        """Hops in a segment of their own."""
        self.segment += 1
        return replace(plan(hops, segment=self.segment), **changes)

    def run(self, hops: int = 1) -> PlanOutcome:
        at_start_height(self.world)
        return self.box.run(self.plan(hops), never)

    def z(self) -> float:
        return self.world.ask(lambda rig: rig.scanner.read_z())


@pytest.fixture
def bench(world: PacedWorld) -> Iterator[Bench]:
    with ExitStack() as connections:
        server = server_of(world)
        connections.callback(server.close)
        at_start_height(world)
        yield Bench(world, server, box_at(server.address, connections), connections)


class Asked:
    """A role of the world's rig, asked on the world's thread: what other wires would do."""

    def __init__(self, world: PacedWorld, role: str) -> None:
        self._world, self._role = world, role

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *given: self._world.ask(lambda rig: getattr(getattr(rig, self._role), name)(*given))


class TestContract:
    """What the rig contract asks of hops, over the wire."""

    test_hops_leave_records = RigContract.test_hops_leave_records_and_samples_on_one_clock
    test_a_stop_ends_the_plan = RigContract.test_a_stop_ends_the_plan_with_the_hop_in_flight

    @pytest.fixture
    def rig(self, bench: Bench) -> Any:
        others = {name: Asked(bench.world, name) for name in ("amplifier", "potentiostat", "coarse_stage")}
        return SimpleNamespace(hop_controller=bench.box, clock=bench.box.clock, **others)

    def test_it_is_a_hop_controller_found_by_its_name(self, bench: Bench) -> None:
        assert isinstance(bench.box, HopController)
        loaded = rig_from_text(RIG)
        assert REGISTRY.find(loaded, "hop_controller", "hop_box").settings is HopBoxSettings

    def test_a_plan_without_hops_dwells_and_samples(self, bench: Bench) -> None:
        until_ns = bench.box.clock.now_ns() + 60_000_000
        outcome = bench.box.run(bench.plan(0, until_ns=until_ns), never)
        last = outcome.blocks[-1]
        assert outcome.hops.size == 0
        assert last.t0_ns + last.counts.shape[0] * last.dt_ns == pytest.approx(until_ns, abs=2 * SLICE_NS)
        assert np.ptp(np.concatenate([bench.box.channels[1].si(b.counts[:, 1]) for b in outcome.blocks])) < 5e-9

    def test_it_says_who_it_is_and_how_it_stands(self, bench: Bench) -> None:
        assert bench.box.identity().model == "opsicm reference server"
        state = bench.box.state()
        assert (state.quality, state.settings["state"]) == (Quality.GOOD, "armed")
        assert state.settings["z_m"] == pytest.approx(bench.z(), abs=2e-9)
        timing = bench.world.ask(lambda rig: rig.hop_controller.timing)
        assert bench.box.timing == timing
        assert bench.box.channels == bench.world.ask(lambda rig: rig.hop_controller.channels)

    def test_safe_withdraws_and_the_next_plan_is_a_new_segment(self, bench: Bench) -> None:
        z = bench.run(2).hops["z_stop"][-1]
        bench.box.safe()
        assert bench.z() >= z + 2e-6 + 2.9e-6
        assert bench.run(1).blocks[0].first_sample == 0


def test_blocks_come_while_the_plan_runs(bench: Bench) -> None:
    waited, seen = stopwatch(), list[int]()
    at_start_height(bench.world)
    line = bench.box._link.ask(lambda line: line)

    def stop() -> bool:
        seen.append(line.arrived.qsize())
        return False

    outcome = bench.box.run(bench.plan(3), stop)
    assert len(seen) > 8
    assert max(seen) < 6, "they are taken as they come"
    assert len(outcome.blocks) > 8
    assert waited() >= 0.15  # three hops of 67 ms and more


def test_samples_go_on_between_the_plans_of_a_segment(bench: Bench) -> None:
    first = bench.run(2)
    pause(0.05)
    second = bench.box.run(replace(bench.plan(1), segment=bench.segment - 1, first_hop=2), never)
    ends = [b.first_sample + b.counts.shape[0] for b in (*first.blocks, *second.blocks)]
    assert [b.first_sample for b in (*first.blocks, *second.blocks)][1:] == ends[:-1]
    assert second.hops["sample_start"][0] - first.hops["sample_top"][-1] > 4000


def test_an_abort_acts_within_the_hop_in_flight(bench: Bench) -> None:
    at_start_height(bench.world)
    asked = iter([False] * 12 + [True] * 1000)
    began = stopwatch()
    outcome = bench.box.run(bench.plan(50), lambda: next(asked))
    assert 1 <= outcome.hops.size < 10
    assert outcome.hops["outcome"].tolist() == [Outcome.CONTACT] * outcome.hops.size
    assert began() < 1.5
    assert bench.z() >= outcome.hops["z_stop"][-1] + 1.9e-6


def test_a_plan_without_time_has_no_samples_and_breaks_no_segment(bench: Bench) -> None:
    first = bench.run(1)
    segment = bench.segment
    past = replace(bench.plan(0, until_ns=0), segment=segment)
    blocks = [*first.blocks]
    for _ in range(3):
        blocks += bench.box.run(past, never).blocks
        pause(0.01)
    blocks += bench.box.run(replace(bench.plan(1), segment=segment, first_hop=1), never).blocks
    ends = [b.first_sample + b.counts.shape[0] for b in blocks]
    assert [b.first_sample for b in blocks][1:] == ends[:-1]
    assert all(np.all(b.quality == Quality.GOOD) for b in blocks)


def test_a_dwell_height_only_ever_withdraws(bench: Bench) -> None:
    bench.run(1)
    for k, (above, expected) in enumerate([(1e-6, 1e-6), (-5e-6, 0.0)]):
        z = bench.z()
        payload = bytearray(hop_wire.plan_payload(bench.plan(0), bench.world.now_ns() + 40_000_000))
        struct.pack_into("<d", payload, 60, z + above)
        line = bench.box._link.ask(lambda line: line)
        line.request(hop_wire.PLAN, 900 + k, bytes(payload))
        while not isinstance(line.arrived.get(timeout=1.0)[1], hop_wire.End):
            pass
        assert bench.z() - z == pytest.approx(expected, abs=5e-9)


def test_it_draws_the_piezo_up_for_a_coarse_motion_and_breaks_no_segment(bench: Bench) -> None:
    """After a contact the piezo stands below its middle: whoever drives the stage down has the tip in the specimen."""
    first = bench.run(1)
    assert bench.z() < -0.5e-6
    bench.box.draw_up()
    assert bench.z() == pytest.approx(0.0, abs=5e-9)
    bench.box.draw_up()
    assert bench.z() == pytest.approx(0.0, abs=5e-9)
    again = bench.box.run(replace(bench.plan(1), segment=bench.segment - 1, first_hop=1), never)
    blocks = [*first.blocks, *again.blocks]
    assert [b.first_sample for b in blocks][1:] == [b.first_sample + b.counts.shape[0] for b in blocks][:-1]
    assert again.hops["outcome"].tolist() == [Outcome.CONTACT]


def test_after_a_coarse_motion_it_reaches_as_far_from_above(bench: Bench) -> None:
    bench.world.ask(lambda rig: rig.hop_controller.rise_to(4e-6))  # type: ignore[attr-defined]
    bench.box.draw_up()
    assert bench.z() == pytest.approx(4e-6, abs=5e-9)  # never down but in a hop
    far = replace(bench.plan(1), parameters=replace(bench.plan(1).parameters, approach=4e-6))
    # The surface is 3 µm below the scanner's zero and 7 µm below the tip: an approach of 4 µm counts from the zero.
    outcome = bench.box.run(far, never)
    assert outcome.hops["outcome"].tolist() == [Outcome.CONTACT]
    again = bench.box.run(replace(far, segment=far.segment, first_hop=1), never)
    assert again.hops["outcome"].tolist() == [Outcome.CONTACT]  # from the amplitude above it, with the plan's own reach


def test_a_rig_files_controller_is_served_at_its_address(world: PacedWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with ExitStack() as connections:
        loaded = setup_of(address, connections).rig.rig
        role = loaded.role("hop_controller")
        served = serve(world, Entry("hop_box", role.address or "", {"hop_controller": role}, loaded))
        connections.callback(served.close)
        assert served.address == address
        assert box_at(address, connections).start_height == pytest.approx(3e-6)


# -- what the driver refuses before it is sent


def test_a_plan_beyond_the_ranges_is_refused_before_anything_moves(bench: Bench) -> None:
    plans, z = bench.server.plans, bench.z()
    far = bench.plan(2, x=np.array([0.0, 41e-6]))
    with pytest.raises(LimitCrossed, match="hop x is 41 µm; the scanner goes from -40 to 40 µm; hop within its range"):
        bench.box.run(far, never)
    with pytest.raises(LimitCrossed, match="hop y is nan"):
        bench.box.run(bench.plan(1, y=np.array([np.nan])), never)
    deep = bench.plan(1, parameters=replace(plan(1).parameters, approach=50e-6))
    with pytest.raises(LimitCrossed, match="longest approach is 50 µm; this controller allows at most 20 µm"):
        bench.box.run(deep, never)
    assert bench.server.plans == plans
    assert bench.z() == pytest.approx(z, abs=2e-9)


def test_a_rig_file_bounds_the_approach_rate(bench: Bench) -> None:
    bench.box._fastest = 2e-5
    with pytest.raises(LimitCrossed, match="approach rate is 30 nm/ms; this controller allows at most 20 nm/ms"):
        bench.box.run(bench.plan(1), never)


def test_a_device_set_otherwise_than_the_rig_file_says_is_refused(bench: Bench) -> None:
    bench.box.close()
    other = RIG.replace("latency_us: 300", "latency_us: 200").replace("rate_kS_s: 100", "rate_kS_s: 50")
    setup = setup_of(bench.server.address, bench.connections, other, settle_ms=3.0)
    with pytest.raises(BadInput) as refusal:
        HopBox(setup, specify(setup))
    said = str(refusal.value)
    assert "settle_ms is 3; the device says 4 ms; set one as the other" in said
    assert "latency_us is 200; the device says 300 µs" in said
    assert "rate_kS_s is 50; the device samples every 10000 ns; write 100" in said


def test_an_address_that_is_none_and_a_device_that_is_not_there() -> None:
    with ExitStack() as connections:
        with pytest.raises(BadInput, match="must be host:port, of a device that speaks the hop protocol"):
            box_at("somewhere", connections)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"127.0.0.1:{port}; nobody answers there"):
            box_at(f"127.0.0.1:{port}", connections)


# -- a line that fails and is healed


@pytest.mark.parametrize(
    ("kind", "value", "times", "new_lines"),
    [
        ("late", 0.05, 1, 0),
        ("late", 0.2, 1, 0),
        ("silent", 0.0, 1, 0),
        ("busy", 0.0, 1, 1),
        ("partial", 0.0, 1, 1),
        ("reset", 0.0, 1, 1),
        ("garbage", 0.0, 1, 1),
    ],
)
def test_a_fault_that_passes_is_healed_and_hops_once(
    bench: Bench, kind: str, value: float, times: int, new_lines: int
) -> None:
    at_start_height(bench.world)
    lines, plans = bench.server.greeted, bench.server.plans
    bench.server.faults.set(kind, value, times)
    try:
        hops = bench.box.run(bench.plan(1), never).hops.size
    except InstrumentLost:  # where a beat's answer, and not the exchange before the plan, has shown the fault
        hops = bench.box.run(bench.plan(1), never).hops.size
    assert hops == 1
    assert bench.server.faults.takes(kind) is None, "the fault was shown"
    assert bench.server.greeted - lines == new_lines
    assert 1 <= bench.server.plans - plans <= 2
    assert bench.box.state().quality == Quality.GOOD


@pytest.mark.parametrize("kind", ["silent", "partial", "reset", "garbage", "unavailable"])
def test_a_line_that_stays_broken_is_lost_in_time_and_comes_back(bench: Bench, kind: str) -> None:
    bench.server.faults.set(kind, times=-1)
    if kind == "unavailable":
        bench.server.faults.set("reset", times=1)
    waited = stopwatch()
    state = bench.box.state()
    while state.quality != Quality.MISSING and waited() < 2.0:
        state = bench.box.state()
    assert state.quality == Quality.MISSING
    assert waited() < NOTICED
    with pytest.raises(InstrumentLost):
        bench.box.run(bench.plan(1), never)
    bench.server.faults.clear()
    assert bench.box.state().quality in (Quality.GOOD, Quality.SUSPECT)  # latched by then, for its line was gone
    at_start_height(bench.world)
    assert bench.box.run(bench.plan(1), never).hops.size == 1


def test_a_plan_whose_answer_is_lost_with_its_line_is_not_hopped_twice(bench: Bench) -> None:
    plans, request = bench.server.plans, hop_wire.HopLine.request
    line = bench.box._link.ask(lambda line: line)

    def broken(self: hop_wire.HopLine, kind: int, sequence: int, payload: bytes = b"") -> bytes:
        answer = request(self, kind, sequence, payload)
        if kind == hop_wire.PLAN and self is line:
            raise ConnectionResetError("the answer was lost")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hop_wire.HopLine, "request", broken)
        with pytest.raises(InstrumentLost, match="the line broke as the plan began"):
            bench.box.run(bench.plan(1), never)
    assert bench.server.plans - plans == 1


def test_what_had_arrived_of_a_plan_goes_with_the_loss(bench: Bench) -> None:
    at_start_height(bench.world)
    looks = 0

    def stop() -> bool:
        nonlocal looks
        looks += 1
        if looks == 15:
            bench.server.faults.set("reset")
        return False

    with pytest.raises(InstrumentLost, match="lost during a plan; its line broke") as lost:
        bench.box.run(bench.plan(20), stop)
    outcome: PlanOutcome = lost.value.outcome
    assert len(outcome.blocks) >= 5
    assert 1 <= outcome.hops.size < 20
    assert outcome.hops["hop"].tolist() == list(range(outcome.hops.size))
    at_start_height(bench.world)
    assert bench.box.run(bench.plan(1), never).hops.size == 1, "whoever goes on after a loss has looked"


# -- answers that cannot be believed


def test_a_plan_that_is_accepted_and_does_not_begin(bench: Bench) -> None:
    bench.server.faults.set("latched")
    waited = stopwatch()
    with pytest.raises(InstrumentLost, match=r"accepted a plan and sent nothing of it for 0\.45 s"):
        bench.box.run(bench.plan(1), never)
    assert waited() < NOTICED
    assert bench.run(1).hops.size == 1


@pytest.mark.parametrize("factor", [2.0, 0.0])
def test_a_counter_of_another_unit_or_that_wraps_is_noticed(bench: Bench, factor: float) -> None:
    said = "it has counted"
    bench.server.faults.set("ticks", factor, times=-1)
    while factor == 0.0 and bench.world.now_ns() < 0x10000 * 10_000:  # it wraps at 0.66 s
        pause(0.02)
    at_start_height(bench.world)
    with pytest.raises(InstrumentLost, match=said):
        bench.box.run(bench.plan(1), never)
    state = bench.box.state()
    assert state.quality == Quality.SUSPECT
    assert said in state.message
    bench.server.faults.clear()
    with pytest.raises(InstrumentLost, match="out of time"):
        bench.run(1)


def test_a_clock_that_stands_is_noticed(bench: Bench) -> None:
    bench.server.faults.set("stuck", times=-1)
    waited = stopwatch()
    while bench.box.state().quality == Quality.GOOD:
        assert waited() < NOTICED
    assert "its clock has gone on by 0.0" in bench.box.state().message
    with pytest.raises(InstrumentLost, match="out of time"):
        bench.run(1)


def test_a_height_that_is_no_number(bench: Bench) -> None:
    at_start_height(bench.world)
    bench.server.faults.set("nan", times=-1)
    state = bench.box.state()
    assert (state.quality, state.message) == (Quality.SUSPECT, "it says no height")
    with pytest.raises(InstrumentLost, match="hop 0 has ended in contact and its z_stop is no number") as lost:
        bench.box.run(bench.plan(5), never)
    assert lost.value.outcome.blocks
    pause(0.1)
    assert bench.server.state is State.ARMED, "withdrawn, for it might have gone on"


def test_an_overload_is_in_the_records_and_the_samples(bench: Bench) -> None:
    at_start_height(bench.world)
    bench.server.faults.set("overload")
    outcome = bench.box.run(bench.plan(5), never)
    assert outcome.hops["outcome"].tolist() == [Outcome.OVERLOAD] * outcome.hops.size
    assert outcome.hops.size < 5
    assert outcome.blocks[0].quality[0] == Quality.SATURATED


def test_missing_samples_stay_missing() -> None:
    pieces = ready_pieces(6, 100)
    with ExitStack() as connections:
        blocks = [block for k, (block, _) in enumerate(pieces) if k != 2]
        server = HopServer(ReadyWorld(list(zip(blocks, [hops for _, hops in pieces[:5]], strict=True))), device())
        connections.callback(server.close)
        box = box_at(server.address, connections)
        outcome = box.run(plan(5), never)
        assert [block.first_sample for block in outcome.blocks] == [0, 100, 200, 300, 400, 500]
        assert [block.quality.tolist() for block in outcome.blocks[1:4]] == [[0, 0], [3, 3], [0, 0]]
        assert not outcome.blocks[2].counts.any()
        assert outcome.blocks[3].t0_ns - outcome.blocks[1].t0_ns == 200 * 10_000
        state = box.state()
        assert (state.quality, state.message) == (Quality.SUSPECT, "100 samples of segment 1 have not arrived")


def test_a_long_gap_is_filled_in_pieces_and_a_longer_one_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsicm.drivers.hop_box._PIECE", 1000)
    first, second = ready_pieces(2, 100)
    for gap, blocks in ((2500, [100, 1000, 1000, 500, 100]), (6_000_001, None)):
        begins = 100 + gap
        late = replace(second[0], first_sample=begins, t0_ns=begins * 10_000)
        with ExitStack() as connections:
            server = HopServer(ReadyWorld([first, (late, second[1])]), device())
            connections.callback(server.close)
            box = box_at(server.address, connections)
            if blocks is None:
                with pytest.raises(InstrumentLost, match="6000001 samples have not arrived"):
                    box.run(plan(2), never)
                continue
            outcome = box.run(plan(2), never)
            assert [b.counts.shape[0] for b in outcome.blocks] == blocks
            ends = [b.first_sample + b.counts.shape[0] for b in outcome.blocks]
            assert [b.first_sample for b in outcome.blocks][1:] == ends[:-1]
            assert [b.t0_ns for b in outcome.blocks] == [
                b.first_sample * 10_000 + box._offset_ns for b in outcome.blocks
            ]


def test_samples_beside_their_time_are_refused() -> None:
    pieces = ready_pieces(3, 100)
    late = replace(pieces[2][0], t0_ns=pieces[2][0].t0_ns + 10_000)
    with ExitStack() as connections:
        server = HopServer(ReadyWorld([*pieces[:2], (late, pieces[2][1])]), device())
        connections.callback(server.close)
        box = box_at(server.address, connections)
        with pytest.raises(InstrumentLost, match="sample 200 is 10000 ns beside its time") as lost:
            box.run(plan(3), never)
        assert len(lost.value.outcome.blocks) == 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("z_stop", -3e-4, r"hop 1 has ended in contact and its z_stop is -300 µm, beyond -10 … 10 µm"),
        ("hop", 2, "record 1 says hop 2, and the plan 1"),
        ("hop", 0, "record 1 says hop 0, and the plan 1"),
        ("x", 1e-6, "record 1 says x 1e-06, and the plan 0"),
        ("pixel", 7, "record 1 says pixel 7, and the plan 0"),
        ("outcome", 9, "it sends outcome 9, which no hop has"),
    ],
)
def test_a_record_that_is_not_the_plans_is_a_loss(name: str, value: float, said: str) -> None:
    pieces = ready_pieces(2, 100)
    pieces[1][1][name] = value
    with ExitStack() as connections:
        server = HopServer(ReadyWorld(pieces), device())
        connections.callback(server.close)
        box = box_at(server.address, connections)
        zeros, numbers = np.zeros(2), np.zeros(2, np.int32)
        with pytest.raises(InstrumentLost, match=said) as lost:
            box.run(replace(plan(2), x=zeros, y=zeros, line=numbers, pixel=numbers), never)
        assert lost.value.outcome.hops["hop"].tolist() == ([0, 1] if name == "z_stop" else [0])


def test_more_records_than_hops_are_a_loss() -> None:
    first, second, third = ready_pieces(3, 100)
    with ExitStack() as connections:
        server = HopServer(ReadyWorld([first, (second[0], np.concatenate([second[1], third[1]]))]), device())
        connections.callback(server.close)
        box = box_at(server.address, connections)
        with pytest.raises(InstrumentLost, match="it sends 3 records of a plan of 2 hops"):
            box.run(plan(2), never)


# -- who may come in, and who is not heard


def test_a_second_controller_is_told_who_holds_it_and_a_safe_client_is_admitted(bench: Bench) -> None:
    with ExitStack() as connections, pytest.raises(BadInput, match=r"in use by opsicm at 127\.0\.0\.1:"):
        box_at(bench.server.address, connections)
    at_start_height(bench.world)
    safe = safe_channel({"address": bench.server.address})
    bench.connections.callback(safe.close)
    answers: list[bool] = []
    threading.Timer(0.15, lambda: answers.append(safe())).start()
    with pytest.raises(InstrumentLost, match="a safe client has withdrawn it") as lost:
        bench.box.run(bench.plan(50), never)
    assert lost.value.outcome.blocks
    assert answers == [True]
    assert bench.server.state is State.LATCHED
    with pytest.raises(InstrumentLost, match="latched safe; the pipette is up, for a safe client has withdrawn it"):
        bench.run(1)
    assert bench.box.state().message == "it is latched safe: a safe client has withdrawn it"
    bench.box.close()
    with ExitStack() as connections:
        again = box_at(bench.server.address, connections)  # a new run: somebody has started it
        assert again.state().settings["state"] == "armed"


def test_a_safe_channel_outlives_its_line_and_says_when_it_cannot_reach(bench: Bench) -> None:
    safe = safe_channel({"address": bench.server.address})
    bench.connections.callback(safe.close)
    assert safe()
    assert safe()
    bench.server.close()
    assert not safe()


def test_the_watchdogs_address_names_the_channel(bench: Bench) -> None:
    start, _, role = bench.box.safe_address.rpartition("#")
    assert role == "hop_controller"
    assert start == (f'driver:opsicm.drivers.hop_box:safe_channel {{"address": "tcp://{bench.server.address}"}}')


def test_a_controller_that_falls_silent_is_withdrawn_and_latched(bench: Bench) -> None:
    bench.box.close()
    at_start_height(bench.world)
    with ExitStack() as connections:
        box = box_at(bench.server.address, connections, silence_ms=500.0)
        line = box._link.ask(lambda line: line)
        z = bench.z()
        line._beat_ns = 10**12  # its thread hangs, its line stays open
        waited = stopwatch()
        while bench.server.state is not State.LATCHED:
            assert waited() < 2.0
            pause(0.005)
        assert 0.3 < waited() < 1.5
        assert bench.z() >= z + 2.9e-6
        line._beat_ns = 50_000_000
        with pytest.raises(InstrumentLost, match="it had heard nothing for too long; look at the rig, then resume"):
            box.run(plan(1, segment=7), never)
        at_start_height(bench.world)
        assert box.run(plan(1, segment=8), never).hops.size == 1


def test_a_controller_that_is_gone_is_withdrawn_after_its_grace(bench: Bench) -> None:
    line = bench.box._link.ask(lambda line: line)
    z = bench.z()
    line.close()
    waited = stopwatch()
    while bench.server.state is not State.LATCHED:
        assert waited() < 1.0
        pause(0.005)
    assert bench.z() >= z + 2.9e-6


# -- time


def test_the_clock_is_the_devices_and_goes_on_without_a_jump(bench: Bench) -> None:
    clock = bench.box.clock
    earliest, begin_ns, latest = monotonic_ns(), clock.now_ns(), monotonic_ns()
    clock.wait_until(begin_ns + 300_000_000)
    before, end_ns, after = monotonic_ns(), clock.now_ns(), monotonic_ns()
    # A busy machine may stop between two readings: the device's time lies between those of the host's around it.
    assert 0.998 * (before - latest) - 500_000 <= end_ns - begin_ns <= 1.002 * (after - earliest) + 500_000
    assert end_ns >= begin_ns + 300_000_000
    block = bench.run(1).blocks[0]
    assert 0 <= clock.now_ns() - block.t0_ns < 1_000_000_000


def test_the_clock_of_a_world_at_five_times_runs_five_times() -> None:
    with world_at(5.0) as world, ExitStack() as connections:
        server = server_of(world)
        connections.callback(server.close)
        box = box_at(server.address, connections)
        at_start_height(world)
        begin_ns, host_ns = box.clock.now_ns(), monotonic_ns()
        box.clock.wait_until(begin_ns + 1_000_000_000)
        took_ns = monotonic_ns() - host_ns
        assert 198_000_000 < took_ns < 400_000_000  # a busy machine wakes late
        assert box.clock.now_ns() - begin_ns == pytest.approx(5 * took_ns, rel=0.02)
        outcome = box.run(plan(3), never)
        assert outcome.hops["outcome"].tolist() == [0, 0, 0]
        assert (monotonic_ns() - host_ns - took_ns) * 5 > 3 * 67e6
        assert box.state().settings["clock_rate"] == pytest.approx(5.0, rel=1e-3)


def exchange(host_ns: int, device_ns: int, trip_ns: int = 100_000) -> hop_wire.DeviceTime:
    return hop_wire.DeviceTime(host_ns, trip_ns, device_ns, device_ns // 10_000, 0.0, 1, 0)


def test_offset_and_rate_are_measured() -> None:
    time = hop_wire.TimeMap()
    for k in range(60):
        host_ns = k * 100_000_000
        time.add(exchange(host_ns, 7_000_000 + round(host_ns * 1.0002)), 1.0, 10_000)
    assert time.rate == pytest.approx(1.0002, rel=1e-6)
    assert time.device_ns(7_000_000_000) == pytest.approx(7_000_000 + 7_000_000_000 * 1.0002, abs=1000)
    assert time.wrong == ""


def test_a_device_that_was_started_anew_is_out_of_time() -> None:
    time = hop_wire.TimeMap()
    time.add(exchange(0, 500_000_000_000), 1.0, 10_000)
    time.add(exchange(1_000_000_000, 20_000_000), 1.0, 10_000)
    assert "its clock has gone on by -499.98" in time.wrong
