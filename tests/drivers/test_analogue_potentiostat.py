"""The analogue potentiostat behind a card: its program, its order of switching, its charge, its refusals."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.experiment.controls import CellControl, ConstantCurrent, OpenCircuit, PotentialRamp
from tests.fixtures.analogue_rig import EXPERIMENT, POTENTIOSTAT, analogue_rig, connect, constant
from tests.fixtures.fake_card import FakeCard
from tests.fixtures.laboratory import Laboratory

pytestmark = pytest.mark.real_time

CELL, MODE, OUTPUT = "Dev1/port0/line0", "Dev1/port0/line1", "Dev1/ao1"
MS = 1_000_000


@pytest.fixture
def rig(laboratory: Laboratory) -> Iterator[tuple[Any, FakeCard]]:
    with ExitStack() as connections:
        device, card, setup = connect(laboratory, "potentiostat", analogue_rig(None))
        connections.push(setup.connections)
        yield device, card


def begin(rig: tuple[Any, FakeCard], control: CellControl, lead: float = 0.02) -> int:
    """Apply a control `lead` [s] ahead and wait until it has begun; when it had to."""
    device, card = rig
    at_ns = card.clock.now_ns() + round(lead * 1e9)
    device.apply(control, at_ns)
    card.clock.wait_until(at_ns + 3 * MS)
    for _ in range(100):  # a busy machine lets its threads wait
        if vars(device)["_waiting"] is None:
            break
        wait(card, 0.002)
    return at_ns


def wait(card: FakeCard, seconds: float) -> None:
    card.clock.wait_until(card.clock.now_ns() + round(seconds * 1e9))


OPENED = [("Dev1/port0/line0", 0.0)]  # what connecting does


def test_connecting_opens_the_cell_and_writes_nothing_else(rig: tuple[Any, FakeCard]) -> None:
    """A line that is read before it is written becomes an input, which floats: a relay may then close the cell."""
    device, card = rig
    wait(card, 0.03)
    assert card.events == OPENED
    reading = device.read()
    assert reading.control == "open_circuit"
    assert reading.potential == pytest.approx(0.4)
    assert device.state().settings["cell"] == "off"
    assert device.safe_address == "fake {} {'Dev1/port0/line0': False}#potentiostat"


def test_a_ramp_begins_at_its_time_and_stays_on_it(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    at_ns = begin(rig, PotentialRamp(0.4, -0.1))
    closed = card.at_ns[card.events.index((CELL, 1.0))]
    assert closed > at_ns - 2 * MS
    wait(card, 0.05)
    reading = device.read()
    t = (reading.t_ns - at_ns) * 1e-9
    assert 0 <= card.clock.now_ns() - reading.t_ns < 30 * MS
    assert reading.potential == pytest.approx(0.4 - 0.1 * t, abs=3e-4)
    assert reading.set_point == pytest.approx(0.4 - 0.1 * t)
    assert reading.current == pytest.approx(-0.1 * 0.05)
    assert reading.control == "potential"
    assert card.outputs[OUTPUT][1] == pytest.approx(0.1), "the input inverts: a falling potential is a rising voltage"


def test_controls_begin_within_two_milliseconds(rig: tuple[Any, FakeCard]) -> None:
    device, _ = rig
    late = []
    for k in range(20):
        begin(rig, PotentialRamp(0.4, 0.01 * (k + 1)), lead=0.012)
        late.append(device.state().settings["begins_late_s"])
    # The median: what else the machine does may delay one or another.
    assert statistics.median(late) < 2e-3


def test_a_current_counts_its_charge_from_every_sample(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    at_ns = begin(rig, ConstantCurrent(-5e-4))
    wait(card, 0.2)
    reading = device.read()
    assert reading.current == pytest.approx(-5e-4)
    flowed = card.at_ns[card.events.index((OUTPUT, -0.5))]
    # Counted to the last sample, half an average after the reading's own time.
    assert reading.charge == pytest.approx(-5e-4 * (reading.t_ns + 5 * MS - flowed) * 1e-9, abs=5e-4 * 1e-3)
    assert reading.potential < 0.4
    assert flowed > at_ns - 2 * MS


def test_an_open_cell_counts_no_offset_and_late_samples_count_as_the_cell_was(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    card.late_ns = 20 * MS
    current = card.inputs["Dev1/ai3"]
    card.inputs["Dev1/ai3"] = lambda t: current(t) + 0.01  # 10 µA of offset
    begin(rig, ConstantCurrent(-1e-3))
    wait(card, 0.1)
    begin(rig, OpenCircuit())
    wait(card, 0.06)
    charge = device.read().charge
    assert card.events[-2:] == [(CELL, 0.0), (OUTPUT, 0.0)]
    flowed = (card.at_ns[-1] - card.at_ns[card.events.index((OUTPUT, -1.0))]) * 1e-9
    assert charge == pytest.approx(-0.99e-3 * flowed, rel=0.01)
    wait(card, 0.05)
    assert device.read().charge == charge


def test_a_cut_off_opens_the_cell_by_itself(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    begin(rig, ConstantCurrent(-1e-2, lowest=0.38))  # 0.2 V/s: after 100 ms
    wait(card, 0.15)
    reading = device.read()
    assert reading.cut_off
    assert reading.control == "open_circuit"
    assert reading.current == 0.0
    assert 0.38 - 0.2 * 0.03 < reading.potential <= 0.38, "judged at least every 20 ms"
    assert not card.lines[CELL]
    assert card.events[-1] == (OUTPUT, 0.0), "no current is left at the input"


def test_a_mode_is_changed_with_the_cell_off_and_a_harmless_set_point(rig: tuple[Any, FakeCard]) -> None:
    _, card = rig
    begin(rig, PotentialRamp(0.4))
    del card.events[:], card.at_ns[:]
    at_ns = begin(rig, ConstantCurrent(-2e-4))
    assert card.events == [(CELL, 0.0), (OUTPUT, 0.0), (MODE, 1.0), (CELL, 1.0), (OUTPUT, -0.2)]
    assert abs(card.at_ns[3] - at_ns) < 20 * MS
    assert at_ns - card.at_ns[0] < 20 * MS
    del card.events[:], card.at_ns[:]
    begin(rig, PotentialRamp(0.39))
    assert card.events == [
        (CELL, 0.0),
        (OUTPUT, pytest.approx(-0.39)),
        (MODE, 0.0),
        (CELL, 1.0),
        (OUTPUT, pytest.approx(-0.39)),
    ]


def test_safe_opens_the_cell_whatever_waits(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    begin(rig, PotentialRamp(0.3))
    device.apply(PotentialRamp(0.2), card.clock.now_ns() + 30 * MS)
    device.safe()
    assert not card.lines[CELL]
    wait(card, 0.06)
    assert not card.lines[CELL]
    assert device.read().control == "open_circuit"


def test_a_line_that_is_not_as_it_was_set_is_told(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    card.lines[CELL] = True
    assert device.state().quality is Quality.SUSPECT
    assert "nothing has switched it on here" in device.state().message
    card.lines[CELL] = False
    begin(rig, PotentialRamp(0.4))
    card.lines[CELL] = False
    assert "the cell is off and should be on" in device.state().message


def test_a_monitor_at_its_end_and_a_card_without_samples_are_told(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    card.inputs["Dev1/ai3"] = constant(10.0)
    assert device.state().quality is Quality.SATURATED
    card.lost = True
    assert device.state().quality is Quality.MISSING
    wait(card, 0.03)
    with pytest.raises(InstrumentLost):
        device.read()
    card.lost = False
    assert device.read().potential == pytest.approx(0.4), "it is there again"


def test_a_cell_that_goes_the_other_way_is_opened(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    potential = card.inputs["Dev1/ai2"]
    card.inputs["Dev1/ai2"] = lambda t: -potential(t)  # the monitor is inverted, or the input is
    at_ns = begin(rig, PotentialRamp(0.4))
    wait(card, 0.3)
    assert not card.lines[CELL]
    opened = card.at_ns[len(card.events) - 1 - card.events[::-1].index((CELL, 0.0))]
    assert opened - at_ns < 400 * MS, "200 ms, and what a busy machine adds"
    with pytest.raises(
        LimitCrossed, match=r"cell potential is -0.400 V; the set point is 0.400 V: the potentiostat is"
    ):
        device.read()
    assert "look at the sign of input_V_per_V" in device.state().message
    card.inputs["Dev1/ai2"] = potential
    begin(rig, PotentialRamp(0.4))
    assert device.read().potential == pytest.approx(0.4), "another control is another try"


def test_a_cell_that_runs_away_from_its_set_point_is_opened_at_the_second_look(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    potential = card.inputs["Dev1/ai2"]
    at_ns = begin(rig, PotentialRamp(0.4))
    fell_ns = card.clock.now_ns()
    card.inputs["Dev1/ai2"] = lambda t: potential(t) - 5.0 * (t > fell_ns * 1e-9)  # the reference has come off
    wait(card, 0.12)
    assert not card.lines[CELL]
    assert card.at_ns[-1] - fell_ns < 100 * MS, "two looks, and what a busy machine adds"
    assert card.at_ns[-1] > at_ns
    with pytest.raises(LimitCrossed, match="the potentiostat is not in control, and the cell was opened"):
        device.read()


def test_a_jump_of_the_program_is_no_fault(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    potential, clock = card.inputs["Dev1/ai2"], card.clock
    at_ns = clock.now_ns() + 20 * MS
    # The double layer takes 100 ms to follow from 0.4 to 1.7 V.
    card.inputs["Dev1/ai2"] = lambda t: np.minimum(potential(t), 0.4 + 13.0 * np.maximum(t - at_ns * 1e-9, 0.0))
    device.apply(PotentialRamp(1.7), at_ns)
    wait(card, 0.35)
    assert device.read().potential == pytest.approx(1.7)
    assert card.lines[CELL]


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (
            PotentialRamp(0.3, ir_compensation=0.9),
            "it asks 90 % iR compensation, and the panel's 0 % stays all the time",
        ),
        (PotentialRamp(2.1), "the rig file allows -0.5 … 2 V"),
        (ConstantCurrent(0.02), "the current range ends at 10 mA"),
        (ConstantCurrent(-1e-4, lowest=-0.7), "the rig file allows -0.5 … 2 V"),
    ],
)
def test_what_the_ranges_refuse_is_never_written(rig: tuple[Any, FakeCard], control: CellControl, message: str) -> None:
    device, card = rig
    with pytest.raises(OutsideDomain) as refused:
        device.apply(control, 0)
    assert message in str(refused.value)
    wait(card, 0.02)
    assert card.events == OPENED


def test_a_ramp_is_held_where_the_rig_file_ends_it(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    begin(rig, PotentialRamp(1.9, 10.0))
    wait(card, 0.05)
    assert card.outputs[OUTPUT][:2] == pytest.approx((-2.0, 0.0))
    assert device.read().potential == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("cell_line: Dev1/port0/line0, ", "", "cell_line; is missing"),
        ("potential_output: Dev1/ao1, ", "", "cell[1] is a ramp from 0.4 V at -100 mV/s: the rig file names no output"),
        ("mode_line: Dev1/port0/line1, ", "", "cell[2] is a current of -0.05 mA: no line switches the mode"),
        ("galvanostat_mA_per_V: 1, ", "", "cell[2] is a current of -0.05 mA: is missing, and a current needs it"),
        ("current_mA_per_V: 1, ", "", "current_mA_per_V; is missing"),
        ("lowest_V: -0.5", "lowest_V: 3", "must be below highest_V, 2"),
        (
            "highest_V: 2",
            "highest_V: 0.35",
            "cell[1] is a ramp from 0.4 V at -100 mV/s: the rig file allows -0.5 … 0.35 V",
        ),
        ("input_V_per_V: -1", "input_V_per_V: 0.03", "it needs 13.3 V at the output, which ends at -10 and 10 V"),
        ("rest_V: 0.4", "rest_V: 0.4, ir_compensation_pct: 80", "dial 0 % and write ir_compensation_pct: 0, or change"),
        ("rest_V: 0.4", "rest_V: 0.4, largest_mA: 0.04", "cell[2] is a current of -0.05 mA: the current range ends at"),
    ],
)
def test_a_program_that_needs_more_than_the_rig_file_gives_is_refused_before_the_run(
    laboratory: Laboratory, before: str, after: str, message: str
) -> None:
    assert before in POTENTIOSTAT
    settings = POTENTIOSTAT.replace(before, after)
    with pytest.raises(BadInput) as refused:
        connect(laboratory, "potentiostat", analogue_rig(None, settings))
    assert message in str(refused.value)
    assert "rig.yaml" in str(refused.value)


def test_a_program_of_one_kind_needs_no_mode_line(laboratory: Laboratory) -> None:
    text = EXPERIMENT.replace("  - constant_current: {current_mA: -0.05, until: {for_s: 1}}\n", "")
    settings = POTENTIOSTAT.replace("mode_line: Dev1/port0/line1, ", "").replace("galvanostat_mA_per_V: 1, ", "")
    device, card, setup = connect(laboratory, "potentiostat", analogue_rig(None, settings), text)
    with setup.connections:
        begin((device, card), PotentialRamp(0.3))
        assert card.lines == {CELL: True}
        with pytest.raises(OutsideDomain, match="no line switches the mode, and the panel is potentiostatic"):
            device.apply(ConstantCurrent(-1e-5), 0)


def test_samples_that_did_not_come_are_bridged_and_told(rig: tuple[Any, FakeCard]) -> None:
    device, card = rig
    begin(rig, ConstantCurrent(-1e-3))
    wait(card, 0.05)
    card.lost = True
    wait(card, 0.7)
    card.lost = False
    wait(card, 0.05)
    state = device.state()
    assert state.quality is Quality.SUSPECT
    assert "of samples did not come and are bridged by straight lines" in state.message
    flowed = card.at_ns[card.events.index((OUTPUT, -1.0))]
    reading = device.read()
    assert reading.charge == pytest.approx(-1e-3 * (reading.t_ns + 5 * MS - flowed) * 1e-9, rel=0.01)


def test_the_set_point_of_an_open_cell_stands_still(rig: tuple[Any, FakeCard]) -> None:
    """A ramp that went on would stand beyond every limit when somebody closes the cell at the panel."""
    device, card = rig
    begin(rig, PotentialRamp(0.4, -2.0))
    wait(card, 0.1)
    device.safe()
    volts, slope, *_ = card.outputs[OUTPUT]
    assert slope == 0.0
    wait(card, 0.1)
    assert card.outputs[OUTPUT][0] == volts


def test_a_defect_in_its_thread_opens_the_cell_and_is_said(
    rig: tuple[Any, FakeCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, card = rig
    begin(rig, PotentialRamp(0.4, 0.01))
    assert card.lines[CELL] is True

    def wrong() -> None:
        raise ValueError("half an answer")

    monkeypatch.setattr(device, "_look", wrong)
    wait(card, 0.1)
    for _ in range(100):
        if vars(device)["_opened"] is not None:
            break
        wait(card, 0.02)
    with pytest.raises(LimitCrossed, match=r"not driven any more; its driver has a defect \(ValueError: half"):
        device.read()
    assert card.lines[CELL] is False
