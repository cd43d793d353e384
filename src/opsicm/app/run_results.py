"""A run file to results and to a report: opens the file and hands arrays to analysis, figures and report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from opsicm.analysis.operando import Setting, operando_results
from opsicm.analysis.result import Result
from opsicm.figures import operando as figures
from opsicm.figures.view import View
from opsicm.record.reader import Run
from opsicm.report.document import document


def setting_of(run: Run) -> Setting:
    """What the analysis needs besides arrays, as the run file states it."""
    parameters = run.parameters
    if not parameters:  # killed before its header was written: there is nothing to be scaled either
        return Setting(thickness=float("nan"), distance_98=float("nan"))
    return Setting(
        thickness=float(parameters["specimen"]["thickness_m"]),
        distance_98=float(parameters["pipette"]["distance_98_m"]),
    )


def results_of(run: Run) -> list[Result]:
    """All results that apply to a run."""
    return operando_results(run.hops, run.cell, run.slow, setting_of(run))


def views_of(run: Run, results: list[Result]) -> list[View]:
    """The figures that apply to a run."""
    views = [figures.time_view(run.hops, run.cell, run.slow)]
    good = np.flatnonzero(run.hops["outcome"].values == 0)
    if good.size:
        views.append(figures.potential_view(run.hops, run.cell, setting_of(run).thickness))
        traces = {result.name: result.trace for result in results}
        if isinstance(change := traces.get("ten_hop_bulk_change"), xr.DataArray):
            views.append(figures.ten_hop_view(change, float(run.hops["setpoint"].values[good[0]])))
        middle = int(good[good.size // 2])
        record = {name: float(run.hops[name].values[middle]) for name in ("i_ref", "z_stop", "t_ns", "setpoint")}
        views.append(figures.hop_view(run.trace(middle), {**record, "hop": middle}))
    return views


def report_html(run: Run) -> str:
    """The report of a run; every number in it is read or computed from the run file."""
    results = results_of(run)
    parameters = run.parameters
    provenance = run.provenance
    assumed = [name for name, leaf in parameters["set"]["leaves"].items() if leaf["status"] == "assumed"]
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
        ("98 % distance", f"{pipette['distance_98_m'] * 1e9:.3g} nm (hyperbola; with a shank of "
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


def write_report(path: Path, target: Path | None) -> Path:
    """Write the report of the run at `path` (folder or file) beside it or to `target`; returns where it is."""
    with Run(path) as run:
        target = target or run.path.parent / "report.html"
        target.write_text(report_html(run), encoding="utf-8")
    return target
