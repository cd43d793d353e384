"""`/entry/data`: what any viewer of NeXus files opens a run on. An image of a raster, the profile of a line, the height
over time of a place, the current over time or, for a tower, over height. It opens without a plug-in.

The step with the most hops is drawn, and of a pattern that is run through again and again the first pass: it is whole
unless the run ended in it, and nothing has swollen between its pixels that later passes do not show better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.record.nexus_file import column, group_of, text
from opsicm.record.views import apart, passes

Floats = NDArray[np.float64]

_HEIGHT: Final = "measured height of the pipette at the stop (m)"
_STRAIGHT: Final = 1e-3  # of a row: a raster that is turned by less lies along x and y


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the plot; `words` are its label."""

    name: str
    values: Floats
    unit: str
    words: str


@dataclass(frozen=True, slots=True)
class Plot:
    """`signal` over `axes`, slowest first."""

    signal: Axis
    axes: tuple[Axis, ...]
    title: str


def write(entry: h5py.Group, hops: NDArray[Any], rows: NDArray[Any]) -> None:
    """Make `/entry/data` from the hop records and the slow rows."""
    drawn = plot(hops, rows)
    data = group_of(entry, "data", "NXdata")
    names = [axis.name for axis in drawn.axes]
    data.attrs.update(signal=drawn.signal.name, axes=names[0] if len(names) == 1 else names)
    text(data, "title", drawn.title)
    for place, axis in enumerate(drawn.axes):
        data.attrs[f"{axis.name}_indices"] = place
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
        item.attrs["long_name"] = axis.words


def plot(hops: NDArray[Any], rows: NDArray[Any]) -> Plot:
    """What the run is best seen in."""
    if not hops.size:
        return _current(rows)
    steps, count = np.unique(hops["step"], return_counts=True)
    step = steps[np.argmax(count)]
    mine = hops[hops["step"] == step]
    height = mine["z_stop"] + _coarse(mine, rows)
    height[mine["outcome"] != 0] = np.nan
    name = step.decode("utf-8", "replace") if isinstance(step, bytes) else str(step)
    if not apart(mine["x"], mine["y"], mine["pixel"]):
        time = Axis("time", mine["t_ns"] * 1e-9, "s", "time since the start of the run (s)")
        return Plot(Axis("height", height, "m", _HEIGHT), (time,), f"height over time, {name}")
    return _pattern(mine, height, name)


def _current(rows: NDArray[Any]) -> Plot:
    current = Axis("pipette_current", rows["pipette_current"], "A", "pipette current (A)")
    coarse = rows["coarse_z"]
    # A tower travels most of the time; a pipette that is parked has travelled there.
    if coarse.size > 1 and np.mean(np.diff(coarse) != 0.0) > 0.5:
        return Plot(
            current, (Axis("coarse_z", coarse, "m", "height of the scanner's zero (m)"),), "current over height"
        )
    time = Axis("time", rows["t_ns"] * 1e-9, "s", "time since the start of the run (s)")
    return Plot(current, (time,), "current over time")


def _pattern(hops: NDArray[Any], height: Floats, name: str) -> Plot:
    """The first pass over a line or a rectangle."""
    found = passes(hops["x"], hops["y"], hops["line"], hops["pixel"])
    stop = int(found.begins[1]) if found.begins.size > 1 else hops.size
    passed, row = hops[:stop], found.row[:stop] - found.row[:stop].min()  # a run that goes on with another's raster
    shape = (int(row.max()) + 1, int(passed["pixel"].max()) + 1)

    def spread(values: NDArray[Any]) -> Floats:
        out = np.full(shape, np.nan)
        out[row, passed["pixel"]] = values
        return out

    image, x, y = spread(height[:stop]), spread(passed["x"]), spread(passed["y"])
    signal = Axis("height", image if found.raster else image[0], "m", _HEIGHT)
    left = passed[row == 0][np.argmin(passed["pixel"][row == 0])]
    u, v = x - left["x"], y - left["y"]
    fast, slow = u * found.along[0] + v * found.along[1], v * found.along[0] - u * found.along[1]
    if not found.raster:
        return Plot(signal, (_axis("distance", fast[0], "distance along the line (m)"),), f"height along {name}")
    columns, rows = _mean(x, 0), _mean(y, 1)
    if max(np.nanmax(np.abs(x - columns)), np.nanmax(np.abs(y - rows[:, None]))) <= _STRAIGHT * found.length:
        axes = (_axis("y", rows, "y (m)"), _axis("x", columns, "x (m)"))
    else:
        axes = (
            _axis("across", _mean(slow, 1), "along the slow axis (m)"),
            _axis("along", _mean(fast, 0), "along the fast axis (m)"),
        )
    return Plot(signal, axes, f"height of {name}" + (", first pass" if found.begins.size > 1 else ""))


def _mean(values: Floats, axis: int) -> Floats:
    """The mean of what is there; NaN where nothing is."""
    count = np.isfinite(values).sum(axis=axis)
    out: Floats = np.divide(np.nansum(values, axis=axis), count, out=np.full(count.shape, np.nan), where=count > 0)
    return out


def _axis(name: str, values: Floats, words: str) -> Axis:
    """An axis without gaps: a pixel that was never reached lies where its neighbours say."""
    known = np.flatnonzero(np.isfinite(values))
    return Axis(name, np.interp(np.arange(values.size), known, values[known]), "m", words)


def _coarse(hops: NDArray[Any], rows: NDArray[Any]) -> Floats:
    """[m] by how much the coarse stage stood higher at each hop than at the first: it moves between segments only, and
    the row that tells is one within the segment, or the next after a short one."""
    known = rows[np.isfinite(rows["coarse_z"])]
    out = np.zeros(hops.size)
    if not known.size:
        return out
    for segment in np.unique(hops["segment"]):
        mine = hops["segment"] == segment
        first, last = hops["t_ns"][mine].min(), hops["t_ns"][mine].max()
        within = known["coarse_z"][(known["t_ns"] >= first) & (known["t_ns"] <= last)]
        after = min(int(np.searchsorted(known["t_ns"], last)), known.size - 1)
        out[mine] = np.median(within) if within.size else known["coarse_z"][after]
    return np.asarray(out - out[0], np.float64)
