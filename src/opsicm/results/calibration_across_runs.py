"""Calibration of pipette current against concentration over several runs, and concentrations of modulated runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.pipette.calibration import (
    NAME,
    calibrate,
    concentration,
    concentration_results,
    conductance_at_levels,
    conductance_calibration,
)
from opsicm.analysis.result import Result, failed
from opsicm.core.errors import OutsideDomain
from opsicm.figures.pipette import calibration_view
from opsicm.figures.view import View
from opsicm.record.reader import Run
from opsicm.results.evidence import shown

SLOPE: Final = "calibration_slope"
_FEWEST_BATHS: Final = 3
_BENT: Final = 3.0  # curvature over its u: more is no line


def calibration_of(runs: Sequence[tuple[Path, Sequence[Result]]]) -> list[Result]:
    """Line and curve of the current at the pipette's bias against the bath's concentration; [] below three runs.

    `runs`: each with its own results, of which `current_at_bias` is used; pipettes of different size or filling have
    separate factors. A run without a current-voltage curve takes no part.
    """
    points: list[tuple[float, float, tuple[float, ...]]] = []
    for path, results in runs:
        level = next((r for r in results if r.name == "current_at_bias" and r.value is not None), None)
        if level is None or level.value is None:
            continue
        if (bath := _bath(path)) is not None:
            points.append((bath.salt, 1e-9 * level.value, bath.pipette))
    if len(points) < _FEWEST_BATHS:
        return []
    return calibration_results(
        np.array([c for c, _, _ in points]),
        np.array([i for _, i, _ in points]),
        np.array([sorted({q for _, _, q in points}).index(p) for _, _, p in points]),
    )


def modulated_concentrations(runs: Sequence[tuple[Path, Sequence[Result]]]) -> list[Result]:
    """Concentration behind the conductance of every modulated run, calibrated at its levels by the runs with a sweep.

    [] without modulated runs or with fewer than three baths. Only pipettes with the filling of the run are used:
    another filling has another conductance in the same bath. `of.run` names the run where several were modulated.
    """
    modulated = [
        (path, r.trace)
        for path, results in runs
        for r in results
        if r.name == "conductance" and isinstance(r.trace, xr.Dataset)
    ]
    sweeps = [
        (bath, r.trace)
        for path, results in runs
        for r in results
        if r.name == "pipette_resistance" and isinstance(r.trace, xr.DataArray) and (bath := _bath(path))
    ]
    results: list[Result] = []
    for path, places in modulated:
        levels = np.asarray(places.attrs["levels"], dtype=np.float64)
        points = [
            (bath.salt, g, bath.pipette)
            for bath, trace in sweeps
            if (g := conductance_at_levels(trace["bias"].values, trace.values, levels)) is not None
        ]
        if len({c for c, _, _ in points}) < _FEWEST_BATHS:
            continue
        bath = _bath(path)
        points = [point for point in points if bath is not None and point[2][-1] == bath.pipette[-1]]
        if len({c for c, _, _ in points}) < _FEWEST_BATHS:
            filling = "an unknown salt" if bath is None else f"{bath.pipette[-1]:g} mM"
            reason = f"the pipette holds {filling}, and fewer than three of the baths were measured with that filling"
            results.append(failed(NAME, "mM", "", "another filling", reason))
            continue
        pipettes = sorted({pipette for _, _, pipette in points})
        try:
            calibration = conductance_calibration(
                np.array([c for c, _, _ in points]),
                np.array([g for _, g, _ in points]),
                np.array([pipettes.index(pipette) for _, _, pipette in points]),
            )
        except OutsideDomain as error:
            results.append(failed(NAME, "mM", "", "too few concentrations", str(error)))
            continue
        run = path.name if len(modulated) > 1 else ""
        results += [r.within(run=run) for r in concentration_results(calibration, places)]
    return results


@dataclass(frozen=True, slots=True)
class _Bath:
    """Salt [mol/m³] of the bath; the pipette as radius [m], half-cone angle, length [m] and filling [mol/m³]."""

    salt: float
    pipette: tuple[float, ...]


def _bath(path: Path) -> _Bath | None:
    """The bath and pipette of a run; None where no concentration is stated."""
    with Run(path) as run:
        p = run.parameters["pipette"]
        salt = concentration_of(run.parameters["set"]["leaves"])
    pipette = tuple(float(p.get(key, 0.0)) for key in ("radius_m", "cone_angle_rad", "length_m", "fill_mol_m3"))
    return None if salt is None else _Bath(salt, pipette)


def concentration_of(leaves: dict[str, dict[str, object]]) -> float | None:
    """The bath's concentration [mol/m³] as the run's parameters state it."""
    value = leaves.get("concentration", {}).get("value")
    unit = leaves.get("concentration", {}).get("unit")
    if not isinstance(value, int | float):
        return None
    return float(value) * (1e3 if unit == "M" else 1.0)


def calibration_results(
    c: NDArray[np.float64], current: NDArray[np.float64], pipette: NDArray[np.int64]
) -> list[Result]:
    """Slope, R² and greatest residual of the line; whether a curve is needed; u of a concentration.

    `c` [mol/m³], `current` [A], `pipette` number, (n,). The trace holds line, 95 % band, curve and residuals.
    """
    method = "least squares of the current at the pipette's bias on the bath's concentration"
    try:
        line = calibrate(c, current, 1, pipette)
    except OutsideDomain as error:
        return [failed(SLOPE, "pA/mM", method, "too few concentrations", str(error))]
    grid = np.linspace(float(c.min()), float(c.max()), 60)
    trace = xr.Dataset(
        {
            "line": ("grid", line.at(grid)),
            "band": ("grid", line.band(grid)),
            "current": ("point", current),
            "residual": ("point", line.residuals),
            "pipette": ("point", pipette),
        },
        coords={"c": ("grid", grid), "c_point": ("point", c)},
        attrs={"units": "A, mol/m3"},
    )
    how = f"{method}; {c.size} currents, {line.factors.size} pipettes; R² {line.r_squared:.4f}"
    u = float(line.covariance[1, 1] ** 0.5)
    results = [Result(SLOPE, 1e12 * float(line.coefficients[1]), 1e12 * u, "pA/mM", how, trace=trace)]
    worst = float(np.max(np.abs(line.residuals)))
    results.append(
        Result("calibration_largest_residual", 1e12 * worst, 1e12 * line.sigma, "pA", "of the line; u: its residual")
    )
    middle = 0.5 * float(c.min() + c.max())
    back = concentration(line, float(line.at(np.array(middle))))
    how = "the line inverted in the middle of its range; u: its 95 % band and the spread of the pipettes"
    if back.value is None or back.u is None:
        results.append(failed("concentration_in_the_middle", "mM", how, "not identifiable", back.reason))
    else:
        how += f"; d ln I/d ln c {back.sensitivity:.3f}"
        results.append(Result("concentration_in_the_middle", back.value, back.u, "mM", how))
    try:
        curve = calibrate(c, current, 2, pipette)
    except OutsideDomain as error:
        reason = str(error)
        return [*results, failed("calibration_curvature_over_u", "1", method, "too few concentrations", reason)]
    bend, u_bend = float(curve.coefficients[2]), float(curve.covariance[2, 2] ** 0.5)
    how = "second coefficient of a parabola through the same points, over its u: beyond 3 a line is wrong"
    results.append(Result("calibration_curvature_over_u", bend / u_bend if u_bend else 0.0, 1.0, "1", how))
    return results


def calibration_sentences(together: Sequence[Result]) -> list[str]:
    """What a calibration says: whether a line describes it, how far points lie from it, how well it tells a salt."""
    by_name = {r.name: r for r in together if r.value is not None}
    slope = by_name.get(SLOPE)
    if slope is None or not isinstance(slope.trace, xr.Dataset):
        return [f"The salt at the tip was {shown(r)}." for r in by_name.values() if r.name == "concentration"]
    worst, back, bend = (
        by_name.get(name)
        for name in ("calibration_largest_residual", "concentration_in_the_middle", "calibration_curvature_over_u")
    )
    c, current = slope.trace["c_point"].values, 1e9 * slope.trace["current"].values
    levels = np.unique(c)
    means = ", ".join(f"{float(np.mean(current[c == level])):.2f}" for level in levels)
    listed = f"{means} nA at {', '.join(f'{1e-3 * level:g}' for level in levels)} M"
    if bend is not None and abs(bend.value or 0.0) > _BENT:
        falls = bool(np.any(np.diff([float(np.mean(current[c == level])) for level in levels]) < 0.0))
        more = "; it falls again, so that one current belongs to two concentrations" if falls else ""
        over = " (mean over the pipettes)" if np.unique(slope.trace["pipette"].values).size > 1 else ""
        return [f"The current does not grow with the salt on a line: {listed}{over}{more}."]
    sentences = [f"The current grows by {shown(slope)} of salt in the bath: {listed}; a line describes it."]
    if worst is not None:
        sentences.append(f"No point lies farther than {shown(worst)} from the line.")
    if back is not None and back.value:
        share = 100.0 * (back.u or 0.0) / back.value
        sentences.append(f"A concentration in the middle of the range would be known to {share:.2g} %: {shown(back)}.")
    return sentences


def calibration_figure(
    trace: xr.Dataset,
    curves: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]] = (),
    at: float | None = None,
) -> View:
    """The currents against the salt with the line and its band; `curves` of the pipettes above, `at` their bias [V]."""
    pipettes, c, current = (trace[name].values for name in ("pipette", "c_point", "current"))
    on_line = np.interp(c, trace["c"].values, trace["line"].values)
    points = []
    for p in np.unique(pipettes).tolist():
        of = pipettes == p
        own = float(current[of] @ on_line[of] / (on_line[of] @ on_line[of]))  # least squares
        own = own if np.unique(pipettes).size > 1 else 1.0
        points.append((f"pipette {p + 1}", c[of], current[of] / own))
    line = ("line and its 95 % band", trace["c"].values, trace["line"].values, trace["band"].values)
    return calibration_view(curves, points, [line], at)
