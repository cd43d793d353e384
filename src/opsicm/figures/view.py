"""A View: the content of a figure before it is drawn. Tests compare Views; the console sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.colours import DIVERGING, Role, Shows


@dataclass(frozen=True, slots=True)
class Axis:
    """A quantity and the unit it is shown in; the numbers of a panel are in that unit."""

    quantity: str
    unit: str

    @property
    def label(self) -> str:
        """`quantity (unit)`, or the quantity alone when it has no unit."""
        return f"{self.quantity} ({self.unit})" if self.unit else self.quantity


POTENTIAL: Final = Axis("potential vs Li/Li+", "V")
PIPETTE_SIGN: Final = "positive pipette current flows out of the pipette"
CELL_SIGN: Final = "negative cell current lithiates"


# Longest span [s] of each unit of time: nobody reads 155 000 s, nor 0.02 h.
_SPANS: Final = ((600.0, "s", 1.0), (3.0 * 3600.0, "min", 1.0 / 60.0), (float("inf"), "h", 1.0 / 3600.0))


def time_axis(span: float, quantity: str = "time") -> tuple[Axis, float]:
    """The axis of a time that runs over `span` [s], and the factor from seconds to its unit.

    Seconds up to ten minutes, minutes up to three hours, then hours.
    """
    unit, factor = next((unit, factor) for longest, unit, factor in _SPANS if not span > longest)
    return Axis(quantity, unit), factor


def time_text(t: float, span: float) -> str:
    """A time `t` [s] of a run that lasts `span` [s], as "84 s", "12.5 min" or "3.25 h"."""
    axis, factor = time_axis(span)
    digits = {"s": 0, "min": 1, "h": 2}[axis.unit]
    return f"{factor * t:.{digits}f} {axis.unit}"


_PREFIXES: Final = ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n"), (1e12, "p"))


def scaled_axis(quantity: str, unit: str, largest: float) -> tuple[Axis, float]:
    """The axis on which `largest` (in `unit`) is a number between 1 and 1000, and the factor from SI to its unit."""
    factor, prefix = next((one for one in _PREFIXES if largest * one[0] >= 1.0), _PREFIXES[-1])
    return Axis(quantity, f"{prefix}{unit}"), factor


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int = 4000
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """About `most` points of a long record: the lowest and the highest of every so many rows, so that spikes stay.

    The first row of every gap (NaN) stays too, so that a line is broken there.
    """
    rows = rows_kept(y, most)
    return x[rows], y[rows]


def rows_kept(y: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Which rows `thinned` keeps."""
    if y.size <= most:
        return np.arange(y.size)
    missing = ~np.isfinite(y)
    known = np.flatnonzero(~missing)
    group = max(-(-2 * known.size // most), 1)
    count = known.size // group
    block = y[known[: count * group]].reshape(count, group)
    begin = group * np.arange(count)
    ends = np.concatenate(
        (begin + block.argmin(axis=1), begin + block.argmax(axis=1), np.arange(count * group, known.size))
    )
    gaps = np.flatnonzero(missing & ~np.append(True, missing[:-1]))
    return np.unique(np.concatenate((known[ends], gaps)))


@dataclass(frozen=True, slots=True)
class Series:
    """A curve; `role` decides its colour, so that a quantity has the same colour in every figure.

    In a family of curves `shade` (0–1, its rank in the family) decides instead. `named` points carry their
    label beside them. `bars` lie between pairs of points, with NaN after each pair. `band` is the distance to either
    side (n,), or below and above (2, n).
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    role: Role = "neutral"
    style: Literal["line", "points", "dashed", "marks", "named", "bars"] = "line"
    band: NDArray[np.float64] | None = None
    shade: float | None = None


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """A panel of curves over one x axis. `note` states the sign convention where one matters.

    `row_names` stand beside y = 0, −1, −2 … instead of numbers, where a panel has rows of bars.
    """

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    note: str = ""
    y_limits: tuple[float, float] | None = None
    x_limits: tuple[float, float] | None = None
    row_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImagePanel:
    """A panel that shows `values` [row, column]; `extent` (left, right, bottom, top) is in the axes' units.

    What it `shows` decides its colour map; the colour limits of a diverging one are symmetric about zero. `scale_bar`
    is its length in the unit of x; in a grid of images the axes' numbers then stand at its left and lower edge only.
    `line` (x, y of its start, x, y of its end) is drawn across the image: a profile was taken there.
    """

    x: Axis
    y: Axis
    value: Axis
    values: NDArray[np.float64]
    extent: tuple[float, float, float, float]
    shows: Shows = "height"
    limits: tuple[float, float] | None = None
    note: str = ""
    scale_bar: float | None = None
    line: tuple[float, float, float, float] | None = None


def colour_limits(panel: ImagePanel) -> tuple[float, float]:
    """Where the colours of an image end: its limits, else the 1st and 99th percentile, alike on both sides of the zero
    of a diverging map. Fails (all NaN) for an image without any value."""
    if panel.limits is not None:
        return panel.limits
    low, high = (float(value) for value in np.nanpercentile(panel.values, [1.0, 99.0]))
    return (-max(abs(low), abs(high)), max(abs(low), abs(high))) if panel.shows in DIVERGING else (low, high)


@dataclass(frozen=True, slots=True)
class View:
    """A figure: panels from top to bottom, or row by row in `columns`.

    Panels with equal x axes share it when `share_x` is set, and with it the image's extent if there is one; in a series
    of images with one set of limits, the colour bar is drawn once.
    """

    name: str
    title: str
    panels: tuple[CurvePanel | ImagePanel, ...]
    caption: str = ""
    share_x: bool = False
    columns: int = 1


def to_csv(view: View) -> str:
    """The data of a figure as comma-separated text: one table per panel, a blank line between.

    A table of curves has a column of x, of y and of each band for every series, named with its unit; a table of an
    image has one row per pixel (x and y of its centre, value). Numbers are in the units of the axes; lines that begin
    with # hold title, panel and note.
    """
    lines = [f"# {view.title}"]
    for number, panel in enumerate(view.panels, start=1):
        note = f": {panel.note}" if panel.note else ""
        lines += ["", f"# panel {number}{note}"]
        columns = _curve_columns(panel) if isinstance(panel, CurvePanel) else _pixel_columns(panel)
        lines.append(",".join(f'"{name}"' for name, _ in columns))
        longest = max((values.size for _, values in columns), default=0)
        text = [[f"{value:.7g}" if np.isfinite(value) else "" for value in values.tolist()] for _, values in columns]
        text = [column + [""] * (longest - len(column)) for column in text]
        lines += [",".join(row) for row in zip(*text, strict=True)]
    return "\n".join(lines) + "\n"


Columns = list[tuple[str, NDArray[np.float64]]]


def _curve_columns(panel: CurvePanel) -> Columns:
    columns: Columns = []
    for series in panel.series:
        columns += [(f"{series.label}: {panel.x.label}", series.x), (f"{series.label}: {panel.y.label}", series.y)]
        if series.band is not None:
            names = ("band",) if series.band.ndim == 1 else ("band below", "band above")
            columns += [
                (f"{series.label}: {name} ({panel.y.unit or '1'})", values)
                for name, values in zip(names, np.atleast_2d(series.band), strict=True)
            ]
    return columns


def _pixel_columns(panel: ImagePanel) -> Columns:
    rows, pixels = panel.values.shape
    left, right, bottom, top = panel.extent
    x = left + (np.arange(pixels) + 0.5) * (right - left) / pixels
    y = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    return [
        (panel.x.label, np.tile(x, rows)),
        (panel.y.label, np.repeat(y, pixels)),
        (panel.value.label, panel.values.ravel()),
    ]
