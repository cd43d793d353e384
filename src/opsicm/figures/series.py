"""A series of results over the variable that was changed: one panel per quantity, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.view import Axis, CurvePanel, Series, View

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is plotted: its axis, a value per point and its u (None: not known), (n,), in the axis' unit."""

    axis: Axis
    values: F64
    u: F64 | None = None


def series_view(name: str, title: str, x: Axis, over: F64, quantities: Sequence[Quantity], caption: str = "") -> View:
    """`quantities` over `over` (n,), in the order of measurement: points joined by a thin line, bars of one u.

    The line shows the way there and back where the variable returns. Points without a value are left out.
    """
    panels = []
    for quantity in quantities:
        known = np.isfinite(over) & np.isfinite(quantity.values)
        at, values = over[known], quantity.values[known]
        bars = None if quantity.u is None else quantity.u[known]
        series = (
            Series("in order of measurement", at, values, "limit"),
            Series("measured", at, values, "height", "marks", bars),
        )
        panels.append(CurvePanel(x, quantity.axis, series))
    text = caption or "Points in order of measurement, joined by a line; bars are one standard uncertainty."
    return View(name, title, tuple(panels), text, columns=min(2, len(panels)))
