"""A straight step edge found in an image: terrace to terrace, and how far its rim stands above them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.levelling import pixel_grid, total_degree
from opsicm.analysis.step_height import StepFit, fit_terraces
from opsicm.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]
_COARSE: Final = np.radians(np.arange(0.0, 180.0, 2.0))
_FINE: Final = np.radians(np.arange(-6.0, 6.01, 0.25))
_ARM: Final = 3  # [px] either side of a line, over which its contrast is averaged
_FEWEST_BINS: Final = 5
_BANDS: Final = (2, 4, 8)  # half-widths tried, as parts of the image
_STRIPS: Final = 8
_FEWEST_STRIPS: Final = 5
_LENGTH: Final = 0.5  # of the image's shorter side that an edge must run through it
_CERTAIN: Final = 6.0  # times the strips' u: a search over angles and places finds four of noise
_ALIKE: Final = 0.4  # residual of the profile with the edge over that without
_OUTLIER: Final = 4.0
_ROUNDS: Final = 20


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

    1. Place: the angle and the line at which the mean of three pixels' lines beyond less three before stands out most
    of its noise (pixels per line count), after total degree 2 is taken away.
    2. Rim: along the profile across the edge, lines that leave a common slope with two levels by four sigma and adjoin
    the edge take no part in the terraces.
    3. Fit: one tilt and two terraces (`fit_terraces`) in a band about the edge, so that a bow or a second step farther
    away has no vote; of three bands the one whose strips agree best.
    `rise` is the profile's farthest line of the rim from the mean of the two terraces. u is from the scatter over up to
    eight strips along the edge, or the joint fit's own, whichever is larger: what is not alike along the edge counts.
    Assumes an edge that is straight and crosses half of the image. Fails (`OutsideDomain`) where no line's height or
    rise is six of its u, or where the profile is followed as well without an edge: rough surfaces, bows, noise.
    """
    if min(heights.shape) < 4 * _FEWEST_BINS:
        limit = f"{4 * _FEWEST_BINS} pixels along each side are needed to look for a straight edge"
        raise OutsideDomain(Problem("step edge", f"{heights.shape}", limit, "record more pixels"))
    flat = total_degree(heights, 2).heights
    angle, place = _strongest(flat)
    tried = []
    for part in _BANDS:
        try:
            tried.append(_in_band(heights, angle, place, max(heights.shape) // part))
        except OutsideDomain:
            continue
    if not tried:
        limit = "no line has enough pixels on either side and along it"
        raise OutsideDomain(Problem("step edge", "strongest line", limit, "put the edge in the middle of the image"))
    clear = [edge for edge, alike in tried if alike <= _ALIKE and _certain(edge)]
    if not clear:
        edge, alike = min(tried, key=lambda one: one[1])
        value = f"{edge.height:.3g} ± {edge.u_height:.2g} with a rim of {edge.rise:.3g} ± {edge.u_rise:.2g}"
        limit = f"six u of either are needed, and a residual below {_ALIKE} of that without (it is {alike:.2f})"
        raise OutsideDomain(Problem("strongest line", value, limit, "image a single edge, or average more lines"))
    return min(clear, key=lambda edge: edge.u_height)


def _certain(edge: StepEdge) -> bool:
    return abs(edge.height) > _CERTAIN * edge.u_height or abs(edge.rise) > _CERTAIN * edge.u_rise


def _across(shape: tuple[int, ...], angle: float) -> tuple[F64, F64]:
    """Distance [px] of each pixel along the normal at `angle`, and along the edge, from the image's middle."""
    rows, columns = pixel_grid(shape)
    y, x = rows - 0.5 * (shape[0] - 1), columns - 0.5 * (shape[1] - 1)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _line_of(u: F64) -> NDArray[np.int64]:
    """Number of the one-pixel line; halves all go up, where rounding to even would empty every second line."""
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
    """Angle [rad] and line between whose sides the contrast stands out most."""
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

    found = [(*contrast(angle), angle) for angle in _COARSE]
    near = max(found)[2]
    # The contrast of three lines is broad in the angle; what pixels of one line differ by is not.
    angle = min((_within(flat, near + turn, contrast(near + turn)[1]), near + turn) for turn in _FINE)[1]
    return float(angle), contrast(angle)[1]


def _within(flat: F64, angle: float, place: int) -> float:
    """Mean square about their own line of the pixels near a line."""
    away = _across(flat.shape, angle)[0] - place
    band = np.where(np.abs(away) <= max(max(flat.shape) // _BANDS[-1], 2 * _FEWEST_BINS), flat, np.nan)
    _, mean, number = _profile(band, away)
    known = np.isfinite(band)
    return float(np.mean(band[known] ** 2) - np.sum(number * mean**2) / number.sum())


def _in_band(heights: F64, angle: float, place: int, half_width: int) -> tuple[StepEdge, float]:
    """The edge as the pixels within `half_width` tell it, and the profile's residual over that of a plain line."""
    u, along = _across(heights.shape, angle)
    away = u - place
    band = np.isfinite(heights) & (np.abs(away) <= half_width)
    tilt = total_degree(np.where(band, heights, np.nan), 1).surface
    line, mean, number = _profile(np.where(band, heights - tilt, np.nan), away)
    keep = number > 0
    line, mean, number = line[keep], mean[keep], number[keep]
    rim, alike = _rim(line.astype(np.float64), mean, number)
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
    u_height, u_rise = (float(np.std(v, ddof=1)) / len(v) ** 0.5 for v in (heights_of, rises))
    edge = StepEdge(
        whole.height, max(u_height, whole.u_height), rise, max(u_rise, 0.5 * whole.u_height), angle, float(place),
        labels, len(heights_of), last - first + 1,
    )  # fmt: skip
    return edge, alike


def _rim(line: F64, mean: F64, number: F64) -> tuple[NDArray[np.bool_], float]:
    """Lines next to the edge at 0 that belong to neither terrace, and the residual's share with the edge of without."""
    basis = np.column_stack((np.ones_like(line), line, (line > 0).astype(np.float64)))
    free = np.abs(line) > 1.0
    if min((free & (line < 0)).sum(), (free & (line > 0)).sum()) < _FEWEST_BINS:
        raise OutsideDomain(Problem("step edge", "at the rim of the image", "no terrace beside it", "move the image"))
    weight = number * free
    rest = mean
    sigma = 0.0
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        c, *_ = np.linalg.lstsq(basis * root[:, None], mean * root, rcond=None)
        rest = mean - basis @ c
        sigma = 1.4826 * float(np.median(np.abs(rest[free])))
        if sigma <= 0.0:
            break
        weight = number * free * np.maximum(0.0, 1.0 - (rest / (4.685 * sigma)) ** 2) ** 2
    outside = np.abs(rest) > _OUTLIER * sigma
    rim = np.abs(line) <= 1.0
    for way in (line < 0, line > 0):
        order = np.flatnonzero(way)[np.argsort(np.abs(line[way]))]
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
    with_edge = float(np.sum(kept * rest**2) / kept.sum())
    return rim, (with_edge / without) ** 0.5 if without > 0.0 else 1.0


def _rise(
    heights: F64, fit: StepFit, rounded: NDArray[np.int64], labels: NDArray[np.int64], top: int | None
) -> tuple[float, int]:
    """The rim's line `top` (the farthest where None) above the mean of both terraces; NaN where a terrace is empty."""
    rows, columns = pixel_grid(heights.shape)
    level = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    middle = float(np.nanmean(level[labels == 0])) + 0.5 * fit.height
    inside = rounded[labels == 0].max(), rounded[labels == 1].min()
    between = (rounded > inside[0]) & (rounded < inside[1]) & np.isfinite(level)
    if top is not None:
        mine = level[between & (rounded == top)]
        return (float(mine.mean()) - middle if mine.size else float("nan")), top
    line, mean, number = _profile(np.where(between, level, np.nan), rounded.astype(np.float64))
    away = np.where(number > 0.5 * number.max(), mean - middle, 0.0)
    k = int(np.argmax(np.abs(away)))
    return float(away[k]), int(line[k])
