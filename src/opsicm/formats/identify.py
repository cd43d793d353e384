"""Identifies a third-party file by its content rather than its name, and checks that its values are plausible."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput
from opsicm.formats import (
    axon,
    biologic_binary,
    biologic_text,
    feather,
    first_bytes,
    gamry_text,
    gwyddion,
    matrix,
    nanosurf,
    neware,
    palmsens,
    topography,
    workbook,
    wsxm,
)
from opsicm.formats.approach_text import (
    ApproachFile,
    ScanSettings,
    looks_like_curves,
    looks_like_settings,
    parse_approach,
    parse_settings,
    settings_beside,
)
from opsicm.formats.cell_record import CellFile
from opsicm.formats.column_titles import QUANTITIES
from opsicm.formats.columns import (
    LEAST_MATRIX,
    MATRIX_REMEDY,
    ColumnTable,
    UnlabelledTable,
    parse_columns,
    parse_unlabelled,
)
from opsicm.formats.image_file import ImageChannel, ImageFile
from opsicm.formats.sicm_archive import LARGEST_CONTENT, NM_PER_COUNT, SicmScan, SicmTrace, is_sicm, read_sicm
from opsicm.formats.text import LARGEST_TEXT, Text, bad, decode, is_text, read_bytes

HIGHEST_CELL_POTENTIAL: Final = 6.0  # [V] of one cell, against any reference


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """One quantity of a file: its unit, the number of its values, and the lowest and highest of them."""

    name: str
    unit: str
    count: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PlausibilityCheck:
    """One plausibility check; `ok` is False where a person should look at the file."""

    text: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Identification:
    """A file's format, one sentence about it, its channels and settings, and the plausibility checks."""

    format: str
    sentence: str
    channels: tuple[ChannelRange, ...]
    settings: tuple[tuple[str, str], ...]
    findings: tuple[PlausibilityCheck, ...]


def channel_range(name: str, unit: str, values: NDArray[np.float64]) -> ChannelRange:
    """A channel with the range of its finite values (NaN without one)."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)
    return ChannelRange(name, unit, int(values.size), low, high)


def identify_images(file: ImageFile) -> Identification:
    """An image file: its channels and sizes, and whether heights and lateral scale are those of a surface."""
    first = (file.heights or file.images)[0]
    ny, nx = first.values.shape
    sizes = [f"{1e6 * size:.4g} µm" if size is not None else "unknown" for size in (first.x_size, first.y_size)]
    noun = "image" if len(file.images) == 1 else f"{len(file.images)} channels, the first topography"
    findings = [PlausibilityCheck(note) for note in file.notes]
    for image in file.heights:
        findings += _height_checks(image)
    if not file.heights:
        findings.append(PlausibilityCheck("no channel is a height: nothing here is analysed", ok=False))
    return Identification(
        file.format,
        f"{noun} of {nx} x {ny} pixels; x size {sizes[0]}, y size {sizes[1]}",
        tuple(
            channel_range(image.name, image.unit or "unit not stated", image.values.ravel()) for image in file.images
        ),
        tuple(file.settings.items()),
        tuple(findings),
    )


def _height_checks(image: ImageChannel) -> list[PlausibilityCheck]:
    checks = []
    if image.x_size is None or image.y_size is None:
        checks.append(
            PlausibilityCheck(f"{image.name}: size is not stated in metres: the lateral scale stays unknown", ok=False)
        )
    if not image.unit:
        checks.append(PlausibilityCheck(f"{image.name}: the unit of the values is not stated", ok=False))
    span = float(np.nanmax(image.values) - np.nanmin(image.values)) if np.isfinite(image.values).any() else 0.0
    if span == 0.0:
        checks.append(PlausibilityCheck(f"{image.name}: every height is the same", ok=False))
    elif image.unit == "m":
        checks.append(PlausibilityCheck(f"{image.name}: heights span {1e6 * span:.3g} µm", ok=span < 50e-6))
    return checks


def identify_cell(file: CellFile) -> Identification:
    """A cycler's record: its length, and whether time, potential and current are those of a cell."""
    t, potential, current = (
        np.concatenate([getattr(r, name) for r in file.records]) for name in ("t", "potential", "current")
    )
    findings = [PlausibilityCheck(note) for note in file.notes]
    findings += [PlausibilityCheck(look, ok=False) for look in file.looks]
    findings += _cell_limits(potential, current)
    missing = int(np.count_nonzero(~np.isfinite(t + potential + current)))
    if missing:
        findings.append(PlausibilityCheck(f"{missing} rows lack one of the three values", ok=False))
    noun = "one record" if len(file.records) == 1 else f"{len(file.records)} records"
    return Identification(
        file.format,
        f"time, potential and current of a cell: {t.size} rows in {noun}, {np.nanmax(t) - np.nanmin(t):.6g} s",
        (
            channel_range("t", "s", t),
            channel_range("potential", "V", potential),
            channel_range("current", "A", current),
        ),
        tuple(file.settings.items()),
        tuple(findings),
    )


def _cell_limits(potential: NDArray[np.float64], current: NDArray[np.float64] | None) -> list[PlausibilityCheck]:
    """The largest potential and current of a cell."""
    highest = _largest_magnitude(potential)
    checks = [PlausibilityCheck(f"largest |potential| {highest:.3g} V", ok=highest <= HIGHEST_CELL_POTENTIAL)]
    if current is not None:
        largest = _largest_magnitude(current)
        checks.append(PlausibilityCheck(f"largest |current| {1e3 * largest:.3g} mA", ok=1e-12 < largest <= 100.0))
    return checks


def identify_unlabelled(table: UnlabelledTable) -> Identification:
    """A table without titles or units: the ranges of its columns, and the option that names them."""
    remedy = f"what the columns are is not stated: give {table.example}"
    if _may_be_matrix(table):
        return Identification(
            "text table",
            f"a matrix of {table.values.shape[1]} x {table.values.shape[0]} numbers ({table.written})",
            (channel_range("values", "not stated", table.values.ravel()),),
            (),
            (PlausibilityCheck(f"if it is an image, {MATRIX_REMEDY}", ok=False),),
        )
    return Identification(
        "text table",
        f"a table of {table.values.shape[1]} columns and {table.values.shape[0]} rows ({table.written})",
        tuple(
            channel_range(title, "not stated", column)
            for title, column in zip(table.titles, table.values.T, strict=True)
        ),
        tuple((f"header line {k}", line[:120]) for k, line in enumerate(table.header, start=1)),
        (
            PlausibilityCheck(remedy, ok=False),
            *((PlausibilityCheck(f"not read: {', '.join(table.skipped)}"),) if table.skipped else ()),
        ),
    )


def _may_be_matrix(table: UnlabelledTable) -> bool:
    """Whether a table could be an image: without titles, with as many columns as an image has pixels in a line."""
    return min(table.values.shape) >= LEAST_MATRIX and not table.skipped and table.titles[0].startswith("column ")


def _largest_magnitude(values: NDArray[np.float64]) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0


Content = SicmScan | SicmTrace | ApproachFile | ScanSettings | ColumnTable | ImageFile | CellFile
KNOWN_FORMATS: Final = (
    ".sicm, .ac and .inf of SICM; .gwy, .gsf, .nid, .stp, .npy, a text matrix and (with opsicm[formats]) some forty "
    "more of microscopes; .mpt, .mpr, .dta, .nda, .ndax, .pssession, workbooks, Feather and Parquet of cells; .abf; "
    "text tables"
)
_TEXT_READERS: Final[tuple[tuple[Callable[[Text], bool], Callable[[Text, Path], ImageFile | CellFile]], ...]] = (
    (gwyddion.looks_like_export, gwyddion.parse_export),
    (gamry_text.looks_like_dta, gamry_text.parse_dta),
)
# First bytes of a binary file → its reader.
_BINARY_READERS: Final[tuple[tuple[bytes, Callable[[bytes, Path], Content]], ...]] = (
    (gwyddion.MAGIC, gwyddion.read_gwy),
    (gwyddion.GSF_MAGIC, gwyddion.read_gsf),
    (nanosurf.MAGIC, nanosurf.read_nid),
    (wsxm.MAGIC, wsxm.read_stp),
    (neware.MAGIC, neware.read_nda),
    (biologic_binary.MAGIC, biologic_binary.read_mpr),
    (feather.FEATHER, feather.read_feather),
    (feather.PARQUET, feather.read_feather),
    (matrix.NPY, matrix.read_numpy),
    *((mark, axon.read_abf) for mark in axon.MAGIC),
)
_HDF5: Final = b"\x89HDF\r\n\x1a\n"


def read(path: Path, columns: str | None = None, scale: matrix.ImageScale | None = None) -> Content:
    """The content of any known file; its first bytes choose the reader, never its name.

    `columns` says what the columns of a table are, `scale` what the file of an image does not state.
    """
    return _of_bytes(read_bytes(path, LARGEST_TEXT), path, columns, scale)


def _of_bytes(data: bytes, path: Path, columns: str | None, scale: matrix.ImageScale | None) -> Content:
    if data.startswith(b"\x1f\x8b") and is_sicm(data):
        _refuse_columns(path, columns)
        return read_sicm(path, LARGEST_CONTENT)
    if data.startswith(tuple(first_bytes.COMPRESSED)):
        return _of_bytes(first_bytes.inflated(data, path), path.with_suffix(""), columns, scale)
    content = _content(data, path, columns, scale)
    if scale is None:
        return content
    if isinstance(content, ImageFile):
        return matrix.scaled(content, scale)
    if isinstance(content, ColumnTable) and "z" in content.data:
        return content  # a list of approach curves or of points: its columns have units of their own
    limit = "the file is no image"
    raise bad(path, "--size-um, --unit", "given", limit, "leave them out")


def _content(data: bytes, path: Path, columns: str | None, scale: matrix.ImageScale | None) -> Content:
    for mark, reader in _BINARY_READERS:
        if data.startswith(mark):
            _refuse_columns(path, columns)
            return reader(data, path)
    if data.startswith((workbook.ZIP, b"PK\x05\x06")):
        return _of_zip(data, path, columns)
    if data.startswith(workbook.OLE) and path.suffix.lower() not in topography.ENDINGS:
        return workbook.read_workbook(data, path, columns)
    if not is_text(data):
        if data.startswith(_HDF5) and path.suffix.lower() != ".datx":
            raise first_bytes.foreign_hdf5(data, path)
        if topography.may_read(data, path):
            _refuse_columns(path, columns)
            return topography.read_topography(data, path)
        known = first_bytes.known_binary(data, path)
        raise known or first_bytes.unknown_binary(data, path, KNOWN_FORMATS)
    if data.startswith(topography.MAGIC):
        _refuse_columns(path, columns)
        return topography.read_topography(data, path)
    text = decode(data, path)
    if looks_like_curves(text):
        _refuse_columns(path, columns)
        return parse_approach(text, path, settings_beside(path))
    if looks_like_settings(text):
        _refuse_columns(path, columns)
        return parse_settings(text, path)
    joined = "\n".join(text.lines[:40])
    if palmsens.looks_like_session(joined[:4000]):
        _refuse_columns(path, columns)
        return palmsens.read_session("\n".join(text.lines), path)
    return parse_text(text, path, columns, scale)


def _refuse_columns(path: Path, columns: str | None) -> None:
    """Refuse `--columns` for a file in which nothing is there to choose: passed over it would seem to have acted."""
    if columns is not None:
        raise bad(path, "--columns", repr(columns), "the file's own format states what is in it", "leave it out")


def _of_zip(data: bytes, path: Path, columns: str | None) -> Content:
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except workbook.ZIP_DAMAGE:
        raise bad(path, "content", "a damaged workbook or zip archive", "it must be whole", "copy it again") from None
    if workbook.is_workbook(names):
        return workbook.read_workbook(data, path, columns)
    _refuse_columns(path, columns)
    if neware.is_ndax(names):
        return neware.read_by_fastnda(data, path)
    if names and all(name.endswith(".npy") for name in names):
        return matrix.read_numpy(data, path)
    if "main.xml" in names or topography.may_read(data, path):
        return topography.read_topography(data, path)
    raise first_bytes.unknown_zip(data, path)


def parse_text(text: Text, path: Path, columns: str | None, scale: matrix.ImageScale | None = None) -> Content:
    """The content of a text other than an approach curve: in an instrument's layout, else a table or a matrix."""
    if biologic_text.looks_like_mpt(text):
        return biologic_text.parse_mpt(text, path, columns)
    for looks_like, parse in _TEXT_READERS:
        if looks_like(text):
            _refuse_columns(path, columns)
            return parse(text, path)
    refusal = first_bytes.known_text(text, path)
    if refusal is not None:
        raise refusal
    if scale is not None and columns is None:
        return matrix.read_matrix(text, path)
    table = parse_columns(text, path, columns)
    if {"x", "y", "z"} <= set(table.data) and not {"I", "R"} & set(table.data):
        return matrix.points_image(table.data["x"], table.data["y"], table.data["z"], path)
    return table


def identify(
    path: Path,
    columns: str | None = None,
    judge: Callable[[Content], Sequence[str]] = lambda _: (),
    scale: matrix.ImageScale | None = None,
) -> Identification:
    """The format and content of a file; `BadInput` for an empty, truncated, damaged or unknown one.

    `judge` adds what else a person should look at in the content, as the analysis sees it.
    """
    try:
        content = read(path, columns, scale)
    except BadInput:
        unlabelled = _unlabelled_table(path) if columns is None and scale is None else None
        if unlabelled is None:
            raise
        return identify_unlabelled(unlabelled)
    what = _identify_content(content)
    return replace(what, findings=(*what.findings, *(PlausibilityCheck(text, ok=False) for text in judge(content))))


def _identify_content(content: Content) -> Identification:
    if isinstance(content, ImageFile):
        return identify_images(content)
    if isinstance(content, CellFile):
        return identify_cell(content)
    if isinstance(content, SicmScan):
        return _identify_scan(content)
    if isinstance(content, SicmTrace):
        return _identify_trace(content)
    if isinstance(content, ApproachFile):
        return _identify_approach(content)
    if isinstance(content, ScanSettings):
        stated = tuple(content.stated.items())
        return Identification(".inf", f"settings of the scan {content.name or 'without a name'}", (), stated, ())
    return _identify_columns(content)


def _unlabelled_table(path: Path) -> UnlabelledTable | None:
    """The table in a text whose columns are not named; None where there is no table, or the text is of a known kind."""
    data = read_bytes(path, LARGEST_TEXT)
    if not is_text(data) or data.startswith(tuple(first_bytes.COMPRESSED)):
        return None
    try:
        text = decode(data, path)
        of_instrument = (biologic_text.looks_like_mpt, *(looks_like for looks_like, _ in _TEXT_READERS))
        if first_bytes.known_text(text, path) is not None or any(looks_like(text) for looks_like in of_instrument):
            return None
        return parse_unlabelled(text, path)
    except BadInput:
        return None


def _identify_scan(scan: SicmScan) -> Identification:
    ny, nx = scan.counts.shape
    sizes = [f"{1e6 * size:.4g} µm" if size is not None else "unknown" for size in (scan.x_size, scan.y_size)]
    findings = [
        PlausibilityCheck(f"height unit assumed: 1 count = {NM_PER_COUNT:g} nm, as pySICM's own reader takes it")
    ]
    for axis, size in (("x", scan.x_size), ("y", scan.y_size)):
        if size is None:
            findings.append(PlausibilityCheck(f"{axis} size is not stated: the lateral scale stays unknown", ok=False))
    saturated = int(scan.saturated.sum())
    if saturated:
        noun = "pixel" if saturated == 1 else "pixels"
        findings.append(PlausibilityCheck(f"{saturated} {noun} at 0 or 65535 (saturated)", ok=False))
    span = float(np.ptp(scan.heights))
    if scan.counts.size > 1 and span == 0.0:
        findings.append(PlausibilityCheck("every height is the same", ok=False))
    else:
        findings.append(PlausibilityCheck(f"heights span {1e6 * span:.3g} µm", ok=span < 50e-6))
    if scan.duration is not None and scan.duration > 0:
        findings.append(_hop_rate_check(scan.counts.size / scan.duration))
    return Identification(
        ".sicm",
        f"a hopping image ({scan.mode}) of {nx} x {ny} pixels by pySICM; x size {sizes[0]}, y size {sizes[1]}",
        (channel_range("height", "m", scan.heights.ravel()),),
        tuple(scan.settings.items()),
        tuple(findings),
    )


def _hop_rate_check(per_second: float) -> PlausibilityCheck:
    return PlausibilityCheck(f"{per_second:.3g} hops/s", ok=0.05 <= per_second <= 1000.0)


def _identify_trace(trace: SicmTrace) -> Identification:
    findings = (
        PlausibilityCheck(
            "quantity, scale and time step of the trace are not stated in the file: counts only", ok=False
        ),
        PlausibilityCheck("no z axis: a distance cannot be fitted", ok=False),
    )
    sentence = f"a recorded approach of {trace.counts.size} samples by pySICM, in raw counts"
    signal = channel_range("signal", "count", trace.counts.astype(np.float64))
    return Identification(".sicm", sentence, (signal,), tuple(trace.settings.items()), findings)


def _identify_approach(file: ApproachFile) -> Identification:
    z = np.concatenate([curve.z for curve in file.curves])
    R = np.concatenate([curve.resistance for curve in file.curves])
    current = np.concatenate([curve.current for curve in file.curves])
    median = float(np.median(R))
    findings = [_resistance_check(median)]
    settings = file.settings
    if settings is None:
        findings.append(
            PlausibilityCheck("no .inf beside it: bias, threshold and stated resistance are unknown", ok=False)
        )
    else:
        findings += _settings_checks(settings, median, float(np.median(R * current)), file)
    if len(file.curves) > 1:
        findings.append(PlausibilityCheck(f"z restarts: {len(file.curves)} approaches in one file"))
    count = "one approach curve" if len(file.curves) == 1 else f"{len(file.curves)} approach curves"
    decimal = "comma" if file.decimal == "," else "point"
    sizes = ", ".join(str(curve.z.size) for curve in file.curves)
    return Identification(
        ".ac",
        f"{count} of {sizes} points (decimal {decimal}, {file.encoding})",
        (channel_range("z", "m", z), channel_range("resistance", "Ohm", R), channel_range("current", "A", current)),
        tuple(settings.stated.items()) if settings is not None else (),
        tuple(findings),
    )


def _settings_checks(settings: ScanSettings, R: float, bias: float, file: ApproachFile) -> list[PlausibilityCheck]:
    findings = []
    if settings.pulse_height is not None:
        ok = math.isclose(bias, settings.pulse_height, rel_tol=0.02)
        findings.append(
            PlausibilityCheck(f"R·I is {1e3 * bias:.4g} mV, the stated pulse {1e3 * settings.pulse_height:.4g} mV", ok)
        )
    if settings.resistance is not None:
        ok = math.isclose(R, settings.resistance, rel_tol=0.05)
        findings.append(PlausibilityCheck(f"median R {R / 1e6:.4g} MΩ, stated {settings.resistance / 1e6:.4g} MΩ", ok))
    steps = [abs(float(np.median(np.diff(curve.z)))) for curve in file.curves if curve.z.size > 1]
    if settings.step is not None and steps:
        ok = all(math.isclose(step, settings.step, rel_tol=0.05) for step in steps)
        findings.append(
            PlausibilityCheck(f"z steps of {1e9 * steps[0]:.3g} nm, stated {1e9 * settings.step:.3g} nm", ok)
        )
    if settings.threshold is not None:
        reached = sum(
            bool(curve.resistance[-1] >= settings.threshold * np.median(curve.resistance)) for curve in file.curves
        )
        text = f"{reached} of {len(file.curves)} curves end above {100 * settings.threshold:.4g} % of their median R"
        findings.append(PlausibilityCheck(text, ok=reached == len(file.curves)))
    return findings


def _resistance_check(R: float) -> PlausibilityCheck:
    """Plausibility of a resistance: the opening radius it stands for, a = (1/(pi tan theta) + 1/4)/(kappa R).

    Equation: R = 1/(pi kappa a tan theta) + 1/(4 kappa a), an endless cone and its opening; R [Ohm].
    Assumes a half-cone angle of 3 degrees and kappa = 1.5 S/m (a physiological buffer), so the radius is an order of
    magnitude; fails for short or bent tips. Source: Hall, J. Gen. Physiol. 1975, 66, 531, for the opening.
    """
    radius = (1.0 / (math.pi * math.tan(math.radians(3.0))) + 0.25) / (1.5 * R) if R > 0 else math.inf
    ok = 2e-9 <= radius <= 2e-6
    verdict = "plausible" if ok else "not plausible"
    size = f"about {1e9 * radius:.2g} nm opening radius at 3° and 1.5 S/m" if math.isfinite(radius) else "not positive"
    return PlausibilityCheck(f"resistance {R / 1e6:.4g} MΩ is {verdict} for a nanopipette ({size})", ok)


def _identify_columns(table: ColumnTable) -> Identification:
    rows = next(iter(table.data.values())).size
    channels = tuple(channel_range(name, QUANTITIES[name], values) for name, values in table.data.items())
    findings = []
    for name, values in table.data.items():
        missing = int(np.count_nonzero(~np.isfinite(values)))
        if missing:
            findings.append(PlausibilityCheck(f"{name}: {missing} of {values.size} values are not numbers", ok=False))
        # A cell's current or potential may well be held constant.
        held = "E" in table.data and name in "EI"
        if not held and values.size > 1 and missing < values.size and np.nanmax(values) == np.nanmin(values):
            findings.append(PlausibilityCheck(f"{name} is constant", ok=False))
    findings += [PlausibilityCheck(note) for note in table.notes]
    findings += [PlausibilityCheck(look, ok=False) for look in table.looks]
    if table.skipped:
        findings.append(PlausibilityCheck(f"not read: {', '.join(table.skipped)}"))
    if "t" in table.data and rows > 1 and not np.all(np.diff(table.data["t"]) > 0):
        findings.append(PlausibilityCheck("t does not increase throughout", ok=False))
    if "E" in table.data:
        findings += _cell_limits(table.data["E"], table.data.get("I"))
    elif "I" in table.data and np.isfinite(table.data["I"]).any():
        largest = float(np.nanmax(np.abs(table.data["I"])))
        findings.append(PlausibilityCheck(f"largest current {1e9 * largest:.3g} nA", ok=1e-13 <= largest <= 1e-6))
    if "R" in table.data and np.isfinite(table.data["R"]).any():
        findings.append(_resistance_check(float(np.nanmedian(table.data["R"]))))
    decimal = "comma" if table.decimal == "," else "point"
    written = f"{table.separator} separated, decimal {decimal}, {table.encoding}"
    return Identification(
        "text table",
        f"a table of {', '.join(table.data)} with {rows} rows ({written})",
        channels,
        tuple((f"header line {k}", line[:120]) for k, line in enumerate(table.header, start=1)),
        tuple(findings),
    )
