"""Levelling (an image less its best-fitting polynomial) and areal roughness with its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import fft

from opsicm.core.errors import OutsideDomain, Problem

Array = NDArray[np.float64]
# Products of Legendre polynomials over a full image have a condition number below 10. Beyond 1e10 a mask or a single
# line of pixels leaves terms that cannot be distinguished.
_WORST_CONDITION = 1e10


@dataclass(frozen=True, slots=True)
class Levelled:
    """A levelled image: `heights` and the `surface` subtracted, in the unit given, NaN where a pixel had no height.

    The surface was fitted to `used` pixels; `missing` ones had no height; `masked` ones were excluded by the mask.
    """

    heights: Array
    surface: Array
    degree: int
    used: int
    missing: int
    masked: int


def plane(heights: Array, mask: NDArray[np.bool_] | None = None) -> Levelled:
    """`heights` less their least-squares plane: total degree 1."""
    return total_degree(heights, 1, mask)


def total_degree(heights: Array, degree: int, mask: NDArray[np.bool_] | None = None) -> Levelled:
    """`heights` less the polynomial of total degree n that fits them best.

    Equation: minimise sum over used pixels of [h(x, y) - sum_{i+j<=n} a_ij P_i(x) P_j(y)]^2; P are Legendre
    polynomials and x, y run from -1 to 1 over the image, so the normal equations stay well conditioned whatever the
    unit of length. Parameters: `heights` [any length], shape (rows, columns), NaN for missing; `degree` n >= 0;
    `mask` True for pixels that the surface is fitted to (it is subtracted everywhere).
    Assumes equal weights and pixels on a regular grid. Misleading where real steps or spikes carry weight: mask them.
    The result does not depend on the basis: NumPy's lstsq on monomials agrees.
    Source: ISO 25178-2:2012 (F-operator); ISO 16610-1.
    """
    h = np.asarray(heights, dtype=np.float64)
    if h.ndim != 2 or degree < 0:
        limit = "an image has rows and columns, and a degree is 0 or more"
        raise OutsideDomain(Problem("levelling", f"shape {h.shape}, degree {degree}", limit, "give a 2-D array"))
    finite = np.isfinite(h)
    used = finite if mask is None else finite & mask
    rows, columns = h.shape
    px = legendre.legvander(_coordinate(columns), degree)
    py = legendre.legvander(_coordinate(rows), degree)
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    n = int(used.sum())
    weights = used.astype(np.float64)
    gram = np.empty((len(terms), len(terms)))
    for a, (i, j) in enumerate(terms):
        for b, (k, m) in enumerate(terms[: a + 1]):
            gram[a, b] = gram[b, a] = (py[:, j] * py[:, m]) @ weights @ (px[:, i] * px[:, k])
    if n < len(terms) or np.linalg.cond(gram) > _WORST_CONDITION:
        limit = f"total degree {degree} has {len(terms)} terms, which they do not determine"
        raise OutsideDomain(Problem("levelling", f"{n} pixels", limit, "use a lower degree or more pixels"))
    offset = float(h[used].mean())
    # About the mean: heights may be 10^4 times their roughness, and the difference needs its digits.
    deviation = np.where(used, h - offset, 0.0)
    coefficients = np.zeros((degree + 1, degree + 1))
    solved = np.linalg.solve(gram, [py[:, j] @ deviation @ px[:, i] for i, j in terms])
    for (i, j), value in zip(terms, solved, strict=True):
        coefficients[i, j] = value
    surface = py @ coefficients.T @ px.T + offset
    surface = np.where(finite, surface, np.nan)
    return Levelled(h - surface, surface, degree, n, int((~finite).sum()), int((finite & ~used).sum()))


def rows_about_median(heights: Array) -> Array:
    """`heights` less the median of each row: removes what drifted from one row (fast axis) to the next.

    It removes true slopes across the rows too, and the swelling of a whole image: for looking, not for measuring.
    """
    known = np.isfinite(heights)
    middle = [float(np.median(row[of])) if of.any() else math.nan for row, of in zip(heights, known, strict=True)]
    return np.asarray(heights - np.array(middle)[:, None], dtype=np.float64)


def pixel_grid(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Row and column number of every pixel, both of `shape`."""
    rows, columns = (np.arange(n, dtype=np.float64) for n in shape)
    return np.broadcast_to(rows[:, None], shape), np.broadcast_to(columns, shape)


def _coordinate(count: int) -> Array:
    return np.linspace(-1.0, 1.0, count) if count > 1 else np.zeros(1)


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
    functions subtract the mean only. With Sq = 0 the ratios Ssk and Sku are NaN.

    Uncertainty: how far another area of the same size on the same surface would differ. With the effective number of
    independent pixels M = N / sum rho^2 (`independent_pixels`):
      u(Sq) = Sq sqrt((Sku - 1) / (4 M));  u(Sa) = sqrt((Sq^2 - Sa^2) / M);  u(Ssk) = sqrt(6 / M);
      u(Sku) = sqrt(24 / M);  u(Sz) = Sq pi / sqrt(6 ln max(M, 2)), two independent Gumbel extremes.
    Assumes a stationary surface, nearly Gaussian for Ssk, Sku and Sz, and several correlation lengths in the image.
    Not included: the calibration of the scanner, tip convolution, height noise. Fails where M is below about 10: then
    u(Sq) is of the size of Sq. Levelling removes wavelengths longer than the image; the bias of Sq that this causes is
    not in u.
    Source: variance of a variance, Kendall and Stuart, vol. 1, ch. 10; M as Bayley and Hammersley,
    J. R. Stat. Soc. Suppl. 1946, 8, 184, for squares (rho^2).
    """
    finite = np.isfinite(heights)
    n = int(finite.sum())
    if n == 0:
        undefined_parameter = Parameter(math.nan, math.nan)
        return Roughness(
            undefined_parameter,
            undefined_parameter,
            undefined_parameter,
            undefined_parameter,
            undefined_parameter,
            0,
            int(heights.size),
            0.0,
        )
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
    the image): beyond it an estimated rho is noise, whose squares would add up.
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
