"""Results of what the cell program did: peaks of sweeps, capacities, pulses, and the pipette's part in each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.branches import branches
from opsicm.analysis.cell.half_cycles import HalfCycle, half_cycles
from opsicm.analysis.cell.record_results import VOLTAMMOGRAM, record_results, steady_stretches
from opsicm.analysis.cell.transitions import agreements, transitions_from_height, transitions_from_potential
from opsicm.analysis.hops.series import HopSeries
from opsicm.analysis.result import Of, Result, failed
from opsicm.core.statistics import (
    independent_share,
    linear_fit,
    median_with_u,
    noise_from_differences,
    straight_line,
    u_of_rectangle,
)

# -- What the pipette current owes to the cell current: an instantaneous ohmic part and a part that grows as sqrt(t).


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
    fit = linear_fit(basis, y)
    c, u = fit.coefficients, fit.u
    half_row = 0.5 * float(t[later[0]] - t[earlier[-1]])
    first = float(np.sqrt(max(half_row, 1e-300)))
    # Half a row of not knowing when it began is sqrt(half a row) of diffusion taken for ohmic, at most.
    u_ohmic = float(np.hypot(u[1], u_of_rectangle(2.0 * abs(c[2]) * first)))
    tail = y[after]
    total = float(np.sum((tail - tail.mean()) ** 2))
    straight = 1.0 - float(np.sum(fit.residual[after] ** 2)) / total if total > 0.0 else 0.0
    end = float(c[2] * root[-1])
    whole = float(c[1]) + end
    step = float(np.median(cell[later]) - np.median(cell[earlier]))
    return StepSplit(
        at,
        starts,
        step,
        float(c[1]),
        u_ohmic,
        float(c[2]),
        float(u[2]),
        end,
        float(c[1]) / whole if whole else float("nan"),
        straight,
    )


_SETTLING: Final = 0.1  # of a stretch: the step of the current and what follows it at once
_FEWEST_ROWS: Final = 5
_GAP: Final = 0.05  # of a branch that may pass without a hop
_CLEAR: Final = 20.0  # times the scatter of a height: below it a kink has no place
_HELD: Final = 0.01  # [V]
_WIDTH: Final = 0.03  # of a half-cycle's charge: the declared smoothing of dV/dQ


def step_results(cell: xr.Dataset, slow: xr.Dataset, particle_radius: float | None = None) -> list[Result]:
    """What applies of: constant-current capacities, pulses with rests, or a sweep's peaks; and the pipette beside them.

    `cell`, `slow` [row] as the run file holds them; `particle_radius` [m]. The pipette's part: ohmic and diffusive
    share of each step of the cell current, its slope at constant current, its change over the rests. Nothing that does
    not apply is listed.
    """
    t, current, potential = (cell[name].values for name in ("t_ns", "current", "potential"))
    t = t * 1e-9
    results = record_results(t, potential, current, particle_radius, charges=False)
    # `cell_results` has said so already, and in this run's own words.
    results = [r for r in results if r.name not in ("record", VOLTAMMOGRAM)]
    pipette = slow["pipette_current"].values
    steady = steady_stretches(t, current, potential)
    if pipette.size == t.size and steady:
        results += _splits(split_steps(t, pipette, current))
        results += [_slope(t, pipette, p, Of(part=p.kind, number=k)) for k, p in enumerate(steady, start=1)]
        results += _rests(t, pipette, half_cycles(t, current))
    return results


def _slope(t: F64, pipette: F64, p: HalfCycle, of: Of) -> Result:
    """Straight line through the pipette current of a stretch, without its first tenth (the step and what follows)."""
    rows = np.arange(p.first, p.stop)
    rows = rows[t[rows] >= t[p.first] + _SETTLING * (t[p.stop - 1] - t[p.first])]
    rows = rows[np.isfinite(pipette[rows])]
    method = f"line through the pipette current from {t[p.first]:.1f} to {t[p.stop - 1]:.1f} s, first tenth left out"
    if rows.size < _FEWEST_ROWS or np.ptp(t[rows]) == 0.0:
        reason = f"{rows.size} rows; {_FEWEST_ROWS} are needed"
        return failed("pipette_slope", "pA/s", method, "too few rows", reason, of)
    line = straight_line(t[rows], pipette[rows])
    # Neighbouring residuals of a curved record are alike.
    u = line.u_slope * independent_share(line.residual) ** -0.5
    total = float(np.sum((pipette[rows] - line.level) ** 2))
    straight = 1.0 - float(line.residual @ line.residual) / total if total > 0.0 else 0.0
    method += f"; R² {straight:.3f}; u: its residual, neighbours' correlation counted"
    return Result("pipette_slope", line.slope * 1e12, u * 1e12, "pA/s", method, of=of)


def _rests(t: F64, pipette: F64, parts: Sequence[HalfCycle]) -> list[Result]:
    """How flat the pipette current stays over the rests after a current: slope times length, median over the rests."""
    changes = []
    for before, rest in pairwise(parts):
        if rest.kind == "rest" and before.kind != "rest" and rest.stop - rest.first >= 2 * _FEWEST_ROWS:
            found = _slope(t, pipette, rest, Of())
            if found.value is not None:
                changes.append(found.value * float(t[rest.stop - 1] - t[rest.first]))
    if not changes:
        return []
    values = np.array(changes)
    middle, u = median_with_u(values)
    method = (
        f"slope of the pipette current times the rest's length, median over {values.size} rests after a current, the "
        f"first tenth of each left out; largest {values[np.argmax(np.abs(values))]:.3g} pA"
    )
    return [Result("pipette_change_over_rests", middle, u, "pA", method)]


def _splits(steps: Sequence[StepSplit]) -> list[Result]:
    """Median over the steps, turned to one direction: a drift common to all then shows as spread, not as bias."""
    if not steps:
        return []
    # As for a step towards lithiation: an end counts the other way, and so does a delithiating current.
    sign = np.array([-np.sign(s.cell_step) for s in steps])

    def over(name: str, each: Callable[[StepSplit], float], u: Callable[[StepSplit], float], what: str) -> Result:
        values = sign * np.array([each(s) for s in steps])
        middle, u_all = median_with_u(values, float(np.sqrt(np.mean([u(s) ** 2 for s in steps]))))
        method = f"median over {len(steps)} starts and ends of the cell current, each as of a lithiating step; {what}"
        trace = xr.DataArray(values, dims="step", coords={"t": ("step", np.array([s.at for s in steps]))})
        return Result(name, middle * 1e12, u_all * 1e12, "pA", method, trace=trace)

    return [
        over("pipette_step_ohmic", lambda s: s.ohmic, lambda s: s.u_ohmic, "the part that comes within a row"),
        over(
            "pipette_step_diffusive",
            lambda s: s.end_change,
            lambda s: abs(s.end_change * s.u_diffusive / s.diffusive) if s.diffusive else 0.0,
            "the part that grows as sqrt(t), at the end of the stretch",
        ),
    ]


def transition_results(
    series: HopSeries, t: F64, charge: F64, potential: F64, charge_floor: float = 0.0
) -> list[Result]:
    """Per branch: where the height's slope changes most, and the nearest end of a stage in the potential, in % of it.

    `series` of heights; `t` [s], `charge` [C], `potential` [V] of the cell (n,). Independent of each other: one knows
    no potential, the other no height. Under a sweep the potential is imposed, and dV/dQ is where the current is small,
    so the agreement means most at constant current. u of the agreement in `method`. Branches of less than
    `charge_floor` [C], branches that the hops do not cover, and branches over which the height moves by less than
    `_CLEAR` times its scatter have none: a broken line fits noise too, with a small u.
    """
    results: list[Result] = []
    for k, branch in enumerate(branches(t, charge, charge_floor), start=1):
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
        # A few hundred points say where the kink is; the search costs their number.
        thin = max(1, int(inside.sum()) // 400)
        kinks = transitions_from_height(at[::thin], series.height[inside][::thin])
        # A held potential says nothing of stages: what is left of it are its jump and its noise.
        low, high = np.quantile(potential[rows], (0.05, 0.95))
        held = high - low < _HELD
        stages = [] if held else transitions_from_potential(passed, potential[rows], 100.0 * _WIDTH)
        of = Of(part=branch.kind, number=k)
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
