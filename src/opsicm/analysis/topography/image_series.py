"""A series of images: levelling, profiles, swelling, height change, irreversible change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.topography.levelling import pixel_grid, plane, rows_about_median, total_degree
from opsicm.core.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]


def levelled_series(frames: F64, mask: NDArray[np.bool_] | None = None) -> F64:
    """`frames` [frame, row, column] less the least-squares plane of the *first* frame, the same plane for all.

    A plane fitted to each frame would remove a tilted swelling and its mean; the plane of the first keeps both. Assumes
    that the specimen did not tilt as a whole during the series (such a tilt remains). `mask` as in `levelling.plane`.
    """
    rows, columns = pixel_grid(frames.shape[1:])
    offset, down, along = reference_plane(frames[0], mask)
    return np.asarray(frames - (offset + down * rows + along * columns), dtype=np.float64)


Levelling = Literal["first-plane", "none", "plane", "parabola", "rows"]
LEVELLING: Final[dict[Levelling, str]] = {
    "first-plane": "Levelled by the plane of the first image, the same for all: tilt goes, expansion stays.",
    "none": "Not levelled, about the mean of the first image.",
    "plane": "Each image less its own plane: its mean height is lost.",
    "parabola": "Each image less its own polynomial of total degree 2: its mean height is lost.",
    "rows": "Each row less its own median: drift between rows is removed, and slopes across the rows with it.",
}


def levelled_for_view(frames: F64, levelling: Levelling) -> F64:
    """`frames` [frame, row, column] levelled for looking at them, about a zero common to all; see `LEVELLING`.

    Fails (`OutsideDomain`) where a frame has too few pixels for its surface.
    """
    if levelling in ("plane", "parabola"):
        degree = 1 if levelling == "plane" else 2
        return np.stack([total_degree(frame, degree).heights for frame in frames])
    if levelling == "rows":
        return np.stack([rows_about_median(frame) for frame in frames])
    level = levelled_series(frames) if levelling == "first-plane" else frames
    return np.asarray(level - np.nanmean(level[0]), dtype=np.float64)


def profile_along(heights: F64, x: F64, y: F64, line: tuple[float, float, float, float]) -> tuple[F64, F64]:
    """(distance [m], height) along a straight line through an image, interpolated between pixels.

    `heights` [row, column] with coordinates `x`, `y` [m] of its columns and rows, even and in either direction; `line`
    is x and y of the start and of the end [m]. NaN outside the image and next to a pixel without height. One point
    in each column, or in each row where the line crosses more of these.
    """
    dx, dy = (float(axis[1] - axis[0]) if axis.size > 1 else 1.0 for axis in (x, y))
    x0, y0, x1, y1 = line
    length = float(np.hypot(x1 - x0, y1 - y0))
    count = max(2, round(max(abs((x1 - x0) / dx), abs((y1 - y0) / dy))) + 1)
    share = np.linspace(0.0, 1.0, count)
    # Rounded, because a line along the edge of the image may lie beyond it by an error of rounding.
    column = np.round((x0 + share * (x1 - x0) - float(x[0])) / dx, 6)
    row = np.round((y0 + share * (y1 - y0) - float(y[0])) / dy, 6)
    inside = (row >= 0.0) & (row <= heights.shape[0] - 1) & (column >= 0.0) & (column <= heights.shape[1] - 1)
    along = np.where(inside, 0.0, np.nan)
    for down in (0, 1):
        for right in (0, 1):
            r, c = np.floor(row).astype(np.int64) + down, np.floor(column).astype(np.int64) + right
            weight = np.where(inside, (1.0 - np.abs(row - r)) * (1.0 - np.abs(column - c)), 0.0)
            # A pixel without weight must not count, as it may have no height or lie beyond the edge.
            used = weight > 0.0
            along[used] += weight[used] * heights[r[used], c[used]]
    return share * length, along


def reference_plane(frame: F64, mask: NDArray[np.bool_] | None = None) -> tuple[float, float, float]:
    """The least-squares plane of `frame` [row, column]: its height at the first pixel, its slope a row and a column.

    A frame that is moved back by (dy, dx) after this plane was subtracted from it lacks the plane's height difference
    over the shift, row slope · dy + column slope · dx, because the tilt moves with the specimen.
    """
    reference = plane(frame, mask)
    # Coefficients of that plane from its values at the known pixels.
    rows, columns = pixel_grid(frame.shape)
    known = np.isfinite(reference.surface)
    basis = np.column_stack((np.ones(int(known.sum())), rows[known], columns[known]))
    c, *_ = np.linalg.lstsq(basis, reference.surface[known], rcond=None)
    return float(c[0]), float(c[1]), float(c[2])


@dataclass(frozen=True, slots=True)
class HeightChange:
    """Mean of a map and its standard uncertainty; `pixels` with both heights, `missing` without."""

    map: F64
    mean: float
    u: float
    median: float
    pixels: int
    missing: int


def height_change(before: F64, after: F64, height_noise: float, cross_talk: float = 0.0) -> HeightChange:
    """after - before per pixel (registered first), its mean over the area with u.

    u = hypot(height_noise·sqrt(2/pixels), cross_talk·sqrt(2)): white `height_noise` of one pixel averages out, the
    `cross_talk` of a frame does not. All in the unit of the heights. It is the u of the mean of *this*
    area, not of others. Fails (`OutsideDomain`) when no pixel has both heights.
    """
    difference = after - before
    both = np.isfinite(difference)
    n = int(both.sum())
    if n == 0:
        raise OutsideDomain(Problem("height change", "0 pixels", "no pixel has both heights", "check the shift"))
    u = float(np.hypot(height_noise * (2.0 / n) ** 0.5, cross_talk * 2.0**0.5))
    values = difference[both]
    return HeightChange(difference, float(np.mean(values)), u, float(np.median(values)), n, int(difference.size) - n)


def expansion_percent(before: F64, after: F64, thickness: float) -> F64:
    """Height change in % of the local thickness, thickness + height above its mean; all in one unit of length."""
    return 100.0 * (after - before) / (thickness + before - np.nanmean(before))


@dataclass(frozen=True, slots=True)
class IrreversibleChange:
    """The map final - initial and its share of the largest change; pixels beyond `threshold` and their fraction."""

    map: F64
    fraction_of_change: F64
    beyond: NDArray[np.bool_]
    area_fraction: float
    threshold: float


def irreversible_change(
    initial: F64, extreme: F64, final: F64, height_noise: float, sigmas: float = 4.0
) -> IrreversibleChange:
    """The change that remains after a cycle: final - initial, where it exceeds `sigmas`·sqrt(2)·`height_noise`.

    `extreme` is the frame at the other end of the cycle; `fraction_of_change` = (final - initial)/(extreme - initial),
    NaN where that change is below the same threshold (a ratio of noise). At 4 sigma 6 pixels in 100 000 are false.
    """
    threshold = sigmas * 2.0**0.5 * height_noise
    left, change = final - initial, extreme - initial
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(np.abs(change) > threshold, left / change, np.nan)
    beyond = np.abs(left) > threshold
    known = np.isfinite(left)
    share = float(beyond[known].mean()) if known.any() else float("nan")
    return IrreversibleChange(left, fraction, beyond, share, threshold)
