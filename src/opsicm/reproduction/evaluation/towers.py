"""E11: the pipette up and down over millimetres during a voltammogram."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from opsicm.analysis.pipette.towers import gradient_extent, profile_at
from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import mean_with_u, noise_from_differences
from opsicm.reproduction.evaluation.row_value import F64, missing, row_value
from opsicm.reproduction.open_runs import ExperimentRuns

NEAR, FAR = 0.1e-3, 2.6e-3  # [m]
_BAND = 0.05e-3
_FEWEST_ROWS = 4
_WITHIN = 6.0  # [s] either side of a time: one traverse of 2.5 mm at 0.5 mm/s, with a margin
_EDGES = np.linspace(NEAR - _BAND, FAR + _BAND, 26)


@dataclass(frozen=True, slots=True)
class Moments:
    """The five times A–E [s], as the text defines them, and the meaning of each."""

    times: dict[str, float]
    meaning: dict[str, str]


def moments(t: F64, swept: F64, cell: F64) -> Moments:
    """A–E in the last cycle of a sweep: `t` [s], `swept` [V] the program's potential, `cell` [A] its current, (n,).

    A, B, C and E follow the text. Of D it says only that it comes after C in reverse: here it is at the largest
    delithiating current after C.
    """
    bottom = int(np.nanargmin(np.where(t >= _last_cycle(t, swept), swept, np.inf)))
    forward, reverse = np.arange(t.size) < bottom, np.arange(t.size) > bottom
    forward &= t >= _last_cycle(t, swept)

    def nearest(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], volts: float) -> float:
        return float(t[int(np.argmin(np.where(mask, np.abs(swept - volts), np.inf)))])

    turned = nearest(reverse, 0.5)
    times = {
        "A": nearest(forward, 1.0),
        "B": nearest(forward, 0.05),
        "C": turned,
        "D": float(t[int(np.argmax(np.where(t > turned + 2.0 * _WITHIN, cell, -np.inf)))]),
        "E": float(t[-1]) - _WITHIN,
    }
    meaning = {
        "A": "forward, 1.0 V",
        "B": "forward, 0.05 V",
        "C": "reverse, 0.5 V",
        "D": "reverse, largest current after C",
        "E": "end",
    }
    return Moments(times, meaning)


def _last_cycle(t: F64, swept: F64) -> float:
    """When the last sweep down from the top begins [s]."""
    top = float(np.nanmax(swept))
    bottom = int(np.flatnonzero(swept <= np.nanmin(swept) + 1e-3)[-1])
    high = np.flatnonzero((swept >= top - 5e-3) & (np.arange(t.size) < bottom))
    return float(t[high[-1]]) if high.size else float(t[0])


def tower(runs: ExperimentRuns) -> list[Result]:
    """E11: near less far at A–E, the length of the gradient at C, and the decrease of the swing with height."""
    run = runs.of()[0].run
    t, z, i = run.slow["t_ns"].values * 1e-9, run.slow["coarse_z"].values, run.slow["pipette_current"].values
    cell_t = run.cell["t_ns"].values * 1e-9
    swept = np.interp(t, cell_t, program(run.cell["set_point"].values))
    when = moments(t, swept, np.interp(t, cell_t, run.cell["current"].values))
    # Rows at one height are seconds apart and include their change, so this is an upper bound.
    noise = noise_from_differences(i[np.abs(z - FAR) < _BAND], 1, np.std)
    differences: dict[str, tuple[float, float]] = {}
    for name, moment in when.times.items():
        close = np.abs(t - moment) <= _WITHIN
        near, far = i[close & (np.abs(z - NEAR) < _BAND)], i[close & (np.abs(z - FAR) < _BAND)]
        if near.size and far.size:
            u = float(np.hypot(_u_mean(near, noise), _u_mean(far, noise)))
            differences[name] = float(near.mean() - far.mean()), u
    rows: list[Result] = []
    largest = max((abs(d) for d, _ in differences.values()), default=0.0)
    for name in "ABDE":
        row = f"E11.{name}"
        if name not in differences or not largest:
            rows.append(missing(row, f"no traverse from 0.1 to 2.6 mm at {when.meaning[name]}"))
            continue
        value, u = differences[name]
        method = f"mean within 0.05 mm of 0.1 mm less that of 2.6 mm, {when.meaning[name]}, one traverse"
        if name in "AE":
            method += "; over the largest of A–E"
            rows.append(row_value(row, 100.0 * value / largest, 100.0 * u / largest, "%", method))
        else:
            rows.append(row_value(row, value, u, "A", method))
    rows.append(_reach(t, z, i, when))
    if not all(np.any(np.abs(z - height) < _BAND) for height in (NEAR, FAR)):
        return [*rows, missing("E11.traces", "the pipette was not both at 0.1 and at 2.6 mm")]
    swings = [float(np.ptp(i[np.abs(z - height) < _BAND])) for height in (NEAR, FAR)]
    method = "range of the rows within 0.05 mm of 2.6 mm less that of 0.1 mm, whole run"
    rows.append(row_value("E11.traces", swings[1] - swings[0], 2.0 * noise, "A", method))
    return rows


def _u_mean(rows: F64, noise: float) -> float:
    """u of a mean over few rows, with `noise` as the least scatter: two rows alone do not show it."""
    if rows.size >= _FEWEST_ROWS:
        return mean_with_u(rows)[1]
    return max(float(np.std(rows)), noise) / math.sqrt(rows.size)


def program(set_point: F64) -> F64:
    """The program's potential [V] with its gaps (rests, no control) interpolated."""
    known = np.flatnonzero(np.isfinite(set_point))
    return np.asarray(np.interp(np.arange(set_point.size), known, set_point[known]), dtype=np.float64)


def _reach(t: F64, z: F64, i: F64, when: Moments) -> Result:
    extent = gradient_extent(profile_at(t, z, i, when.times["C"], _WITHIN, _EDGES))
    method = f"length of an exponential through the profile at C ({when.meaning['C']}), 25 bins of 0.1 mm"
    if not extent.ok:
        return failed("E11.C", "mm", method, "no extent", extent.reason)
    return row_value("E11.C", extent.length, extent.u, "m", method)
