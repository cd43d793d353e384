"""Figures of images: heights, series of them, a step edge; a line over time (kymograph); a section (XZ)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.figures.view import PIPETTE_SIGN, Axis, CurvePanel, ImagePanel, Series, View

F64 = NDArray[np.float64]


def image_view(heights: xr.DataArray, title: str | None = None) -> View:
    """An image of `heights` [m], dims (y, x), about their mean: axes in µm when x, y are coordinates, else pixels.

    Heights are in nm below a range of 1 µm, else in µm. attrs read: `level` ("after plane") and `lateral_note`.
    """
    values = np.asarray(heights.values, dtype=np.float64)
    rows, columns = values.shape
    known = "x" in heights.coords and "y" in heights.coords
    if known:
        left, right = _edges(np.asarray(heights["x"].values, dtype=np.float64))
        bottom, top = _edges(np.asarray(heights["y"].values, dtype=np.float64))
        extent = (1e6 * left, 1e6 * right, 1e6 * bottom, 1e6 * top)
        x, y = Axis("x", "µm"), Axis("y", "µm")
    else:
        extent = (0.0, float(columns), 0.0, float(rows))
        x, y = Axis("x", "pixel"), Axis("y", "pixel")
    finite = values[np.isfinite(values)]
    small = finite.size == 0 or float(np.ptp(finite)) < 1e-6
    unit, scale = ("nm", 1e9) if small else ("µm", 1e6)
    level = str(heights.attrs.get("level", "as given"))
    missing = int(values.size - finite.size)
    notes = [str(heights.attrs.get("lateral_note", "")) or ("" if known else "lateral scale unknown")]
    notes.append(f"{missing} pixels without height are blank" if missing else "")
    panel = ImagePanel(
        x, y, Axis("height", unit), scale * values, extent, note="; ".join(note for note in notes if note)
    )
    caption = f"Heights {level}; up is positive; colours end at the 1st and 99th percentile."
    return View("image", title or f"Heights {level}", (panel,), caption)


def _edges(centres: F64) -> tuple[float, float]:
    pitch = float(centres[1] - centres[0]) if centres.size > 1 else 2.0 * float(centres[0])
    return float(centres[0]) - 0.5 * pitch, float(centres[-1]) + 0.5 * pitch


def image_series_view(
    images: Sequence[tuple[str, F64]], size: tuple[float, float], title: str, columns: int = 4, scale_bar: float = 5e-6
) -> View:
    """Images of heights side by side: one colour scale for all, from the 1st to the 99th percentile of them together.

    `images` (label, heights [m] (row, column) about a zero common to all, NaN without contact); `size` (width, height)
    and the fixed length `scale_bar` [m].
    """
    together = np.concatenate([1e6 * image[np.isfinite(image)] for _, image in images])
    low, high = (float(v) for v in np.percentile(together, [1.0, 99.0]))
    extent = (0.0, 1e6 * size[0], 0.0, 1e6 * size[1])
    panels = tuple(
        ImagePanel(
            Axis("x", "µm"),
            Axis("y", "µm"),
            Axis("height", "µm"),
            1e6 * image,
            extent,
            limits=(low, high),
            note=label,
            scale_bar=1e6 * scale_bar,
        )
        for label, image in images
    )
    caption = (
        "One colour scale for all images; it ends at the 1st and 99th percentile of them together. Up is positive."
    )
    return View("image_series", title, panels, caption, columns=columns)


def step_view(image: F64, size: tuple[float, float], profile_x: F64, profile: F64, levels: tuple[float, float]) -> View:
    """A step edge: the levelled image and its heights averaged along the edge, with the two terraces' levels.

    `image` [m] (row, column); `size` [m]; `profile_x` [m], `profile` [m] (n,), the mean over rows; `levels` [m].
    """
    extent = (0.0, 1e6 * size[0], 0.0, 1e6 * size[1])
    x = 1e6 * profile_x
    ends = np.array([x[0], x[-1]])
    panels = (
        ImagePanel(
            Axis("x", "µm"),
            Axis("y", "µm"),
            Axis("height", "nm"),
            1e9 * image,
            extent,
            note="levelled by the terraces' common tilt",
            scale_bar=scale_bar_length(0.25e6 * size[0]),
        ),
        CurvePanel(
            Axis("x", "µm"),
            Axis("height", "nm"),
            (
                Series("mean over the rows", x, 1e9 * profile, "height"),
                Series("lower terrace", ends, np.full(2, 1e9 * levels[0]), "limit", "dashed"),
                Series("upper terrace", ends, np.full(2, 1e9 * levels[1]), "limit", "dashed"),
            ),
            "up is positive",
        ),
    )
    return View("step_edge", "Step edge", panels)


def scale_bar_length(length: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(m for m in (1.0, 2.0, 5.0) if m * power <= length) * power)


def kymograph_view(change: xr.DataArray) -> View:
    """Height change over position and time: `change` [m], dims (line, pixel), coordinates `x` [m], `t` [s]."""
    x, t = change["x"].values * 1e6, change["t"].values
    half = 0.5 * (x[-1] - x[0]) / max(x.size - 1, 1)
    panel = ImagePanel(
        Axis("position along the line", "µm"),
        Axis("time", "s"),
        Axis("height change", "nm"),
        change.values * 1e9,
        (float(x[0]) - half, float(x[-1]) + half, float(t[0]), float(t[-1])),
        shows="change",
        note="since the first complete pass; up is positive; blank: no contact",
    )
    return View("kymograph", "Height along the line", (panel,))


def section_view(trace: xr.Dataset, title: str = "Ion current above the surface") -> View:
    """XZ section as difference from each approach's mode, with and without geometry alone, and mean profiles."""
    x, d = trace["x"].values * 1e6, trace["distance"].values * 1e9
    moved = x.size > 1 and bool(np.ptp(x) > 0.0)
    across = x if moved else np.arange(x.size, dtype=np.float64)
    axis = Axis("position along the line", "µm") if moved else Axis("approach", "")
    half = 0.5 * float(np.ptp(across)) / max(across.size - 1, 1)
    extent = (float(across.min()) - half, float(across.max()) + half, 0.0, float(d[-1] + 0.5 * (d[1] - d[0])))
    height, current = Axis("distance from the fitted surface", "nm"), Axis("current less mode", "pA")
    # One colour scale for both, from the net difference: the steep part near the surface would dominate another.
    net = trace["net"].values.T * 1e12
    limit = float(np.nanpercentile(np.abs(net), 99.0)) or 1.0
    panels = (
        ImagePanel(
            axis,
            height,
            current,
            trace["difference"].values.T * 1e12,
            extent,
            "difference",
            (-limit, limit),
            "as measured, less drift and mode of each approach",
        ),
        ImagePanel(
            axis,
            height,
            current,
            net,
            extent,
            "difference",
            (-limit, limit),
            f"less geometry alone ({trace.attrs['template']})",
        ),
        CurvePanel(
            height,
            current,
            (
                Series("as measured", d, _mean(trace["difference"].values) * 1e12, "pipette"),
                Series("geometry alone", d, _mean(trace["null"].values) * 1e12, "limit", "dashed"),
                Series("net", d, _mean(net.T), "neutral"),
            ),
            f"mean over the approaches; {PIPETTE_SIGN}",
            (-4.0 * limit, 2.0 * limit),
        ),
    )
    return View("section", title, panels)


def _mean(values: F64) -> F64:
    finite = np.isfinite(values)
    number = finite.sum(axis=0)
    total = np.where(finite, values, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
