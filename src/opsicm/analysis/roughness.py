"""Areal roughness: Sq, Sa, Sz, Ssk, Sku, and how well one image knows them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A roughness parameter and its standard uncertainty, in the unit of the heights (or 1)."""

    value: float
    u: float


@dataclass(frozen=True, slots=True)
class Roughness:
    """Roughness of an image; `pixels` had a height, `missing` had none, `independent` is their effective number."""

    Sq: Parameter
    Sa: Parameter
    Sz: Parameter
    Ssk: Parameter
    Sku: Parameter
    pixels: int
    missing: int
    independent: float


def roughness(heights: Array) -> Roughness:
    """Areal parameters of `heights` about their own mean.

    Equations (ISO 25178-2:2012, 4.1; h is measured from the mean over the N pixels that have a height):
      Sq = sqrt(mean h^2);  Sa = mean |h|;  Sz = max h - min h;  Ssk = mean h^3 / Sq^3;  Sku = mean h^4 / Sq^4.
    `heights` [any length], shape (rows, columns), NaN for missing pixels (left out and counted). Level first: these
    functions take away the mean only. With Sq = 0 the ratios Ssk and Sku are NaN.

    Uncertainty: how far another area of the same size on the same surface would differ. With the effective number of
    independent pixels M = N / sum rho^2 (`independent_pixels`):
      u(Sq) = Sq sqrt((Sku - 1) / (4 M));  u(Sa) = sqrt((Sq^2 - Sa^2) / M);  u(Ssk) = sqrt(6 / M);
      u(Sku) = sqrt(24 / M);  u(Sz) = Sq pi / sqrt(6 ln max(M, 2)), two independent Gumbel extremes.
    Assumes a stationary surface, nearly Gaussian for Ssk, Sku and Sz, and several correlation lengths in the image.
    Not included: the calibration of the scanner, tip convolution, height noise. Fails where M is below about 10: then
    u(Sq) is of the size of Sq and says no more than that. Levelling takes away wavelengths longer than the image; the
    bias of Sq that this causes is not in u.
    Source: variance of a variance, Kendall and Stuart, vol. 1, ch. 10; M as Bayley and Hammersley,
    J. R. Stat. Soc. Suppl. 1946, 8, 184, for squares (rho^2).
    """
    finite = np.isfinite(heights)
    n = int(finite.sum())
    if n == 0:
        nothing = Parameter(math.nan, math.nan)
        return Roughness(nothing, nothing, nothing, nothing, nothing, 0, int(heights.size), 0.0)
    h = np.where(finite, heights - np.mean(heights[finite]), 0.0)
    values = h[finite]
    variance = float(np.mean(values**2))
    Sq, Sa = math.sqrt(variance), float(np.mean(np.abs(values)))
    Sz = float(np.max(values) - np.min(values))
    if Sq <= 1e-15 * float(np.max(np.abs(heights[finite]))):
        zero, undefined = Parameter(0.0, 0.0), Parameter(math.nan, math.nan)
        return Roughness(zero, zero, zero, undefined, undefined, n, int(heights.size) - n, float(n))
    Ssk = float(np.mean((values / Sq) ** 3))
    Sku = float(np.mean((values / Sq) ** 4))
    M = independent_pixels(h, finite)
    return Roughness(
        Sq=Parameter(Sq, Sq * math.sqrt(max(Sku - 1.0, 0.0) / (4.0 * M))),
        Sa=Parameter(Sa, math.sqrt(max(variance - Sa**2, 0.0) / M)),
        Sz=Parameter(Sz, Sq * math.pi / math.sqrt(6.0 * math.log(max(M, 2.0)))),
        Ssk=Parameter(Ssk, math.sqrt(6.0 / independent_pixels(h, finite, 3))),
        Sku=Parameter(Sku, math.sqrt(24.0 / independent_pixels(h, finite, 4))),
        pixels=n,
        missing=int(heights.size) - n,
        independent=M,
    )


def independent_pixels(h: Array, finite: NDArray[np.bool_], power: int = 2) -> float:
    """Effective number of independent squares (cubes, …) in an image: M = N / sum over lags of rho^power.

    `h` has mean zero and is 0 where `finite` is False. rho is the autocorrelation by FFT with zero padding, divided by
    the overlap; the sum runs over the box of lags that ends where rho first falls to zero along each axis (at most half
    the image): beyond it an estimated rho is noise, and its square would add up to a second image.
    Assumes stationarity. Fails for periodic surfaces, whose correlation returns after its first zero: M is then too
    large.
    """
    shape = [fft.next_fast_len(2 * size, real=True) for size in h.shape]
    spectrum = fft.rfft2(h, shape)
    overlap = fft.rfft2(finite.astype(np.float64), shape)
    covariance = fft.irfft2(np.abs(spectrum) ** 2, shape)
    pairs = fft.irfft2(np.abs(overlap) ** 2, shape)
    rows, columns = (max(1, size // 2) for size in h.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.where(pairs > 0.5, covariance / pairs, 0.0)
    rho = rho / rho[0, 0]
    down = _first_zero(rho[: rows + 1, 0])
    along = _first_zero(rho[0, : columns + 1])
    # Lags of either sign: the FFT keeps the negative ones at the far end.
    box = rho[np.ix_(range(-down + 1, down), range(-along + 1, along))]
    n = float(finite.sum())
    return float(np.clip(n / float(np.sum(box**power)), 1.0, n))


def _first_zero(rho: Array) -> int:
    below = np.flatnonzero(rho <= 0.0)
    return int(below[0]) if below.size else int(rho.size)
