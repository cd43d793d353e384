"""The report of a run, of several runs together, or of a third-party file: its content, and where it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from opsicm.analysis.result import Result
from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.core.facts import Fact
from opsicm.core.output_file import refuse_foreign_output, write_output
from opsicm.experiment.file import experiment_from_text
from opsicm.figures.view import View, time_text, to_csv
from opsicm.formats.matrix import ImageScale
from opsicm.record.reader import Run
from opsicm.reporting.document import Content, page
from opsicm.results.doubts import doubts_of
from opsicm.results.evidence import Evidence, shown
from opsicm.results.file_series import lapse_of
from opsicm.results.findings import finding_of
from opsicm.results.image_figures import ImageChoice
from opsicm.results.joined_run import JoinedRun, chains, resumed_from
from opsicm.results.number_text import duration
from opsicm.results.run_description import described
from opsicm.results.run_or_file import (
    identification,
    is_run,
    must_exist,
    refuse_for_run,
    results_of_path,
    results_of_several,
    views_of_path,
)
from opsicm.results.run_results import results_of, views_of
from opsicm.results.run_series import Member, member, series_finding, series_table, series_views, varied_of
from opsicm.results.tables import methods_of, tables_of
from opsicm.results.trace_figures import views_of_traces

_MOST_WARNINGS: Final = 4
_MOST_EVENTS: Final = 300
_EVENTS: Final = ("alarm", "gap", "quality", "command", "note", "tip_exchanged", "run_ended")


def report_html(run: Run) -> str:
    """The report of a run; every number in it is read or computed from the run file."""
    return page(run_content(run))


def run_content(run: Run, choice: ImageChoice | None = None) -> Content:
    """What the page of a run says; `choice` how its images are looked at."""
    results = results_of(run)
    evidence = Evidence(tuple(results), run)
    finding = finding_of(evidence)
    views = views_of(run, results, choice) if run.parameters else []
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
        [*methods_of(results), *_instruments(run)],
        [
            ("Pipette and specimen", _setting(run)),
            (f"Assumed parameters ({len(assumed)})", assumed),
            ("What happened", _events(run)),
            ("Provenance", [(name, str(value)) for name, value in run.provenance.items() if name != "instruments"]),
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
    start = f"{run.started_utc[:16].replace('T', ' ')} UTC" if run.started_utc[:1].isdigit() else run.started_utc
    return f"{start} · {lasted} · {made} · {run.outcome} · {run.path.parent.name}"


def _setup(run: Run) -> list[tuple[str, str]]:
    """What was run, in words; only the specimen where the experiment cannot be read."""
    try:
        words = described(experiment_from_text(run.experiment_text, f"experiment of {run.path}").experiment)
    except OpsicmError:
        words = []
    if not run.parameters:
        return words
    # From the header, not from the experiment file: a rig may bring a specimen of its own.
    name = Path(run.parameters["set"]["name"]).stem
    return [*words, ("specimen", ", ".join([name, *_specimen_words(run)]))]


def _specimen_words(run: Run) -> list[str]:
    """What is known of the specimen."""
    known = run.parameters["specimen"]
    words = (
        ("thickness_m", 1e6, "{:g} µm thick"),
        ("area_m2", 1e4, "{:g} cm²"),
        ("capacity_C", 1.0 / 3.6, "capacity {:.4g} mAh"),
    )
    return [text.format(factor * float(known[key])) for key, factor, text in words if key in known]


def _warnings(run: Run, assumed: int) -> list[str]:
    warnings = []
    if run.outcome != "completed":
        warnings.append(f"The run did not complete: {run.outcome}.")
    if isinstance(run, JoinedRun):
        steps = ", ".join(f"{1e9 * step:.3g} nm" for step in run.height_steps[1:])
        warnings.append(
            f"{len(run.halves)} parts of an interrupted run, joined: nothing was measured in between"
            + (
                f"; heights after a pause were set on to those before it (by {steps})."
                if run.hops.sizes["hop"]
                else "."
            )
        )
    elif (first := resumed_from(run)) is not None:
        warnings.append(f"This run continues {first}: name both folders to report them as one.")
    if "clock" in run.provenance:
        warnings.append(f"Two measured files, joined: {run.provenance['clock']}.")
        if (remarks := str(run.provenance.get("remarks", "none"))) != "none":
            warnings.append(f"{remarks}.")
    warnings += str(run.provenance.get("not_verified", "")).splitlines()
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


def _instruments(run: Run) -> list[tuple[str, str]]:
    """(role, who answered, through which client, and how its driver was tried) of every instrument."""
    stored: Mapping[str, Mapping[str, str]] = json.loads(str(run.provenance.get("instruments", "{}")))
    rows = []
    for role, who in stored.items():
        words = [who["model"], who["serial"] and f"serial {who['serial']}", who["firmware"]]
        client = f", through {who['client']}" if who["client"] else ""
        text = f"{', '.join(word for word in words if word)}{client}; driver {who['driver']}, {who['verified']}"
        rows.append((role.replace("_", " "), text))
    return rows


def _assumed(run: Run) -> list[tuple[str, ...]]:
    """(name, value with unit and u, source) of every parameter that is assumed and not stated by the experiment."""
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
    pipette = run.parameters["pipette"]
    words = (
        ("radius_m", 1e9, "radius {:g} nm"),
        ("wall", 1.0, "wall {:g}"),
        ("cone_angle_rad", float(np.degrees(1.0)), "half-cone angle {:.2g}°"),
        ("length_m", 1e6, "shank {:g} µm"),
        ("bias_V", 1.0, "bias {:g} V vs Li/Li+"),
    )
    shape = [text.format(factor * float(pipette[key])) for key, factor, text in words if key in pipette]
    rows: list[tuple[str, ...]] = [("pipette", ", ".join(shape) or "not stated")]
    if "resistance_Ohm" in pipette:
        resistance = f"{pipette['resistance_Ohm'] * 1e-6:.4g} MΩ, from geometry and conductivity"
        rows.append(("pipette resistance", resistance))
    if "distance_98_m" in pipette:
        distance = (
            f"{pipette['distance_98_m'] * 1e9:.3g} nm (finite elements; with a shank of "
            f"{pipette['length_m'] * 1e6:g} µm)"
        )
        rows.append(("98 % distance", distance))
    rows.append(("specimen", ", ".join(_specimen_words(run)) or "not stated"))
    return [*rows, ("parameter set", Path(run.parameters["set"]["name"]).stem)]


def _events(run: Run) -> list[tuple[str, ...]]:
    """(time, kind, text) of what happened besides the steps."""
    last = max((fact.t_ns for fact in run.facts), default=0) * 1e-9
    chosen = [fact for fact in run.facts if fact.kind in _EVENTS]
    rows: list[tuple[str, ...]] = [
        (time_text(fact.t_ns * 1e-9, last), fact.kind.replace("_", " "), fact.step, _event_text(fact))
        for fact in chosen[:_MOST_EVENTS]
    ]
    left = len(chosen) - len(rows)
    return [*rows, ("", "", "", f"and {left} more: see journal.jsonl")] if left else rows


def _event_text(fact: Fact) -> str:
    return str(fact.data.get("message") or fact.data.get("text") or ", ".join(f"{k} {v}" for k, v in fact.data.items()))


# -- Several runs, and third-party files.


def series_content(chains: Sequence[Sequence[Path]]) -> Content:
    """What the page of several runs says; each of `chains` is a run, or the halves of one that was resumed."""
    members: list[Member] = []
    each: list[tuple[Path, list[Result]]] = []
    for chain in chains:
        with _opened(chain) as run:
            results = results_of(run)
            members.append(member(run, results))
            each.append((chain[0], results))
    varied = varied_of(members)
    together = results_of_several(each)
    table = series_table(members, varied)
    views = [*series_views(members, varied, table, together), *views_of_traces(together)]
    titles = dict.fromkeys(one.title for one in members)
    # `vary` adds its values to the title in parentheses.
    stems = {one.title.rpartition(" (")[0] or one.title for one in members}
    title = next(iter(stems)) if varied and len(stems) == 1 else ""
    words = " and ".join(f"{v.label} ({v.unit})" if v.unit else v.label for v in varied)
    values = [(v.label, ", ".join(f"{x} {v.unit}".rstrip() for x in dict.fromkeys(map(str, v.values)))) for v in varied]
    return Content(
        title or f"{len(members)} runs together",
        f"{len(members)} runs" + (f", which differ in {words}" if varied else f": {', '.join(titles)}"),
        series_finding(members, varied, table, together),
        views[0] if views else None,
        views[1:],
        [table],
        [("varied", text) if len(values) == 1 else (f"varied: {name}", text) for name, text in values],
        []
        if varied
        else ["The runs differ in more than three values, or in none: they are listed one beside the other."],
        results=together,
        methods=methods_of([*together, *(r for one in members for r in one.results)]),
        folded=[
            (
                "Every run, in a sentence",
                [(one.name, one.started[:16].replace("T", " "), one.finding.sentences[0]) for one in members],
            )
        ],
    )


def _opened(chain: Sequence[Path]) -> Run:
    return Run(chain[0]) if len(chain) == 1 else JoinedRun(chain)


def lapse_content(
    paths: Sequence[Path], columns: str | None, scale: ImageScale | None, choice: ImageChoice | None
) -> Content:
    """What the page of several images of other instruments says: the change of each against the first."""
    results, views = lapse_of(paths, columns, scale, choice)
    evidence = Evidence(tuple(results))
    changes = evidence.all("height_change")
    largest = max(changes, key=lambda r: abs(r.value or 0.0), default=None)
    sentences = ["The images have nothing in common: no change of height can be given."]
    if largest is not None:
        name = paths[(largest.of.image or 1) - 1].name
        sentences = [
            f"Of {len(paths)} images, {name} differs most from {paths[0].name}: by {shown(largest)} in mean height.",
            "The files state no time: the order is that in which they were named.",
        ]
    return Content(
        f"{len(paths)} images as a time lapse",
        "measured by another instrument",
        tuple(sentences),
        views[0],
        views[1:],
        tables_of(evidence),
        results=results,
        methods=methods_of(results),
        source=[(f"image {k}", path.name) for k, path in enumerate(paths, start=1)],
    )


def file_content(
    path: Path,
    columns: str | None,
    scale: ImageScale | None = None,
    setpoint: float | None = None,
    particle_radius: float | None = None,
) -> Content:
    """What the page of a third-party file says; what it does not state as for `results_of_path`."""
    results = results_of_path(path, columns, setpoint, scale, particle_radius)
    evidence = Evidence(tuple(results))
    finding = finding_of(evidence)
    views = views_of_path(path, results)
    tables = tables_of(evidence)
    plots = [table.view for table in tables if table.view is not None]
    key = _key_figure(finding.figures, [*views, *plots])
    what = "folder of approach curves" if path.is_dir() else identification(path, columns, scale)[0]
    return Content(
        path.name,
        "measured by another instrument",
        finding.sentences,
        key,
        [view for view in views if view is not key],
        [replace(table, view=None) if table.view is key else table for table in tables],
        doubts=doubts_of(evidence),
        results=results,
        methods=methods_of(results),
        source=[("what the file is", what)],
    )


# -- Writing.


def report_of(
    paths: Sequence[Path],
    output: Path | None,
    columns: str | None = None,
    csv: Path | None = None,
    choice: ImageChoice | None = None,
    scale: ImageScale | None = None,
    setpoint: float | None = None,
    particle_radius: float | None = None,
) -> Path:
    """Write the report of a run, of several (or a folder of them) together, or of a third-party file; returns its path.

    To `output`, or beside the run: `report.html` in its folder, for several runs in the folder that holds theirs; of a
    third-party file, in the working folder. The data of every figure and table go to the folder `csv` as well. `choice`
    is how the images of one run are levelled and where their profiles lie; `scale`, `setpoint` [1] and
    `particle_radius` [m] are what a third-party file does not state.
    """
    for path in paths:
        must_exist(path)
    paths = [run for path in paths for run in _runs_in(path)]
    if output is not None or (len(paths) == 1 and is_run(paths[0])):  # before minutes of work are done for nothing
        folder = paths[0] if paths[0].is_dir() else paths[0].parent
        refuse_foreign_output(output or folder / "report.html", "report", "-o", _MARKS)
    if not all(is_run(path) for path in paths):
        if len(paths) > 1 and any(is_run(path) or path.is_dir() for path in paths):
            others = ", ".join(path.name for path in paths if not is_run(path))
            limit, remedy = "is no run, and only runs are reported together", "report it alone"
            raise BadInput(Problem("RUN", others, limit, remedy))
        if len(paths) == 1:
            content = file_content(paths[0], columns, scale, setpoint, particle_radius)
        else:
            content = lapse_content(paths, columns, scale, choice)
        target = Path(f"{paths[0].stem}.report.html")
    elif len(chained := _chains_of_runs(paths, columns, scale, setpoint, particle_radius)) == 1:
        with _opened(chained[0]) as run:
            content, target = run_content(run, choice), run.path.parent / "report.html"
    else:
        content, target = series_content(chained), _common_folder(paths) / "report.html"
    if csv is not None:
        write_data(content, csv)
    write_page(output or target, page(content))
    return output or target


def _chains_of_runs(
    paths: Sequence[Path],
    columns: str | None,
    scale: ImageScale | None,
    setpoint: float | None,
    particle_radius: float | None,
) -> list[list[Path]]:
    """Runs in the order in which they continue each other; refused with options about measured files."""
    given = {"--columns": columns, "--size-um, --unit": scale, "--setpoint": setpoint}
    for path in paths:
        refuse_for_run(path, {**given, "--particle-radius-um": particle_radius})
    return chains(paths)


def _runs_in(path: Path) -> list[Path]:
    """The runs in a folder that is none itself, as `vary` leaves them; else the path."""
    if not path.is_dir() or is_run(path):
        return [path]
    inside = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.is_symlink()]
    return [entry for entry in inside if is_run(entry)] or [path]


def _common_folder(paths: Sequence[Path]) -> Path:
    """The folder that holds the folders of all runs; the working folder where they lie apart."""
    holding = {(path if path.is_dir() else path.parent).resolve().parent for path in paths}
    return next(iter(holding)) if len(holding) == 1 else Path()


def write_data(content: Content, folder: Path) -> list[Path]:
    """The data of every figure and table as .csv files in `folder`, numbered where a name comes twice."""
    views = [content.key, *content.views, *(table.view for table in content.tables)]
    texts = [(view.name, to_csv(view)) for view in views if view is not None]
    texts += [(f"table_{table.name}", table.csv()) for table in content.tables]
    seen: dict[str, int] = {}
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts:
            seen[name] = seen.get(name, 0) + 1
            number = f"_{seen[name]}" if seen[name] > 1 else ""
            paths.append(folder / f"{name}{number}.csv")
            write_output(paths[-1], text.encode("utf-8", "backslashreplace"), "data of a figure", "--csv")
    except OSError as error:
        limit = f"cannot be written ({error.strerror})"
        raise BadInput(Problem("--csv", str(folder), limit, "name another folder", str(folder))) from error
    return paths


# By which a report is known again: another file of its name is never overwritten. Reports of 0.1.0 have no generator.
_MARKS: Final = (
    b"<meta name='generator' content='opsicm'>",
    b"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
    b"<meta name='viewport' content='width=device-width'><title>",
)


def write_page(target: Path, text: str) -> None:
    """Write a page; raises `BadInput` where that is impossible, or would overwrite what is no report of ours."""
    write_output(target, text.encode("utf-8", "backslashreplace"), "report", "-o", _MARKS)


def write_report(path: Path, target: Path | None) -> Path:
    """Write the report of the run at `path` (folder or file) beside it or to `target`; returns its path."""
    return report_of([path], target)
