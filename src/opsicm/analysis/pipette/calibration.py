"""Calibration of current or conductance against concentration, with several pipettes, and its inversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.pipette.modulation import conductance_fit
from opsicm.analysis.result import Result, failed
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.statistics import (
    effective_freedom,
    linear_fit,
    mean_with_u,
    median_with_u,
    robust_sigma,
    student_factor,
)

F64 = NDArray[np.float64]
_LEAST_SENSITIVITY: Final = 0.05  # |d ln I / d ln c| below which an inversion is not identifiable
_LEAST_SLOPE_OVER_U: Final = 3.0  # slope over its u


@dataclass(frozen=True, slots=True)
class Calibration:
    """I = sum of coefficient·c^k by least squares: `coefficients` [A, A/(mol/m³), …], `covariance`, `sigma` [A].

    `c`, `current`, `residuals` as fitted; `r_squared`; `u_common` the relative spread of the pipettes' factors (0 for
    one pipette), `factors` those factors (mean 1); `degree` 1 is the line.
    """

    coefficients: F64
    covariance: F64
    sigma: float
    r_squared: float
    c: F64
    current: F64
    residuals: F64
    degree: int
    factors: F64
    u_common: float

    @property
    def freedom(self) -> int:
        """Degrees of freedom of `sigma`."""
        return int(self.c.size - self.degree - 1 - (self.factors.size - 1))

    def at(self, c: F64) -> F64:
        """Current [A] at `c` [mol/m³]."""
        return np.asarray(np.polynomial.polynomial.polyval(c, self.coefficients), dtype=np.float64)

    def slope(self, c: F64) -> F64:
        """dI/dc [A/(mol/m³)]."""
        derivative = np.polynomial.polynomial.polyder(self.coefficients)
        return np.asarray(np.polynomial.polynomial.polyval(c, derivative), dtype=np.float64)

    def u_fit(self, c: F64) -> F64:
        """Standard uncertainty [A] of the fitted current at `c` for *these* pipettes: of the mean, not of a reading."""
        basis = np.vander(np.atleast_1d(np.asarray(c, dtype=np.float64)), self.degree + 1, increasing=True)
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", basis, self.covariance, basis)), dtype=np.float64)

    def u_pipettes(self, c: F64, new: float = 0.0) -> F64:
        """u [A] from the spread of the pipettes at `c`: of their mean 1/sqrt(n) of the spread; of another pipette made
        alike, which was not calibrated (`new` = 1), the whole spread as well."""
        share = self.u_common * (1.0 / self.factors.size + new) ** 0.5
        return np.atleast_1d(np.abs(self.at(c)) * share)

    def band(self, c: F64, confidence: float = 0.95) -> F64:
        """Half width [A] of the confidence band of the mean of all pipettes made alike, at each `c` (point by point).

        Student's t with the degrees of freedom by Welch and Satterthwaite: few pipettes determine their spread poorly.
        """
        fit, pipettes = self.u_fit(c), self.u_pipettes(c)
        freedom = effective_freedom([(fit, self.freedom), (pipettes, self.factors.size - 1)])
        return np.asarray(np.hypot(fit, pipettes) * student_factor(freedom, confidence))


@dataclass(frozen=True, slots=True)
class Concentration:
    """Concentration from a current: `value`, `u` [mol/m³], `sensitivity` d ln I/d ln c, `identifiable` or `reason`."""

    value: float | None
    u: float | None
    sensitivity: float
    identifiable: bool
    reason: str


def calibrate(c: F64, current: F64, degree: int = 1, pipette: NDArray[np.int64] | None = None) -> Calibration:
    """Least squares of current on concentration: degree 1 the line of E1, degree 2 a curve.

    `c` [mol/m³], `current` [A], (n,); `pipette` (n,) numbers the pipettes when there are several: each then has a
    factor on the current (mean 1), the ratio of its currents to the common fit, because pipettes made alike differ in
    size. Assumes concentrations known exactly and noise of equal size; R² alone proves no line (a maximum of the
    conductivity near 1 M passes 0.38): look at `residuals`. Fails (`OutsideDomain`) with too few different
    concentrations. Source: Draper and Smith, Applied Regression Analysis, 3rd ed., (1.4.10).
    """
    number = np.zeros(c.size, dtype=np.int64) if pipette is None else np.unique(pipette, return_inverse=True)[1]
    count = int(number.max()) + 1 if c.size else 0
    if np.unique(c).size < degree + 1 or c.size - degree - 1 - (count - 1) < 1:
        limit = f"degree {degree} with {count} pipettes needs more, and at least {degree + 1} different ones"
        raise OutsideDomain(Problem("calibration", f"{c.size} points", limit, "measure more concentrations"))
    scale = float(np.max(np.abs(c))) or 1.0
    basis = np.vander(c / scale, degree + 1, increasing=True)
    factors: F64 = np.ones(count)
    coefficients: F64 = np.zeros(degree + 1)
    for _ in range(100):
        scaled = basis * factors[number][:, None]
        coefficients = linear_fit(scaled, current).coefficients
        model = basis @ coefficients
        if count == 1:
            break
        members = [number == k for k in range(count)]
        new = np.array([float(current[m] @ model[m]) / float(model[m] @ model[m]) for m in members])
        new = new / np.mean(new)
        if np.max(np.abs(new - factors)) < 1e-12:
            break
        factors = new
    scaled = basis * factors[number][:, None]
    residuals = current - scaled @ coefficients
    freedom = c.size - degree - 1 - (count - 1)
    sigma = float(np.sqrt(np.sum(residuals**2) / freedom))
    covariance = np.linalg.inv(scaled.T @ scaled) * sigma**2
    powers = scale ** -np.arange(degree + 1.0)
    total = float(np.sum((current - current.mean()) ** 2))
    common = float(np.std(factors, ddof=1)) if count > 1 else 0.0
    return Calibration(
        coefficients * powers,
        covariance * np.outer(powers, powers),
        sigma,
        1.0 - float(np.sum(residuals**2)) / total if total > 0.0 else 0.0,
        c,
        current,
        residuals,
        degree,
        factors,
        common,
    )


def concentration(calibration: Calibration, current: float, u_current: float = 0.0) -> Concentration:
    """Concentration [mol/m³] behind a `current` [A], within the calibrated range; u by the slope, with the band.

    The current is that of another pipette made alike (or of the only one): u = hypot(u_current, u of the fit, spread of
    the pipettes · I · sqrt(1 + 1/n))/|dI/dc|, first order (compare Fieller's interval when u is a tenth of c). u is
    enlarged by t(0.975)/1.96 of its effective degrees of freedom, so that two u are 95 % with few pipettes as well.
    Not identifiable, with the reason, where d ln I/d ln c is below 0.05 in size or the slope not three of its own u
    from zero, or where several concentrations of the range give this current, or none.
    """
    low, high = float(calibration.c.min()), float(calibration.c.max())
    polynomial = calibration.coefficients.copy()
    polynomial[0] -= current
    roots = np.polynomial.polynomial.polyroots(polynomial)
    margin = 1e-9 * (high - low)
    inside = [float(r.real) for r in roots if abs(r.imag) < 1e-9 * high and low - margin <= r.real <= high + margin]
    if len(inside) != 1:
        middle = 0.5 * (low + high)
        sensitivity = float(calibration.slope(np.array(middle)) * middle / current) if current else 0.0
        word = "no concentration" if not inside else f"{len(inside)} concentrations"
        return Concentration(
            None, None, sensitivity, False, f"{word} from {low:g} to {high:g} mol/m³ give this current"
        )
    c = inside[0]
    slope = float(calibration.slope(np.array(c)))
    sensitivity = slope * c / current
    by = np.arange(calibration.degree + 1) * np.concatenate(([0.0], c ** np.arange(float(calibration.degree))))
    u_slope = float(np.sqrt(by @ calibration.covariance @ by))
    if abs(sensitivity) < _LEAST_SENSITIVITY or abs(slope) < _LEAST_SLOPE_OVER_U * u_slope:
        reason = (
            f"d ln I/d ln c is {sensitivity:.3f} at {c:g} mol/m³, slope {slope:.3g} ± {u_slope:.2g} A/(mol/m³): the "
            "current hardly depends on the concentration; work at 0.3-0.5 M"
        )
        return Concentration(None, None, sensitivity, False, reason)
    fit, pipettes = calibration.u_fit(np.array(c)), calibration.u_pipettes(np.array(c), new=1.0)
    parts = [(np.array([u_current]), np.inf), (fit, calibration.freedom), (pipettes, calibration.factors.size - 1)]
    u = np.sqrt(sum(part**2 for part, _ in parts)) * student_factor(effective_freedom(parts)) / student_factor(np.inf)
    return Concentration(c, float(u[0] / abs(slope)), sensitivity, True, "")


# Concentration from the conductance of modulated hops.

NAME: Final = "concentration"
_NEAR: Final = 0.01  # [V] either side of a level
_FEWEST: Final = 5  # samples of a level, hops at either end
_BENT: Final = 3.0  # second coefficient over its u: beyond it a parabola is used
_METHOD: Final = "conductance at the levels, inverted by the calibration of conductance against salt"


def no_calibration() -> Result:
    """The failed concentration of a modulated run without a calibration."""
    reason = (
        "conductance alone determines no concentration: name runs of pipette_sweep in three or more baths, which reach "
        "the same levels, beside this run"
    )
    return failed(NAME, "mM", _METHOD, "no calibration", reason)


def conductance_at_levels(bias: F64, current: F64, levels: F64) -> float | None:
    """Conductance [S] that a current-voltage curve, `bias` [V] and `current` [A] (n,), has between the `levels` [V].

    The straight line through the mean currents within 10 mV of each level, as `conductance_fit` draws it through the
    levels of a modulation: the same few per cent of rectification are in both. None where a level was not swept.
    """
    means, us = [], []
    for level in levels:
        near = current[np.abs(bias - level) <= _NEAR]
        if near.size < _FEWEST:
            return None
        mean, u = mean_with_u(near)
        means.append(mean)
        us.append(u)
    # Equal weights: most of the scatter about a level is the slope itself.
    fit = conductance_fit(levels, np.array(means), np.full(len(means), max(us)))
    return None if fit is None else fit[0]


def conductance_calibration(c: F64, conductance: F64, pipette: NDArray[np.int64]) -> Calibration:
    """Line of `conductance` [S] on `c` [mol/m³], (n,), of numbered pipettes; a parabola where it is clearly curved.

    Fails (`OutsideDomain`) as `calibrate` does.
    """
    line = calibrate(c, conductance, 1, pipette)
    try:
        curve = calibrate(c, conductance, 2, pipette)
    except OutsideDomain:
        return line
    bent = abs(float(curve.coefficients[2])) > _BENT * float(curve.covariance[2, 2]) ** 0.5
    return curve if bent else line


def concentration_results(calibration: Calibration, series: xr.Dataset) -> list[Result]:
    """Median concentration over modulated hops, its change from first to last, and the sensitivity that governs u.

    `series`: `conductance`, `u_conductance` [S] over `hop` with `t` [s], as the trace of `modulation_results` has them.
    u of the median: the calibration's band and the pipettes' spread, common to all hops, and the scatter over the hops
    over sqrt(n). In a change the common part cancels to first order and is left out. A hop where d ln G/d ln c is too
    small, or whose conductance lies outside the calibrated range, is counted and left out; with fewer than half of them
    left the result is "not identifiable". Assumes the same kind of pipette as in the calibration.
    """
    conductance, u_conductance = series["conductance"].values, series["u_conductance"].values
    inverted = [concentration(calibration, float(a), float(b)) for a, b in zip(conductance, u_conductance, strict=True)]
    good = np.array([one.value is not None for one in inverted], dtype=bool)
    flags = {"places_not_identifiable": int((~good).sum())}
    sensitivity = np.array([one.sensitivity for one in inverted])
    middle = float(np.median(sensitivity))
    sensitivity_method = (
        "d ln G/d ln c of the calibration, median over the hops; u: their scatter. Below 0.05 nothing is inverted"
    )
    results = [Result("concentration_sensitivity", middle, robust_sigma(sensitivity), "1", sensitivity_method)]
    kind = f"{_METHOD}, of degree {calibration.degree} through {calibration.c.size} points"
    if 2 * int(good.sum()) < good.size:
        reason = next(one.reason for one in inverted if one.value is None)
        reason = f"{int((~good).sum())} of {good.size} hops: {reason}"
        return [failed(NAME, "mM", kind, "not identifiable", reason), *results]
    c = np.array([np.nan if one.value is None else one.value for one in inverted])
    # u of a single hop, without the part common to all.
    slope = np.abs(np.asarray(calibration.slope(c)))
    u_single = u_conductance / slope
    known = c[good]
    common = concentration(calibration, float(np.median(conductance[good])))
    shared = common.u if common.u is not None else 0.0
    n = int(good.sum())
    level, u_level = median_with_u(known, float(np.nanmedian(u_single)))
    u = float(np.hypot(shared, u_level))
    trace = xr.Dataset(
        {"concentration": ("hop", c), "u": ("hop", u_single), "sensitivity": ("hop", sensitivity)},
        coords={"t": ("hop", series["t"].values)},
        attrs={"units": "mol/m3", "u_common": shared},
    )
    method = f"{kind}; median over {n} hops, u of one {float(np.nanmedian(u_single)):.3g} mM"
    first = [Result(NAME, level, u, "mM", method, flags=flags, trace=trace)]
    if n >= 2 * _FEWEST:
        m = max(n // 10, 3)
        (last, u_last), (begin, u_begin) = mean_with_u(known[-m:]), mean_with_u(known[:m])
        change_method = f"mean of the last {m} hops less mean of the first {m}; the calibration's u left out"
        u = float(np.hypot(u_last, u_begin))
        first.append(Result("concentration_change", last - begin, u, "mM", change_method, flags=flags))
    return [*first, *results]
