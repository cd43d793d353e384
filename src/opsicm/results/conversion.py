"""Runs and third-party files written for other programs: images, tables, everything as NetCDF, figures, movies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.hops.series import coarse_heights
from opsicm.analysis.result import Result
from opsicm.analysis.topography.raster import Frame, frames
from opsicm.core.errors import BadInput, Problem
from opsicm.core.output_file import as_utf8, write_output
from opsicm.figures.view import to_csv
from opsicm.formats import image_writing, table_writing
from opsicm.formats.approach_text import ApproachFile, ScanSettings
from opsicm.formats.cell_record import CellFile
from opsicm.formats.column_titles import QUANTITIES
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import Content, read
from opsicm.formats.image_file import ImageFile
from opsicm.formats.image_writing import Picture
from opsicm.formats.matrix import ImageScale
from opsicm.formats.sicm_archive import SicmScan, SicmTrace
from opsicm.formats.table_writing import Column, DataTable
from opsicm.record.reader import Run
from opsicm.results.image_figures import ImageChoice
from opsicm.results.run_or_file import is_run, movie_of_path, must_exist, results_of_path, views_of_path
from opsicm.results.run_results import movie_of
from opsicm.results.trace_figures import save_views

Kind = Literal["gwy", "gsf", "ome-tiff", "netcdf", "csv", "bdf", "parquet", "gif", "mp4", "figures"]
TableName = Literal["record", "hops", "images", "results"]

# The ending of a file's name → what it is; the longest that fits decides.
ENDINGS: Final[dict[str, Kind]] = {
    ".gwy": "gwy",
    ".gsf": "gsf",
    ".ome.tif": "ome-tiff",
    ".ome.tiff": "ome-tiff",
    ".tif": "ome-tiff",
    ".tiff": "ome-tiff",
    ".nc": "netcdf",
    ".csv": "csv",
    ".bdf.csv": "bdf",
    ".bdf": "bdf",
    ".parquet": "parquet",
    ".gif": "gif",
    ".mp4": "mp4",
}
MOVIES: Final[tuple[Kind, ...]] = ("gif", "mp4")
TABLES: Final = ("csv", "bdf", "parquet")
# What each kind of file is for, for a list to choose from.
_PURPOSE: Final[dict[Kind, str]] = {
    "gwy": "images for Gwyddion",
    "gsf": "images for Gwyddion and others, a file for each",
    "ome-tiff": "images for ImageJ and Fiji",
    "netcdf": "everything: hops, cell, images, results",
    "csv": "text with a row of units",
    "bdf": "Battery Data Format, the cell alone",
    "parquet": "for pandas, polars and databases",
    "gif": "movie of the images or of the line",
    "mp4": "movie of the images or of the line, smaller",
    "figures": "every figure as .svg, .png and .csv",
}
_IMAGE_KINDS: Final[tuple[Kind, ...]] = ("gwy", "gsf", "ome-tiff")
_QUANTITY: Final = {"E": "potential", "I": "current", "R": "resistance", "V": "bias", "sto": "stoichiometry"}
_SIGN: Final = (
    "negative cell current lithiates (anodic is positive); pipette current is positive out of the pipette; z up"
)


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What a file does not state: `columns` of a text, `scale` of an image, `setpoint` [1] of a trace of hops."""

    columns: str | None = None
    scale: ImageScale | None = None
    setpoint: float | None = None


_PLAIN: Final = FileOptions()


def _read(source: Path, options: FileOptions) -> Content:
    if source.is_dir():
        limit = "is a folder and no run"
        raise BadInput(Problem("IN", source.name, limit, "name a file in it, or --table results", str(source)))
    return read(source, options.columns, options.scale)


def _results(source: Path, options: FileOptions) -> list[Result]:
    return results_of_path(source, options.columns, options.setpoint, options.scale)


def kind_of(target: Path) -> Kind | None:
    """What `target` asks for by its ending; "figures" of a folder; None where the ending is not known."""
    name = target.name.lower()
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if name.endswith(ending):
            return ENDINGS[ending]
    return "figures" if target.is_dir() or not target.suffix else None


@dataclass(frozen=True, slots=True)
class Export:
    """A file that `convert_path` makes of a run: its `name`, what it is for in words, and how it is asked for.

    That of figures is a folder, and that of a kind that holds one image becomes several files where there are several.
    """

    name: str
    purpose: str
    kind: Kind
    table: TableName | None = None


def exports_of(run: Run, results: list[Result]) -> list[Export]:
    """What `convert_path` can make of this run, which has these `results`: images of one with images, and so on."""
    lacking: set[Kind | TableName] = set()
    if not _frames(run):
        lacking |= {*_IMAGE_KINDS, "images"}
    if not run.hops.sizes["hop"]:
        lacking.add("hops")
    if not (run.parameters and movie_of(run, results)):
        lacking |= {*MOVIES}
    return [one for one in exports() if one.kind not in lacking and one.table not in lacking]


def exports() -> list[Export]:
    """Everything that `convert_path` can make of a run."""
    # The first ending of a kind is the usual one.
    ending = {kind: next((e for e, of in ENDINGS.items() if of == kind), "") for kind in get_args(Kind)}
    found = []
    for kind in get_args(Kind):
        tables = ("record",) if kind == "bdf" else get_args(TableName) if kind in TABLES else ()
        stem = "images" if kind in _IMAGE_KINDS else "movie" if kind in MOVIES else "everything"
        names = [(table, table) for table in tables] or [("figures" if kind == "figures" else stem, None)]
        found += [Export(name + ending[kind], _PURPOSE[kind], kind, table) for name, table in names]
    return found


def convert_path(
    source: Path,
    target: Path,
    kind: Kind,
    table: TableName | None = None,
    options: FileOptions = _PLAIN,
    choice: ImageChoice | None = None,
    per_second: float | None = None,
) -> list[Path]:
    """Write `source`, a run or a third-party file, to `target` as `kind`; returns the paths that were written.

    `table` is which table of it becomes csv or Parquet: "record" (time, cell and pipette, the default), "hops",
    "images" (a row per pixel) or "results". `options` say what a file does not state; `choice` and `per_second` are for
    a movie. A format that holds one image or record gets one file for each, numbered.

    Raises `BadInput` where the source has nothing of this kind, where a library is missing, and where a file exists.
    """
    must_exist(source)
    if kind == "figures":
        return _figures(source, target, options, choice)
    if kind in MOVIES:
        _must_be_new([target])
        return [movie_of_path(source, target, choice or ImageChoice(), per_second)]
    if kind == "netcdf":
        _must_be_new([target])
        return [_netcdf(source, target, options)]
    if kind in TABLES:
        return _tables(source, target, kind, table or "record", options)
    pictures = pictures_of(source, options)
    if not pictures:
        limit = "has no image: images are of raster steps, and of microscopes' files"
        raise BadInput(Problem("IN", source.name, limit, "convert it to .csv instead", str(source)))
    if kind == "gwy":
        return _write([(target, image_writing.gwy_bytes(pictures))])
    if kind == "ome-tiff":
        return _write([(target, image_writing.ome_tiff_bytes(pictures))])
    names = _numbered(target, len(pictures))
    return _write(zip(names, map(image_writing.gsf_bytes, pictures), strict=True), names)


def _numbered(target: Path, count: int) -> list[Path]:
    """`target` itself for one, else `target` with a number before its ending."""
    if count == 1:
        return [target]
    ending = next((e for e in sorted(ENDINGS, key=len, reverse=True) if target.name.lower().endswith(e)), "")
    stem = target.name[: len(target.name) - len(ending)]
    digits = len(str(count))
    return [target.with_name(f"{stem}-{k:0{digits}d}{target.name[len(stem) :]}") for k in range(1, count + 1)]


def _must_be_new(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists() or path.is_symlink():
            limit = "a file of this name exists"
            raise BadInput(Problem("OUT", str(path), limit, "name a new file, or move it away"))


def _write(files: Iterable[tuple[Path, bytes]], names: Sequence[Path] = ()) -> list[Path]:
    _must_be_new(names)
    written = []
    for path, data in files:
        _must_be_new([path])
        write_output(path, data, "OUT", "OUT")
        written.append(path)
    return written


# -- images ---------------------------------------------------------------------------------------------------------


def pictures_of(source: Path, options: FileOptions = _PLAIN) -> list[Picture]:
    """Every image of a run or of a third-party file, first row at the top.

    Of a run: height on the scale of the coarse stage, and reference current, of every pass of every raster, without
    levelling.
    """
    if is_run(source):
        with Run(source) as run:
            return [
                p for k, (step, frame) in enumerate(_frames(run), 1) for p in _pictures_of_pass(run, k, step, frame)
            ]
    match _read(source, options):
        case ImageFile() as file:
            return [Picture(i.name, i.values, i.unit, i.x_size, i.y_size) for i in file.images]
        case SicmScan() as scan:
            return [Picture("height", np.where(scan.saturated, np.nan, scan.heights), "m", scan.x_size, scan.y_size)]
        case _:
            return []


def _frames(run: Run) -> list[tuple[str, Frame]]:
    """(step, frame) of every image of a run; its `rows` are the hops of its pixels, its heights on the coarse scale."""
    hops = run.hops
    if not hops.sizes["hop"]:
        return []
    coarse, segments = coarse_heights(hops, run.slow), hops["segment"].values
    found: list[tuple[str, Frame]] = []
    for segment in np.unique(segments):
        rows = np.flatnonzero(segments == segment)
        for frame in frames(hops.isel(hop=rows), None if coarse is None else coarse[rows]):
            frame.rows[frame.rows >= 0] = rows[frame.rows[frame.rows >= 0]]
            found.append((str(hops["step"].values[rows[0]]), frame))
    return found


def _pictures_of_pass(run: Run, number: int, step: str, frame: Frame) -> list[Picture]:
    pitch = [float(abs(axis[-1] - axis[0])) / (axis.size - 1) if axis.size > 1 else None for axis in (frame.x, frame.y)]
    width = None if pitch[0] is None else pitch[0] * frame.x.size
    height = None if pitch[1] is None else pitch[1] * frame.y.size
    order = slice(None, None, -1) if frame.y.size > 1 and frame.y[0] < frame.y[-1] else slice(None)
    remarks = {
        "step": step,
        "potential vs Li/Li+": f"{frame.potential:.6g} V",
        "cell current": f"{frame.cell_current:.6g} A, {_SIGN.split(' (')[0]}",
        "time of the middle": f"{frame.time:.6g} s after {run.started_utc}",
        "run": run.path.parent.name,
    }
    if frame.rotation:
        remarks["rotation"] = f"rows turned by {np.degrees(frame.rotation):.6g} degrees about the image's centre"

    def picture(name: str, values: NDArray[np.float64], unit: str) -> Picture:
        left = float(frame.x.min()) - 0.5 * (pitch[0] or 0.0)
        top = float(frame.y.max()) + 0.5 * (pitch[1] or 0.0)
        return Picture(name, values[order], unit, width, height, left, top, frame.time, number, remarks)

    current = np.where(frame.rows >= 0, run.hops["i_ref"].values[frame.rows], np.nan)
    return [picture("height", frame.heights, "m"), picture("reference current", current, "A")]


# -- tables ---------------------------------------------------------------------------------------------------------


def _tables(source: Path, target: Path, kind: Kind, name: TableName, options: FileOptions) -> list[Path]:
    started = None
    if name == "results":
        tables = [results_table(_results(source, options), source)]
    elif name == "images":
        tables = [_table_of_pictures(pictures_of(source, options), source)]
    elif is_run(source):
        with Run(source) as run:
            tables, started = [_table_of_run(run, name)], run.started_utc
    else:
        tables = _tables_of_content(_read(source, options), name, source)
    if kind == "parquet":
        names = _numbered(target, len(tables))
        return _write(zip(names, map(table_writing.parquet_bytes, tables), strict=True), names)
    if kind == "bdf":
        names = _numbered(target, len(tables))
        texts = [table_writing.bdf_text(table, started) for table in tables]
    else:
        names = _numbered(target, len(tables))
        texts = [table_writing.csv_text(table) for table in tables]
    return _write(((path, "".join(text).encode()) for path, text in zip(names, texts, strict=True)), names)


def _notes(title: str, source: Path, **more: str) -> dict[str, str]:
    notes = {"title": title, "source": source.name, "signs": _SIGN, "opsicm": version("opsicm"), **more}
    return {key: as_utf8(text) for key, text in notes.items()}


def _table_of_run(run: Run, name: TableName) -> DataTable:
    notes = _notes(run.title, run.path.parent, started_utc=run.started_utc)
    if name == "hops":
        return table_writing.table_of_dataset("hops", run.hops, notes)
    rows = xr.merge([run.cell, run.slow.drop_vars("t_ns")])
    return table_writing.table_of_dataset("record", rows, notes)


def results_table(results: Sequence[Result], source: Path) -> DataTable:
    """Every result as a row: what `analyse --json` prints, but for the flags."""
    records = [result.record() for result in results]

    def texts(key: str) -> Column:
        return Column(key, "", np.array([str(r[key]) if r[key] is not None else "" for r in records], object))

    def numbers(key: str) -> Column:
        return Column(key, "as unit", np.array([np.nan if r[key] is None else float(r[key]) for r in records]))

    columns = (texts("name"), *(numbers(key) for key in ("value", "u", "u_calibration")))
    rest = tuple(texts(key) for key in ("unit", "outcome", "reason", "method"))
    return DataTable("results", (*columns, *rest), _notes("results", source))


def _table_of_pictures(pictures: Sequence[Picture], source: Path) -> DataTable:
    """A row per pixel: x and y [m] of its centre, y up; from the lower left corner where its place is unknown."""
    if not pictures:
        raise BadInput(Problem("IN", source.name, "has no image", "choose another table with --table", str(source)))
    rows: dict[str, list[NDArray[Any]]] = {key: [] for key in ("image", "quantity", "x", "y", "value", "unit")}
    for k, p in enumerate(pictures, 1):
        height, width = p.values.shape
        pixel = [np.nan if p.width is None else p.width / width, np.nan if p.height is None else p.height / height]
        top = p.top if p.number is not None or p.height is None else p.height
        x = p.left + (np.arange(width) + 0.5) * pixel[0]
        y = top - (np.arange(height) + 0.5) * pixel[1]
        n = p.values.size
        rows["image"].append(np.full(n, k if p.number is None else p.number))
        rows["quantity"].append(np.full(n, p.name, object))
        rows["x"].append(np.tile(x, height))
        rows["y"].append(np.repeat(y, width))
        rows["value"].append(p.values.ravel())
        rows["unit"].append(np.full(n, p.unit or "not stated", object))
    units = {"image": "1", "x": "m", "y": "m", "value": "as unit"}
    columns = tuple(Column(key, units.get(key, ""), np.concatenate(parts)) for key, parts in rows.items())
    return DataTable("images", columns, _notes("images", source))


def _tables_of_content(content: Content, name: TableName, source: Path) -> list[DataTable]:
    notes = _notes(source.name, source)
    if name == "hops":
        limit = "hop records are of runs"
        raise BadInput(Problem("--table", "hops", limit, "leave it out, or convert a run", str(source)))
    match content:
        case CellFile():
            return [
                DataTable(
                    record.name or "record",
                    (
                        Column("t", "s", record.t),
                        Column("potential", "V", record.potential),
                        Column("current", "A", record.current),
                    ),
                    notes,
                )
                for record in content.records
            ]
        case ColumnTable():
            words = dict(_QUANTITY) if "E" in content.data else {**_QUANTITY, "I": "pipette_current"}
            columns = (Column(words.get(n, n), QUANTITIES[n], v) for n, v in content.data.items())
            return [DataTable("table", tuple(columns), notes)]
        case ApproachFile():
            sizes = [curve.z.size for curve in content.curves]
            number = np.repeat(np.arange(1, len(sizes) + 1), sizes)
            parts = [
                Column(title, unit, np.concatenate([getattr(curve, field) for curve in content.curves]))
                for title, unit, field in (("z", "m", "z"), ("resistance", "Ohm", "resistance"))
            ]
            current = Column("pipette_current", "A", np.concatenate([curve.current for curve in content.curves]))
            return [DataTable("approaches", (Column("curve", "1", number), *parts, current), notes)]
        case SicmTrace():
            return [DataTable("trace", (Column("counts", "1", content.counts),), notes)]
        case ImageFile() | SicmScan():
            return [_table_of_pictures(pictures_of(source), source)]
        case ScanSettings():
            limit, remedy = "holds settings, no measured values", "name an .ac file"
            raise BadInput(Problem("IN", source.name, limit, remedy, str(source)))


# -- everything -----------------------------------------------------------------------------------------------------


def _netcdf(source: Path, target: Path, options: FileOptions) -> Path:
    """Groups of a run: hops, cell, slow, results, images by raster; of a file what it holds. Units in attributes."""
    groups: dict[str, xr.Dataset] = {}
    if is_run(source):
        with Run(source) as run:
            notes = _notes(run.title, run.path.parent, started_utc=run.started_utc, experiment=run.experiment_text)
            groups |= {"hops": run.hops, "cell": run.cell, "slow": run.slow}
            groups = {name: _texts_as_text(group) for name, group in groups.items()}
    else:
        notes = _notes(source.name, source)
    pictures = pictures_of(source, options)
    groups |= _stacks(pictures)
    if not is_run(source) and not pictures:
        tables = _tables_of_content(_read(source, options), "record", source)
        names = [table.name if len(tables) == 1 else f"{table.name}_{k}" for k, table in enumerate(tables, 1)]
        groups |= {n.replace("/", "_"): table_writing.dataset_of_table(t) for n, t in zip(names, tables, strict=True)}
    groups["results"] = table_writing.dataset_of_table(results_table(_results(source, options), source))
    part = target.with_name(f".{target.name}.part")
    try:
        table_writing.write_netcdf(part, groups, notes)
        part.replace(target)
    except OSError as error:
        limit = f"cannot be written ({error.strerror or error})"
        raise BadInput(Problem("OUT", str(target), limit, "name a file in a folder that you may write to")) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _texts_as_text(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign({n: v.astype(str) for n, v in dataset.variables.items() if v.dtype.kind == "O"})


def _stacks(pictures: Sequence[Picture]) -> dict[str, xr.Dataset]:
    """The images of a run as [image, y, x], of a file as [y, x]: a group for each area and shape. y is up."""
    areas: dict[object, list[Picture]] = {}
    for p in pictures:
        areas.setdefault((p.values.shape, p.width, p.height, p.left, p.top), []).append(p)
    return {"images" if len(areas) == 1 else f"images_{k}": _stack(group) for k, group in enumerate(areas.values(), 1)}


def _stack(pictures: Sequence[Picture]) -> xr.Dataset:
    first = pictures[0]
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    for p in pictures:
        name = p.name.replace(" ", "_").replace("/", "_")
        if p.number is None:
            name = name if name not in variables else f"{name}_{len(variables) + 1}"
            variables[name] = (("y", "x"), p.values[::-1], _unit(p))
        elif name not in variables:
            series = [one for one in pictures if one.name == p.name]
            variables[name] = (("image", "y", "x"), np.stack([one.values[::-1] for one in series]), _unit(p))
            coords["image"] = ("image", [one.number for one in series])
            coords["t"] = ("image", [one.time for one in series], {"units": "s", "long_name": "middle of the image"})
    rows, columns = first.values.shape
    if first.width is not None and first.height is not None:
        bottom = first.top - first.height if first.number is not None else 0.0
        x = first.left + (np.arange(columns) + 0.5) * first.width / columns
        y = bottom + (np.arange(rows) + 0.5) * first.height / rows
        coords |= {"x": ("x", x, {"units": "m"}), "y": ("y", y, {"units": "m"})}
    return xr.Dataset(variables, coords)


def _unit(picture: Picture) -> dict[str, str]:
    return {"units": picture.unit, "long_name": picture.name} if picture.unit else {"long_name": picture.name}


def _figures(source: Path, folder: Path, options: FileOptions, choice: ImageChoice | None) -> list[Path]:
    """Every figure as .svg and .png with its data as .csv, and every result as results.csv."""
    results = _results(source, options)
    views = views_of_path(source, results, choice)
    stem = source.resolve().name if source.is_dir() or not is_run(source) else source.resolve().parent.name
    pictures = save_views(views, folder, stem)
    tables = [(picture, view) for picture, view in zip(pictures[::2], views, strict=True)]
    written = list(pictures)
    for picture, view in tables:
        path = picture.with_suffix(".csv")
        write_output(path, to_csv(view).encode("utf-8", "backslashreplace"), "data of a figure", "OUT")
        written.append(path)
    path = folder / f"{stem}_results.csv".replace(".", "-", stem.count("."))
    folder.mkdir(parents=True, exist_ok=True)
    write_output(path, "".join(table_writing.csv_text(results_table(results, source))).encode(), "results", "OUT")
    return [*written, path]
