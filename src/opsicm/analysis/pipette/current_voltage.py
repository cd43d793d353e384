"""Pipette current against bias: resistance, rectification, offset of a current-voltage curve."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import independent_share, linear_fit, mean_with_u, straight_line

F64 = NDArray[np.float64]
_FEWEST: Final = 20
SWEPT: Final = 0.02  # [V] range of the bias: less is no sweep
_LINEAR: Final = 0.1  # [V] about a bias: the range of a local parabola
_BENT: Final = 8  # different biases: with fewer a line is fitted
_MARGIN: Final = 0.02  # of the span
_AT_ENDS: Final = 0.05  # of the span: what counts as either end


def iv_results(bias: F64, current: F64, at: float | None = None) -> list[Result]:
    """Resistance, rectification, current at zero bias, hysteresis, and the current at the bias `at` [V].

    `bias` [V] of the pipette electrode against the reference, `current` [A], (n,), in order of time. R = 1/slope within
    0.1 V about the sweep's middle; rectification = |G(+V)/G(-V)|, G = (I - I(0))/V at the largest bias of both signs;
    `at`: a parabola through the nearest tenth of a volt. u from the residuals, white. Fails with a named outcome where
    nothing was swept, or the current does not follow.
    """
    name, method = "pipette_resistance", "slope of current on bias within 0.1 V of the sweep's middle"
    good = np.isfinite(bias) & np.isfinite(current)
    v, i = bias[good], current[good]
    if v.size < _FEWEST:
        return [failed(name, "MOhm", method, "too few points", f"{v.size} points; {_FEWEST} are needed")]
    if np.ptp(v) < SWEPT:
        return [failed(name, "MOhm", method, "constant bias", f"the bias moved by {1e3 * np.ptp(v):.3g} mV: sweep it")]
    if np.ptp(i) == 0.0:
        return [failed(name, "MOhm", method, "constant current", "every current is the same: look at the channel")]
    middle = 0.5 * float(v.max() + v.min())
    slope, u_slope, _, _ = _local_parabola(v, i, middle)
    if abs(slope) < 3.0 * u_slope:
        reason = "the current does not follow the bias beyond its noise"
        return [failed(name, "MOhm", method, "no slope", reason)]
    trace = xr.DataArray(i, dims="point", coords={"bias": ("point", v)}, attrs={"units": "A"})
    ohm = 1.0 / slope
    results = [Result(name, 1e-6 * ohm, 1e-6 * abs(ohm) * u_slope / abs(slope), "MOhm", method, trace=trace)]
    offset, u_offset = None, None
    if v.min() <= 0.0 <= v.max():
        _, _, offset, u_offset = _local_parabola(v, i, 0.0)
        local_method = "parabola through the currents within 0.1 V of zero bias, at zero bias"
        results.append(Result("current_offset", 1e12 * offset, 1e12 * u_offset, "pA", local_method))
    results.append(_rectification(v, i, offset or 0.0, u_offset or 0.0))
    # The last sample of a sweep to this bias lies just before it.
    margin = _MARGIN * float(np.ptp(v))
    if at is not None and v.min() - margin <= at <= v.max() + margin:
        _, _, level, u_level = _local_parabola(v, i, at)
        local_method = f"parabola through the currents within 0.1 V of {at:g} V, at {at:g} V"
        results.append(Result("current_at_bias", 1e9 * level, 1e9 * u_level, "nA", local_method))
    return [*results, _hysteresis(v, i)]


def _local_parabola(v: F64, i: F64, at: float) -> tuple[float, float, float, float]:
    """Slope at `at`, its u, value at `at`, its u, of the parabola through the points within 0.1 V (a line for few).

    A pipette rectifies: a line would take the curvature for an offset, and for noise.
    """
    near = np.flatnonzero(np.abs(v - at) <= _LINEAR)
    if near.size < 5 or np.ptp(v[near]) == 0.0:
        near = np.argsort(np.abs(v - at), kind="stable")[: max(5, v.size // 10)]
    x, y = v[near] - at, i[near]
    if np.ptp(x) == 0.0:
        return 0.0, float("inf"), float(y.mean()), float(np.std(y))
    scale = float(np.max(np.abs(x)))
    terms = 3 if np.unique(x).size >= _BENT else 2
    fit = linear_fit(np.vander(x / scale, terms, increasing=True), y)
    c, u = fit.coefficients, fit.u
    return float(c[1]) / scale, float(u[1]) / scale, float(c[0]), float(u[0])


def _rectification(v: F64, i: F64, offset: float, u_offset: float) -> Result:
    name = "rectification"
    method = (
        "conductance I/V at the largest positive over that at the largest negative bias, less the current at zero bias"
    )
    reach = min(float(v.max()), -float(v.min()))
    if reach < SWEPT:
        return failed(name, "1", method, "one sign", "the bias was swept to one side of zero only")
    width = _AT_ENDS * reach
    ends = [np.abs(v - sign * (reach - width)) <= width for sign in (1.0, -1.0)]
    if min(int(e.sum()) for e in ends) < 3:
        return failed(name, "1", method, "too few points", "fewer than three points near either end")
    # Each end's line at one bias, so that currents compare as conductances do: the mean of an end's points would move
    # with every point that noise takes in or out, and a sweep may end just before its limit.
    levels, us = [], []
    for sign, end in zip((1.0, -1.0), ends, strict=True):
        line = straight_line(v[end], i[end])
        level, u_level = line.at(sign * (reach - width))
        levels.append(level - offset)
        us.append(u_level / independent_share(line.residual) ** 0.5)
    if levels[1] == 0.0:
        return failed(name, "1", method, "no current", "no current flows at the negative end")
    ratio = abs(levels[0] / levels[1])
    # The offset is common to both ends: d ln ratio/d offset = 1/levels[1] - 1/levels[0].
    relative = (
        [us[0] / levels[0], us[1] / levels[1], u_offset * (1.0 / levels[1] - 1.0 / levels[0])] if levels[0] else []
    )
    return Result(name, ratio, ratio * float(np.linalg.norm(relative)), "1", f"{method}: ±{reach:.3g} V")


def _hysteresis(v: F64, i: F64) -> Result:
    """Mean of I on the upward less I on the downward sweep at the same bias, over the middle half of the sweep."""
    name, method = (
        "hysteresis",
        "current on the upward less on the downward sweep at one bias, middle half of the sweep",
    )
    direction = np.sign(np.gradient(v))
    low, high = np.quantile(v, (0.25, 0.75))
    edges = np.linspace(low, high, 11)
    differences = []
    for a, b in pairwise(edges):
        inside = (v >= a) & (v < b)
        up, down = i[inside & (direction > 0)], i[inside & (direction < 0)]
        if up.size and down.size:
            # Corrected to equal mean bias: else the slope across the bin would look like hysteresis.
            shift = float(v[inside & (direction > 0)].mean() - v[inside & (direction < 0)].mean())
            slope = _local_parabola(v, i, 0.5 * (a + b))[0]
            differences.append(float(up.mean() - down.mean()) - slope * shift)
    if len(differences) < 3:
        return failed(name, "pA", method, "one direction", "the bias was swept in one direction only")
    mean, u = mean_with_u(np.array(differences))
    return Result(name, 1e12 * mean, 1e12 * u, "pA", method)
