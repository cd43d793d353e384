"""Approach curves for compiled loops: relative current against distance, inverse and slope.

Two of them: the hyperbola i = d / (d + C) that everybody knows, quick and biased (`tip_field.hyperbola_bias` says by
how much), and the finite-element curve, whose array `packed` comes from `tip_field.approach_curve`.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]

# Finite elements for a = 50 nm, b/a = 1.5, theta = 3°, shank 20 µm; it moves with each of the four.
DISTANCE_98_DEFAULT: Final = 33.6e-9  # [m]


def hyperbola_constant(distance_98: float = DISTANCE_98_DEFAULT) -> float:
    """C [m] such that the relative current is 0.98 at `distance_98` [m]: C = d98 (1/0.98 - 1).

    Assumes that one point fixes the curve; away from it the curve is wrong (it falls too slowly with distance).
    Source: Nitz, Kamp, Fuchs, Probe Microscopy 1998, 1, 187, equation (3), with C fitted instead of computed.
    """
    if not 0.0 < distance_98 < math.inf:
        raise OutsideDomain(
            Problem("98 % distance", f"{distance_98:g} m", "it must be above 0 m", "33.6e-9 m suits a 50 nm pipette")
        )
    return distance_98 * (1.0 / 0.98 - 1.0)


@compiled
def hyperbola_relative_current(distance: float, C: float) -> float:
    """I/I_far [1] at `distance` [m] for the constant `C` [m]: d / (d + C), and 0 at or below contact.

    Scalar, for use inside other compiled kernels. Source: as `hyperbola_constant`.
    """
    if distance <= 0.0:
        return 0.0
    return distance / (distance + C)


@compiled
def hyperbola_distance(relative_current: float, C: float) -> float:
    """The distance [m] at which I/I_far equals `relative_current` [1]: C s / (1 - s); 0 for s <= 0, inf for s >= 1."""
    if relative_current <= 0.0:
        return 0.0
    if relative_current >= 1.0:
        return math.inf
    return C * relative_current / (1.0 - relative_current)


# The finite-element curve. `packed` = [a, R_far kappa a, x0, h, n, ln(b/a)/(2 pi), then n rows c0 c1 c2 c3]:
# ln(dR kappa d) = c0 + c1 t + c2 t² + c3 t³ with t = ln(d/a) - x0 - k h in interval k.
_HEAD: Final = 6


@compiled
def _log_dR_d(x: float, packed: F64) -> tuple[float, float]:
    h = packed[3]
    k = min(max(int((x - packed[2]) / h), 0), int(packed[4]) - 1)
    t = x - packed[2] - k * h
    base = _HEAD + 4 * k
    c1, c2, c3 = packed[base + 1], packed[base + 2], packed[base + 3]
    return packed[base] + t * (c1 + t * (c2 + t * c3)), c1 + t * (2.0 * c2 + 3.0 * t * c3)


@compiled
def _added(distance: float, packed: F64) -> tuple[float, float]:
    """dR·kappa·a [1] and its derivative by ln d, with the stated laws beyond both ends of the table."""
    u = distance / packed[0]
    x, first = math.log(u), packed[2]
    last = first + packed[3] * packed[4]
    if x < first:
        # Thin gap: dR d = ln(b/a)/(2 pi) + m d, continuous at the table's edge.
        edge = math.exp(first)
        m = (math.exp(_log_dR_d(first, packed)[0]) - packed[5]) / edge
        return packed[5] / u + m, -packed[5] / u
    if x > last:
        value = math.exp(_log_dR_d(last, packed)[0]) / u
        return value, -value
    f, df = _log_dR_d(x, packed)
    value = math.exp(f - x)
    return value, value * (df - 1.0)


@compiled
def added_resistance(distance: float, packed: F64) -> float:
    """dR·kappa [1/m] that a flat sample at `distance` [m] adds; infinite at or below contact."""
    if distance <= 0.0:
        return math.inf
    return float(_added(distance, packed)[0] / packed[0])


@compiled
def relative_current(distance: float, packed: F64) -> float:
    """I/I_far [1] at `distance` [m] from the finite-element table: F / (F + dR), 0 at or below contact.

    `packed` is `ApproachCurve.packed`. Laws beyond the table: see `tip_field.approach_curve`.
    """
    if distance <= 0.0:
        return 0.0
    return float(packed[1] / (packed[1] + _added(distance, packed)[0]))


@compiled
def slope(distance: float, packed: F64) -> float:
    """d(I/I_far)/dd [1/m] at `distance` [m]: -F dR' / (F + dR)², 0 at or below contact."""
    if distance <= 0.0:
        return 0.0
    value, by_log = _added(distance, packed)
    total = packed[1] + value
    return float(-packed[1] * by_log / (total * total * distance))


@compiled
def distance_at(relative: float, packed: F64) -> float:
    """The distance [m] where I/I_far = `relative` [1]; 0 for <= 0, inf for >= 1. Newton in ln d within a bracket."""
    if relative <= 0.0:
        return 0.0
    if relative >= 1.0:
        return math.inf
    wanted = packed[1] * (1.0 / relative - 1.0)
    low, high = packed[2], packed[2] + packed[3] * packed[4]
    at_low, at_high = math.exp(_log_dR_d(low, packed)[0] - low), math.exp(_log_dR_d(high, packed)[0] - high)
    if wanted >= at_low:
        m = at_low - packed[5] / math.exp(low)
        return float(packed[0] * packed[5] / (wanted - m))
    if wanted <= at_high:
        return float(packed[0] * at_high * math.exp(high) / wanted)
    goal = math.log(wanted)
    x = low + (high - low) * (math.log(at_low) - goal) / (math.log(at_low) - math.log(at_high))
    for _ in range(60):
        f, df = _log_dR_d(x, packed)
        miss = f - x - goal
        if miss > 0.0:
            low = x
        else:
            high = x
        step = miss / (df - 1.0)
        new = x - step
        if not low <= new <= high:
            new = 0.5 * (low + high)
        if abs(new - x) < 1e-14:
            break
        x = new
    return float(packed[0] * math.exp(x))


# One loop a function: a compiled function that takes another as its argument cannot be kept on disk. Numba's index of
# it refers to functions of the process that wrote it, and the next process fails to add to that index.


@compiled
def _fill_relative_current(values: F64, packed: F64, out: F64) -> None:
    for k in range(values.size):
        out[k] = relative_current(values[k], packed)


@compiled
def _fill_added_resistance(values: F64, packed: F64, out: F64) -> None:
    for k in range(values.size):
        out[k] = added_resistance(values[k], packed)


@compiled
def _fill_slope(values: F64, packed: F64, out: F64) -> None:
    for k in range(values.size):
        out[k] = slope(values[k], packed)


@compiled
def _fill_distance_at(values: F64, packed: F64, out: F64) -> None:
    for k in range(values.size):
        out[k] = distance_at(values[k], packed)


_FILL: Final[dict[Any, Any]] = {
    relative_current: _fill_relative_current,
    added_resistance: _fill_added_resistance,
    slope: _fill_slope,
    distance_at: _fill_distance_at,
}


def over(function: Any, values: F64, packed: F64) -> F64:
    """`function(value, packed)`, one of the compiled functions above, over an array of any shape."""
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    out = np.empty_like(flat)
    _FILL[function](flat, packed, out)
    return out.reshape(np.shape(values))
