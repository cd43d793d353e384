"""Height change of the points of a probe step, each since its own first hop.

Over a line or an image the heights of successive hops are topography: 1 µm between two neighbouring flakes is no
swelling. The change of a point is known only where it was hopped again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.hops.series import coarse_heights
from opsicm.analysis.topography.raster import is_raster, rows_of_pass

F64 = NDArray[np.float64]
_READ: Final = [
    *("outcome", "step", "segment", "line", "pixel", "x", "y"),
    *("z_stop", "t_ns", "cell_potential", "cell_current", "i_ref"),
]
_SHARE: Final = 0.5  # of the points of a step: a pass that reached fewer has no median


@dataclass(frozen=True, slots=True)
class StepPasses:
    """The passes of a probe step (or of several, `step` names them) over its `points`, in order of time, all [pass].

    `change` [m]: median over the points of the height less that of the point's own first hop, with its `quartiles`
    [2, pass]; `t` [s], `potential` [V], `cell_current` [A] and `reference` [A] (far from the surface) are medians over
    the pass. At a single point every hop is a pass.
    """

    step: str
    points: int
    t: F64
    change: F64
    quartiles: F64
    potential: F64
    cell_current: F64
    reference: F64

    @property
    def returned(self) -> bool:
        """Whether any point was hopped again: otherwise there is no change."""
        return self.t.size > 1


def step_passes(hops: xr.Dataset, slow: xr.Dataset) -> list[StepPasses]:
    """The passes over every pattern of points, from hops in contact (outcome 0), in order of the patterns' first hops.

    `hops` [hop], `slow` [row] as the run file holds them. Steps over the same points (an image before and after a
    charge, say) are one pattern. Heights in several segments are compared through the height of the coarse stage; where
    none was recorded, a point starts anew in each segment.
    """
    good = hops[_READ].isel(hop=np.flatnonzero(hops["outcome"].values == 0))  # not copies of what nobody reads
    if not good.sizes["hop"]:
        return []
    coarse = coarse_heights(good, slow)
    steps = good["step"].values
    patterns: dict[tuple[float, ...], list[str]] = {}
    for step in dict.fromkeys(steps.tolist()):
        patterns.setdefault(_pattern(good.isel(hop=np.flatnonzero(steps == step))), []).append(str(step))
    return [
        _passes_of(", ".join(names), good.isel(hop=rows), None if coarse is None else coarse[rows])
        for names in patterns.values()
        for rows in (np.flatnonzero(np.isin(steps, names)),)
    ]


def _pattern(hops: xr.Dataset) -> tuple[float, ...]:
    """What two steps over the same points have in common: pixels a line, rows a pass, and the corners [nm]."""
    pixel = hops["pixel"].values
    first = hops.isel(hop=np.flatnonzero(hops["segment"].values == hops["segment"].values[0]))
    corners = [1e9 * edge(hops[axis].values) for axis in ("x", "y") for edge in (np.min, np.max)]
    rows = rows_of_pass(first) if is_raster(first) else 1
    return (float(pixel.max()), float(rows), *np.round(corners, 0).tolist())


def _passes_of(step: str, hops: xr.Dataset, coarse: F64 | None) -> StepPasses:
    point, number = _points_and_passes(hops)
    height = hops["z_stop"].values + (0.0 if coarse is None else coarse)
    own = point if coarse is not None else point + (int(point.max()) + 1) * hops["segment"].values.astype(np.int64)
    _, first, inverse = np.unique(own, return_index=True, return_inverse=True)
    change = height - height[first[inverse]]
    _, column = np.unique(point, return_inverse=True)
    points = int(column.max()) + 1

    def by_pass(values: F64) -> F64:
        grid = np.full((int(number.max()) + 1, points), np.nan)
        grid[number, column] = values
        return grid

    grid = by_pass(change)
    kept = np.isfinite(grid).sum(axis=1) >= _SHARE * points
    quartiles = _quantiles(grid[kept], (0.25, 0.5, 0.75))
    t, potential, current, reference = (
        _quantiles(by_pass(hops[name].values.astype(np.float64))[kept], (0.5,))[0]
        for name in ("t_ns", "cell_potential", "cell_current", "i_ref")
    )
    return StepPasses(step, points, 1e-9 * t, quartiles[1], quartiles[::2], potential, current, reference)


def _points_and_passes(hops: xr.Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the point of each hop, and of the pass: lines count on within a segment and restart with the next."""
    segments, line = hops["segment"].values, hops["line"].values.astype(np.int64)
    pixel = np.maximum(hops["pixel"].values.astype(np.int64), 0)
    if np.unique(pixel).size == 1:
        return np.zeros(line.size, np.int64), np.arange(line.size)
    row, number = np.zeros(line.size, np.int64), np.zeros(line.size, np.int64)
    begin = 0
    for segment in np.unique(segments):
        of = np.flatnonzero(segments == segment)
        group = hops.isel(hop=of)
        rows = rows_of_pass(group) if is_raster(group) else 1
        row[of] = line[of] % rows
        number[of] = begin + line[of] // rows
        begin = int(number[of].max()) + 1
    return row * (int(pixel.max()) + 1) + pixel, number


def _quantiles(grid: F64, shares: tuple[float, ...]) -> F64:
    """Quantiles of each row of `grid` [row, column], NaN left out: [share, row]. As NumPy's, sorted once."""
    ordered = np.sort(grid, axis=1)  # NaN last
    last = np.isfinite(grid).sum(axis=1) - 1
    out = np.empty((len(shares), grid.shape[0]))
    for k, share in enumerate(shares):
        at = share * np.maximum(last, 0)
        below = np.floor(at).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(last, 0))
        low, high = (np.take_along_axis(ordered, index[:, None], axis=1)[:, 0] for index in (below, above))
        out[k] = low + (at - below) * (high - low)
    return out
