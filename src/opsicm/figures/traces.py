"""Figures of third-party recordings: the hops of a raw trace, and any table against its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.figures.colours import Role
from opsicm.figures.view import Axis, CurvePanel, Series, View, scaled_axis, thinned, time_axis

F64 = NDArray[np.float64]
# Quantity, unit and colour of a table's columns.
_COLUMNS: Final[Mapping[str, tuple[str, str, Role]]] = {
    "z": ("height", "m", "height"),
    "I": ("current", "A", "pipette"),
    "V": ("bias", "V", "neutral"),
    "E": ("potential", "V", "potential"),
    "R": ("resistance", "Ω", "pipette"),
}


def _axis(trace: xr.Dataset, name: str) -> tuple[Axis, F64]:
    """The time of a dimension in its unit, or its row numbers where no time was recorded."""
    if name in trace.coords:
        seconds = trace[name].values - trace[name].values[0]
        axis, factor = time_axis(float(seconds[-1]))
        return axis, factor * seconds
    return Axis(name.removesuffix("_t").replace("_", " "), ""), np.arange(1.0, trace.sizes[name.removesuffix("_t")] + 1)


def trace_hops_view(trace: xr.Dataset, title: str = "Hops of the trace") -> View:
    """Height change and reference current of every hop, and below the samples of a few hops with their stops.

    `trace` as that of `hops` of `trace_results`: `height` [m], `reference` [A] (hop,) with the time `hop_t` [s] where
    there was one; `current` [A], `z` [m] (sample,) with `sample_t`; `stop_sample`, `stop_z` of the hops in them.
    """
    hop, x = _axis(trace, "hop_t")
    height = trace["height"].values - trace["height"].values[0]
    length, factor = ("µm", 1e6) if np.ptp(height) > 2e-6 else ("nm", 1e9)
    current, scale = scaled_axis("current", "A", float(np.max(np.abs(trace["reference"].values))))
    sample, s = _axis(trace, "sample_t")
    stop = trace["stop_sample"].values
    panels = (
        CurvePanel(
            hop,
            Axis("height change", length),
            (Series("height", *thinned(x, factor * height), "height", "points"),),
            "at the stop, since the first hop; up is positive",
        ),
        CurvePanel(
            hop,
            Axis("reference current", current.unit),
            (Series("reference", *thinned(x, scale * trace["reference"].values), "pipette", "points"),),
            "far from the surface, before each approach",
        ),
        CurvePanel(
            sample,
            current,
            (Series("samples", *thinned(s, scale * trace["current"].values), "pipette"),),
            "hops in the middle of the trace, as sampled",
        ),
        CurvePanel(
            sample,
            Axis("z", "µm"),
            (
                Series("samples", *thinned(s, 1e6 * trace["z"].values), "height"),
                Series("stops", s[stop], 1e6 * trace["stop_z"].values, "cell", "marks"),
            ),
            "up is positive",
        ),
    )
    return View("trace_hops", title, panels)


def table_view(table: xr.Dataset, title: str = "The recording") -> View:
    """Every column of a table against its time, or its row where it has none.

    `table`: columns in SI over `row`, named as in `--columns`, with the coordinate `row_t` [s] where there is a time.
    """
    x, at = _axis(table, "row_t")
    panels = []
    for name in table.data_vars:
        quantity, unit, role = _COLUMNS.get(str(name), (str(name), "", "neutral"))
        values = table[name].values
        known = np.abs(values[np.isfinite(values)])
        axis, factor = scaled_axis(quantity, unit, float(known.max(initial=0.0))) if unit else (Axis(quantity, ""), 1.0)
        note = {"z": "as recorded; up is positive", "I": "sign as recorded"}.get(str(name), "")
        panels.append(CurvePanel(x, axis, (Series(quantity, *thinned(at, factor * values), role),), note))
    return View("recording", title, tuple(panels), share_x=True)
