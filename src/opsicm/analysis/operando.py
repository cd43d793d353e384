"""All results that apply to a run: what analyse prints and the report tabulates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from opsicm.analysis.cell_steps import step_results, transition_results
from opsicm.analysis.cross_talk import height_cross_talk, height_per_relative_current, ten_hop_change
from opsicm.analysis.expansion import expansion_results
from opsicm.analysis.hop_series import HopSeries, hop_series, scatter
from opsicm.analysis.kymograph import line_results
from opsicm.analysis.result import Result, failed
from opsicm.analysis.voltammogram import cell_results


@dataclass(frozen=True, slots=True)
class Setting:
    """What the results need besides the arrays: `thickness` [m] of the specimen, `distance_98` [m] of the pipette."""

    thickness: float
    distance_98: float


def operando_results(hops: xr.Dataset, cell: xr.Dataset, slow: xr.Dataset, setting: Setting) -> list[Result]:
    """Results of one run: expansion per branch, hopping quality, ten-hop check, cell and pipette currents, bias.

    `hops` [hop], `cell` and `slow` [row] as the run file holds them. A run without hops gives named outcomes.
    """
    return [
        *_probe_results(hops, cell, setting),
        *cell_results(cell, slow),
        *step_results(cell, slow),
        *_bias_results(hops, slow),
    ]


def _probe_results(hops: xr.Dataset, cell: xr.Dataset, setting: Setting) -> list[Result]:
    if not hops.sizes["hop"]:
        reason = "the run has no hops: add a hop or line step to the probe program"
        return [failed("hops", "1", "hop records with outcome contact", "no hops", reason)]
    series = hop_series(hops)
    lines = np.unique(hops["pixel"].values).size > 1
    results = [_hop_count(hops, series)]
    if series.size < 5:
        reason = f"{series.size} of {hops.sizes['hop']} hops ended in contact: see their outcomes"
        return [*results, failed("height_scatter", "nm", "", "too few hops", reason)]
    fall_time = float(np.median((hops["sample_stop"] - hops["sample_fall"]).values)) * _sample_period(hops)
    drift_to_height = fall_time * height_per_relative_current(series.setpoint, setting.distance_98)
    t, charge = cell["t_ns"].values * 1e-9, cell["charge"].values
    during = (t >= series.t[0] - 1.0) & (t <= series.t[-1] + 1.0)
    if lines:
        return [
            *results,
            *line_results(hops, t[during], charge[during], setting.thickness, drift_to_height),
            _period(series),
            ten_hop_change(series, scatter(series.current)),
            height_cross_talk(series, fall_time, setting.distance_98),
        ]
    return [
        *results,
        *expansion_results(series, t[during], charge[during], setting.thickness, drift_to_height),
        *transition_results(series, t[during], charge[during], cell["potential"].values[during]),
        _height_scatter(series),
        _period(series),
        ten_hop_change(series, scatter(series.current)),
        height_cross_talk(series, fall_time, setting.distance_98),
    ]


def _sample_period(hops: xr.Dataset) -> float:
    """[s] per sample, from two hops of one segment: the clock is the record's own."""
    same = hops["segment"].values == hops["segment"].values[0]
    samples, t_ns = hops["sample_stop"].values[same], hops["t_ns"].values[same]
    return float((t_ns[-1] - t_ns[0]) * 1e-9 / (samples[-1] - samples[0])) if samples[-1] > samples[0] else float("nan")


def _hop_count(hops: xr.Dataset, series: HopSeries) -> Result:
    method = "hop records; good ones ended in contact"
    return Result("hops", float(hops.sizes["hop"]), 0.0, "1", method, flags={"bad_hops": series.bad})


def _height_scatter(series: HopSeries) -> Result:
    sigma = scatter(series.height)
    u = sigma / np.sqrt(2.0 * max(series.size - 3, 1))
    trace = xr.DataArray(series.height, dims="hop", coords={"t": ("hop", series.t)}, attrs={"units": "m"})
    method = "standard deviation of one height, from second differences of successive hops"
    return Result(
        "height_scatter", sigma * 1e9, float(u * 1e9), "nm", method, flags={"bad_hops": series.bad}, trace=trace
    )


def _period(series: HopSeries) -> Result:
    periods = np.diff(series.t)
    u = float(np.std(periods) / np.sqrt(periods.size))
    return Result("hop_period", float(np.median(periods)) * 1e3, u * 1e3, "ms", "median time from stop to stop")


def _bias_results(hops: xr.Dataset, slow: xr.Dataset) -> list[Result]:
    residual = np.concatenate([hops["bias_residual"].values, slow["bias_residual"].values])
    method = "largest |V_cmd + E - V_tip| over hops and rows; u: its root mean square"
    if not residual.size:
        return [failed("bias_residual", "mV", method, "no rows", "the run ended before its first reading")]
    worst, rms = float(np.max(np.abs(residual))), float(np.sqrt(np.mean(residual**2)))
    return [Result("bias_residual", worst * 1e3, rms * 1e3, "mV", method)]
