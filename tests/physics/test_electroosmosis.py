"""Flow in the tip: closed form, published slopes, limits; and the time a tip takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from opsicm.core.errors import OutsideDomain
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set
from opsicm.physics.pipette.electroosmosis import (
    IDENTIFIABLE,
    effective_concentration,
    electroosmotic_peclet,
    flow_conductance,
    flow_conductance_from_table,
    sensitivity,
)
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.ion_current import conductance, log_mean, response_length, response_time, tip_response

F64 = NDArray[np.float64]


def _proportional(c: F64) -> F64:
    return 6.2e-4 * c


def _with_maximum(c: F64) -> F64:
    return 0.62 * (c / 1050.0) * np.exp(1.0 - c / 1050.0)


@pytest.mark.parametrize("peclet", [-30.0, -5.0, -0.3, 0.7, 5.0, 30.0])
def test_quadrature_equals_the_closed_form(peclet: float) -> None:
    c_in, c_out = 1000.0, 300.0
    A = (c_out * math.exp(peclet) - c_in) / math.expm1(peclet)
    closed = A / (1.0 - math.log(c_in / c_out) / peclet)
    assert effective_concentration(c_in, c_out, peclet) == pytest.approx(closed, rel=1e-8)


def test_no_flow_is_the_log_mean_and_strong_flow_fills_the_tip() -> None:
    assert effective_concentration(1000.0, 300.0, 0.0) == pytest.approx(float(log_mean(1000.0, 300.0)), rel=1e-7)
    assert effective_concentration(1000.0, 300.0, 60.0) == pytest.approx(300.0, rel=0.05)
    assert effective_concentration(1000.0, 300.0, -60.0) == pytest.approx(1000.0, rel=0.05)
    G = conductance(1e8, _with_maximum, 1000.0, 300.0)
    assert flow_conductance(1e8, _with_maximum, 1000.0, 300.0, 1e-6) == pytest.approx(float(G), rel=1e-6)


@pytest.mark.parametrize(("peclet", "slope"), [(-10, 0.10), (-5, 0.19), (0, 0.50), (5, 0.81), (10, 0.90)])
def test_the_slope_of_the_current_with_flow(peclet: float, slope: float) -> None:
    assert sensitivity(_proportional, 1000.0, 1000.0, peclet) == pytest.approx(slope, abs=0.005)


def test_a_conductivity_maximum_near_one_molar_hides_the_concentration() -> None:
    assert abs(sensitivity(_with_maximum, 1000.0, 1000.0)) < IDENTIFIABLE
    assert sensitivity(_with_maximum, 1000.0, 300.0) > IDENTIFIABLE


def test_negative_glass_and_positive_bias_push_liquid_out() -> None:
    peclet = electroosmotic_peclet(np.array([0.7, -0.7]), -0.03, 2.7e-10, 3e-3, 2.6e-10)
    assert peclet[0] == pytest.approx(-7.27, rel=1e-2)
    assert peclet[1] == -peclet[0]
    assert effective_concentration(1000.0, 10.0, 0.0) == pytest.approx(float(log_mean(1000.0, 10.0)), rel=1e-7)
    with pytest.raises(OutsideDomain, match="at most 100"):
        effective_concentration(1000.0, 1.0, 0.0)
    with pytest.raises(OutsideDomain, match="within ±60"):
        effective_concentration(1000.0, 300.0, 100.0)


def test_the_compiled_conductance_is_that_of_its_definition_and_refuses_the_same() -> None:
    electrolyte = parameter_set(DEFAULT_SET).values.electrolyte
    table = electrolyte.kappa_table
    outside, peclet = np.array([10.0001, 300.0, 1000.0, 2500.0]), np.array([-60.0, -1e-9, 7.0, 59.0])
    compiled = flow_conductance_from_table(1e8, table, 1000.0, outside, peclet)
    assert compiled == pytest.approx(flow_conductance(1e8, electrolyte.conductivity, 1000.0, outside, peclet), rel=1e-5)
    for salt, flow, reason in ((9.9, 0.0, "at most 100"), (300.0, 60.1, "within ±60"), (-1.0, 0.0, "above 0 mol/m³")):
        with pytest.raises(OutsideDomain, match=reason):
            flow_conductance_from_table(1e8, table, 1000.0, np.array([300.0, salt]), np.array([1.0, flow]))


def test_the_tip_answers_as_a_diffusing_cone_does() -> None:
    """Finite volumes on a geometric grid, implicit in time with dt = t/300: 0.1 % of discretisation error."""
    pipette, D = Pipette(), 2.6e-10
    x = response_length(pipette) * np.exp(np.linspace(0.0, math.log(500.0), 1201))
    centre = np.sqrt(x[1:] * x[:-1])
    volume = (x[1:] ** 3 - x[:-1] ** 3) / 3.0
    g = np.zeros(x.size)
    g[0] = D * x[0] ** 2 / (centre[0] - x[0])
    g[1:-1] = D * x[1:-1] ** 2 / np.diff(centre)
    weight = (1.0 / x[:-1] - 1.0 / x[1:]) * x[0]
    c, t, dt = np.zeros(centre.size), 0.0, 1e-6
    seen = []
    while t < 0.1:
        bands = np.zeros((3, c.size))
        bands[1], bands[0, 1:], bands[2, :-1] = volume / dt + g[:-1] + g[1:], -g[1:-1], -g[1:-1]
        right = volume / dt * c
        right[0] += g[0]
        c = solve_banded((1, 1), bands, right)
        t += dt
        dt = max(1e-6, t / 300.0)
        seen.append((t, 2.0 * float(c @ weight)))
    table = np.array(seen)
    times = np.array([1e-3, 1e-2, 0.09])
    np.testing.assert_allclose(np.interp(times, *table.T), tip_response(pipette, D, times), rtol=2e-3)
    assert tip_response(pipette, D, response_time(pipette, D, 0.9)) == pytest.approx(0.9, rel=1e-6)
