"""Views of lines over time and of sections: kymograph, XZ difference, what geometry alone shows."""

from __future__ import annotations

import numpy as np
import xarray as xr

from opsicm.figures.view import Axis, Curves, Image, Series, View


def kymograph_view(change: xr.DataArray) -> View:
    """Height change over position and time: `change` [m], dims (line, pixel), coordinates `x` [m], `t` [s]."""
    x, t = change["x"].values * 1e6, change["t"].values
    half = 0.5 * (x[-1] - x[0]) / max(x.size - 1, 1)
    panel = Image(
        Axis("position along the line", "µm"), Axis("time", "s"), Axis("height change", "nm"), change.values * 1e9,
        (float(x[0]) - half, float(x[-1]) + half, float(t[0]), float(t[-1])), diverging=True,
        note="since the first complete pass; up is positive; blank: no contact",
    )  # fmt: skip
    return View("kymograph", "Height along the line", (panel,))


def section_view(trace: xr.Dataset, title: str = "Ion current above the surface") -> View:
    """XZ section as difference from each approach's mode, the same less geometry alone, and their mean profiles."""
    x, d = trace["x"].values * 1e6, trace["distance"].values * 1e9
    moved = x.size > 1 and bool(np.ptp(x) > 0.0)
    across = x if moved else np.arange(x.size, dtype=np.float64)
    axis = Axis("position along the line", "µm") if moved else Axis("approach", "")
    half = 0.5 * float(np.ptp(across)) / max(across.size - 1, 1)
    extent = (float(across.min()) - half, float(across.max()) + half, 0.0, float(d[-1] + 0.5 * (d[1] - d[0])))
    height, current = Axis("distance from the fitted surface", "nm"), Axis("current less mode", "pA")
    # One colour scale for both, from the net difference: geometry's steep part near the surface would swamp it.
    net = trace["net"].values.T * 1e12
    limit = float(np.nanpercentile(np.abs(net), 99.0)) or 1.0
    panels = (
        Image(axis, height, current, trace["difference"].values.T * 1e12, extent, True, (-limit, limit),
              "as measured, drift and mode of each approach taken away"),
        Image(axis, height, current, net, extent, True, (-limit, limit),
              f"less geometry alone ({trace.attrs['template']})"),
        Curves(
            height, current,
            (
                Series("as measured", d, _mean(trace["difference"].values) * 1e12, "pipette"),
                Series("geometry alone", d, _mean(trace["null"].values) * 1e12, "limit", "dashed"),
                Series("net", d, _mean(net.T), "neutral"),
            ),
            "mean over the approaches; positive pipette current flows out of the pipette", (-4.0 * limit, 2.0 * limit),
        ),
    )  # fmt: skip
    return View("section", title, panels)


def _mean(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    finite = np.isfinite(values)
    number = finite.sum(axis=0)
    total = np.where(finite, values, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
