"""draw(View) -> Figure: the only place that knows matplotlib."""

from __future__ import annotations

import io
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opsicm.figures.view import Curves, Image, Role, View

# Okabe and Ito's palette: told apart by readers with any colour vision.
COLOUR: Final[dict[Role, str]] = {
    "height": "#0072B2",
    "pipette": "#009E73",
    "cell": "#D55E00",
    "potential": "#444444",
    "lithiation": "#0072B2",
    "delithiation": "#E69F00",
    "model": "#CC79A7",
    "limit": "#999999",
    "neutral": "#222222",
}
_STYLE: Final[Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 10.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.dpi": 110,
    "agg.path.chunksize": 10000,
}


def draw(view: View) -> Figure:
    """The figure of a view: one row per panel, axes labelled with quantity and unit."""
    with mpl.rc_context(_STYLE):
        heights = [4.6 if isinstance(panel, Image) else 2.1 + 0.9 * (len(view.panels) == 1) for panel in view.panels]
        figure = Figure(figsize=(7.2, 0.7 + sum(heights)), layout="constrained")
        rows = figure.subplots(len(view.panels), 1, squeeze=False, sharex=view.share_x, height_ratios=heights)
        for axes, panel in zip(rows[:, 0], view.panels, strict=True):
            if isinstance(panel, Image):
                _draw_image(figure, axes, panel)
            else:
                _draw_curves(axes, panel)
            if not view.share_x or panel is view.panels[-1]:
                axes.set_xlabel(panel.x.label)
            axes.set_ylabel(panel.y.label)
            if panel.note:
                axes.set_title(panel.note, loc="left", fontsize=8.0, color="#555555")
        figure.suptitle(view.title, fontsize=11.0)
    return figure


def _draw_curves(axes: Axes, panel: Curves) -> None:
    for series in panel.series:
        colour = COLOUR[series.role]
        # Thousands of points are one pixel each in print: rasterised they stay a small file.
        raster = series.x.size > 5000
        if series.style == "points":
            axes.plot(series.x, series.y, ".", ms=2.5, color=colour, label=series.label, rasterized=raster)
        else:
            dash = "--" if series.style == "dashed" else "-"
            axes.plot(series.x, series.y, dash, lw=1.2, color=colour, label=series.label, rasterized=raster)
        if series.band is not None:
            axes.fill_between(series.x, series.y - series.band, series.y + series.band, color=colour, alpha=0.2, lw=0)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)
    if len(panel.series) > 1:
        axes.legend(loc="best")


def _draw_image(figure: Figure, axes: Axes, panel: Image) -> None:
    if panel.limits is not None:
        low, high = panel.limits
    else:
        low, high = np.nanpercentile(panel.values, [1.0, 99.0])
        if panel.diverging:
            low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    shown = axes.imshow(
        panel.values,
        extent=panel.extent,
        origin="lower",
        cmap="RdBu_r" if panel.diverging else "viridis",
        vmin=low,
        vmax=high,
        interpolation="nearest",
        aspect="equal" if panel.x.unit == panel.y.unit else "auto",
    )
    axes.grid(visible=False)
    figure.colorbar(shown, ax=axes, label=panel.value.label)


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
