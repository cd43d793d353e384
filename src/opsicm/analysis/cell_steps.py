"""Results of what the cell program did: peaks of sweeps, capacities, pulses, and the pipette's part in each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.branches import branches
from opsicm.analysis.current_step import StepSplit, split_steps
from opsicm.analysis.half_cycles import half_cycles
from opsicm.analysis.hop_series import HopSeries
from opsicm.analysis.peaks import peaks
from opsicm.analysis.result import Result
from opsicm.analysis.titration import titration
from opsicm.analysis.transitions import agreements, transitions_from_height, transitions_from_potential

F64 = NDArray[np.float64]
_STEADY: Final = 0.02  # spread of the current within a stretch, of its mean: below, it was held constant
_WIDTH: Final = 0.03  # of a half-cycle's charge: the declared smoothing of dV/dQ
_MOST_PEAKS: Final = 12


def step_results(cell: xr.Dataset, slow: xr.Dataset) -> list[Result]:
    """What applies of: constant-current capacities, pulses with rests, ohmic and diffusive parts; or a sweep's peaks.

    `cell`, `slow` [row] as the run file holds them. Nothing that does not apply is listed.
    """
    t, current, potential = (cell[name].values for name in ("t_ns", "current", "potential"))
    t = t * 1e-9
    parts = half_cycles(t, current)
    steady = [
        p
        for p in parts
        if p.kind != "rest" and p.stop - p.first >= 10 and _spread(current[p.first + 1 : p.stop - 1]) < _STEADY
    ]
    if not steady:
        return _peaks(potential, current)
    results = [
        Result(f"capacity_{p.kind}_{k}", p.charge / 3.6, p.u_charge / 3.6, "mAh",
               f"charge of the constant current from {t[p.first]:.1f} to {t[p.stop - 1]:.1f} s, trapezoids; negative "
               "lithiates; u: half a row at either end", flags={"missing_rows": p.missing})
        for k, p in enumerate(steady, start=1)
    ]  # fmt: skip
    pulses = titration(t, potential, current)
    for k, pulse in enumerate(pulses, start=1):
        method = (
            f"potential at the end of the rest after the pulse of {pulse.start:.1f}–{pulse.end:.1f} s; u: what would "
            f"still come, relaxing as 1/sqrt(t); slope in the pulse {1e3 * pulse.slope:.3g} mV/sqrt(s); no "
            f"diffusivity: {pulse.reason}"
        )
        results.append(Result(f"relaxed_potential_{k}", pulse.relaxed, pulse.u_relaxed, "V", method))
    pipette = slow["pipette_current"].values
    if pipette.size == t.size:
        results += _splits(split_steps(t, pipette, current))
    return results


def _spread(current: F64) -> float:
    mean = abs(float(np.mean(current)))
    return float(np.ptp(current)) / mean if mean else float("inf")


def _peaks(potential: F64, current: F64) -> list[Result]:
    results = []
    for k, peak in enumerate(peaks(potential, current)[:_MOST_PEAKS], start=1):
        way = "delithiation" if peak.anodic else "lithiation"
        method = (
            f"vertex of a parabola within 20 mV, sweep {peak.sweep}; {1e3 * peak.current:.4g} mA as measured, no "
            "baseline taken away; negative lithiates"
        )
        results.append(Result(f"peak_{k}_{way}_potential", peak.potential, peak.u_potential, "V", method))
    return results


def _splits(steps: Sequence[StepSplit]) -> list[Result]:
    """Median over the steps, ends turned over: so that a drift common to all shows as spread, not as bias."""
    if not steps:
        return []
    sign = np.array([1.0 if s.starts else -1.0 for s in steps])

    def over(name: str, each: Callable[[StepSplit], float], u: Callable[[StepSplit], float], what: str) -> Result:
        values = sign * np.array([each(s) for s in steps])
        spread = 1.4826 * float(np.median(np.abs(values - np.median(values)))) * 1.2533
        own = float(np.sqrt(np.mean([u(s) ** 2 for s in steps])))
        method = f"median over {len(steps)} starts and ends of the cell current, ends turned over; {what}"
        trace = xr.DataArray(values, dims="step", coords={"t": ("step", np.array([s.at for s in steps]))})
        u_all = max(spread, own) / len(steps) ** 0.5
        return Result(name, float(np.median(values)) * 1e12, u_all * 1e12, "pA", method, trace=trace)

    return [
        over("pipette_step_ohmic", lambda s: s.ohmic, lambda s: s.u_ohmic, "the part that comes within a row"),
        over("pipette_step_diffusive", lambda s: s.end_change,
             lambda s: abs(s.end_change * s.u_diffusive / s.diffusive) if s.diffusive else 0.0,
             "the part that grows as sqrt(t), at the end of the stretch"),
    ]  # fmt: skip


def transition_results(series: HopSeries, t: F64, charge: F64, potential: F64) -> list[Result]:
    """Per branch: where the height's slope changes most, and the nearest end of a stage in the potential, in % of it.

    `series` of heights; `t` [s], `charge` [C], `potential` [V] of the cell (n,). Independent of each other: one knows
    no potential, the other no height. Under a sweep the potential is imposed, and dV/dQ is where the current is small,
    so the agreement means most at constant current. u of the agreement in `method`.
    """
    results: list[Result] = []
    for k, branch in enumerate(branches(t, charge), start=1):
        inside = (series.t >= branch.start) & (series.t <= branch.stop)
        rows = (t >= branch.start) & (t <= branch.stop)
        if int(inside.sum()) < 40 or int(rows.sum()) < 40:
            continue
        passed = (charge[rows] - charge[rows][0]) / branch.charge * 100.0
        at = np.interp(series.t[inside], t[rows], passed)
        # A few hundred points say where the kink is; the search costs their number.
        thin = max(1, int(inside.sum()) // 400)
        kinks = transitions_from_height(at[::thin], series.height[inside][::thin])
        stages = transitions_from_potential(passed, potential[rows], 100.0 * _WIDTH)
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
