"""Cross-talk: the height error that a moving bulk current causes, and the paper's ten-hop check of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view

from opsicm.analysis.drift_spline import smooth_slope
from opsicm.analysis.hop_series import HopSeries, scatter, unbroken
from opsicm.analysis.result import Result, failed
from opsicm.physics.tip_field import ApproachCurve

_WINDOW: Final = 10
_FEWEST: Final = 31
_METHOD: Final = (
    "largest (max - min)/|mean| of the reference current over any ten hops in a row, noise included; "
    "u from the scatter of a single reference"
)


def ten_hop_change(series: HopSeries, current_scatter: float) -> Result:
    """Largest relative change of the bulk current over any ten hops in a row, to be held against the setpoint.

    max over k of (max - min)/|mean| of i_ref[k … k+9]. u is the scatter of one reference times √2. Noise adds about
    3 sigma to the value (the range of ten Gaussian numbers), so it errs on the careful side. Source: the criterion of
    JACS Au 2023, 3, 1089, at its Figure 5 (0.5 % against a setpoint of 2 %).
    """
    if series.size < _WINDOW:
        reason = f"{series.size} good hops; ten in a row are needed: hop for longer"
        return failed("ten_hop_bulk_change", "%", _METHOD, "too few hops", reason)
    whole = unbroken(series, _WINDOW)
    if not whole.any():
        return failed(
            "ten_hop_bulk_change", "%", _METHOD, "too few hops", "no ten hops follow each other without a pause"
        )
    windows = sliding_window_view(series.current, _WINDOW)[whole]
    change = 100.0 * np.ptp(windows, axis=1) / np.abs(windows.mean(axis=1))
    t_middle = series.t[_WINDOW // 2 : _WINDOW // 2 + whole.size][whole]
    trace = xr.DataArray(change, dims="hop", coords={"t": ("hop", t_middle)})
    u = 100.0 * np.sqrt(2.0) * current_scatter / abs(float(np.mean(series.current)))
    return Result(
        "ten_hop_bulk_change",
        float(change.max()),
        float(u),
        "%",
        _METHOD,
        flags={"bad_hops": series.bad, "restless_hops": series.restless},
        trace=trace,
    )


def height_per_relative_current(setpoint: float, curve: ApproachCurve) -> float:
    """[m] of height error per relative error of the reference: 1 / (d ln I/dz) on the approach curve at the setpoint.

    dz = ds / (d ln I/dz) on the finite-element approach curve. Assumes the stated pipette; a flatter tip is worse.
    Source: the project's physics notes, section 4; Korchev et al., Biophys. J. 1997, 73, 653, for the principle.
    """
    relative = 1.0 - setpoint
    return relative / float(curve.slope(curve.distance(np.array(relative))))


def height_cross_talk(series: HopSeries, fall_time: float, curve: ApproachCurve) -> Result:
    """Largest height error from the bulk current's drift between reference and stop, over the series.

    |d ln i_ref/dt| · fall_time · dz/d(ln I), with the drift from a spline through the references that is as smooth as
    their scatter demands (`smooth_slope`), so that noise does not pose as drift. Every hop's value and u are in the
    trace (`u`, nm). `fall_time` [s]. Assumes that the drift is straight over one fall. 95 % intervals of
    the largest cover 95 to 97 % of steady and absent drifts, up to 100 % of bent ones; without drift it is about one u.
    """
    name, method = "height_cross_talk", "drift of the reference over one fall, through the approach curve's slope"
    if series.size < _FEWEST:
        reason = f"{series.size} good hops; {_FEWEST} are needed: hop for longer"
        return failed(name, "nm", method, "too few hops", reason)
    noise = scatter(series.current)
    scale = 1e9 * fall_time * height_per_relative_current(series.setpoint, curve)
    t, nm, u = [], [], []
    for part in _stretches(series):
        slope, u_slope = smooth_slope(series.t[part], series.current[part], noise)
        per = scale / np.abs(series.current[part])
        t.append(series.t[part])
        nm.append(np.abs(slope) * per)
        u.append(u_slope * per)
    if not t:
        return failed(name, "nm", method, "too few hops", f"no {_FEWEST} hops follow each other without a pause")
    values, us = np.concatenate(nm), np.concatenate(u)
    trace = xr.DataArray(values, dims="hop", coords={"t": ("hop", np.concatenate(t)), "u": ("hop", us)})
    worst = int(np.argmax(values))
    return Result(
        name,
        float(values[worst]),
        float(us[worst]),
        "nm",
        method,
        flags={"bad_hops": series.bad, "restless_hops": series.restless},
        trace=trace,
    )


def _stretches(series: HopSeries) -> list[slice]:
    """Hops in a row without a gap, as `unbroken` has it, of at least the number that is needed."""
    whole = unbroken(series, 2)
    edges = [0, *(np.flatnonzero(~whole) + 1).tolist(), series.size]
    return [slice(a, b) for a, b in pairwise(edges) if b - a >= _FEWEST]
