"""Cross-talk: the height error caused by a drifting bulk current, and the paper's ten-hop check for it.

The drift is the slope of a smoothing spline through the reference currents (`smooth_slope`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from opsicm.analysis.hops.series import HopSeries, windows_without_gap
from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import noise_from_differences, u_of_rectangle
from opsicm.physics.pipette.tip_field import ApproachCurve

F64 = NDArray[np.float64]
_PER_KNOT: Final = 15  # points
_FEWEST_POINTS: Final = 30
_FEWEST_KNOTS: Final = 8
_MOST_POINTS: Final = 6000
_DEGREE: Final = 3
_ORDER: Final = 2  # of the penalised differences: a linear drift costs nothing
_PENALTIES: Final = 10.0 ** np.arange(-2.0, 12.1, 0.25)


def smooth_slope(t: F64, values: F64, sigma: float) -> tuple[F64, F64]:
    """(d values/dt, its standard uncertainty) at each `t`, (n,); `sigma` of one value, white.

    A cubic B-spline with one knot per fifteen points and a penalty on the second differences of its coefficients. The
    penalty maximises the marginal likelihood, so that a steady drift gets one slope and a curved one is followed. u is
    that of the posterior, whose intervals cover the truth on average over the points. Above 6000 points, means of
    neighbours are used. Assumes one smoothness for the whole series: a quick event makes the rest of the series rougher
    than necessary and u larger. Fails (ValueError) below 30 points.
    Source: Eilers and Marx, Statist. Sci. 1996, 11, 89; Wahba, J. R. Statist. Soc. B 1983, 45, 133, for the interval.
    """
    if t.size < _FEWEST_POINTS:
        raise ValueError(f"smooth_slope needs {_FEWEST_POINTS} points, got {t.size}")
    group = -(-t.size // _MOST_POINTS)
    whole = t.size // group * group
    t_group, y = (v[:whole].reshape(-1, group).mean(axis=1) for v in (t, values))
    middle, span = float(y.mean()), float(t_group[-1] - t_group[0])
    # Without noise the spline interpolates; 1e-9 of the values keeps the weights finite.
    noise = max(sigma / group**0.5, 1e-9 * float(np.max(np.abs(y))), 1e-300)
    pieces = max(t_group.size // _PER_KNOT, _FEWEST_KNOTS)
    knots = np.arange(-_DEGREE, pieces + _DEGREE + 1) / pieces
    x = np.clip((t_group - t_group[0]) / span, 0.0, 1.0 - 1e-12)
    basis = BSpline.design_matrix(x, knots, _DEGREE)
    gram = (basis.T @ basis).toarray()
    size = gram.shape[0]
    differences = np.diff(np.eye(size), _ORDER, axis=0)
    lower = np.linalg.cholesky(gram + 1e-9 * float(np.trace(gram)) / size * np.eye(size))
    inverse = np.linalg.inv(lower)
    roughness, rotation = np.linalg.eigh(inverse @ differences.T @ differences @ inverse.T)
    roughness = np.maximum(roughness, 0.0)
    roughness[:_ORDER] = 0.0
    projected = rotation.T @ (inverse @ (basis.T @ ((y - middle) / noise)))
    shrinkages = (1.0 / (1.0 + penalty * roughness) for penalty in _PENALTIES)
    shrinkage = max(shrinkages, key=lambda one: _likelihood(one, projected))
    # On even knots the slope is a spline of one degree less, whose coefficients are the differences. Each t sees three
    # of them: their covariance costs 9 products a point, the rows of the whole basis would cost as many as knots.
    slopes = pieces / span * np.diff(inverse.T @ rotation, axis=0)
    position = np.clip((t - t_group[0]) / span, 0.0, 1.0 - 1e-12)
    rows = BSpline.design_matrix(position, knots[1:-1], _DEGREE - 1)
    covariance = (slopes * shrinkage) @ slopes.T
    near, weight = rows.indices.reshape(t.size, _DEGREE), rows.data.reshape(t.size, _DEGREE)
    variance = np.einsum("na,nb,nab->n", weight, weight, covariance[near[:, :, None], near[:, None, :]])
    return noise * rows @ (slopes @ (shrinkage * projected)), noise * np.sqrt(np.maximum(variance, 0.0))


def _likelihood(shrinkage: F64, projected: F64) -> float:
    """Twice the log marginal likelihood up to a constant; `shrinkage` of each component."""
    lost = 1.0 - shrinkage[_ORDER:]
    if np.any(lost <= 0.0):
        return -np.inf
    return float(np.sum(shrinkage * projected**2) + np.sum(np.log(lost)))


_WINDOW: Final = 10
_FEWEST: Final = 31
_METHOD: Final = (
    "largest (max - min)/|mean| of the reference current over any ten successive hops, noise included; "
    "u from the scatter of a single reference and the range of the bias' error there as a rectangle"
)


def ten_hop_change(series: HopSeries, current_scatter: float) -> Result:
    """Largest relative change of the bulk current over any ten successive hops, to be compared with the setpoint.

    max over k of (max - min)/|mean| of i_ref[k … k+9]. u is the scatter of one reference times √2, and the range of the
    bias' relative error in that window as a rectangle: the bias follows the cell in ramps between two readings, and
    when the last one was is chance. Noise adds about 3 sigma to the value (the range of ten Gaussian numbers), so it is
    an upper bound. Source: the criterion of
    JACS Au 2023, 3, 1089, at its Figure 5 (0.5 % against a setpoint of 2 %).
    """
    if series.size < _WINDOW:
        reason = f"{series.size} good hops; ten successive ones are needed: hop for longer"
        return failed("ten_hop_bulk_change", "%", _METHOD, "too few hops", reason)
    whole = windows_without_gap(series, _WINDOW)
    if not whole.any():
        return failed("ten_hop_bulk_change", "%", _METHOD, "too few hops", "no ten successive hops without a pause")
    windows = sliding_window_view(series.current, _WINDOW)[whole]
    change = 100.0 * np.ptp(windows, axis=1) / np.abs(windows.mean(axis=1))
    t_middle = series.t[_WINDOW // 2 : _WINDOW // 2 + whole.size][whole]
    trace = xr.DataArray(change, dims="hop", coords={"t": ("hop", t_middle)})
    u = 100.0 * np.sqrt(2.0) * current_scatter / abs(float(np.mean(series.current)))
    if series.bias_error is not None:
        errors = sliding_window_view(series.bias_error, _WINDOW)[whole][int(np.argmax(change))]
        u = np.hypot(u, 100.0 * u_of_rectangle(float(np.ptp(errors))))
    return Result("ten_hop_bulk_change", float(change.max()), float(u), "%", _METHOD, flags=series.flags, trace=trace)


def height_per_relative_current(setpoint: float, curve: ApproachCurve) -> float:
    """[m] of height error per relative error of the reference: 1 / (d ln I/dz) on the approach curve at the setpoint.

    dz = ds / (d ln I/dz) on the finite-element approach curve. Assumes the stated pipette; a flatter tip is worse.
    Source: the project's physics notes, section 4; Korchev et al., Biophys. J. 1997, 73, 653, for the principle.
    """
    relative = 1.0 - setpoint
    return relative / float(curve.slope(curve.distance(np.array(relative))))


def height_cross_talk(series: HopSeries, fall_time: float, curve: ApproachCurve) -> Result:
    """Largest height error from the bulk current's drift between reference and stop, over the series.

    |d ln i_ref/dt| · fall_time · dz/d(ln I), with the drift from a smoothing spline through the references
    (`smooth_slope`), so that noise is not taken for drift. Every hop's value and u are in the trace (`u`, nm).
    What the bias' own error adds to the largest, found from the references without it, depends on when the bias was
    last read: as a rectangle of twice its size it is in u. `fall_time` [s] is the duration of an approach. Assumes that
    the drift is linear over one approach. 95 % intervals of the largest cover 95 to 97 % of steady and absent drifts,
    up to 100 % of curved ones; without drift it is about one u.
    """
    name, method = (
        "height_cross_talk",
        "drift of the reference over one approach, divided by the approach curve's slope",
    )
    if series.size < _FEWEST:
        reason = f"{series.size} good hops; {_FEWEST} are needed: hop for longer"
        return failed(name, "nm", method, "too few hops", reason)
    noise = noise_from_differences(series.current)
    scale = 1e9 * fall_time * height_per_relative_current(series.setpoint, curve)
    t, nm, u, bias = [], [], [], []
    for part in _parts_without_gap(series):
        slope, u_slope = smooth_slope(series.t[part], series.current[part], noise)
        per = scale / np.abs(series.current[part])
        without = slope
        if series.bias_error is not None and np.any(series.bias_error[part]):
            sound = series.current[part] / (1.0 + series.bias_error[part])
            without, _ = smooth_slope(series.t[part], sound, noise_from_differences(sound))
        # No more than all of it: where a reading was late the bias error belongs to another instant than the reference.
        bias.append(np.minimum(np.abs(np.abs(slope) - np.abs(without)), np.abs(slope)) * per)
        t.append(series.t[part])
        nm.append(np.abs(slope) * per)
        u.append(u_slope * per)
    if not t:
        return failed(name, "nm", method, "too few hops", f"no {_FEWEST} successive hops without a pause")
    values, us = np.concatenate(nm), np.concatenate(u)
    trace = xr.DataArray(values, dims="hop", coords={"t": ("hop", np.concatenate(t)), "u": ("hop", us)})
    worst = int(np.argmax(values))
    u_worst = np.hypot(us[worst], u_of_rectangle(2.0 * float(np.concatenate(bias)[worst])))
    return Result(name, float(values[worst]), float(u_worst), "nm", method, flags=series.flags, trace=trace)


def _parts_without_gap(series: HopSeries) -> list[slice]:
    """Hops without a gap between them (see `windows_without_gap`), at least `_FEWEST` together."""
    whole = windows_without_gap(series, 2)
    edges = [0, *(np.flatnonzero(~whole) + 1).tolist(), series.size]
    return [slice(a, b) for a, b in pairwise(edges) if b - a >= _FEWEST]
