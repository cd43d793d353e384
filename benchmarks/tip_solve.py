"""Resistance of a tip: our order-3 and order-4 elements against scikit-fem's P2 on the same grid lines."""

from __future__ import annotations

import math
from timeit import default_timer
from typing import Any

import numpy as np

from benchmarks.row import BenchRow
from opsicm.physics.pipette import tip_field as tip_table
from opsicm.physics.pipette.tip_mesh import Fineness, solve_tip, tip_mesh

COARSE = Fineness(order=3, layers=2, far=300.0)
FINE = Fineness(order=4, layers=3, far=300.0)
_CASES = ((1.5, 3.0, 0.3), (1.1, 1.0, 1.0), (3.0, 20.0, 2.0))
_RUNS = 7


def scikit_fem_resistance(wall: float, cone_angle: float, distance: float | None, fineness: Fineness) -> float:
    """R·kappa·a [1] by scikit-fem: P2 triangles from our quadrilaterals, its own assembly, the same Robin cuts.

    A second opinion on assembly, quadrature and solver; the grid is shared. Needs scikit-fem (ImportError without).
    """
    import skfem  # noqa: PLC0415  only this row and one test need it
    from scipy.sparse.linalg import spsolve  # noqa: PLC0415

    tip = tip_mesh(wall, cone_angle, distance, fineness)
    corners = tip.mesh.corners[:, [0, 1, 1, 0], [0, 0, 1, 1]].reshape(-1, 2)
    points, number = np.unique(np.round(corners, 13), axis=0, return_inverse=True)
    mesh = skfem.MeshQuad(points.T.copy(), number.reshape(-1, 4).T.copy()).to_meshtri()
    basis = skfem.Basis(mesh, skfem.ElementTriP2(), intorder=5)

    def on(edges: Any) -> Any:
        ends = np.round(edges.ends.mean(axis=1), 9)
        middles = np.round(mesh.p[:, mesh.facets].mean(axis=1).T, 9)
        scale = np.maximum(1.0, np.abs(ends).max(axis=1))
        keys = {(round(float(r / s), 7), round(float(z / s), 7)) for (r, z), s in zip(ends, scale, strict=True)}
        hit = []
        for facet in mesh.boundary_facets():
            r, z = middles[facet]
            s = max(1.0, abs(r), abs(z))
            if (round(float(r / s), 7), round(float(z / s), 7)) in keys:
                hit.append(facet)
        return skfem.FacetBasis(mesh, skfem.ElementTriP2(), facets=np.array(hit), intorder=5)

    def robin(origin: tuple[float, float]) -> Any:
        def k(w: Any) -> Any:
            y = (w.x[0] - origin[0], w.x[1] - origin[1])
            return w.x[0] * np.abs(y[0] * w.n[0] + y[1] * w.n[1]) / (y[0] ** 2 + y[1] ** 2)

        return k

    assert tip.inside_origin is not None
    k_in, k_out = robin(tip.inside_origin), robin(tip.outside_origin)
    inside, outside = on(tip.inside), on(tip.outside)
    A = skfem.BilinearForm(lambda u, v, w: w.x[0] * (u.grad[0] * v.grad[0] + u.grad[1] * v.grad[1])).assemble(basis)
    A = A + skfem.BilinearForm(lambda u, v, w: k_in(w) * u * v).assemble(inside)
    A = A + skfem.BilinearForm(lambda u, v, w: k_out(w) * u * v).assemble(outside)
    f = skfem.LinearForm(lambda v, w: k_in(w) * v).assemble(inside)
    u = spsolve(A.tocsc(), f)
    return float(1.0 / (2.0 * math.pi * (f.sum() - f @ u)))


def _milliseconds(work: Any, runs: int = _RUNS) -> float:
    best = math.inf
    for _ in range(runs):
        start = default_timer()
        work()
        best = min(best, default_timer() - start)
    return best * 1e3


def _worst_error(fineness: Fineness) -> float:
    reference = Fineness(order=6, layers=4, far=1e3, growth=2.0)
    worst = 0.0
    for wall, degrees, distance in _CASES:
        angle = math.radians(degrees)
        added = [
            solve_tip(wall, angle, distance, f).resistance - solve_tip(wall, angle, None, f).resistance
            for f in (fineness, reference)
        ]
        worst = max(worst, abs(added[0] / added[1] - 1.0))
    return worst


def row() -> list[BenchRow]:
    """Best of some runs of one solve, its error in dR, and the whole table's time from one of its columns."""
    angle = math.radians(3.0)
    rows = []
    try:
        peer_ms = _milliseconds(lambda: scikit_fem_resistance(1.5, angle, 0.672, FINE), 2)
        peer = f"scikit-fem P2 on the same lines: {peer_ms:.0f} ms"
    except ImportError:
        peer = "scikit-fem is not installed"
    for fineness, accuracy, goal in ((COARSE, 1e-3, 25.0), (FINE, 2e-4, 60.0)):
        spent, error = _milliseconds(lambda f=fineness: solve_tip(1.5, angle, 0.672, f)), _worst_error(fineness)
        rows.append(
            BenchRow(
                f"resistance solve at {accuracy:g}",
                spent,
                "ms",
                peer,
                f"dR off by {error:.1e}",
                f"<= {goal:g} ms",
                spent <= goal and error <= accuracy,
            )
        )
    geometries = tip_table.geometries()
    column = _milliseconds(lambda: tip_table.column(geometries[len(geometries) // 2]), 1)
    minutes = column * len(geometries) / 2.0 / 60e3
    rows.append(
        BenchRow(
            "tip-field table, 2 cores", minutes, "min", "", f"{len(geometries)} columns", "<= 5 min", minutes <= 5.0
        )
    )
    return rows
