"""E1 and E12: pipettes alone, in baths of known salt and over hours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from opsicm.analysis.pipette.calibration import Calibration, calibrate
from opsicm.analysis.result import Result
from opsicm.core.errors import OutsideDomain
from opsicm.core.statistics import straight_line
from opsicm.reproduction.evaluation.estimators import F64, Estimate, undetermined
from opsicm.reproduction.evaluation.rig_drift import slope_of_walk, with_walk
from opsicm.reproduction.evaluation.row_value import estimated, missing, row_value
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.reproduction.paper import WITHIN

_SALT = "salt_M"
RANGES = {"": (0.5, 1.5), "_low": (0.25, 1.0)}  # [M], ending of the row: the text prints none
BIAS = 0.7  # [V] where the paper reads the current
_NEAR = 0.05  # [V]
_FEWEST_SALTS = 3
_SWEPT = 0.1  # [V] range of a bias that is swept


def line_of(chosen: Sequence[AnalysedRun]) -> Calibration:
    """The line through the currents at `BIAS` of several pipettes, each over its own factor.

    Without the factors, R² would reflect the sizes of the pipettes. Fails (`OutsideDomain`) with too few
    concentrations.
    """
    c = np.array([1e3 * float(run.value(_SALT)) for run in chosen])
    current = np.array([current_at(run, BIAS) for run in chosen])
    radii = np.array([float(run.run.parameters["pipette"]["radius_m"]) for run in chosen])
    pipette = np.unique(radii, return_inverse=True)[1].astype(np.int64)
    return calibrate(c, current / calibrate(c, current, pipette=pipette).factors[pipette])


def calibration(runs: ExperimentRuns) -> list[Result]:
    """E1: linearity of the current at +0.7 V in the salt outside, over two ranges."""
    rows: list[Result] = []
    swept = [run for run in runs.of() if float(np.ptp(bias_sweep(run)[0])) > _SWEPT]
    for ending, (least, most) in RANGES.items():
        rows += _line_rows(ending, [run for run in swept if least <= float(run.value(_SALT)) <= most])
    return rows


def _line_rows(suffix: str, chosen: Sequence[AnalysedRun]) -> list[Result]:
    names = (f"E1.linearity{suffix}", f"E1.slope{suffix}")
    salts = sorted({float(run.value(_SALT)) for run in chosen})
    if len(salts) < _FEWEST_SALTS:
        reason = f"{len(salts)} concentrations of salt in this range; {_FEWEST_SALTS} are needed to see a line"
        return [estimated(name, undetermined(reason), "", "") for name in names]
    try:
        line = line_of(chosen)
    except OutsideDomain as error:
        return [missing(name, str(error)) for name in names]
    count = len({run.run.parameters["pipette"]["radius_m"] for run in chosen})
    how = f"line through {line.c.size} currents at +{BIAS:g} V, {count} pipettes, each over its own factor"
    linearity = row_value(names[0], line.r_squared, None, "1", f"R² of the {how}")
    low, high = float(line.c.min()), float(line.c.max())
    mean = float(line.at(np.array(0.5 * (low + high))))
    percent = 100.0 * (high - low) / mean
    slope = Estimate(percent * float(line.slope(np.array(low))), abs(percent) * float(line.covariance[1, 1] ** 0.5))
    if line.r_squared < 1.0 - WITHIN:
        slope = undetermined(f"the current follows no line (R² {line.r_squared:.2f}), and so has no one slope")
    method = f"slope times {low:g}–{high:g} mol/m³ over the current at the middle; {how}"
    return [linearity, estimated(names[1], slope, "%", method)]


def pipettes(runs: ExperimentRuns) -> list[Result]:
    """E12: conductance against aperture, spread of pipettes made alike, drift at constant bias."""
    chosen = [run for run in runs.of() if float(np.ptp(bias_sweep(run)[0])) > _SWEPT]
    if not chosen:
        return [missing("E12.size", "no run swept the bias of the pipette electrode")]
    radius = np.array([float(run.run.parameters["pipette"]["radius_m"]) for run in chosen])
    conductance = np.array([slope_of(run) for run in chosen])
    rows: list[Result] = []
    if np.unique(radius).size >= 3:
        line = straight_line(1e9 * radius, 1e9 * conductance)
        sizes = f"{1e9 * radius.min():g}–{1e9 * radius.max():g} nm"
        rows.append(row_value("E12.size", line.slope, line.u_slope, "nS/nm", f"line of dI/dV over the radius, {sizes}"))
    alike = np.abs(radius - np.median(radius)) < 0.1 * np.median(radius)
    if int(alike.sum()) >= 3:
        resistance = 1.0 / conductance[alike]
        spread = 100.0 * float(np.std(resistance, ddof=1) / np.mean(resistance))
        u = spread / (2.0 * (resistance.size - 1.0)) ** 0.5
        method = f"standard deviation of the resistance, {resistance.size} pipettes within 10 % of one radius"
        rows.append(row_value("E12.spread", spread, u, "%", method))
    middle = chosen[int(np.argmin(np.abs(radius - np.median(radius))))]
    t, i = at_final_bias(middle)
    if t.size >= 20:
        line = straight_line(t / 3600.0, i / abs(float(i.mean())))
        method = f"line through {t.size} rows at constant bias, {np.ptp(t) / 60.0:.3g} min"
        drift = row_value("E12.drift", 100.0 * line.slope, 100.0 * line.u_slope, "%/h", method)
        rows.append(with_walk(drift, 100.0 * 3600.0 * slope_of_walk(middle, float(np.ptp(t)))))
    return rows


def current_at(run: AnalysedRun, volts: float) -> float:
    """Pipette current [A] at a bias [V]: a line through the readings of both directions within 50 mV."""
    bias, current = bias_sweep(run)
    near = np.abs(bias - volts) < _NEAR
    return straight_line(bias[near], current[near]).at(volts)[0]


def slope_of(run: AnalysedRun) -> float:
    """dI/dV [S] over the whole sweep of the bias."""
    bias, current = bias_sweep(run)
    return straight_line(bias, current).slope


def bias_sweep(run: AnalysedRun) -> tuple[F64, F64]:
    """(bias [V], current [A]) of the pipette voltammogram: means over about a millisecond of samples."""
    for segment in run.run.segments():
        mean = run.run.decimated(segment)["mean"]
        bias = mean.sel(channel="pipette_bias").values
        if float(np.ptp(bias)) > _SWEPT:
            return bias, mean.sel(channel="pipette_current").values
    slow = run.run.slow
    return slow["pipette_bias"].values, slow["pipette_current"].values


def at_final_bias(run: AnalysedRun) -> tuple[F64, F64]:
    """(time [s], current [A]) of the slow rows at the bias in which the run ends."""
    slow = run.run.slow
    bias = slow["pipette_bias"].values
    other = np.flatnonzero(np.abs(bias - bias[-1]) > 1e-3)
    first = int(other[-1]) + 1 if other.size else 0
    return slow["t_ns"].values[first:] * 1e-9, slow["pipette_current"].values[first:]
