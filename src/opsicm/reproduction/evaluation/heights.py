"""E9 and E10: hopping at one point and along one line during a voltammogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from opsicm.analysis.cell.branches import branches, time_at_charge
from opsicm.analysis.hops.expansion import kymograph
from opsicm.analysis.hops.series import hop_series
from opsicm.analysis.result import WHOLE, Result, Subject, failed
from opsicm.core.statistics import mean_with_u, u_of_rectangle
from opsicm.reproduction.evaluation.estimators import F64, Estimate, last_break, onset, undetermined
from opsicm.reproduction.evaluation.rig_drift import estimate_with_walk, height_walk, with_walk
from opsicm.reproduction.evaluation.row_value import alternative, as_row, estimated, missing, over_runs, row_value
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.reproduction.variants import IR_COMPENSATED

_ONSETS: Final = {"": 0.02, "0.5 % of the change": 0.005, "1 % of the change": 0.01, "5 % of the change": 0.05}
_BREAKS: Final = {"": 2, "last of three breaks": 3}
_REACHES: Final = {
    "": 1e-3,
    "by 0.05 %": 5e-4,
    "by 0.15 %": 1.5e-3,
    "by 0.2 %": 2e-3,
    "by 0.3 %": 3e-3,
}  # of the current
_BINS: Final = 120  # of a branch, in potential
_NEAR_SURFACE: Final = (60e-9, 270e-9)  # [m] above the surface: as the analysis has it
_NEIGHBOURHOOD: Final = 1e-6  # [m] to either side: a hollow is lower than the mean over it
_ONE_PLACE: Final = "one place"
_OF_A_PLACE: Final = frozenset(
    {"E9.total", "E9.stage_2", "E9.stage_1", "E9.stage_2_height", "E9.stage_1_height", "E9.ratio"}
    | {"E9.total_compensated", "E9.ratio_compensated"}
)
_NO_SECTION: Final = "no section could be computed"


def one_point(runs: ExperimentRuns) -> list[Result]:
    """E9: onset and knee of the expansion, its size, its reversal and the ten-hop check.

    How much a place swells is the place's, so that sizes are means over the places, with their standard error.
    """
    run = runs.of()[0]
    each = [[*_expansion(one), *_potentials(one)] for one in runs.of()]
    rows = [_over_places([result for rows in each for result in rows if _same(result, first)]) for first in each[0]]
    knees = [result for rows in each for result in rows if (result.name, result.of) == ("E9.knee", WHOLE)]
    if len(knees) > 1:
        method = f"largest less smallest of {len(knees)} places, each on plates that another seed has laid"
        rows.append(over_runs("E9.repeats", knees, lambda v: 1e3 * float(np.ptp(v)), method))
    else:
        rows.append(missing("E9.repeats", f"{_ONE_PLACE}; the long form of the first set has three"))
    rows.append(as_row("E9.ten_hops", run.result("ten_hop_bulk_change")))
    for one in runs.of(IR_COMPENSATED):
        rows.append(as_row("E9.ten_hops_compensated", one.result("ten_hop_bulk_change")))
        if (branch := _last_branch(one, "lithiation")) is not None:
            rows.append(_over_places([as_row("E9.total_compensated", _drifting(one, "expansion", branch))]))
            rows.append(_over_places([_ratio("E9.ratio_compensated", one, branch)]))
    return rows


def _same(one: Result, other: Result) -> bool:
    return (one.name, one.of) == (other.name, other.of)


def _over_places(each: Sequence[Result]) -> Result:
    """The mean of a row over places with its standard error, which is at least the u of one run.

    A place without a number is the row's outcome. With one place alone, u of what is the place's own is not known: the
    noise of a run is a thousandth of what the next place differs by. Potentials keep the u of their run there: they are
    the electrode's, read to a bin.
    """
    first, *others = each
    without = next((result for result in each if result.value is None), None)
    if without is not None:
        return without
    if not others:
        if first.name not in _OF_A_PLACE:
            return first
        method = f"{first.method}; {_ONE_PLACE}: its u, by how much others would differ, is not known"
        return replace(first, u=None, method=method)
    values = np.array([result.value for result in each], dtype=np.float64)
    mean, u = mean_with_u(values)
    listed = ", ".join(f"{value:.4g}" for value in values)
    method = f"{first.method}; mean of {len(each)} places, {listed}; u: their standard error, of "
    method += f"{len(each) - 1} degrees of freedom, or that of one if larger"
    # Not below a run's own: a few places may lie near one another by chance.
    return replace(first, value=mean, u=max(u, *(result.u or 0.0 for result in each)), method=method)


def _ratio(row: str, run: AnalysedRun, branch: Subject) -> Result:
    """Expansion of the first half of the charge over that of the second."""
    halves = (_drifting(run, "expansion_first_half", branch), _drifting(run, "expansion_second_half", branch))
    return over_runs(row, halves, lambda h: float(h[0] / h[1]), "first half of the branch's charge over the second")


def _last_branch(run: AnalysedRun, direction: str) -> Subject | None:
    """The last branch of this direction that was covered by hops."""
    measured = [result.of for result in run.results if result.name == "expansion" and result.of.part == direction]
    return measured[-1] if measured else None


def _drifting(run: AnalysedRun, name: str, of: Subject) -> Result:
    """A change of height over a branch or its half, with the walk of what holds the pipette in its u."""
    result = run.result(name, of)
    t, charge = run.run.cell["t_ns"].values * 1e-9, run.run.cell["charge"].values
    branch = next((one for one in reversed(branches(t, charge)) if one.kind == of.part), None)
    if result.value is None or branch is None:
        return result
    half = time_at_charge(t, charge, branch, 0.5)
    begin = half if name == "expansion_second_half" else branch.start
    end = half if name == "expansion_first_half" else branch.stop
    thickness = float(run.run.parameters["specimen"]["thickness_m"])
    return with_walk(result, height_walk(run, end - begin) * (100.0 / thickness if result.unit == "%" else 1e9))


def _expansion(run: AnalysedRun) -> list[Result]:
    down, up = _last_branch(run, "lithiation"), _last_branch(run, "delithiation")
    if down is None:
        return [missing("E9.total", "no branch of lithiation was covered by hops")]
    rows = [
        as_row("E9.stage_2", _drifting(run, "expansion_first_half", down)),
        as_row("E9.stage_1", _drifting(run, "expansion_second_half", down)),
        as_row("E9.total", _drifting(run, "expansion", down)),
        _ratio("E9.ratio", run, down),
    ]
    thickness = float(run.run.parameters["specimen"]["thickness_m"])
    for source, row in ((rows[0], "E9.stage_2_height"), (rows[1], "E9.stage_1_height")):
        if source.value is not None:
            to_um = 1e4 * thickness
            u = None if source.u is None else to_um * source.u
            method = f"the row above times the thickness of {1e6 * thickness:g} µm"
            rows.append(row_value(row, to_um * source.value, u, "µm", method))
        else:
            rows.append(failed(row, "µm", source.method, source.outcome, source.reason))
    if up is None:
        rows.append(missing("E9.mirror", "no branch of delithiation was covered by hops"))
    else:
        pair = (_drifting(run, "height_change", down), _drifting(run, "height_change", up))
        rows.append(over_runs("E9.mirror", pair, lambda h: -h[1] / h[0], "-(change back)/(change on lithiation)"))
    return rows


def share_of_lithiation(cell: xr.Dataset, since: float) -> F64:
    """Charge over that of the last lithiation that ends after `since` [s], (row,): what the rows call SOC.

    0 where it begins and 1 where it ends; NaN without one. The state of charge of the run file is of the reversible
    capacity instead, which a sweep with an ohmic drop does not use up.
    """
    t, charge = cell["t_ns"].values * 1e-9, cell["charge"].values
    down = [one for one in branches(t, charge) if one.kind == "lithiation" and one.stop > since]
    if not down:
        return np.full(t.size, np.nan)
    return np.asarray((charge - np.interp(down[-1].start, t, charge)) / down[-1].charge)


def _potentials(run: AnalysedRun) -> list[Result]:
    """Onset and knee of the last lithiation, over bins of potential to average the noise of single hops."""
    cell = run.run.cell
    series = hop_series(run.run.hops, float(run.run.parameters["pipette"]["bias_V"]))
    t, charge = cell["t_ns"].values * 1e-9, cell["charge"].values
    down = [b for b in branches(t, charge) if b.kind == "lithiation" and b.stop > series.t[0]]
    rows = ("E9.onset", "E9.knee")
    if not down:
        return [missing(row, "no lithiation was covered by hops") for row in rows]
    swept = np.where(np.isfinite(cell["set_point"].values), cell["set_point"].values, cell["potential"].values)
    # From the top of the sweep, where no charge flows yet, to its turn.
    before = (t >= series.t[0] - 1.0) & (t <= down[-1].stop)
    top = float(t[before][np.argmax(swept[before])])
    turn = float(t[before][np.argmin(swept[before])])
    inside = (series.t >= top) & (series.t <= turn)
    e, h, step = _binned(np.interp(series.t[inside], t, swept), series.height[inside])
    bins = f"program's potential, {e.size} bins of {1e3 * step:.0f} mV; u: a bin as a rectangle"
    walk = np.full(e.size - 1, height_walk(run, (turn - top) / (e.size - 1)))
    found = []
    for label, share in _ONSETS.items():
        method = f"first bin with a height above {100 * share:g} % of the whole change; {bins}"
        begins = onset(e, h, share)
        if not label:
            begins = estimate_with_walk(begins, lambda moved: onset(e, moved, _ONSETS[""]), h, walk)
            method += " and the drift that the rig states"
        found.append(alternative(label, estimated(rows[0], begins, "V", method)))
    for label, breaks in _BREAKS.items():
        method = f"last of {breaks} breaks of a broken line from {e[0]:.2f} to {e[-1]:.2f} V; {bins}"
        bends = last_break(e, h, breaks)
        if not label:
            bends = estimate_with_walk(bends, lambda moved: last_break(e, moved, _BREAKS[""]), h, walk)
            method += " and the drift that the rig states"
        found.append(alternative(label, estimated(rows[1], bends, "V", method)))
    half = float(np.interp(time_at_charge(t, charge, down[-1], 0.5), t, swept))
    upper = e >= half
    single = estimated(
        rows[1], last_break(e[upper], h[upper], 1), "V", f"one break down to SOC 50 %, {half:.3f} V; {bins}"
    )
    return [*found, alternative("one break, down to SOC 50 %", single)]


def _binned(potential: F64, height: F64) -> tuple[F64, F64, float]:
    """Mean potential and height of bins of equal width, decreasing; those without a hop are left out."""
    edges = np.linspace(potential.max(), potential.min(), _BINS + 1)
    bin_index = np.clip(np.digitize(potential, edges) - 1, 0, _BINS - 1)
    number = np.bincount(bin_index, minlength=_BINS)
    kept = number > 0
    e, h = (np.bincount(bin_index, v, minlength=_BINS)[kept] / number[kept] for v in (potential, height))
    return e, h, float(abs(edges[1] - edges[0]))


def one_line(runs: ExperimentRuns) -> list[Result]:
    """E10: the line's height over time, and the current above it compared with geometry alone."""
    run = runs.of()[0]
    rows = [
        as_row("E10.kymograph", _largest_change(run)),
        as_row("E10.net", run.result("near_surface_difference")),
        as_row("E10.null", run.result("near_surface_geometry_alone")),
        _spread_over_repeats("E10.repeats", [one.result("kymograph_largest_change") for one in runs.of()]),
        _spread_over_repeats("E10.repeats_difference", [_difference(one) for one in runs.of()]),
        _difference(run),
    ]
    trace = _section(run)
    if trace is None:
        return [*rows, *(missing(row, _NO_SECTION) for row in ("E10.hollows", "E10.hollows_null", "E10.reach"))]
    line = kymograph(run.run.hops)
    heights = np.nanmean(line.masked(line.height)[line.complete], axis=0)
    for row, name in (("E10.hollows", "difference"), ("E10.hollows_null", "null")):
        rows.append(hollows(row, trace["x"].values, _near(trace, name), line.x, heights))
    distance, difference = trace["distance"].values, trace["difference"].values
    number = np.isfinite(difference).sum(axis=0)
    measured = np.where(number > 0, np.nansum(difference, axis=0) / np.maximum(number, 1), np.nan)
    bulk = float(np.median(np.abs(run.run.hops["i_ref"].values)))
    for label, share in _REACHES.items():
        method = f"first height above 30 nm where the mean section is less than {100 * share:g} % below its mode"
        rows.append(alternative(label, estimated("E10.reach", _reach(distance, measured, share * bulk), "m", method)))
    return rows


def _largest_change(run: AnalysedRun) -> Result:
    """The largest change of the line's height, with the walk of what holds the pipette until then in its u."""
    result = run.result("kymograph_largest_change")
    if not isinstance(result.trace, xr.DataArray):
        return result
    line = result.trace.mean([name for name in result.trace.dims if name != "line"]).values
    t = result.trace["t"].values
    return with_walk(result, 1e9 * height_walk(run, float(t[np.nanargmax(np.abs(line - line[0]))] - t[0])))


def _reach(distance: F64, measured: F64, least: float) -> Estimate:
    """The first distance [m] at which the current [A] is no longer lower than its mode by `least` [A]."""
    lower = np.flatnonzero(measured > -least)
    first = lower[distance[lower] > 30e-9]
    if not first.size:
        return undetermined(f"the current is lower up to {1e9 * float(distance[-1]):.0f} nm, the end of the section")
    return Estimate(float(distance[first[0]]), u_of_rectangle(float(distance[1] - distance[0])))


def _section(run: AnalysedRun) -> xr.Dataset | None:
    trace = run.result("near_surface_difference").trace
    return trace if isinstance(trace, xr.Dataset) else None


def _near(section: xr.Dataset, name: str) -> F64:
    """Mean of `name` [A, approach] near the surface; NaN where an approach has no samples there."""
    distance = section["distance"].values
    near = section[name].values[:, (distance >= _NEAR_SURFACE[0]) & (distance <= _NEAR_SURFACE[1])]
    number = np.isfinite(near).sum(axis=1)
    return np.where(number > 0, np.nansum(near, axis=1) / np.maximum(number, 1), np.nan)


def _difference(run: AnalysedRun) -> Result:
    section = _section(run)
    if section is None:
        return missing("E10.difference", _NO_SECTION)
    each = _near(section, "difference")
    each = each[np.isfinite(each)]
    method = "mean over 60–270 nm of each approach less its drift and its mode; u from the scatter over approaches"
    return row_value("E10.difference", *mean_with_u(each), "A", method)


def _spread_over_repeats(row: str, each: list[Result]) -> Result:
    """The range of one result of several runs, of its mean."""
    if len(each) < 2:
        return missing(row, "the short form runs once; the long form three times")
    method = f"largest less smallest of {len(each)} runs that differ in their seed alone, of their mean"
    return over_runs(row, each, lambda v: 100.0 * float(np.ptp(v) / abs(v.mean())), method)


def hollows(row: str, x: F64, difference: F64, line_x: F64, height: F64) -> Result:
    """Mean `difference` [A] of the approaches at `x` [m] in hollows of the line less that of the others.

    A hollow is a pixel that lies lower than the mean `height` [m, line_x] within 1 µm of it by more than the standard
    deviation of that difference along the line.
    """
    around = np.array([height[np.abs(line_x - at) <= _NEIGHBOURHOOD].mean() for at in line_x])
    hollow = np.interp(x, line_x, height - around) < -np.std(height - around)
    inside, outside = (difference[chosen & np.isfinite(difference)] for chosen in (hollow, ~hollow))
    if min(inside.size, outside.size) < 3:
        return missing(row, "fewer than three approaches in hollows or beside them")
    (low, u_low), (high, u_high) = mean_with_u(inside), mean_with_u(outside)
    method = (
        f"{inside.size} approaches at pixels lower than the mean within {1e6 * _NEIGHBOURHOOD:g} µm by more than its "
        f"standard deviation, less the {outside.size} others; u from the scatter over approaches"
    )
    return row_value(row, low - high, float(np.hypot(u_low, u_high)), "A", method)
