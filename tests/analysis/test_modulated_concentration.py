"""Conductance to concentration, on a construction in closed form: log-mean of the salts on both sides of the tip."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.pipette.calibration import (
    concentration_results,
    conductance_at_levels,
    conductance_calibration,
    no_calibration,
)
from opsicm.analysis.pipette.modulation import ConductanceSeries, conductance_fit, level_means, modulation_results

F64 = NDArray[np.float64]
LEVELS = np.array([0.6, 0.7])


def ideal(c: F64 | float, size: float = 1.0) -> F64:
    """Conductance [S] of a tip between 1 M inside and `c` [mol/m³] outside: proportional to the log-mean."""
    return np.asarray(size * 5e-12 * (1000.0 - np.asarray(c)) / np.log(1000.0 / np.asarray(c)))


def places(g: F64, u: float) -> xr.Dataset:
    data = {"conductance": ("hop", g), "u_conductance": ("hop", np.full(g.size, u))}
    return xr.Dataset(data, coords={"t": ("hop", np.arange(float(g.size)))})


def test_a_modulated_hop_is_the_concentration_outside() -> None:
    """Square waves of noise to G, sweeps to a calibration of two pipettes, G through it: the salt put in comes out."""
    rng = np.random.default_rng(7)
    baths = np.array([200.0, 400.0, 600.0, 800.0])
    bias = np.linspace(-0.8, 0.8, 4000)
    conductances, salts, pipettes = [], [], []
    for k, size in enumerate((0.97, 1.03)):
        for c in baths:
            current = ideal(c, size) * (bias - 0.01) + 1e-12 * rng.standard_normal(bias.size)
            g = conductance_at_levels(bias, current, LEVELS)
            assert g is not None
            assert g == pytest.approx(float(ideal(c, size)), rel=2e-3)
            conductances.append(g)
            salts.append(c)
            pipettes.append(k)
    calibration = conductance_calibration(np.array(salts), np.array(conductances), np.array(pipettes))
    assert calibration.degree == 2
    truth = np.linspace(450.0, 350.0, 60)
    fits: list[tuple[float, ...]] = []
    for c in truth:
        wire = np.repeat(LEVELS, 500)
        current = ideal(c) * (wire - 0.012) + 1e-12 * rng.standard_normal(wire.size)
        fit = conductance_fit(*level_means(wire, current, 100))
        assert fit is not None
        fits.append((*fit, float(len(fits))))
    found = ConductanceSeries(*np.array(fits).T)
    conductance = modulation_results(found, LEVELS.tolist())[0]
    assert conductance.value == pytest.approx(1e9 * float(np.median(ideal(truth))), rel=1e-3)
    assert isinstance(conductance.trace, xr.Dataset)
    by_name = {r.label: r for r in concentration_results(calibration, conductance.trace)}
    one, change = by_name["concentration"], by_name["concentration_change"]
    assert one.value is not None
    assert one.u is not None
    assert change.value is not None
    assert change.u is not None
    assert abs(one.value - 400.0) < 2.0 * one.u
    # 3 % of size at a sensitivity of about one third is a tenth of the concentration, and two pipettes know their
    # spread so badly that 95 % of it is 6.5 times as much (Student's t, one degree of freedom).
    assert 6.5 * 20.0 < one.u < 6.5 * 80.0
    # The change knows nothing of the size but by the curvature of the calibration.
    assert change.value == pytest.approx(float(truth[-6:].mean() - truth[:6].mean()), rel=0.06)
    slope = (float(ideal(401.0)) - float(ideal(399.0))) / 2.0
    assert by_name["concentration_sensitivity"].value == pytest.approx(slope * 400.0 / float(ideal(400.0)), rel=0.05)


def test_intervals_of_the_concentration_cover() -> None:
    """500 calibrations and readings of one pipette: 95 % within Student's t of seven degrees of freedom."""
    rng = np.random.default_rng(8)
    c = np.linspace(100.0, 900.0, 9)
    noise = 1e-11
    inside = []
    for _ in range(500):
        g = 1e-9 + 2e-12 * c + noise * rng.standard_normal(c.size)
        calibration = conductance_calibration(c, g, np.zeros(c.size, dtype=np.int64))
        read = 1e-9 + 2e-12 * 500.0 + noise * rng.standard_normal(40)
        one = concentration_results(calibration, places(read, noise))[0]
        assert one.value is not None
        assert one.u is not None
        inside.append(abs(one.value - 500.0) <= 2.2 * one.u)
    assert 0.93 <= float(np.mean(inside)) <= 0.97


def test_what_cannot_be_inverted_says_so() -> None:
    c = np.array([500.0, 800.0, 1100.0, 1400.0, 1700.0])
    flat = conductance_calibration(
        c, 5e-9 + 1e-12 * np.random.default_rng(0).standard_normal(5), np.zeros(5, dtype=np.int64)
    )
    one = concentration_results(flat, places(np.full(20, 5e-9), 1e-12))[0]
    assert one.outcome == "not identifiable"
    assert "20 of 20 hops" in one.reason
    steep = conductance_calibration(c, 5e-12 * c, np.zeros(5, dtype=np.int64))
    outside = concentration_results(steep, places(np.full(20, 1e-9), 1e-12))[0]
    assert "no concentration from 500 to 1700" in outside.reason
    assert no_calibration().outcome == "no calibration"
    assert conductance_at_levels(np.linspace(-0.3, 0.3, 500), np.linspace(-1e-9, 1e-9, 500), LEVELS) is None
