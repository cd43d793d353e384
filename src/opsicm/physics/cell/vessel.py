"""The field of a disk's current in its vessel: how far it spreads over the axis, and what a reference beside it feels.

The specimen is a disk of radius a with the same current density everywhere, in an insulating plane, under one of
* a half space (`vessel_radius` = inf): no wall, and a counter far away in every direction;
* a cylinder of radius V with an insulating wall, closed at `depth` H by the counter.
A slab (`disk_radius` = inf) is a column with a wall of its own, in which each height has one potential.
Lengths [m]. A potential is i/κ times a length; κ is the same everywhere here, and the cell puts its own κ(z) in.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive, kve

from opsicm.physics.cell.parameters import CellParameters

Floats = NDArray[np.float64]

# Against a series over the zeros of J₁ they leave 0.12 µm of length and 2e-6 of A(z), V from 4.2 to 20 mm.
_IMAGES: Final = 100  # of the disk in the counter; their sum falls as 1/m² and alternates
_TERMS: Final = 2000  # of the wall's series: a wall that touches the disk converges as 1/m only
_POINTS: Final = 4096  # round the disk's edge


def relative_area(z: Floats, disk_radius: float, vessel_radius: float = np.inf, depth: float = np.inf) -> Floats:
    """A(z)/A(0) that the current spreads over, i/(−κ dφ/dz) on the axis: 1 for a slab, 1/(1 − z/√(z²+a²)) in the open.

    In a vessel the axis has the images of the disk in the counter, and the wall's part as in `potential_length`.
    """
    if np.isinf(disk_radius):
        return np.ones_like(z)
    slope = 1.0 - z / np.hypot(z, disk_radius)
    if np.isfinite(vessel_radius):
        for m in range(1, _IMAGES + 1):
            up, down = z + 2 * m * depth, 2 * m * depth - z
            slope += (-1) ** m * (down / np.hypot(down, disk_radius) - up / np.hypot(up, disk_radius))
        k = _wavenumbers(depth)
        slope += np.sin(np.multiply.outer(z, k)) @ (k * _wall(0.0, k, disk_radius, vessel_radius, depth))
    return np.asarray(1.0 / slope)


def potential_length(
    r: float, z: float, disk_radius: float, vessel_radius: float = np.inf, depth: float = np.inf
) -> float:
    """κφ/i [m] at distance `r` from the axis and height `z`, zero at the counter (or at infinity).

    In a vessel: images of the disk at ±2mH with alternating signs make the counter's plane a zero; they leave a flux
    through the wall, which is taken back by Σ f_m I₀(k_m r) cos(k_m z), k_m = (m + ½)π/H, with
    f_m = 2a I₁(k_m a) K₁(k_m V) / (H k_m I₁(k_m V)). Converges as e^(−k(2V − a − r)); at a wall that touches the disk
    only as 1/m, which is good to 1e-4 of H.
    """
    length = _open_length(r, z, disk_radius)
    if np.isinf(vessel_radius):
        return length
    for m in range(1, _IMAGES + 1):
        pair = _open_length(r, z + 2 * m * depth, disk_radius) + _open_length(r, 2 * m * depth - z, disk_radius)
        # An alternating sum ends well with half of its last term.
        length += (-1) ** m * pair * (0.5 if m == _IMAGES else 1.0)
    k = _wavenumbers(depth)
    return length + float(np.cos(k * z) @ _wall(r, k, disk_radius, vessel_radius, depth))


def _open_length(r: float, z: float, a: float) -> float:
    """∫∫ dA′/(2πR) over the disk, as an integral round its edge.

    1/√(ρ²+z²) is the divergence of (√(ρ²+z²) − z) ρ/ρ² in the disk's plane, ρ seen from the foot of the point.
    """
    if r == 0.0:
        return float(np.hypot(z, a) - z)
    cosine = np.cos((np.arange(_POINTS) + 0.5) * (2.0 * np.pi / _POINTS))
    square = a * a + r * r - 2.0 * a * r * cosine
    return float(np.mean((np.sqrt(square + z * z) - z) * (a - r * cosine) * a / square))


def _wavenumbers(depth: float) -> Floats:
    return np.asarray((np.arange(_TERMS) + 0.5) * (np.pi / depth))


def _wall(r: float, k: Floats, a: float, wall: float, depth: float) -> Floats:
    # Scaled Bessel functions: the bare ones overflow at k a > 700.
    parts = ive(1, k * a) * ive(0, k * r) * kve(1, k * wall) / ive(1, k * wall)
    return np.asarray(2.0 * a / (depth * k) * parts * np.exp(k * (a + r - 2.0 * wall)))


def centre_above_mean(p: CellParameters) -> float:
    """By how much κφ/i at the disk's centre exceeds its mean over the disk [m]: a(1 − 8/3π) in the open, 0 in a slab.

    The specimen's metal has one potential, so that with an even current its mean counts for the cell; the pipette
    stands over the centre.
    """
    a, vessel = p.disk_radius, (p.vessel_radius, p.bath_depth)
    if np.isinf(a):
        return 0.0
    excess = a * (1.0 - 8.0 / (3.0 * np.pi))
    if np.isinf(p.vessel_radius):
        return excess

    def of_vessel(r: float) -> float:  # even and smooth in r, so few places in r² do
        return potential_length(r, 0.0, a, *vessel) - potential_length(r, 0.0, a)

    places, weights = np.polynomial.legendre.leggauss(4)
    mean = sum(0.5 * w * of_vessel(a * np.sqrt(0.5 * (1.0 + s))) for s, w in zip(places, weights, strict=True))
    return float(excess + of_vessel(0.0) - mean)


def reference_on_the_axis(p: CellParameters) -> tuple[float, float]:
    """(height [m], length [m]): where the axis has the potential of the reference, and what it is short of beyond.

    A reference beside an open disk may be lower than all of the axis up to `bath_depth`; the height then is that
    depth, and i/κ times `length` of bath at rest lies between. A reference on the axis is at its own height.
    """
    if p.reference_offset == 0.0 or np.isinf(p.disk_radius):
        return p.reference_height, 0.0
    vessel = p.disk_radius, p.vessel_radius, p.bath_depth
    wanted = potential_length(p.reference_offset, p.reference_height, *vessel)
    beyond = potential_length(0.0, p.bath_depth, *vessel) - wanted
    if beyond >= 0.0:
        return p.bath_depth, beyond
    low, high = 0.0, p.bath_depth
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if potential_length(0.0, middle, *vessel) > wanted else (low, middle)
    return 0.5 * (low + high), 0.0
