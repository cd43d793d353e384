"""Expansion of the specimen: height change per branch, in nm and in % of its thickness; at a point or along a line.

A line hopped repeatedly is a kymograph: heights over position and time. Its mean is a series like that of a point, and
each pixel has a change of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.branches import Branch, branches, numbered, time_at_charge
from opsicm.analysis.hops.series import HopSeries, value_at
from opsicm.analysis.result import Result, Subject, failed
from opsicm.core.statistics import median_with_u, robust_sigma, scatter_with_u, u_of_rectangle, weighted_mean

_WINDOW: Final = 15
_GAP: Final = 3.0  # periods
_BENT: Final = 3.0  # u beyond which the next degree is believed
_METHOD: Final = (
    "height at the ends of the branch (where the charge turns), each a polynomial through {window} hops or passes; "
    "divided by the thickness in the experiment file, whose uncertainty is not included; u: scatter and cross-talk of "
    "both ends"
)


def expansion_results(
    series: HopSeries,
    cell_t: NDArray[np.float64],
    cell_charge: NDArray[np.float64],
    thickness: float,
    drift_to_height: float,
    negligible_charge: float = 0.0,
    window: int = _WINDOW,
    degree: int = 1,
) -> list[Result]:
    """Height change and expansion of every branch, and of its halves by charge (SOC 0–50–100 % of the branch).

    `cell_t` [s], `cell_charge` [C] (n,) of the whole run; `thickness` [m]; `drift_to_height` [m·s] turns a relative
    drift of the reference [1/s] into a height error (duration of an approach × dz/dlnI); `negligible_charge` [C] counts
    as none. A height is a polynomial of `degree` through `window` hops. dV/V = dh/thickness: assumes that the electrode
    swells along its normal only. Branches without hops are left out; one that is only partly covered by hops fails,
    with the reason.
    """
    branch_list = branches(cell_t, cell_charge, negligible_charge)
    if not branch_list or series.size < 3:
        why = "no charge was passed" if not branch_list else f"{series.size} good hops; at least 3 are needed"
        outcome = "no branch" if not branch_list else "no hops"
        return [
            failed(
                "expansion",
                "%",
                _METHOD.format(window=window),
                outcome,
                f"{why}: sweep or hop for longer",
                Subject(part="lithiation"),
            )
        ]
    results: list[Result] = []
    for number, branch in numbered(branch_list):
        overlap = min(branch.stop, series.t[-1]) - max(branch.start, series.t[0])
        if overlap > 0.01 * (branch.stop - branch.start):
            results.extend(
                _branch_results(number, branch, series, cell_t, cell_charge, thickness, drift_to_height, window, degree)
            )
    return results


def _branch_results(
    number: int | None,
    branch: Branch,
    series: HopSeries,
    t: NDArray[np.float64],
    charge: NDArray[np.float64],
    thickness: float,
    drift_to_height: float,
    window: int,
    degree: int,
) -> list[Result]:
    of = Subject(part=branch.kind, number=number)
    middle = time_at_charge(t, charge, branch, 0.5)
    moments = (branch.start, middle, branch.stop)
    gap = max(float(np.min(np.abs(series.t - moment))) for moment in moments)
    if gap > 0.05 * (branch.stop - branch.start):
        reason = f"the nearest hop is {gap:.1f} s from an end of the branch: hop during all of it"
        return [failed("expansion", "%", _METHOD.format(window=window), "not covered", reason, of)]
    inside = (series.t >= branch.start) & (series.t <= branch.stop)
    trace = xr.DataArray(
        series.height[inside], dims="hop", coords={"t": ("hop", series.t[inside])}, attrs={"units": "m"}
    )
    heights = [_height_at(series, moment, drift_to_height, window, degree) for moment in moments]
    percent = 100.0 / thickness
    method = _METHOD.format(window=window)
    (h0, u0), (h1, u1), (h2, u2) = heights
    pairs = {
        "height_change": (h2 - h0, math.hypot(u0, u2), 1e9, "nm"),
        "expansion": (h2 - h0, math.hypot(u0, u2), percent, "%"),
        "expansion_first_half": (h1 - h0, math.hypot(u0, u1), percent, "%"),
        "expansion_second_half": (h2 - h1, math.hypot(u1, u2), percent, "%"),
    }
    halves = "; halves are halves of the branch's charge"
    return [
        Result(
            key,
            float(dh * scale),
            float(u * scale),
            unit,
            method + (halves if "half" in key else ""),
            flags=series.flags,
            trace=trace,
            of=of,
        )
        for key, (dh, u, scale, unit) in pairs.items()
    ]


def _height_at(series: HopSeries, when: float, drift_to_height: float, window: int, degree: int) -> tuple[float, float]:
    """Height [m] at `when` [s] with its uncertainty, scatter and cross-talk in quadrature.

    Where `when` lies in a gap, as at a cut-off that hops wait for, each side is continued to it on its own, for the
    height has a corner there; u holds their difference as a rectangle.
    """
    current, _, slope = value_at(series.t, series.current, when, window, degree)
    after = int(np.searchsorted(series.t, when))
    sides = [part for part in (slice(0, after), slice(after, None)) if series.t[part].size > degree + 2]
    in_gap = 0 < after < series.size and series.t[after] - series.t[after - 1] > _GAP * np.median(np.diff(series.t))
    if 0 < after < series.size and not (in_gap and sides):
        height, u, _ = value_at(series.t, series.height, when, window, degree)
    elif sides:
        values = np.array([_continued(series.t[p], series.height[p], when, window, degree) for p in sides])
        height, u = weighted_mean(values[:, 0], values[:, 1])
        u = math.hypot(u, u_of_rectangle(float(np.ptp(values[:, 0]))))
    else:
        height, u, _ = value_at(series.t, series.height, when, window, degree)
    return height, math.hypot(u, drift_to_height * slope / current)


def _continued(
    t: NDArray[np.float64], heights: NDArray[np.float64], when: float, window: int, degree: int
) -> tuple[float, float]:
    """(height [m], u) of the polynomial of `degree` through the `window` hops next to `when`, beyond which it lies.

    The next degree is looked at: where its term stands out of the noise it is the better guess, and in any case what it
    changes is in u, in place of what the degree after it would. Fails where the height turns on the way to `when`, and
    where it bends ever more.
    """
    height, u, _ = value_at(t, heights, when, window, degree)
    bent, u_bent, _ = value_at(t, heights, when, window, degree + 1)
    off = abs(bent - height)
    height, u = (bent, u_bent) if off > _BENT * u_bent else (height, u)
    return height, max(math.hypot(u, off), 1e-15)


F64 = NDArray[np.float64]
_FEWEST: Final = 7
_PIXEL_WINDOW: Final = 7  # passes; with a parabola, because seven passes may be long against a turn of the height


@dataclass(frozen=True, slots=True)
class Kymograph:
    """Good hops of a line by pass and pixel: `height` [m], `t` [s], `current` [A], `potential` [V], all [line, pixel].

    `good` says which were measured; elsewhere the arrays hold 0. `x` [pixel] [m] is the distance along the line.
    """

    height: F64
    t: F64
    current: F64
    potential: F64
    cell_current: F64
    good: NDArray[np.bool_]
    x: F64
    setpoint: float
    bad: int

    def masked(self, values: F64) -> F64:
        """`values` with NaN where no good hop was measured."""
        return np.where(self.good, values, np.nan)

    @property
    def complete(self) -> NDArray[np.intp]:
        """Numbers of the lines on which every pixel was measured."""
        return np.flatnonzero(self.good.all(axis=1))


def kymograph(hops: xr.Dataset) -> Kymograph:
    """The hop records of a line as [line, pixel]; of several hops at one pixel the last counts."""
    line, pixel = hops["line"].values.astype(int), hops["pixel"].values.astype(int)
    shape = int(line.max()) + 1, int(pixel.max()) + 1
    good = np.zeros(shape, dtype=bool)
    contact = hops["outcome"].values == 0
    good[line[contact], pixel[contact]] = True

    def on_grid(name: str) -> F64:
        out = np.zeros(shape)
        out[line[contact], pixel[contact]] = hops[name].values[contact]
        return out

    x, y = np.zeros(shape[1]), np.zeros(shape[1])
    x[pixel], y[pixel] = hops["x"].values, hops["y"].values
    return Kymograph(
        on_grid("z_stop"),
        on_grid("t_ns") * 1e-9,
        on_grid("i_ref"),
        on_grid("cell_potential"),
        on_grid("cell_current"),
        good,
        np.hypot(x - x[0], y - y[0]),
        float(np.median(hops["setpoint"].values)),
        int((~contact).sum()),
    )


def line_series(k: Kymograph) -> HopSeries:
    """The mean of every complete line as a series at the line's mean time; incomplete lines are left out."""
    rows = k.complete

    def mean(values: F64) -> F64:
        return np.asarray(values[rows].mean(axis=1), dtype=np.float64)

    return HopSeries(
        mean(k.t), mean(k.height), mean(k.current), mean(k.potential), mean(k.cell_current), k.setpoint, k.bad
    )


def line_results(
    hops: xr.Dataset, cell_t: F64, cell_charge: F64, thickness: float, drift_to_height: float
) -> list[Result]:
    """Expansion of the line's mean per branch, its spread over the pixels, what remains at the end, height scatter.

    `hops` [hop] of one line step; `cell_t` [s], `cell_charge` [C]; `thickness` [m]; `drift_to_height` [m·s] as in
    `expansion_results`. The trace of `kymograph_largest_change` is that of `height_changes`.
    """
    k = kymograph(hops)
    rows = k.complete
    flags = {"bad_hops": k.bad, "incomplete_lines": int(k.good.shape[0] - rows.size)}
    if rows.size < _FEWEST:
        reason = f"{rows.size} lines have every pixel; {_FEWEST} are needed: repeat the line more often"
        return [failed("kymograph", "nm", "", "too few lines", reason)]
    series = line_series(k)
    trace = height_changes(k)
    results = [_largest_change(series, trace, flags, drift_to_height)]
    results += expansion_results(
        series, cell_t, cell_charge, thickness, drift_to_height, window=_PIXEL_WINDOW, degree=2
    )
    results += _pixel_results(k, rows, cell_t, cell_charge, flags)
    # Only successive lines: across a line left out, the swelling itself would count as scatter.
    following = np.diff(rows) == 1
    together = following[:-2] & following[1:-1] & following[2:]
    # Third differences, because three passes may not be short against a turn of the height (as for `_PIXEL_WINDOW`).
    sigma, u = scatter_with_u(k.height[rows].T, 3, together if together.any() else None)
    method = "standard deviation of one height, from third differences of successive passes, all pixels together"
    results.append(Result("height_scatter", sigma * 1e9, u * 1e9, "nm", method, flags=flags))
    period = np.diff(series.t)
    results.append(
        Result(
            "line_period",
            *median_with_u(period),
            "s",
            "median time from line to line; u: 1.2533 MAD-sigma/sqrt(n)",
            flags=flags,
        )
    )
    return results


def height_changes(k: Kymograph) -> xr.DataArray:
    """Height change [m] over (line, pixel) since the first complete pass (`first` [m]), NaN where nothing was measured.

    With time [s], potential [V], cell current [A] and reference current [A] of each line. Fails (IndexError) where no
    pass is complete.
    """
    first = k.height[k.complete[0]]
    return xr.DataArray(
        k.masked(k.height - first),
        dims=("line", "pixel"),
        coords={
            "x": ("pixel", k.x),
            "first": ("pixel", first),
            "t": ("line", _line_mean(k, k.t)),
            "potential": ("line", _line_mean(k, k.potential)),
            "cell_current": ("line", _line_mean(k, k.cell_current)),
            "reference": ("line", _line_mean(k, k.current)),
        },
        attrs={"units": "m", "quantity": "height change"},
    )


def _line_mean(k: Kymograph, values: F64) -> F64:
    """Mean of `values` [line, pixel] over the pixels of each line that were measured."""
    number = np.maximum(k.good.sum(axis=1), 1)
    return np.asarray((values * k.good).sum(axis=1) / number, dtype=np.float64)


def _largest_change(series: HopSeries, trace: xr.DataArray, flags: dict[str, int], drift_to_height: float) -> Result:
    height = series.height - series.height[0]
    at = int(np.argmax(np.abs(height)))
    value, u, _ = value_at(series.t, series.height, float(series.t[at]), _PIXEL_WINDOW, 2)
    start, u_start, _ = value_at(series.t, series.height, float(series.t[0]), _PIXEL_WINDOW, 2)
    current, _, slope = value_at(series.t, series.current, float(series.t[at]), _PIXEL_WINDOW, 2)
    total = float(np.sqrt(u**2 + u_start**2 + (drift_to_height * slope / current) ** 2))
    method = (
        f"largest change of the line's mean height, at {series.t[at]:.1f} s, parabolas through {_PIXEL_WINDOW} passes; "
        "u: their scatter and the cross-talk at that time"
    )
    return Result(
        "kymograph_largest_change", (value - start) * 1e9, total * 1e9, "nm", method, flags=flags, trace=trace
    )


def _pixel_results(
    k: Kymograph, rows: NDArray[np.intp], cell_t: F64, cell_charge: F64, flags: dict[str, int]
) -> list[Result]:
    """Median over the pixels of their height change per branch, and of what remains at the end."""
    pairs = [(b.kind, b.start, b.stop) for b in branches(cell_t, cell_charge)]
    t = k.t[rows]
    results: list[Result] = []
    seen: dict[str, int] = {}
    for kind, start, stop in pairs:
        if start < float(t[0].min()) - 0.05 * (stop - start) or stop > float(t[-1].max()) + 0.05 * (stop - start):
            continue
        seen[kind] = seen.get(kind, 0) + 1
        change = _median_over_pixels("height_change_over_pixels", _differences(k, rows, start, stop), flags)
        results.append(change.within(part=kind, number=seen[kind]))
    if float(np.ptp(t)) > 0.0:
        name = "height_left_over_pixels"
        results.append(_median_over_pixels(name, _differences(k, rows, float(t[0].mean()), float(t[-1].mean())), flags))
    return results


def _differences(k: Kymograph, rows: NDArray[np.intp], start: float, stop: float) -> F64:
    """[2, pixel]: the change and its standard uncertainty."""
    out = np.empty((2, k.x.size))
    for p in range(k.x.size):
        t, h = k.t[rows, p], k.height[rows, p]
        (last, u_last, _), (first, u_first, _) = (value_at(t, h, when, _PIXEL_WINDOW, 2) for when in (stop, start))
        out[:, p] = last - first, np.hypot(u_last, u_first)
    return out


def _median_over_pixels(name: str, changes: F64, flags: dict[str, int]) -> Result:
    change, u_each = changes
    middle, u = median_with_u(change, float(np.mean(u_each**2)) ** 0.5)
    method = (
        "median over the pixels of the height change between two times, polynomials through "
        f"{_PIXEL_WINDOW} passes; u: 1.2533/sqrt(pixels) times the larger of MAD-sigma and the u of one pixel; the "
        f"spread over pixels is {robust_sigma(change) * 1e9:.3g} nm"
    )
    trace = xr.DataArray(change, dims="pixel", attrs={"units": "m"})
    return Result(name, middle * 1e9, u * 1e9, "nm", method, flags=flags, trace=trace)
