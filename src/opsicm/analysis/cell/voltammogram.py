"""Voltammograms: peak currents and charges of a run with the pipette current there; peaks of any record, by sweep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import find_peaks, savgol_filter

from opsicm.analysis.cell.branches import branches, numbered
from opsicm.analysis.result import Result, Subject, failed
from opsicm.core.statistics import linear_fit, noise_from_differences, resolution_of, resolved_u, u_of_rectangle

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
        rows = np.flatnonzero(turning & (sign * current > negligible_current))
        if rows.size:
            index = int(rows[np.argmax(sign * current[rows])])
            results.extend(_peak_results(name, index, cell, slow, noise))
    charge = cell["charge"].values
    branch_list = branches(t, charge, negligible_charge)
    for number, branch in numbered(branch_list):
        method = (
            f"the potentiostat's charge between its turns, {branch.start:.0f}–{branch.stop:.0f} s; {_SIGN}; u: scatter "
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
_CONSTANT: Final = 3e-3  # [V] a potential that moves by less is constant
_EVEN: Final = 0.15  # largest relative departure from the rate of a sweep
_PART: Final = 0.1  # of the record's range: a smaller sweep is noise
_STAIR: Final = 5e-3  # [V] of a step: those of a potentiostat that sweeps in steps are 1 to 5 mV
_RESTING: Final = 0.2  # median over mean move from row to row of a staircase: most rows lie on its steps
_ROWS: Final = 10


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


def sweeps_between_turns(potential: F64) -> list[slice]:
    """Rows of each sweep between turns of the potential; turns smaller than a tenth of its range are noise."""
    reach = _PART * float(np.ptp(potential))
    if potential.size < _ROWS or reach == 0.0:
        return []
    up, _ = find_peaks(potential, prominence=reach)
    down, _ = find_peaks(-potential, prominence=reach)
    edges = sorted({0, *up.tolist(), *down.tolist(), potential.size - 1})
    return [slice(a, b + 1) for a, b in pairwise(edges) if abs(potential[b] - potential[a]) > reach]


def linear_sweeps(t: F64, potential: F64) -> list[slice]:
    """Rows of each part over which the potential moved at one rate: `t` [s], `potential` [V], (n,), in order.

    Within each of `sweeps_between_turns`, the rate over a fiftieth of its rows must be within 15 % of its median
    (weighted by the potential passed, so that a hold has no weight). Holds, jumps and the curved potential of a
    constant current do not count, nor do the steps of a staircase (held potentials one after the other): its currents
    are transients, whose ends look like peaks. Parts below a tenth of the record's range or ten rows are left out.
    Fails (empty list) where the record moved by less than 3 mV. Assumes that a fiftieth of a sweep is many counts of
    the converter: coarser ones scatter the rate.
    """
    span = float(np.ptp(potential)) if potential.size else 0.0
    if span < _CONSTANT:
        return []
    sweeps = []
    for rows in sweeps_between_turns(potential):
        e, s = potential[rows], t[rows]
        lag = max(1, e.size // 50)
        moved, took = e[lag:] - e[:-lag], s[lag:] - s[:-lag]
        rate = np.divide(moved, took, out=np.zeros_like(moved), where=took > 0.0)
        order = np.argsort(rate)
        weight = np.cumsum(np.abs(moved)[order])
        usual = float(rate[order][int(np.searchsorted(weight, 0.5 * weight[-1]))])
        even = np.abs(rate - usual) <= _EVEN * abs(usual)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], even.astype(np.int8), [0]))))
        for a, b in edges.reshape(-1, 2):
            part = slice(rows.start + int(a), rows.start + int(b) + lag)
            passed = abs(float(potential[part.stop - 1] - potential[part.start]))
            enough = part.stop - part.start >= _ROWS and passed >= _PART * span
            if enough and not _is_staircase(potential[part]):
                sweeps.append(part)
    return sweeps


def _is_staircase(potential: F64) -> bool:
    moves = np.abs(np.diff(potential))
    return bool(moves.max() > _STAIR and np.median(moves) < _RESTING * moves.mean())


def programmed_sweeps(t: F64, program: F64) -> list[slice]:
    """`linear_sweeps` of every stretch of rows over which a potential was asked for: `program` [V], NaN elsewhere.

    The program moves at one rate where the measured potential does not: under compensation of the ohmic drop the actual
    potential at the reference is ahead of it by the drop.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], np.isfinite(program).astype(np.int8), [0]))))
    return [
        slice(sweep.start + int(a), sweep.stop + int(a))
        for a, b in edges.reshape(-1, 2)
        for sweep in linear_sweeps(t[a:b], program[a:b])
    ]


def sweep_peaks(potential: F64, current: F64, sweeps: list[slice], least: float = _LEAST) -> list[Peak]:
    """Peaks of every one of `sweeps` (see `linear_sweeps`): maxima on anodic sweeps, minima on cathodic ones.

    `potential` [V], `current` [A] (anodic positive), (n,), in order of time. A peak stands out by `least` of the
    sweep's span of current after a Savitzky-Golay parabola over 20 mV; its position is the vertex of a parabola through
    the raw rows within 20 mV, or within up to 80 mV where noise hides the curvature of the smaller range: if the
    curvature is known to worse than a tenth, the vertex is farther off than its regression says. u from that
    regression; no baseline is subtracted, so capacitive current and the foot of the next peak are in `current`.
    Extremes at the ends of a sweep are not peaks. Fails (empty list) without a peak.
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
        indices, properties = find_peaks(smooth, prominence=least * float(np.ptp(smooth)))
        for index, prominence in zip(indices, properties["prominences"], strict=True):
            half = max(window // 2, 3)
            # Nearer to an end it belongs to the turn, where the charging current changes sign.
            if not window <= index < e.size - window:
                continue
            noise = noise_from_differences(i)
            fit = near = _parabola(e, i, int(index), half, noise)
            widest = min(int(index), e.size - 1 - int(index), _WIDEST * window)
            while not fit.resolved and (half := 3 * half // 2) <= widest:
                wider = _parabola(e, i, int(index), half, noise)
                if wider.variance > _MISFIT * noise**2 or abs(wider.vertex - near.centre) > _WINDOW_V:
                    break  # not a parabola any more, or the next peak
                fit = wider
            at, u_at, (top, u_top) = fit.vertex, fit.u_vertex, near.value(fit.vertex)
            peak_list.append(Peak(number, anodic, at, u_at, top, u_top, float(prominence), rows.start + int(index)))
    return peak_list


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
