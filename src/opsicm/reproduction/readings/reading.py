"""The runs of an experiment as its reader gets them, and from a result of their analysis to the number of a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.result import WHOLE, Of, Result, failed
from opsicm.core.units import factor
from opsicm.record.reader import Run
from opsicm.reproduction.cases import Case
from opsicm.reproduction.declared import AS_DECLARED
from opsicm.reproduction.paper import ROWS
from opsicm.reproduction.table import NOT_RUN

F64 = NDArray[np.float64]
_UNITS = {row.id: row.unit for row in ROWS}


@dataclass(frozen=True, slots=True)
class Analysed:
    """One finished run, open, with the values that were varied and all results that a user would get."""

    case: Case
    run: Run
    results: tuple[Result, ...]

    def value(self, path: str) -> Any:
        """The varied value whose path ends in `path`, as `park.height_um`."""
        return next(value for name, value in self.case.values if name.endswith(path))

    def result(self, name: str, of: Of = WHOLE) -> Result:
        """The result `name` of the whole run or of a part of it; or that there is none."""
        for result in self.results:
            if (result.name, result.of) == (name, of):
                return result
        label = f"{name} of {of.part}" if of.part else name
        return failed(name, "", "", NOT_RUN, f"the analysis of this run lists no {label}", of)


@dataclass(frozen=True, slots=True)
class Runs:
    """The finished runs of one experiment, by variant."""

    all: tuple[Analysed, ...]

    def of(self, variant: str = AS_DECLARED) -> list[Analysed]:
        """The runs of a variant, in the order in which they were made."""
        return [run for run in self.all if run.case.variant == variant]

    def taking(self, variant: str) -> Runs:
        """These runs with those of `variant` in the place of the declared set's, and no others."""
        return Runs(tuple(replace(run, case=replace(run.case, variant=AS_DECLARED)) for run in self.of(variant)))


Reader = Callable[[Runs], list[Result]]


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
