"""Open-circuit curves, galleries, stages, swelling and flakes."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.core.errors import OutsideDomain
from opsicm.physics.materials.graphite import (
    OCP_TABLES,
    STAGES,
    measured_ocp,
    ocp_and_slope,
    open_circuit_potential,
    stage_fractions,
    stoichiometry_at,
    volume_of_stages,
)
from opsicm.physics.materials.msmr import graphite_msmr, msmr_stoichiometry
from opsicm.physics.materials.swelling import mean_volume_change, relative_volume_change, volume_change_at
from opsicm.physics.tables import load_table

CURVES = {**{name: measured_ocp(name) for name in OCP_TABLES}, "msmr": graphite_msmr()}
X = 1.0 / (1.0 + np.exp(-np.linspace(-12.0, 9.0, 4001)))


@pytest.mark.parametrize("name", CURVES)
def test_falls_everywhere(name: str) -> None:
    """An equilibrium that rises with lithium content would be unstable: dU/dx < 0, ends included."""
    values = np.array([ocp_and_slope(float(x), CURVES[name]) for x in X])
    assert (values[:, 1] < 0.0).all()
    assert (np.diff(values[:, 0]) < 0.0).all()


@pytest.mark.parametrize("name", CURVES)
def test_slope_is_the_derivative(name: str) -> None:
    """dU/dx against a central difference, away from the nodes by less than which the cubic changes piece."""
    for x in (1e-5, 1e-3, 0.0137, 0.08, 0.21, 0.37, 0.55, 0.81, 0.9971):
        h = 1e-6 * x * (1 - x)
        value = [ocp_and_slope(x + sign * h, CURVES[name])[0] for sign in (1, -1)]
        assert ocp_and_slope(x, CURVES[name])[1] == pytest.approx((value[0] - value[1]) / (2 * h), rel=2e-3)


@pytest.mark.parametrize("name", OCP_TABLES)
def test_goes_through_the_measured_points(name: str) -> None:
    """Within 3 mV of every measured point between x = 0.002 and 0.99.

    Pooling moves a point by the table's noise: 1.6 mV in Ecker's digitised steps, 2.9 mV in Chen's rises of 5.9 mV.
    """
    table = load_table("graphite_ocp_" + name.replace("-", "_"))
    inside = (table["stoichiometry"] > 0.002) & (table["stoichiometry"] < 0.99)
    x, u = table["stoichiometry"][inside], table["ocp_V"][inside]
    assert np.abs(open_circuit_potential(x, name) - u).max() < 3e-3


def test_ecker_plateaus() -> None:
    """The first rows of Ecker's table, and stages near 0.21, 0.12 and 0.085 V."""
    assert open_circuit_potential([0.02121212, 0.07878788]) == pytest.approx([0.579755, 0.248466], abs=1e-4)
    assert open_circuit_potential(0.4) == pytest.approx(0.12, abs=0.02)
    assert open_circuit_potential(0.75) == pytest.approx(0.085, abs=0.01)


@pytest.mark.parametrize("potential", [2.5, 1.7, 0.8, 0.21, 0.1, 0.0])
def test_rest_is_the_inverse(potential: float) -> None:
    """U(x(E)) = E to 1e-9 V, from the empty end to the full one."""
    assert open_circuit_potential(stoichiometry_at(potential)) == pytest.approx(potential, abs=1e-9)


def test_no_rest_beyond_the_curve() -> None:
    """A potential that no stoichiometry has is refused with the span."""
    with pytest.raises(OutsideDomain, match="rest potential is -3 V; the open-circuit curve spans"):
        stoichiometry_at(-3.0)
    with pytest.raises(OutsideDomain, match=r"stoichiometry is 0 … 1"):
        open_circuit_potential([0.0, 1.0])
    with pytest.raises(OutsideDomain, match="known: ecker-2015"):
        measured_ocp("nobody")


def test_galleries_sum_to_the_curve() -> None:
    """The resampled MSMR curve gives back the closed form to 1e-5 in x where it has lithium."""
    U = np.linspace(0.07, 0.5, 50)
    assert [stoichiometry_at(float(u), graphite_msmr()) for u in U] == pytest.approx(msmr_stoichiometry(U), abs=1e-5)


def test_stages() -> None:
    """Fractions are non-negative, sum to 1, carry the lithium and the volume; pure at their own compositions."""
    x = np.linspace(0, 1, 1001)
    f = stage_fractions(x)
    assert f.min() >= 0.0
    assert f.sum(axis=0) == pytest.approx(np.ones(1001))
    assert np.array([0, 0.12, 0.18, 0.24, 0.5, 1]) @ f == pytest.approx(x, abs=1e-12)
    assert volume_of_stages(f) == pytest.approx(relative_volume_change(x))
    assert stage_fractions(0.5)[STAGES.index("2")] == 1.0
    late, early = (stage_fractions(0.5, hysteresis=0.04, lithiating=way)[STAGES.index("2")] for way in (True, False))
    assert late < early
    with pytest.raises(OutsideDomain, match=r"staging hysteresis is 0\.2"):
        stage_fractions(x, hysteresis=0.2)


def test_published_volumes() -> None:
    """2.41, 3.36, 4.37, 5.58 and 13.1 % at 0.12, 0.18, 0.24, 0.5 and 1; the compiled reader agrees."""
    x = np.array([0.0, 0.12, 0.18, 0.24, 0.5, 0.75, 1.0])
    percent = np.array([0.0, 2.41, 3.36, 4.37, 5.58, 9.34, 13.1])
    assert 100 * relative_volume_change(x) == pytest.approx(percent)
    assert [100 * volume_change_at(float(value)) for value in x] == pytest.approx(percent)
    assert 100 * mean_volume_change(x, np.full(7, 1 / 7)) == pytest.approx(percent.mean())
