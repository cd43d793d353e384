"""Phase transitions from the potential (peaks of dV/dQ) and from the height (kinks), and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import peak_prominences, peak_widths

from opsicm.analysis.cell.derivatives import DERIVATIVE_BINS, differential_voltage, significant_peaks
from opsicm.core.statistics import u_of_rectangle

F64 = NDArray[np.float64]
_GRID: Final = 60  # places tried for one break
_LEAST: Final = 0.15  # prominence of a dV/dQ peak, of the curve's span between its 5th and 95th percentile


@dataclass(frozen=True, slots=True)
class Transition:
    """Where a stage ends: `charge` [as given], its standard uncertainty, `strength` of the evidence."""

    charge: float
    u: float
    strength: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """A transition seen by height and by potential: `difference` = height - potential, and z = |difference|/u."""

    height: Transition
    potential: Transition
    difference: float
    u: float
    z: float


def transitions_from_potential(charge: F64, potential: F64, width: float) -> list[Transition]:
    """Ends of stages as peaks of |dV/dQ|: between two plateaus the potential falls steeply.

    `charge`, `potential` [V] of one half-cycle, (n,); `width` of the smoothing in units of charge. u is the
    half width of the smoothing or of the peak at 90 % of its height, whichever is larger. `strength` is the prominence
    over the curve's span. Peaks must stand out of the derivative's own noise (`significant_peaks`); those at the ends
    of the half-cycle do not count. Under current the potential lags: the transition is shifted by the charge that has
    not yet diffused.
    """
    d = differential_voltage(charge, potential, width)
    # A window at each end: there the parabola hangs over, and the foot of a curve, a hundred times steeper than any
    # peak, would set the span that peaks are measured by.
    margin = max(DERIVATIVE_BINS, round(0.03 * d.value.size))
    y, x = np.abs(d.value)[margin:-margin], d.abscissa[margin:-margin]
    indices = np.array(significant_peaks(y, d.noise, _LEAST), dtype=np.intp)
    if not indices.size:
        return []
    low, high = np.percentile(y, (5.0, 95.0))
    prominences = peak_prominences(y, indices)
    widths, *_ = peak_widths(y, indices, rel_height=0.1, prominence_data=prominences)
    step = float(x[1] - x[0])
    return [
        Transition(
            float(x[index]), u_of_rectangle(max(d.width, float(width_90) * step)), float(prominence / (high - low))
        )
        for index, prominence, width_90 in zip(indices, prominences[0], widths, strict=True)
    ]


def transitions_from_height(charge: F64, height: F64, count: int = 1) -> list[Transition]:
    """Ends of stages as kinks of height against charge: `count` breaks of a continuous broken line, least squares.

    `charge`, `height` of one half-cycle, (n,). All combinations of breaks on a grid of 60, then refined by parabola;
    u from chi-squared + 1 with the noise of the residual (white). `strength` is the change of slope over the mean
    slope. Assumes straight stages: a height that curves within a stage moves the kink, which is not in u.
    Fails (empty list) with fewer than 10 rows a segment.
    """
    good = np.isfinite(charge) & np.isfinite(height)
    q, h = charge[good], height[good]
    if q.size < 10 * (count + 1) or np.ptp(q) == 0.0:
        return []
    x = (q - q.min()) / np.ptp(q)
    best, cost = _search(x, h, np.linspace(0.03, 0.97, _GRID), count)
    step = 0.94 / (_GRID - 1)
    for _ in range(6):
        step *= 0.4
        local = [np.clip(b + step * np.arange(-2, 3), 0.01, 0.99) for b in best]
        for k in range(count):
            trials = [tuple(sorted((*best[:k], float(v), *best[k + 1 :]))) for v in local[k]]
            costs = [_cost(x, h, trial) for trial in trials]
            best, cost = min(((b, c) for b, c in zip(trials, costs, strict=True)), key=lambda pair: pair[1])
    variance = cost / max(x.size - 2 - 2 * count, 1)
    slopes = _slopes(x, h, best)
    mean = abs(float(h[-1] - h[0])) or 1.0
    transitions = []
    for k, b in enumerate(best):
        move = 0.01
        sides = [
            _cost(x, h, tuple(sorted((*best[:k], float(np.clip(b + s, 0.005, 0.995)), *best[k + 1 :]))))
            for s in (-move, move)
        ]
        curvature = max((sides[0] + sides[1] - 2.0 * cost) / move**2, 1e-300)
        u = float(np.sqrt(2.0 * variance / curvature)) * float(np.ptp(q))
        transitions.append(Transition(float(q.min() + b * np.ptp(q)), u, abs(slopes[k + 1] - slopes[k]) / mean))
    return transitions


def _basis(x: F64, breaks: tuple[float, ...]) -> F64:
    return np.column_stack([np.ones_like(x), x, *(np.maximum(x - b, 0.0) for b in breaks)])


def _cost(x: F64, h: F64, breaks: tuple[float, ...]) -> float:
    basis = _basis(x, breaks)
    c, *_ = np.linalg.lstsq(basis, h, rcond=None)
    return float(np.sum((h - basis @ c) ** 2))


def _slopes(x: F64, h: F64, breaks: tuple[float, ...]) -> F64:
    c, *_ = np.linalg.lstsq(_basis(x, breaks), h, rcond=None)
    return np.asarray(np.cumsum(c[1:]), dtype=np.float64)


def _search(x: F64, h: F64, grid: F64, count: int) -> tuple[tuple[float, ...], float]:
    coarse = grid if count == 1 else grid[:: max(1, count)]
    trials = [tuple(float(v) for v in pick) for pick in combinations(coarse, count)]
    costs = [_cost(x, h, trial) for trial in trials]
    k = int(np.argmin(costs))
    return trials[k], costs[k]


def agreements(height: list[Transition], potential: list[Transition]) -> list[Agreement]:
    """Each transition of `height` with the nearest of `potential`; none where `potential` has none."""
    pairs = []
    for kink in height:
        if potential:
            stage = min(potential, key=lambda p: abs(p.charge - kink.charge))
            u = float(np.hypot(kink.u, stage.u))
            difference = kink.charge - stage.charge
            pairs.append(Agreement(kink, stage, difference, u, abs(difference) / u if u > 0.0 else float("inf")))
    return pairs
