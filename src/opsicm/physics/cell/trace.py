"""A stretch of a cell's life as arrays, made in one compiled call."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.physics.cell.kernel import (
    C_SURFACE,
    CHARGE,
    CURRENT,
    OF_VOLUME,
    OK,
    P_R_BEYOND,
    P_Z_REFERENCE,
    PARTICLE_STATE,
    POTENTIAL,
    SEI,
    TIME,
    X_SURFACE,
    ohmic_integral,
    value_at,
)
from opsicm.physics.cell.solve import march
from opsicm.physics.materials.material import mean_volume_change

Floats = NDArray[np.float64]
TRACE_COLUMNS: Final = 8


@dataclass(frozen=True, eq=False)
class Trace:
    """Rows in time; shapes [n] or [n, heights]. Signs as everywhere: current < 0 lithiates."""

    time: Floats
    potential: Floats
    current: Floats
    charge: Floats
    stoichiometry: Floats
    surface_stoichiometry: Floats
    volume_change: Floats
    irreversible: Floats
    expansion: Floats
    heights: Floats
    concentration: Floats
    ohmic_drop: Floats

    @classmethod
    def from_rows(cls, rows: Floats, heights: Floats, area: float, gain: tuple[float, float]) -> Trace:
        """Name the columns of `march_and_record`; `gain` [m, 1] turns volume change and film into thickness."""
        n = heights.size
        irreversible = gain[1] * rows[:, 7]
        expansion = gain[0] * rows[:, 6] + irreversible
        return cls(
            rows[:, 0],
            rows[:, 1],
            area * rows[:, 2],
            area * rows[:, 3],
            rows[:, 4],
            rows[:, 5],
            rows[:, 6],
            irreversible,
            expansion,
            heights,
            rows[:, TRACE_COLUMNS : TRACE_COLUMNS + n],
            rows[:, 2:3] * rows[:, TRACE_COLUMNS + n :],
        )

    def first(self, count: int) -> Trace:
        """Its first `count` rows."""
        rows = {f.name: getattr(self, f.name)[:count] for f in fields(self) if f.name != "heights"}
        return replace(self, **rows)

    def without(self, *, ohmic: bool, salt: bool, rest: float) -> Trace:
        """The trace with its ohmic part and/or its changed salt left out; `rest` [mol/m³]."""
        return replace(
            self,
            ohmic_drop=np.zeros_like(self.ohmic_drop) if ohmic else self.ohmic_drop,
            concentration=np.full_like(self.concentration, rest) if salt else self.concentration,
        )


@compiled
def look(
    heights: Floats,
    centres: Floats,
    state: Floats,
    c: Floats,
    parameters: Floats,
    grid: Floats,
    kappa_table: Floats,
    first: int,
    found: Floats,
) -> None:
    """Into `found` [2 n]: salt [mol/m³] at the `heights` [m, n], then ∫ dz/(κ A_rel) from there to the reference."""
    n = heights.size
    for j in range(n):
        found[j] = value_at(heights[j], centres, c, state[C_SURFACE], first)
        to_axis = ohmic_integral(heights[j], parameters[P_Z_REFERENCE], c, grid[1], grid[5], kappa_table, first)
        found[n + j] = to_axis + parameters[P_R_BEYOND]


@compiled
def mean_of_particles(x: Floats, shells: Floats, classes: Floats, swelling: Floats) -> tuple[float, float]:
    """Mean by volume of x [1] and of (V − V₀)/V₀ [1] over classes and shells; `shells` are the shares of the shells."""
    m = x.shape[1] - PARTICLE_STATE
    filled, volume = 0.0, 0.0
    for j in range(classes.shape[0]):
        own = 0.0
        for k in range(m):
            own += shells[k] * x[j, k]
        filled += classes[j, OF_VOLUME] * own
        volume += classes[j, OF_VOLUME] * mean_volume_change(x[j, :m], shells, swelling)
    return filled, volume


@compiled
def march_and_record(
    dt: float,
    rows: Floats,
    heights: Floats,
    centres: Floats,
    swelling: Floats,
    state: Floats,
    c: Floats,
    x: Floats,
    spare_state: Floats,
    spare_c: Floats,
    spare_x: Floats,
    control: Floats,
    limits: Floats,
    parameters: Floats,
    grid: Floats,
    particle: Floats,
    classes: Floats,
    mixing: Floats,
    convection: Floats,
    D_table: Floats,
    kappa_table: Floats,
    ocp: Floats,
    first: int,
    work: Floats,
    particle_work: Floats,
) -> tuple[int, int]:
    """`march` by `dt` for every row, which is then filled; (outcome, rows filled). A cut-off may end the last row."""
    for row in range(rows.shape[0]):
        outcome = march(
            dt,
            state,
            c,
            x,
            spare_state,
            spare_c,
            spare_x,
            control,
            limits,
            parameters,
            grid,
            particle,
            classes,
            mixing,
            convection,
            D_table,
            kappa_table,
            ocp,
            first,
            work,
            particle_work,
        )
        out = rows[row]
        out[0], out[1], out[2], out[3] = state[TIME], state[POTENTIAL], state[CURRENT], state[CHARGE]
        out[4], out[6] = mean_of_particles(x, particle[0], classes, swelling)
        out[5], out[7] = state[X_SURFACE], state[SEI]
        look(heights, centres, state, c, parameters, grid, kappa_table, first, out[TRACE_COLUMNS:])
        if outcome != OK:
            return outcome, row + 1
    return OK, rows.shape[0]
