"""A run file to results and to a report: opens the file and hands arrays to analysis, figures and report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from opsicm.analysis.approach_template import Template, template
from opsicm.analysis.operando import Setting, images_of, operando_results
from opsicm.analysis.raw_samples import Falls, quantised
from opsicm.analysis.result import Result, failed
from opsicm.analysis.section_results import section_results
from opsicm.app.pipette_results import pipette_results
from opsicm.app.result_views import views_of_traces
from opsicm.errors import BadInput, Problem
from opsicm.figures import image as image_figure
from opsicm.figures import operando as figures
from opsicm.figures import sections as section_figures
from opsicm.figures.view import View
from opsicm.physics.pipette import Pipette
from opsicm.physics.tip_field import approach_curve
from opsicm.record.reader import Run
from opsicm.report.document import document
from opsicm.units import factor

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
        views.append(image_figure.view(heights, f"Image at {frame.potential:.2f} V, {frame.time:.0f} s"))
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


def report_html(run: Run) -> str:
    """The report of a run; every number in it is read or computed from the run file."""
    results = results_of(run)
    parameters = run.parameters
    provenance = run.provenance
    leaves = parameters["set"]["leaves"]
    assumed = [n for n, leaf in leaves.items() if leaf["status"] == "assumed" and leaf["source"] != "experiment file"]
    warnings = [str(fact.data.get("message", "")) for fact in run.facts if fact.kind == "alarm"]
    if run.outcome != "completed":
        warnings.insert(0, f"The run did not complete: {run.outcome}.")
    if provenance.get("source") == "digital twin":
        warnings.append(
            "Measured on a digital twin. Twin and analysis share the approach curve, so their agreement proves "
            f"consistency, not truth. {len(assumed)} of the twin's parameters are assumed (listed below)."
        )
    pipette = parameters["pipette"]
    setup = [
        ("pipette", f"radius {pipette['radius_m'] * 1e9:g} nm, wall {pipette['wall']:g}, half-cone angle "
                    f"{np.degrees(pipette['cone_angle_rad']):.2g}°, shank {pipette['length_m'] * 1e6:g} µm, "
                    f"bias {pipette['bias_V']:g} V vs Li/Li+"),
        ("pipette resistance", f"{pipette['resistance_Ohm'] * 1e-6:.4g} MΩ, from geometry and conductivity"),
        ("98 % distance", f"{pipette['distance_98_m'] * 1e9:.3g} nm (finite elements; with a shank of "
                          f"{pipette['length_m'] * 1e6:g} µm)"),
        ("specimen", f"{parameters['specimen']['thickness_m'] * 1e6:g} µm thick, "
                     f"{parameters['specimen']['area_m2'] * 1e4:g} cm², capacity "
                     f"{parameters['specimen']['capacity_C'] / 3.6:.4g} mAh between x = 0 and 1"),
        ("parameter set", str(parameters["set"]["name"])),
        ("assumed parameters", ", ".join(assumed)),
    ]  # fmt: skip
    origin = [(name, str(value)) for name, value in provenance.items()]
    return document(
        run.title,
        f"{run.started_utc} · {run.outcome} · {run.hops.sizes['hop']} hops · {run.path.parent.name}/{run.path.name}",
        warnings,
        results,
        views_of(run, results),
        [("Setting", setup), ("Provenance", origin)],
        [("experiment.yaml", run.experiment_text), ("rig.yaml", run.rig_text)],
    )


def write_page(target: Path, page: str) -> None:
    """Write a page; raises `BadInput` where that cannot be."""
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        limit = f"cannot be written ({error.strerror})"
        raise BadInput(Problem("report", str(target), limit, "choose another place with -o", str(target))) from error


def write_report(path: Path, target: Path | None) -> Path:
    """Write the report of the run at `path` (folder or file) beside it or to `target`; returns where it is."""
    with Run(path) as run:
        target = target or run.path.parent / "report.html"
        write_page(target, report_html(run))
    return target
