"""Results of a run's cell program: those of its record, and the pipette current's response to the cell current.

The response to a step of the cell current has an instantaneous, ohmic part and a part that grows as sqrt(t).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.branches import branches
from opsicm.analysis.cell.control import controlled_parts, current_parts
from opsicm.analysis.cell.parts import ControlledPart
from opsicm.analysis.cell.programmed_parts import programmed_parts, programmed_potential
from opsicm.analysis.cell.record_results import VOLTAMMOGRAM, record_results, rows_of_sweeps
from opsicm.analysis.cell.transitions import agreements, transitions_from_height, transitions_from_potential
from opsicm.analysis.hops.series import HopSeries
from opsicm.analysis.result import Result, Subject, failed
from opsicm.core.statistics import (
    independent_share,
    linear_fit,
    median_with_u,
    noise_from_differences,
    straight_line,
    u_of_rectangle,
)

F64 = NDArray[np.float64]
_FEWEST: Final = 10


@dataclass(frozen=True, slots=True)
class StepResponse:
    """One step of the cell current at `at` [s]: `ohmic` [A] at once, `diffusive` [A/sqrt(s)] after it, with u.

    `share_ohmic` of the pipette current's whole change at the end of the interval; `cell_step` [A]; `starts` True where
    a current begins; `end_change` [A] is diffusive·sqrt(duration); `r_squared` of the part after the step.
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
    r_squared: float


def step_responses(
    t: F64, pipette: F64, cell: F64, window: float | None = None, parts: Sequence[ControlledPart] | None = None
) -> list[StepResponse]:
    """Split the pipette current's response to every start and end of a constant cell current.

    Equation, from a step at t0 on: I(t) = I_before(t) + J + k sqrt(t - t0), I_before the mean of the interval
    before (at most as long as `window`, default a quarter of the interval after). `t` [s], `pipette` [A] (far from
    contact, or its reference), `cell` [A] (negative lithiates), (n,); `parts` where what was controlled is known. J is
    the ohmic part, -i L_eff/R_geo: it does not depend on bias or concentration; k sqrt(t) is the salt's diffusion while
    the layer is thin against the bath.
    Assumes a current that steps within one row and then holds. The row of the step is left out; its time is uncertain
    by half a row, which is in u. Fails (empty list) without steps. Mixing by convection departs from sqrt(t): see
    `r_squared`. A drift of the conductance is taken for k: rest before and after.
    """
    responses = []
    for before, after in pairwise(current_parts(t, cell) if parts is None else parts):
        if {before.kind, after.kind} != {"rest", "current"}:
            continue
        at = 0.5 * (t[before.stop - 1] + t[after.first])
        length = float(t[after.stop - 1] - at)
        span = 0.25 * length if window is None else window
        earlier = np.arange(before.first, before.stop)
        earlier = earlier[t[earlier] >= at - span]
        later = np.arange(after.first + 1, after.stop)
        # A pipette that was recorded for a part of the time has no current in the other rows.
        earlier, later = (rows[np.isfinite(pipette[rows])] for rows in (earlier, later))
        if earlier.size < 3 or later.size < _FEWEST:
            continue
        responses.append(_fit_response(t, pipette, cell, at, earlier, later, after.kind != "rest"))
    return responses


def _fit_response(
    t: F64, pipette: F64, cell: F64, at: float, earlier: NDArray[np.intp], later: NDArray[np.intp], starts: bool
) -> StepResponse:
    rows = np.concatenate((earlier, later))
    since = t[rows] - at
    after = since > 0.0
    root = np.sqrt(np.maximum(since, 0.0))
    # Constant before the step: a slope there, extrapolated through the pulse, would absorb part of sqrt(t).
    basis = np.column_stack((np.ones(rows.size), after.astype(np.float64), root))
    y = pipette[rows]
    fit = linear_fit(basis, y)
    c, u = fit.coefficients, fit.u
    half_row = 0.5 * float(t[later[0]] - t[earlier[-1]])
    first = float(np.sqrt(max(half_row, 1e-300)))
    # A start up to half a row off makes at most k sqrt(half a row) of diffusion look ohmic.
    u_ohmic = float(np.hypot(u[1], u_of_rectangle(2.0 * abs(c[2]) * first)))
    tail = y[after]
    total = float(np.sum((tail - tail.mean()) ** 2))
    r_squared = 1.0 - float(np.sum(fit.residual[after] ** 2)) / total if total > 0.0 else 0.0
    end = float(c[2] * root[-1])
    whole = float(c[1]) + end
    step = float(np.median(cell[later]) - np.median(cell[earlier]))
    return StepResponse(
        at,
        starts,
        step,
        float(c[1]),
        u_ohmic,
        float(c[2]),
        float(u[2]),
        end,
        float(c[1]) / whole if whole else float("nan"),
        r_squared,
    )


_SETTLING: Final = 0.1  # of an interval: the step of the current and its immediate transient
_FEWEST_ROWS: Final = 5
_GAP: Final = 0.05  # of a branch: the longest time without a hop
_CLEAR: Final = 20.0  # times the scatter of a height: a smaller change cannot locate a kink
_CONSTANT_POTENTIAL: Final = 0.01  # [V]
_WIDTH: Final = 0.03  # of a half-cycle's charge: smoothing of dV/dQ


def step_results(cell: xr.Dataset, slow: xr.Dataset, particle_radius: float | None = None) -> list[Result]:
    """Whatever applies: constant-current capacities, pulses with rests, peaks of sweeps, and the pipette current there.

    `cell`, `slow` [row] as the run file holds them; `particle_radius` [m]. Of the pipette current: ohmic
    and diffusive response to each step of the cell current, slope at constant current, change over the rests. What does
    not apply is not listed.
    """
    t, current, potential = (cell[name].values for name in ("t_ns", "current", "potential"))
    t = t * 1e-9
    parts = programmed_parts(cell)
    program = programmed_potential(cell)
    results = record_results(t, potential, current, particle_radius, charges=False, parts=parts, program=program)
    # `cell_results` lists these already, from the run's own rows.
    results = [r for r in results if r.name not in ("record", VOLTAMMOGRAM)]
    pipette = slow["pipette_current"].values
    if parts is None:
        parts = controlled_parts(t, potential, current)
    steady = [p for p in parts if p.kind == "current" and p.stop - p.first >= _FEWEST_ROWS]
    if pipette.size == t.size and steady:
        results += _response_results(step_responses(t, pipette, current, parts=parts))
        results += [
            _slope_result(t, pipette, p, Subject(part=p.direction, number=k)) for k, p in enumerate(steady, start=1)
        ]
        results += _rest_results(t, pipette, parts)
    return results


def programmed_voltammogram(cell: xr.Dataset, slow: xr.Dataset) -> xr.Dataset | None:
    """The rows of all sweeps of a run's cell program against the program's potential; None where nothing was swept.

    `potential` [V], `current` [A], `pipette` [A] and `sweep`, its number, over `row`.
    """
    program = programmed_potential(cell)
    sweeps = [part.rows for part in programmed_parts(cell) or [] if part.kind == "sweep"]
    if program is None or not sweeps:
        return None
    rows = rows_of_sweeps(program, cell["current"].values, sweeps)
    pipette = rows_of_sweeps(program, slow["pipette_current"].values, sweeps)["current"]
    return rows.assign(pipette=pipette)


def _slope_result(t: F64, pipette: F64, part: ControlledPart, of: Subject) -> Result:
    """Straight line through the pipette current of a half-cycle, without its first tenth (step and transient)."""
    rows = np.arange(part.first, part.stop)
    rows = rows[t[rows] >= t[part.first] + _SETTLING * (t[part.stop - 1] - t[part.first])]
    rows = rows[np.isfinite(pipette[rows])]
    method = (
        f"line through the pipette current from {t[part.first]:.1f} to {t[part.stop - 1]:.1f} s, first tenth left out"
    )
    if rows.size < _FEWEST_ROWS or np.ptp(t[rows]) == 0.0:
        reason = f"{rows.size} rows; {_FEWEST_ROWS} are needed"
        return failed("pipette_slope", "pA/s", method, "too few rows", reason, of)
    line = straight_line(t[rows], pipette[rows])
    # Neighbouring residuals of a curved record are correlated.
    u = line.u_slope * independent_share(line.residual) ** -0.5
    total = float(np.sum((pipette[rows] - line.level) ** 2))
    r_squared = 1.0 - float(line.residual @ line.residual) / total if total > 0.0 else 0.0
    method += f"; R² {r_squared:.3f}; u: its residual, neighbours' correlation counted"
    return Result("pipette_slope", line.slope * 1e12, u * 1e12, "pA/s", method, of=of)


def _rest_results(t: F64, pipette: F64, parts: Sequence[ControlledPart]) -> list[Result]:
    """Change of the pipette current over the rests after a current: slope times length, median over the rests."""
    changes = []
    for before, rest in pairwise(parts):
        if rest.kind == "rest" and before.kind != "rest" and rest.stop - rest.first >= 2 * _FEWEST_ROWS:
            slope = _slope_result(t, pipette, rest, Subject())
            if slope.value is not None:
                changes.append(slope.value * float(t[rest.stop - 1] - t[rest.first]))
    if not changes:
        return []
    values = np.array(changes)
    middle, u = median_with_u(values)
    method = (
        f"slope of the pipette current times the rest's length, median over {values.size} rests after a current, the "
        f"first tenth of each left out; largest {values[np.argmax(np.abs(values))]:.3g} pA"
    )
    return [Result("pipette_change_over_rests", middle, u, "pA", method)]


def _response_results(steps: Sequence[StepResponse]) -> list[Result]:
    """Median over the steps, all counted as lithiating: a drift common to all then shows as spread, not as bias."""
    if not steps:
        return []
    # The end of a lithiating current and the start of a delithiating one count with the opposite sign.
    sign = np.array([-np.sign(s.cell_step) for s in steps])

    def over(name: str, each: Callable[[StepResponse], float], u: Callable[[StepResponse], float], what: str) -> Result:
        values = sign * np.array([each(s) for s in steps])
        middle, u_all = median_with_u(values, float(np.sqrt(np.mean([u(s) ** 2 for s in steps]))))
        method = f"median over {len(steps)} starts and ends of the cell current, each as of a lithiating step; {what}"
        trace = xr.DataArray(values, dims="step", coords={"t": ("step", np.array([s.at for s in steps]))})
        return Result(name, middle * 1e12, u_all * 1e12, "pA", method, trace=trace)

    return [
        over("pipette_step_ohmic", lambda s: s.ohmic, lambda s: s.u_ohmic, "the part within one row"),
        over(
            "pipette_step_diffusive",
            lambda s: s.end_change,
            lambda s: abs(s.end_change * s.u_diffusive / s.diffusive) if s.diffusive else 0.0,
            "the part that grows as sqrt(t), at the end of the interval",
        ),
    ]


def transition_results(
    series: HopSeries, t: F64, charge: F64, potential: F64, negligible_charge: float = 0.0
) -> list[Result]:
    """Per branch: where the height's slope changes most, and the nearest end of a stage in the potential, in % of it.

    `series` of heights; `t` [s], `charge` [C], `potential` [V] of the cell (n,). The two are independent: one uses
    no potential, the other no height. Under a sweep the potential is imposed, and dV/dQ is where the current is small,
    so the agreement means most at constant current. u of the agreement in `method`. Branches of less than
    `negligible_charge` [C], branches that the hops do not cover, and branches over which the height moves by less than
    `_CLEAR` times its scatter are left out: a broken line fits noise too, with a small u.
    """
    results: list[Result] = []
    for k, branch in enumerate(branches(t, charge, negligible_charge), start=1):
        inside = (series.t >= branch.start) & (series.t <= branch.stop)
        stops = np.concatenate([[branch.start], series.t[inside], [branch.stop]])
        if np.max(np.diff(stops)) > _GAP * (branch.stop - branch.start):
            continue
        if np.ptp(series.height[inside]) < _CLEAR * noise_from_differences(series.height[inside]):
            continue
        rows = (t >= branch.start) & (t <= branch.stop)
        if int(inside.sum()) < 40 or int(rows.sum()) < 40:
            continue
        passed = (charge[rows] - charge[rows][0]) / branch.charge * 100.0
        at = np.interp(series.t[inside], t[rows], passed)
        # A few hundred points locate the kink; the cost of the search grows with their number.
        thin = max(1, int(inside.sum()) // 400)
        kinks = transitions_from_height(at[::thin], series.height[inside][::thin])
        # A constant potential shows no stages, only the jump to it and noise.
        low, high = np.quantile(potential[rows], (0.05, 0.95))
        is_held = high - low < _CONSTANT_POTENTIAL
        stages = [] if is_held else transitions_from_potential(passed, potential[rows], 100.0 * _WIDTH)
        of = Subject(part=branch.kind, number=k)
        for kink in kinks:
            method = "kink of a broken line of height against charge passed in the branch"
            results.append(Result("transition_from_height", kink.charge, kink.u, "%", method, of=of))
        for both in agreements(kinks, stages):
            method = (
                f"nearest peak of |dV/dQ| (smoothed over {100 * _WIDTH:.0f} % of the branch); height less potential is "
                f"{both.difference:.2g} ± {both.u:.2g} %, {both.z:.2g} times its u"
            )
            stage = both.potential
            results.append(Result("transition_from_potential", stage.charge, stage.u, "%", method, of=of))
    return results
