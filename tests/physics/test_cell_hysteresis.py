"""Hysteresis of the open-circuit curve: two branches 2 M apart, and how a particle goes from one to the other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain
from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell
from opsicm.physics.cell.parameters import CellParameters

Floats = NDArray[np.float64]
SET = parameter_set()
GAP, TURN = 0.02, 0.03  # half of it [V]; [1]


def parameters(half_gap: float = GAP, **changes: float) -> CellParameters:
    """The default set without film, with this hysteresis and further changes in SI."""
    leaves = {"sei_rate": 0.0, "open_circuit_hysteresis": half_gap, "open_circuit_hysteresis_turn": TURN, **changes}
    return SET.with_leaves(leaves).values


def slow(cell: Cell, change: float, rows: int = 200) -> tuple[Floats, Floats]:
    """(mean x, ψ less the middle curve) while x changes by `change` at C/400."""
    p = cell.parameters
    current = -np.sign(change) * cell.capacity / (400 * 3600.0)
    cell.set_current(float(current))
    x, above = [], []
    for _ in range(rows):
        cell.advance(abs(change) * 400 * 3600.0 / rows)
        x.append(cell.stoichiometry)
        above.append(cell.interface_potential - float(p.material.open_circuit_potential(cell.stoichiometry)))
    return np.array(x), np.array(above)


@pytest.mark.parametrize("spread", [0.0, 0.45])
def test_a_slow_cycle_is_a_loop_twice_the_half_gap_high(spread: float) -> None:
    """Lithiation M below the middle curve and delithiation M above it, within 1 mV of the rate's own overpotential."""
    cell = Cell(parameters(particle_radius_spread=spread), initial_potential=0.2)
    slow(cell, 0.3)
    x, above = slow(cell, 0.1)
    assert above == pytest.approx(np.full(x.size, -GAP), abs=1e-3)
    slow(cell, -0.2)
    x, above = slow(cell, -0.1)
    assert above == pytest.approx(np.full(x.size, GAP), abs=1e-3)


def test_a_branch_is_left_exponentially_in_the_charge() -> None:
    """From the lithiated branch h = 1 − 2 exp(−Δx/Γ): the closed form of the law, whatever the steps, to 1 mV."""
    cell = Cell(parameters(), initial_potential=0.2)
    slow(cell, 0.3)
    start = cell.stoichiometry
    x, above = slow(cell, -0.08)
    assert above == pytest.approx(GAP * (1.0 - 2.0 * np.exp((x - start) / TURN)), abs=1e-3)
    coarse = Cell(parameters(), initial_potential=0.2, tolerance=np.inf)
    slow(coarse, 0.3, rows=10)
    slow(coarse, -0.08, rows=4)
    assert coarse.interface_potential == pytest.approx(cell.interface_potential, abs=1e-3)


def test_scanning_curves_stay_inside_the_loop() -> None:
    """Small turns anywhere: never beyond ±M and the rate's 1 mV, and a small loop closes towards its own middle."""
    cell = Cell(parameters(), initial_potential=0.2)
    offsets = [slow(cell, change, rows=20)[1] for change in (0.3, -0.02, 0.02, -0.05, 0.01, -0.2, 0.02, -0.02)]
    assert max(np.abs(one).max() for one in offsets) < GAP + 1e-3
    assert offsets[1].max() < 0.0  # 0.02 of x do not reach the other branch
    assert offsets[1][-1] > offsets[0][-1] + 0.4 * GAP


def test_at_rest_a_branch_stays() -> None:
    """A day after a lithiation the potential still lies M below the curve, and after a delithiation M above it."""
    cell = Cell(parameters(), initial_potential=0.2)
    for change, sign in ((0.3, -1.0), (-0.15, 1.0)):
        slow(cell, change)
        cell.set_open_circuit()
        cell.advance(86400.0)
        middle = float(cell.parameters.material.open_circuit_potential(cell.stoichiometry))
        assert cell.potential - middle == pytest.approx(sign * GAP, abs=3e-4)


def test_without_a_gap_the_turn_is_of_no_account() -> None:
    """M = 0: bit for bit the same, whatever Γ is and with sizes."""
    traces = []
    for turn in (0.01, 0.5):
        p = SET.with_leaves({"open_circuit_hysteresis": 0.0, "open_circuit_hysteresis_turn": turn}).values
        cell = Cell(p, initial_potential=0.4)
        cell.set_potential(0.4, -1e-3, 0.5)
        traces.append(cell.record(1.0, 350, [1e-5]))
    for column in ("potential", "current", "stoichiometry", "expansion", "concentration"):
        np.testing.assert_array_equal(getattr(traces[0], column), getattr(traces[1], column))


def test_going_back_forgets_the_branch() -> None:
    """`keep` and `go_back` hold the branch too: the same steps again give the same numbers."""
    cell = Cell(parameters(), initial_potential=0.2)
    slow(cell, 0.2, rows=10)
    kept = cell.keep()
    first = slow(cell, -0.05, rows=10)
    cell.go_back(kept)
    np.testing.assert_array_equal(first, slow(cell, -0.05, rows=10))


def test_a_gap_that_is_none_is_refused() -> None:
    """A negative half gap would put delithiation below lithiation: a machine for work."""
    with pytest.raises(OutsideDomain, match=r"open_circuit_hysteresis is -0\.01 V; .*delithiation is the upper branch"):
        parameters(-0.01)
    with pytest.raises(OutsideDomain, match="open_circuit_hysteresis_turn is 0; the change of x that turns it is pos"):
        _ = SET.with_leaves({"open_circuit_hysteresis_turn": 0.0}).values
