"""The figures of results that carry a trace, whether from a run or from a third-party file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import xarray as xr

from opsicm.analysis.result import Result, Subject
from opsicm.figures import cell, hops, images, pipette, towers, traces
from opsicm.figures.draw import draw, save
from opsicm.figures.view import View

Results = Sequence[Result]
_FEWEST_PULSES: Final = 3  # of a titration: two half-cycles with rests are none


def views_of_traces(results: Results) -> list[View]:
    """The figures of all traces among `results`, separately for each curve, record, step and run."""
    by_subject: dict[Subject, list[Result]] = {}
    for result in results:
        if result.trace is not None:
            by_subject.setdefault(replace(result.of, image=None, part="", number=None), []).append(result)
    views: list[View] = []
    for subject, group in by_subject.items():
        title = subject.recording or subject.location
        for views_of in VIEWS:
            views += [replace(v, title=f"{v.title}, {title}") if title else v for v in views_of(group)]
    return views


def save_views(views: Sequence[View], folder: Path, stem: str) -> list[Path]:
    """Every view as `stem`_name.svg and .png in `folder`, numbered where a name comes twice; returns the pictures."""
    paths: list[Path] = []
    seen: dict[str, int] = {}
    for view in views:
        seen[view.name] = seen.get(view.name, 0) + 1
        number = f"_{seen[view.name]}" if seen[view.name] > 1 else ""
        # A dot in the name would be taken for the suffix of the picture.
        paths += save(draw(view), folder / f"{stem}_{view.name}{number}".replace(".", "-"))
    return paths


def _datasets(results: Results, name: str) -> list[tuple[Result, xr.Dataset]]:
    return [(r, r.trace) for r in results if r.name == name and isinstance(r.trace, xr.Dataset)]


def _arrays(results: Results, name: str) -> list[tuple[Result, xr.DataArray]]:
    return [(r, r.trace) for r in results if r.name == name and isinstance(r.trace, xr.DataArray)]


def _part(result: Result) -> str:
    """The name of a curve in a legend, as "lithiation 1"."""
    of = result.of
    return of.part.replace("_", " ") + ("" if of.number is None else f" {of.number}")


def _kymograph_views(results: Results) -> list[View]:
    return [hops.line_view(trace) for _, trace in _arrays(results, "kymograph_largest_change")]


def _section_views(results: Results) -> list[View]:
    return [images.section_view(trace) for _, trace in _datasets(results, "near_surface_difference")]


def _tower_views(results: Results) -> list[View]:
    views = [towers.traverses_view(trace) for _, trace in _arrays(results, "tower_ways")]
    profiles = {
        _part(r): (trace["height"].values, trace.values) for r, trace in _arrays(results, "near_less_far_current")
    }
    return [*views, towers.tower_profiles_view(profiles, "Approach curves at chosen times")] if profiles else views


def _pipette_sweep_views(results: Results) -> list[View]:
    return [
        pipette.current_voltage_view(trace, 1e6 * r.value)
        for r, trace in _arrays(results, "pipette_resistance")
        if r.value is not None
    ]


def _modulation_views(results: Results) -> list[View]:
    views = [pipette.conductance_view(trace) for _, trace in _datasets(results, "conductance")]
    return views + [pipette.concentration_view(trace) for _, trace in _datasets(results, "concentration")]


def peak_marks(results: Results) -> dict[str, tuple[float, float]]:
    """Potential [V] and current [A] of every peak of a voltammogram, by its label."""
    peaks = _datasets(results, "peak_potential")
    return {r.label: (float(t.attrs["peak_potential"]), float(t.attrs["peak_current"])) for r, t in peaks}


def _voltammogram_views(results: Results) -> list[View]:
    sweeps = [trace for name in ("cycles", "peak_potential") for _, trace in _datasets(results, name)]
    return [cell.voltammogram_view(sweeps[0], peak_marks(results))] if sweeps else []


def _constant_current_views(results: Results) -> list[View]:
    views: list[View] = []
    if half_cycles := {_part(r): trace for r, trace in _datasets(results, "capacity")}:
        views.append(cell.capacity_view(half_cycles))
    if derivatives := {_part(r): trace for r, trace in _arrays(results, "dq_dv_highest")}:
        views.append(cell.incremental_view(derivatives))
    relaxed = [trace for r, trace in _datasets(results, "relaxed_potential") if r.index == 1]
    return views + [cell.titration_view(trace) for trace in relaxed if trace.sizes["pulse"] >= _FEWEST_PULSES]


def _recording_views(results: Results) -> list[View]:
    views = [traces.trace_hops_view(trace) for _, trace in _datasets(results, "hops")]
    tables = [
        r.trace for r in results if (r.outcome != "ok" or r.name == "samples") and isinstance(r.trace, xr.Dataset)
    ]
    return views + [traces.table_view(table) for table in tables[:1]]


# Figures of the results of one subject, in this order. A result with a new kind of figure needs a line here.
VIEWS: Final[tuple[Callable[[Results], list[View]], ...]] = (
    _recording_views,
    _kymograph_views,
    _section_views,
    _tower_views,
    _pipette_sweep_views,
    _modulation_views,
    _voltammogram_views,
    _constant_current_views,
)
