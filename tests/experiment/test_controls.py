"""What each cell step asks of a potentiostat, as plain numbers; and controls as data, there and back."""

from __future__ import annotations

import itertools
import json
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsicm.core.errors import BadInput
from opsicm.experiment.cell_steps import (
    CellRepeat,
    Conditioning,
    ConstantCurrentStep,
    CutOff,
    EndCurrent,
    Gitt,
    Hold,
    Ladder,
    Rest,
    Sweep,
    Until,
)
from opsicm.experiment.controls import (
    CellControl,
    ConstantCurrent,
    OpenCircuit,
    PotentialRamp,
    cell_actions,
    control_data,
    control_from_data,
    control_text,
    controls_of,
    cut_offs,
    row_period,
    step_duration,
    turning_potentials,
)

S = 1_000_000_000
AREA, CAPACITY = 5e-5, 3.6

# step → (control, seconds) of one round, rounds
ASKED = [
    (
        Sweep(from_V=1.0, to_V=0.0, rate_mV_s=100, cycles=3, start_V=0.5),
        [(PotentialRamp(0.5, -0.1), 5), (PotentialRamp(0.0, 0.1), 10), (PotentialRamp(1.0, -0.1), 5)],
        3,
    ),
    (
        Conditioning(from_V=0.2, to_V=0.4, rate_mV_s=10, ir_compensation_pct=80),
        [(PotentialRamp(0.2, 0.01, 0.8), 20), (PotentialRamp(0.4, -0.01, 0.8), 20)],
        1,
    ),
    (Hold(potential_V=0.1, for_s=9, until=EndCurrent(current_mA=0.1)), [(PotentialRamp(0.1), 9)], 1),
    (
        Ladder(from_V=0.3, to_V=0.1, step_mV=100, rest_s=2, hold_s=3),
        [(PotentialRamp(0.3), 5), (PotentialRamp(0.2), 5), (PotentialRamp(0.1), 5)],
        1,
    ),
    (ConstantCurrentStep(c_rate=-1, until=Until(potential_V=0.01)), [(ConstantCurrent(-1e-3, lowest=0.01), None)], 1),
    (
        ConstantCurrentStep(current_mA_cm2=0.4, until=Until(potential_V=1.0, for_s=60)),
        [(ConstantCurrent(2e-4, highest=1.0), 60)],
        1,
    ),
    (
        Gitt(current_mA=-0.1, pulse_s=2, rest_s=3, until=CutOff(potential_V=0.05)),
        [(ConstantCurrent(-1e-4, lowest=0.05), 2), (OpenCircuit(), 3)],
        None,
    ),
    (Rest(for_s=7), [(OpenCircuit(), 7)], 1),
]


@pytest.mark.parametrize(("step", "expected", "rounds"), ASKED, ids=[type(step).__name__ for step, _, _ in ASKED])
def test_what_a_step_asks(step: Sweep, expected: list[tuple[CellControl, float | None]], rounds: int | None) -> None:
    asked = controls_of(step, AREA, CAPACITY)
    assert asked.rounds == rounds
    assert len(asked.round) == len(expected)
    for timed, (control, seconds) in zip(asked.round, expected, strict=True):
        assert timed.duration_ns == (None if seconds is None else seconds * S)
        assert type(timed.control) is type(control)
        for value, wanted in zip(astuple(timed.control), astuple(control), strict=True):
            assert value == (None if wanted is None else pytest.approx(wanted, rel=1e-12, abs=1e-15))


def test_rests_levels_and_ends_of_a_step() -> None:
    ladder = controls_of(Ladder(from_V=0.3, to_V=0.1, step_mV=100, rest_s=2, hold_s=3), AREA, None)
    assert [(timed.level, timed.rested_after_ns) for timed in ladder.round] == [(v, 2 * S) for v in (0.3, 0.2, 0.1)]
    assert ladder.time_after_rest == 3
    assert ladder.potential_span == (0.1, 0.3)
    pulses = controls_of(Gitt(current_mA=-0.1, pulse_s=2, rest_s=3, pulses=4), AREA, None)
    assert pulses.time_after_rest == 3
    assert pulses.potential_span is None
    assert pulses.duration == 20
    assert controls_of(Hold(potential_V=0.1, until=EndCurrent(current_mA=0.1)), AREA, None).duration is None
    assert not controls_of(Rest(for_s=1), AREA, None).controls_cell


def test_a_program_is_unrolled_with_its_paths_visits_and_delithiated_ends() -> None:
    charge = ConstantCurrentStep(current_mA=0.1, until=Until(potential_V=1.0))
    discharge = ConstantCurrentStep(current_mA=-0.1, until=Until(potential_V=0.0))
    program = [CellRepeat(times=2, steps=(charge, CellRepeat(times=2, steps=(Rest(for_s=1), discharge))))]
    found = [(action.path, action.visit, action.delithiated_end) for action in cell_actions(program, AREA, None)]
    inner = [("cell[0].1.0", 0, False), ("cell[0].1.1", 0, False), ("cell[0].1.0", 1, False), ("cell[0].1.1", 1, False)]
    again = [(path, visit + 2, end) for path, visit, end in inner]
    assert found == [("cell[0].0", 0, True), *inner, ("cell[0].0", 1, True), *again]
    assert cut_offs(program) == (0.0, 1.0)
    assert turning_potentials(program) == {0.0, 1.0}
    assert step_duration(program[0]) is None
    assert step_duration(CellRepeat(times=3, steps=(Rest(for_s=1), Rest(for_s=2)))) == 9


def test_pulses_that_only_a_cut_off_ends_come_to_an_end() -> None:
    pulses = Gitt(current_mA=-0.1, pulse_s=2, rest_s=3, until=CutOff(potential_V=0.05))
    actions = list(cell_actions([pulses], AREA, None))
    assert len(actions) == 20_000
    assert actions[0].timed.cut_off_ends_step


def test_what_is_left_of_a_ramp_begins_where_it_was_left() -> None:
    (action,) = itertools.islice(cell_actions([Sweep(from_V=1.0, to_V=0.0, rate_mV_s=100)], AREA, None), 1)
    left = action.remainder(3 * S, 0.0)
    assert isinstance(left.control, PotentialRamp)
    assert left.control.start == pytest.approx(0.7)
    assert left.control.slope == -0.1
    assert left.duration_ns == 7 * S


def test_slow_rows_of_a_ramp_are_a_millivolt_apart_within_bounds() -> None:
    assert row_period(PotentialRamp(1.0, -5e-3)) == pytest.approx(0.2)
    assert row_period(PotentialRamp(1.0, -1.0)) == 0.1
    assert row_period(PotentialRamp(1.0, 1e-6)) == row_period(OpenCircuit()) == row_period(PotentialRamp(1.0)) == 1.0


finite = st.floats(allow_nan=False, allow_infinity=False)
CONTROLS = st.one_of(
    st.builds(PotentialRamp, finite, finite, finite),
    st.builds(ConstantCurrent, finite, st.none() | finite, st.none() | finite),
    st.builds(OpenCircuit),
)


@given(CONTROLS)
def test_a_control_survives_the_journal_and_so_does_its_old_form(control: CellControl) -> None:
    assert control_from_data(json.loads(json.dumps(control_data(control)))) == control
    assert control_from_data(repr(control)) == control
    assert control_text(control)


@pytest.mark.parametrize(
    "damaged",
    [
        "PotentialRamp(start=__import__('os'))",
        "PotentialRamp(begin=1.0)",
        "Potential",
        "PotentialRamp(1.0)",
        {"kind": "ramp"},
        {"kind": "jump", "start_V": 1.0},
        7,
        None,
    ],
)
def test_a_damaged_control_is_refused(damaged: object) -> None:
    with pytest.raises(BadInput, match=r"cell control in the journal.*ramp, constant_current, open_circuit"):
        control_from_data(damaged)


def test_only_one_module_matches_on_the_steps() -> None:
    """A new cell step is its model and its controls; its export says what a cycler is told."""
    source = Path(__file__).parents[2] / "src/opsicm"
    words = ("case Sweep(", "case Ladder(", "case Hold(", "case Gitt(", 'word == "sweep"', 'word == "ladder"')
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    assert found == {"experiment/controls.py", "formats/unicycler/writing.py", "results/run_description.py"}
