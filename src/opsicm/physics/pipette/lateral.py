"""How a pipette sees across a surface: point-spread function, edge width, and an operator for whole images.

A small bump dh raises the resistance by int |J|²/(kappa I²) dh dA (shape derivative), and lowering a flat tip by
delta does the same with dh = delta everywhere. So the tip reads the surface through the normalised kernel

    K(r) = |J_t|² / int |J_t|² dA,     apparent distance  d = z - (K_d * h)(x, y)

where J_t is the current density along the sample. K is a ring: no current flows along the sample on the axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import maximum_filter
from scipy.special import j0

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_mesh import Fineness, solve_tip

F64 = NDArray[np.float64]
# Levels of d/a at which an operator holds kernels; between them it interpolates, beyond them it keeps the last.
LEVELS: Final = (0.1, 12.0, 13)
# Spread of the surface under the ring over the distance: below it the apparent distance is within 10 % of d (tested).
VALID_SPREAD: Final = 0.1
_FINENESS: Final = Fineness(order=4, layers=3, far=300.0)


@dataclass(frozen=True, slots=True)
class PointSpread:
    """K as rings: `radius` [m, n] increasing, `share` [1, n] of the response on each ring (they sum to 1) and
    `density` [1/m², n] = K(r). `distance` [m] is where the tip is."""

    radius: F64
    share: F64
    density: F64
    distance: float

    @property
    def peak_radius(self) -> float:
        """Where K is largest [m]."""
        return float(self.radius[np.argmax(self.density)])

    def transfer(self, wave_number: F64) -> F64:
        """Fourier transform of K at `wave_number` [rad/m], any shape: sum of share · J0(q r); 1 at q = 0."""
        return np.asarray(np.tensordot(j0(np.multiply.outer(wave_number, self.radius)), self.share, axes=1))

    def edge_response(self, x: F64) -> F64:
        """Response [1] at `x` [m] from a straight step edge (1 for x >> 0): sum of share · (1 - arccos(x/r)/pi)."""
        angle = np.arccos(np.clip(np.asarray(x)[..., None] / self.radius, -1.0, 1.0))
        return np.asarray((1.0 - angle / math.pi) @ self.share)

    def edge_width(self) -> float:
        """Distance [m] over which a step edge reads from 10 % to 90 %, along a straight line at constant height."""
        low, high = 0.0, float(self.radius[-1])
        while high - low > 1e-6 * high + 1e-15:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if self.edge_response(np.array(middle)) > 0.9 else (middle, high)
        return 2.0 * high


def point_spread(pipette: Pipette, distance: float) -> PointSpread:
    """K of `pipette` at `distance` [m] over a flat sample, from one finite-element solve (about 15 ms).

    Assumes bumps small against the distance (see `VALID_SPREAD`) and an insulating surface. Independent of kappa
    and of the shank's length. Source: Hadamard's shape derivative; Rheinlaender & Schäffer, J. Appl. Phys. 2009,
    105, 094905, find the same edge width of about 3 inner radii by three-dimensional elements.
    """
    if not 0.0 < distance < math.inf:
        raise OutsideDomain(
            Problem("pipette–sample distance", f"{distance:g} m", "it must be above 0 m and finite", "give metres")
        )
    a = pipette.radius
    field = solve_tip(pipette.wall, pipette.cone_angle, distance / a, _FINENESS)
    response = field.weight * field.density**2
    total = float(response.sum())
    return PointSpread(field.radius * a, response / total, field.density**2 / total / a**2, distance)


def apparent_surface(height: F64, pixel: float, pipette: Pipette, distance: float) -> F64:
    """K_d * h [m, (ny, nx)] of a periodic surface with square pixels of `pixel` [m]: what the tip reads at `distance`.

    One kernel, that of a flat sample at one distance [m], by FFT: the heights that hops with one setpoint give.
    Assumptions and failures as `view_surface`, which keeps thirteen. Source: linear response, module docstring.
    """
    transfer = _transfer(height.shape[0], height.shape[1], pixel, pipette, distance)
    return np.asarray(np.fft.irfft2(np.fft.rfft2(height) * transfer, s=height.shape))


@lru_cache(maxsize=2)  # a surface that changes is seen again and again by one tip
def _transfer(ny: int, nx: int, pixel: float, pipette: Pipette, distance: float) -> F64:
    q = 2.0 * math.pi * np.hypot(np.fft.fftfreq(ny, pixel)[:, None], np.fft.rfftfreq(nx, pixel)[None, :])
    nodes = np.linspace(0.0, float(q.max()) * (1.0 + 1e-9) + 1e-9, 600)
    transfer = np.asarray(CubicSpline(nodes, point_spread(pipette, distance).transfer(nodes))(q))
    transfer.flags.writeable = False
    return transfer


def ring_points(pipette: Pipette, distance: float, radii: int = 6, angles: int = 12) -> tuple[F64, F64]:
    """Offsets x, y [m, radii · angles] that stand for K at `distance` [m] with equal weights.

    Radii at the middle of equal shares of the response, each ring turned against the one before. For what is constant
    over patches: the mean over the points errs by about 1/(radii · angles) of a difference between two patches.
    """
    spread = point_spread(pipette, distance)
    at = (np.arange(radii) + 0.5) / radii
    radius = np.interp(at, np.cumsum(spread.share), spread.radius)
    turn = 2.0 * math.pi * (np.arange(angles)[None, :] + at[:, None]) / angles
    return (radius[:, None] * np.cos(turn)).ravel(), (radius[:, None] * np.sin(turn)).ravel()


@dataclass(frozen=True, slots=True)
class SurfaceView:
    """A surface as one pipette sees it, for compiled loops.

    `levels` [m, M] distances; `smoothed` [m, (ny, nx, M)] = K_d * h; `spread` [m, (ny, nx, M)] standard deviation
    of h under K_d; `peak` [m, (ny, nx)] highest point under the glass.
    """

    levels: F64
    smoothed: F64
    spread: F64
    peak: F64

    def valid(self, distance: float) -> NDArray[np.bool_]:
        """Where [ny, nx] the linear response holds at `distance` [m]: spread / distance below `VALID_SPREAD`."""
        level = int(np.argmin(np.abs(np.log(self.levels / distance))))
        return np.asarray(self.spread[..., level] < VALID_SPREAD * distance)


def view_surface(height: F64, pixel: float, pipette: Pipette) -> SurfaceView:
    """What `pipette` sees of `height` [m, (ny, nx)] with square pixels of `pixel` [m].

    Convolution by FFT with the transfer function of K at 13 distances from 0.1 a to 12 a; edges are mirrored.
    Assumes K of a flat sample. Fails where the surface varies under the glass by more than `VALID_SPREAD` of the
    distance (`SurfaceView.valid`), and for pixels much larger than a (K is then narrower than a pixel, and is
    averaged by the band limit). Source: linear response, module docstring.
    """
    if height.ndim != 2 or not np.all(np.isfinite(height)) or not pixel > 0.0:
        raise OutsideDomain(
            Problem(
                "surface", f"shape {height.shape}", "it must be a finite 2-D array with a pixel above 0 m", "fill holes"
            )
        )
    a = pipette.radius
    pad = [min(n - 1, math.ceil(20.0 * a / pixel)) for n in height.shape]
    mirrored = np.pad(height, [(pad[0], pad[0]), (pad[1], pad[1])], mode="reflect")
    ny, nx = mirrored.shape
    q = 2.0 * math.pi * np.hypot(np.fft.fftfreq(ny, pixel)[:, None], np.fft.rfftfreq(nx, pixel)[None, :])
    nodes = np.linspace(0.0, float(q.max()) * (1.0 + 1e-9) + 1e-9, 600)
    levels = a * np.geomspace(*LEVELS[:2], LEVELS[2])
    once, twice = np.fft.rfft2(mirrored), np.fft.rfft2(mirrored**2)
    smoothed, spread = np.empty((2, *height.shape, levels.size))
    inside = (slice(pad[0], pad[0] + height.shape[0]), slice(pad[1], pad[1] + height.shape[1]))
    for k, distance in enumerate(levels):
        transfer = CubicSpline(nodes, point_spread(pipette, float(distance)).transfer(nodes))(q)
        mean = np.fft.irfft2(once * transfer, s=mirrored.shape)[inside]
        square = np.fft.irfft2(twice * transfer, s=mirrored.shape)[inside]
        smoothed[..., k] = mean
        spread[..., k] = np.sqrt(np.maximum(square - mean**2, 0.0))
    reach = math.floor(pipette.wall * a / pixel)
    offset = np.arange(-reach, reach + 1)
    disk = np.hypot(offset[:, None], offset[None, :]) * pixel <= pipette.wall * a
    return SurfaceView(levels, smoothed, spread, maximum_filter(height, footprint=disk, mode="reflect"))


@compiled
def apparent_distance(z: float, row: int, column: int, levels: F64, smoothed: F64, peak: F64) -> float:
    """The flat-sample distance [m] whose current the tip has at height `z` [m] over pixel (row, column).

    Solves d + (K_d * h) = z for the largest d (the one met first from above); 0 when the glass touches `peak`.
    Arrays as in `SurfaceView`. Feed the result to `approach.relative_current`.
    """
    if z <= peak[row, column]:
        return 0.0
    last = levels.size - 1
    above = levels[last] + smoothed[row, column, last] - z
    if above <= 0.0:
        return float(z - smoothed[row, column, last])
    for k in range(last - 1, -1, -1):
        here = levels[k] + smoothed[row, column, k] - z
        if here <= 0.0:
            return float(levels[k] + (levels[k + 1] - levels[k]) * here / (here - above))
        above = here
    # Nearer than the lowest level: its kernel is kept. On a slope the mean may lie above z though nothing touches.
    return float(max(z - smoothed[row, column, 0], 1e-3 * levels[0]))
