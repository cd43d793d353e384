"""Where the cell's unknowns sit: finite volumes from pores through bath to counter, and shells of a particle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.cell.vessel import relative_area

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BathGrid:
    """Cells along z [m], all per unit of specimen area; shapes [n] or, for faces between cells, [n + 1].

    `area` is relative (1 at the specimen); `volume` is porosity × area × width [m]; `conductance` is area × tortuosity
    factor / distance between centres [1/m] (zero at the two ends); `source` the share of the specimen's reaction in
    each cell.
    """

    z: Floats
    faces: Floats
    area: Floats
    volume: Floats
    conductance: Floats
    source: Floats
    n_pores: int

    @property
    def n(self) -> int:
        """Number of cells."""
        return self.z.size


def bath_faces(depth: float, cells: int, crowding: float = 0.97) -> Floats:
    """Faces from 0 to `depth` [m], crowded smoothly at both electrodes: z = H (s − β sin 2πs / 2π), β = `crowding`.

    A smooth map of an even grid keeps the scheme of second order, which patches of different spacing would not.
    """
    s = np.linspace(0.0, 1.0, cells + 1)
    return np.asarray(depth * (s - crowding * np.sin(2.0 * np.pi * s) / (2.0 * np.pi)))


def bath_grid(p: CellParameters, cells: int, pore_cells: int) -> BathGrid:
    """The bath in `cells` above the electrode in `pore_cells`; 0 of these leaves the pores out."""
    depth, pore_depth, porosity = p.bath_depth, p.thickness, p.porosity
    vessel = p.disk_radius, p.vessel_radius, depth
    free = bath_faces(depth, cells)
    pores = np.linspace(-pore_depth, 0.0, pore_cells + 1)[:-1] if pore_cells else np.empty(0)
    faces = np.concatenate([pores, free])
    widths = np.diff(faces)
    centres = 0.5 * (faces[1:] + faces[:-1])
    in_pores = centres < 0.0
    area = relative_area(np.maximum(centres, 0.0), *vessel)
    volume = np.where(in_pores, porosity, 1.0) * area * widths
    factor = np.where(in_pores, porosity**p.bruggeman, 1.0)
    face_area = relative_area(np.maximum(faces, 0.0), *vessel)
    half = 0.5 * widths / factor
    conductance = np.zeros(faces.size)
    conductance[1:-1] = face_area[1:-1] / (half[1:] + half[:-1])
    source = np.zeros(centres.size)
    if pore_cells:
        source[:pore_cells] = widths[:pore_cells] / pore_depth
    else:
        source[0] = 1.0
    return BathGrid(centres, faces, area, volume, conductance, source, pore_cells)


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
