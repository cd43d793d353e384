"""Results of what the cell program did: peaks of sweeps, capacities, pulses, and the pipette's part in each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.branches import branches
from opsicm.analysis.current_step import StepSplit, split_steps
from opsicm.analysis.half_cycles import HalfCycle, half_cycles
from opsicm.analysis.hop_series import HopSeries, scatter
from opsicm.analysis.record_results import VOLTAMMOGRAM, record_results, steady_stretches
from opsicm.analysis.result import Result, failed
from opsicm.analysis.transitions import agreements, transitions_from_height, transitions_from_potential

F64 = NDArray[np.float64]
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
        results += [_slope(t, pipette, p, f"pipette_slope_{p.kind}_{k}") for k, p in enumerate(steady, start=1)]
        results += _rests(t, pipette, half_cycles(t, current))
    return results


def _slope(t: F64, pipette: F64, p: HalfCycle, name: str) -> Result:
    """Straight line through the pipette current of a stretch, without its first tenth (the step and what follows)."""
    rows = np.arange(p.first, p.stop)
    rows = rows[t[rows] >= t[p.first] + _SETTLING * (t[p.stop - 1] - t[p.first])]
    rows = rows[np.isfinite(pipette[rows])]
    method = f"line through the pipette current from {t[p.first]:.1f} to {t[p.stop - 1]:.1f} s, first tenth left out"
    if rows.size < _FEWEST_ROWS or np.ptp(t[rows]) == 0.0:
        return failed(name, "pA/s", method, "too few rows", f"{rows.size} rows; {_FEWEST_ROWS} are needed")
    x, y = t[rows] - np.mean(t[rows]), pipette[rows] - np.mean(pipette[rows])
    slope = float(x @ y / (x @ x))
    rest = y - slope * x
    # Neighbouring residuals of a curved record are alike: as few count as their correlation leaves.
    r = float(rest[1:] @ rest[:-1] / (rest @ rest)) if rest.any() else 0.0
    r = min(max(r, 0.0), 0.99)
    u = float(np.sqrt(rest @ rest / (x.size - 2) / (x @ x) * (1.0 + r) / (1.0 - r)))
    total = float(y @ y)
    straight = 1.0 - float(rest @ rest) / total if total > 0.0 else 0.0
    method += f"; R² {straight:.3f}; u: its residual, neighbours' correlation counted"
    return Result(name, slope * 1e12, u * 1e12, "pA/s", method)


def _rests(t: F64, pipette: F64, parts: Sequence[HalfCycle]) -> list[Result]:
    """How flat the pipette current stays over the rests after a current: slope times length, median over the rests."""
    changes = []
    for before, rest in pairwise(parts):
        if rest.kind == "rest" and before.kind != "rest" and rest.stop - rest.first >= 2 * _FEWEST_ROWS:
            found = _slope(t, pipette, rest, "")
            if found.value is not None:
                changes.append(found.value * float(t[rest.stop - 1] - t[rest.first]))
    if not changes:
        return []
    values = np.array(changes)
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle))) * 1.2533
    method = (
        f"slope of the pipette current times the rest's length, median over {values.size} rests after a current, the "
        f"first tenth of each left out; largest {values[np.argmax(np.abs(values))]:.3g} pA"
    )
    return [Result("pipette_change_over_rests", middle, spread / values.size**0.5, "pA", method)]


def _splits(steps: Sequence[StepSplit]) -> list[Result]:
    """Median over the steps, turned to one direction: a drift common to all then shows as spread, not as bias."""
    if not steps:
        return []
    # As for a step towards lithiation: an end counts the other way, and so does a delithiating current.
    sign = np.array([-np.sign(s.cell_step) for s in steps])

    def over(name: str, each: Callable[[StepSplit], float], u: Callable[[StepSplit], float], what: str) -> Result:
        values = sign * np.array([each(s) for s in steps])
        spread = 1.4826 * float(np.median(np.abs(values - np.median(values)))) * 1.2533
        own = float(np.sqrt(np.mean([u(s) ** 2 for s in steps])))
        method = f"median over {len(steps)} starts and ends of the cell current, each as of a lithiating step; {what}"
        trace = xr.DataArray(values, dims="step", coords={"t": ("step", np.array([s.at for s in steps]))})
        u_all = max(spread, own) / len(steps) ** 0.5
        return Result(name, float(np.median(values)) * 1e12, u_all * 1e12, "pA", method, trace=trace)

    return [
        over("pipette_step_ohmic", lambda s: s.ohmic, lambda s: s.u_ohmic, "the part that comes within a row"),
        over("pipette_step_diffusive", lambda s: s.end_change,
             lambda s: abs(s.end_change * s.u_diffusive / s.diffusive) if s.diffusive else 0.0,
             "the part that grows as sqrt(t), at the end of the stretch"),
    ]  # fmt: skip


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
        if np.ptp(series.height[inside]) < _CLEAR * scatter(series.height[inside]):
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
        for kink in kinks:
            name = f"transition_{branch.kind}_{k}_from_height"
            method = "kink of a broken line of height against charge passed in the branch"
            results.append(Result(name, kink.charge, kink.u, "%", method))
        for both in agreements(kinks, stages):
            method = (
                f"nearest peak of |dV/dQ| (smoothed over {100 * _WIDTH:.0f} % of the branch); height less potential is "
                f"{both.difference:.2g} ± {both.u:.2g} %, {both.z:.2g} times its u"
            )
            name = f"transition_{branch.kind}_{k}_from_potential"
            results.append(Result(name, both.potential.charge, both.potential.u, "%", method))
    return results
