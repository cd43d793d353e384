"""Peaks of a voltammogram: potential and current of each, sweep by sweep."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, savgol_filter

from opsicm.analysis.hop_series import scatter

F64 = NDArray[np.float64]
_LEAST: Final = 0.05  # prominence as a share of the sweep's span of current
_WINDOW_V: Final = 0.02
_WIDEST: Final = 2  # windows either way that the parabola of a noisy peak may take
_MISFIT: Final = 2.0  # of the noise's variance, beyond which a wider stretch is no parabola
_BENT: Final = 0.1  # of itself to which the parabola's bend must be known
_STANDS: Final = 3e-3  # [V] a potential that moves by less stands
_EVEN: Final = 0.15  # of its rate by which a sweep may differ from it
_PART: Final = 0.1  # of the record's range
_ROWS: Final = 10


@dataclass(frozen=True, slots=True)
class Peak:
    """A peak: `potential` [V], `current` [A] as measured (no baseline taken away), `prominence` [A], u of both.

    `sweep` counts from 0; `anodic` True on the sweep to higher potentials. `row` is where it was found.
    """

    sweep: int
    anodic: bool
    potential: float
    u_potential: float
    current: float
    u_current: float
    prominence: float
    row: int


def sweeps_of(potential: F64) -> list[slice]:
    """Rows of each sweep between turns of the potential; turns smaller than a tenth of its range are noise."""
    reach = _PART * float(np.ptp(potential))
    if potential.size < _ROWS or reach == 0.0:
        return []
    up, _ = find_peaks(potential, prominence=reach)
    down, _ = find_peaks(-potential, prominence=reach)
    edges = sorted({0, *up.tolist(), *down.tolist(), potential.size - 1})
    return [slice(a, b + 1) for a, b in pairwise(edges) if abs(potential[b] - potential[a]) > reach]


def linear_sweeps(t: F64, potential: F64) -> list[slice]:
    """Rows of each stretch over which the potential moved at one rate: `t` [s], `potential` [V], (n,), in order.

    Within each of `sweeps_of`, the rate over a fiftieth of its rows must be within 15 % of its median (by the potential
    passed, so that a hold has no weight). Holds, jumps and the bent potential of a constant current are none. Stretches
    below a tenth of the record's range or ten rows are left out. Fails (empty list) where the record moved by less than
    3 mV. Assumes that a fiftieth of a sweep is many counts of the converter: coarser ones scatter the rate.
    """
    span = float(np.ptp(potential)) if potential.size else 0.0
    if span < _STANDS:
        return []
    found = []
    for rows in sweeps_of(potential):
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
            if part.stop - part.start >= _ROWS and passed >= _PART * span:
                found.append(part)
    return found


def peaks(potential: F64, current: F64, sweeps: list[slice], least: float = _LEAST) -> list[Peak]:
    """Peaks of every one of `sweeps` (see `linear_sweeps`): maxima on anodic sweeps, minima on cathodic ones.

    `potential` [V], `current` [A] (anodic positive), (n,), in order of time. A peak stands out by `least` of the
    sweep's span of current after a Savitzky-Golay parabola over 20 mV; its place is the vertex of a parabola
    through the raw rows within 20 mV, or within up to 80 mV where noise hides how far the smaller stretch bends: the
    vertex of a parabola known to less than a tenth of its bend lies farther off than its regression says. u from that
    regression; the baseline is not taken away, so capacitive current and the foot of the next peak are in `current`.
    Peaks at the ends of a sweep are not peaks.
    Fails (empty list) where nothing turns.
    """
    found: list[Peak] = []
    for number, rows in enumerate(sweeps):
        e, i = potential[rows], current[rows]
        anodic = bool(e[-1] > e[0])
        y = i if anodic else -i
        per_row = float(np.ptp(e)) / e.size
        window = max(5, 2 * round(0.5 * _WINDOW_V / per_row) + 1)
        if e.size < 2 * window:
            continue
        smooth = savgol_filter(y, window, 2)
        places, how = find_peaks(smooth, prominence=least * float(np.ptp(smooth)))
        for place, prominence in zip(places, how["prominences"], strict=True):
            half = max(window // 2, 3)
            # Nearer to an end it is the turn's: the charging current changes sign there.
            if not window <= place < e.size - window:
                continue
            noise = scatter(i)
            fit = near = _parabola(e, i, int(place), half, noise)
            room = min(int(place), e.size - 1 - int(place), _WIDEST * window)
            while not fit.bent and (half := 3 * half // 2) <= room:
                wider = _parabola(e, i, int(place), half, noise)
                if wider.rest > _MISFIT * noise**2 or abs(wider.at - near.middle) > _WINDOW_V:
                    break  # another shape than a parabola, or the next peak
                fit = wider
            at, u_at, (top, u_top) = fit.at, fit.u_at, near.value(fit.at)
            found.append(Peak(number, anodic, at, u_at, top, u_top, float(prominence), rows.start + int(place)))
    return found


@dataclass(frozen=True, slots=True)
class _Parabola:
    """Least squares through rows: vertex `at` [V], `rest` [A²] of a row, and whether its bend is known to a tenth."""

    middle: float
    coefficients: F64
    covariance: F64
    rest: float
    at: float
    u_at: float
    bent: bool

    def value(self, at: float) -> tuple[float, float]:
        """(current, u) [A] at `at` [V]."""
        row = np.array([1.0, at - self.middle, (at - self.middle) ** 2])
        return float(row @ self.coefficients), float(np.sqrt(row @ self.covariance @ row))


def _parabola(potential: F64, current: F64, place: int, half: int, noise: float) -> _Parabola:
    near = slice(max(0, place - half), place + half + 1)
    e, i = potential[near], current[near]
    middle = float(np.mean(e))
    x = e - middle
    basis = np.vander(x, 3, increasing=True)
    c = np.asarray(np.linalg.lstsq(basis, i, rcond=None)[0], dtype=np.float64)
    rest = float(np.sum((i - basis @ c) ** 2)) / max(x.size - 3, 1)
    covariance = np.asarray(np.linalg.pinv(basis.T @ basis) * max(rest, noise**2 if np.isfinite(noise) else 0.0))
    if c[2] == 0.0:
        return _Parabola(middle, c, covariance, rest, middle, float(np.ptp(e)), False)
    at = -c[1] / (2.0 * c[2])
    if abs(at) > np.ptp(e):
        at = x[int(np.argmax(np.abs(i - i.mean())))]
    by = np.array([0.0, -0.5 / c[2], c[1] / (2.0 * c[2] ** 2)])
    unsure = float(covariance[2, 2] ** 0.5 / abs(c[2]))
    # To second order in how little the bend is known.
    u_at = float(np.sqrt(by @ covariance @ by)) * (1.0 + 3.0 * unsure**2) ** 0.5
    return _Parabola(middle, c, covariance, rest, float(middle + at), u_at, unsure <= _BENT)
