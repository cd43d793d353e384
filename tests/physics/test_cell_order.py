"""How fast the cell's answers settle as steps and cells shrink."""

from __future__ import annotations

import numpy as np

from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell

PARAMETERS = parameter_set().values


def orders(values: list[float]) -> list[float]:
    """Observed order from answers at steps h, h/2, h/4, …: log2 of the ratio of neighbouring differences."""
    gaps = np.abs(np.diff(values))
    return [float(order) for order in np.log2(gaps[:-1] / gaps[1:])]


def test_first_order_in_time() -> None:
    """Current of a sweep after 400 s with one step per advance of 4, 2, 1, 0.5 and 0.25 s: order 1 (at least 0.95)."""
    answers = []
    for h in (4.0, 2.0, 1.0, 0.5, 0.25):
        cell = Cell(PARAMETERS, initial_potential=0.5, tolerance=np.inf)
        cell.set_potential(0.5, -1e-3)
        for _ in range(round(400 / h)):
            cell.advance(h)
        answers.append(cell.current_density)
    assert min(orders(answers)[1:]) > 0.95, orders(answers)


def test_second_order_in_the_bath() -> None:
    """c(0.1 mm) after 300 s of constant current with 20, 40, 80 and 160 cells, same steps: order at least 1.9."""
    answers = []
    for cells in (20, 40, 80, 160):
        cell = Cell(PARAMETERS, initial_potential=0.2, tolerance=np.inf, bath_cells=cells, pore_cells=0)
        cell.set_current(-4.0 * PARAMETERS.area)
        for _ in range(300):
            cell.advance(1.0)
        answers.append(float(cell.concentration(0.0)))
    assert min(orders(answers)[1:]) > 1.9, orders(answers)


def test_second_order_in_the_particle() -> None:
    """Surface stoichiometry after 100 s of constant current with 12, 24, 48 and 96 shells: order at least 1.9."""
    answers = []
    for shells in (12, 24, 48, 96):
        cell = Cell(PARAMETERS, initial_potential=0.2, tolerance=np.inf, shells=shells)
        cell.set_current(-4.0 * PARAMETERS.area)
        for _ in range(100):
            cell.advance(1.0)
        answers.append(cell.surface_stoichiometry)
    assert min(orders(answers)) > 1.9, orders(answers)
