"""Results of single approach curves, and of all curves of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.approach.fit import METHOD, ApproachFit, NoFit, fit_approach, hyperbola, shift_of_model, way_down
from opsicm.analysis.hops.change_points import change_points
from opsicm.analysis.hops.state_changes import state_change_results
from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import mean_with_u, median_with_u, robust_sigma, u_of_rectangle, u_of_robust_sigma

F64 = NDArray[np.float64]
DISTANCE: Final = "distance at the stop"
POSITION: Final = "surface position"
HEIGHT: Final = "height at the stop"
COEFFICIENT: Final = "hyperbola coefficient C"
RESISTANCE: Final = "pipette resistance"
BULK_RESISTANCE: Final = "pipette resistance far from the sample"
STATED_RESISTANCE: Final = "pipette resistance stated in the file"
CHI2: Final = "chi-squared per degree of freedom"
_RESISTANCE_METHOD: Final = (
    "bias over current, mean of the far half of the approach; u from the scatter of the means of 8 blocks, so that "
    "slow noise counts"
)
_BLOCKS: Final = 8


def approach_results(
    z: F64,
    current: F64,
    bias: float | None = None,
    threshold: float | None = None,
    stated_resistance: float | None = None,
) -> list[Result]:
    """Distance, height, position, C, resistances and chi-squared of one approach in the order it was measured.

    `z` [m], `current` [A] (without `bias` any multiple of it), `bias` [V], `threshold` the stop criterion as a
    relative drop, `stated_resistance` [Ohm] as the instrument's file has it (it has no uncertainty: none was stated).
    """
    fit = fit_approach(z, current, threshold)
    down = way_down(z)
    results = _fit_results(fit, z, current, bias) if isinstance(fit, ApproachFit) else _failed_fit_results(fit)
    results.append(_resistance_result(z[down], current[down], bias, fit))
    if stated_resistance is not None:
        results.append(
            Result(STATED_RESISTANCE, stated_resistance / 1e6, None, "MOhm", "as stated in the instrument's file")
        )
    return results


def no_axis_results(what: str) -> list[Result]:
    """Failed results for a recording that lacks the axes a fit needs."""
    reason = f"{what}; export the heights with the current, or name the columns with --columns t=s,I=pA,z=um"
    return _failed_fit_results(NoFit("no z axis", reason))


def series_results(curves: Sequence[Sequence[Result]]) -> list[Result]:
    """Median and spread of the distance and the resistance over the curves of a scan, of each state of the pipette.

    Where the resistance (or, without a bias, the current far from the sample) passes from one level to another, the
    change comes first and the medians are of the curves between changes. The spread is a robust sigma, which a few
    failed approaches do not inflate; u as of independent curves. Curves without a value are counted.
    """
    values = {name: np.array([_value(curve, name) for curve in curves]) for name in (DISTANCE, RESISTANCE)}
    name, level, quantity = "resistance_jump", values[RESISTANCE], "pipette resistance"
    if np.isfinite(level).sum() < 0.5 * len(curves):
        name, level, quantity = "reference_jump", _of_fits(curves, "I_inf"), "current far from the sample"
    models = _of_fits(curves, "u_model")
    known = np.flatnonzero(np.isfinite(level))
    changes = change_points(level[known])
    results = state_change_results(changes, name, quantity, "curve", None, known + 1)
    edges = [0, *(int(known[c.index]) for c in changes), len(curves)]
    for number, (first, last) in enumerate(pairwise(edges), start=1):
        # Curves within a passage belong to neither state.
        end = last if number == len(edges) - 1 else int(known[changes[number - 1].start - 1]) + 1
        of_state = _medians({key: of[first:end] for key, of in values.items()}, models[first:end])
        results += [r.within(part="state", number=number) for r in of_state] if changes else of_state
    return results


def _value(curve: Sequence[Result], name: str) -> float:
    return next((r.value for r in curve if r.name == name and r.value is not None), np.nan)


def _of_fits(curves: Sequence[Sequence[Result]], name: str) -> F64:
    """A number of each curve's fit, NaN where there is none."""
    traces = [curve[0].trace for curve in curves]
    return np.array([t.attrs.get(name, np.nan) if isinstance(t, xr.Dataset) else np.nan for t in traces])


def _medians(of: dict[str, F64], models: F64) -> list[Result]:
    results: list[Result] = []
    for name, unit in ((DISTANCE, "nm"), (RESISTANCE, "MOhm")):
        values = of[name][np.isfinite(of[name])]
        flags = {"curves": of[name].size, "without_value": of[name].size - values.size}
        method = "median over the curves of the scan, spread 1.4826 MAD; the method of one curve stands with it"
        if values.size < 3:
            reason = f"{values.size} of {of[name].size} curves have a value; a spread needs three"
            results.append(failed(f"median {name}", unit, method, "too few curves", reason))
            continue
        (middle, u), spread = median_with_u(values), robust_sigma(values)
        u_spread = u_of_robust_sigma(spread, values.size)
        if name == DISTANCE:
            # The model's own bias is common to all curves: it does not average out.
            u = float(np.hypot(u, 1e9 * np.nanmedian(models)))
        results.append(Result(f"median {name}", middle, u, unit, method, flags=flags))
        results.append(Result(f"spread of {name}", spread, u_spread, unit, method, flags=flags))
    return results


def _fit_results(fit: ApproachFit, z: F64, current: F64, bias: float | None) -> list[Result]:
    u_I, u_C, u_z0 = fit.u
    flags = {
        "points_used": int(fit.used.sum()),
        "disturbed": int(fit.disturbed.sum()),
        "from_contact_on": int(fit.from_contact.sum()),
        "missing": int((~(np.isfinite(z) & np.isfinite(current))).sum()),
        "aside": int(fit.aside.sum()),
    }
    shift = shift_of_model(z, current, fit)
    trace = _fit_trace(fit, z, current, bias, shift)
    position = (
        f"{METHOD}; a fit with that curve differs by {1e9 * abs(shift):.3g} nm, in u as a rectangle on either side"
    )
    distance = f"{position}; distance from the last good point before contact to z0"
    u_position = float(np.hypot(u_z0, u_of_rectangle(2.0 * shift)))
    steps = np.abs(np.diff(z[fit.used]))
    step = float(np.median(steps[steps > 0.0])) if np.any(steps > 0.0) else 0.0
    stored = "lowest z of the approach, as stored; u: its last step as a rectangle"
    nu = max(1, flags["points_used"] - 3)
    results = [
        Result(DISTANCE, fit.distance * 1e9, u_position * 1e9, "nm", distance, flags=flags, trace=trace),
        Result(HEIGHT, fit.z_lowest * 1e9, u_of_rectangle(step * 1e9), "nm", stored, flags=flags),
        Result(POSITION, fit.z0 * 1e9, u_position * 1e9, "nm", position, flags=flags),
        Result(COEFFICIENT, fit.C * 1e9, u_C * 1e9, "nm", METHOD, flags=flags),
        Result(CHI2, fit.chi2_per_dof, (2.0 / nu) ** 0.5, "1", METHOD, flags=flags),
    ]
    if bias is None:
        reason = "the file states no bias; give it to turn the current into a resistance"
        results.append(failed(BULK_RESISTANCE, "MOhm", METHOD, "bias unknown", reason))
    else:
        R = bias / fit.I_inf
        results.append(Result(BULK_RESISTANCE, R / 1e6, abs(R * u_I / fit.I_inf) / 1e6, "MOhm", METHOD, flags=flags))
    return results


def _failed_fit_results(why: NoFit) -> list[Result]:
    names = (
        (DISTANCE, "nm"),
        (HEIGHT, "nm"),
        (POSITION, "nm"),
        (COEFFICIENT, "nm"),
        (CHI2, "1"),
        (BULK_RESISTANCE, "MOhm"),
    )
    return [failed(name, unit, METHOD, why.outcome, why.reason) for name, unit in names]


def _resistance_result(z: F64, current: F64, bias: float | None, fit: ApproachFit | NoFit) -> Result:
    finite = np.isfinite(z) & np.isfinite(current) & (current != 0.0)
    if bias is None:
        reason = "the file states no bias; give it to turn the current into a resistance"
        return failed(RESISTANCE, "MOhm", _RESISTANCE_METHOD, "bias unknown", reason)
    if isinstance(fit, NoFit) and fit.outcome not in ("no approach: current does not fall", "not identifiable"):
        return failed(RESISTANCE, "MOhm", _RESISTANCE_METHOD, fit.outcome, fit.reason)
    far = finite & (z >= 0.5 * (np.nanmax(z[finite]) + np.nanmin(z[finite])))
    R = bias / current[far]
    if R.size < 2 * _BLOCKS:
        reason = f"{R.size} points far from the sample; {2 * _BLOCKS} are needed for an uncertainty"
        return failed(RESISTANCE, "MOhm", _RESISTANCE_METHOD, "too few points", reason)
    means = np.array([np.mean(block) for block in np.array_split(R, _BLOCKS)])
    _, u = mean_with_u(means)
    return Result(RESISTANCE, float(np.mean(R)) / 1e6, u / 1e6, "MOhm", _RESISTANCE_METHOD)


def _fit_trace(fit: ApproachFit, z: F64, current: F64, bias: float | None, shift: float) -> xr.Dataset:
    """The points, which of them were used, the model, and the residual in units of sigma."""
    with np.errstate(divide="ignore", invalid="ignore"):
        model = hyperbola(z, fit.I_inf, fit.C, fit.z0)
    model = np.where(z > fit.z0, model, np.nan)
    points = ("point",)
    data = {
        "z": (points, z),
        "current": (points, current),
        "model": (points, model),
        "residual": (points, (current - model) / fit.sigma),
        "used": (points, fit.used),
        "disturbed": (points, fit.disturbed),
        "from_contact_on": (points, fit.from_contact | fit.aside),
    }
    attrs = {
        "I_inf": fit.I_inf,
        "C": fit.C,
        "z0": fit.z0,
        "u_z0": fit.u[2],
        "z_stop": fit.z_stop,
        "u_model": u_of_rectangle(2.0 * shift),
        "sigma": fit.sigma,
        "chi2_per_dof": fit.chi2_per_dof,
        "current_in_A": bias is not None,
    }
    return xr.Dataset(data, attrs=attrs)
