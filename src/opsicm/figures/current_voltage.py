"""The figure of a pipette's current-voltage curve."""

from __future__ import annotations

import numpy as np
import xarray as xr

from opsicm.figures.view import Axis, Curves, Series, View


def view(trace: xr.DataArray, resistance: float, title: str = "Current-voltage curve") -> View:
    """Current against bias as measured, and the line of `resistance` [Ohm] through the middle of the sweep.

    `trace` [A] over `bias` [V], as `iv_results` leaves it.
    """
    v, i = trace["bias"].values, trace.values
    middle = 0.5 * float(v.max() + v.min())
    near = np.abs(v - middle) <= 0.25 * float(np.ptp(v))
    through = float(np.mean(i[near])) - float(np.mean(v[near]) - middle) / resistance
    ends = np.array([v.min(), v.max()])
    panel = Curves(
        Axis("bias", "V"),
        Axis("pipette current", "nA"),
        (
            Series("measured", v, 1e9 * i, "pipette", "points"),
            Series(f"{1e-6 * resistance:.4g} MΩ", ends, 1e9 * (through + (ends - middle) / resistance), "model"),
        ),
        "positive current flows out of the pipette",
    )
    return View("current_voltage", title, (panel,))
