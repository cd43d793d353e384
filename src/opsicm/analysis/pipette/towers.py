"""Towers: pipette current against height over millimetres while the coarse stage moves up and down.

Profiles of single traverses, the length of the gradient, and results at chosen times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from scipy.signal import find_peaks

from opsicm.analysis.result import Result, Subject, failed
from opsicm.core.statistics import straight_line

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """Mean current [A] in bins of `height` [m]; `u` of the mean, `number` of rows (0: nothing measured)."""

    height: F64
    current: F64
    u: F64
    number: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GradientExtent:
    """Length of a gradient: `length` [m] of exp(-z/length) with u, `amplitude` [A], `far` [A]; `ok` or `reason`."""

    length: float
    u: float
    amplitude: float
    far: float
    ok: bool
    reason: str


def profile(height: F64, current: F64, edges: F64) -> Profile:
    """Mean and its u in bins `edges` [m]: `height` [m], `current` [A], (n,); rows without a value are left out."""
    good = np.isfinite(height) & np.isfinite(current)
    bin_index = np.digitize(height[good], edges) - 1
    inside = (bin_index >= 0) & (bin_index < edges.size - 1)
    bin_index, values = bin_index[inside], current[good][inside]
    number = np.bincount(bin_index, minlength=edges.size - 1)
    middle = float(values.mean()) if values.size else 0.0
    total = np.bincount(bin_index, values - middle, minlength=edges.size - 1)
    squares = np.bincount(bin_index, (values - middle) ** 2, minlength=edges.size - 1)
    n = np.maximum(number, 1)
    mean = total / n
    variance = np.maximum(squares / n - mean**2, 0.0) * n / np.maximum(n - 1, 1)
    return Profile(
        0.5 * (edges[1:] + edges[:-1]), np.where(number > 0, mean + middle, 0.0), np.sqrt(variance / n), number
    )


def profile_at(t: F64, height: F64, current: F64, when: float, within: float, edges: F64) -> Profile:
    """The profile of the rows within `within` [s] of the time `when` [s]: usually one traverse of a tower."""
    near = np.abs(t - when) <= within
    return profile(height[near], current[near], edges)


def gradient_extent(binned: Profile) -> GradientExtent:
    """Length over which the current returns to its far value: fit of far + amplitude·exp(-z/length).

    Bins count by 1/u². Assumes one exponential; a diffusion layer is erfc-like and its fitted length is about 0.9 of
    sqrt(D t). Not ok, with the reason, when fewer than five bins hold data, the nearest and the farthest differ by less
    than three of their u, or the length exceeds the range of heights or cannot be distinguished from a straight line.
    """
    filled = binned.number > 1
    z, i, u = binned.height[filled], binned.current[filled], binned.u[filled]
    no_extent = GradientExtent(0.0, 0.0, 0.0, float(i.mean()) if i.size else 0.0, False, "")
    if z.size < 5:
        return GradientExtent(0.0, 0.0, 0.0, no_extent.far, False, f"{z.size} bins hold data; five are needed")
    span, scale = float(np.ptp(z)), float(np.ptp(i)) or 1.0
    far = float(i[np.argmax(z)])

    def model(x: F64, amplitude: float, length: float, level: float) -> F64:
        return np.asarray(level + amplitude * np.exp(-x / length))

    weights = np.maximum(u, 0.1 * float(np.median(u)) + 1e-30) / scale
    try:
        p, covariance = curve_fit(
            model,
            z / span,
            (i - far) / scale,
            (float((i[np.argmin(z)] - far) / scale), 0.2, 0.0),
            weights,
            absolute_sigma=True,
            bounds=([-50.0, 1e-3, -50.0], [50.0, 20.0, 50.0]),
        )
    except RuntimeError:
        return GradientExtent(0.0, 0.0, 0.0, far, False, "no exponential fits this profile")
    errors = np.sqrt(np.diag(covariance))
    length, u_length = float(p[1]) * span, float(errors[1]) * span
    amplitude, level = float(p[0]) * scale, float(p[2]) * scale + far
    near, away = int(np.argmin(z)), int(np.argmax(z))
    if abs(i[near] - i[away]) < 3.0 * float(np.hypot(u[near], u[away])):
        return GradientExtent(
            length, u_length, amplitude, level, False, "the change near the surface is within its noise"
        )
    # A straight profile determines neither: a larger amplitude over a longer length is the same line.
    if length > span or abs(p[0]) < 3.0 * errors[0]:
        return GradientExtent(
            length, u_length, amplitude, level, False, "the gradient extends beyond the heights measured"
        )
    return GradientExtent(length, u_length, amplitude, level, True, "")


SHORTEST: Final = 50e-6  # [m] of travel
_BINS: Final = 50
_BEYOND: Final = 1.0  # [m] beyond any travel: padding that makes the ends of the record ends of a traverse
_FEWEST_ROWS: Final = 10
_NEAR: Final = 0.1  # of the travel: "near" and "far" are this much at either end


@dataclass(frozen=True, slots=True)
class Traverse:
    """Rows [first, stop) of one traverse up or down, `time` [s] of its middle."""

    first: int
    stop: int
    time: float


def traverses(t: F64, height: F64) -> list[Traverse]:
    """Traverses of a tower between its turns: `t` [s], `height` [m], (n,); waits at the ends are left out."""
    if t.size < _FEWEST_ROWS or np.ptp(height) < SHORTEST:
        return []
    reach = 0.5 * float(np.ptp(height))
    # A wait at an end is a plateau: one traverse ends at its first edge, the next begins at its last.
    ends: set[int] = {0, t.size - 1}
    for sign in (1.0, -1.0):
        padded = np.concatenate(([-_BEYOND], sign * height, [-_BEYOND]))
        _, properties = find_peaks(padded, prominence=reach, plateau_size=1)
        ends |= {int(k) - 1 for k in properties["left_edges"]} | {int(k) - 1 for k in properties["right_edges"]}
    marks = sorted(k for k in ends if 0 <= k < t.size)
    traverse_list = []
    for a, b in pairwise(marks):
        if abs(height[b] - height[a]) >= reach and b - a + 1 >= _FEWEST_ROWS:
            traverse_list.append(Traverse(a, b + 1, 0.5 * float(t[a] + t[b])))
    return traverse_list


def tower_results(t: F64, height: F64, pipette: F64, cell_current: F64, potential: F64) -> list[Result]:
    """Near less far current and length of the gradient at chosen times, and the current over height and time.

    Rows of a tower: `t` [s], `height` [m] of the coarse stage, `pipette` [A], `cell_current` [A] (negative lithiates),
    `potential` [V], (n,). The trace of `tower_ways` is that of `tower_image`. Times: the first and last traverse, the
    largest cell current of either sign, the lowest potential. A traverse takes seconds, in which the cell changes: its
    profile is sheared by that much. [] where the stage did not travel. Assumes that the drift of the pipette is slow
    against one traverse.
    """
    up_down = traverses(t, height)
    if not up_down:
        return []
    trace = _image_of(up_down, _ends(up_down, height), height, pipette, cell_current, potential)
    results: list[Result] = []
    for name, k in _moments(up_down, cell_current, potential).items():
        results += _moment_results(name, up_down[k], height, pipette, potential, cell_current)
    low, high = _ends(up_down, height)
    method = f"traverses of the coarse stage between {1e6 * low:.4g} and {1e6 * high:.4g} µm"
    return [Result("tower_ways", float(len(up_down)), 0.0, "1", method, trace=trace), *results]


def tower_image(t: F64, height: F64, pipette: F64, cell_current: F64, potential: F64) -> xr.DataArray | None:
    """The pipette current [A] of a tower over (time, height), with mean potential and cell current of each traverse.

    Rows as for `tower_results`, of a tower that may still go on: the traverse under way counts from its second row, and
    stands where its middle will be if it takes as long as the others; the attribute `under_way` tells of it. None
    before the stage has travelled.
    """
    up_down = traverses(t, height)
    if not up_down:
        return None
    last, ends = up_down[-1], _ends(up_down, height)
    under_way = last.stop <= t.size - 2
    if under_way:
        durations = [float(t[w.stop - 1] - t[w.first]) for w in up_down]
        middle = float(t[last.stop]) + 0.5 * float(np.median(durations))
        up_down = [*up_down, Traverse(last.stop, t.size, max(middle, float(np.mean(t[last.stop :]))))]
    return _image_of(up_down, ends, height, pipette, cell_current, potential).assign_attrs(under_way=int(under_way))


def _ends(up_down: list[Traverse], height: F64) -> tuple[float, float]:
    """The usual lower and upper end of a traverse [m]. Medians: the way to the first may begin far below it."""
    ends = [(np.min(height[w.first : w.stop]), np.max(height[w.first : w.stop])) for w in up_down]
    low, high = np.median(ends, axis=0)
    return float(low), float(high)


def _image_of(
    up_down: list[Traverse], ends: tuple[float, float], height: F64, pipette: F64, cell_current: F64, potential: F64
) -> xr.DataArray:
    edges = np.linspace(*ends, _BINS + 1)
    image = np.full((len(up_down), _BINS), np.nan)
    for k, traverse in enumerate(up_down):
        image[k] = _on_heights(height[traverse.first : traverse.stop], pipette[traverse.first : traverse.stop], edges)
    return xr.DataArray(
        image,
        dims=("time", "height"),
        attrs={"units": "A", "quantity": "pipette current"},
        coords={
            "time": [traverse.time for traverse in up_down],
            "height": 0.5 * (edges[1:] + edges[:-1]),
            "potential": ("time", [float(np.nanmean(potential[w.first : w.stop])) for w in up_down]),
            "cell_current": ("time", [float(np.nanmean(cell_current[w.first : w.stop])) for w in up_down]),
        },
    )


def _on_heights(height: F64, current: F64, edges: F64) -> F64:
    """The current of one traverse at the middles of bins `edges`: means of several rows, else between two rows.

    At its usual speed a coarse stage covers more than a bin from row to row. NaN beyond the traverse's rows.
    """
    good = np.isfinite(height) & np.isfinite(current)
    height, current = height[good], current[good]
    binned = profile(height, current, edges)
    if height.size < 2:
        return np.where(binned.number > 0, binned.current, np.nan)
    order = np.argsort(height, kind="stable")
    between = np.interp(binned.height, height[order], current[order])
    half = 0.5 * float(edges[1] - edges[0])
    within = (binned.height >= height.min() - half) & (binned.height <= height.max() + half)
    return np.where(within, np.where(binned.number > 1, binned.current, between), np.nan)


def _moments(up_down: list[Traverse], cell_current: F64, potential: F64) -> dict[str, int]:
    current = np.array([np.nanmean(cell_current[w.first : w.stop]) for w in up_down])
    level = np.array([np.nanmean(potential[w.first : w.stop]) for w in up_down])
    chosen = {"first": 0}
    if current.min() < 0.0:
        chosen["lithiation_peak"] = int(np.argmin(current))
    chosen["lowest_potential"] = int(np.argmin(level))
    if current.max() > 0.0:
        chosen["delithiation_peak"] = int(np.argmax(current))
    chosen["last"] = len(up_down) - 1
    return chosen


def _moment_results(
    name: str, traverse: Traverse, height: F64, pipette: F64, potential: F64, cell_current: F64
) -> list[Result]:
    rows = slice(traverse.first, traverse.stop)
    z, i = height[rows], pipette[rows]
    description = (
        f"the traverse at {traverse.time:.1f} s, {float(np.mean(potential[rows])):.3f} V, "
        f"{1e3 * float(np.mean(cell_current[rows])):.3g} mA"
    )
    span = float(np.ptp(z))
    near, far = (z <= z.min() + _NEAR * span), (z >= z.max() - _NEAR * span)
    method = f"mean pipette current of the lowest tenth of the travel less the highest's, {description}"
    of = Subject(part=name)
    bins = max(6, min(_BINS, z.size // 4))
    binned = profile(z - z.min(), i, np.linspace(0.0, span, bins + 1))
    extent = gradient_extent(binned)
    trace = xr.DataArray(
        np.where(binned.number > 0, binned.current, np.nan),
        dims="height",
        coords={"height": binned.height + z.min()},
        attrs={"units": "A", "quantity": "pipette current"},
    )
    if near.sum() < 3 or far.sum() < 3:
        reason = "fewer than three rows at an end: record more often"
        results = [failed("near_less_far_current", "pA", method, "too few rows", reason, of)]
    else:
        # About a line against height: the gradient within a tenth of the travel is not scatter.
        u = math.hypot(*(straight_line(z[end], i[end]).u_level for end in (near, far)))
        difference = 1e12 * float(i[near].mean() - i[far].mean())
        results = [Result("near_less_far_current", difference, 1e12 * u, "pA", method, trace=trace, of=of)]
    method = f"length of an exponential through the profile of {description}"
    if not extent.ok:
        return [*results, failed("gradient_extent", "µm", method, "no gradient", extent.reason, of)]
    length, u = 1e6 * extent.length, 1e6 * extent.u
    return [*results, Result("gradient_extent", length, u, "µm", method, trace=trace, of=of)]
