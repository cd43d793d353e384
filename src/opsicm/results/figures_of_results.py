"""Results to figures: whatever carries a trace is drawn, whether a run or another instrument measured it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import xarray as xr

from opsicm.analysis.result import Result
from opsicm.figures import cell as cell_record
from opsicm.figures import pipette as current_voltage
from opsicm.figures import pipette as modulation
from opsicm.figures import towers
from opsicm.figures.draw import draw, save
from opsicm.figures.view import View

_Group = Sequence[tuple[str, Result]]


def views_of_traces(results: Sequence[Result]) -> list[View]:
    """Figures of towers, current-voltage curves, modulation and the cell's records among `results`.

    Results of several records, steps or curves ("CURVE2: scan_rate", "tower_ways probe[1]#2") have figures of their
    own.
    """
    views: list[View] = []
    for record in dict.fromkeys(_record(r.name) for r in results):
        mine = [(_own(r.name), r) for r in results if _record(r.name) == record]
        for make in _MAKERS:
            views += [replace(v, title=f"{v.title}, {record}") if record else v for v in make(mine)]
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


def _record(name: str) -> str:
    """What a result's name says of where it belongs: before a colon, or after a space."""
    before, colon, _ = name.rpartition(": ")
    if colon:
        return before
    _, space, step = name.partition(" ")
    return step if space and "[" in step else ""


def _own(name: str) -> str:
    return name.rpartition(": ")[2].partition(" ")[0]


def _datasets(mine: _Group, start: str, end: str = "") -> dict[str, xr.Dataset]:
    return {n: r.trace for n, r in mine if n.startswith(start) and n.endswith(end) and isinstance(r.trace, xr.Dataset)}


def _arrays(mine: _Group, start: str) -> dict[str, xr.DataArray]:
    return {n: r.trace for n, r in mine if n.startswith(start) and isinstance(r.trace, xr.DataArray)}


def _towers(mine: _Group) -> list[View]:
    views = [
        towers.ways_view(trace.values, trace["time"].values, trace["height"].values)
        for trace in _arrays(mine, "tower_ways").values()
    ]
    profiles = {
        name.removeprefix("near_less_far_current_").replace("_", " "): (trace["height"].values, trace.values)
        for name, trace in _arrays(mine, "near_less_far_current_").items()
    }
    return [*views, towers.approach_view(profiles, "Approach curves at chosen moments")] if profiles else views


def _sweeps(mine: _Group) -> list[View]:
    return [
        current_voltage.current_voltage_view(r.trace, 1e6 * r.value)
        for n, r in mine
        if n == "pipette_resistance" and isinstance(r.trace, xr.DataArray) and r.value is not None
    ]


def _modulated(mine: _Group) -> list[View]:
    places = _datasets(mine, "conductance")
    views = [modulation.conductance_view(places["conductance"])] if "conductance" in places else []
    return views + [modulation.concentration_view(trace) for trace in _datasets(mine, "concentration").values()]


def _voltammograms(mine: _Group) -> list[View]:
    rows = {name: trace for name, trace in _datasets(mine, "").items() if "sweep" in trace}
    peaks = {
        name: (float(trace.attrs["peak_potential"]), float(trace.attrs["peak_current"]))
        for name, trace in _datasets(mine, "peak_").items()
    }
    return [cell_record.voltammogram_view(next(iter(rows.values())), peaks)] if rows else []


def _cells(mine: _Group) -> list[View]:
    views: list[View] = []
    if capacities := _datasets(mine, "capacity_"):
        names = {name.removeprefix("capacity_").replace("_", " "): trace for name, trace in capacities.items()}
        views.append(cell_record.capacity_view(names))
    if derivatives := _arrays(mine, "dq_dv_highest_"):
        names_of = {name.removeprefix("dq_dv_highest_").replace("_", " "): trace for name, trace in derivatives.items()}
        views.append(cell_record.incremental_view(names_of))
    views += [cell_record.titration_view(trace) for trace in _datasets(mine, "relaxed_potential_1").values()]
    return views


_MAKERS: Final[tuple[Callable[[_Group], list[View]], ...]] = (_towers, _sweeps, _modulated, _voltammograms, _cells)
