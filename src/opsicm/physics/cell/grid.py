"""Where the cell's unknowns sit: finite volumes from pores through bath to counter, and shells of a particle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BathGrid:
    """Cells along z [m], all per unit of specimen area; shapes [n] or, for faces between cells, [n + 1].

    `volume` is porosity × relative area × width [m]; `conductance` is relative area × tortuosity factor / distance
    between centres [1/m] (zero at the two ends); `width` is the cell's share of each ohmic integral, `area` and
    `pore_factor` what divides it; `source` the share of the specimen's reaction in each cell.
    """

    z: Floats
    faces: Floats
    volume: Floats
    conductance: Floats
    source: Floats
    n_pores: int

    @property
    def n(self) -> int:
        """Number of cells."""
        return self.z.size


def relative_area(z: Floats, disk_radius: float) -> Floats:
    """A(z)/A(0) that the current spreads over: 1 for a slab (`disk_radius` = inf), 1/(1 − z/√(z²+a²)) above a disk.

    The disk's law is exact on the axis of a uniform-current disk of radius a [m] in an insulating plane under a
    half-space; it overstates the spread in a bath not much deeper than a.
    """
    if np.isinf(disk_radius):
        return np.ones_like(z)
    return np.asarray(1.0 / (1.0 - z / np.hypot(z, disk_radius)))


def bath_faces(depth: float, cells: int, crowding: float = 0.97) -> Floats:
    """Faces from 0 to `depth` [m], crowded smoothly at both electrodes: z = H (s − β sin 2πs / 2π), β = `crowding`.

    A smooth map of an even grid keeps the scheme of second order, which patches of different spacing would not.
    """
    s = np.linspace(0.0, 1.0, cells + 1)
    return np.asarray(depth * (s - crowding * np.sin(2.0 * np.pi * s) / (2.0 * np.pi)))


def bath_grid(
    depth: float, disk_radius: float, pore_depth: float, porosity: float, bruggeman: float, cells: int, pore_cells: int
) -> BathGrid:
    """A bath `depth` [m] deep above an electrode `pore_depth` [m] thick; `pore_cells` = 0 leaves the pores out."""
    free = bath_faces(depth, cells)
    pores = np.linspace(-pore_depth, 0.0, pore_cells + 1)[:-1] if pore_cells else np.empty(0)
    faces = np.concatenate([pores, free])
    widths = np.diff(faces)
    centres = 0.5 * (faces[1:] + faces[:-1])
    in_pores = centres < 0.0
    area = relative_area(np.maximum(centres, 0.0), disk_radius)
    volume = np.where(in_pores, porosity, 1.0) * area * widths
    factor = np.where(in_pores, porosity**bruggeman, 1.0)
    face_area = relative_area(np.maximum(faces, 0.0), disk_radius)
    half = 0.5 * widths / factor
    conductance = np.zeros(faces.size)
    conductance[1:-1] = face_area[1:-1] / (half[1:] + half[:-1])
    source = np.zeros(centres.size)
    if pore_cells:
        source[:pore_cells] = widths[:pore_cells] / pore_depth
    else:
        source[0] = 1.0
    return BathGrid(centres, faces, volume, conductance, source, pore_cells)


@dataclass(frozen=True, eq=False)
class ParticleGrid:
    """Shells of a sphere of radius 1: `volume` sums to 1; `conductance` = area / distance of centres, ends zero."""

    faces: Floats
    volume: Floats
    conductance: Floats
    surface_half: float


def particle_grid(shells: int) -> ParticleGrid:
    """Shells crowded towards the surface, r = s(2 − s): a short pulse reaches only its outermost part."""
    s = np.linspace(0.0, 1.0, shells + 1)
    faces = s * (2.0 - s)
    volume = np.diff(faces**3)
    centres = 0.5 * (faces[1:] + faces[:-1])
    conductance = np.zeros(faces.size)
    conductance[1:-1] = 3.0 * faces[1:-1] ** 2 / np.diff(centres)
    return ParticleGrid(faces, volume, conductance, float(1.0 - centres[-1]))
