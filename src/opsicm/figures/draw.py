"""draw(View) -> Figure: the only module that draws data with matplotlib, apart from the movie."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from opsicm.core.output_file import write_output
from opsicm.figures.colours import COLOUR, COLOUR_MAP, DIVERGING, MISSING
from opsicm.figures.view import CurvePanel, ImagePanel, Series, View, colour_limits

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
    "text.parse_math": False,  # titles hold names that users chose: a $ is a dollar
}
# Margins of a strip of images [inch]: about it, and beside and above each image.
_STRIP: Final = {"left": 0.65, "right": 1.0, "top": 0.35, "bottom": 0.55, "beside": 0.3, "above": 0.32}
_NOTE_WIDTH: Final = 17.0  # characters of a note per inch of its panel


def draw(view: View) -> Figure:
    """The figure of a view: one row per panel or a grid, axes labelled with quantity and unit."""
    with mpl.rc_context(_STYLE):
        return _draw_grid(view) if view.columns > 1 else _draw_rows(view)


def _draw_rows(view: View) -> Figure:
    heights = [_height(panel, view) for panel in view.panels]
    figure = Figure(figsize=(7.2, 0.7 + sum(heights)), layout="constrained")
    if any(isinstance(panel, CurvePanel) and panel.row_names for panel in view.panels):
        # With the usual margin the longest name loses its first letter at the left edge.
        figure.set_layout_engine("constrained", w_pad=0.15)
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
        _draw_note(axes, panel.note, 6.2)
    extents = [panel.extent for panel in view.panels if isinstance(panel, ImagePanel)]
    if view.share_x and extents:
        rows[-1, 0].set_xlim(extents[0][:2])
    figure.suptitle(view.title, fontsize=11.0)
    return figure


def _draw_note(axes: Axes, note: str, inches: float) -> None:
    if note:
        text = textwrap.fill(note, round(_NOTE_WIDTH * inches))
        axes.set_title(text, loc="left", fontsize=8.0, color="#555555")


def _draw_strip(view: View, images: list[ImagePanel]) -> Figure:
    """Images of one area on one colour scale: one colour bar, and the axes' numbers at the left and lower edge only.

    Laid out in inches: matplotlib's own layout of two dozen axes takes as long as drawing them.
    """
    columns, rows = view.columns, -(-len(images) // view.columns)
    left, right, bottom, top = images[0].extent
    width = 2.0
    height = width * min(max(abs((top - bottom) / (right - left)), 0.25), 2.5)
    size = (
        _STRIP["left"] + columns * (width + _STRIP["beside"]) + _STRIP["right"],
        _STRIP["bottom"] + rows * (height + _STRIP["above"]) + _STRIP["top"],
    )
    figure = Figure(figsize=size)
    shown = None
    for k, panel in enumerate(images):
        row, column = divmod(k, columns)
        x = _STRIP["left"] + column * (width + _STRIP["beside"])
        y = size[1] - _STRIP["top"] - (row + 1) * (height + _STRIP["above"])
        axes = figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1]))
        shown = _draw_image(None, axes, panel)
        if k + columns >= len(images):
            axes.set_xlabel(panel.x.label)
        else:
            axes.tick_params(labelbottom=False)
        if column == 0:
            axes.set_ylabel(panel.y.label)
        else:
            axes.tick_params(labelleft=False)
        _draw_note(axes, panel.note, width + _STRIP["beside"])
    if shown is not None:
        span = min(size[1] - _STRIP["top"] - _STRIP["bottom"], 4.0)
        x = 1.0 - (_STRIP["right"] - 0.1) / size[0]
        bar = figure.add_axes((x, 0.5 * (1.0 - span / size[1]), 0.14 / size[0], span / size[1]), label="<colorbar>")
        figure.colorbar(shown, cax=bar, label=images[0].value.label)
    figure.suptitle(view.title, fontsize=11.0, y=1.0 - 0.12 / size[1], va="top")
    return figure


def _height(panel: CurvePanel | ImagePanel, view: View) -> float:
    """Height of a panel among those above and below it [inch]."""
    if isinstance(panel, ImagePanel):
        return 2.8 if view.share_x else 4.6  # an image over time among curves needs no square
    return 0.5 + 0.24 * len(panel.row_names) if panel.row_names else 2.1 + 0.9 * (len(view.panels) == 1)


def _draw_grid(view: View) -> Figure:
    images = [panel for panel in view.panels if isinstance(panel, ImagePanel)]
    if len(images) == len(view.panels) and len(_same_colours(view, images[0])) == len(images):
        return _draw_strip(view, images)
    rows = -(-len(view.panels) // view.columns)
    figure = Figure(figsize=(0.6 + 4.2 * view.columns, 0.8 + 3.0 * rows), layout="constrained")
    grid = figure.subplots(rows, view.columns, squeeze=False)
    for k, panel in enumerate(view.panels):
        axes = grid.flat[k]
        if isinstance(panel, ImagePanel):
            alike = _same_colours(view, panel)
            shown = _draw_image(figure if len(alike) == 1 else None, axes, panel)
            if len(alike) > 1 and k == alike[-1]:
                beside = [grid.flat[j] for j in alike]
                figure.colorbar(shown, ax=beside, label=panel.value.label, shrink=0.8, aspect=30)
        else:
            _draw_curves(axes, panel)
            _draw_legend(axes, _legend_of(panel))
        axes.set_xlabel(panel.x.label)
        axes.set_ylabel(panel.y.label)
        _draw_note(axes, panel.note, 3.6)  # of 4.2 inches a colour bar beside it takes some
    for axes in grid.ravel()[len(view.panels) :]:
        axes.set_visible(False)
    figure.suptitle(view.title, fontsize=11.0)
    return figure


def _same_colours(view: View, panel: ImagePanel) -> list[int]:
    """Numbers of the images whose quantity and limits are those of `panel`: one colour bar serves them all."""
    return [
        k
        for k, other in enumerate(view.panels)
        if isinstance(other, ImagePanel)
        and (other is panel or (other.limits == panel.limits is not None and other.value == panel.value))
    ]


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
            # Alternately above on the left and below on the right, since two points may lie close together.
            above = len(axes.texts) % 2 == 1
            offset, side = ((-5.0, 7.0), "right") if above else ((5.0, -7.0), "left")
            for x, y in zip(series.x, series.y, strict=True):
                axes.annotate(series.label, (x, y), offset, textcoords="offset points", ha=side, va="center")
        elif series.style == "marks":
            axes.errorbar(
                series.x, series.y, series.band, fmt="o", ms=5.0, mfc="none", mew=1.5, color=colour, label=series.label
            )
        else:
            dash = "--" if series.style == "dashed" else "-"
            axes.plot(series.x, series.y, dash, lw=1.2, color=colour, label=series.label, rasterized=raster)
        if series.band is not None and series.style != "marks":
            below, above = np.broadcast_to(series.band, (2, series.x.size))
            axes.fill_between(series.x, series.y - below, series.y + above, color=colour, alpha=0.2, lw=0)
    if panel.row_names:
        axes.set_yticks(-np.arange(len(panel.row_names)), panel.row_names, fontsize=8.0)
        axes.set_ylim(0.6 - len(panel.row_names), 0.6)
        axes.grid(axis="y", visible=False)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)
    if panel.x_limits is not None:
        axes.set_xlim(*panel.x_limits)
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
    # A line and the marks on it have one label, and one entry.
    shown = list({s.label: s for s in panel.series if s.style not in ("named", "bars")}.values())
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
    low, high = colour_limits(panel)
    shown = axes.imshow(
        panel.values,
        extent=panel.extent,
        origin="lower",
        cmap=mpl.colormaps[COLOUR_MAP[panel.shows]].with_extremes(bad=MISSING),
        vmin=low,
        vmax=high,
        interpolation="nearest",
        aspect="equal" if panel.x.unit == panel.y.unit else "auto",
    )
    axes.grid(visible=False)
    # The middle of a diverging map is white.
    ink, paper = ("black", "white") if panel.shows in DIVERGING else ("white", "black")
    rim = [withStroke(linewidth=2.0, foreground=paper)]
    if panel.line is not None:
        x0, y0, x1, y1 = panel.line
        axes.plot([x0, x1], [y0, y1], lw=1.2, color=ink, path_effects=rim)
    if panel.scale_bar is not None:
        left, right, bottom, top = panel.extent
        x, y = left + 0.06 * (right - left), bottom + 0.07 * (top - bottom)
        label = f"{panel.scale_bar:g} {panel.x.unit}"
        axes.plot([x, x + panel.scale_bar], [y, y], lw=2.5, color=ink, solid_capstyle="butt", path_effects=rim)
        axes.text(x, y + 0.04 * (top - bottom), label, fontsize=8.0, va="bottom", color=ink, path_effects=rim)
        axes.set(xlim=(left, right), ylim=(bottom, top))
    if figure is not None:
        figure.colorbar(shown, ax=axes, label=panel.value.label)
    return shown


def save(figure: Figure, stem: Path, dpi: int = 150) -> tuple[Path, Path]:
    """Write the figure as `stem`.svg (vectors; the text stays text) and `stem`.png; returns both paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = stem.with_suffix(".svg"), stem.with_suffix(".png")
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        _write(figure, paths[0], dpi, {"Date": None})
        figure.set_layout_engine("none")  # keep the layout of the vectors: another one takes as long as the drawing
        _write(figure, paths[1], dpi, {"Software": None})
    return paths


def _write(figure: Figure, path: Path, dpi: int, metadata: dict[str, None]) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=dpi, metadata=metadata)
    write_output(path, buffer.getvalue(), "figure", "--out")


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.dpi = dpi
    # `savefig` would draw twice, the first time into nothing: the layout is made while drawing.
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as the bytes of an SVG that looks the same everywhere: its text is outlines, images have `dpi`."""
    buffer = io.BytesIO()
    figure.dpi = dpi
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "opsicm"}):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()
