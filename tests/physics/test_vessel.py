"""The field of a disk in its vessel, against elliptic integrals, Hankel's integral, limits and a grid of its own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.integrate import quad
from scipy.sparse import linalg
from scipy.special import ellipe, ellipk, j0, j1

from opsicm.core.errors import OutsideDomain
from opsicm.experiment.parameter_file import parameter_set
from opsicm.physics.cell.cell import Cell
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.cell.vessel import centre_above_mean, potential_length, reference_on_the_axis, relative_area

Floats = NDArray[np.float64]
A, H = 3.99e-3, 5e-3
KAPPA = 0.62


def cell_of(**changes: float | str) -> CellParameters:
    return parameter_set().with_leaves({"disk_radius": A, **changes}).values


def grid_field(vessel: float, disk: float, depth: float, dr: float, dz: float) -> tuple[Floats, Floats, Floats]:
    """φκ/i on centres of even rings and layers: flux 1 below r < disk, none at the wall, zero at the counter."""
    nr, nz = round(vessel / dr), round(depth / dz)
    faces = np.linspace(0.0, vessel, nr + 1)
    ring: Floats = np.diff(faces**2) / 2.0
    out = faces[1:-1] / dr
    radial = np.diag(np.append(out, 0) + np.append(0, out)) - np.diag(out, 1) - np.diag(out, -1)
    axial = 2.0 * np.eye(nz) - np.eye(nz, k=1) - np.eye(nz, k=-1)
    axial[0, 0], axial[-1, -1] = 1.0, 3.0
    across, along = sparse.csr_array(radial), sparse.csr_array(axial / dz)
    even, rings = sparse.csr_array(dz * np.eye(nz)), sparse.csr_array(np.diag(ring))
    matrix = sparse.kron(across, even) + sparse.kron(rings, along)
    inside = (np.minimum(faces[1:], disk) ** 2 - np.minimum(faces[:-1], disk) ** 2) / 2.0
    source = np.zeros((nr, nz))
    source[:, 0] = inside
    field: Floats = linalg.spsolve(matrix.tocsc(), source.ravel()).reshape(nr, nz)
    return np.asarray(0.5 * (faces[1:] + faces[:-1])), np.asarray((np.arange(nz) + 0.5) * dz), field


def test_on_the_plane_of_the_disk_it_is_the_elliptic_integral() -> None:
    """(2a/π) E(r/a) inside, (2/π)(r E(a/r) − (r² − a²)/r K(a/r)) outside (modulus, not parameter, in brackets)."""
    for r in (0.0, 0.5 * A, 0.9 * A):
        assert potential_length(r, 0.0, A) == pytest.approx(2.0 * A / np.pi * ellipe((r / A) ** 2), rel=1e-6)
    for r in (1.1 * A, 8e-3, 15e-3):
        m = (A / r) ** 2
        exact = 2.0 / np.pi * (r * ellipe(m) - (r * r - A * A) / r * ellipk(m))
        assert potential_length(r, 0.0, A) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(("r", "z"), [(0.0, 1e-3), (2e-3, 1e-3), (A, 2e-3), (8e-3, 4e-3), (15e-3, 3e-3)])
def test_above_the_disk_it_is_hankels_integral(r: float, z: float) -> None:
    """κφ/i = a ∫ J₀(kr) J₁(ka) e^(−kz) dk/k."""

    def integrand(s: float) -> float:
        return float(j0(s * r / A) * j1(s) * np.exp(-s * z / A) / s)

    exact = A * quad(integrand, 0.0, 45.0 * A / z, limit=800)[0]
    assert potential_length(r, z, A) == pytest.approx(exact, rel=1e-8)


def test_a_large_vessel_is_open_and_a_narrow_one_a_slab() -> None:
    """Wall and counter far away change the field by less than 1e-3; a wall at the disk's edge leaves H − z."""
    for r, z in ((0.0, 0.0), (0.0, 3e-3), (8e-3, 4e-3)):
        far = potential_length(r, z, A, 10.0, 2.0)
        assert far == pytest.approx(potential_length(r, z, A), abs=5e-6)
    heights = np.array([0.0, 1e-6, 1e-3, 4.9e-3])
    assert relative_area(heights, A, A, H) == pytest.approx(1.0, rel=1e-3)
    assert relative_area(heights, A, 10.0, 2.0) == pytest.approx(relative_area(heights, A), rel=1e-3)
    for height in heights:
        for r in (0.0, 2e-3):
            assert potential_length(r, height, A, A, H) == pytest.approx(H - height, abs=1e-6)


def test_a_vessel_against_differences() -> None:
    """A wall at 8 mm, 5 mm deep, on a grid of 50 µm: 0.5 % of what is left to the counter."""
    radii, heights, field = grid_field(8e-3, A, H, 5e-5, 5e-5)
    for j, k in ((0, 0), (0, 40), (40, 20), (90, 10), (150, 60), (159, 80)):
        found = potential_length(radii[j], heights[k], A, 8e-3, H)
        assert found == pytest.approx(field[j, k], rel=5e-3)
    area = relative_area(0.5 * (heights[1:] + heights[:-1]), A, 8e-3, H)
    slope = -np.diff(field[0]) / np.diff(heights)
    assert area == pytest.approx(1.0 / slope, rel=5e-3)
    assert area[-1] < 0.85 * relative_area(heights[-1:], A)[0]  # an open disk spreads further than this bath lets it


def test_the_axis_law_is_the_slope_of_the_potential() -> None:
    z, step = np.array([2e-6, 5e-4, 2e-3, 4.5e-3]), 1e-6
    for vessel in (np.inf, 6e-3, 20e-3):
        lengths = [[potential_length(0.0, at + d, A, vessel, H) for at in z] for d in (-step, step)]
        slope = (np.array(lengths[0]) - np.array(lengths[1])) / (2 * step)
        assert relative_area(z, A, vessel, H) == pytest.approx(1.0 / slope, rel=1e-5)


def test_resistance_to_a_reference_beside_an_open_disk() -> None:
    """28 to 46 Ω cm² for a reference 6 to 15 mm from the axis, and at most 54.5 (8a/3πκ) wherever it stands.

    By hand: the mean over the disk, less the elliptic integral at a reference in the disk's plane, over κ.
    """
    resistances = []
    for r in (6e-3, 15e-3, 100.0):
        p = cell_of(reference_offset=r, reference_height=0.0)
        m = (A / r) ** 2
        beside = 2.0 / np.pi * (r * ellipe(m) - (r * r - A * A) / r * ellipk(m))
        resistances.append(1e4 * Cell(p, pore_cells=0).uncompensated_resistance * p.area)
        assert resistances[-1] == pytest.approx(1e4 * (8.0 * A / (3.0 * np.pi) - beside) / KAPPA, rel=1e-3)
    assert resistances == pytest.approx([31.8, 46.0, 54.6], abs=0.05)


def test_the_mean_over_the_disk() -> None:
    """8a/3π of the open disk; in a vessel the mean over the rings of the grid; in a slab the centre is the mean."""
    assert A - centre_above_mean(cell_of()) == pytest.approx(8.0 * A / (3.0 * np.pi))
    p = cell_of(vessel_radius=8e-3)
    radii, _, field = grid_field(8e-3, A, p.bath_depth, 5e-5, 5e-5)
    over = radii < A
    mean = np.sum(field[over, 0] * radii[over]) / np.sum(radii[over])
    assert centre_above_mean(p) == pytest.approx(field[0, 0] - mean, rel=0.02)
    assert centre_above_mean(cell_of(vessel_radius=A)) == pytest.approx(0.0, abs=2e-6)
    assert centre_above_mean(cell_of(disk_radius="slab")) == 0.0


def test_a_reference_in_a_vessel_is_on_the_axis_at_the_same_potential() -> None:
    """Salt from its own height over the disk, from mid-depth beside it; on the axis nothing changes."""
    p = cell_of(vessel_radius=20e-3, reference_offset=8e-3)
    height, beyond = reference_on_the_axis(p)
    assert beyond == 0.0
    wanted = potential_length(8e-3, p.reference_height, A, 20e-3, p.bath_depth)
    assert potential_length(0.0, height, A, 20e-3, p.bath_depth) == pytest.approx(wanted, abs=2e-9)
    assert p.reference_salt_height == 0.5 * p.bath_depth
    cell = Cell(p)
    cell.set_current(8.0 * p.area)
    cell.advance(1e-3)
    expected = 8.0 * (potential_length(0.0, 1e-3, A, 20e-3, p.bath_depth) - wanted) / KAPPA
    assert cell.ohmic_drop(1e-3) == pytest.approx(expected, rel=2e-3)
    assert cell.bath_at([1e-3])[1] == pytest.approx(expected, rel=2e-3)
    over = cell_of(vessel_radius=20e-3, reference_offset=2e-3)
    assert over.reference_salt_height == over.reference_height
    assert reference_on_the_axis(cell_of(vessel_radius=20e-3)) == (p.reference_height, 0.0)


def test_a_slab_has_one_potential_at_each_height() -> None:
    """An offset within its wall changes nothing; its wall is at √(area/π)."""
    slab = {"disk_radius": "slab"}
    plain, beside = (Cell(cell_of(**slab, reference_offset=r)) for r in (0.0, 3e-3))
    for cell in (plain, beside):
        cell.set_current(-8.0 * cell.parameters.area)
        cell.advance(10.0)
    assert (beside.potential, beside.current) == (plain.potential, plain.current)
    assert beside.uncompensated_resistance == plain.uncompensated_resistance


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"disk_radius": "slab", "reference_offset": 8e-3}, "8 mm; the wall is 3.99 mm from the axis.*disk_radius"),
        ({"disk_radius": "slab", "vessel_radius": 20e-3}, "20 mm; a slab has the wall of its own column"),
        ({"vessel_radius": 3e-3}, "vessel_radius is 3 mm; the disk's radius is 3.99 mm; make it at least that"),
        ({"vessel_radius": 20e-3, "reference_offset": 25e-3}, "reference_offset is 25 mm; the wall is 20 mm"),
        ({"vessel_radius": 20e-3, "counter": "side"}, "only a vessel with its counter above is solved"),
        ({"vessel_radius": 0.0}, "vessel_radius is 0; it is positive"),
        ({"reference_offset": -1e-3}, "reference_offset is -0.001; it is not negative"),
    ],
)
def test_what_cannot_stand_in_a_vessel_is_refused(changes: dict[str, float | str], says: str) -> None:
    with pytest.raises(OutsideDomain, match=says):
        cell_of(**changes)
