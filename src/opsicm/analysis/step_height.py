"""Steps on a tilted surface: tilt and terraces fitted together, so that one does not eat the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.levelling import Levelled, pixel_grid
from opsicm.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]
_CROSSING: Final = 20  # pixels of terraces in a line, from which on its offset is known well enough
_ROUNDS: Final = 50


@dataclass(frozen=True, slots=True)
class StepFit:
    """Tilt and terraces: `offsets` [terrace] about the first, `u` of each, `tilt` (per row, per column), `labels`.

    `labels` [row, column] int, -1 where a pixel took no part. `sigma` residual, `independent` the share of pixels that
    are independent by the residual's correlation along a row.
    """

    offsets: F64
    u: F64
    tilt: tuple[float, float]
    labels: NDArray[np.int64]
    sigma: float
    independent: float

    @property
    def height(self) -> float:
        """Last terrace above the first, in the unit of the heights."""
        return float(self.offsets[-1])

    @property
    def u_height(self) -> float:
        """Standard uncertainty of `height`."""
        return float(self.u[-1])


def fit_terraces(heights: F64, labels: NDArray[np.int64]) -> StepFit:
    """Least squares of one tilt and one offset per terrace, in one go.

    Equation: h(x, y) = a x + b y + sum_k c_k [label = k]; offsets are c_k - c_0. `heights` [any length],
    shape (rows, columns), NaN for missing; `labels` int of the same shape, 0 … n-1, -1 for pixels to leave out (the
    step's own slope, about three tip radii wide). u from the inverse information times the residual variance over the
    share of independent pixels, (1 - r)/(1 + r) with r the correlation of neighbours in a row, so that a drift along
    the fast axis counts; offsets of whole lines count as far as a line has more of one terrace than of the other.
    Levelling first and subtracting afterwards is biased: the plane takes part of the step (a 10 nm step in the middle
    of an image comes out as 2.5 nm).
    Assumes parallel terraces and one tilt. Fails (`OutsideDomain`) when a terrace has no pixels or they cannot tell
    tilt from step, as when each terrace is a single line of pixels.
    Source: ISO 5436-1:2000, 4.1, fits two lines of one slope; this is its form for an area.
    """
    finite = np.isfinite(heights) & (labels >= 0)
    count = int(labels.max()) + 1
    rows, columns = pixel_grid(heights.shape)
    y, x, which, h = rows[finite], columns[finite], labels[finite], heights[finite]
    members = np.bincount(which, minlength=count)
    if count < 2 or members.min() < 3:
        limit = "each of at least two terraces needs three pixels"
        raise OutsideDomain(Problem("terraces", f"{members.tolist()} pixels", limit, "mark the terraces again"))
    basis = np.zeros((h.size, count + 2))
    basis[np.arange(h.size), which] = 1.0
    spans = max(heights.shape[0] - 1, 1), max(heights.shape[1] - 1, 1)
    basis[:, count], basis[:, count + 1] = y / spans[0] - 0.5, x / spans[1] - 0.5
    information = basis.T @ basis
    if np.linalg.cond(information) > 1e12:
        raise OutsideDomain(
            Problem("terraces", f"{count}", "tilt and step cannot be told apart", "use a larger area of each terrace")
        )
    middle = float(np.mean(h))
    inverse = np.linalg.inv(information)
    found = inverse @ (basis.T @ (h - middle))
    residual = np.full(heights.shape, np.nan)
    residual[finite] = h - middle - basis @ found
    sigma = float(np.sqrt(np.sum(residual[finite] ** 2) / max(h.size - count - 2, 1)))
    taking_part = np.where(finite, labels, -1)
    own, offsets = _without_offsets(residual, taking_part)
    share = _independent_share(own)
    # The degrees of freedom of the offsets are lost to the residual, not to the step.
    scatter = float(np.sqrt(np.mean(own[finite] ** 2) * h.size / max(h.size - count - 2, 1)))
    difference = inverse[:count, :count].diagonal() + inverse[0, 0] - 2.0 * inverse[0, :count]
    u = np.hypot(scatter * np.sqrt(np.maximum(difference, 0.0) / share), _by_offsets(offsets, taking_part, members))
    tilt = (float(found[count]) / spans[0], float(found[count + 1]) / spans[1])
    return StepFit(found[:count] - found[0], u, tilt, np.where(finite, labels, -1), sigma, share)


def find_terraces(heights: F64, guard: int = 2, terraces: int = 2) -> NDArray[np.int64]:
    """Labels of `terraces` level parts of an image with a tilt, -1 within `guard` pixels of a change of label.

    Alternates between the tilt that the pixels share given their labels and the labels (nearest terrace) given the
    tilt, from the tilt that most neighbouring pixels have (the median difference along each axis, which a step does not
    move); it stops when no label changes. Assumes that most of the image is terrace. Fails (`OutsideDomain`) when a
    terrace runs empty: there is then no step to be seen.
    """
    finite = np.isfinite(heights)
    rows, columns = pixel_grid(heights.shape)
    lags = [max(1, size // 16) for size in heights.shape]
    down = float(np.nanmedian(heights[lags[0] :] - heights[: -lags[0]])) / lags[0]
    along = float(np.nanmedian(heights[:, lags[1] :] - heights[:, : -lags[1]])) / lags[1]
    labels = np.full(heights.shape, -1, dtype=np.int64)
    level = heights - down * rows - along * columns
    for _ in range(_ROUNDS):
        centres = _centres(level[finite], terraces)
        new = np.where(finite, np.argmin(np.abs(level[..., None] - centres), axis=-1), -1)
        if np.array_equal(new, labels):
            break
        labels = new
        fit = fit_terraces(heights, labels)
        level = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    return _guarded(labels, guard)


def step_aware_plane(heights: F64, terraces: int = 2, guard: int = 2) -> Levelled:
    """`heights` less the tilt that its terraces share; the steps between them stay.

    As `fit_terraces` on `find_terraces`. The mean of the first (lowest) terrace becomes 0.
    """
    labels = find_terraces(heights, guard, terraces)
    fit = fit_terraces(heights, labels)
    rows, columns = pixel_grid(heights.shape)
    surface: F64 = fit.tilt[0] * rows + fit.tilt[1] * columns
    surface = surface + float(np.mean((heights - surface)[labels == 0]))
    finite = np.isfinite(heights)
    used = int((labels >= 0).sum())
    surface = np.where(finite, surface, np.nan)
    return Levelled(heights - surface, surface, 1, used, int((~finite).sum()), int(finite.sum()) - used)


def _centres(values: F64, count: int) -> F64:
    """Lloyd's algorithm in one dimension, from evenly spaced quantiles, in ascending order."""
    centres = np.quantile(values, (np.arange(count) + 0.5) / count)
    low, high = np.quantile(values, (0.02, 0.98))
    if np.ptp(centres) <= 0.1 * (high - low):
        centres = np.linspace(low, high, count)
    for _ in range(_ROUNDS):
        nearest = np.argmin(np.abs(values[:, None] - centres), axis=1)
        new = np.array([values[nearest == k].mean() if (nearest == k).any() else centres[k] for k in range(count)])
        if np.array_equal(new, centres):
            break
        centres = new
    return np.sort(centres)


def _guarded(labels: NDArray[np.int64], guard: int) -> NDArray[np.int64]:
    edge = np.zeros(labels.shape, dtype=bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    for _ in range(guard - 1):
        wider = edge.copy()
        wider[1:] |= edge[:-1]
        wider[:-1] |= edge[1:]
        wider[:, 1:] |= edge[:, :-1]
        wider[:, :-1] |= edge[:, 1:]
        edge = wider
    return np.where(edge, -1, labels) if guard > 0 else labels


def _without_offsets(residual: F64, labels: NDArray[np.int64]) -> tuple[F64, F64]:
    """`residual` less each line's own mean where the line crosses from terrace to terrace, and those means [line].

    What shifts a whole line, as drift does from line to line, shifts both terraces alike: it is no scatter of a pixel.
    """
    first = np.where(labels >= 0, labels, labels.max())
    crosses = (first.min(axis=1) < labels.max(axis=1)) & (np.isfinite(residual).sum(axis=1) >= _CROSSING)
    offsets = np.zeros(residual.shape[0])
    offsets[crosses] = np.nanmean(residual[crosses], axis=1)
    return residual - offsets[:, None], offsets


def _by_offsets(offsets: F64, labels: NDArray[np.int64], members: NDArray[np.intp]) -> F64:
    """[terrace] what the lines' offsets do to its step above the first: nothing where a line has its share of both."""
    shares = np.array([(labels == k).sum(axis=1) / members[k] for k in range(members.size)])
    return np.asarray(np.sqrt(((shares - shares[0]) ** 2 * np.mean(offsets**2)).sum(axis=1)))


def _independent_share(residual: F64) -> float:
    a, b = residual[:, :-1], residual[:, 1:]
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 10:
        return 1.0
    r = float(np.sum(a[both] * b[both]) / np.sqrt(np.sum(a[both] ** 2) * np.sum(b[both] ** 2) + 1e-300))
    r = min(max(r, 0.0), 0.99)
    return (1.0 - r) / (1.0 + r)
