"""Figures of hops: against time and potential, the ten-hop check, one hop, a point, a line and its movie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Picture

from opsicm.figures.colours import COLOUR
from opsicm.figures.view import CELL_SIGN, MINUTES, PIPETTE_SIGN, Axis, CurvePanel, ImagePanel, Series, View

F64 = NDArray[np.float64]
_TIME: Final = Axis("time", "s")
_SIGN: Final = f"{PIPETTE_SIGN}; far from the surface"


def _good(hops: xr.Dataset) -> xr.Dataset:
    return hops.isel(hop=np.flatnonzero(hops["outcome"].values == 0))


def program_potential(cell: xr.Dataset, t_ns: NDArray[np.int64]) -> tuple[F64, str]:
    """The set potential at `t_ns` where one was controlled throughout, else the measured one; and its name."""
    set_point = cell["set_point"].values
    if not set_point.size:
        return np.full(t_ns.size, np.nan), "potential"
    if np.all(np.isfinite(set_point)):
        return np.interp(t_ns, cell["t_ns"].values, set_point), "set potential"
    return np.interp(t_ns, cell["t_ns"].values, cell["potential"].values), "potential"


def run_time_view(hops: xr.Dataset, cell: xr.Dataset, slow: xr.Dataset) -> View:
    """Height, potential, pipette current and cell current against time, one above the other."""
    good = _good(hops)
    t = cell["t_ns"].values * 1e-9
    panels: list[CurvePanel] = []
    if good.sizes["hop"]:
        th, h = good["t_ns"].values * 1e-9, good["z_stop"].values
        height = Series("height", th, (h - h[0]) * 1e9, "height", "points")
        note = "height at the stop, since the first hop; up is positive"
        panels.append(CurvePanel(_TIME, Axis("height change", "nm"), (height,), note))
        pipette = Series("reference current", th, good["i_ref"].values * 1e9, "pipette", "points")
    else:
        pipette = Series("pipette current", t, slow["pipette_current"].values * 1e9, "pipette")
    potential = [Series("measured", t, cell["potential"].values, "potential")]
    if np.any(np.isfinite(cell["set_point"].values)):
        potential.append(Series("program", t, cell["set_point"].values, "limit", "dashed"))
    panels.append(
        CurvePanel(_TIME, Axis("potential", "V"), tuple(potential), "specimen against Li/Li+ at the reference")
    )
    panels.append(CurvePanel(_TIME, Axis("pipette current", "nA"), (pipette,), PIPETTE_SIGN))
    current = Series("cell current", t, cell["current"].values * 1e3, "cell")
    panels.append(CurvePanel(_TIME, Axis("cell current", "mA"), (current,), CELL_SIGN))
    return View("time", "The run against time", tuple(panels), share_x=True)


def potential_view(hops: xr.Dataset, cell: xr.Dataset, thickness: float) -> View:
    """Volume change, pipette current and cell current against potential, coloured by the sign of the cell current."""
    good = _good(hops)
    e, which = program_potential(cell, good["t_ns"].values)
    axis = Axis(f"{which} vs Li/Li+", "V")
    percent = (good["z_stop"].values - good["z_stop"].values[0]) / thickness * 100.0
    down = good["cell_current"].values <= 0.0
    cell_e, _ = program_potential(cell, cell["t_ns"].values)
    cell_down = cell["current"].values <= 0.0

    def split(x: F64, y: F64, lithiates: NDArray[np.bool_]) -> tuple[Series, Series]:
        return (
            Series("lithiation or rest", x[lithiates], y[lithiates], "lithiation", "points"),
            Series("delithiation", x[~lithiates], y[~lithiates], "delithiation", "points"),
        )

    um = f"height change over a thickness of {thickness * 1e6:g} µm"
    panels = (
        CurvePanel(axis, Axis("volume change", "%"), split(e, percent, down), um),
        CurvePanel(axis, Axis("pipette current", "nA"), split(e, good["i_ref"].values * 1e9, down), PIPETTE_SIGN),
        CurvePanel(axis, Axis("cell current", "mA"), split(cell_e, cell["current"].values * 1e3, cell_down), CELL_SIGN),
    )
    return View("potential", "The run against potential", panels, share_x=True)


def ten_hop_view(change: xr.DataArray, setpoint: float) -> View:
    """The bulk current's change over ten hops against time, with the setpoint as its limit."""
    t = change["t"].values
    limit = np.full(2, setpoint * 100.0)
    panel = CurvePanel(
        _TIME,
        Axis("change over ten hops", "%"),
        (
            Series("bulk current", t, change.values, "pipette", "points"),
            Series("setpoint", t[[0, -1]], limit, "limit", "dashed"),
        ),
        "(max - min)/mean of the reference current over ten successive hops",
        y_limits=(0.0, 1.15 * max(setpoint * 100.0, float(change.values.max()))),
    )
    return View("ten_hop", "Ten-hop check", (panel,))


def hop_view(trace: xr.Dataset, record: Mapping[str, float]) -> View:
    """One hop as sampled: pipette current and height against time, with reference, threshold and stop."""
    t = (trace["t_ns"].values - trace["t_ns"].values[0]) * 1e-6
    ends = t[[0, -1]]
    threshold = record["i_ref"] * (1.0 - record["setpoint"])
    axis = Axis("time in the hop", "ms")
    i = trace["pipette_current"].values * 1e9
    stop = np.array([(record["t_ns"] - trace["t_ns"].values[0]) * 1e-6])
    current = CurvePanel(
        axis,
        Axis("pipette current", "nA"),
        (
            Series("samples", t, i, "pipette"),
            Series("reference", ends, np.full(2, record["i_ref"] * 1e9), "neutral", "dashed"),
            Series("threshold", ends, np.full(2, threshold * 1e9), "limit", "dashed"),
        ),
        PIPETTE_SIGN,
    )
    z = trace["z"].values * 1e9
    height = CurvePanel(
        axis,
        Axis("z", "nm"),
        (Series("samples", t, z, "height"), Series("stop", stop, np.array([record["z_stop"] * 1e9]), "cell", "points")),
        "up is positive",
    )
    return View("hop", f"Hop {int(record['hop'])} as sampled", (current, height), share_x=True)


def point_view(
    t: F64, height: F64, reference: F64, cell_t: F64, potential: F64, soc: F64, cell: F64, title: str
) -> View:
    """Potential, height, state of charge, cell current and pipette current against time: the panels of Figure 5b.

    Hops: `t` [s], `height` [m] (any zero), `reference` current [A], (n,). Cell: `cell_t` [s], `potential` [V],
    `soc` [1] (NaN where unknown), `cell` current [A], (m,). Time counts from the first hop.
    """
    start = float(t[0])
    during = cell_t >= start
    th, tc = (t - start) / 60.0, (cell_t[during] - start) / 60.0
    panels = [
        CurvePanel(MINUTES, Axis("potential", "V"), (Series("vs Li/Li+", tc, potential[during], "potential"),)),
        CurvePanel(
            MINUTES,
            Axis("height change", "µm"),
            (Series("height", th, 1e6 * (height - height[0]), "height", "points"),),
            "since the first hop; up is positive",
        ),
    ]
    if np.isfinite(soc[during]).any():
        panels.append(
            CurvePanel(
                MINUTES,
                Axis("SOC", "%"),
                (Series("SOC", tc, 100.0 * soc[during], "neutral"),),
                "charge since the last delithiated cut-off over the reversible capacity",
            )
        )
    panels += [
        CurvePanel(MINUTES, Axis("cell current", "mA"), (Series("cell", tc, 1e3 * cell[during], "cell"),), CELL_SIGN),
        CurvePanel(
            MINUTES,
            Axis("pipette current", "nA"),
            (Series("reference", th, 1e9 * reference, "pipette", "points"),),
            _SIGN,
        ),
    ]
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
        ImagePanel(
            MINUTES,
            Axis("position along the line", "µm"),
            Axis("height change", "nm"),
            1e9 * change.values.T,
            (0.0, float(minutes[-1]), float(x[0]) - half, float(x[-1]) + half),
            "change",
            note="since the first complete pass; up is positive; blank: no contact",
        ),
        CurvePanel(
            MINUTES,
            Axis("cell current", "mA"),
            (Series("cell", (cell_t[during] - start) / 60.0, 1e3 * cell[during], "cell"),),
            CELL_SIGN,
        ),
        CurvePanel(
            MINUTES, Axis("pipette current", "nA"), (Series("reference", minutes, 1e9 * reference, "pipette"),), _SIGN
        ),
    )
    return View("line_in_time", title, panels, share_x=True)


def write_movie(
    heights: xr.DataArray, cell_t: F64, potential: F64, path: Path, frames: int = 60, per_second: float = 10.0
) -> Path:
    """Write the line's profile over time as a GIF: profile above, potential with a moving mark below.

    `heights` [m], dims (line, pixel), coordinates `x` [m], `t` [s]; `cell_t` [s], `potential` [V] (m,). Both axes keep
    their limits.
    """
    t, x = heights["t"].values, 1e6 * heights["x"].values
    z = 1e9 * (heights.values - np.nanmin(heights.values))
    start = float(t[0])
    shown = np.unique(np.linspace(0, t.size - 1, min(frames, t.size)).round().astype(int))
    with mpl.rc_context({"font.size": 9.0}):
        figure = Figure(figsize=(6.0, 5.0), layout="constrained", dpi=90)
        above, below = figure.subplots(2, 1, height_ratios=(2.0, 1.0))
        above.set(
            xlabel="position along the line (µm)",
            ylabel="height (nm)",
            xlim=(x[0], x[-1]),
            ylim=(0.0, 1.05 * float(np.nanmax(z))),
        )
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
        # Everything static is drawn once; what moves is drawn onto a copy of it.
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
