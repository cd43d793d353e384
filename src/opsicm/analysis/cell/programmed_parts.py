"""Parts of a run by its own journal: what its cell program controlled, never guessed."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.control import constant_currents
from opsicm.analysis.cell.parts import ControlledPart, Kind, corners, with_times

F64 = NDArray[np.float64]
_ON_LINE: Final = 1e-4  # [V] about a programmed line: rows are stamped within the time of one plan
_CONSTANT: Final = 1e-6  # [V] a set point that moves by less was held
_JUMP: Final = 0.02  # [V] between two rows; of a sweep there are 1 to 10 mV
_ROWS: Final = 3


def programmed_potential(cell: xr.Dataset) -> F64 | None:
    """The potential asked for [V] (row,), NaN where none was controlled; None for a cycler's record without a program.

    A record's set point is a current where that was controlled. Rows of a run made of a cycler's file say that their
    control is unknown.
    """
    if "set_point" not in cell or not cell.sizes["row"] or (cell["control"].values == "unknown").all():
        return None
    return np.where(cell["control"].values == "potential", cell["set_point"].values, np.nan)


def programmed_parts(cell: xr.Dataset) -> list[ControlledPart] | None:
    """The parts of a run's record, from its `control` and `set_point`; None for a record without them.

    At open circuit a rest; at a controlled current one part for each level; at a controlled potential a hold where the
    set point is constant, a sweep where it is a straight line, else unknown.
    """
    program = programmed_potential(cell)
    if program is None:
        return None
    t, current = cell["t_ns"].values * 1e-9, cell["current"].values
    control = np.where(np.isfinite(program) | (cell["control"].values != "potential"), cell["control"].values, "")
    parts: list[ControlledPart] = []
    first = 0
    for kind, rows in groupby(control.tolist()):
        stop = first + sum(1 for _ in rows)
        if kind == "potential":
            parts += _of_potential(t, program, first, stop)
        elif kind == "current":
            parts += [_part("current", a, b, level, t) for a, b, level in constant_currents(current, first, stop)]
        else:
            parts.append(_part("rest" if kind == "open_circuit" else "unknown", first, stop, 0.0, t))
        first = stop
    return with_times(t, cell["potential"].values, parts)


def _of_potential(t: F64, program: F64, first: int, stop: int) -> list[ControlledPart]:
    parts: list[ControlledPart] = []
    e = program[first:stop]
    cuts = [first, *(first + 1 + np.flatnonzero(np.abs(np.diff(e)) > _JUMP)).tolist(), stop]
    for a, b in pairwise(cuts):
        edges = corners(t[a:b], program[a:b], _ON_LINE)
        spans = [(a + p, a + q) for p, q in pairwise(edges)] or [(a, b)]
        for p, q in [*spans[:-1], (spans[-1][0], b)]:
            rows = slice(p, q)
            took = float(t[q - 1] - t[p])
            moved = float(program[q - 1] - program[p])
            if float(np.ptp(program[rows])) <= _CONSTANT:
                parts.append(_part("potential", p, q, float(program[p]), t))
            else:
                is_sweep = q - p >= _ROWS and took > 0.0
                parts.append(_part("sweep" if is_sweep else "unknown", p, q, moved / took if is_sweep else np.nan, t))
    return parts


def _part(kind: Kind, first: int, stop: int, level: float, t: F64) -> ControlledPart:
    return ControlledPart(kind, first, stop, level, float(t[first]), float(t[stop - 1]))
