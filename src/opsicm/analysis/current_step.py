"""What the pipette current owes to the cell current: an instantaneous ohmic part and a part that grows as sqrt(t)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.half_cycles import half_cycles

F64 = NDArray[np.float64]
_FEWEST: Final = 10


@dataclass(frozen=True, slots=True)
class StepSplit:
    """One step of the cell current at `at` [s]: `ohmic` [A] at once, `diffusive` [A/sqrt(s)] after it, with u.

    `share_ohmic` of the pipette current's whole change at the end of the stretch; `cell_step` [A]; `starts` True where
    a current begins; `end_change` [A] is diffusive·sqrt(duration); `straight` R² of the part after the step.
    """

    at: float
    starts: bool
    cell_step: float
    ohmic: float
    u_ohmic: float
    diffusive: float
    u_diffusive: float
    end_change: float
    share_ohmic: float
    straight: float


def split_steps(t: F64, pipette: F64, cell: F64, window: float | None = None) -> list[StepSplit]:
    """Split the pipette current's response to every start and end of a constant cell current.

    Equation, from a step at t0 on: I(t) = I_before(t) + J + k sqrt(t - t0), I_before the line through the stretch
    before (at most as long as `window`, default a quarter of the stretch after). `t` [s], `pipette` [A] (far from
    contact, or its reference), `cell` [A] (negative lithiates), (n,). J is the ohmic part, -i L_eff/R_geo: it does not
    depend on bias or concentration; k sqrt(t) is the salt's diffusion while the layer is thin against the bath.
    Assumes a current that steps within one row and then holds. Rows of the step itself are left out; the moment of the
    step is half a row uncertain, which goes into u. Fails (empty list) without steps. Mixing by convection bends
    sqrt(t): look at `straight`. A drift of G poses as k: rest before and after.
    """
    parts = half_cycles(t, cell)
    found = []
    for before, after in pairwise(parts):
        if (before.kind == "rest") == (after.kind == "rest"):
            continue
        at = 0.5 * (t[before.stop - 1] + t[after.first])
        length = float(t[after.stop - 1] - at)
        span = 0.25 * length if window is None else window
        earlier = np.arange(before.first, before.stop)
        earlier = earlier[t[earlier] >= at - span]
        later = np.arange(after.first + 1, after.stop)
        if earlier.size < 3 or later.size < _FEWEST:
            continue
        found.append(_split(t, pipette, cell, at, earlier, later, after.kind != "rest"))
    return found


def _split(
    t: F64, pipette: F64, cell: F64, at: float, earlier: NDArray[np.intp], later: NDArray[np.intp], starts: bool
) -> StepSplit:
    rows = np.concatenate((earlier, later))
    since = t[rows] - at
    after = since > 0.0
    root = np.sqrt(np.maximum(since, 0.0))
    # Before a pulse the line is level: its slope, carried through the pulse, would take sqrt(t) with it.
    basis = np.column_stack((np.ones(rows.size), after.astype(np.float64), root))
    y = pipette[rows]
    c, *_ = np.linalg.lstsq(basis, y, rcond=None)
    rest = y - basis @ c
    variance = float(np.sum(rest**2)) / max(rows.size - 3, 1)
    covariance = np.linalg.inv(basis.T @ basis) * variance
    half_row = 0.5 * float(t[later[0]] - t[earlier[-1]])
    first = float(np.sqrt(max(half_row, 1e-300)))
    # Half a row of not knowing when it began is sqrt(half a row) of diffusion taken for ohmic, at most.
    u_ohmic = float(np.hypot(covariance[1, 1] ** 0.5, abs(c[2]) * first / 3.0**0.5))
    tail = y[after]
    total = float(np.sum((tail - tail.mean()) ** 2))
    straight = 1.0 - float(np.sum(rest[after] ** 2)) / total if total > 0.0 else 0.0
    end = float(c[2] * root[-1])
    whole = float(c[1]) + end
    step = float(np.median(cell[later]) - np.median(cell[earlier]))
    return StepSplit(
        at, starts, step, float(c[1]), u_ohmic, float(c[2]), float(covariance[2, 2] ** 0.5), end,
        float(c[1]) / whole if whole else float("nan"), straight,
    )  # fmt: skip
