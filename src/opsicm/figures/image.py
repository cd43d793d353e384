"""The view of an image of heights."""

from __future__ import annotations

import numpy as np
import xarray as xr

from opsicm.figures.view import Axis, Image, View


def view(heights: xr.DataArray, title: str | None = None) -> View:
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
    panel = Image(x, y, Axis("height", unit), scale * values, extent, note="; ".join(note for note in notes if note))
    caption = f"Heights {level}; up is positive; colours end at the 1st and 99th percentile."
    return View("image", title or f"Heights {level}", (panel,), caption)


def _edges(centres: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    pitch = float(centres[1] - centres[0]) if centres.size > 1 else 2.0 * float(centres[0])
    return float(centres[0]) - 0.5 * pitch, float(centres[-1]) + 0.5 * pitch
