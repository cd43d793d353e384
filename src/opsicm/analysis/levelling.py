"""Levelling: what is left of an image when the polynomial that fits it best is taken away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from opsicm.errors import OutsideDomain, Problem

Array = NDArray[np.float64]
# Products of Legendre polynomials over a full image have a condition number below 10. Beyond this a mask or a line of
# pixels leaves terms that cannot be told apart.
_WORST_CONDITION = 1e10


@dataclass(frozen=True, slots=True)
class Levelled:
    """A levelled image: `heights` and the `surface` taken away [as given], NaN where a pixel had no height.

    `used` pixels decided the surface; `missing` ones had no height; `masked` ones had one that was not asked.
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
    `mask` True for pixels that decide the surface (it is subtracted everywhere).
    Assumes square-wise equal weights and pixels on a regular grid. Fails in meaning, not in number, where real steps
    or spikes carry weight: mask them. The result does not depend on the basis: NumPy's lstsq on monomials agrees.
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
        limit = f"total degree {degree} has {len(terms)} terms, which they cannot tell apart"
        raise OutsideDomain(Problem("levelling", f"{n} pixels", limit, "use a lower degree or more pixels"))
    offset = float(h[used].mean())
    # About the mean, because heights may be 10^4 times their roughness and every digit of the difference counts.
    deviation = np.where(used, h - offset, 0.0)
    coefficients = np.zeros((degree + 1, degree + 1))
    solved = np.linalg.solve(gram, [py[:, j] @ deviation @ px[:, i] for i, j in terms])
    for (i, j), value in zip(terms, solved, strict=True):
        coefficients[i, j] = value
    surface = py @ coefficients.T @ px.T + offset
    surface = np.where(finite, surface, np.nan)
    return Levelled(h - surface, surface, degree, n, int((~finite).sum()), int((finite & ~used).sum()))


def pixel_grid(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Row and column number of every pixel, both of `shape`."""
    rows, columns = (np.arange(n, dtype=np.float64) for n in shape)
    return np.broadcast_to(rows[:, None], shape), np.broadcast_to(columns, shape)


def _coordinate(count: int) -> Array:
    return np.linspace(-1.0, 1.0, count) if count > 1 else np.zeros(1)
