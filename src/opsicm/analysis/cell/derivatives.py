"""Derivatives of charge and potential over a part of a record, dQ/dV and dV/dQ, with smoothing and noise stated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, savgol_coeffs, savgol_filter

from opsicm.analysis.cell.unrecorded import digits_of, noise_about_line
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.statistics import MAD_TO_SIGMA

F64 = NDArray[np.float64]
DERIVATIVE_BINS: Final = 5  # to a window
_INDEPENDENT: Final = 2.0  # bins
_LEAST_OF_FOUR: Final = 2.4
_LEAST_OF_TWO: Final = 0.8
_ROWS_FOR_QUARTERS: Final = 128  # fewer scatter more than the curve's bends add


@dataclass(frozen=True, slots=True)
class SmoothedDerivative:
    """A derivative on an even grid: `abscissa` and `value`, and the `smoothing` that was applied.

    `width` is the full width of the smoothing window in the unit of `abscissa`; narrower structure is lost. `noise` is
    the standard deviation of one `value` that comes from the noise and the digits of the rows.
    """

    abscissa: F64
    value: F64
    width: float
    smoothing: str
    noise: float


def incremental_capacity(potential: F64, charge: F64, width: float = 5e-3) -> SmoothedDerivative:
    """dQ/dV [C/V] against potential [V] of one half-cycle: `potential` [V], `charge` [C], (n,), in order.

    Each of `width`/5 wide bins of potential holds the charge that passed in it; a Savitzky-Golay parabola over
    `width` gives the slope of the running sum. Binning, unlike a ratio of differences, cannot divide by zero on a
    plateau and keeps the integral: sum of dQ/dV·dV is the charge. Assumes that the potential is monotonic but for
    noise. Fails (`OutsideDomain`) below 10 rows or a span below two windows.
    Source: Savitzky and Golay, Anal. Chem. 1964, 36, 1627.
    """
    return _derivative(potential, charge, width, "V", _noise_of_potential(charge, potential))


def differential_voltage(charge: F64, potential: F64, width: float) -> SmoothedDerivative:
    """dV/dQ [V/C] against charge [C] of one half-cycle, as `incremental_capacity` with the axes exchanged.

    Where rows are farther apart than a fifth of `width` the window is as wide as five of them: a narrower one would
    differentiate two rows and their noise.
    """
    rows = int(np.sum(np.isfinite(charge) & np.isfinite(potential)))
    if rows >= 2 * DERIVATIVE_BINS:
        width = max(width, DERIVATIVE_BINS * float(np.nanmax(charge) - np.nanmin(charge)) / rows)
    return _derivative(charge, potential, width, "C", _noise_of_potential(charge, potential))


def significant_peaks(values: F64, noise: float, least: float = 0.15) -> list[int]:
    """Indices of the peaks of a smoothed derivative, `values` (n,), that stand out of its `noise` (in their unit).

    A peak stands out by the prominence that noise alone reaches by chance once in a hundred records: the range of n
    independent values, every second one (slopes over five bins are 0.4, -0.1 and -0.4 alike at one, two and three bins
    apart), is below 2 sqrt(2 ln n) + 1 of their sigmas; by `least` of the span
    between the fifth and ninety-fifth percentile; and by a twentieth of the middle, as rounding of the arithmetic is no
    peak. A straight line has none.
    """
    if values.size < 3:
        return []
    low, middle, high = np.percentile(values, (5.0, 50.0, 95.0))
    chance = range_of_noise(values.size / _INDEPENDENT) * noise
    prominence = max(least * float(high - low), chance, 0.05 * abs(float(middle)))
    indices, _ = find_peaks(values, prominence=prominence)
    return [int(k) for k in indices]


def range_of_noise(n: float) -> float:
    """What the range of `n` independent Gaussian values is below 99 times of 100, in their sigmas: 2 sqrt(2 ln n) + 1.

    To 8 % from ten to a thousand values, against the distribution of the range (Tippett, Biometrika 1925, 17, 364).
    """
    return 2.0 * float(np.sqrt(2.0 * np.log(max(n, 2.0)))) + 1.0


def _noise_of_potential(charge: F64, potential: F64) -> tuple[float, float]:
    """White noise of one potential [V], about the line between its neighbours in charge, and that of its digits.

    Of the quietest quarter, as what is more elsewhere is the curve's own bends. White noise falls with the root of the
    rows in a bin, digits do not: on a slow record the same rounding comes back from row to row.
    """
    good = np.isfinite(charge) & np.isfinite(potential)
    q, e = charge[good], potential[good]
    quarters = e.size >= _ROWS_FOR_QUARTERS
    edges = np.linspace(0, e.size, 5 if quarters else 2).astype(int)
    # The least of several estimates is low by what each scatters: by a median of m differences that share rows, 1.6
    # over the root of m, and the least of four lies one such scatter below, that of two kinds half of one more.
    least = _LEAST_OF_FOUR if quarters else _LEAST_OF_TWO
    white = min(_noise(q[a:b], e[a:b]) * (1.0 + least / (b - a) ** 0.5) for a, b in pairwise(edges))
    return white, digits_of(e) / 12.0**0.5


def _noise(q: F64, e: F64) -> float:
    """The lower of two estimates that a bent curve raises: off the neighbours' line, and by third differences."""
    third = MAD_TO_SIGMA * float(np.median(np.abs(np.diff(e, 3)))) / 20.0**0.5 if e.size > 6 else np.inf
    return min(noise_about_line(q, e), third)


def _derivative(x: F64, y: F64, width: float, unit: str, noise_of_e: tuple[float, float]) -> SmoothedDerivative:
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if x.size < 10 or np.ptp(x) < 2.0 * width:
        limit = f"ten rows and a span of two windows ({2 * width:g} {unit}) are needed"
        value = f"{x.size} rows over {float(np.ptp(x)) if x.size else 0.0:g} {unit}"
        raise OutsideDomain(Problem("derivative", value, limit, "smooth less, or record more"))
    step = width / DERIVATIVE_BINS
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
    gain = float(np.sqrt(np.sum(savgol_coeffs(window, 2, deriv=1, delta=step) ** 2)))
    white, digits = noise_of_e
    # Bins without a row lie on the line between rows, whose noise they share.
    rows = min(float(np.median(number[filled])), x.size / number.size) if x.size < number.size else 0.0
    rows = rows or max(float(np.median(number[filled])), 1.0)
    each = float(np.hypot(white / rows**0.5, digits))
    # Noise of the abscissa counts by the slope.
    noise = gain * each * (abs(float(np.ptp(y)) / float(np.ptp(x))) if unit == "V" else 1.0)
    return SmoothedDerivative(
        0.5 * (edges[:-1] + edges[1:]), np.asarray(slope, dtype=np.float64), window * step, smoothing, noise
    )
