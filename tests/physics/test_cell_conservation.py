"""What no cell may create or lose: lithium, salt, charge; and how a step that cannot be met ends."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell, CellStopped, Terms

PARAMETERS = parameter_set().values


def test_charge_is_lithium_plus_double_layer() -> None:
    """Through potential jumps, sweeps, currents and rests of unequal steps the books close to 1e-10 of the capacity."""
    cell = Cell(PARAMETERS)
    start = cell.stoichiometry
    for dt in (1e-3, 0.05, 3.0):
        cell.set_potential(0.2, -1e-4)
        for _ in range(40):
            cell.advance(dt)
        cell.set_current(2e-4)
        for _ in range(3):
            cell.advance(dt)
        cell.set_open_circuit()
        cell.advance(dt)
    booked = -(cell.stoichiometry - start) * cell.capacity + cell.double_layer_charge + cell.sei_charge
    assert abs(cell.charge) > 1e-3 * cell.capacity
    assert cell.charge == pytest.approx(booked, abs=1e-10 * cell.capacity)


def test_a_current_beyond_the_limit_is_named() -> None:
    """10 mA/cm² empties the bath at the specimen; the error says when and where, and the state stays finite."""
    cell = Cell(PARAMETERS)
    cell.set_current(-5e-3)
    with pytest.raises(CellStopped, match=r"salt depleted at the specimen") as stopped:
        cell.advance(1000.0)
    assert stopped.value.time == cell.time > 0.0
    assert np.isfinite(cell.potential)
    assert np.all(cell.concentration(np.linspace(0, 5e-3, 50)) >= 0.0)


def test_terms_switch_the_reading_only() -> None:
    """Ohmic and salt parts off: the pipette finds neither; the cell's own current is the same."""
    cells = [Cell(PARAMETERS), Cell(PARAMETERS, terms=Terms(ohmic=False, salt=False))]
    for cell in cells:
        cell.set_potential(0.1)
        cell.advance(5.0)
    assert cells[0].current == cells[1].current < 0.0
    assert cells[0].ohmic_drop(1e-5) < -1e-3
    assert cells[1].ohmic_drop(1e-5) == 0.0
    assert cells[1].concentration(1e-5) == PARAMETERS.electrolyte.concentration


def test_sei_grows_as_the_square_root_and_takes_its_charge() -> None:
    """Held at 0.2 V a fresh film obeys L² = 2 V j L₀ t once transport limits; its charge is its thickness."""
    p = PARAMETERS
    cell = Cell(p)
    cell.set_potential(0.2)
    thickness = []
    for time in (1e3, 4e3, 1.6e4):
        cell.advance(time - cell.time)
        thickness.append(cell.sei_thickness)
    per_charge = 1e-9 / p.sei_charge_per_nm
    assert thickness[-1] == pytest.approx(
        np.sqrt(2 * per_charge * p.sei_rate * p.sei_throttle_thickness * 1.6e4), rel=0.02
    )
    assert thickness[2] / thickness[1] == pytest.approx(2.0, rel=0.02)
    assert -cell.sei_charge == pytest.approx(cell.sei_thickness / per_charge * p.internal_area * p.area, rel=1e-9)
    assert cell.irreversible == pytest.approx(0.3 * p.internal_area * cell.sei_thickness)


def test_a_cell_that_rests_low_has_its_film_already() -> None:
    """At 0.4 V a bare electrode cannot rest; a formed one starts a sweep without a spike of current."""
    cell = Cell(PARAMETERS, initial_potential=0.4)
    assert cell.sei_thickness == PARAMETERS.sei_formed_thickness
    cell.set_potential(0.4, -8e-3, 0.97)
    cell.advance(0.01)
    assert abs(cell.current_density) < 0.2
    assert Cell(PARAMETERS, initial_potential=1.7).sei_thickness == 0.0
