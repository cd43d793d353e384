"""A coarse motion with a piezo that is drawn up before and in the middle of its travel after."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsicm.core.errors import InstrumentLost, LimitCrossed, Problem
from opsicm.drivers.analogue_scanner import AnalogueScanner
from opsicm.instruments.lifted_stage import Liftable, LiftedStage
from opsicm.instruments.roles import CoarseStage, Identity, RoleState
from tests.fixtures.ni_bench import Bench, ni_bench


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ni_bench() as bench:
        yield bench


class Stage:
    """A stage that notes where the piezo's output stood when it was told to move."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self.seen, self.arrival_ns = bench, [0.0], 0
        self.stalled = False

    def move_to(self, z: float, speed: float | None = None) -> int:
        assert (z, speed) == (3e-6, None)
        self.seen.append(self._bench.circuit.voltage("Dev1/ao0"))
        self.arrival_ns = self._bench.card.clock.now_ns() + 100_000_000
        return self.arrival_ns

    def position(self) -> float:
        return 3e-6 if not self.stalled else 5e-6

    def identity(self) -> Identity:
        return Identity("a stage")

    def state(self) -> RoleState:
        return RoleState(0)

    def safe(self) -> None:
        self.seen.append(float("nan"))


@pytest.mark.parametrize(("before", "meanwhile"), [(-8.0, 0.0), (7.0, 7.0)])
def test_the_piezo_is_up_before_the_motor_turns_and_centred_when_it_has_arrived(
    bench: Bench, before: float, meanwhile: float
) -> None:
    scanner: AnalogueScanner = bench.connect("scanner")
    assert isinstance(scanner, Liftable)
    stage = Stage(bench)
    lifted: CoarseStage = LiftedStage(stage, scanner, scanner)
    bench.card.write("ao0", before)
    assert lifted.move_to(3e-6) == stage.arrival_ns
    assert stage.seen[-1] == pytest.approx(meanwhile, abs=1e-6)
    scanner.read_z()
    assert bench.circuit.voltage("Dev1/ao0") == pytest.approx(meanwhile, abs=1e-6)  # it has not arrived
    bench.card.clock.wait_until(stage.arrival_ns)
    scanner.read_z()
    assert bench.circuit.voltage("Dev1/ao0") == pytest.approx(0.0, abs=1e-6)


def test_safe_forgets_that_the_piezo_was_to_be_centred(bench: Bench) -> None:
    scanner: AnalogueScanner = bench.connect("scanner")
    lifted = LiftedStage(Stage(bench), scanner, scanner)
    arrival = lifted.move_to(3e-6)
    scanner.safe()
    bench.card.clock.wait_until(arrival)
    scanner.read_z()
    assert bench.circuit.voltage("Dev1/ao0") == 10.0


def test_the_rest_is_the_stages_own(bench: Bench) -> None:
    stage = Stage(bench)
    scanner = bench.connect("scanner")
    lifted = LiftedStage(stage, scanner, scanner)
    assert lifted.position() == 3e-6
    assert lifted.identity().model == "a stage"
    assert lifted.state().message == ""
    lifted.safe()
    assert stage.seen[-1] != stage.seen[-1]


def test_a_motor_that_has_stalled_has_not_arrived(bench: Bench) -> None:
    scanner: AnalogueScanner = bench.connect("scanner")
    stage = Stage(bench)
    lifted = LiftedStage(stage, scanner, scanner)
    bench.card.write("ao0", 7.0)
    arrival = lifted.move_to(3e-6)
    stage.stalled = True
    bench.card.clock.wait_until(arrival)
    scanner.read_z()
    assert bench.circuit.voltage("Dev1/ao0") == pytest.approx(7.0, abs=1e-6)


class Standing:
    """A stage and a piezo that stand where they are told, and note what they are asked."""

    def __init__(self, coarse: float, z: float) -> None:
        self.coarse, self.z, self.asked = coarse, z, list[float]()

    def move_to(self, z: float, speed: float | None = None) -> int:  # noqa: ARG002
        self.asked.append(z)
        return 0

    def position(self) -> float:
        return self.coarse

    def read_z(self) -> float:
        return self.z


@pytest.mark.parametrize("z", [-4e-6, math.nan])
def test_a_stage_does_not_come_down_over_a_piezo_that_nobody_has_drawn_up(z: float) -> None:
    standing: Any = Standing(10e-6, z)
    lifted = LiftedStage(standing, standing, None)
    with pytest.raises(LimitCrossed, match=r"asked to come down to 3 µm; the piezo stands at .* µm, below the middle"):
        lifted.move_to(3e-6)
    assert standing.asked == []
    lifted.move_to(60e-6)  # up is never refused
    assert standing.asked == [60e-6]
    standing.z = 0.0
    lifted.move_to(3e-6)
    assert standing.asked == [60e-6, 3e-6]


def test_up_it_goes_although_whoever_lifts_the_piezo_is_lost() -> None:
    standing: Any = Standing(3e-6, -1e-6)

    class Lost:
        def draw_up(self) -> None:
            raise InstrumentLost("hop_controller", Problem("hop controller", "lost", "no answer", "look"))

        def centre_at(self, t_ns: int, arrived: Callable[[], bool]) -> None:
            """Nothing."""

    lifted = LiftedStage(standing, standing, Lost())
    lifted.move_to(60e-6)
    assert standing.asked == [60e-6]
    with pytest.raises(InstrumentLost):
        lifted.move_to(1e-6)
    assert standing.asked == [60e-6]
