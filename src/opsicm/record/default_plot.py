"""`/entry/data`, the default plot of a run in any NeXus viewer; it opens without a plug-in. An image of a raster, the
profile of a line, the height at one point over time, the current over time or, for a tower, over height.

The step with the most hops is drawn, and of a repeated pattern its first pass: it is complete unless the run ended in
it, and swelling during a pass is no smaller in a later one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.record.nexus_file import column, group_of, text
from opsicm.record.passes import has_pattern, passes

Floats = NDArray[np.float64]

_HEIGHT: Final = "measured height of the pipette at the stop (m)"
_STRAIGHT: Final = 1e-3  # of a row: a raster that is turned by less lies along x and y


@dataclass(frozen=True, slots=True)
class PlotAxis:
    """One axis of the plot; `label` is shown beside it."""

    name: str
    values: Floats
    unit: str
    label: str


@dataclass(frozen=True, slots=True)
class DefaultPlot:
    """`signal` over `axes`, slowest first."""

    signal: PlotAxis
    axes: tuple[PlotAxis, ...]
    title: str


def write(entry: h5py.Group, hops: NDArray[Any], rows: NDArray[Any]) -> None:
    """Make `/entry/data` from the hop records and the slow rows."""
    drawn = plot(hops, rows)
    data = group_of(entry, "data", "NXdata")
    names = [axis.name for axis in drawn.axes]
    data.attrs.update(signal=drawn.signal.name, axes=names[0] if len(names) == 1 else names)
    text(data, "title", drawn.title)
    for index, axis in enumerate(drawn.axes):
        data.attrs[f"{axis.name}_indices"] = index
    for axis in (drawn.signal, *drawn.axes):
        if axis.values.ndim == 1:
            item = column(data, axis.name, axis.values, axis.unit)
        else:
            item = data.create_dataset(
                axis.name,
                data=axis.values,
                chunks=tuple(min(256, n) for n in axis.values.shape),
                compression="gzip",
                compression_opts=2,
                fletcher32=True,
            )
            item.attrs["units"] = axis.unit
        item.attrs["long_name"] = axis.label


def plot(hops: NDArray[Any], rows: NDArray[Any]) -> DefaultPlot:
    """The plot that shows most of the run."""
    if not hops.size:
        return _current(rows)
    steps, count = np.unique(hops["step"], return_counts=True)
    step = steps[np.argmax(count)]
    step_hops = hops[hops["step"] == step]
    height = step_hops["z_stop"] + _coarse(step_hops, rows)
    height[step_hops["outcome"] != 0] = np.nan
    name = step.decode("utf-8", "replace") if isinstance(step, bytes) else str(step)
    if not has_pattern(step_hops["x"], step_hops["y"], step_hops["pixel"]):
        time = PlotAxis("time", step_hops["t_ns"] * 1e-9, "s", "time since the start of the run (s)")
        return DefaultPlot(PlotAxis("height", height, "m", _HEIGHT), (time,), f"height over time, {name}")
    return _pattern(step_hops, height, name)


def _current(rows: NDArray[Any]) -> DefaultPlot:
    current = PlotAxis("pipette_current", rows["pipette_current"], "A", "pipette current (A)")
    coarse = rows["coarse_z"]
    # In a tower the coarse stage moves most of the time; before a park it moves only to reach its height.
    if coarse.size > 1 and np.mean(np.diff(coarse) != 0.0) > 0.5:
        return DefaultPlot(
            current, (PlotAxis("coarse_z", coarse, "m", "height of the scanner's zero (m)"),), "current over height"
        )
    time = PlotAxis("time", rows["t_ns"] * 1e-9, "s", "time since the start of the run (s)")
    return DefaultPlot(current, (time,), "current over time")


def _pattern(hops: NDArray[Any], height: Floats, name: str) -> DefaultPlot:
    """The first pass over a line or a rectangle."""
    pattern = passes(hops["x"], hops["y"], hops["line"], hops["pixel"])
    stop = int(pattern.begins[1]) if pattern.begins.size > 1 else hops.size
    first_pass = hops[:stop]
    row = pattern.row[:stop] - pattern.row[:stop].min()  # a resumed run may begin within a raster
    shape = (int(row.max()) + 1, int(first_pass["pixel"].max()) + 1)

    def spread(values: NDArray[Any]) -> Floats:
        out = np.full(shape, np.nan)
        out[row, first_pass["pixel"]] = values
        return out

    image, x, y = spread(height[:stop]), spread(first_pass["x"]), spread(first_pass["y"])
    signal = PlotAxis("height", image if pattern.raster else image[0], "m", _HEIGHT)
    left = first_pass[row == 0][np.argmin(first_pass["pixel"][row == 0])]
    u, v = x - left["x"], y - left["y"]
    fast, slow = u * pattern.along[0] + v * pattern.along[1], v * pattern.along[0] - u * pattern.along[1]
    if not pattern.raster:
        return DefaultPlot(signal, (_axis("distance", fast[0], "distance along the line (m)"),), f"height along {name}")
    columns, rows = _mean(x, 0), _mean(y, 1)
    if max(np.nanmax(np.abs(x - columns)), np.nanmax(np.abs(y - rows[:, None]))) <= _STRAIGHT * pattern.length:
        axes = (_axis("y", rows, "y (m)"), _axis("x", columns, "x (m)"))
    else:
        axes = (
            _axis("across", _mean(slow, 1), "along the slow axis (m)"),
            _axis("along", _mean(fast, 0), "along the fast axis (m)"),
        )
    return DefaultPlot(signal, axes, f"height of {name}" + (", first pass" if pattern.begins.size > 1 else ""))


def _mean(values: Floats, axis: int) -> Floats:
    """The mean of the finite values; NaN without any."""
    count = np.isfinite(values).sum(axis=axis)
    out: Floats = np.divide(np.nansum(values, axis=axis), count, out=np.full(count.shape, np.nan), where=count > 0)
    return out


def _axis(name: str, values: Floats, label: str) -> PlotAxis:
    """An axis without gaps: the position of a pixel that was never reached is interpolated."""
    reached = np.flatnonzero(np.isfinite(values))
    return PlotAxis(name, np.interp(np.arange(values.size), reached, values[reached]), "m", label)


def _coarse(hops: NDArray[Any], rows: NDArray[Any]) -> Floats:
    """Height [m] of the coarse stage at each hop above that at the first.

    The stage moves between segments only: the rows within a segment state its height, or the next row after a short
    segment.
    """
    stage_rows = rows[np.isfinite(rows["coarse_z"])]
    out = np.zeros(hops.size)
    if not stage_rows.size:
        return out
    for segment in np.unique(hops["segment"]):
        in_segment = hops["segment"] == segment
        first, last = hops["t_ns"][in_segment].min(), hops["t_ns"][in_segment].max()
        within = stage_rows["coarse_z"][(stage_rows["t_ns"] >= first) & (stage_rows["t_ns"] <= last)]
        after = min(int(np.searchsorted(stage_rows["t_ns"], last)), stage_rows.size - 1)
        out[in_segment] = np.median(within) if within.size else stage_rows["coarse_z"][after]
    return np.asarray(out - out[0], np.float64)
