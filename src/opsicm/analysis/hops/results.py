"""The results of a run's hops, cell and slow rows, by step and segment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from opsicm.analysis.cell.steps import step_results, transition_results
from opsicm.analysis.cell.voltammogram import cell_results
from opsicm.analysis.hops.cross_talk import height_cross_talk, height_per_relative_current, ten_hop_change
from opsicm.analysis.hops.expansion import expansion_results, line_results
from opsicm.analysis.hops.series import HopSeries, by_state, coarse_heights, hop_series, state_changes
from opsicm.analysis.hops.state_changes import state_change_results
from opsicm.analysis.result import Result, failed
from opsicm.analysis.topography.raster import Frame, frames, is_raster, rows_of_passes
from opsicm.analysis.topography.results import raster_results
from opsicm.core.statistics import (
    median_with_u,
    noise_from_differences,
    resolution_of,
    resolved_u,
    scatter_with_u,
    u_of_rectangle,
)
from opsicm.physics.pipette.tip_field import ApproachCurve

_FEWEST_ROWS: Final = 5
_SERIES: Final = 5  # hops: fewer are no series
# Of the capacity: less charge counts as none, and so does a smaller current (in capacities per hour).
_NEGLIGIBLE: Final = 1e-5


@dataclass(frozen=True, slots=True)
class RunParameters:
    """The constants of a run that the evaluation needs besides its arrays.

    `thickness` [m], `capacity` [C] and `particle_radius` [m] (None: not stated) of the specimen, approach `curve` and
    `tip_potential` [V] of the pipette, `sample_period` [s].
    """

    thickness: float
    curve: ApproachCurve
    capacity: float
    tip_potential: float
    sample_period: float
    particle_radius: float | None = None


def operando_results(hops: xr.Dataset, cell: xr.Dataset, slow: xr.Dataset, parameters: RunParameters) -> list[Result]:
    """Results of one run: expansion per branch, hopping quality, ten-hop check, cell and pipette currents, bias.

    `hops` [hop], `cell` and `slow` [row] as the run file holds them. A run without hops gives named outcomes. Where a
    run hops in several steps or at several points, each has its own results, which name its step, and the segment where
    a step has several (one per event, for example).
    """
    charge = _NEGLIGIBLE * parameters.capacity
    return [
        *_probe_results(hops, cell, slow, parameters),
        *cell_results(cell, slow, charge, charge / 3600.0),
        *(step_results(cell, slow, parameters.particle_radius) if cell.sizes["row"] >= _FEWEST_ROWS else []),
        *_bias_results(hops, slow),
    ]


def _probe_results(hops: xr.Dataset, cell: xr.Dataset, slow: xr.Dataset, parameters: RunParameters) -> list[Result]:
    if not hops.sizes["hop"]:
        reason = "the run has no hops: add a hop or line step to the probe program"
        return [failed("hops", "1", "hop records with outcome contact", "no hops", reason)]
    groups = list(_by_segment(hops))
    results: list[Result] = []
    for step in dict.fromkeys(name for name, _ in groups):
        segments_of_step = [group for name, group in groups if name == step]
        if (
            len(segments_of_step) > 1 and max(group.sizes["hop"] for group in segments_of_step) < _SERIES
        ):  # an engagement: a hop, a coarse step
            whole = hops.isel(hop=np.flatnonzero(hops["step"].values == step))
            count = _hop_count(whole, hop_series(whole, parameters.tip_potential))
            results.append(count.within(step=step))
            continue
        for k, group in enumerate(segments_of_step, start=1):
            subject = {"step": step, "segment": k if len(segments_of_step) > 1 else None} if len(groups) > 1 else {}
            results += [r.within(**subject) for r in _segment_results(group, cell, parameters)]
    if images := images_of(hops, slow):
        talk = [r.value for r in results if r.name == "height_cross_talk" and r.value is not None]
        results += raster_results(images, parameters.thickness, max(talk, default=0.0) * 1e-9)
    return results


def images_of(hops: xr.Dataset, slow: xr.Dataset) -> list[Frame]:
    """The images of every raster of a run, in order of time, all on one scale of height."""
    pass_rows = rows_of_passes(hops)
    return [
        frame
        for step, group in _by_segment(hops)
        for frame in frames(group, coarse_heights(group, slow), pass_rows.get(step, 0))
    ]


def _by_segment(hops: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """(step, hops) of every segment. Heights of two segments refer to two coarse heights and must not be mixed."""
    steps, segments = hops["step"].values, hops["segment"].values
    for segment in np.unique(segments):
        chosen = np.flatnonzero(segments == segment)
        yield str(steps[chosen[0]]), hops.isel(hop=chosen)


def _segment_results(hops: xr.Dataset, cell: xr.Dataset, parameters: RunParameters) -> list[Result]:
    series = hop_series(hops, parameters.tip_potential)
    results = [_hop_count(hops, series)]
    if series.size < _SERIES:
        reason = f"{series.size} of {hops.sizes['hop']} hops ended in contact on a stable baseline: see their outcomes"
        return [*results, failed("height_scatter", "nm", "", "too few hops", reason)]
    changes = state_changes(series)
    results = [
        *state_change_results(changes, "reference_jump", "reference current", "hop", series.t, series.number),
        *results,
    ]
    within_states = by_state(series, changes)
    noise = noise_from_differences(series.current)
    fall_time = float(np.median((hops["sample_stop"] - hops["sample_fall"]).values)) * parameters.sample_period
    drift_to_height = fall_time * height_per_relative_current(series.setpoint, parameters.curve)
    t, charge = cell["t_ns"].values * 1e-9, cell["charge"].values
    during = (t >= series.t[0] - 1.0) & (t <= series.t[-1] + 1.0)
    if np.unique(hops["pixel"].values).size > 1:
        along = (
            []
            if is_raster(hops)
            else line_results(hops, t[during], charge[during], parameters.thickness, drift_to_height)
        )
        return [
            *results,
            *along,
            _period_result(series, parameters.sample_period),
            ten_hop_change(within_states, noise),
            height_cross_talk(within_states, fall_time, parameters.curve),
        ]
    return [
        *results,
        *expansion_results(
            series,
            t,
            charge,
            parameters.thickness,
            drift_to_height,
            negligible_charge=_NEGLIGIBLE * parameters.capacity,
        ),
        *transition_results(
            series, t[during], charge[during], cell["potential"].values[during], _NEGLIGIBLE * parameters.capacity
        ),
        _height_scatter_result(series),
        _period_result(series, parameters.sample_period),
        ten_hop_change(within_states, noise),
        height_cross_talk(within_states, fall_time, parameters.curve),
    ]


def _hop_count(hops: xr.Dataset, series: HopSeries) -> Result:
    method = "hop records; good ones ended in contact on a stable bulk current"
    return Result("hops", float(hops.sizes["hop"]), 0.0, "1", method, flags=series.flags)


def _height_scatter_result(series: HopSeries) -> Result:
    sigma, u = scatter_with_u(series.height)
    trace = xr.DataArray(series.height, dims="hop", coords={"t": ("hop", series.t)}, attrs={"units": "m"})
    method = "standard deviation of one height, from second differences of successive hops"
    return Result("height_scatter", sigma * 1e9, u * 1e9, "nm", method, flags=series.flags, trace=trace)


def _period_result(series: HopSeries, sample: float) -> Result:
    # Stops lie on samples [s], and so does the median of their distances.
    period, u = median_with_u(np.diff(series.t), resolution=sample)
    method = "median time from stop to stop; u: 1.2533 MAD-sigma/sqrt(n), and one sample as a rectangle"
    return Result("hop_period", period * 1e3, u * 1e3, "ms", method)


def _bias_results(hops: xr.Dataset, slow: xr.Dataset) -> list[Result]:
    """The largest error of the pipette's bias.

    u is the noise of one residual and, as a rectangle, how far the largest is from its neighbours in time: an error
    comes and goes between two readings of the potentiostat, and chance decides when it is looked at. After a programmed
    change of control the readings have a fixed phase, and u is too large.
    """
    parts = [hops["bias_residual"].values, slow["bias_residual"].values]
    residual = np.concatenate(parts)
    method = (
        "largest |V_cmd + E - V_tip| over hops and rows; u: scatter from one to the next, and the difference from the "
        "neighbours as a rectangle"
    )
    if residual.size < 5:
        return [failed("bias_residual", "mV", method, "no rows", "the run ended before its first readings")]
    residual = residual[np.isfinite(residual)]
    if residual.size < 5:  # a run made of files in which nothing tells the potential of the tip
        return []
    worst = float(np.max(np.abs(residual)))
    largest = max((part for part in parts if part.size), key=lambda part: float(np.max(np.abs(part))))
    at = int(np.argmax(np.abs(largest)))
    away = np.abs(np.delete(largest[max(at - 1, 0) : at + 2], min(at, 1)) - largest[at])
    steps = u_of_rectangle(resolution_of(residual)), u_of_rectangle(float(np.max(away, initial=0.0)))
    u = float(np.hypot.reduce((noise_from_differences(residual), *steps)))
    return [Result("bias_residual", worst * 1e3, resolved_u(worst * 1e3, u * 1e3), "mV", method)]
