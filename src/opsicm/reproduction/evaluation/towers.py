"""E11: the pipette up and down over millimetres during a voltammogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.pipette.towers import gradient_extent, profile_at
from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import mean_with_u, noise_from_differences, u_of_rectangle
from opsicm.reproduction.evaluation.estimators import F64, length_beyond_line, sign_change
from opsicm.reproduction.evaluation.row_value import alternative, estimated, missing, row_value
from opsicm.reproduction.open_runs import ExperimentRuns
from opsicm.reproduction.table import NOT_DETERMINED

NEAR, FAR = 0.1e-3, 2.6e-3  # [m]
_BAND = 0.05e-3
_FEWEST_ROWS = 4
_WITHIN = 6.0  # [s] either side of a time: one traverse of 2.5 mm at 0.5 mm/s, with a margin
_EDGES = np.linspace(NEAR - _BAND, FAR + _BAND, 26)
_C_V = 0.5  # [V] in reverse, where the text puts C
_LINES = {"": 1.0e-3, "line above 0.8 mm": 0.8e-3, "line above 1.25 mm": 1.25e-3}  # [m]
_WHICH: tuple[Literal["first", "last"], ...] = ("first", "last")


@dataclass(frozen=True, slots=True)
class Moments:
    """The five times A–E [s], as the text defines them, and the meaning of each."""

    times: dict[str, float]
    meaning: dict[str, str]


def moments(t: F64, swept: F64, cell: F64) -> Moments:
    """A–E in the last cycle of a sweep: `t` [s], `swept` [V] the program's potential, `cell` [A] its current, (n,).

    A, B, C and E follow the text. Of D it says only that the current is lower near the sample, and describes it after
    C: here D is at the largest delithiating current in reverse, before C or after it.
    """
    bottom = int(np.nanargmin(np.where(t >= _last_cycle(t, swept), swept, np.inf)))
    forward, reverse = np.arange(t.size) < bottom, np.arange(t.size) > bottom
    forward &= t >= _last_cycle(t, swept)

    def nearest(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], volts: float) -> float:
        return float(t[int(np.argmin(np.where(mask, np.abs(swept - volts), np.inf)))])

    times = {
        "A": nearest(forward, 1.0),
        "B": nearest(forward, 0.05),
        "C": nearest(reverse, _C_V),
        "D": float(t[int(np.argmax(np.where(reverse, cell, -np.inf)))]),
        "E": float(t[-1]) - _WITHIN,
    }
    meaning = {
        "A": "forward, 1.0 V",
        "B": "forward, 0.05 V",
        "C": "reverse, 0.5 V",
        "D": "reverse, largest delithiating current",
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
    rows += _lengths(t, z, i, swept, when)
    order = (when.times["D"] - when.times["C"]) / 60.0
    method = "time of the largest delithiating current less that at which the sweep passes +0.5 V in reverse"
    rows.append(row_value("E11.order", order, u_of_rectangle(2.0 * _WITHIN) / 60.0, "min", f"{method}; u: a trip"))
    rows += _reversals(t, z, i, swept, noise)
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


def _lengths(t: F64, z: F64, i: F64, swept: F64, when: Moments) -> list[Result]:
    """Length of the gradient at C: beyond a line, with other lines, at other potentials, and without a line."""
    at_C = profile_at(t, z, i, when.times["C"], _WITHIN, _EDGES)
    how = f"of the profile at C ({when.meaning['C']}), 25 bins of 0.1 mm"
    rows = []
    for label, above in _LINES.items():
        method = f"exponential beyond the line through the heights above {1e3 * above:g} mm, {how}"
        rows.append(alternative(label, estimated("E11.C", length_beyond_line(at_C, above), "m", method)))
    short = length_beyond_line(at_C, _LINES[""], with_tail=False)
    rows.append(alternative("its tail in the line not counted", estimated("E11.C", short, "m", f"the same, {how}")))
    reverse = t > when.times["B"]
    reverse &= np.arange(t.size) > int(np.argmin(np.where(reverse, swept, np.inf)))
    for volts in (_C_V - 0.05, _C_V + 0.05):
        moment = float(t[int(np.argmin(np.where(reverse, np.abs(swept - volts), np.inf)))])
        length = length_beyond_line(profile_at(t, z, i, moment, _WITHIN, _EDGES), _LINES[""])
        rows.append(alternative(f"at +{volts:g} V", estimated("E11.C", length, "m", f"the same at +{volts:g} V")))
    whole = gradient_extent(at_C)
    method = f"one exponential, {how}"
    one = row_value("E11.C", whole.length, whole.u, "m", method)
    if not whole.ok:
        one = failed("E11.C", "mm", method, NOT_DETERMINED, whole.reason)
    return [*rows, alternative("one exponential, no line", one)]


def _reversals(t: F64, z: F64, i: F64, swept: F64, noise: float) -> list[Result]:
    """Where near less far changes sign in reverse: each stay near the sample less the far current at that time."""
    bottom = int(np.nanargmin(np.where(t >= _last_cycle(t, swept), swept, np.inf)))
    near, far = (_stays(t, i, np.abs(z - height) < _BAND, noise) for height in (NEAR, FAR))
    if min(near.shape[0], far.shape[0]) < 3:
        return [missing(f"E11.reversal_{which}", "fewer than three stays near and far") for which in _WHICH]
    inside = (near[:, 0] > t[bottom]) & (near[:, 0] > far[0, 0]) & (near[:, 0] < far[-1, 0])
    when, current, u = near[inside].T
    # Between the stays before and after: while the stage travels, the current goes on changing.
    difference = current - np.interp(when, far[:, 0], far[:, 1])
    u = np.hypot(u, np.interp(when, far[:, 0], far[:, 2]))
    method = f"{when.size} stays at 0.1 mm less the current at 2.6 mm interpolated between the stays there; beyond 3 u"
    potential = np.interp(when, t, swept)
    return [
        estimated(f"E11.reversal_{which}", sign_change(potential, difference, u, which), "V", method)
        for which in _WHICH
    ]


def _stays(t: F64, i: F64, inside: NDArray[np.bool_], noise: float) -> F64:
    """(time [s], mean current [A], u [A]) of each run of rows that are `inside` a band of heights, (n, 3)."""
    rows = np.flatnonzero(inside)
    each = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if rows.size else []
    stays = [(float(t[k].mean()), float(i[k].mean()), noise / math.sqrt(k.size)) for k in each]
    return np.array(stays, dtype=np.float64).reshape(-1, 3)
