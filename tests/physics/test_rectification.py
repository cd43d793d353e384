"""Rectification to first order against the whole Poisson–Nernst–Planck problem, and against a shooting solution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid

from opsicm.core.errors import OutsideDomain
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.rectification import charge_factor, dukhin_number

T_PLUS, KELVIN, THERMAL = 0.3, 298.15, 0.025692579


def current_of_the_mean(bias: float, dukhin: float, pipette: Pipette) -> float:
    """Current of the cross-section's mean, in units of its uncharged conductance times RT/F: no expansion in Du.

    With the fixed charge X(u) the sum and the difference of both ions' Nernst–Planck equations hold along the
    resistance coordinate u; fluxes are iterated until salt and potential end at their reservoirs. Salt in c_0,
    potential in RT/F.
    """
    a, tangent = pipette.radius, math.tan(pipette.cone_angle)
    depth = np.linspace(0.0, 1.0, 4001) ** 2 * pipette.length
    radius = a + depth * tangent
    cone = cumulative_trapezoid(1.0 / (math.pi * radius**2), depth, initial=0)
    access = 1.0 / (4.0 * a)
    u = np.concatenate((np.linspace(0.0, access, 400, endpoint=False), access + cone)) / (access + cone[-1])
    charge = 2.0 * dukhin * a / radius / math.cos(pipette.cone_angle)
    # The charge ends in both reservoirs: outside at the mouth, and above the shank.
    u, fixed = np.append(u, 1.0), np.concatenate((np.zeros(400), charge, [0.0]))
    du, d_fixed, middle = np.diff(u), np.diff(fixed), 0.5 * (fixed[1:] + fixed[:-1])
    salt, p, q = np.ones(du.size), 0.0, 0.0
    for _ in range(60):
        # 2 dc - X dphi = p du,   2 c dphi - dX = q du: q from the potential's ends, p from the salt's.
        q = (bias / THERMAL - np.sum(d_fixed / (2.0 * salt))) / np.sum(du / (2.0 * salt))
        pulled = middle * (q * du + d_fixed) / (2.0 * salt)
        p = -pulled.sum()
        later = 1.0 + 0.5 * np.cumsum(p * du + pulled)
        salt = 0.5 * (later + np.concatenate(([1.0], later[:-1])))
    return float(0.5 * q + 0.5 * (2.0 * T_PLUS - 1.0) * p)


@pytest.mark.parametrize("angle", [3.0, 8.0])
@pytest.mark.parametrize("bias", [-0.7, -0.2, 0.2, 0.7])
def test_first_order_is_what_small_charges_do(angle: float, bias: float) -> None:
    pipette = Pipette(cone_angle=math.radians(angle))
    dukhin = 1e-3
    odd = (current_of_the_mean(bias, dukhin, pipette) - current_of_the_mean(bias, -dukhin, pipette)) / 2.0
    factor = float(charge_factor(bias, dukhin, pipette, T_PLUS, KELVIN))
    assert factor - 1.0 == pytest.approx(odd / (bias / THERMAL), rel=0.03)


def test_negative_glass_lets_less_through_while_the_pipette_is_positive() -> None:
    """And the ratio of both directions is 0.85 of the full solution's at 1 M (test_pnp.py keeps its values), which has
    charge on the rim and the outer wall too; test_pnp.py takes that away, and the 0.85 with it."""
    for charge, full in ((-5e-3, 0.42), (-20e-3, 1.67), (-50e-3, 4.11)):
        dukhin = dukhin_number(charge, 1000.0, 50e-9)
        there, back = charge_factor(np.array([0.7, -0.7]), dukhin, Pipette(), T_PLUS, KELVIN)
        assert 100.0 * (1.0 - there / back) / full == pytest.approx(0.85, rel=0.05)


def test_a_charge_beyond_first_order_is_refused() -> None:
    with pytest.raises(OutsideDomain, match="use less charge, more salt or a wider tip"):
        charge_factor(0.7, dukhin_number(-50e-3, 10.0, 50e-9), Pipette(), T_PLUS, KELVIN)
