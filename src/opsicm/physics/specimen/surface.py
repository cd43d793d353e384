"""Specimen surfaces: heights above the mean plane, before any swelling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain, Problem


def rough_surface(rq: float, correlation_length: float, size: float, pixels: int, seed: int) -> NDArray[np.float64]:
    """A periodic Gaussian random surface [m], shape (pixels, pixels), mean 0 and root mean square exactly `rq`.

    The autocorrelation is rq² exp(-r²/l²) with l = `correlation_length` [m] on a square of side `size` [m]
    (power spectrum ∝ exp(-(k l/2)²)); made by filtering white noise in Fourier space. Assumes l well between the
    pixel and the size. Fails for a surface with overhangs or flat terraces: graphite flakes are neither Gaussian nor
    isotropic, this is a stand-in for their roughness only.
    Source: Garcia and Stoll, Phys. Rev. Lett. 1984, 52, 1798, Eq. (1).
    """
    pixel = size / pixels
    if not (rq >= 0.0 and math.isfinite(rq)):
        raise OutsideDomain(Problem("surface rq", f"{rq:g} m", "must be 0 or more", "give the roughness in metres"))
    if not pixel < correlation_length < size / 4:
        limit = f"must lie between the pixel ({pixel:g} m) and a quarter of the size ({size / 4:g} m)"
        raise OutsideDomain(
            Problem(
                "surface correlation length", f"{correlation_length:g} m", limit, "change it, the size or the pixels"
            )
        )
    white = np.random.default_rng(seed).standard_normal((pixels, pixels))
    k = 2.0 * np.pi * np.fft.fftfreq(pixels, pixel)
    # The square root of the power spectrum filters the amplitude.
    amplitude = np.exp(-(k[:, None] ** 2 + k[None, :] ** 2) * correlation_length**2 / 8.0)
    amplitude[0, 0] = 0.0
    surface = np.fft.ifft2(np.fft.fft2(white) * amplitude).real
    return np.asarray(surface * (rq / math.sqrt(float(np.mean(surface**2)))))


def stepped_surface(step: float, swollen: float, swollen_width: float, size: float, pixels: int) -> NDArray[np.float64]:
    """Two terraces [m], (pixels, pixels): straight edges along y at a quarter (up) and three quarters (down) of `size`.

    h(x) = step on the upper terrace, plus a ridge swollen·exp(-(u/w)²) that begins at each edge and reaches onto the
    upper terrace, u being the distance from the edge and w = `swollen_width` [m]: where lithium and solvent enter, the
    edge of graphite swells. All in metres; the mean is 0. Assumes that both edges swell alike.
    """
    if not (size > 0.0 and 0.0 < swollen_width < size / 4):
        limit = f"must lie above 0 and below a quarter of the size ({size / 4:g} m)"
        raise OutsideDomain(Problem("swollen width", f"{swollen_width:g} m", limit, "change it or the size"))
    x = np.arange(pixels) * size / pixels
    upper = (x >= 0.25 * size) & (x < 0.75 * size)
    from_edge = np.minimum(x - 0.25 * size, 0.75 * size - x)
    profile = np.where(upper, step + swollen * np.exp(-((from_edge / swollen_width) ** 2)), 0.0)
    return np.tile(profile - profile.mean(), (pixels, 1))


def height_at(
    surface: NDArray[np.float64],
    size: float,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    size_y: float | None = None,
) -> NDArray[np.float64]:
    """Heights [m] of a periodic `surface` of side `size` [m] at points x, y [m], by bilinear interpolation.

    `size_y` [m] is its side along y where it is no square. Row index is y, column index is x; (0, 0) is the surface's
    first pixel.
    """
    rows, columns = surface.shape
    u, v = np.mod(np.asarray(x) / size, 1.0) * columns, np.mod(np.asarray(y) / (size_y or size), 1.0) * rows
    j, i = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    fu, fv = u - j, v - i
    j, i = j % columns, i % rows
    j1, i1 = (j + 1) % columns, (i + 1) % rows
    lower = surface[i, j] * (1 - fu) + surface[i, j1] * fu
    upper = surface[i1, j] * (1 - fu) + surface[i1, j1] * fu
    return np.asarray(lower * (1 - fv) + upper * fv)
