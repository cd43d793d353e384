"""From a result of the analysis to the number of a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.result import Result, failed
from opsicm.core.units import factor
from opsicm.reproduction.open_runs import Runs
from opsicm.reproduction.paper import ROWS
from opsicm.reproduction.table import NOT_RUN

F64 = NDArray[np.float64]
Reader = Callable[[Runs], list[Result]]
_UNITS = {row.id: row.unit for row in ROWS}


def reading(row: str, value: float, u: float | None, unit: str, method: str) -> Result:
    """A number for a row, in the row's unit; `unit` is the one it comes in."""
    wanted = _UNITS[row]
    scale = 1.0 if unit == wanted else factor(unit) / factor(wanted)
    if not math.isfinite(value):
        return failed(row, wanted, method, "no number", "the runs give none: a ratio to nothing")
    return Result(row, scale * value, None if u is None else scale * u, wanted, method)


def as_row(row: str, result: Result) -> Result:
    """A result of a run as the number of a row; where the analysis has none, with its reason."""
    if result.value is None:
        return failed(row, _UNITS[row], result.method, result.outcome, result.reason)
    return reading(row, result.value, result.u, result.unit, f"{result.label}: {result.method}")


def missing(row: str, reason: str) -> Result:
    """No number, for a reason."""
    return failed(row, _UNITS[row], "", NOT_RUN, reason)


def over_runs(row: str, values: Sequence[Result], function: Callable[[F64], float], method: str) -> Result:
    """A function of one result of several runs; u by the runs' own, one varied at a time."""
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
    return reading(row, middle, math.sqrt(u), _UNITS[row], method)
