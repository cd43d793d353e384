"""The meridian plane round a pipette's tip, cut into three blocks that cannot fail.

Lengths are in units of the inner radius a; z = 0 is the aperture, the sample is at z = -d, glass fills
1 < r < b at z = 0 and widens upwards with both walls. Each block is a tensor grid, sheared with its wall:

    A  inside the pipette    0 < xi < 1,  r = xi (1 + z tan theta)
    B  between tip and sample,  0 < r < far
    D  outside the pipette      r = b + s + z tan(theta_out)

so every quadrilateral is convex by construction. Grids shrink geometrically towards the two glass corners,
where the current density is singular. The outer wall keeps the ratio: tan(theta_out) = (b/a) tan(theta), as
pulled capillaries do [assumed].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.physics.pipette.spectral_element import Edges, Mesh, edge_terms, line, solve, stiffness

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Relief = Callable[[F64], F64]


@dataclass(frozen=True, slots=True)
class Fineness:
    """How fine: element `order`, `layers` of shrinking elements at a corner, their `ratio`, growth far away."""

    order: int = 4
    layers: int = 4
    ratio: float = 0.15
    growth: float = 3.0
    far: float = 1e4  # [1] radius of the outer boundary over (b + d)
    inside: float = 6.0  # [1] height of block A in radii of its own top
    top: float | None = None  # [1] height of block A outright


@dataclass(frozen=True, slots=True)
class TipMesh:
    """A mesh with its named boundaries; `tip_fixed` are the nodes on top of a straight tube (theta = 0)."""

    mesh: Mesh
    sample: Edges
    outside: Edges
    inside: Edges
    glass: Edges
    positions: F64  # [count, 2]
    outside_origin: tuple[float, float]
    inside_origin: tuple[float, float] | None
    top: float


def shrinking(length: float, smallest: float, ratio: float) -> F64:
    """Distances 0 < ... < length from a corner, each about `ratio` of the next, the first about `smallest`."""
    steps = max(1, math.ceil(math.log(length / smallest) / -math.log(ratio)))
    return np.concatenate(([0.0], length * (smallest / length) ** (np.arange(steps, -1, -1) / steps)))


def _corner_to_far(smallest: float, scale: float, far: float, fineness: Fineness) -> F64:
    near = shrinking(scale, smallest, fineness.ratio)
    steps = max(1, math.ceil(math.log(far / scale) / math.log(fineness.growth)))
    return np.concatenate((near, scale * (far / scale) ** (np.arange(1, steps + 1) / steps)))


def _between(width: float, smallest: float, ratio: float) -> F64:
    half = shrinking(0.5 * width, smallest, ratio)
    return np.concatenate((half, width - half[-2::-1]))


def _fill(grid: F64, order: int) -> F64:
    """The grid lines and the Gauss–Lobatto nodes between them."""
    inner = 0.5 * (line(order).nodes[:-1] + 1.0)
    return np.append((grid[:-1, None] + np.diff(grid)[:, None] * inner).ravel(), grid[-1])


def _windows(numbers: NDArray[np.generic], order: int) -> Int:
    nx, nz = (numbers.shape[0] - 1) // order, (numbers.shape[1] - 1) // order
    cut = np.lib.stride_tricks.sliding_window_view(numbers, (order + 1, order + 1))[::order, ::order]
    return np.ascontiguousarray(cut.reshape(nx * nz, order + 1, order + 1))


def _edges(numbers: Int, positions: F64, order: int) -> Edges:
    dofs = np.lib.stride_tricks.sliding_window_view(numbers, order + 1)[::order]
    return Edges(positions[dofs[:, [0, -1]]], np.ascontiguousarray(dofs))


@dataclass(frozen=True, slots=True)
class _Lines:
    """Grid lines of the blocks: `across` r at z = 0, its two glass corners by index, and the z of each block."""

    across: F64
    inner_corner: int
    outer_corner: int
    below: F64
    inside: F64
    outside: F64


def _lines(wall: float, slope: float, distance: float | None, fineness: Fineness) -> _Lines:
    flange = math.isinf(wall)
    b, glass = (1.0, 1.0) if flange else (wall, wall - 1.0)
    gap = 10.0 * b if distance is None else distance
    finest = min(1.0, glass, gap) * fineness.ratio**fineness.layers
    far = fineness.far * (b + (0.0 if distance is None else distance))
    scale = min(1.0, gap)
    inner = 1.0 - shrinking(1.0, finest, fineness.ratio)[::-1]
    face = np.empty(0) if flange else 1.0 + _between(glass, finest, fineness.ratio)[1:]
    outer = b + _corner_to_far(finest, scale, far, fineness)[1:]
    if distance is not None and distance <= 1.0:
        below = shrinking(distance, finest, fineness.ratio)
    else:
        below = _corner_to_far(finest, 1.0, far if distance is None else distance, fineness)
    top = fineness.top
    if top is None:
        top = fineness.inside / (1.0 - min(0.8, fineness.inside * slope)) if slope < 0.1 else fineness.inside / 0.4
    return _Lines(
        np.concatenate((inner, face, outer)),
        inner.size - 1,
        inner.size - 1 + face.size,
        -below[::-1],
        _corner_to_far(finest, scale, top, fineness),
        _corner_to_far(finest, scale, far, fineness),
    )


def _on_top(first_row: Int, rows: int, count: int) -> Int:
    """Node numbers of a block standing on `first_row`, with `rows` rows in all; new nodes from `count` on."""
    new = count + np.arange(first_row.size * (rows - 1)).reshape(first_row.size, rows - 1)
    return np.concatenate((first_row[:, None], new), axis=1)


def _boundary(numbers: list[Int], positions: F64, order: int) -> Edges:
    parts = [_edges(one, positions, order) for one in numbers]
    return Edges(np.concatenate([e.ends for e in parts]), np.concatenate([e.dofs for e in parts]))


def tip_mesh(
    wall: float, cone_angle: float, distance: float | None, fineness: Fineness, relief: Relief | None = None
) -> TipMesh:
    """The mesh for b/a = `wall` [1], `cone_angle` theta [rad] and d/a = `distance` [1], or None for no sample.

    `wall` = inf is a tube or cone in an infinite flange (no block D). `relief` h(r)/a [1] raises the sample round the
    axis, straight between the grid's own lines; it must stay below the tip.
    """
    p, slope = fineness.order, math.tan(cone_angle)
    lines = _lines(wall, slope, distance, fineness)
    x, zB, zA = _fill(lines.across, p), _fill(lines.below, p), _fill(lines.inside, p)
    at_one, at_b = lines.inner_corner * p, lines.outer_corner * p

    B = np.arange(x.size * zB.size).reshape(x.size, zB.size)
    zB_bent = np.broadcast_to(zB, B.shape)
    if relief is not None and distance is not None:
        zB_bent = zB * (1.0 - relief(x) / distance)[:, None]
    A = _on_top(B[: at_one + 1, -1], zA.size, B.size)
    blocks = [
        (B, np.broadcast_to(x[:, None], B.shape), zB_bent),
        (A, x[: at_one + 1, None] * (1.0 + zA * slope), np.broadcast_to(zA, A.shape)),
    ]
    cut, glass = [B[-1]], [A[-1]]
    count = B.size + A.size - A.shape[0]
    if distance is None:
        cut.append(B[:, 0])
    if not math.isinf(wall):
        zD = _fill(lines.outside, p)
        D = _on_top(B[at_b:, -1], zD.size, count)
        count += D.size - D.shape[0]
        blocks.append((D, x[at_b:, None] + zD * slope * wall, np.broadcast_to(zD, D.shape)))
        cut += [D[-1], D[:, -1]]
        glass += [B[at_one : at_b + 1, -1], D[0]]

    positions = np.empty((count, 2))
    for number, r, z in blocks:
        positions[number.ravel(), 0], positions[number.ravel(), 1] = r.ravel(), z.ravel()
    dofs = np.concatenate([_windows(number, p) for number, _, _ in blocks])
    corners = positions[dofs[:, [0, 0, -1, -1], [0, -1, 0, -1]]].reshape(-1, 2, 2, 2)
    return TipMesh(
        Mesh(corners, dofs, count, p),
        _edges(B[:, 0], positions, p),
        _boundary(cut, positions, p),
        _edges(A[:, -1], positions, p),
        _boundary(glass, positions, p),
        positions,
        (0.0, 0.0 if distance is None else -distance),
        None if slope == 0.0 else (0.0, -1.0 / slope),
        float(lines.inside[-1]),
    )


# -- Resistance of a tip over a flat sample by finite elements, in units of 1/(kappa a).


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
