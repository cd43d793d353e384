"""Height during a voltammogram: one point (Figure 5b), one line (5d), and the movie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Picture

from opsicm.figures.draw import COLOUR
from opsicm.figures.view import Axis, Curves, Image, Series, View

F64 = NDArray[np.float64]
_MINUTES: Final = Axis("time", "min")
_LITHIATES: Final = "negative cell current lithiates"
_SIGN: Final = "positive pipette current flows out of the pipette; far from the surface"


def point_view(
    t: F64, height: F64, reference: F64, cell_t: F64, potential: F64, soc: F64, cell: F64, title: str
) -> View:
    """Potential, height, state of charge, cell current and pipette current against time: the panels of Figure 5b.

    Hops: `t` [s], `height` [m] (from any zero), `reference` current [A], (n,). Cell: `cell_t` [s], `potential` [V],
    `soc` [1] (NaN before it has a zero), `cell` current [A], (m,). Time counts from the first hop.
    """
    start = float(t[0])
    during = cell_t >= start
    th, tc = (t - start) / 60.0, (cell_t[during] - start) / 60.0
    panels = [
        Curves(_MINUTES, Axis("potential", "V"), (Series("vs Li/Li+", tc, potential[during], "potential"),)),
        Curves(_MINUTES, Axis("height change", "µm"),
               (Series("height", th, 1e6 * (height - height[0]), "height", "points"),),
               "since the first hop; up is positive"),
    ]  # fmt: skip
    if np.isfinite(soc[during]).any():
        panels.append(
            Curves(_MINUTES, Axis("SOC", "%"), (Series("SOC", tc, 100.0 * soc[during], "neutral"),),
                   "charge since the last delithiated cut-off over the reversible capacity")
        )  # fmt: skip
    panels += [
        Curves(_MINUTES, Axis("cell current", "mA"), (Series("cell", tc, 1e3 * cell[during], "cell"),), _LITHIATES),
        Curves(_MINUTES, Axis("pipette current", "nA"),
               (Series("reference", th, 1e9 * reference, "pipette", "points"),), _SIGN),
    ]  # fmt: skip
    return View("point_in_time", title, tuple(panels), share_x=True)


def line_view(change: xr.DataArray, cell_t: F64, cell: F64, reference: F64, title: str) -> View:
    """Kymograph with position up and time to the right, cell current and pipette current below: Figure 5d.

    `change` [m], dims (line, pixel), coordinates `x` [m], `t` [s] of each line; `cell_t` [s], `cell` [A] (m,);
    `reference` [A] (line,), the mean far current of each line.
    """
    t, x = change["t"].values, 1e6 * change["x"].values
    start = float(t[0])
    minutes = (t - start) / 60.0
    half = 0.5 * float(x[-1] - x[0]) / max(x.size - 1, 1)
    during = (cell_t >= start) & (cell_t <= t[-1])
    panels = (
        Image(_MINUTES, Axis("position along the line", "µm"), Axis("height change", "nm"), 1e9 * change.values.T,
              (0.0, float(minutes[-1]), float(x[0]) - half, float(x[-1]) + half), True,
              note="since the first complete pass; up is positive; blank: no contact"),
        Curves(_MINUTES, Axis("cell current", "mA"),
               (Series("cell", (cell_t[during] - start) / 60.0, 1e3 * cell[during], "cell"),), _LITHIATES),
        Curves(_MINUTES, Axis("pipette current", "nA"),
               (Series("reference", minutes, 1e9 * reference, "pipette"),), _SIGN),
    )  # fmt: skip
    return View("line_in_time", title, panels, share_x=True)


def write_movie(
    heights: xr.DataArray, cell_t: F64, potential: F64, path: Path, frames: int = 60, per_second: float = 10.0
) -> Path:
    """Write the line's profile over time as a GIF: profile above, potential with a moving mark below.

    `heights` [m], dims (line, pixel), coordinates `x` [m], `t` [s]; `cell_t` [s], `potential` [V] (m,). Both axes keep
    their limits through the movie.
    """
    t, x = heights["t"].values, 1e6 * heights["x"].values
    z = 1e9 * (heights.values - np.nanmin(heights.values))
    start = float(t[0])
    shown = np.unique(np.linspace(0, t.size - 1, min(frames, t.size)).round().astype(int))
    with mpl.rc_context({"font.size": 9.0}):
        figure = Figure(figsize=(6.0, 5.0), layout="constrained", dpi=90)
        above, below = figure.subplots(2, 1, height_ratios=(2.0, 1.0))
        above.set(xlabel="position along the line (µm)", ylabel="height (nm)", xlim=(x[0], x[-1]),
                  ylim=(0.0, 1.05 * float(np.nanmax(z))))  # fmt: skip
        (first,) = above.plot(x, z[0], "--", color=COLOUR["limit"], lw=1.0, label="first pass")
        (profile,) = above.plot(x, z[0], color=COLOUR["height"], lw=1.4, label="now")
        above.legend(loc="upper right", frameon=False)
        during = (cell_t >= start) & (cell_t <= t[-1])
        below.plot((cell_t[during] - start) / 60.0, potential[during], color=COLOUR["potential"], lw=1.0)
        mark = below.axvline(0.0, color=COLOUR["cell"], lw=1.2)
        below.set(xlabel="time (min)", ylabel="potential vs Li/Li+ (V)")

        clock = above.set_title("0.0 min", loc="left", fontsize=9.0)
        moving = (first, profile, clock, mark)
        for artist in moving:
            artist.set_animated(True)
        # Axes and all that stands still are drawn once, and what moves onto a copy of them.
        canvas: Any = FigureCanvasAgg(figure)  # its methods are untyped
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)

        def frame(k: int) -> Picture.Image:
            canvas.restore_region(still)
            profile.set_ydata(z[k])
            mark.set_xdata([(t[k] - start) / 60.0] * 2)
            clock.set_text(f"{(t[k] - start) / 60.0:.1f} min")
            for artist in moving:
                figure.draw_artist(artist)
            return Picture.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

        path.parent.mkdir(parents=True, exist_ok=True)
        opening, *rest = (frame(int(k)) for k in shown)
        opening.save(path, save_all=True, append_images=rest, duration=round(1000.0 / per_second), loop=0)
    return path
