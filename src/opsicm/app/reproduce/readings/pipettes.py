"""E1 and E12: pipettes alone, in baths of known salt and over hours."""

from __future__ import annotations

import numpy as np

from opsicm.analysis.calibration import calibrate
from opsicm.analysis.result import Result
from opsicm.app.reproduce.declared import AS_DECLARED, KAPPA_PROPORTIONAL
from opsicm.app.reproduce.open_runs import Analysed, Runs
from opsicm.app.reproduce.readings.reading import F64, missing, reading
from opsicm.errors import OutsideDomain

_SALT = "salt_M"
_AT = 0.7  # [V] where the paper reads the current


def calibration(runs: Runs) -> list[Result]:
    """E1: how straight the current at +0.7 V is in the salt outside, under both conductivities."""
    rows: list[Result] = []
    for variant, suffix in ((AS_DECLARED, ""), (KAPPA_PROPORTIONAL, "_proportional")):
        chosen = runs.of(variant)
        c = np.array([1e3 * float(run.value(_SALT)) for run in chosen])
        current = np.array([current_at(run, _AT) for run in chosen])
        radii = np.array([float(run.run.parameters["pipette"]["radius_m"]) for run in chosen])
        pipette = np.unique(radii, return_inverse=True)[1].astype(np.int64)
        names = (f"E1.linearity{suffix}", f"E1.slope{suffix}")
        try:
            line = calibrate(c, current, pipette=pipette)
        except OutsideDomain as error:
            rows += [missing(name, str(error)) for name in names]
            continue
        count = int(pipette.max()) + 1
        how = f"line through {c.size} currents at +{_AT:g} V, {count} pipettes with a factor each"
        rows.append(reading(names[0], line.r_squared, None, "1", f"R² of the {how}"))
        low, high = float(c.min()), float(c.max())
        mean = float(line.at(np.array(0.5 * (low + high))))
        slope = float(line.slope(np.array(low)))
        u = float(line.covariance[1, 1] ** 0.5) * (high - low) / abs(mean)
        method = f"slope times {low:g}–{high:g} mol/m³ over the current at the middle; {how}"
        rows.append(reading(names[1], 100.0 * slope * (high - low) / mean, 100.0 * u, "%", method))
    return rows


def pipettes(runs: Runs) -> list[Result]:
    """E12: conductance against aperture, spread of pipettes made alike, drift at constant bias."""
    swept = [run for run in runs.of() if float(np.ptp(run.run.slow["pipette_bias"].values)) > 0.1]
    held = [run for run in runs.of() if run not in swept]
    rows: list[Result] = []
    if len(swept) >= 3:
        radius = np.array([float(run.run.parameters["pipette"]["radius_m"]) for run in swept])
        conductance = np.array([slope_of(run) for run in swept])
        basis = np.column_stack((np.ones(radius.size), 1e9 * radius))
        c, *_ = np.linalg.lstsq(basis, 1e9 * conductance, rcond=None)
        rest = 1e9 * conductance - basis @ c
        variance = float(rest @ rest) / max(radius.size - 2, 1)
        u = float((np.linalg.inv(basis.T @ basis)[1, 1] * variance) ** 0.5)
        said = f"{1e9 * radius.min():g}–{1e9 * radius.max():g} nm"
        rows.append(reading("E12.size", float(c[1]), u, "nS/nm", f"line of dI/dV over the radius, {said}"))
        alike = np.abs(radius - np.median(radius)) < 0.2 * np.median(radius)
        if alike.sum() >= 3:
            spread = 100.0 * float(np.std(1 / conductance[alike], ddof=1) / np.mean(1 / conductance[alike]))
            u = spread / (2.0 * (alike.sum() - 1)) ** 0.5
            method = f"standard deviation of the resistance, {int(alike.sum())} pipettes within 20 % of one radius"
            rows.append(reading("E12.spread", spread, u, "%", method))
    for run in held[:1]:
        t, i = run.run.slow["t_ns"].values * 1e-9 / 3600.0, run.run.slow["pipette_current"].values
        x = t - t.mean()
        slope = float(x @ (i - i.mean()) / (x @ x))
        rest = i - i.mean() - slope * x
        u = float((rest @ rest / max(x.size - 2, 1) / (x @ x)) ** 0.5)
        scale = 100.0 / abs(float(i.mean()))
        rows.append(
            reading("E12.drift", scale * slope, scale * u, "%/h", f"line through {x.size} rows, {np.ptp(t):.2g} h")
        )
    return rows


def current_at(run: Analysed, volts: float) -> float:
    """Pipette current [A] at a bias [V], by interpolation in the run's rows of the sweep."""
    bias, current = _curve(run)
    order = np.argsort(bias, kind="stable")
    return float(np.interp(volts, bias[order], current[order]))


def slope_of(run: Analysed) -> float:
    """dI/dV [S] over the whole sweep of the bias."""
    bias, current = _curve(run)
    return float(np.polyfit(bias, current, 1)[0])


def _curve(run: Analysed) -> tuple[F64, F64]:
    slow = run.run.slow
    return slow["pipette_bias"].values, slow["pipette_current"].values
