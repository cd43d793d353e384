"""A straight line with noise has no end of a stage: at most once in a hundred records, however many rows it has."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.analysis.cell.transitions import transitions_from_potential


@pytest.mark.parametrize("noise", [1e-5, 1e-3, 5e-3])
@pytest.mark.parametrize("rows", [50, 200, 1000])
def test_noise_on_a_straight_line_is_no_stage(rows: int, noise: float) -> None:
    rng = np.random.default_rng(rows)
    charge = np.linspace(0.0, 100.0, rows)
    found = [
        transitions_from_potential(charge, 0.5 - 0.003 * charge + rng.normal(0.0, noise, rows), 3.0) for _ in range(100)
    ]
    assert sum(map(bool, found)) <= 4  # of 1 expected, once in 270 by chance


def test_a_step_of_twenty_sigma_is_one() -> None:
    rng = np.random.default_rng(2)
    charge = np.linspace(0.0, 100.0, 60)
    potential = 0.2 - 0.02 * np.tanh((charge - 60.0) / 5.0) - 2e-4 * charge + rng.normal(0.0, 1e-3, 60)
    (stage,) = transitions_from_potential(charge, potential, 3.0)
    assert stage.charge == pytest.approx(60.0, abs=3.0)
