"""Current over millimetres and time: image, traces at three heights, approach curves at chosen times (Figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.colours import Role
from opsicm.figures.view import CELL_SIGN, MINUTES, PIPETTE_SIGN, Axis, CurvePanel, ImagePanel, Series, View

F64 = NDArray[np.float64]
_LONG: Final = 300.0  # [s]: above it the axis is in minutes
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
    tc = cell_t / 60.0
    marks = tuple(
        Series(name, np.array([when / 60.0]), np.interp([when], cell_t, potential), "limit", "named")
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
        traces.append(Series(label, t[close] / 60.0, 1e9 * current[close], role, "points", shade=shade))
    image, extent = _image(t, height, current, traverse)
    times = ", ".join(f"{name} {when / 60.0:.0f} min" for name, when in moments.items())
    panels = (
        CurvePanel(
            MINUTES, Axis("potential vs Li/Li+", "V"), (Series("program", tc, potential, "potential"), *marks), times
        ),
        CurvePanel(MINUTES, Axis("cell current", "mA"), (Series("cell", tc, 1e3 * cell, "cell"),), CELL_SIGN),
        CurvePanel(MINUTES, _CURRENT, tuple(traces), PIPETTE_SIGN),
        ImagePanel(
            MINUTES,
            Axis("height", "mm"),
            _CURRENT,
            image,
            extent,
            "current",
            note="mean of each cell's rows; blank: none",
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
    return image, (edges_t[0] / 60.0, edges_t[-1] / 60.0, 1e3 * edges_z[0], 1e3 * edges_z[-1])


def traverses_view(image: NDArray[np.float64], time: F64, height: F64) -> View:
    """Pipette current over height and time, one column per traverse of the coarse stage.

    `image` [A], (traverse, height), NaN where nothing was measured; `time` [s] of each traverse, `height` [m] of each
    bin.
    """
    half = 0.5 * float(height[1] - height[0])
    step = float(np.median(np.diff(time))) if time.size > 1 else 1.0
    scale, axis = (60.0, MINUTES) if float(np.ptp(time)) > _LONG else (1.0, Axis("time", "s"))
    left, right = (time[0] - 0.5 * step) / scale, (time[-1] + 0.5 * step) / scale
    extent = (left, right, 1e3 * (height[0] - half), 1e3 * (height[-1] + half))
    panel = ImagePanel(
        axis, Axis("height", "mm"), _CURRENT, 1e9 * image.T, extent, "current", note=f"blank: no row; {PIPETTE_SIGN}"
    )
    return View("tower", "Current over millimetres and time", (panel,), "One column per traverse of the coarse stage.")


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
