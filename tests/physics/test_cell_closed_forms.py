"""The cell against what can be solved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.core.constants import FARADAY
from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell, CellStopped
from opsicm.physics.cell.parameters import CellParameters

# A bath with constant D over a bottomless electrode: what the closed forms assume.
IDEAL: dict[str, float | str] = {
    "diffusivity_slope": 0.0,
    "loading": 10.0,
    "double_layer_capacitance": 0.0,
    "response_time": 0.0,
    "sei_rate": 0.0,
}


def parameters(**changes: float | str) -> CellParameters:
    """The default set made ideal, with further changes in SI."""
    return parameter_set().with_leaves({**IDEAL, **changes}).values


def test_sand_time() -> None:
    """τ = π D (F c₀ / (2(1 − t⁺) i))², to 1 %: a first-order march reaches zero late by about half its last steps."""
    p = parameters()
    density = 100.0
    D, t_plus, c = 2.6e-10, p.electrolyte.transference, p.electrolyte.concentration
    tau = np.pi * D * (FARADAY * c / (2 * (1 - t_plus) * density)) ** 2
    cell = Cell(p, initial_potential=0.2, pore_cells=0)
    cell.set_current(-density * p.area)
    with pytest.raises(CellStopped, match="depleted at the specimen") as stopped:
        cell.advance(2 * tau)
    assert stopped.value.time == pytest.approx(tau, rel=0.01)


def test_cottrell() -> None:
    """At a potential that keeps c = 0 at the specimen, i = −F c₀ √(D/πt)/(1 − t⁺), within 1 % over two decades."""
    p = parameters(conductivity_1M=1e7, conductivity_curve="proportional", exchange_current_density=1e6)
    cell = Cell(p, initial_potential=0.2, pore_cells=0, tolerance=0.1)
    cell.set_potential(-0.3)
    for time in (2.0, 20.0, 200.0):
        cell.advance(time - cell.time)
        expected = -FARADAY * 1000.0 * np.sqrt(2.6e-10 / (np.pi * time)) / (1 - p.electrolyte.transference)
        assert cell.current_density == pytest.approx(expected, rel=0.01)


def test_steady_gradient() -> None:
    """After many H²/D the salt is a straight line of slope −(1 − t⁺) i / (F D)."""
    p = parameters(loading=1000.0)
    cell = Cell(p, initial_potential=0.2, pore_cells=0)
    cell.set_current(-2.0 * p.area)
    cell.advance(1e6)
    z = np.array([1e-4, 1e-3, 2.5e-3, 4.9e-3])
    slope = (1 - p.electrolyte.transference) * 2.0 / (FARADAY * 2.6e-10)
    assert cell.concentration(z) == pytest.approx(1000.0 + slope * (z - 2.5e-3), rel=1e-6)


def test_disk_steady_state_on_the_axis() -> None:
    """Above a disk the slope falls as the current does, 1/A_rel; the salt between two heights is that integral."""
    a = 3.99e-3
    p = parameters(loading=1000.0, disk_radius=a)
    cell = Cell(p, initial_potential=0.2, pore_cells=0, bath_cells=160)
    cell.set_current(-2.0 * p.area)
    cell.advance(1e7)
    slope = (1 - p.electrolyte.transference) * 2.0 / (FARADAY * 2.6e-10)
    z = np.array([1e-5, 1e-3, 3e-3])
    lift = z - np.hypot(z, a)
    c = cell.concentration(z)
    assert np.diff(c) == pytest.approx(slope * np.diff(lift), rel=2e-4)


def test_disk_resistance_on_the_axis() -> None:
    """L_eff = √(z²+a²) − z between a height and far away; here up to the reference, by difference."""
    a, H = 3.99e-3, 5e-3
    p = parameters(disk_radius=a, reference_height=H)
    cell = Cell(p)
    for z in (0.0, 1e-5, 1e-3):
        length = (np.hypot(z, a) - z) - (np.hypot(H, a) - H)
        assert cell.resistance_between(z, H) == pytest.approx(length / 0.62, rel=5e-4)


def test_particle_takes_up_as_the_square_root_of_time() -> None:
    """A particle at constant current: x_s − x₀ = 2 q √(t/πD) (planar); the sphere's own term is below 5 % at 5 s."""
    p = parameters(particle_diffusivity=4e-15, loading=0.0437)
    cell = Cell(p, initial_potential=0.12, pore_cells=0, shells=96)
    start = cell.surface_stoichiometry
    cell.set_current(-1.0 * p.area)
    cell.advance(5.0)
    flux = 1.0 * p.particle_radius / (3.0 * p.areal_capacity)  # [m/s] of x
    expected = 2.0 * flux * np.sqrt(5.0 / (np.pi * 4e-15))
    assert cell.surface_stoichiometry - start == pytest.approx(expected, rel=0.05)


def test_diffusion_potential_cancels_for_a_lithium_filled_pipette() -> None:
    """Newman's φ along the bath, plus the junction at the tip, leaves i∫dz/κ and a constant: none of c(z) but in κ.

    Integrated here from dφ/dz = −i/κ + U_d dln c/dz on the cell's own salt, during a pulse that has bent it by 100 mM.
    """
    p = parameters()
    cell = Cell(p, initial_potential=0.2)
    cell.set_current(-8.0 * p.area)
    cell.advance(900.0)
    e, c_in, z_ref = p.electrolyte, 700.0, p.reference_height
    z = np.linspace(1e-5, z_ref, 40001)
    c = cell.concentration(z)
    assert c[-1] - c[0] > 100.0
    slope = -cell.current_density / e.conductivity(c) + e.diffusion_potential * np.gradient(np.log(c), z)
    phi = np.append(0.0, np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(z)))
    phi -= phi[-1]  # against the reference
    junction = e.diffusion_potential * np.log(c_in / c)  # from the pipette's inside to its outside
    drive = -phi - junction  # what drives the pipette, less V_tip
    expected = -cell.ohmic_drop(z) - e.diffusion_potential * np.log(c_in / cell.concentration_at_reference)
    assert drive[::4000] == pytest.approx(expected[::4000], abs=2e-5)


@pytest.mark.parametrize("height", [1e-5, 1e-3])
def test_step_in_pipette_current_knows_no_conductivity(height: float) -> None:
    """dI = −i L_eff/R_geo as a pulse starts, whatever κ: lithiation raises it, more near the specimen than far."""
    R_geo = 1 / (np.pi * 5e-8 * np.tan(np.radians(3))) + 1 / (4 * 5e-8)
    steps = []
    for kappa, curve in ((0.3, "maximum"), (0.62, "proportional"), (1.2, "maximum")):
        p = parameters(conductivity_1M=kappa, conductivity_curve=curve)
        cell = Cell(p, initial_potential=0.12)
        cell.set_current(-8.0 * p.area)
        cell.advance(1e-3)
        steps.append(-float(cell.ohmic_drop(height)) * kappa / R_geo)
    assert steps == pytest.approx([8.0 * (p.reference_height - height) / R_geo] * 3, rel=1e-3)
    assert steps[0] > 0


def test_compensation_moves_the_reference_and_frees_the_interface() -> None:
    """E = E_set + f i R_u: with f = 0.97 the reference follows the drop, and the specimen takes up more."""
    p = parameter_set().values
    uptake = []
    for fraction in (0.0, 0.97):
        cell = Cell(p, initial_potential=0.4)
        cell.set_potential(0.05, ir_compensation=fraction)
        cell.advance(10.0)
        E = 0.05 + fraction * cell.current * cell.uncompensated_resistance
        assert cell.potential == pytest.approx(E, abs=1e-9)
        assert cell.set_point == 0.05
        uptake.append(-cell.charge)
    assert uptake[1] > 2 * uptake[0]
