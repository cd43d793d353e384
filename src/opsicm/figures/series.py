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


def series_view(
    name: str, title: str, x: Axis, over: F64, quantities: Sequence[Quantity], groups: Sequence[str] = ()
) -> View:
    """`quantities` over `over` (n,), in the order of measurement, with bars of one u.

    Where the variable returns, a line shows the way there and back. With `groups` (n,), the label of the curve that
    each point belongs to, each curve is joined by a line. Points without a value are left out.
    """
    labels = list(dict.fromkeys(groups))
    panels = []
    for quantity in quantities:
        series: list[Series] = []
        for k, label in enumerate(labels if len(labels) > 1 else [""]):
            known = np.isfinite(over) & np.isfinite(quantity.values)
            if label:
                known &= np.array([group == label for group in groups])
            at, values = over[known], quantity.values[known]
            bars = None if quantity.u is None else quantity.u[known]
            shade = k / max(len(labels) - 1, 1) if label else None
            if label:
                series.append(Series(label, at, values, shade=shade))
            elif at.size > 1 and not (np.all(np.diff(at) >= 0.0) or np.all(np.diff(at) <= 0.0)):
                series.append(Series("in order of measurement", at, values, "limit"))
            series.append(Series(label or "measured", at, values, "height", "marks", bars, shade))
        panels.append(CurvePanel(x, quantity.axis, tuple(series)))
    return View(name, title, tuple(panels), "Bars are one standard uncertainty.", columns=min(2, len(panels)))
