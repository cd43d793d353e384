"""Voltammograms: peak currents and charges of a run with the pipette current there; peaks of any record, by sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import find_peaks, savgol_coeffs, savgol_filter

from opsicm.analysis.cell.branches import branches, numbered
from opsicm.analysis.cell.derivatives import range_of_noise
from opsicm.analysis.result import Result, Subject, failed
from opsicm.core.statistics import (
    MAD_TO_SIGMA,
    linear_fit,
    noise_from_differences,
    resolution_of,
    resolved_u,
    u_of_rectangle,
)

_SIGN: Final = "negative lithiates"
_JUMP: Final = 0.02  # [V] between two rows; of a sweep there are 1 to 10 mV
_EMPTY: Final = 1e-3  # state of charge that counts as zero
_QUIET: Final = 0.01  # of the peak current: rows below it are the rest before the peak


def cell_results(
    cell: xr.Dataset, slow: xr.Dataset, negligible_charge: float, negligible_current: float
) -> list[Result]:
    """Peak currents of potential-controlled rows, the pipette's change there, and the charge of each branch.

    `cell` and `slow` are the run file's rows (dimension `row`); less than `negligible_charge` [C] or
    `negligible_current` [A] counts as zero. A peak is the largest current of its sign, at a vertex of the sweep too,
    but neither the charging current after a jump of the potential nor the last row; it is the vertex of the parabola
    through that row and its neighbours, its u the rows' scatter and the distance of the vertex from the row. A charge's
    u is that scatter integrated over n rows of dt as white noise, sigma dt √n, half a count, and the difference from
    the integral of the rows. The potentiostat's calibration is in neither; u is None where the rows do not determine
    it. Last comes the state of charge at the end, or why it is unknown. Fails with the outcome "no current" when
    nothing flowed; a run without a sweep has no peaks.
    """
    current, t = cell["current"].values, cell["t_ns"].values * 1e-9
    if current.size < 5 or np.max(np.abs(current)) < negligible_current:
        reason = "no current flowed: run a sweep or a current"
        return [failed("peak_current", "mA", "", "no current", reason, Subject(part="lithiation"))]
    noise = noise_from_differences(current)
    results: list[Result] = []
    turning = (cell["control"].values == "potential") & ~_settling(cell["potential"].values, current, noise)
    turning[-1] = False  # the current after the last row is unknown
    for name, sign in (("lithiation", -1.0), ("delithiation", 1.0)):
        rows = np.flatnonzero(turning & (sign * current > max(negligible_current, _RISES * noise)))
        if rows.size:
            index = int(rows[np.argmax(sign * current[rows])])
            results.extend(_peak_results(name, index, cell, slow, noise))
    charge = cell["charge"].values
    branch_list = branches(t, charge, negligible_charge)
    counted = "the rows' integral" if (cell["control"].values == "unknown").all() else "the potentiostat's charge"
    for number, branch in numbered(branch_list):
        method = (
            f"{counted} between its turns, {branch.start:.0f}–{branch.stop:.0f} s; {_SIGN}; u: scatter "
            "of the current over the rows as white noise, half a count throughout, and the difference from "
            "the integral of the rows; the calibration of the current is not included"
        )
        u = _u_of_charge(t, current, charge, branch.start, branch.stop, noise)
        u_mah = resolved_u(branch.charge / 3.6, u / 3.6)
        of = Subject(part=branch.kind, number=number)
        results.append(Result("charge", branch.charge / 3.6, u_mah, "mAh", method, of=of))
    return [*results, _soc_result(cell, noise)]


def _u_of_charge(
    t: NDArray[np.float64],
    current: NDArray[np.float64],
    charge: NDArray[np.float64],
    start: float,
    stop: float,
    noise: float,
) -> float:
    """u [C] of the counted charge from `start` to `stop` [s]: noise, half a count, difference from the integral."""
    inside = (t >= start) & (t <= stop)
    white = noise * float(np.median(np.diff(t)) * (stop - start)) ** 0.5  # sigma dt √(T/dt)
    counted = float(np.interp(stop, t, charge) - np.interp(start, t, charge))
    other = counted - float(np.trapezoid(current[inside], t[inside]))
    return math.hypot(white, u_of_rectangle(resolution_of(current)) * (stop - start), other)


def _soc_result(cell: xr.Dataset, noise: float) -> Result:
    """State of charge at the end of the run, by the definition of the run file.

    Its u is that of the charge since the state of charge was last 0, or first known, over the capacity.
    """
    name = "soc_at_end"
    method = "charge since the last delithiated cut-off over the reversible capacity between the cut-offs; run file"
    soc = cell["soc"].values if "soc" in cell else np.empty(0)
    known = np.flatnonzero(np.isfinite(soc))
    if not known.size:
        reason = (
            "the run never passed from one cut-off to the other, so neither zero nor capacity is known: begin with "
            "conditioning between the cut-offs"
        )
        return failed(name, "%", method, "no cut-offs", reason)
    last = 100.0 * float(soc[known[-1]]) + 0.0  # never -0
    flags = {"rows_without_soc": int(soc.size - known.size)}
    t, charge = cell["t_ns"].values * 1e-9, cell["charge"].values
    empty = known[np.abs(soc[known]) < _EMPTY]
    begin = int(empty[-1]) if empty.size else int(known[0])
    method += f"; 0 % is what was left at {cell['potential'].values[begin]:.3f} V, {t[begin]:.0f} s"
    if last < 0.0:
        method += "; below 0: less lithium is left than there, as after a hold at that potential"
    moved = float(np.ptp(soc[known]))
    u = None
    if moved > 0.0 and t[known[-1]] > t[begin]:
        capacity = float(np.ptp(charge[known])) / moved
        u_charge = _u_of_charge(t, cell["current"].values, charge, float(t[begin]), float(t[known[-1]]), noise)
        u = resolved_u(last, 100.0 * u_charge / capacity)
    method += f"; u: that of the charge since {t[begin]:.0f} s, that of the capacity not included"
    return Result(name, last, u, "%", method, flags=flags)


def _settling(potential: NDArray[np.float64], current: NDArray[np.float64], noise: float) -> NDArray[np.bool_]:
    """Rows after a jump of the potential, for as long as the magnitude of the current decreases.

    It has stopped to decrease where it is above the lowest so far by more than six times its `noise` [A].
    """
    settling = np.zeros(current.size, dtype=bool)
    size = np.abs(current)
    for jump in np.flatnonzero(np.abs(np.diff(potential)) > _JUMP) + 1:
        after = size[jump:]
        rises = np.flatnonzero(after > np.minimum.accumulate(after) + _RISES * noise)
        settling[jump : jump + (int(rises[0]) if rises.size else after.size)] = True
    return settling


def _peak_results(name: str, index: int, cell: xr.Dataset, slow: xr.Dataset, noise: float) -> list[Result]:
    current = cell["current"].values
    vertex = _vertex(cell["t_ns"].values * 1e-9, current, index)
    at = f"at {cell['potential'].values[index]:.4f} V, {cell['t_ns'].values[index] * 1e-9:.1f} s; {_SIGN}"
    trace = xr.DataArray(current, dims="row", coords={"potential": ("row", cell["potential"].values)})
    half_count = u_of_rectangle(resolution_of(current))
    u = resolved_u(vertex, math.hypot(noise, vertex - current[index], half_count))
    u_mA = None if u is None else u * 1e3
    method, of = f"parabola through the rows {at}", Subject(part=name)
    peak = Result("peak_current", vertex * 1e3, u_mA, "mA", method, trace=trace, of=of)
    return [peak, _pipette_change(of, index, cell, slow, at, noise)]


def _pipette_change(
    of: Subject, index: int, cell: xr.Dataset, slow: xr.Dataset, at: str, current_noise: float
) -> Result:
    """Pipette current at the peak less its mean over the rest before it, at the same coarse height.

    u: the noise of one reading, that of the mean, and the pipette current's standard deviation over the rows around the
    peak whose cell current is as large within 3 of its noise: any of them might have been the peak. A slow drift during
    the rest repeats, so it is in the method and not in u. Fails with fewer than five rows of rest.
    """
    method = f"pipette current {at}, less its mean over the rest before it; far from the surface"
    current, pipette, height = cell["current"].values, slow["pipette_current"].values, slow["coarse_z"].values
    same = np.abs(height[:index] - height[index]) < 1e-6
    rest = np.flatnonzero(same & (np.abs(current[:index]) < _QUIET * abs(current[index])))
    if rest.size < _FEWEST_AT_REST:
        reason = (
            f"{rest.size} rows before the peak have the cell at rest and the pipette at this height, "
            f"{_FEWEST_AT_REST} are needed: begin with a rest"
        )
        return failed("pipette_change_at_peak", "pA", method, "no rest", reason, of)
    change = float(pipette[index] - np.mean(pipette[rest]))
    single = noise_from_differences(pipette)
    lower = np.flatnonzero(np.abs(current - current[index]) > 3.0 * current_noise)
    begin = int(np.max(lower[lower < index], initial=-1)) + 1
    end = int(np.min(lower[lower > index], initial=current.size))
    u = math.hypot(single, single / rest.size**0.5, float(np.std(pipette[begin:end])))
    method += f"; it moved by {1e12 * float(np.ptp(pipette[rest])):.3g} pA during that rest"
    return Result("pipette_change_at_peak", change * 1e12, u * 1e12, "pA", method, of=of)


def _vertex(t: NDArray[np.float64], values: NDArray[np.float64], index: int) -> float:
    """The extreme of the parabola through `index` and its neighbours; the value itself at an end or a plateau."""
    if not 0 < index < values.size - 1:
        return float(values[index])
    x = t[index - 1 : index + 2] - t[index]
    a, b, c = np.polyfit(x / x[2], values[index - 1 : index + 2], 2)
    inside = a != 0.0 and abs(b) <= 2.0 * abs(a)
    return float(c - b * b / (4.0 * a)) if inside else float(values[index])


_FEWEST_AT_REST: Final = 5  # rows
_RISES: Final = 6.0  # times the noise
# Peaks of a voltammogram from any instrument.

F64 = NDArray[np.float64]
_LEAST: Final = 0.05  # prominence as a share of the sweep's span of current
_WINDOW_V: Final = 0.02  # [V] of the smoothing
_WIDEST: Final = 2  # windows to either side: the widest parabola through a noisy peak
_MISFIT: Final = 2.0  # of the noise's variance: a wider range that leaves more is no parabola
_CURVATURE_U: Final = 0.1  # largest relative u of the parabola's curvature


@dataclass(frozen=True, slots=True)
class Peak:
    """A peak: `potential` [V], `current` [A] as measured (without baseline correction), `prominence` [A], u of both.

    `sweep` counts from 0; `anodic` True on the sweep to higher potentials. `row` of the record.
    """

    sweep: int
    anodic: bool
    potential: float
    u_potential: float
    current: float
    u_current: float
    prominence: float
    row: int


def sweep_peaks(
    potential: F64, current: F64, sweeps: Sequence[slice], least: float = _LEAST, digits: float = 0.0
) -> list[Peak]:
    """Peaks of every one of `sweeps` (rows at one rate): maxima on anodic sweeps, minima on cathodic ones.

    `potential` [V], `current` [A] (anodic positive), (n,), in order of time. A peak stands out by `least` of the
    sweep's span of current after a Savitzky-Golay parabola over 20 mV, and by what the noise of the smoothed current
    (with `digits` [A], the standard deviation of its rounding) reaches by chance in the n windows of the sweep
    (`range_of_noise`); noise that grows with the current is judged at the peak. Its position is the vertex of a
    parabola through the raw rows within 20 mV, or within up to 80 mV where noise hides the curvature of the smaller
    range: if the curvature is known to worse than a tenth, the vertex is farther off than its regression says. u from
    that regression, and from how the vertex moves with the range, by which a lopsided peak is no parabola; no baseline
    is subtracted, so capacitive current and the foot of the next peak are in `current`. Extremes at the ends of a
    sweep, and vertices that are not located within the widest range (80 mV), are not peaks. Fails (empty list) without
    a peak.
    """
    peak_list: list[Peak] = []
    for number, rows in enumerate(sweeps):
        e, i = potential[rows], current[rows]
        anodic = bool(e[-1] > e[0])
        y = i if anodic else -i
        per_row = float(np.ptp(e)) / e.size
        window = max(5, 2 * round(0.5 * _WINDOW_V / per_row) + 1)
        if e.size < 2 * window:
            continue
        smooth = savgol_filter(y, window, 2)
        gain = float(np.sqrt(np.sum(savgol_coeffs(window, 2) ** 2)))
        chance = range_of_noise(e.size / window)
        usual = max(_noise(i), digits)
        limit = max(least * float(np.ptp(smooth)), chance * gain * usual)
        indices, properties = find_peaks(smooth, prominence=limit)
        for index, prominence in zip(indices, properties["prominences"], strict=True):
            half = max(window // 2, 3)
            # Nearer to an end it belongs to the turn, where the charging current changes sign.
            if not window <= index < e.size - window:
                continue
            beside = slice(max(0, int(index) - 2 * window), int(index) + 2 * window + 1)
            noise = max(usual, _noise(i[beside]))
            if prominence < chance * gain * noise:
                continue
            fit = near = _parabola(e, i, int(index), half, noise)
            widest = min(int(index), e.size - 1 - int(index), _WIDEST * window)
            while not fit.resolved and (half := 3 * half // 2) <= widest:
                wider = _parabola(e, i, int(index), half, noise)
                if wider.variance > _MISFIT * noise**2 or abs(wider.vertex - near.centre) > _WINDOW_V:
                    break  # not a parabola any more, or the next peak
                fit = wider
            at, u_at, (top, u_top) = fit.vertex, fit.u_vertex, near.value(fit.vertex)
            u_at = math.hypot(u_at, _lopsided(e, i, int(index), half, noise, fit))
            if u_at > _WIDEST * _WINDOW_V:
                continue
            peak_list.append(Peak(number, anodic, at, u_at, top, u_top, float(prominence), rows.start + int(index)))
    return peak_list


def _noise(current: F64) -> float:
    """Standard deviation of one current by the median second difference: peaks and steps among them do not count."""
    return MAD_TO_SIGMA * float(np.median(np.abs(np.diff(current, 2)))) / 6.0**0.5 if current.size > 4 else 0.0


def _lopsided(e: F64, i: F64, index: int, half: int, noise: float, fit: _Parabola) -> float:
    """u [V] of a vertex for want of a parabola: what two thirds of the range, seen from its end, say of none.

    A cubic term moves the vertex by the square of the range, so from two thirds to nothing it goes 4/5 as far again as
    from the whole to two thirds: 9/5 of that difference. Less than 2.5 of the difference's own u is noise.
    """
    inner = max(2 * half // 3, 3)
    if inner >= half:
        return 0.0
    near = _parabola(e, i, index, inner, noise)
    moved = abs(near.vertex - fit.vertex)
    unsure = math.sqrt(max(near.u_vertex**2 - fit.u_vertex**2, 0.0))
    return 1.8 * moved if moved > 2.5 * unsure and moved < _WINDOW_V else 0.0


@dataclass(frozen=True, slots=True)
class _Parabola:
    """Least squares through rows: `vertex` [V], residual `variance` [A²], `resolved`: curvature known to a tenth."""

    centre: float
    coefficients: F64
    covariance: F64
    variance: float
    vertex: float
    u_vertex: float
    resolved: bool

    def value(self, at: float) -> tuple[float, float]:
        """(current, u) [A] at `at` [V]."""
        row = np.array([1.0, at - self.centre, (at - self.centre) ** 2])
        return float(row @ self.coefficients), float(np.sqrt(row @ self.covariance @ row))


def _parabola(potential: F64, current: F64, index: int, half: int, noise: float) -> _Parabola:
    near = slice(max(0, index - half), index + half + 1)
    e, i = potential[near], current[near]
    centre = float(np.mean(e))
    x = e - centre
    fit = linear_fit(np.vander(x, 3, increasing=True), i)
    c, variance = fit.coefficients, fit.sigma**2
    covariance = fit.inverse * max(variance, noise**2 if np.isfinite(noise) else 0.0)
    if c[2] == 0.0:
        return _Parabola(centre, c, covariance, variance, centre, float(np.ptp(e)), False)
    vertex = -c[1] / (2.0 * c[2])
    if abs(vertex) > np.ptp(e):
        vertex = x[int(np.argmax(np.abs(i - i.mean())))]
    by = np.array([0.0, -0.5 / c[2], c[1] / (2.0 * c[2] ** 2)])
    unsure = float(covariance[2, 2] ** 0.5 / abs(c[2]))
    # Second-order term in the relative u of the curvature.
    u_vertex = float(np.sqrt(by @ covariance @ by)) * (1.0 + 3.0 * unsure**2) ** 0.5
    return _Parabola(centre, c, covariance, variance, float(centre + vertex), u_vertex, unsure <= _CURVATURE_U)
