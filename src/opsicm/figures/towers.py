"""Current over millimetres and time: image, traces at three heights, approach curves at chosen times (Figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.figures.colours import Role
from opsicm.figures.images import even_times
from opsicm.figures.view import (
    CELL_SIGN,
    PIPETTE_SIGN,
    POTENTIAL,
    Axis,
    CurvePanel,
    ImagePanel,
    Series,
    View,
    scaled_axis,
    time_axis,
    time_text,
)

F64 = NDArray[np.float64]
_MOSTLY: Final = 0.8  # of the traverses have a current at a height that is drawn over time
_CURRENT: Final = Axis("pipette current", "nA")
_HEIGHTS: Final[tuple[Role, ...]] = ("near", "between", "far")


def tower_time_view(
    t: F64,
    height: F64,
    current: F64,
    cell_t: F64,
    potential: F64,
    cell: F64,
    at: Sequence[float],
    moments: Mapping[str, float],
    traverse: float,
) -> View:
    """Potential, cell current, traces at the heights `at`, and the current as an image of height and time.

    Pipette: `t` [s], `height` [m], `current` [A], (n,); cell: `cell_t` [s], `potential` [V], `cell` [A], (m,);
    `at` [m]; `moments` name → time [s]; `traverse` [s] is the width of a column of the image: one traverse, or a pair.
    """
    time, unit = time_axis(float(np.ptp(cell_t)))
    tc = unit * cell_t
    marks = tuple(
        Series(name, np.array([unit * when]), np.interp([when], cell_t, potential), "limit", "named")
        for name, when in moments.items()
    )
    band = 0.02 * float(np.ptp(height))
    traces = []
    for k, level in enumerate(at):
        close = np.abs(height - level) <= band
        as_printed = len(at) == len(_HEIGHTS)
        role: Role = _HEIGHTS[k] if as_printed else "neutral"
        shade = None if as_printed else k / max(len(at) - 1, 1)
        label = f"{1e3 * level:g} mm"
        traces.append(Series(label, unit * t[close], 1e9 * current[close], role, "points", shade=shade))
    image, (left, right, bottom, top) = _image(t, height, current, traverse)
    times = ", ".join(f"{name} {time_text(when, float(np.ptp(cell_t)))}" for name, when in moments.items())
    panels = (
        CurvePanel(time, POTENTIAL, (Series("program", tc, potential, "potential"), *marks), times),
        CurvePanel(time, Axis("cell current", "mA"), (Series("cell", tc, 1e3 * cell, "cell"),), CELL_SIGN),
        CurvePanel(time, _CURRENT, tuple(traces), PIPETTE_SIGN),
        ImagePanel(
            time,
            Axis("height", "mm"),
            _CURRENT,
            image,
            (unit * left, unit * right, bottom, top),
            "current",
            note="mean of each cell's rows; grey: none",
        ),
    )
    return View("towers", "Current over millimetres and time", panels, share_x=True)


def _image(t: F64, height: F64, current: F64, traverse: float) -> tuple[F64, tuple[float, float, float, float]]:
    columns = max(1, int(np.ptp(t) / traverse))
    edges_t = np.linspace(t[0], t[-1], columns + 1)
    # No finer than the spacing of the rows, or every second bin is blank.
    pitch = 1.25 * float(np.median(np.abs(np.diff(height)))) or float(np.ptp(height))
    edges_z = np.linspace(height.min(), height.max(), 1 + int(np.clip(np.ptp(height) / pitch, 4, 50)))
    total, _, _ = np.histogram2d(height, t, (edges_z, edges_t), weights=1e9 * current)
    number, _, _ = np.histogram2d(height, t, (edges_z, edges_t))
    image = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return image, (edges_t[0], edges_t[-1], 1e3 * edges_z[0], 1e3 * edges_z[-1])


def traverses_view(trace: xr.DataArray) -> View:
    """Potential, cell current, pipette current at three heights, and as an image of height and time, of a tower.

    `trace` as that of `tower_ways`: pipette current [A], dims (time, height), coordinates `time` [s] and `height` [m],
    `potential` [V] and `cell_current` [A] of each traverse. The image has a column per traverse. Of a tower that still
    goes on the attribute `under_way` says that the last traverse is not whole.
    """
    seconds, height = trace["time"].values, trace["height"].values
    time, unit = time_axis(float(np.ptp(seconds)))
    t = unit * seconds
    half = 0.5 * float(height[1] - height[0])
    current, factor = scaled_axis("cell current", "A", float(np.max(np.abs(trace["cell_current"].values), initial=0.0)))
    # The bins at the turns may lie beyond the last row of most traverses.
    whole = trace.values[:-1] if trace.attrs.get("under_way") else trace.values
    reached = np.flatnonzero(np.isfinite(whole).mean(axis=0) > _MOSTLY)
    rows = slice(int(reached[0]), int(reached[-1]) + 1) if reached.size else slice(0, height.size)
    height, currents = height[rows], 1e9 * trace.values[:, rows]
    image, left, right = even_times(seconds, currents)
    traces = [
        Series(f"{1e3 * height[k]:.2g} mm", t, currents[:, k], role)
        for role, k in zip(_HEIGHTS, (0, height.size // 2, height.size - 1), strict=True)
    ]
    panels = (
        CurvePanel(time, POTENTIAL, (Series("measured", t, trace["potential"].values, "potential"),)),
        CurvePanel(
            time, current, (Series("cell current", t, factor * trace["cell_current"].values, "cell"),), CELL_SIGN
        ),
        CurvePanel(time, _CURRENT, tuple(traces), PIPETTE_SIGN),
        ImagePanel(
            time,
            Axis("height", "mm"),
            _CURRENT,
            image.T,
            (unit * left, unit * right, 1e3 * (height[0] - half), 1e3 * (height[-1] + half)),
            "current",
            note="one column per traverse of the coarse stage, interpolated between rows; grey: the stage stood still",
        ),
    )
    return View("tower", "Current over millimetres and time", panels, share_x=True)


def tower_profiles_view(profiles: Mapping[str, tuple[F64, F64]], title: str = "Approach curves at five times") -> View:
    """Approach curves at chosen times: current over that far away, against height.

    `profiles` name → (height [m], current [A]); bins without a current (NaN) are left out.
    """
    series = []
    for k, (name, (heights, currents)) in enumerate(profiles.items()):
        seen = np.isfinite(currents)
        z, i = heights[seen], currents[seen]
        far = float(i[int(np.argmax(z))])
        series.append(Series(name, 1e3 * z, 1e12 * (i - far), shade=k / max(len(profiles) - 1, 1)))
    panel = CurvePanel(
        Axis("height", "mm"),
        Axis("current less that far away", "pA"),
        tuple(series),
        f"one traverse each; {PIPETTE_SIGN}",
    )
    return View("approach_at_moments", title, (panel,))
