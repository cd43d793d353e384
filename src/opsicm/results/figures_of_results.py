"""Results to figures: whatever carries a trace is drawn, whether a run or another instrument measured it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import xarray as xr

from opsicm.analysis.result import Of, Result
from opsicm.figures import cell, images, pipette, towers
from opsicm.figures.draw import draw, save
from opsicm.figures.view import View

Results = Sequence[Result]


def views_of_traces(results: Results) -> list[View]:
    """The figures of all traces among `results`; those of one curve, record, step or run have figures of their own."""
    places: dict[Of, list[Result]] = {}
    for result in results:
        if result.trace is not None:
            places.setdefault(replace(result.of, image=None, part="", number=None), []).append(result)
    views: list[View] = []
    for of, measured in places.items():
        title = of.recording or of.place
        for views_of in FIGURES:
            views += [replace(v, title=f"{v.title}, {title}") if title else v for v in views_of(measured)]
    return views


def save_views(views: Sequence[View], folder: Path, stem: str) -> list[Path]:
    """Every view as `stem`_name.svg and .png in `folder`, numbered where a name comes twice; returns the pictures."""
    paths: list[Path] = []
    seen: dict[str, int] = {}
    for view in views:
        seen[view.name] = seen.get(view.name, 0) + 1
        number = f"_{seen[view.name]}" if seen[view.name] > 1 else ""
        # Another suffix than the picture's would be taken for one.
        paths += save(draw(view), folder / f"{stem}_{view.name}{number}".replace(".", "-"))
    return paths


def _datasets(results: Results, name: str) -> list[tuple[Result, xr.Dataset]]:
    return [(r, r.trace) for r in results if r.name == name and isinstance(r.trace, xr.Dataset)]


def _arrays(results: Results, name: str) -> list[tuple[Result, xr.DataArray]]:
    return [(r, r.trace) for r in results if r.name == name and isinstance(r.trace, xr.DataArray)]


def _part(result: Result) -> str:
    """What a curve of several is called in a legend: "lithiation 1"."""
    of = result.of
    return of.part.replace("_", " ") + ("" if of.number is None else f" {of.number}")


def _kymograph(results: Results) -> list[View]:
    return [images.kymograph_view(trace) for _, trace in _arrays(results, "kymograph_largest_change")]


def _section(results: Results) -> list[View]:
    return [images.section_view(trace) for _, trace in _datasets(results, "near_surface_difference")]


def _tower(results: Results) -> list[View]:
    views = [
        towers.ways_view(trace.values, trace["time"].values, trace["height"].values)
        for _, trace in _arrays(results, "tower_ways")
    ]
    profiles = {
        _part(r): (trace["height"].values, trace.values) for r, trace in _arrays(results, "near_less_far_current")
    }
    return [*views, towers.approach_view(profiles, "Approach curves at chosen moments")] if profiles else views


def _pipette_sweep(results: Results) -> list[View]:
    return [
        pipette.current_voltage_view(trace, 1e6 * r.value)
        for r, trace in _arrays(results, "pipette_resistance")
        if r.value is not None
    ]


def _modulation(results: Results) -> list[View]:
    views = [pipette.conductance_view(trace) for _, trace in _datasets(results, "conductance")]
    return views + [pipette.concentration_view(trace) for _, trace in _datasets(results, "concentration")]


def _voltammogram(results: Results) -> list[View]:
    peaks = _datasets(results, "peak_potential")
    marks = {r.label: (float(t.attrs["peak_potential"]), float(t.attrs["peak_current"])) for r, t in peaks}
    sweeps = [trace for _, trace in (*_datasets(results, "cycles"), *peaks)]
    return [cell.voltammogram_view(sweeps[0], marks)] if sweeps else []


def _constant_current(results: Results) -> list[View]:
    views: list[View] = []
    if stretches := {_part(r): trace for r, trace in _datasets(results, "capacity")}:
        views.append(cell.capacity_view(stretches))
    if derivatives := {_part(r): trace for r, trace in _arrays(results, "dq_dv_highest")}:
        views.append(cell.incremental_view(derivatives))
    return views + [cell.titration_view(trace) for r, trace in _datasets(results, "relaxed_potential") if r.index == 1]


# What is drawn of the results of one place, in this order. A result with a new kind of figure: a line here.
FIGURES: Final[tuple[Callable[[Results], list[View]], ...]] = (
    _kymograph,
    _section,
    _tower,
    _pipette_sweep,
    _modulation,
    _voltammogram,
    _constant_current,
)
