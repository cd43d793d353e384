"""Steps on a tilted surface: tilt and terraces fitted together (apart, each would absorb part of the other).

Terraces of any outline (`find_terraces`, `fit_terraces`), and a straight edge with a rim (`find_step_edge`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.topography.levelling import pixel_grid, total_degree
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.statistics import mean_with_u, robust_sigma, share_of_correlated

F64 = NDArray[np.float64]
_CROSSING: Final = 20  # pixels of terraces in a line: with fewer its offset is not fitted
_ROUNDS: Final = 50


@dataclass(frozen=True, slots=True)
class TerraceFit:
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


def fit_terraces(heights: F64, labels: NDArray[np.int64]) -> TerraceFit:
    """Least squares of one tilt and one offset per terrace, in one go.

    Equation: h(x, y) = a x + b y + sum_k c_k [label = k]; offsets are c_k - c_0. `heights` [any length], shape (rows,
    columns), NaN for missing; `labels` int of the same shape, 0 … n-1, -1 for pixels to leave out (the step's own
    slope, about three tip radii wide). u from the inverse information times the residual variance over the share of
    independent pixels, (1 - r)/(1 + r) with r the correlation of neighbours in a row, so that a drift along the fast
    axis counts; offsets of whole lines count as far as a line has more of one terrace than of the other. Levelling
    first and subtracting afterwards is biased, because the plane absorbs part of the step (a 10 nm step in the middle
    of an image comes out as 2.5 nm). Assumes parallel terraces and one tilt. Fails (`OutsideDomain`) when a terrace has
    no pixels or tilt and step cannot be distinguished, as when each terrace is a single line of pixels. Source: ISO
    5436-1:2000, 4.1, fits two lines of one slope; this is its form for an area.
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
            Problem(
                "terraces", f"{count}", "tilt and step cannot be distinguished", "use a larger area of each terrace"
            )
        )
    middle = float(np.mean(h))
    inverse = np.linalg.inv(information)
    solution = inverse @ (basis.T @ (h - middle))
    residual = np.full(heights.shape, np.nan)
    residual[finite] = h - middle - basis @ solution
    sigma = float(np.sqrt(np.sum(residual[finite] ** 2) / max(h.size - count - 2, 1)))
    used_labels = np.where(finite, labels, -1)
    about_lines, offsets = _without_offsets(residual, used_labels)
    share = _independent_share(about_lines)
    # The degrees of freedom of the offsets are taken from the residual, not from the step.
    scatter = float(np.sqrt(np.mean(about_lines[finite] ** 2) * h.size / max(h.size - count - 2, 1)))
    difference = inverse[:count, :count].diagonal() + inverse[0, 0] - 2.0 * inverse[0, :count]
    u = np.hypot(scatter * np.sqrt(np.maximum(difference, 0.0) / share), _by_offsets(offsets, used_labels, members))
    tilt = (float(solution[count]) / spans[0], float(solution[count + 1]) / spans[1])
    return TerraceFit(solution[:count] - solution[0], u, tilt, np.where(finite, labels, -1), sigma, share)


def find_terraces(heights: F64, guard: int = 2, terraces: int = 2) -> NDArray[np.int64]:
    """Labels of `terraces` level parts of an image with a tilt, -1 within `guard` pixels of a change of label.

    Alternates between the tilt that the pixels share given their labels and the labels (nearest terrace) given the
    tilt, from the tilt that most neighbouring pixels have (the median difference along each axis, which a step does not
    move); it stops when no label changes. Assumes that most of the image is terrace. Fails (`OutsideDomain`) when a
    terrace becomes empty, as without a step.
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
    """`residual` less the mean of each line that crosses from terrace to terrace, and those means [line].

    A shift of a whole line, by drift from line to line, shifts both terraces equally: it is no scatter of pixels.
    """
    first = np.where(labels >= 0, labels, labels.max())
    crosses = (first.min(axis=1) < labels.max(axis=1)) & (np.isfinite(residual).sum(axis=1) >= _CROSSING)
    offsets = np.zeros(residual.shape[0])
    offsets[crosses] = np.nanmean(residual[crosses], axis=1)
    return residual - offsets[:, None], offsets


def _by_offsets(offsets: F64, labels: NDArray[np.int64], members: NDArray[np.intp]) -> F64:
    """u [terrace] of the step above the first by the lines' offsets; 0 where every line has equal shares of both."""
    shares = np.array([(labels == k).sum(axis=1) / members[k] for k in range(members.size)])
    return np.asarray(np.sqrt(((shares - shares[0]) ** 2 * np.mean(offsets**2)).sum(axis=1)))


def _independent_share(residual: F64) -> float:
    a, b = residual[:, :-1], residual[:, 1:]
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 10:
        return 1.0
    r = float(np.sum(a[both] * b[both]) / np.sqrt(np.sum(a[both] ** 2) * np.sum(b[both] ** 2) + 1e-300))
    return share_of_correlated(r)


# A straight step edge with its rim.

_COARSE: Final = np.radians(np.arange(0.0, 180.0, 2.0))
_FINE: Final = np.radians(np.arange(-6.0, 6.01, 0.25))
_ARM: Final = 3  # [px] either side of a line, over which its contrast is averaged
_FEWEST_BINS: Final = 5
_BANDS: Final = (2, 4, 8)  # half-widths tried, as parts of the image
_STRIPS: Final = 8
_FEWEST_STRIPS: Final = 5
_LENGTH: Final = 0.5  # of the image's shorter side: the shortest edge
_CERTAIN: Final = 6.0  # height over u: a search over angles and positions finds four in noise
_CLEAR: Final = 0.4  # residual of the profile with the edge over that without
_OUTLIER: Final = 4.0  # sigmas of a line that belongs to the rim
_EDGE_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class StepEdge:
    """A straight edge: `height` of the terrace beyond it (towards larger `offset`) with u, in the heights' unit.

    `rise` of the rim's highest (or lowest) line above the mean of both terraces there, with u; `angle` [rad] of the
    edge's normal from the rows' direction, `offset` [px] along it from the image's middle; `labels` [row, column]: 0
    before, 1 beyond, -1 took no part; `strips` along the edge that u comes from; `rim` [px], how wide the edge is.
    """

    height: float
    u_height: float
    rise: float
    u_rise: float
    angle: float
    offset: float
    labels: NDArray[np.int64]
    strips: int
    rim: int


def find_step_edge(heights: F64) -> StepEdge:
    """The strongest straight edge of `heights` [any length], (rows, columns), NaN for missing.

    1. Position: the angle and the line at which the mean of three lines of pixels beyond less that of three before is
    most significant (weighted by pixels per line), after subtraction of total degree 2. 2. Rim: along the profile
    across the edge, lines next to the edge that depart by four sigma from a common slope with two levels belong to no
    terrace. 3. Fit: one tilt and two terraces (`fit_terraces`) in a band about the edge, so that a bow or a second step
    farther away has no influence; of three bands the one whose strips agree best. `rise` is the profile's farthest line
    of the rim from the mean of the two terraces. u is from the scatter over up to eight strips along the edge, or the
    joint fit's own, whichever is larger, so that variation along the edge is included. Assumes an edge that is straight
    and crosses half of the image. Fails (`OutsideDomain`) where neither height nor rise exceeds six u, or where the
    profile fits as well without an edge: rough surfaces, bows, noise.
    """
    if min(heights.shape) < 4 * _FEWEST_BINS:
        limit = f"{4 * _FEWEST_BINS} pixels along each side are needed to look for a straight edge"
        raise OutsideDomain(Problem("step edge", f"{heights.shape}", limit, "record more pixels"))
    flat = total_degree(heights, 2).heights
    angle, edge_line = _strongest(flat)
    candidates = []
    for part in _BANDS:
        try:
            candidates.append(_in_band(heights, angle, edge_line, max(heights.shape) // part))
        except OutsideDomain:
            continue
    if not candidates:
        limit = "no line has enough pixels on either side and along it"
        raise OutsideDomain(Problem("step edge", "strongest line", limit, "put the edge in the middle of the image"))
    clear = [edge for edge, ratio in candidates if ratio <= _CLEAR and _certain(edge)]
    if not clear:
        edge, ratio = min(candidates, key=lambda one: one[1])
        value = f"{edge.height:.3g} ± {edge.u_height:.2g} with a rim of {edge.rise:.3g} ± {edge.u_rise:.2g}"
        limit = f"six u of either are needed, and a residual below {_CLEAR} of that without an edge (it is {ratio:.2f})"
        raise OutsideDomain(Problem("strongest line", value, limit, "image a single edge, or average more lines"))
    return min(clear, key=lambda edge: edge.u_height)


def across_step_edge(heights: F64, edge: StepEdge) -> tuple[F64, F64, F64]:
    """(image less the terraces' common tilt about the lower one, distance [px] across the edge, mean along it).

    Distance counts along the edge's normal from the edge; lines of fewer than half the pixels of most are left out.
    """
    fit = fit_terraces(heights, edge.labels)
    rows, columns = pixel_grid(heights.shape)
    levelled = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    lower = 0 if fit.height >= 0.0 else 1
    levelled = levelled - np.nanmean(levelled[edge.labels == lower])
    line, mean, number = _profile(levelled, _across(heights.shape, edge.angle)[0] - edge.offset)
    whole = number >= 0.5 * np.median(number)
    return levelled, line[whole].astype(np.float64), mean[whole]


def _certain(edge: StepEdge) -> bool:
    return abs(edge.height) > _CERTAIN * edge.u_height or abs(edge.rise) > _CERTAIN * edge.u_rise


def _across(shape: tuple[int, ...], angle: float) -> tuple[F64, F64]:
    """Distance [px] of each pixel along the normal at `angle`, and along the edge, from the image's middle."""
    rows, columns = pixel_grid(shape)
    y, x = rows - 0.5 * (shape[0] - 1), columns - 0.5 * (shape[1] - 1)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _line_of(u: F64) -> NDArray[np.int64]:
    """Number of the one-pixel line; halves always round up: rounding to even would empty every second line."""
    return np.floor(u + 0.5).astype(np.int64)


def _profile(values: F64, u: F64) -> tuple[NDArray[np.int64], F64, F64]:
    """Line numbers, mean and number of pixels of each line of one pixel's width."""
    known = np.isfinite(values)
    line = _line_of(u[known])
    low = int(line.min())
    number = np.bincount(line - low).astype(np.float64)
    total = np.bincount(line - low, values[known])
    return np.arange(number.size, dtype=np.int64) + low, total / np.maximum(number, 1.0), number


def _strongest(flat: F64) -> tuple[float, int]:
    """Angle [rad] and line with the most significant contrast between its sides."""
    shortest = _LENGTH * min(flat.shape)

    def contrast(angle: float) -> tuple[float, int]:
        line, mean, number = _profile(flat, _across(flat.shape, angle)[0])
        weighted, total = np.cumsum(np.append(0.0, mean * number)), np.cumsum(np.append(0.0, number))
        k = np.arange(_FEWEST_BINS, line.size - _FEWEST_BINS)
        before, beyond = (np.maximum(total[k + a] - total[k + b], 1.0) for a, b in ((0, -_ARM), (_ARM + 1, 1)))
        low = (weighted[k] - weighted[k - _ARM]) / before
        high = (weighted[k + _ARM + 1] - weighted[k + 1]) / beyond
        size = np.abs(high - low) / np.sqrt(1.0 / before + 1.0 / beyond)
        size = np.where(np.minimum(before, beyond) >= _ARM * shortest, size, 0.0)
        best = int(np.argmax(size))
        return float(size[best]), int(line[k[best]])

    contrasts = [(*contrast(angle), angle) for angle in _COARSE]
    near = max(contrasts)[2]
    # The contrast of three lines varies slowly with the angle; the scatter within the lines does not.
    angle = min((_within(flat, near + turn, contrast(near + turn)[1]), near + turn) for turn in _FINE)[1]
    return float(angle), contrast(angle)[1]


def _within(flat: F64, angle: float, edge_line: int) -> float:
    """Mean square of the pixels near a line about the means of their lines."""
    away = _across(flat.shape, angle)[0] - edge_line
    band = np.where(np.abs(away) <= max(max(flat.shape) // _BANDS[-1], 2 * _FEWEST_BINS), flat, np.nan)
    _, mean, number = _profile(band, away)
    known = np.isfinite(band)
    return float(np.mean(band[known] ** 2) - np.sum(number * mean**2) / number.sum())


def _in_band(heights: F64, angle: float, edge_line: int, half_width: int) -> tuple[StepEdge, float]:
    """The edge fitted to the pixels within `half_width`, and the profile's residual over that without an edge."""
    u, along = _across(heights.shape, angle)
    away = u - edge_line
    band = np.isfinite(heights) & (np.abs(away) <= half_width)
    tilt = total_degree(np.where(band, heights, np.nan), 1).surface
    line, mean, number = _profile(np.where(band, heights - tilt, np.nan), away)
    keep = number > 0
    line, mean, number = line[keep], mean[keep], number[keep]
    rim, ratio = _rim(line.astype(np.float64), mean, number)
    first, last = (int(f(line[rim])) for f in (np.min, np.max))
    rounded = _line_of(away)
    labels = np.where(band & (rounded < first), 0, np.where(band & (rounded > last), 1, -1)).astype(np.int64)
    whole = fit_terraces(heights, labels)
    rise, top = _rise(heights, whole, rounded, labels, None)
    edges = np.quantile(along[labels >= 0], np.linspace(0.0, 1.0, _STRIPS + 1))
    heights_of, rises = [], []
    for low, high in pairwise(edges):
        inside = (along >= low) & (along < high)
        try:
            part = fit_terraces(heights, np.where(inside, labels, -1))
        except OutsideDomain:
            continue
        heights_of.append(part.height)
        rises.append(_rise(np.where(inside, heights, np.nan), part, rounded, np.where(inside, labels, -1), top)[0])
    rises = [r for r in rises if np.isfinite(r)]
    if min(len(heights_of), len(rises)) < _FEWEST_STRIPS:
        limit = f"{_FEWEST_STRIPS} strips along the edge are needed for its uncertainty"
        raise OutsideDomain(Problem("step edge", f"{len(heights_of)} strips", limit, "record more lines"))
    u_height, u_rise = (mean_with_u(np.array(v))[1] for v in (heights_of, rises))
    edge = StepEdge(
        whole.height,
        max(u_height, whole.u_height),
        rise,
        max(u_rise, 0.5 * whole.u_height),
        angle,
        float(edge_line),
        labels,
        len(heights_of),
        last - first + 1,
    )
    return edge, ratio


def _rim(line: F64, mean: F64, number: F64) -> tuple[NDArray[np.bool_], float]:
    """Lines next to the edge at 0 that belong to neither terrace, and the residual with the edge over that without."""
    basis = np.column_stack((np.ones_like(line), line, (line > 0).astype(np.float64)))
    free = np.abs(line) > 1.0
    if min((free & (line < 0)).sum(), (free & (line > 0)).sum()) < _FEWEST_BINS:
        raise OutsideDomain(Problem("step edge", "at the rim of the image", "no terrace beside it", "move the image"))
    weight = number * free
    residual = mean
    sigma = 0.0
    for _ in range(_EDGE_ROUNDS):
        root = np.sqrt(weight)
        c, *_ = np.linalg.lstsq(basis * root[:, None], mean * root, rcond=None)
        residual = mean - basis @ c
        sigma = robust_sigma(residual[free], 0.0)
        if sigma <= 0.0:
            break
        weight = number * free * np.maximum(0.0, 1.0 - (residual / (4.685 * sigma)) ** 2) ** 2
    outside = np.abs(residual) > _OUTLIER * sigma
    rim = np.abs(line) <= 1.0
    for side in (line < 0, line > 0):
        order = np.flatnonzero(side)[np.argsort(np.abs(line[side]))]
        for k in order:
            if outside[k] or rim[k]:
                rim[k] = True
            else:
                break
    both = [(~rim & (line < 0)).sum(), (~rim & (line > 0)).sum()]
    if min(both) < _FEWEST_BINS:
        raise OutsideDomain(Problem("step edge", f"{both} lines of terrace", "five are needed", "take a larger image"))
    smooth = np.column_stack((np.ones_like(line), line, line**2))
    plain, *_ = np.linalg.lstsq(smooth * np.sqrt(number)[:, None], mean * np.sqrt(number), rcond=None)
    without = float(np.sum(number * (mean - smooth @ plain) ** 2) / number.sum())
    kept = number * ~rim
    with_edge = float(np.sum(kept * residual**2) / kept.sum())
    return rim, (with_edge / without) ** 0.5 if without > 0.0 else 1.0


def _rise(
    heights: F64, fit: TerraceFit, rounded: NDArray[np.int64], labels: NDArray[np.int64], top: int | None
) -> tuple[float, int]:
    """The rim's line `top` (the farthest where None) above the mean of both terraces; NaN where a terrace is empty."""
    rows, columns = pixel_grid(heights.shape)
    level = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    middle = float(np.nanmean(level[labels == 0])) + 0.5 * fit.height
    inside = rounded[labels == 0].max(), rounded[labels == 1].min()
    between = (rounded > inside[0]) & (rounded < inside[1]) & np.isfinite(level)
    if top is not None:
        rim_line = level[between & (rounded == top)]
        return (float(rim_line.mean()) - middle if rim_line.size else float("nan")), top
    line, mean, number = _profile(np.where(between, level, np.nan), rounded.astype(np.float64))
    away = np.where(number > 0.5 * number.max(), mean - middle, 0.0)
    k = int(np.argmax(np.abs(away)))
    return float(away[k]), int(line[k])
