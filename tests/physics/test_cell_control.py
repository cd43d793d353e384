"""What a potentiostat does to the cell: sweeps, cut-offs, switching, its own speed, and any step it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsicm.core.errors import OutsideDomain
from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell, CellStopped

SET = parameter_set()
PARAMETERS = SET.values


def booked(cell: Cell, start: float) -> float:
    """Charge that lithium, double layer and film account for [C]."""
    return (start - cell.stoichiometry) * cell.capacity + cell.double_layer_charge + cell.sei_charge


def test_cut_off_is_met_to_ten_microvolts() -> None:
    """A galvanostat stops at its cut-off, whatever the step, and the cell waits for the next order."""
    times = []
    for step in (0.5, 10.0):
        cell = Cell(PARAMETERS, initial_potential=0.4)
        cell.set_current(-2e-4, cut_offs=(0.15, 2.0))
        moved = 0.0
        while not cell.reached_cut_off and moved < 5000.0:
            moved += cell.advance(step)
        assert cell.potential == pytest.approx(0.15, abs=2e-5)
        assert moved == pytest.approx(cell.time)
        times.append(cell.time)
        cell.set_open_circuit()
        assert cell.advance(1.0) == pytest.approx(1.0)
        assert cell.potential > 0.15
    assert times[0] == pytest.approx(times[1], rel=2e-3)


@pytest.mark.parametrize("step", [0.1, 1.0])
def test_a_nearly_full_specimen_takes_the_current_that_it_can(step: float) -> None:
    """Near x = 1 the first guess lies where the kinetics saturate; a charge that fits must pass all the same.

    Found by the forecast of E7: the cell was called full at the first step of a delithiation.
    """
    cell = Cell(replace(PARAMETERS, loading=0.44e-2), initial_potential=0.03)
    start = cell.stoichiometry
    cell.set_current(-8e-5, cut_offs=(-5.0, 5.0))
    assert cell.advance(step) == pytest.approx(step)
    assert cell.charge == pytest.approx(-8e-5 * step, rel=1e-9)
    assert cell.charge == pytest.approx(booked(cell, start), abs=1e-9 * cell.capacity)


def test_switching_keeps_the_potential_of_the_interface() -> None:
    """Galvanostat → potentiostat at the measured potential → open circuit: nothing jumps but what must."""
    cell = Cell(PARAMETERS, initial_potential=0.3)
    start = cell.stoichiometry
    cell.set_current(-4e-4)
    cell.advance(60.0)
    before = cell.current
    cell.set_potential(cell.potential)
    cell.advance(1e-3)
    assert cell.current == pytest.approx(before, rel=1e-3)
    before = cell.interface_potential
    cell.set_open_circuit()
    cell.advance(1e-5)  # well within the 0.3 ms in which the double layer gives up the overpotential
    assert cell.current == pytest.approx(0.0, abs=1e-12)
    assert cell.interface_potential == pytest.approx(before, abs=2e-4)
    assert cell.charge == pytest.approx(booked(cell, start), abs=1e-10 * cell.capacity)


def test_ohmic_jump_at_open_circuit_is_that_of_the_bath() -> None:
    """E jumps by i (R_bath + R_pores) within a millisecond of a current's end."""
    cell = Cell(PARAMETERS, initial_potential=0.2)
    cell.set_current(-4e-4)
    cell.advance(5.0)
    before = cell.potential
    cell.set_open_circuit()
    cell.advance(1e-4)
    assert cell.potential - before == pytest.approx(4e-4 * cell.uncompensated_resistance, rel=0.01)


def test_a_potentiostat_needs_its_response_time() -> None:
    """A step reaches 1 − 1/e after `response_time`, all of it after ten; a bandwidth of 16 Hz here."""
    p = SET.with_leaves({"response_time": 0.01}).values
    cell = Cell(p, initial_potential=0.4, tolerance=1e-3)
    cell.set_potential(0.3)
    cell.advance(0.01)
    assert cell.potential == pytest.approx(0.4 - 0.1 * (1 - np.exp(-1.0)), abs=2e-4)
    cell.advance(0.1)
    assert cell.potential == pytest.approx(0.3, abs=1e-5)


def test_a_sweep_turns_sharply() -> None:
    """The vertex of a fast triangle is at the set point's vertex, for steps that divide it and steps that do not."""
    for dt in (0.01, 0.07):
        cell = Cell(PARAMETERS, initial_potential=1.0)
        cell.set_potential(1.0, -0.1)
        while cell.time < 9.0 - 1e-9:
            cell.advance(min(dt, 9.0 - cell.time))
        cell.set_potential(cell.set_point, 0.1)
        assert cell.set_point == pytest.approx(0.1, abs=1e-9)
        cell.advance(1.0)
        assert cell.potential == pytest.approx(0.2, abs=2e-4)


@pytest.mark.parametrize("dt", [1e-3, 0.03, 1.0, 10.0])
def test_answers_do_not_depend_on_how_often_one_asks(dt: float) -> None:
    """After 10 s of a pulse: charge to 1e-12 at given current, potential to 0.2 mV."""
    cell = Cell(PARAMETERS, initial_potential=0.2)
    cell.set_current(-4e-4)
    while cell.time < 10.0 - 1e-9:
        cell.advance(min(dt, 10.0 - cell.time))
    assert cell.charge == pytest.approx(-4e-3, rel=1e-9)
    fine = Cell(PARAMETERS, initial_potential=0.2, tolerance=1e-2)
    fine.set_current(-4e-4)
    fine.advance(10.0)
    assert cell.potential == pytest.approx(fine.potential, abs=2e-4)


ORDER = st.one_of(
    st.tuples(st.just("potential"), st.floats(-0.5, 3.0), st.floats(-0.1, 0.1), st.floats(0.0, 1.0)),
    st.tuples(st.just("current"), st.floats(-0.02, 0.02), st.just(0.0), st.just(0.0)),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(orders=st.lists(st.tuples(ORDER, st.floats(1e-3, 10.0), st.integers(1, 30)), min_size=1, max_size=5))
def test_any_orders_end_in_numbers_or_in_a_named_outcome(
    orders: list[tuple[tuple[str, float, float, float], float, int]],
) -> None:
    """Violent orders: no NaN, the books close, salt is conserved, and what cannot be followed says so."""
    cell = Cell(PARAMETERS)
    start, salt = cell.stoichiometry, cell.salt_inventory
    endings: list[tuple[str, str]] = []
    for (kind, value, slope, fraction), dt, steps in orders:
        if kind == "potential":
            cell.set_potential(value, slope, fraction)
        else:
            cell.set_current(value)
        try:
            for _ in range(steps):
                cell.advance(dt)
        except CellStopped as stopped:
            endings.append((stopped.reason, stopped.place))
            break
    assert all(reason and place for reason, place in endings)
    assert np.isfinite([cell.potential, cell.current, cell.expansion, cell.time]).all()
    assert 0.0 < cell.surface_stoichiometry < 1.0
    assert cell.charge == pytest.approx(booked(cell, start), abs=1e-10 * cell.capacity)
    assert cell.salt_inventory == pytest.approx(salt, rel=1e-10)


def test_orders_that_make_no_sense_are_refused() -> None:
    """A step backwards in time, and a loop that would run away."""
    cell = Cell(PARAMETERS)
    with pytest.raises(OutsideDomain, match="time step is -1 s"):
        cell.advance(-1.0)
    with pytest.raises(OutsideDomain, match=r"iR compensation is 1\.2"):
        cell.set_potential(0.5, ir_compensation=1.2)


def test_a_record_is_what_a_loop_sees() -> None:
    """Every column of `record` equals the properties after each `advance`; a cut-off ends it early."""
    heights = [0.0, 1e-5, 1e-3]
    recorded, looped = Cell(PARAMETERS, initial_potential=0.3), Cell(PARAMETERS, initial_potential=0.3)
    for cell in (recorded, looped):
        cell.set_current(-4e-4, cut_offs=(0.05, 2.0))
    trace = recorded.record(2.0, 2000, heights)
    assert recorded.reached_cut_off
    for row in range(trace.time.size):
        looped.advance(2.0)
        if row % 50 and row != trace.time.size - 1:
            continue
        seen = [trace.time, trace.potential, trace.current, trace.charge, trace.stoichiometry, trace.expansion]
        told = [looped.time, looped.potential, looped.current, looped.charge, looped.stoichiometry, looped.expansion]
        assert [float(column[row]) for column in seen] == pytest.approx(told, rel=1e-12)
        assert trace.concentration[row] == pytest.approx(looped.concentration(heights), rel=1e-12)
        assert trace.ohmic_drop[row] == pytest.approx(looped.ohmic_drop(heights), rel=1e-12)
    assert recorded.record(2.0, 5).time.size == 0
