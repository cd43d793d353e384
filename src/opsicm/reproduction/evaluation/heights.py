"""E9 and E10: hopping at one point and along one line during a voltammogram."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from opsicm.analysis.cell.branches import branches, time_at_charge
from opsicm.analysis.cell.transitions import transitions_from_height
from opsicm.analysis.hops.expansion import kymograph
from opsicm.analysis.hops.series import hop_series
from opsicm.analysis.result import Result, Subject, failed
from opsicm.core.statistics import mean_with_u, u_of_rectangle
from opsicm.reproduction.evaluation.row_value import F64, as_row, missing, over_runs, row_value
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.reproduction.variants import IR_COMPENSATED

_ONSET_SHARE: Final = 0.005  # of the branch's whole change: the height at the onset
_BINS: Final = 120  # of a branch, in potential
_NEAR_SURFACE: Final = (60e-9, 270e-9)  # [m] above the surface: as the analysis has it
_NEIGHBOURHOOD: Final = 1e-6  # [m] to either side: a hollow is lower than the mean over it
_NO_SECTION: Final = "no section could be computed"
_LOWER: Final = 1e-3  # of the current: the least that counts as lower in E10


def one_point(runs: ExperimentRuns) -> list[Result]:
    """E9: onset and knee of the expansion, its size, its reversal and the ten-hop check."""
    run = runs.of()[0]
    rows = _expansion(run)
    knees = [_potentials(one) for one in runs.of()]
    rows += knees[0]
    if len(knees) > 1:
        method = f"largest less smallest of {len(knees)} runs that differ in their seed alone"
        each = [knee[1] for knee in knees]
        rows.append(over_runs("E9.repeats", each, lambda v: 1e3 * float(np.ptp(v)), method))
    else:
        rows.append(missing("E9.repeats", "the short form runs once; the long form three times"))
    rows.append(as_row("E9.ten_hops", run.result("ten_hop_bulk_change")))
    compensated = [(one, _last_branch(one, "lithiation")) for one in runs.of(IR_COMPENSATED)]
    rows += [as_row("E9.total_compensated", one.result("expansion", of)) for one, of in compensated if of is not None]
    return rows


def _last_branch(run: AnalysedRun, direction: str) -> Subject | None:
    """The last branch of this direction that was covered by hops."""
    measured = [result.of for result in run.results if result.name == "expansion" and result.of.part == direction]
    return measured[-1] if measured else None


def _expansion(run: AnalysedRun) -> list[Result]:
    down, up = _last_branch(run, "lithiation"), _last_branch(run, "delithiation")
    if down is None:
        return [missing("E9.total", "no branch of lithiation was covered by hops")]
    rows = [
        as_row("E9.stage_2", run.result("expansion_first_half", down)),
        as_row("E9.stage_1", run.result("expansion_second_half", down)),
        as_row("E9.total", run.result("expansion", down)),
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
        pair = (run.result("height_change", down), run.result("height_change", up))
        rows.append(over_runs("E9.mirror", pair, lambda h: -h[1] / h[0], "-(change back)/(change on lithiation)"))
    return rows


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
    rise = h - np.median(h[:3])
    begun = np.flatnonzero(rise > _ONSET_SHARE * rise[-1])
    onset = float(e[begun[0]]) if begun.size else float("nan")
    method = f"first bin with a height above {100 * _ONSET_SHARE:g} % of the whole change; {_bins_method(e.size, step)}"
    first = row_value(rows[0], onset, u_of_rectangle(step), "V", method)
    half = float(np.interp(time_at_charge(t, charge, down[-1], 0.5), t, swept))
    between = (e <= onset) & (e >= half)
    kinks = transitions_from_height(-e[between], h[between])
    if not kinks:
        return [first, missing(rows[1], "too few bins between the onset and SOC 50 %")]
    method = (
        f"kink of a broken line between the onset and SOC 50 % ({half:.3f} V); {_bins_method(int(between.sum()), step)}"
    )
    u = float(np.hypot(kinks[0].u, u_of_rectangle(step)))
    return [first, row_value(rows[1], -kinks[0].charge, u, "V", method)]


def _bins_method(bins: int, step: float) -> str:
    return f"program's potential, {bins} bins of {1e3 * step:.0f} mV; u: a bin as a rectangle"


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
        as_row("E10.kymograph", run.result("kymograph_largest_change")),
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
    lower = np.flatnonzero(measured > -_LOWER * bulk)
    first = lower[distance[lower] > 30e-9]
    width = float(distance[1] - distance[0])
    reach = float(distance[first[0]]) if first.size else float(distance[-1])
    method = f"first height above 30 nm where the mean section is less than {100 * _LOWER:g} % below its mode"
    rows.append(row_value("E10.reach", reach, u_of_rectangle(width), "m", method))
    return rows


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
