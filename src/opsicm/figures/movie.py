"""A movie is Views of one structure after the other: write_movie(views, path).

The first View is drawn; of those after it only the data are exchanged, so that the axes stay where they are.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.animation import FFMpegWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Picture

from opsicm.core.errors import BadInput, Problem
from opsicm.core.output_file import write_output
from opsicm.figures.draw import draw
from opsicm.figures.images import image_view
from opsicm.figures.view import POTENTIAL, Axis, CurvePanel, ImagePanel, Series, View, thinned, time_axis, time_text

F64 = NDArray[np.float64]
_DPI: Final = 90
_IMAGES_A_SECOND: Final = 2.0
_PASSES_A_SECOND: Final = 10.0


def line_frames(change: xr.DataArray, most: int = 60) -> list[View]:
    """The profile of a line pass by pass above its potential with a moving mark; at most `most` frames.

    `change` as the trace of `kymograph_largest_change`. Both axes keep their limits.
    """
    seconds, x = change["t"].values, 1e6 * change["x"].values
    time, unit = time_axis(float(np.ptp(seconds)))
    t, potential = unit * (seconds - seconds[0]), change["potential"].values
    heights = 1e9 * (change.values + change["first"].values)
    heights -= np.nanmin(heights)
    first = heights[int(np.flatnonzero(np.isfinite(heights).all(axis=1))[0])]
    top = 1.05 * float(np.nanmax(heights))
    ends = _with_margin(potential)
    shown = np.unique(np.linspace(0, t.size - 1, min(most, t.size)).round().astype(int))
    views = []
    for k in shown:
        profile = CurvePanel(
            Axis("position along the line", "µm"),
            Axis("height", "nm"),
            (Series("first pass", x, first, "limit", "dashed"), Series("now", x, heights[k], "height")),
            f"{time_text(float(seconds[k] - seconds[0]), float(np.ptp(seconds)))}, {potential[k]:.3f} V",
            (0.0, top),
        )
        clock = _clock_panel(time, t, potential, float(t[k]), ends)
        views.append(View("line_movie", "Height along the line", (profile, clock)))
    return views


def image_frames(
    images: Sequence[tuple[str, xr.DataArray]], at: F64, t: F64, potential: F64, title: str = "Images"
) -> list[View]:
    """One image after the other on one colour scale, above the potential with a mark at its time.

    `images` (label, heights [m] (y, x) about a zero common to all, coordinates [m]) taken at the times `at` [s]; `t`
    [s], `potential` [V] (n,) of the run.
    """
    together = np.concatenate([image.values[np.isfinite(image.values)] for _, image in images])
    low, high = (float(v) for v in np.percentile(together, (1.0, 99.0)))
    unit, factor = ("µm", 1e6) if high - low > 1e-6 else ("nm", 1e9)
    time, per_second = time_axis(float(np.ptp(t)))
    views = []
    for (label, image), when in zip(images, at.tolist(), strict=True):
        panel = image_view(image).panels[0]
        assert isinstance(panel, ImagePanel)
        shown = replace(
            panel,
            value=Axis("height", unit),
            values=factor * image.values,
            limits=(factor * low, factor * high),
            note=label,
        )
        now = per_second * (when - float(t[0]))
        clock = _clock_panel(time, per_second * (t - t[0]), potential, now, _with_margin(potential))
        views.append(View("image_movie", title, (shown, clock)))
    return views


def _clock_panel(time: Axis, t: F64, potential: F64, now: float, ends: tuple[float, float]) -> CurvePanel:
    mark = Series("now", np.full(2, now), np.array(ends), "cell")
    return CurvePanel(time, POTENTIAL, (Series("potential", *thinned(t, potential), "potential"), mark), y_limits=ends)


def _with_margin(values: F64) -> tuple[float, float]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (high - low) or 0.01
    return low - margin, high + margin


def write_movie(views: Sequence[View], path: Path, per_second: float | None = None) -> Path:
    """Write `views` of one structure as a movie: .gif, or .mp4 where ffmpeg is found.

    `per_second` of them are shown a second; by default ten passes of a line, or two images.

    Raises `BadInput` for another name, for .mp4 without ffmpeg, and for no views.
    """
    kind = path.suffix.lower()
    if kind not in (".gif", ".mp4"):
        raise BadInput(Problem("the movie", path.name, "movies are .gif or .mp4", "name it so, as movie.gif"))
    encoder = _encoder() if kind == ".mp4" else None
    if kind == ".mp4" and encoder is None:
        limit = "needs the program ffmpeg, which is not on the PATH, or the package imageio-ffmpeg, which brings it"
        raise BadInput(Problem("the movie", path.name, limit, "pip install imageio-ffmpeg, or name a .gif"))
    if path.is_symlink():
        limit = f"is a symbolic link to {path.readlink()}, and what it names is not overwritten"
        raise BadInput(Problem("the movie", path.name, limit, "remove the link, or name a new file"))
    if not views:
        raise BadInput(
            Problem("the movie", path.name, "needs at least one frame", "choose a run with images or a line")
        )
    if per_second is None:
        per_second = _IMAGES_A_SECOND if isinstance(views[0].panels[0], ImagePanel) else _PASSES_A_SECOND
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = draw(views[0])
    figure.set_dpi(_DPI)
    canvas: Any = FigureCanvasAgg(figure)  # its methods are untyped
    canvas.draw()
    figure.set_layout_engine("none")
    if kind == ".mp4":
        # Every player takes 4:2:0 chroma, which needs even numbers of pixels; ffmpeg would choose 4:4:4 for RGB.
        arguments = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p"]
        writer = FFMpegWriter(fps=max(1, round(per_second)), extra_args=arguments)
        with mpl.rc_context({"animation.ffmpeg_path": encoder}), writer.saving(figure, str(path), _DPI):
            for view in views:
                _exchange(figure, view)
                writer.grab_frame()
        return path

    def frame(view: View) -> Picture.Image:
        _exchange(figure, view)
        canvas.draw()
        return Picture.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    opening, *rest = (frame(view) for view in views)
    buffer = io.BytesIO()
    opening.save(buffer, "GIF", save_all=True, append_images=rest, duration=round(1000.0 / per_second), loop=0)
    write_output(path, buffer.getvalue(), "the movie", "OUT")
    return path


def _encoder() -> str | None:
    """The program ffmpeg: that on the PATH, else that of the package imageio-ffmpeg; None without either."""
    if (found := shutil.which("ffmpeg")) is not None:
        return found
    if find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:  # the package without the program, as on some processors
        return None


def _exchange(figure: Figure, view: View) -> None:
    """Put the data of `view` into the artists that `draw` made of a View with the same panels and series."""
    for axes, panel in zip(figure.axes, view.panels, strict=False):  # after them come the colour bars
        axes.set_title(panel.note, loc="left", fontsize=8.0, color="#555555")
        if isinstance(panel, ImagePanel):
            axes.images[0].set_data(panel.values)
        else:
            for line, series in zip(axes.lines, panel.series, strict=True):
                line.set_data(series.x, series.y)
