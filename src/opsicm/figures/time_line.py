"""The plan of a run as `check` forecasts it: the cell's potential, current and state, and when each step runs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.colours import Role
from opsicm.figures.view import CELL_SIGN, POTENTIAL, Axis, CurvePanel, Series, View, scaled_axis, thinned, time_axis
from opsicm.forecast.cell import CellForecast
from opsicm.forecast.time_line import Span, TimedStep, TimeLine

F64 = NDArray[np.float64]
_MOST_STEPS: Final = 40  # of which each has a row; a longer program is shown by its curves and its first steps
_IDLE: Final = "no step"
# Least heights of the axes: what a solver leaves at rest, 10⁻¹³ V and 10⁻¹⁸ A, is no curve that anybody plans by.
_LEAST_POTENTIAL: Final = 0.02  # [V]
_LEAST_CURRENT: Final = 1e-9  # [A]
_LEAST_RISE: Final = 1e-9  # [m]


def time_line_view(plan: TimeLine, cell: CellForecast, title: str) -> View:
    """The forecast of the cell above the steps, on one axis of time.

    A bar is an uninterrupted period of a step: gaps in a row are where another one runs instead.
    """
    axis, unit = time_axis(plan.end)
    t = cell.time * unit
    potential = Series("potential", *thinned(t, cell.potential), "potential")
    panels = [CurvePanel(axis, POTENTIAL, (potential,), y_limits=_limits(potential.y, _LEAST_POTENTIAL))]
    amperes, factor = scaled_axis("current", "A", max(_largest(cell.current), _LEAST_CURRENT))
    current = Series("cell current", *thinned(t, factor * cell.current), "cell")
    limits = _limits(current.y, factor * _LEAST_CURRENT)
    panels.append(CurvePanel(axis, amperes, (current,), CELL_SIGN, y_limits=limits))
    if cell.expansion.size and np.ptp(cell.expansion) > 0.01 * _LEAST_RISE:
        metres, factor = scaled_axis("surface", "m", max(_largest(cell.expansion), _LEAST_RISE))
        rise = Series("surface", *thinned(t, factor * cell.expansion), "height")
        limits = _limits(rise.y, factor * _LEAST_RISE)
        panels.append(CurvePanel(axis, metres, (rise,), "how far it has risen by expansion", y_limits=limits))
    panels.append(_steps(plan, axis, unit))
    caption = "Forecast by the cell's physics; moves between heights take no time."
    return View("time_line", f"Plan of {title}", tuple(panels), caption, share_x=True)


def _limits(values: F64, least: float) -> tuple[float, float] | None:
    """Limits of an axis whose values differ by less than `least`; None: they scale it themselves."""
    if np.ptp(values) >= least:
        return None
    middle = float(np.mean(values))
    return middle - least, middle + least


def _largest(values: F64) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _steps(plan: TimeLine, axis: Axis, unit: float) -> CurvePanel:
    """A row for each step, from top to bottom in the order of the time line: its periods as bars."""
    shown = plan.steps[:_MOST_STEPS]
    names = [f"{step.path} {step.word}" for step in shown]
    series = [_bars(step.spans, step, -float(row), unit) for row, step in enumerate(shown)]
    if plan.idle:
        names.append(_IDLE)
        series.append(_bars(plan.idle, None, -float(len(shown)), unit))
    left_out = len(plan.steps) - len(shown)
    note = f"the first {len(shown)} of {len(plan.steps)} steps" if left_out else ""
    return CurvePanel(axis, Axis("", ""), tuple(series), note, row_names=tuple(names))


def _bars(spans: tuple[Span, ...], step: TimedStep | None, row: float, unit: float) -> Series:
    x = np.array([value for span in spans for value in (span.start, span.end, np.nan)]) * unit
    role: Role = "limit" if step is None else "cell" if step.track == "cell" else "pipette"
    return Series(_IDLE if step is None else step.path, x, np.full(x.size, row), role, "bars")
