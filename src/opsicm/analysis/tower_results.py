"""Towers: pipette current against height in mm while the coarse stage goes up and down, at chosen moments."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import find_peaks

from opsicm.analysis.line_scatter import scatter_about_line
from opsicm.analysis.profiles import gradient_extent, profile
from opsicm.analysis.result import Result, failed

F64 = NDArray[np.float64]
SHORTEST: Final = 50e-6  # [m] of travel: less is no tower
_BINS: Final = 50
_BEYOND: Final = 1.0  # [m] beyond any travel: the ends of the record are ends of a way
_FEWEST_ROWS: Final = 10
_NEAR: Final = 0.1  # of the travel, at either end: what "near" and "far" mean


@dataclass(frozen=True, slots=True)
class Traverse:
    """Rows [first, stop) of one way up or down, `time` [s] in its middle."""

    first: int
    stop: int
    time: float


def traverses(t: F64, height: F64) -> list[Traverse]:
    """Ways of a tower between its turns: `t` [s], `height` [m], (n,); waits at the ends belong to none of them."""
    if t.size < _FEWEST_ROWS or np.ptp(height) < SHORTEST:
        return []
    reach = 0.5 * float(np.ptp(height))
    # A wait at an end is a plateau: its edges are where a way ends and the next begins.
    ends: set[int] = {0, t.size - 1}
    for sign in (1.0, -1.0):
        padded = np.concatenate(([-_BEYOND], sign * height, [-_BEYOND]))
        _, how = find_peaks(padded, prominence=reach, plateau_size=1)
        ends |= {int(k) - 1 for k in how["left_edges"]} | {int(k) - 1 for k in how["right_edges"]}
    marks = sorted(k for k in ends if 0 <= k < t.size)
    found = []
    for a, b in pairwise(marks):
        if abs(height[b] - height[a]) >= reach and b - a + 1 >= _FEWEST_ROWS:
            found.append(Traverse(a, b + 1, 0.5 * float(t[a] + t[b])))
    return found


def tower_results(t: F64, height: F64, pipette: F64, cell_current: F64, potential: F64) -> list[Result]:
    """Near less far current and reach of the gradient at chosen moments, and the image of current over height and time.

    Rows of a tower: `t` [s], `height` [m] of the coarse stage, `pipette` [A], `cell_current` [A] (negative lithiates),
    `potential` [V], (n,). Moments: the first and last way, the largest cell current of either sign, the lowest
    potential. A way takes seconds, in which the cell moves on: its profile is sheared by that much. Nothing where the
    stage did not travel. Assumes that the pipette's own drift is slow against one way.
    """
    ways = traverses(t, height)
    if not ways:
        return []
    low, high = float(height.min()), float(height.max())
    edges = np.linspace(low, high, _BINS + 1)
    image = np.full((len(ways), _BINS), np.nan)
    results: list[Result] = []
    for k, way in enumerate(ways):
        rows = slice(way.first, way.stop)
        seen = profile(height[rows], pipette[rows], edges)
        image[k] = np.where(seen.number > 0, seen.current, np.nan)
    for name, k in _moments(ways, cell_current, potential).items():
        results += _at_moment(name, ways[k], height, pipette, potential, cell_current)
    trace = xr.DataArray(
        image, dims=("time", "height"), attrs={"units": "A", "quantity": "pipette current"},
        coords={"time": [way.time for way in ways], "height": 0.5 * (edges[1:] + edges[:-1])},
    )  # fmt: skip
    method = f"ways of the coarse stage between {1e6 * low:.4g} and {1e6 * high:.4g} µm"
    return [Result("tower_ways", float(len(ways)), 0.0, "1", method, trace=trace), *results]


def _moments(ways: list[Traverse], cell_current: F64, potential: F64) -> dict[str, int]:
    current = np.array([np.nanmean(cell_current[w.first : w.stop]) for w in ways])
    level = np.array([np.nanmean(potential[w.first : w.stop]) for w in ways])
    chosen = {"first": 0}
    if current.min() < 0.0:
        chosen["lithiation_peak"] = int(np.argmin(current))
    chosen["lowest_potential"] = int(np.argmin(level))
    if current.max() > 0.0:
        chosen["delithiation_peak"] = int(np.argmax(current))
    chosen["last"] = len(ways) - 1
    return chosen


def _at_moment(name: str, way: Traverse, height: F64, pipette: F64, potential: F64, cell_current: F64) -> list[Result]:
    rows = slice(way.first, way.stop)
    z, i = height[rows], pipette[rows]
    where = (
        f"the way at {way.time:.1f} s, {float(np.mean(potential[rows])):.3f} V, "
        f"{1e3 * float(np.mean(cell_current[rows])):.3g} mA"
    )
    span = float(np.ptp(z))
    near, far = (z <= z.min() + _NEAR * span), (z >= z.max() - _NEAR * span)
    method = f"mean pipette current of the lowest tenth of the travel less the highest's, {where}"
    title = f"near_less_far_current_{name}"
    bins = max(6, min(_BINS, z.size // 4))
    seen = profile(z - z.min(), i, np.linspace(0.0, span, bins + 1))
    extent = gradient_extent(seen)
    trace = xr.DataArray(
        np.where(seen.number > 0, seen.current, np.nan), dims="height", coords={"height": seen.height + z.min()},
        attrs={"units": "A", "quantity": "pipette current"},
    )  # fmt: skip
    if near.sum() < 3 or far.sum() < 3:
        results = [failed(title, "pA", method, "too few rows", "fewer than three rows at an end: record more often")]
    else:
        # About a line on height: the gradient within a tenth of the travel is no scatter.
        u = float(np.hypot(*(scatter_about_line(z[end], i[end]) / end.sum() ** 0.5 for end in (near, far))))
        difference = 1e12 * float(i[near].mean() - i[far].mean())
        results = [Result(title, difference, 1e12 * u, "pA", method, trace=trace)]
    title, method = f"gradient_extent_{name}", f"length of an exponential through the profile of {where}"
    if not extent.ok:
        return [*results, failed(title, "µm", method, "no gradient", extent.reason)]
    return [*results, Result(title, 1e6 * extent.length, 1e6 * extent.u, "µm", method, trace=trace)]
