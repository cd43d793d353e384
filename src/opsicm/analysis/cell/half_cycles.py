"""Half-cycles (one direction of the current): charge by integration, dQ/dV and dV/dQ with the smoothing stated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.statistics import noise_from_differences, rms, robust_sigma, u_of_rectangle

F64 = NDArray[np.float64]
_NEGLIGIBLE_CURRENT: Final = (
    1e-13  # [A] round-off at open circuit: a million times below the noise of a potentiostat for mA
)
STEADY: Final = 0.05  # `current_spread` below which a current was held constant
_REST: Final = 1e-3  # of the largest current: anything smaller is a rest
_QUIET: Final = 0.05  # of the largest current: rows below it are taken for the noise of a rest
_NOISY: Final = 5.0  # times that noise: how far from zero a row at rest may lie
_GAP: Final = 3.0  # times the median step: rows farther apart have a gap between them


@dataclass(frozen=True, slots=True)
class HalfCycle:
    """Rows [first, stop) with one sign of the current; `charge` [C], negative lithiates.

    `u_charge` [C] as `charge_passed` has it; the current's calibration is not in it. `missing` rows had no value.
    """

    kind: Literal["lithiation", "delithiation", "rest"]
    first: int
    stop: int
    charge: float
    u_charge: float
    missing: int


def half_cycles(t: F64, current: F64, shortest: float = 0.0) -> list[HalfCycle]:
    """Cut `t` [s], `current` [A] (negative lithiates), both (n,), where the current starts, ends or reverses.

    A current below 1e-3 of the largest, or below five times the noise of the rows under 5 % of it, is a rest. Parts
    shorter than `shortest` [s] are left out. Charge by trapezoids, with the half rows at either end. Rows without a
    value are left out and counted. Fails (empty list) without current. Assumes that the record has a row near each
    change; `u_charge` contains what one row may hide.
    """
    good = np.isfinite(t) & np.isfinite(current)
    if not good.any() or np.max(np.abs(current[good])) < _NEGLIGIBLE_CURRENT:
        return []
    index = np.flatnonzero(good)
    tg, ig = t[index], current[index]
    state = np.where(np.abs(ig) < _rest_threshold(ig), 0, np.sign(ig)).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(state)) + 1).tolist(), int(state.size)]
    parts = []
    for a, b in pairwise(edges):
        if b - a < 2 or tg[b - 1] - tg[a] < shortest:
            continue
        kind: Literal["lithiation", "delithiation", "rest"] = (
            "rest" if state[a] == 0 else "lithiation" if state[a] < 0 else "delithiation"
        )
        charge, u = charge_passed(tg[a:b], ig[a:b])
        charge += _between_rows(tg, ig, a, b)
        missing = int(index[b - 1] - index[a] + 1 - (b - a))
        parts.append(HalfCycle(kind, int(index[a]), int(index[b - 1]) + 1, charge, u, missing))
    return parts


def _between_rows(t: F64, current: F64, a: int, b: int) -> float:
    """Charge [C] of the half rows before row a and after row b - 1, where the record continues there."""
    step = float(np.median(np.diff(t[a:b])))
    before = min(float(t[a] - t[a - 1]), _GAP * step) if a > 0 else 0.0
    behind = min(float(t[b] - t[b - 1]), _GAP * step) if b < t.size else 0.0
    return 0.5 * float(before * current[a] + behind * current[b - 1])


def _rest_threshold(current: F64) -> float:
    """The current [A] below which a row counts as rest."""
    largest = float(np.max(np.abs(current)))
    quiet = np.abs(current) < _QUIET * largest
    # Three quiet rows in succession: second differences give their noise whatever the slope.
    together = quiet[:-2] & quiet[1:-1] & quiet[2:]
    if together.sum() < 10:
        return _REST * largest
    noise = noise_from_differences(current, spread=robust_sigma, keep=together)
    return float(min(max(_REST * largest, _NOISY * noise), _QUIET * largest))


def current_spread(current: F64) -> float:
    """Range of the middle 90 % of a current over its median: how far from constant it is."""
    low, middle, high = np.percentile(current, (5.0, 50.0, 95.0))
    return float((high - low) / abs(middle)) if middle else float("inf")


def charge_passed(t: F64, current: F64) -> tuple[float, float]:
    """Charge [C] by trapezoids over rows `t` [s], `current` [A], and its standard uncertainty.

    u contains half a step at either end, within which the current began or ended; the noise of the current, from its
    second differences; and every gap (three median steps and more), over which the current may have had any value from
    zero to that beside the gap.
    """
    charge = float(np.trapezoid(current, t))
    steps = np.diff(t)
    running = steps[steps > 0.0]
    step = float(np.median(running)) if running.size else 0.0
    ends = 0.5 * step * float(np.hypot(current[0], current[-1]))
    noise = noise_from_differences(current, spread=rms) * step * float(t.size) ** 0.5
    beside = np.maximum(np.abs(current[1:]), np.abs(current[:-1]))
    lost = u_of_rectangle(2.0) * np.where(steps > _GAP * step, steps * beside, 0.0)
    return charge, float(np.sqrt(ends**2 + noise**2 + np.sum(lost**2)))


def gaps(t: F64) -> int:
    """Number of gaps between rows `t` [s]: three median steps and more."""
    steps = np.diff(t)
    running = steps[steps > 0.0]
    return int((steps > _GAP * float(np.median(running))).sum()) if running.size else 0


@dataclass(frozen=True, slots=True)
class SmoothedDerivative:
    """A derivative on an even grid: `abscissa` and `value`, and the `smoothing` that was applied.

    `width` is the full width of the smoothing window in the unit of `abscissa`; narrower structure is lost.
    """

    abscissa: F64
    value: F64
    width: float
    smoothing: str


def incremental_capacity(potential: F64, charge: F64, width: float = 5e-3) -> SmoothedDerivative:
    """dQ/dV [C/V] against potential [V] of one half-cycle: `potential` [V], `charge` [C], (n,), in order.

    Each of `width`/5 wide bins of potential holds the charge that passed in it; a Savitzky-Golay parabola over
    `width` gives the slope of the running sum. Binning, unlike a ratio of differences, cannot divide by zero on a
    plateau and keeps the integral: sum of dQ/dV·dV is the charge. Assumes that the potential is monotonic but for
    noise. Fails (`OutsideDomain`) below 10 rows or a span below two windows.
    Source: Savitzky and Golay, Anal. Chem. 1964, 36, 1627.
    """
    return _derivative(potential, charge, width, "V")


def differential_voltage(charge: F64, potential: F64, width: float) -> SmoothedDerivative:
    """dV/dQ [V/C] against charge [C] of one half-cycle, as `incremental_capacity` with the axes exchanged."""
    return _derivative(charge, potential, width, "C")


def _derivative(x: F64, y: F64, width: float, unit: str) -> SmoothedDerivative:
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if x.size < 10 or np.ptp(x) < 2.0 * width:
        limit = f"ten rows and a span of two windows ({2 * width:g} {unit}) are needed"
        value = f"{x.size} rows over {float(np.ptp(x)) if x.size else 0.0:g} {unit}"
        raise OutsideDomain(Problem("derivative", value, limit, "smooth less, or record more"))
    step = width / 5.0
    low, high = float(x.min()), float(x.max())
    edges = np.arange(low, high + step, step)
    # The running value of y at each edge: the mean where a noisy x crosses it more than once.
    order = np.argsort(x, kind="stable")
    xs, ys = x[order], y[order]
    number, _ = np.histogram(xs, edges)
    centre_x = np.histogram(xs, edges, weights=xs)[0]
    centre_y = np.histogram(xs, edges, weights=ys)[0]
    filled = number > 0
    middle = np.interp(
        0.5 * (edges[:-1] + edges[1:]), centre_x[filled] / number[filled], centre_y[filled] / number[filled]
    )
    window = 5 if middle.size >= 5 else 3
    slope = savgol_filter(middle, window, 2, deriv=1, delta=step, mode="interp")
    smoothing = f"bins of {step:g} {unit}, Savitzky-Golay parabola over {window} of them ({window * step:g} {unit})"
    return SmoothedDerivative(
        0.5 * (edges[:-1] + edges[1:]), np.asarray(slope, dtype=np.float64), window * step, smoothing
    )
