"""From results of the analysis to the value of a row of the comparison table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from opsicm.analysis.result import Result, failed
from opsicm.core.units import factor
from opsicm.reproduction.evaluation.estimators import F64, Estimate
from opsicm.reproduction.open_runs import ExperimentRuns
from opsicm.reproduction.paper import ROWS
from opsicm.reproduction.table import NOT_DETERMINED, NOT_RUN

Evaluation = Callable[[ExperimentRuns], list[Result]]
_UNITS = {row.id: row.unit for row in ROWS}


def row_value(row: str, value: float, u: float | None, unit: str, method: str) -> Result:
    """The value of a row, converted from `unit` to the row's unit."""
    row_unit = _UNITS[row]
    scale = 1.0 if unit == row_unit else factor(unit) / factor(row_unit)
    if not math.isfinite(value):
        return failed(row, row_unit, method, "no number", "a ratio with a zero or missing denominator")
    return Result(row, scale * value, None if u is None else scale * u, row_unit, method)


def as_row(row: str, result: Result) -> Result:
    """A result of a run as the value of a row; without a value, with its reason."""
    if result.value is None:
        return failed(row, _UNITS[row], result.method, result.outcome, result.reason)
    return row_value(row, result.value, result.u, result.unit, f"{result.label}: {result.method}")


def estimated(row: str, estimate: Estimate, unit: str, method: str) -> Result:
    """An estimate as the value of a row; without a value *not determined*, with its reason."""
    if estimate.value is None:
        return failed(row, _UNITS[row], method, NOT_DETERMINED, estimate.reason)
    return row_value(row, estimate.value, estimate.u, unit, method)


def alternative(label: str, result: Result) -> Result:
    """The value of a row by another definition than the one declared; `label` says which."""
    return result.within(part=label)


def missing(row: str, reason: str) -> Result:
    """A row without a value, with the reason."""
    return failed(row, _UNITS[row], "", NOT_RUN, reason)


def over_runs(row: str, values: Sequence[Result], function: Callable[[F64], float], method: str) -> Result:
    """A function of one result of several runs; its u propagated from theirs, varied one at a time."""
    for value in values:
        if value.value is None:
            return failed(row, _UNITS[row], value.method, value.outcome, value.reason)
    x = np.array([v.value for v in values], dtype=np.float64)
    middle = function(x)
    u = 0.0
    for k, value in enumerate(values):
        moved = x.copy()
        moved[k] += value.u or 0.0
        u += (function(moved) - middle) ** 2
    return row_value(row, middle, math.sqrt(u), _UNITS[row], method)
