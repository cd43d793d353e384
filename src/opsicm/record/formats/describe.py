"""What the files of other instruments are, in a sentence, with what looks plausible in them and what does not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.record.formats.cell_record import CellFile
from opsicm.record.formats.columns import Untitled
from opsicm.record.formats.image_file import Image, ImageFile


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity of a file: how many values, in which unit, between which."""

    name: str
    unit: str
    count: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One look at plausibility; `ok` is False where a person should look again."""

    text: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Identification:
    """What a file is: the format's name, a sentence, its channels and settings, and what was found plausible or not."""

    format: str
    sentence: str
    channels: tuple[Channel, ...]
    settings: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def channel(name: str, unit: str, values: NDArray[np.float64]) -> Channel:
    """A channel with the range of its finite values (NaN without one)."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)
    return Channel(name, unit, int(values.size), low, high)


def describe_images(file: ImageFile) -> Identification:
    """An image file: its channels, sizes, and whether heights and lateral scale look like a surface's."""
    first = (file.heights or file.images)[0]
    ny, nx = first.values.shape
    sizes = [f"{1e6 * size:.4g} µm" if size is not None else "unknown" for size in (first.x_size, first.y_size)]
    noun = "image" if len(file.images) == 1 else f"{len(file.images)} channels, the first topography"
    findings = [Finding(note) for note in file.notes]
    for image in file.heights:
        findings += _height_findings(image)
    if not file.heights:
        findings.append(Finding("no channel is a height: nothing here is analysed", ok=False))
    return Identification(
        file.format,
        f"{noun} of {nx} x {ny} pixels; x size {sizes[0]}, y size {sizes[1]}",
        tuple(channel(image.name, image.unit or "unit not stated", image.values.ravel()) for image in file.images),
        tuple(file.settings.items()),
        tuple(findings),
    )


def _height_findings(image: Image) -> list[Finding]:
    found = []
    if image.x_size is None or image.y_size is None:
        found.append(Finding(f"{image.name}: size is not stated in metres: the lateral scale stays unknown", ok=False))
    if not image.unit:
        found.append(Finding(f"{image.name}: the unit of the values is not stated", ok=False))
    span = float(np.nanmax(image.values) - np.nanmin(image.values)) if np.isfinite(image.values).any() else 0.0
    if span == 0.0:
        found.append(Finding(f"{image.name}: every height is the same", ok=False))
    elif image.unit == "m":
        found.append(Finding(f"{image.name}: heights span {1e6 * span:.3g} µm", ok=span < 50e-6))
    return found


def describe_cell(file: CellFile) -> Identification:
    """A record of a cell: how long, how much, and whether time, potential and current look like a cell's."""
    t, potential, current = (
        np.concatenate([getattr(r, name) for r in file.records]) for name in ("t", "potential", "current")
    )
    findings = [Finding(note) for note in file.notes]
    backwards = sum(bool(np.any(np.diff(r.t) < 0.0)) for r in file.records)
    if backwards:
        findings.append(Finding(f"time runs backwards in {backwards} of {len(file.records)} stretches", ok=False))
    findings.append(Finding(f"largest |potential| {_largest(potential):.3g} V", ok=_largest(potential) <= 6.0))
    largest = _largest(current)
    findings.append(Finding(f"largest |current| {1e3 * largest:.3g} mA", ok=1e-12 < largest <= 100.0))
    missing = int(np.count_nonzero(~np.isfinite(t + potential + current)))
    if missing:
        findings.append(Finding(f"{missing} rows lack one of the three values", ok=False))
    stretches = "one stretch" if len(file.records) == 1 else f"{len(file.records)} stretches"
    return Identification(
        file.format,
        f"time, potential and current of a cell: {t.size} rows in {stretches}, {np.nanmax(t) - np.nanmin(t):.6g} s",
        (channel("t", "s", t), channel("potential", "V", potential), channel("current", "A", current)),
        tuple(file.settings.items()),
        tuple(findings),
    )


def describe_untitled(table: Untitled) -> Identification:
    """A table of numbers whose columns nobody named: where they lie, and how to say what they are."""
    said = f"what the columns are is not stated: give --columns {table.example}"
    return Identification(
        "text table",
        f"a table of {table.values.shape[1]} columns and {table.values.shape[0]} rows ({table.written})",
        tuple(channel(title, "not stated", column) for title, column in zip(table.titles, table.values.T, strict=True)),
        tuple((f"header line {k}", line[:120]) for k, line in enumerate(table.header, start=1)),
        (Finding(said, ok=False),),
    )


def _largest(values: NDArray[np.float64]) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max()) if finite.size else 0.0
