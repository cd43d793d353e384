"""draw(View) -> Figure: the only module that draws with matplotlib, apart from the movie."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from opsicm.figures.colours import COLOUR, COLOUR_MAP, DIVERGING
from opsicm.figures.view import CurvePanel, ImagePanel, Series, View

_FAMILY: Final = mpl.colormaps[COLOUR_MAP["family"]]
_MOST_NAMED: Final = 8
_MOST_INSIDE: Final = 3  # a longer legend would cover curves and goes beside the panel
_STYLE: Final[Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlesize": 10.0,
    "legend.frameon": True,
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.0,
    "figure.dpi": 110,
    "agg.path.chunksize": 10000,
}


def draw(view: View) -> Figure:
    """The figure of a view: one row per panel or a grid, axes labelled with quantity and unit."""
    if view.columns > 1:
        return _draw_grid(view)
    with mpl.rc_context(_STYLE):
        heights = [_height(panel, len(view.panels)) for panel in view.panels]
        figure = Figure(figsize=(7.2, 0.7 + sum(heights)), layout="constrained")
        rows = figure.subplots(len(view.panels), 1, squeeze=False, sharex=view.share_x, height_ratios=heights)
        explained: Legend = ()
        for axes, panel in zip(rows[:, 0], view.panels, strict=True):
            if isinstance(panel, ImagePanel):
                _draw_image(figure, axes, panel)
            else:
                _draw_curves(axes, panel)
                if explained != (explained := _legend_of(panel)):
                    _draw_legend(axes, explained)
            if not view.share_x or panel is view.panels[-1]:
                axes.set_xlabel(panel.x.label)
            axes.set_ylabel(panel.y.label)
            if panel.note:
                axes.set_title(panel.note, loc="left", fontsize=8.0, color="#555555")
        extents = [panel.extent for panel in view.panels if isinstance(panel, ImagePanel)]
        if view.share_x and extents:
            rows[-1, 0].set_xlim(extents[0][:2])
        figure.suptitle(view.title, fontsize=11.0)
    return figure


def _height(panel: CurvePanel | ImagePanel, panels: int) -> float:
    """Height of a panel among so many, one above the other [inch]."""
    if isinstance(panel, ImagePanel):
        return 4.6
    return 0.5 + 0.24 * len(panel.row_names) if panel.row_names else 2.1 + 0.9 * (panels == 1)


def _draw_grid(view: View) -> Figure:
    rows = -(-len(view.panels) // view.columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(0.6 + 2.3 * view.columns, 0.8 + 2.1 * rows), layout="constrained")
        grid = figure.subplots(rows, view.columns, squeeze=False).ravel()
        limits = {panel.limits for panel in view.panels if isinstance(panel, ImagePanel)}
        together = len(limits) == 1 and None not in limits and len(view.panels) > 1
        shown = None
        for axes, panel in zip(grid, view.panels, strict=False):
            if isinstance(panel, ImagePanel):
                shown = _draw_image(None if together else figure, axes, panel)
            else:
                _draw_curves(axes, panel)
                _draw_legend(axes, _legend_of(panel))
            if not isinstance(panel, ImagePanel) or panel.scale_bar is None:
                axes.set_xlabel(panel.x.label)
                axes.set_ylabel(panel.y.label)
            if panel.note:
                axes.set_title(panel.note, loc="left", fontsize=8.0, color="#555555")
        for axes in grid[len(view.panels) :]:
            axes.set_visible(False)
        if together and shown is not None:
            image = next(panel for panel in view.panels if isinstance(panel, ImagePanel))
            used = [a for a, panel in zip(grid, view.panels, strict=False) if isinstance(panel, ImagePanel)]
            figure.colorbar(shown, ax=used, label=image.value.label, shrink=0.8, aspect=30)
        figure.suptitle(view.title, fontsize=11.0)
    return figure


def _draw_curves(axes: Axes, panel: CurvePanel) -> None:
    for series in panel.series:
        colour = _colour(series)
        # Thousands of points are rasterised to keep the file small.
        raster = series.x.size > 5000
        if series.style == "points":
            axes.plot(series.x, series.y, ".", ms=2.5, color=colour, label=series.label, rasterized=raster)
        elif series.style == "bars":
            axes.plot(series.x, series.y, lw=7.0, solid_capstyle="butt", color=colour)
        elif series.style == "named":
            axes.plot(series.x, series.y, "o", ms=4.0, color=colour)
            # Alternately above and below, since two labels may lie close together.
            aside = 7.0 if len(axes.texts) % 2 else -7.0
            for x, y in zip(series.x, series.y, strict=True):
                axes.annotate(series.label, (x, y), (5.0, aside), textcoords="offset points", va="center")
        elif series.style == "marks":
            axes.errorbar(
                series.x, series.y, series.band, fmt="o", ms=5.0, mfc="none", mew=1.5, color=colour, label=series.label
            )
        else:
            dash = "--" if series.style == "dashed" else "-"
            axes.plot(series.x, series.y, dash, lw=1.2, color=colour, label=series.label, rasterized=raster)
        if series.band is not None and series.style != "marks":
            axes.fill_between(series.x, series.y - series.band, series.y + series.band, color=colour, alpha=0.2, lw=0)
    if panel.row_names:
        axes.set_yticks(-np.arange(len(panel.row_names)), panel.row_names, fontsize=8.0)
        axes.set_ylim(0.6 - len(panel.row_names), 0.6)
        axes.grid(axis="y", visible=False)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)
    if not panel.x.unit and all(np.all(series.x == np.round(series.x)) for series in panel.series):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # counts


def _colour(series: Series) -> Any:
    return COLOUR[series.role] if series.shade is None else _FAMILY(0.08 + 0.82 * series.shade)


Legend = tuple[tuple[str, Any], ...]


def _legend_of(panel: CurvePanel) -> Legend:
    """(label, colour) of each entry of a panel's legend; empty for a single curve.

    Of a family of more than `_MOST_NAMED` curves only the first and the last are named, which shows the order of
    shades.
    """
    shown = [series for series in panel.series if series.style not in ("named", "bars")]
    if len(shown) > _MOST_NAMED:
        family = [series.label for series in shown if series.shade is not None]
        shown = [series for series in shown if series.label not in family[1:-1]]
    return tuple((series.label, _colour(series)) for series in shown) if len(shown) > 1 else ()


def _draw_legend(axes: Axes, legend: Legend) -> None:
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    shown = [label for label, _ in legend]
    if len(shown) > _MOST_INSIDE:
        axes.legend([named[label] for label in shown], shown, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    elif shown:
        axes.legend([named[label] for label in shown], shown, loc="best")


def _draw_image(figure: Figure | None, axes: Axes, panel: ImagePanel) -> AxesImage:
    if panel.limits is not None:
        low, high = panel.limits
    else:
        low, high = np.nanpercentile(panel.values, [1.0, 99.0])
        if panel.shows in DIVERGING:
            low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    shown = axes.imshow(
        panel.values,
        extent=panel.extent,
        origin="lower",
        cmap=COLOUR_MAP[panel.shows],
        vmin=low,
        vmax=high,
        interpolation="nearest",
        aspect="equal" if panel.x.unit == panel.y.unit else "auto",
    )
    axes.grid(visible=False)
    if panel.scale_bar is not None:
        _scale_bar(axes, panel, panel.scale_bar)
    if figure is not None:
        figure.colorbar(shown, ax=axes, label=panel.value.label)
    return shown


def _scale_bar(axes: Axes, panel: ImagePanel, length: float) -> None:
    left, right, bottom, top = panel.extent
    x, y = left + 0.06 * (right - left), bottom + 0.07 * (top - bottom)
    rim = [withStroke(linewidth=3.0, foreground="black")]
    axes.plot([x, x + length], [y, y], lw=2.5, color="white", solid_capstyle="butt", path_effects=rim)
    label = f"{length:g} {panel.x.unit}"
    axes.text(x, y + 0.03 * (top - bottom), label, fontsize=8.0, va="bottom", color="white", path_effects=rim)
    axes.set_xticks([])
    axes.set_yticks([])


def save(figure: Figure, stem: Path, dpi: int = 150) -> tuple[Path, Path]:
    """Write the figure as `stem`.svg (vectors; the text stays text) and `stem`.png; returns both paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = stem.with_suffix(".svg"), stem.with_suffix(".png")
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        figure.savefig(paths[0], dpi=dpi, metadata={"Date": None})
        figure.set_layout_engine("none")  # keep the layout of the vectors: another one takes as long as the drawing
        figure.savefig(paths[1], dpi=dpi, metadata={"Software": None})
    return paths


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
