"""The plan of a run as `check` forecasts it: the cell's potential, current and state, and when each step runs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.colours import Role
from opsicm.figures.view import CELL_SIGN, Axis, CurvePanel, Series, View
from opsicm.forecast.cell import CellForecast
from opsicm.forecast.time_line import Span, TimedStep, TimeLine

F64 = NDArray[np.float64]
_UNITS: Final = ((600.0, "s", 1.0), (10_800.0, "min", 60.0), (np.inf, "h", 3600.0))
_MOST_STEPS: Final = 40  # of which each has a row; a longer program is shown by its curves and its first steps
_IDLE: Final = "no step"


def time_line_view(plan: TimeLine, cell: CellForecast, title: str) -> View:
    """The forecast of the cell above the steps, on one axis of time.

    A bar is an uninterrupted period of a step: gaps in a row are where another one runs instead.
    """
    unit, seconds = next((unit, seconds) for longest, unit, seconds in _UNITS if plan.end <= longest)
    axis = Axis("time", unit)
    t = cell.time / seconds
    panels = [CurvePanel(axis, Axis("potential", "V"), (Series("potential", t, cell.potential, "potential"),))]
    factor, prefix = _scale(cell.current)
    current = Series("cell current", t, factor * cell.current, "cell")
    panels.append(CurvePanel(axis, Axis("current", f"{prefix}A"), (current,), CELL_SIGN))
    if cell.expansion.size and np.ptp(cell.expansion) > 0.0:
        factor, prefix = _scale(cell.expansion)
        rise = Series("surface", t, factor * cell.expansion, "height")
        panels.append(CurvePanel(axis, Axis("surface", f"{prefix}m"), (rise,), "how far it has risen by swelling"))
    panels.append(_steps(plan, axis, seconds))
    caption = "Forecast by the cell's physics; moves between heights take no time."
    return View("time_line", f"Plan of {title}", tuple(panels), caption, share_x=True)


def _scale(values: F64) -> tuple[float, str]:
    largest = float(np.max(np.abs(values), initial=0.0))
    prefixes = ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n"), (1e12, "p"))
    return next(((factor, prefix) for factor, prefix in prefixes if largest * factor >= 1.0), (1e3, "m"))


def _steps(plan: TimeLine, axis: Axis, seconds: float) -> CurvePanel:
    """A row for each step, from top to bottom in the order of the time line: its periods as bars."""
    shown = plan.steps[:_MOST_STEPS]
    names = [f"{step.path} {step.word}" for step in shown]
    series = [_bars(step.spans, step, -float(row), seconds) for row, step in enumerate(shown)]
    if plan.idle:
        names.append(_IDLE)
        series.append(_bars(plan.idle, None, -float(len(shown)), seconds))
    left_out = len(plan.steps) - len(shown)
    note = f"the first {len(shown)} of {len(plan.steps)} steps" if left_out else ""
    return CurvePanel(axis, Axis("", ""), tuple(series), note, row_names=tuple(names))


def _bars(spans: tuple[Span, ...], step: TimedStep | None, row: float, seconds: float) -> Series:
    x = np.array([value for span in spans for value in (span.start, span.end, np.nan)]) / seconds
    role: Role = "limit" if step is None else "cell" if step.track == "cell" else "pipette"
    return Series(_IDLE if step is None else step.path, x, np.full(x.size, row), role, "bars")
