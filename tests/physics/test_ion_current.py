"""The closed forms of the ion current against integrals and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain
from opsicm.physics.pipette.ion_current import (
    conductance,
    junction_coefficient,
    junction_potential,
    log_mean,
    pipette_current,
    reversal_potential,
)

F64 = NDArray[np.float64]


def _proportional(c: F64) -> F64:
    return 6.2e-4 * c


def test_the_log_mean_is_smooth_through_equality() -> None:
    assert log_mean(1000.0, 500.0) == pytest.approx(500.0 / math.log(2.0), rel=1e-14)
    for gap in (0.0, 1e-6, 1e-4, 1.9e-3, 2.1e-3):
        a, b = 1000.0, 1000.0 * (1.0 + gap)
        series = 0.5 * (a + b) * (1.0 - ((a - b) / (a + b)) ** 2 / 3.0)
        assert log_mean(a, b) == pytest.approx(series, rel=1e-12)


def test_proportional_kappa_gives_the_log_mean_conductance() -> None:
    c_out = np.array([1.0, 500.0, 1000.0, 1500.0])
    G = conductance(1e8, _proportional, 1000.0, c_out)
    np.testing.assert_allclose(G, 6.2e-4 * log_mean(1000.0, c_out) / 1e8, rtol=1e-10)


def test_variable_diffusivity_weights_the_mean_as_a_one_dimensional_tube_does() -> None:
    def kappa(c: F64) -> F64:
        return 0.62 * c / 1000.0 * np.exp(1.0 - c / 1000.0)

    def diffusivity(c: F64) -> F64:
        return 2.6e-10 * np.exp(-0.35 * (c / 1000.0 - 1.0))

    # A tube of unit R_geo: solve D dc/du = const on a fine grid, add up du / kappa.
    c = np.linspace(300.0, 1000.0, 400_001)
    du = diffusivity(c)
    du /= np.trapezoid(du, c)
    expected = 1.0 / np.trapezoid(du / kappa(c), c)
    assert conductance(1.0, kappa, 1000.0, 300.0, diffusivity) == pytest.approx(expected, rel=1e-9)


def test_lithiation_raises_the_current_and_equal_salt_has_no_junction() -> None:
    U_d = junction_coefficient(298.15, 0.3, 1.3)
    assert U_d == pytest.approx(0.04676, rel=1e-3)
    rest = pipette_current(1e-9, 0.7, 0.0, 1000.0, 1000.0, U_d)
    lithiating = pipette_current(1e-9, 0.7, -0.05, 1000.0, 1000.0, U_d)
    assert rest == pytest.approx(0.7e-9)
    assert lithiating > rest


def test_a_concentration_of_zero_is_refused() -> None:
    with pytest.raises(OutsideDomain, match="above 0 mol"):
        log_mean(1000.0, 0.0)


def test_junctions_of_lithium_exceed_those_of_silver_by_the_nernst_potential() -> None:
    """Ideal salt: the two electrodes differ by (RT/F) ln(c_in/c_out), because only one of them answers to Li+."""
    li, ag, an = (
        float(junction_potential(1000.0, 100.0, 298.15, 0.3, 1.0, kind))
        for kind in ("lithium", "silver_chloride", "anion")
    )
    nernst = 0.025692579 * math.log(10.0)
    assert li - ag == pytest.approx(nernst, rel=1e-6)
    assert ag - an == pytest.approx(nernst, rel=1e-6)
    assert ag == pytest.approx(0.4 * nernst, rel=1e-6)


def test_the_current_vanishes_at_the_reversal_potential() -> None:
    reversal = reversal_potential(-0.01, 1000.0, 800.0, 0.04)
    assert pipette_current(1e-9, reversal, -0.01, 1000.0, 800.0, 0.04) == pytest.approx(0.0, abs=1e-25)
