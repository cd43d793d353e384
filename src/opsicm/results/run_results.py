"""A run file to results and to a report: opens the file and hands arrays to analysis, figures and report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from opsicm.analysis.approach.template import Template, template
from opsicm.analysis.hops.operando import Setting, images_of, operando_results
from opsicm.analysis.result import Result, failed
from opsicm.analysis.sections.raw_samples import Falls, quantised
from opsicm.analysis.sections.results import section_results
from opsicm.core.units import factor
from opsicm.figures import hops as figures
from opsicm.figures import images as image_figure
from opsicm.figures import images as section_figures
from opsicm.figures.view import View
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.record.reader import Run
from opsicm.results.figures_of_results import views_of_traces
from opsicm.results.pipette_steps import pipette_results

_SECTION_HOPS: Final = 20
_MOST_SAMPLES: Final = 20_000_000  # a section of more than 160 MB of floats is another command's work


def setting_of(run: Run) -> Setting:
    """What the analysis needs besides arrays, as the run file states it."""
    parameters = run.parameters
    return Setting(
        thickness=float(parameters["specimen"]["thickness_m"]),
        curve=approach_curve(_pipette(parameters["pipette"])),
        capacity=float(parameters["specimen"]["capacity_C"]),
        tip_potential=float(parameters["pipette"]["bias_V"]),
        sample_period=run.dt_ns * 1e-9,
        particle_radius=_leaf(parameters, "particle_radius"),
    )


def _leaf(parameters: Mapping[str, Any], name: str) -> float | None:
    """A leaf of the parameter set in SI, None where it is not stated."""
    leaf = parameters.get("set", {}).get("leaves", {}).get(name)
    return float(leaf["value"]) * factor(str(leaf["unit"])) if leaf else None


def results_of(run: Run) -> list[Result]:
    """All results that apply to a run."""
    if not run.parameters:
        reason = "it was killed before its header was written: nothing was measured"
        return [failed("run", "1", "", "cut off before it began", reason)]
    results = operando_results(run.hops, run.cell, run.slow, setting_of(run))
    return [*results, *pipette_results(run), *_section_of(run)]


def _section_of(run: Run) -> list[Result]:
    """The section of the complete line nearest the largest cell current, or of the hops at that moment at a point."""
    hops = run.hops
    good = np.flatnonzero(hops["outcome"].values == 0)
    if good.size < _SECTION_HOPS:
        return []
    worst = good[int(np.argmax(np.abs(hops["cell_current"].values[good])))]
    line, segment = int(hops["line"].values[worst]), int(hops["segment"].values[worst])
    chosen = good[hops["segment"].values[good] == segment]
    if np.unique(hops["pixel"].values[chosen]).size > 1:
        chosen = chosen[hops["line"].values[chosen] == line]
    else:
        chosen = chosen[np.argsort(np.abs(chosen - worst), kind="stable")[:_SECTION_HOPS]]
        chosen.sort()
    fall, stop = (hops[name].values[chosen] for name in ("sample_fall", "sample_stop"))
    first, last = int(fall.min()), int(stop.max()) + 1
    if chosen.size < 3 or last - first > _MOST_SAMPLES:
        return []
    raw = run.samples(segment, first, last)
    names = ("pipette_current", "z")
    if any(name not in raw for name in names):
        return []
    current, z = (raw[name].values for name in names)
    reference = hops["i_ref"].values[chosen]
    # Relative to a positive reference: the sections are about how the current falls, not about its sign.
    sign = 1.0 if float(np.median(reference)) > 0.0 else -1.0
    falls = Falls(fall - first, stop - first + 1, sign * reference, hops["setpoint"].values[chosen])
    x, y = (hops[name].values[chosen] for name in ("x", "y"))
    return section_results(quantised(sign * current, z), falls, template_of(run), np.hypot(x - x[0], y - y[0]))


def template_of(run: Run) -> Template:
    """The finite-element curve of the run's pipette."""
    return template(approach_curve(_pipette(run.parameters["pipette"])).relative_current, "finite-element curve")


def _pipette(p: Mapping[str, float]) -> Pipette:
    return Pipette(float(p["radius_m"]), float(p["wall"]), float(p["cone_angle_rad"]), float(p["length_m"]))


def views_of(run: Run, results: list[Result]) -> list[View]:
    """The figures that apply to a run."""
    views = [figures.time_view(run.hops, run.cell, run.slow)]
    good = np.flatnonzero(run.hops["outcome"].values == 0)
    for result in results:
        if result.name == "kymograph_largest_change" and isinstance(result.trace, xr.DataArray):
            views.append(section_figures.kymograph_view(result.trace))
        if result.name == "near_surface_difference" and isinstance(result.trace, xr.Dataset):
            views.append(section_figures.section_view(result.trace))
    images = images_of(run.hops, run.slow) if good.size else []
    for frame in images[:1] + images[1:][-1:]:
        heights = frame.array()
        views.append(image_figure.image_view(heights, f"Image at {frame.potential:.2f} V, {frame.time:.0f} s"))
    if good.size and not images:  # over an image the height is topography, not the specimen's change
        views.append(figures.potential_view(run.hops, run.cell, setting_of(run).thickness))
    if good.size:
        traces = {result.name: result.trace for result in results}
        if isinstance(change := traces.get("ten_hop_bulk_change"), xr.DataArray):
            views.append(figures.ten_hop_view(change, float(run.hops["setpoint"].values[good[0]])))
        middle = int(good[good.size // 2])
        record = {name: float(run.hops[name].values[middle]) for name in ("i_ref", "z_stop", "t_ns", "setpoint")}
        views.append(figures.hop_view(run.trace(middle), {**record, "hop": middle}))
    return views + views_of_traces(results)
