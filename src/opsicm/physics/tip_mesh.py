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

from opsicm.physics.spectral_element import Edges, Mesh, line

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


@dataclass(frozen=True, slots=True)
class TipMesh:
    """A mesh with its named boundaries; `tip_fixed` are the nodes on top of a straight tube (theta = 0)."""

    mesh: Mesh
    sample: Edges
    outside: Edges
    inside: Edges
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


def tip_mesh(
    wall: float, cone_angle: float, distance: float | None, fineness: Fineness, relief: Relief | None = None
) -> TipMesh:
    """The mesh for b/a = `wall` [1], `cone_angle` theta [rad] and d/a = `distance` [1], or None for no sample.

    `wall` = inf is a tube or cone in an infinite flange (no block D). `relief` h(r)/a [1] raises the sample round the
    axis, straight between the grid's own lines; it must stay below the tip.
    """
    p = fineness.order
    flange = math.isinf(wall)
    glass = 1.0 if flange else wall - 1.0
    b = 1.0 if flange else wall
    gap = 10.0 * b if distance is None else distance
    finest = min(1.0, glass, gap) * fineness.ratio**fineness.layers
    far = fineness.far * (b + (0.0 if distance is None else distance))
    scale = min(1.0, gap)
    inner = 1.0 - shrinking(1.0, finest, fineness.ratio)[::-1]
    outer = _corner_to_far(finest, scale, far, fineness)
    x = (
        np.concatenate((inner, 1.0 + outer[1:]))
        if flange
        else np.concatenate((inner, 1.0 + _between(glass, finest, fineness.ratio)[1:], b + outer[1:]))
    )
    if distance is None:
        below = -_corner_to_far(finest, 1.0, far, fineness)[::-1]
    elif distance > 1.0:
        below = -_corner_to_far(finest, 1.0, distance, fineness)[::-1]
    else:
        below = -shrinking(distance, finest, fineness.ratio)[::-1]
    slope = math.tan(cone_angle)
    top = fineness.inside / (1.0 - min(0.8, fineness.inside * slope)) if slope < 0.1 else fineness.inside / 0.4
    above_in = _corner_to_far(finest, scale, top, fineness)
    above_out = _corner_to_far(finest, scale, far, fineness)

    xB, zB = _fill(x, p), _fill(below, p)
    number_B = np.arange(xB.size * zB.size).reshape(xB.size, zB.size)
    rB, hB = np.broadcast_arrays(xB[:, None], zB[None, :])
    if relief is not None and distance is not None:
        hB = zB[None, :] * (1.0 - relief(xB) / distance)[:, None]
    at_one, at_b = (inner.size - 1) * p, int(np.argmin(np.abs(xB - b)))
    zA = _fill(above_in, p)
    xA = xB[: at_one + 1]
    number_A = np.concatenate(
        (number_B[: at_one + 1, -1:], number_B.size + np.arange(xA.size * (zA.size - 1)).reshape(xA.size, -1)), axis=1
    )
    rA, hA = xA[:, None] * (1.0 + zA * slope), np.broadcast_to(zA, (xA.size, zA.size))
    parts = [(number_B, rB, hB), (number_A, rA, hA)]
    count = number_B.size + xA.size * (zA.size - 1)
    edge_out: list[Int] = []
    if not flange:
        zD, sD = _fill(above_out, p), xB[at_b:]
        number_D = np.concatenate(
            (number_B[at_b:, -1:], count + np.arange(sD.size * (zD.size - 1)).reshape(sD.size, -1)), axis=1
        )
        count += sD.size * (zD.size - 1)
        parts.append((number_D, sD[:, None] + zD * slope * b, np.broadcast_to(zD, (sD.size, zD.size))))
        edge_out += [number_D[-1], number_D[:, -1]]
    edge_out.append(number_B[-1])
    if distance is None:
        edge_out.append(number_B[:, 0])

    positions = np.empty((count, 2))
    for number, r, h in parts:
        positions[number.ravel(), 0], positions[number.ravel(), 1] = r.ravel(), h.ravel()
    dofs = np.concatenate([_windows(number, p) for number, _, _ in parts])
    corners = positions[dofs[:, [0, 0, -1, -1], [0, -1, 0, -1]]].reshape(-1, 2, 2, 2)
    out = [_edges(numbers, positions, p) for numbers in edge_out]
    return TipMesh(
        Mesh(corners, dofs, count, p),
        _edges(number_B[:, 0], positions, p),
        Edges(np.concatenate([e.ends for e in out]), np.concatenate([e.dofs for e in out])),
        _edges(number_A[:, -1], positions, p),
        positions,
        (0.0, 0.0 if distance is None else -distance),
        None if slope == 0.0 else (0.0, -1.0 / slope),
        top,
    )
