"""Current against height in mm: profiles from towers, how far the gradient reaches, curves at chosen times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """Mean current [A] in bins of `height` [m]; `u` of the mean, `number` of rows (0: nothing measured)."""

    height: F64
    current: F64
    u: F64
    number: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Extent:
    """Reach of a gradient: `length` [m] of exp(-z/length) with u, `amplitude` [A], `far` [A]; `ok` or why not."""

    length: float
    u: float
    amplitude: float
    far: float
    ok: bool
    reason: str


def profile(height: F64, current: F64, edges: F64) -> Profile:
    """Mean and its u in bins `edges` [m]: `height` [m], `current` [A], (n,); rows without a value are left out."""
    good = np.isfinite(height) & np.isfinite(current)
    place = np.digitize(height[good], edges) - 1
    inside = (place >= 0) & (place < edges.size - 1)
    place, values = place[inside], current[good][inside]
    number = np.bincount(place, minlength=edges.size - 1)
    middle = float(values.mean()) if values.size else 0.0
    total = np.bincount(place, values - middle, minlength=edges.size - 1)
    squares = np.bincount(place, (values - middle) ** 2, minlength=edges.size - 1)
    n = np.maximum(number, 1)
    mean = total / n
    variance = np.maximum(squares / n - mean**2, 0.0) * n / np.maximum(n - 1, 1)
    return Profile(
        0.5 * (edges[1:] + edges[:-1]), np.where(number > 0, mean + middle, 0.0), np.sqrt(variance / n), number
    )


def profile_at(t: F64, height: F64, current: F64, when: float, within: float, edges: F64) -> Profile:
    """The profile of the rows within `within` [s] of the moment `when` [s]: one traverse of a tower, as a rule."""
    near = np.abs(t - when) <= within
    return profile(height[near], current[near], edges)


def gradient_extent(found: Profile) -> Extent:
    """Length over which the current falls back to its far value: fit of far + amplitude·exp(-z/length).

    Bins count by 1/u². Assumes one exponential; a diffusion layer is erfc-like and its fitted length is about 0.9 of
    sqrt(D t). Not ok, with the reason, when fewer than five bins hold data, the nearest and the farthest differ by
    less than three of their u, or the length is beyond the heights measured or not told from a straight line.
    """
    seen = found.number > 1
    z, i, u = found.height[seen], found.current[seen], found.u[seen]
    nothing = Extent(0.0, 0.0, 0.0, float(i.mean()) if i.size else 0.0, False, "")
    if z.size < 5:
        return Extent(0.0, 0.0, 0.0, nothing.far, False, f"{z.size} bins hold data; five are needed")
    span, scale = float(np.ptp(z)), float(np.ptp(i)) or 1.0
    far = float(i[np.argmax(z)])

    def model(x: F64, amplitude: float, length: float, level: float) -> F64:
        return np.asarray(level + amplitude * np.exp(-x / length))

    weights = np.maximum(u, 0.1 * float(np.median(u)) + 1e-30) / scale
    try:
        p, covariance = curve_fit(
            model, z / span, (i - far) / scale, (float((i[np.argmin(z)] - far) / scale), 0.2, 0.0), weights,
            absolute_sigma=True, bounds=([-50.0, 1e-3, -50.0], [50.0, 20.0, 50.0]),
        )  # fmt: skip
    except RuntimeError:
        return Extent(0.0, 0.0, 0.0, far, False, "no exponential follows this profile")
    errors = np.sqrt(np.diag(covariance))
    length, u_length = float(p[1]) * span, float(errors[1]) * span
    amplitude, level = float(p[0]) * scale, float(p[2]) * scale + far
    near, away = int(np.argmin(z)), int(np.argmax(z))
    if abs(i[near] - i[away]) < 3.0 * float(np.hypot(u[near], u[away])):
        return Extent(length, u_length, amplitude, level, False, "the change near the surface is within its noise")
    # Of a straight profile the fit knows neither: a larger amplitude over a longer length is the same line.
    if length > span or abs(p[0]) < 3.0 * errors[0]:
        return Extent(length, u_length, amplitude, level, False, "the gradient reaches beyond the heights measured")
    return Extent(length, u_length, amplitude, level, True, "")
