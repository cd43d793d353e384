"""The report of a run, of several runs together, or of a third-party file: its content, and where it is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.core.facts import Fact
from opsicm.experiment.file import experiment_from_text
from opsicm.figures.view import View, time_text, to_csv
from opsicm.record.reader import Run
from opsicm.report.document import Content, page
from opsicm.results.doubts import doubts_of
from opsicm.results.evidence import Evidence
from opsicm.results.findings import finding_of
from opsicm.results.number_text import duration
from opsicm.results.run_description import described
from opsicm.results.run_or_file import identification, is_run, must_exist, results_of_path, views_of_path
from opsicm.results.run_results import results_of, views_of
from opsicm.results.tables import methods_of, tables_of

_MOST_WARNINGS: Final = 4
_MOST_EVENTS: Final = 300
_EVENTS: Final = ("alarm", "gap", "quality", "command", "note", "tip_exchanged", "run_ended")


def report_html(run: Run) -> str:
    """The report of a run; every number in it is read or computed from the run file."""
    return page(run_content(run))


def run_content(run: Run) -> Content:
    """What the page of a run says."""
    results = results_of(run)
    evidence = Evidence(tuple(results), run)
    finding = finding_of(evidence)
    views = views_of(run, results) if run.parameters else []
    tables = tables_of(evidence)
    plots = [table.view for table in tables if table.view is not None]
    key = _key_figure(finding.figures, [*views, *plots])
    # The plot of a table stands beside it, unless it is the answer's.
    tables = [replace(table, view=None) if table.view is key else table for table in tables]
    assumed = _assumed(run)
    return Content(
        run.title,
        _subtitle(run),
        finding.sentences,
        key,
        [view for view in views if view is not key],
        tables,
        _setup(run),
        _warnings(run, len(assumed)),
        doubts_of(evidence),
        results,
        methods_of(results),
        [
            ("Pipette and specimen", _setting(run)),
            (f"Assumed parameters ({len(assumed)})", assumed),
            ("What happened", _events(run)),
            ("Provenance", [(name, str(value)) for name, value in run.provenance.items()]),
        ],
        [("experiment.yaml", run.experiment_text), ("rig.yaml", run.rig_text)],
    )


def _key_figure(names: Sequence[str], views: Sequence[View]) -> View | None:
    """The first view that shows the answer, by name; else the first there is."""
    for name in names:
        for view in views:
            if view.name == name:
                return view
    return views[0] if views else None


def _subtitle(run: Run) -> str:
    lasted = duration(max((fact.t_ns for fact in run.facts), default=0) * 1e-9)
    hops = run.hops.sizes["hop"]
    made = f"{hops:,} hops".replace(",", " ") if hops else "no hops"
    return f"{run.started_utc[:16].replace('T', ' ')} UTC · {lasted} · {made} · {run.outcome} · {run.path.parent.name}"


def _setup(run: Run) -> list[tuple[str, str]]:
    """What was run, in words; only the specimen where the experiment cannot be read."""
    try:
        words = described(experiment_from_text(run.experiment_text, f"experiment of {run.path}").experiment)
    except OpsicmError:
        words = []
    if not run.parameters:
        return words
    specimen = run.parameters["specimen"]
    # From the header, not from the experiment file: a rig may bring a specimen of its own.
    text = (
        f"{run.parameters['set']['name']}, {specimen['thickness_m'] * 1e6:g} µm thick, {specimen['area_m2'] * 1e4:g} cm², "
        f"capacity {specimen['capacity_C'] / 3.6:.4g} mAh"
    )
    return [*words, ("specimen", text)]


def _warnings(run: Run, assumed: int) -> list[str]:
    warnings = []
    if run.outcome != "completed":
        warnings.append(f"The run did not complete: {run.outcome}.")
    alarms: dict[str, list[int]] = {}
    for fact in run.facts:
        if fact.kind == "alarm":
            alarms.setdefault(str(fact.data.get("message", "")), []).append(fact.t_ns)
    last = max((fact.t_ns for fact in run.facts), default=0) * 1e-9
    for message, times in list(alarms.items())[:_MOST_WARNINGS]:
        count = f", {len(times)} times" if len(times) > 1 else ""
        warnings.append(f"{message} (at {time_text(times[0] * 1e-9, last)}{count})")
    if len(alarms) > _MOST_WARNINGS:
        warnings.append(f"{len(alarms) - _MOST_WARNINGS} more alarms: see what happened, below.")
    if str(run.provenance.get("source")).startswith("digital twin"):
        warnings.append(
            "Measured on a digital twin. Twin and analysis share the approach curve, so their agreement proves "
            f"consistency, not truth; {assumed} of its parameters are assumed (values below)."
        )
    return warnings


def _assumed(run: Run) -> list[tuple[str, ...]]:
    """(name, value with unit and u, source) of every parameter that is assumed and that the experiment did not state."""
    leaves: Mapping[str, Mapping[str, Any]] = run.parameters.get("set", {}).get("leaves", {})
    rows: list[tuple[str, ...]] = []
    for name, leaf in leaves.items():
        if leaf["status"] == "assumed" and leaf["source"] != "experiment file":
            u = "" if leaf.get("u") is None else f" ± {leaf['u']:g}"
            value = leaf["value"]
            text = f"{value:g}" if isinstance(value, int | float) else str(value)
            unit = "" if leaf["unit"] in ("1", "word") else f" {leaf['unit']}"
            rows.append((name.replace("_", " "), f"{text}{u}{unit}", str(leaf["source"])))
    return rows


def _setting(run: Run) -> list[tuple[str, ...]]:
    if not run.parameters:
        return []
    pipette, specimen = run.parameters["pipette"], run.parameters["specimen"]
    return [
        (
            "pipette",
            f"radius {pipette['radius_m'] * 1e9:g} nm, wall {pipette['wall']:g}, half-cone angle "
            f"{np.degrees(pipette['cone_angle_rad']):.2g}°, shank {pipette['length_m'] * 1e6:g} µm, "
            f"bias {pipette['bias_V']:g} V vs Li/Li+",
        ),
        ("pipette resistance", f"{pipette['resistance_Ohm'] * 1e-6:.4g} MΩ, from geometry and conductivity"),
        (
            "98 % distance",
            f"{pipette['distance_98_m'] * 1e9:.3g} nm (finite elements; with a shank of {pipette['length_m'] * 1e6:g} µm)",
        ),
        (
            "specimen",
            f"{specimen['thickness_m'] * 1e6:g} µm thick, {specimen['area_m2'] * 1e4:g} cm², capacity "
            f"{specimen['capacity_C'] / 3.6:.4g} mAh between x = 0 and 1",
        ),
        ("parameter set", str(run.parameters["set"]["name"])),
    ]


def _events(run: Run) -> list[tuple[str, ...]]:
    """(time, kind, text) of what happened besides the steps."""
    last = max((fact.t_ns for fact in run.facts), default=0) * 1e-9
    chosen = [fact for fact in run.facts if fact.kind in _EVENTS]
    rows = [
        (time_text(fact.t_ns * 1e-9, last), fact.kind.replace("_", " "), fact.step, _event_text(fact))
        for fact in chosen[:_MOST_EVENTS]
    ]
    left = len(chosen) - len(rows)
    return [*rows, ("", "", "", f"and {left} more: see journal.jsonl")] if left else rows


def _event_text(fact: Fact) -> str:
    return str(fact.data.get("message") or fact.data.get("text") or ", ".join(f"{k} {v}" for k, v in fact.data.items()))


# -- Writing.


def write_page(target: Path, text: str) -> None:
    """Write a page; raises `BadInput` where that is impossible."""
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        limit = f"cannot be written ({error.strerror})"
        raise BadInput(Problem("report", str(target), limit, "choose another path with -o", str(target))) from error


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
    target = output or Path(f"{path.stem}.report.html")
    write_page(target, page(file_content(path, columns)))
    return target


def file_content(path: Path, columns: str | None) -> Content:
    """What the page of a third-party file says."""
    results = results_of_path(path, columns)
    evidence = Evidence(tuple(results))
    finding = finding_of(evidence)
    views = views_of_path(path, results)
    tables = tables_of(evidence)
    key = _key_figure(finding.figures, [*views, *(table.view for table in tables if table.view is not None)])
    what = "folder of approach curves" if path.is_dir() else identification(path, columns)[0]
    return Content(
        path.name,
        "measured by another instrument",
        finding.sentences,
        key,
        [view for view in views if view is not key],
        tables,
        doubts=doubts_of(evidence),
        results=results,
        methods=methods_of(results),
        source=[("what the file is", what)],
    )
