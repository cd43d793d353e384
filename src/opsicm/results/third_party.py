"""Third-party files: read by `opsicm.formats`, analysed as arrays, identified and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, assert_never

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.approach.fit import FEWEST_POINTS
from opsicm.analysis.approach.results import DISTANCE, approach_results, no_axis_results, series_results
from opsicm.analysis.approach.trace import count_withdrawals, trace_results, ways_down
from opsicm.analysis.cell.record_results import RecordExtras, open_circuit_results, record_looks, record_results
from opsicm.analysis.pipette.current_series import current_results
from opsicm.analysis.pipette.current_voltage import SWEPT, iv_results
from opsicm.analysis.pipette.plausibility import image_doubts, period_doubts, record_doubts
from opsicm.analysis.result import PLAUSIBILITY, Result, failed
from opsicm.analysis.topography.missing import measured, scars
from opsicm.analysis.topography.results import image_results, step_results
from opsicm.core.errors import BadInput, Problem
from opsicm.figures.images import image_view
from opsicm.figures.pipette import approach_curve_view
from opsicm.figures.view import View
from opsicm.formats.approach_text import ApproachFile, MeasuredApproach, ScanSettings, sweeps
from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import Content, Identification, identify, read
from opsicm.formats.image_file import ImageChannel, ImageFile
from opsicm.formats.matrix import ImageScale, on_grid
from opsicm.formats.sicm_archive import SicmScan, SicmTrace
from opsicm.results.calibration_across_runs import SLOPE, calibration_figure, calibration_results
from opsicm.results.trace_figures import views_of_traces

_SERIES: Final = 3  # approaches in one table: fewer have no median
_BACKSTEPS: Final = 10  # pieces of a few rows for each approach: more are an approach that was cut up
_FEWEST_OF_A_GRID: Final = 9  # approaches: fewer make no image


def analyse_file(
    path: Path,
    columns: str | None = None,
    setpoint: float | None = None,
    scale: ImageScale | None = None,
    particle_radius: float | None = None,
) -> list[Result]:
    """Every result that applies to a file, or to all `.ac` curves of a folder; `columns` as "t=s,I=pA,z=um".

    What a file does not state is given: `setpoint` [1], the relative drop that ended the approaches of a trace of hops,
    `scale` of an image, `particle_radius` [m] for the diffusivity from a titration.
    """
    return _folder(path) if path.is_dir() else _analysed(read(path, columns, scale), path, setpoint, particle_radius)


def _analysed(
    content: Content, path: Path, setpoint: float | None = None, particle_radius: float | None = None
) -> list[Result]:
    _refuse_idle(content, path, setpoint, particle_radius)
    match content:
        case SicmScan():
            heights = measured(np.where(content.saturated, np.nan, content.heights))
            of_image = image_results(image_array(heights, content.x_size, content.y_size))
            lost = int(np.isnan(heights).sum() - content.saturated.sum())
            doubts = image_doubts(heights, lost, _scar_lines(heights), content.x_size, content.y_size)
            return [*of_image, *step_results(heights), *doubts]
        case SicmTrace():
            return no_axis_results("the trace holds counts without a z axis, a scale or a time step")
        case ApproachFile():
            return _numbered(_approaches(content))
        case ScanSettings():
            limit, remedy = "results need measured values", "name an .ac file or its folder"
            raise BadInput(Problem("file", "settings only", limit, remedy, path.name))
        case ImageFile():
            return _images(content, path)
        case CellFile():
            return _cell(content, particle_radius)
        case ColumnTable():
            curves = _table(content, setpoint, particle_radius)
            together = series_results(curves) if len(curves) >= _SERIES else []
            doubts = [] if "c" in content.data else _doubts(content.data, curves)  # a table of means is no record
            return [*together, *_numbered(curves), *doubts]
        case _:
            assert_never(content)


def _refuse_idle(content: Content, path: Path, setpoint: float | None, particle_radius: float | None) -> None:
    """Refuse what would have no effect on this content: passed over it would seem to have acted."""
    data = content.data if isinstance(content, ColumnTable) else {}
    if setpoint is not None and "z" not in data:
        limit = "is for a trace of hops, a table with a current and z, and the file is none"
        raise BadInput(Problem("--setpoint", f"{100 * setpoint:g}", limit, "leave it out", path.name))
    if particle_radius is not None and not (isinstance(content, CellFile) or "E" in data):
        limit = "is for the titration of a cell, and the file is no record of one"
        raise BadInput(Problem("--particle-radius-um", f"{1e6 * particle_radius:g}", limit, "leave it out", path.name))


def _images(file: ImageFile, path: Path) -> list[Result]:
    """Results of the first topography, and of further height channels with their names as source."""
    if not file.heights:
        limit, channels = "results need heights", ", ".join(image.name for image in file.images)
        raise BadInput(Problem("channels", channels, limit, "export the topography", path.name))
    results: list[Result] = []
    for k, image in enumerate(file.heights):
        heights = measured(image.values)
        of_channel = image_results(image_array(heights, image.x_size, image.y_size, image.unit))
        if image.unit == "m":
            of_channel += step_results(heights)
            lost = int(np.isnan(heights).sum() - np.isnan(image.values).sum())
            of_channel += image_doubts(heights, lost, _scar_lines(heights), image.x_size, image.y_size)
        results += of_channel if k == 0 else [replace(r.within(source=image.name), trace=None) for r in of_channel]
    return results


def _scar_lines(heights: NDArray[np.float64]) -> int:
    return int(scars(heights).any(axis=1).sum())


def _cell(file: CellFile, particle_radius: float | None) -> list[Result]:
    results: list[Result] = []
    for record in file.records:
        source = record.name if len(file.records) > 1 else ""
        results += [r.within(source=source) for r in _record(record, particle_radius)]
    return results


def _record(record: CellRecord, particle_radius: float | None) -> list[Result]:
    return record_results(
        record.t, record.potential, record.current, particle_radius, lithium=False, extras=_extras(record)
    )


def _extras(record: CellRecord) -> RecordExtras:
    return RecordExtras(record.potential_step, record.current_step, record.counters, record.clock)


def _record_of_table(table: ColumnTable) -> CellRecord | None:
    """A text table of t, E and I as the record of a cell; None for others."""
    data = table.data
    if not {"t", "E", "I"} <= data.keys() or "z" in data:
        return None
    steps = [table.steps.get(letter, 0.0) for letter in "EI"]
    return CellRecord("", data["t"], data["E"], data["I"], table.counters, table.clock, *steps)


def identified(path: Path, columns: str | None = None, scale: ImageScale | None = None) -> Identification:
    """What a file is, with what the analysis would have a person look at first."""
    return identify(path, columns, partial(_looks, path=path), scale)


def _looks(content: Content, path: Path) -> list[str]:
    """What a person would look at; [] where the content cannot be analysed: why, the identification itself says."""
    record = _record_of_table(content) if isinstance(content, ColumnTable) else None
    records = list(content.records) if isinstance(content, CellFile) else [] if record is None else [record]
    texts = []
    for one in records:
        of = f"{one.name}: " if len(records) > 1 else ""
        looks = record_looks(one.t, one.potential, one.current, _extras(one))
        texts += [f"{of}{look.kind}: {look.text}" for look in looks]
    if not records:
        with suppress(BadInput):
            texts = [f"{r.outcome}: {r.reason}" for r in _analysed(content, path) if r.name == PLAUSIBILITY]
    return texts


def identification_text(what: Identification) -> str:
    """An identification as lines for a person."""
    lines = [f"{what.format}: {what.sentence}"]
    lines += [f"  {c.name} [{c.unit}]: {c.count} values, {c.low:.6g} to {c.high:.6g}" for c in what.channels]
    lines += [f"  {'ok' if finding.ok else 'LOOK'}: {finding.text}" for finding in what.findings]
    lines += [f"  setting {name} = {value}" for name, value in what.settings]
    return "\n".join(lines)


def identification_records(what: Identification) -> list[dict[str, Any]]:
    """An identification as records with stable keys: kind, name, value, unit, ok."""

    def record(kind: str, name: str, value: Any, unit: str = "", ok: bool = True) -> dict[str, Any]:
        return {"kind": kind, "name": name, "value": value, "unit": unit, "ok": ok}

    records = [record("format", what.format, what.sentence)]
    records += [record("channel", c.name, [c.count, c.low, c.high], c.unit) for c in what.channels]
    records += [record("finding", "plausibility", finding.text, ok=finding.ok) for finding in what.findings]
    return records + [record("setting", name, value) for name, value in what.settings]


def views_of(results: Sequence[Result]) -> list[View]:
    """The figures of results that carry a trace: approach curves, the image at its highest level, the cell's record."""
    views = [
        approach_curve_view(r.trace, f"Approach {r.of.recording}".strip())
        for r in results
        if r.name == DISTANCE and r.value is not None and isinstance(r.trace, xr.Dataset)
    ]
    views += [calibration_figure(r.trace) for r in results if r.name == SLOPE and isinstance(r.trace, xr.Dataset)]
    images = [r.trace for r in results if isinstance(r.trace, xr.DataArray) and r.trace.ndim == 2]
    views += [image_view(images[-1])] if images else []
    return views + views_of_traces(results)


def image_array(values: NDArray[np.float64], x: float | None, y: float | None, unit: str = "m") -> xr.DataArray:
    """Heights as an array with coordinates only where both sizes `x`, `y` [m] are known, and a note where not.

    `values` has the top of the image first, as files have; in the array y points up, so that it is drawn upright.
    """
    rows, columns = values.shape
    values = values[::-1]
    coords = {}
    if x is not None and y is not None:
        coords = {"x": ("x", (np.arange(columns) + 0.5) * x / columns), "y": ("y", (np.arange(rows) + 0.5) * y / rows)}
    sizes = {"x": x, "y": y}
    unknown = [axis for axis, size in sizes.items() if size is None]
    known = [f"{axis} size {1e6 * size:.4g} µm" for axis, size in sizes.items() if size is not None]
    note = ", ".join([*known, *(f"{axis} size unknown" for axis in unknown)]) if unknown else ""
    attrs = {"lateral_note": note, "quantity": "height", "units": unit}
    return xr.DataArray(values, dims=("y", "x"), coords=coords, attrs=attrs)


def _approaches(file: ApproachFile) -> list[list[Result]]:
    settings = file.settings
    threshold = (
        1.0 - 1.0 / settings.threshold
        if settings is not None and settings.threshold is not None and settings.threshold > 1.0
        else None
    )
    stated = settings.resistance if settings is not None else None
    curves = []
    for curve in _whole_approaches(file):
        # R has more digits than I in these files and R·I is the bias, so the current is bias/R.
        with np.errstate(divide="ignore", invalid="ignore"):
            bias = float(np.nanmedian(curve.resistance * curve.current))
            current = bias / curve.resistance
        curves += [
            approach_results(curve.z[part], current[part], bias, threshold, stated) for part in ways_down(curve.z)
        ]
    return curves


def _whole_approaches(file: ApproachFile) -> list[MeasuredApproach]:
    """The curves of the file without the rows of a backstep, which are no approach of their own.

    Where there are many such pieces, the withdrawal was sampled more finely than the approach: the file is one record.
    """
    whole = [curve for curve in file.curves if curve.z.size >= FEWEST_POINTS]
    if len(file.curves) - len(whole) <= _BACKSTEPS * len(whole):
        return whole
    names = ("z", "resistance", "current")
    return [MeasuredApproach(*(np.concatenate([getattr(curve, name) for curve in file.curves]) for name in names))]


def _table(table: ColumnTable, setpoint: float | None, particle_radius: float | None) -> list[list[Result]]:
    data = table.data
    if "E" in data and "z" not in data:
        return [_cell_table(table, particle_radius)]
    if "c" in data and "I" in data and "z" not in data:
        known = np.isfinite(data["c"]) & np.isfinite(data["I"])
        return [calibration_results(data["c"][known], data["I"][known], np.zeros(int(known.sum()), np.int64))]
    if "z" not in data and "I" in data and ("V" in data or "t" in data):
        return [_current(data)]
    if "z" not in data or not ("I" in data or "R" in data):
        what = f"the table holds {', '.join(data)}, and a fit needs z with I or R"
        return [_with_table(no_axis_results(what), data)]
    bias: float | None = None
    if "I" in data:
        current = data["I"]
        if "V" in data:
            bias = float(np.nanmedian(data["V"]))
        elif "R" in data:
            bias = float(np.nanmedian(data["R"] * data["I"]))
    else:
        # The fit needs ratios only, and a bias of 1 V gives the measured resistance again.
        bias, current = 1.0, 1.0 / np.where(data["R"] == 0.0, np.nan, data["R"])
    image = _grid_of_approaches(data)
    if image is not None:
        points, heights = image
        each = [approach_results(data["z"][part], current[part], bias, setpoint) for part in points]
        grid = image_results(image_array(heights.values, heights.x_size, heights.y_size))
        return [[*grid, *step_results(heights.values), *series_results(each)]]
    # Two hops at least: a single approach with its withdrawal is analysed as an approach.
    hops = trace_results(current, data["z"], data.get("t"), setpoint, bias)
    several = count_withdrawals(data["z"]) >= 2
    number = next(r for r in hops if r.name == "hops")
    if several and (number.value is None or number.value >= 2.0):
        return [hops if number.value is not None else _with_table(hops, data)]
    curves = []
    pieces = sweeps(data["z"])
    parts = [part for part in pieces if data["z"][part].size >= FEWEST_POINTS]
    if len(pieces) - len(parts) > _BACKSTEPS * len(parts):
        parts = [slice(0, current.size)]
    for part in (slice(a.start + b.start, a.start + b.stop) for a in parts for b in ways_down(data["z"][a])):
        curve = approach_results(data["z"][part], current[part], bias, setpoint)
        rows = {name: values[part] for name, values in data.items()}
        curves.append(curve if curve[0].trace is not None else _with_table(curve, rows))
    return curves


def _doubts(data: Mapping[str, NDArray[np.float64]], curves: Sequence[Sequence[Result]]) -> list[Result]:
    """What a person would look at in a pipette's table; a cell's table has doubts of its own."""
    if "E" in data or not ({"I", "R"} & data.keys()):
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = data.get("V", data["R"] * data["I"] if {"R", "I"} <= data.keys() else None)
    doubts = record_doubts(data.get("t"), data.get("I"), data.get("z"), bias)
    periods = [r.value for curve in curves for r in curve if r.name == "hop_period" and r.value is not None]
    doubts += period_doubts(1e-3 * periods[0]) if periods else []
    return [replace(doubt, index=k) for k, doubt in enumerate(doubts, start=1)]


def _current(data: Mapping[str, NDArray[np.float64]]) -> list[Result]:
    """A pipette current without heights: a current-voltage curve where the bias was swept, else a recording of time."""
    known = data["V"][np.isfinite(data["V"])] if "V" in data else np.zeros(0)
    if known.size and (np.ptp(known) > SWEPT or "t" not in data):
        return iv_results(data["V"], data["I"])
    bias = float(np.median(known)) if known.size else None
    return current_results(data["t"], data["I"], bias)


def _grid_of_approaches(data: Mapping[str, NDArray[np.float64]]) -> tuple[list[slice], ImageChannel] | None:
    """The approaches of a table whose x and y are those of a grid, and the image of the lowest z of each."""
    if not {"x", "y"} <= data.keys():
        return None
    moves = np.flatnonzero((np.diff(data["x"]) != 0.0) | (np.diff(data["y"]) != 0.0)) + 1
    points = [slice(a, b) for a, b in pairwise([0, *moves.tolist(), data["x"].size])]
    if len(points) < _FEWEST_OF_A_GRID or any(part.stop - part.start < FEWEST_POINTS for part in points):
        return None
    lowest = np.array([np.nanmin(data["z"][part]) for part in points])
    x, y = (np.array([data[axis][part.start] for part in points]) for axis in "xy")
    grid = on_grid(x, y, lowest)
    return None if grid is None else (points, ImageChannel("lowest z", grid[0], "m", grid[1], grid[2]))


def _with_table(results: list[Result], data: Mapping[str, NDArray[np.float64]]) -> list[Result]:
    """Results that could not be taken from a table, the first with the table itself: it can be looked at."""
    columns = {name: ("row", values) for name, values in data.items() if name != "t"}
    time = {"row_t": ("row", data["t"])} if "t" in data else {}
    return [replace(results[0], trace=xr.Dataset(columns, coords=time)), *results[1:]] if columns else results


def _cell_table(table: ColumnTable, particle_radius: float | None) -> list[Result]:
    """A table of the cell: t, E and I give what a cycler's file gives, stoichiometry and E give the ends of stages."""
    data, record = table.data, _record_of_table(table)
    if record is not None:
        return _record(record, particle_radius)
    if "sto" in data:
        return open_circuit_results(data["sto"], data["E"])
    reason = f"the table holds {', '.join(data)}: a record needs t, E and I, an open-circuit curve sto and E"
    return _with_table([failed("record", "1", "columns of a text table", "no axis", reason)], data)


def _numbered(curves: list[list[Result]]) -> list[Result]:
    if len(curves) == 1:
        return curves[0]
    return [r.within(curve=k) for k, curve in enumerate(curves, start=1) for r in curve]


def _folder(path: Path) -> list[Result]:
    files = sorted(path.glob("*.ac"), key=lambda file: (len(file.name), file.name))
    if not files:
        limit = "a folder to analyse holds approach curves (*.ac)"
        raise BadInput(Problem("folder", "without .ac files", limit, "name a file, or the folder of a run", path.name))
    curves: list[list[Result]] = []
    each: list[Result] = []
    for file in files:
        content = read(file)
        if not isinstance(content, ApproachFile):
            limit, remedy = "it is no approach curve in spite of its name", "move it out of the folder"
            raise BadInput(Problem("file", "of another format", limit, remedy, file.name))
        of_file = _approaches(content)
        curves += of_file
        each += [r.within(source=file.stem) for r in _numbered(of_file)]
    return [*series_results(curves), *each]
