"""The report of a run or of a third-party file: its content, and where it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from opsicm.core.output_file import write_output
from opsicm.record.reader import Run
from opsicm.reporting.document import document
from opsicm.results.run_or_file import identification, is_run, must_exist, results_of_path, views_of_path
from opsicm.results.run_results import results_of, views_of


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
    if str(provenance.get("source")).startswith("digital twin"):
        warnings.append(
            "Measured on a digital twin. Twin and analysis share the approach curve, so their agreement proves "
            f"consistency, not truth. {len(assumed)} of the twin's parameters are assumed (listed below)."
        )
    pipette = parameters["pipette"]
    setup = [
        (
            "pipette",
            f"radius {pipette['radius_m'] * 1e9:g} nm, wall {pipette['wall']:g}, half-cone angle "
            f"{np.degrees(pipette['cone_angle_rad']):.2g}°, shank {pipette['length_m'] * 1e6:g} µm, "
            f"bias {pipette['bias_V']:g} V vs Li/Li+",
        ),
        ("pipette resistance", f"{pipette['resistance_Ohm'] * 1e-6:.4g} MΩ, from geometry and conductivity"),
        (
            "98 % distance",
            f"{pipette['distance_98_m'] * 1e9:.3g} nm (finite elements; with a shank of "
            f"{pipette['length_m'] * 1e6:g} µm)",
        ),
        (
            "specimen",
            f"{parameters['specimen']['thickness_m'] * 1e6:g} µm thick, "
            f"{parameters['specimen']['area_m2'] * 1e4:g} cm², capacity "
            f"{parameters['specimen']['capacity_C'] / 3.6:.4g} mAh between x = 0 and 1",
        ),
        ("parameter set", str(parameters["set"]["name"])),
        *([("material", str(leaves["material"]["value"]))] if "material" in leaves else []),
        ("assumed parameters", ", ".join(assumed)),
    ]
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


# By which a report is known again: another file of its name is never overwritten. Reports of 0.1.0 have no generator.
_MARKS: Final = (
    b"<meta name='generator' content='opsicm'>",
    b"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
    b"<meta name='viewport' content='width=device-width'><title>",
)


def write_page(target: Path, page: str) -> None:
    """Write a page; raises `BadInput` where that is impossible, or would overwrite what is no report of ours."""
    write_output(target, page.encode("utf-8", "backslashreplace"), "report", "-o", _MARKS)


def write_report(path: Path, target: Path | None) -> Path:
    """Write the report of the run at `path` (folder or file) beside it or to `target`; returns its path."""
    with Run(path) as run:
        target = target or run.path.parent / "report.html"
        write_page(target, report_html(run))
    return target


def report_of_path(path: Path, output: Path | None, columns: str | None) -> Path:
    """Write the report of `path`, to `output` or beside the run; of a third-party file, to the working folder."""
    must_exist(path)
    if is_run(path):
        return write_report(path, output)
    results = results_of_path(path, columns)
    views = views_of_path(path, results)
    what = "folder of approach curves" if path.is_dir() else identification(path, columns)[0]
    target = output or Path(f"{path.stem}.report.html")
    page = document(path.name, "measured by another instrument", [], results, views, [], [("what it is", what)])
    write_page(target, page)
    return target
