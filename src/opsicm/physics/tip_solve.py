"""Resistance of a tip over a flat sample by finite elements, in units of 1/(kappa a)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.physics.spectral_element import edge_terms, line, solve, stiffness
from opsicm.physics.tip_mesh import Fineness, Relief, TipMesh, tip_mesh

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TipSolution:
    """`resistance` R·kappa·a [1] of an endless cone (theta = 0: of the modelled length of tube, `tube` radii)
    from far inside to far outside; on the sample `radius` r/a [n], `weight` (area of the quadrature ring / a²)
    and `density` J_t a²/I [n], the current density along the sample for unit current."""

    resistance: float
    radius: F64
    weight: F64
    density: F64
    potential: F64
    tip: TipMesh

    @property
    def shape_derivative(self) -> float:
        """int |J|² dA / I² = -d(R kappa a)/d(d/a): what raising the whole sample by one radius would do."""
        return float(np.sum(self.weight * self.density**2))


def solve_tip(
    wall: float,
    cone_angle: float,
    distance: float | None,
    fineness: Fineness | None = None,
    relief: Relief | None = None,
) -> TipSolution:
    """Solve Laplace's equation for b/a = `wall`, theta = `cone_angle` [rad] and d/a = `distance` (None: no sample).

        div grad u = 0;  du/dn = 0 on glass and sample;  du/dn = k (u_far - u), k = (x - x0)·n / |x - x0|²
        on the cuts inside (u_far = 1) and outside (u_far = 0): exact for a field falling as 1/rho from x0.

    R follows from the energy, whose error is the square of the field's. Assumes uncharged glass, a flat insulating
    sample, a uniform electrolyte. Fails when d is so small that roughness or a Debye length (0.3 nm at 1 M) counts.
    Source: Newman, Electrochemical Systems, chapter 18; the corner grading after Schwab, p- and hp-FEM, 1998.
    """
    tip = tip_mesh(wall, cone_angle, distance, fineness or Fineness(), relief)
    mesh = tip.mesh
    out_matrix, _ = edge_terms(tip.outside, mesh.order, tip.outside_origin)
    in_matrix, in_load = edge_terms(tip.inside, mesh.order, tip.inside_origin)
    load = np.zeros(mesh.count)
    none = np.empty(0, dtype=np.int64)
    if tip.inside_origin is None:
        fixed = np.unique(tip.inside.dofs)
        element = stiffness(mesh)
        u = solve(mesh, element, tip.outside.dofs, out_matrix, load, fixed, np.ones(fixed.size))
        local = u[mesh.dofs.reshape(len(mesh.dofs), -1)]
        edge = u[tip.outside.dofs]
        energy = np.einsum("ei,eij,ej->", local, element, local, optimize=True)
        current = float(energy + np.einsum("ei,eij,ej->", edge, out_matrix, edge, optimize=True))
    else:
        np.add.at(load, tip.inside.dofs.ravel(), in_load.ravel())
        dofs = np.concatenate((tip.outside.dofs, tip.inside.dofs))
        u = solve(mesh, stiffness(mesh), dofs, np.concatenate((out_matrix, in_matrix)), load, none, np.empty(0))
        # I = int k (1 - u): a(u, u) = load·u at the solution, so this is the energy too.
        current = float(np.sum(in_load) - load @ u)
    basis = line(mesh.order)
    ends = tip.sample.ends
    half = 0.5 * np.hypot(*(ends[:, 1] - ends[:, 0]).T)[:, None]
    radius = ends[:, :1, 0] + 0.5 * (ends[:, 1:, 0] - ends[:, :1, 0]) * (1.0 + basis.points)
    slope = u[tip.sample.dofs] @ basis.slope.T / half
    weight = 2.0 * math.pi * half * basis.weights * radius
    total = 2.0 * math.pi * current
    return TipSolution(1.0 / total, radius.ravel(), weight.ravel(), -slope.ravel() / total, u, tip)


def endless_cone(cone_angle: float) -> float:
    """R·kappa·a [1] of an endless cone from the spherical cap through the aperture's rim: sin / (2 pi (1 - cos))."""
    return math.sin(cone_angle) / (2.0 * math.pi * (1.0 - math.cos(cone_angle)))
