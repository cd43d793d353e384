"""Results, figures and identification of what commands take as RUN: a run folder, run file or third-party file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opsicm.analysis.result import Result, failed
from opsicm.core.errors import BadInput, Problem
from opsicm.figures.movie import write_movie
from opsicm.figures.view import View
from opsicm.formats.first_bytes import is_foreign_hdf5
from opsicm.formats.matrix import ImageScale
from opsicm.record.reader import Run
from opsicm.record.run_folder import JOURNAL, RUN_FILE
from opsicm.results import third_party
from opsicm.results.calibration_across_runs import calibration_of, modulated_concentrations
from opsicm.results.file_series import lapse_of
from opsicm.results.image_figures import ImageChoice
from opsicm.results.run_results import movie_of, results_of, views_of
from opsicm.results.trace_figures import save_views, views_of_traces

_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_run(path: Path) -> bool:
    """Whether `path` is meant as a run: a folder with a journal or run file, or an HDF5 file."""
    if path.is_dir():
        return (path / JOURNAL).exists() or (path / RUN_FILE).exists()
    if not path.is_file():
        return False
    return path.suffix == ".nxs" or (_is_hdf5(path) and not is_foreign_hdf5(path))


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) == _HDF5


def _refuse_damaged(path: Path) -> None:
    """Refuse a file named like a run file that is none: the format readers would only report an unknown format."""
    if path.suffix != ".nxs":
        return
    size = path.stat().st_size
    limit = f"is no HDF5 file, as run files are; it has {size} bytes"
    remedy = "opsicm recover FOLDER makes it again from the log beside it, if there is one; else it is damaged"
    if not (path.parent / JOURNAL).exists():
        remedy = "copy it again from where it was recorded; if it never was a run, name it by its own format"
    raise BadInput(Problem("file", path.name, limit, remedy, str(path)))


def must_exist(path: Path) -> None:
    """Raises `BadInput` where `path` is neither a file nor a folder."""
    if not path.exists():
        raise BadInput(Problem("path", str(path), "does not exist", "check the spelling", str(path)))
    if not (path.is_file() or path.is_dir()):
        raise BadInput(Problem("path", str(path), "is neither a file nor a folder", "name a measured file", str(path)))


def results_of_path(
    path: Path,
    columns: str | None,
    setpoint: float | None = None,
    scale: ImageScale | None = None,
    particle_radius: float | None = None,
) -> list[Result]:
    """Every result that applies to `path`.

    `setpoint` [1] of a trace of hops, `scale` of an image and `particle_radius` [m] of a cell, whose file does not
    state them.
    """
    must_exist(path)
    if is_run(path):
        given = {"--columns": columns, "--setpoint": setpoint, "--size-um, --unit": scale}
        refuse_for_run(path, {**given, "--particle-radius-um": particle_radius})
        with Run(path) as run:
            return results_of(run)
    return third_party.analyse_file(path, columns, setpoint, scale, particle_radius)


def refuse_for_run(path: Path, given: Mapping[str, object]) -> None:
    """Refuse options about a measured file where a run is named, which states all of it itself."""
    for option, value in given.items():
        if value is not None:
            limit = f"is for measured files, and {path.name} is a run, which states it itself"
            raise BadInput(Problem(option, "given", limit, "leave it out", str(path)))


def refuse_for_files(paths: Sequence[Path], given: Mapping[str, object]) -> None:
    """Refuse options about a run's images where no run is named."""
    if not any(is_run(path) for path in paths):
        for option, value in given.items():
            if value is not None:
                limit = f"is for the images of a run, and {', '.join(path.name for path in paths)} is none"
                raise BadInput(Problem(option, str(value), limit, "leave it out"))


def results_of_several(
    each: Sequence[tuple[Path, list[Result]]], columns: str | None = None, scale: ImageScale | None = None
) -> list[Result]:
    """Results of several together: a calibration where baths differ, concentrations, the time lapse of image files."""
    files = [path for path, _ in each if path.is_file() and not is_run(path)]
    if len(files) > 1 and len(files) == len(each) and all(_is_image(results) for _, results in each):
        try:
            return lapse_of(files, columns, scale)[0]
        except BadInput as error:  # images of different areas are analysed each by itself, and this says why
            p = error.problems[0]
            reason = f"{p.file or ''}: {p.thing} is {p.value}; {p.limit}; {p.remedy}".lstrip(": ")
            return [failed("height_change", "nm", "each image against the first", "not comparable", reason)]
    runs = [(path, results) for path, results in each if is_run(path)]
    return [*calibration_of(runs), *modulated_concentrations(runs)]


def _is_image(results: Sequence[Result]) -> bool:
    return any(r.name == "Sq" for r in results)


def views_of_path(path: Path, results: list[Result], choice: ImageChoice | None = None) -> list[View]:
    """The figures that apply to `path` and its `results`; `choice` how the images of a run are looked at."""
    if not is_run(path):
        return third_party.views_of(results)
    with Run(path) as run:
        return views_of(run, results, choice) if run.parameters else []


def figures_of_path(path: Path, results: list[Result], folder: Path, choice: ImageChoice | None = None) -> list[Path]:
    """Every figure that applies to `path` and its `results`, into `folder`; returns the pictures."""
    stem = path.resolve().name if path.is_dir() or not is_run(path) else path.resolve().parent.name
    return save_views(views_of_path(path, results, choice), folder, stem)


def movie_of_path(path: Path, target: Path, choice: ImageChoice, per_second: float | None = None) -> Path:
    """Write the movie of a run's images, or of its line, to `target` (.gif or .mp4).

    Raises `BadInput` where `path` is no run, has neither, or `target` cannot be written.
    """
    must_exist(path)
    if not is_run(path):
        limit = "movies are made of runs"
        raise BadInput(Problem("the movie", path.name, limit, "name a run folder or its run.nxs", str(path)))
    with Run(path) as run:
        views = movie_of(run, results_of(run), choice) if run.parameters else []
    if not views:
        limit = "a movie needs images, or a line that was hopped again and again; the run has neither"
        raise BadInput(Problem("the movie", path.name, limit, "choose a run with a raster or line step", str(path)))
    try:
        return write_movie(views, target, per_second)
    except OSError as error:
        limit = f"cannot be written: {error.strerror}"
        raise BadInput(Problem("OUT", str(target), limit, "name a file in a folder that you may write to")) from None


def figures_of_several(results: list[Result], folder: Path) -> list[Path]:
    """The figures of the results of several runs together."""
    return save_views(views_of_traces(results), folder, "all_runs")


def identification(
    path: Path, columns: str | None, scale: ImageScale | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """What `path` is: (text, records)."""
    must_exist(path)
    if path.is_file() and not _is_hdf5(path):
        _refuse_damaged(path)
    if not is_run(path):
        what = third_party.identified(path, columns, scale)
        return third_party.identification_text(what), third_party.identification_records(what)
    refuse_for_run(path, {"--columns": columns, "--size-um, --unit": scale})
    with Run(path) as run:
        unit = "UTC" if run.started_utc[:1].isdigit() else ""  # unknown, of a run made of measured files
        rows: list[dict[str, Any]] = [
            {"kind": "format", "name": "run file of opsicm", "value": run.title, "unit": "", "ok": True},
            {"kind": "content", "name": "started", "value": run.started_utc, "unit": unit, "ok": True},
            {"kind": "content", "name": "hops", "value": run.hops.sizes["hop"], "unit": "1", "ok": True},
            {"kind": "content", "name": "segments", "value": len(run.segments()), "unit": "1", "ok": True},
            {"kind": "content", "name": "outcome", "value": run.outcome, "unit": "", "ok": run.outcome == "completed"},
        ]
    return "\n".join(f"{row['name']:<20} {row['value']} {row['unit']}".rstrip() for row in rows), rows
