"""Reading the data files that an experiment, a rig or a parameter set names: heights, curves, amplitude maps.

Nothing in them is executed. Heights of a twin's specimen are `.npy` or Gwyddion's `.gsf` and `.gwy`, curves are tables
of numbers, amplitude maps have one value for every pixel of a raster.
"""

from __future__ import annotations

import csv
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem
from opsicm.core.units import KEY_SUFFIX, factor, si_unit, suffix_of
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.hop_parameters import AMPLITUDE_NM
from opsicm.experiment.probe_steps import Raster
from opsicm.experiment.program import written_steps
from opsicm.experiment.yaml_file import Document, read_text

_GSF: Final = b"Gwyddion Simple Field 1.0\n"
_GWY: Final = b"GWYP"
_LARGEST: Final = 512 * 2**20  # [bytes]
_POINTS: Final = (4, 4096)  # along a side
_SIZES: Final = {"b": 1, "c": 1, "i": 4, "q": 8, "d": 8}


@dataclass(frozen=True, slots=True)
class SurfaceFile:
    """`heights` [m] (ny, nx), lowest y first; `width`, `height` along x, y [m], None where the file states none."""

    heights: NDArray[np.float64]
    width: float | None
    height: float | None


def read_surface(path: Path) -> SurfaceFile:
    """The heights in a file; raises `BadInput` when it is none of the three, or not a map of finite numbers."""
    try:
        if path.stat().st_size > _LARGEST:
            raise _refused(
                path, f"has {path.stat().st_size / 2**20:.0f} MB, more than {_LARGEST / 2**20:.0f}", "crop it"
            )
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}", "check the path, seen from the rig file") from None
    try:
        if data.startswith(_GSF):
            read = _gsf(data)
        elif data.startswith(_GWY):
            read = _gwy(data)
        else:
            read = SurfaceFile(np.load(path, allow_pickle=False), None, None)
    except (ValueError, KeyError, struct.error, EOFError) as error:
        reason = f"is no .npy, .gsf or .gwy that can be read ({error})"
        raise _refused(path, reason, "save the field again") from None
    shape = np.shape(read.heights)
    if len(shape) != 2 or not all(_POINTS[0] <= n <= _POINTS[1] for n in shape):
        raise _refused(path, f"has the shape {shape}; a map has two sides of 4 … 4096", "save one field of heights")
    heights = np.asarray(read.heights, np.float64)
    if not np.all(np.isfinite(heights)):
        raise _refused(path, "has values that are no numbers", "fill the holes first")
    return SurfaceFile(heights, read.width, read.height)


def _refused(path: Path, limit: str, remedy: str) -> BadInput:
    return BadInput(Problem("surface file", path.name, limit, remedy))


def _gsf(data: bytes) -> SurfaceFile:
    """Text lines `Key = value`, padded with zero bytes to a multiple of four, then float32 rows from the top."""
    end = data.index(b"\0")
    lines = data[len(_GSF) : end].decode("utf-8").splitlines()
    header = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    nx, ny = int(header["XRes"]), int(header["YRes"])
    values = np.frombuffer(data, "<f4", nx * ny, (end // 4 + 1) * 4)
    unit = header.get("ZUnits", "m")
    if unit not in ("m", ""):
        raise ValueError(f"ZUnits is {unit}, and heights are in m")
    return _map(values, nx, ny, float(header.get("XReal", 1.0)), float(header.get("YReal", 1.0)))


def _gwy(data: bytes) -> SurfaceFile:
    """The first `GwyDataField` of a serialised object: name, size, then components of name, type letter, value."""
    place = data.index(b"GwyDataField\0") + len(b"GwyDataField\0")
    (size,) = struct.unpack_from("<I", data, place)
    place, end = place + 4, place + 4 + size
    components: dict[str, object] = {}
    while place < end:
        stop = data.index(b"\0", place)
        name, kind, place = data[place:stop].decode("utf-8"), chr(data[stop + 1]), stop + 2
        if kind == "D":
            (count,) = struct.unpack_from("<I", data, place)
            components[name] = np.frombuffer(data, "<f8", count, place + 4)
            place += 4 + 8 * count
        elif kind == "s":
            place = data.index(b"\0", place) + 1
        elif kind == "o":
            stop = data.index(b"\0", place)
            place = stop + 5 + struct.unpack_from("<I", data, stop + 1)[0]
        elif kind in _SIZES:
            if kind in "id":
                (components[name],) = struct.unpack_from(f"<{kind}", data, place)
            place += _SIZES[kind]
        else:
            raise ValueError(f"a component of type {kind!r}")
    nx, ny = int(str(components["xres"])), int(str(components["yres"]))
    return _map(
        np.asarray(components["data"]), nx, ny, float(str(components["xreal"])), float(str(components["yreal"]))
    )


def _map(values: NDArray[np.floating], nx: int, ny: int, width: float, height: float) -> SurfaceFile:
    if not (width > 0.0 and height > 0.0):
        raise ValueError("a side is not above 0 m")
    # Gwyddion counts rows from the top.
    return SurfaceFile(np.asarray(values, np.float64).reshape(ny, nx)[::-1], width, height)


# -- The table of a curve: a text file of numbers, one column for each name with its unit, converted to SI.


def read_curve(
    path: Path, names: tuple[str, ...], leaf: Document
) -> tuple[dict[str, tuple[float, ...]], dict[str, str]]:
    """(columns in SI, units) of the table at `path`, both by the column's name without its unit.

    A first line without numbers is a heading and must name the same columns; `#` begins a comment.
    """
    if not path.is_file():
        raise BadInput(
            leaf.problem(("table",), path.name, "there is no such file", "check the spelling and the folder")
        )
    units: dict[str, str] = {}  # short name → unit in the file, in the order of the columns
    for index, name in enumerate(names):
        suffix = suffix_of(name)
        short = name.removesuffix(f"_{suffix}")
        if short in units:
            raise BadInput(leaf.problem(("columns", index), name, "is given twice", "give each column its own name"))
        units[short] = KEY_SUFFIX[suffix] if suffix else "1"
    columns = zip(*_rows(path, names), strict=True)
    numbers = {
        short: tuple(x * factor(units[short]) for x in column) for short, column in zip(units, columns, strict=True)
    }
    return numbers, {short: si_unit(unit) for short, unit in units.items()}


def _rows(path: Path, names: tuple[str, ...]) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    heading_allowed = True
    for line, cells in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        words = [cell.strip() for cell in cells]
        if not any(words) or words[0].startswith("#"):
            continue
        numbers = [_number(word) for word in words]
        if heading_allowed and tuple(words) == names:
            heading_allowed = False
            continue
        heading_allowed = False
        good = tuple(number for number in numbers if number is not None)
        if len(good) != len(names) or len(words) != len(names):
            limit = f"must hold {len(names)} finite numbers, {', '.join(names)}"
            problem = Problem("the row", ", ".join(words)[:60], limit, "correct the row", str(path), line)
            raise BadInput(problem)
        rows.append(good)
    if len(rows) < 2:
        problem = Problem("the table", f"{len(rows)} rows", "a curve needs two at least", "add rows", str(path))
        raise BadInput(problem)
    return rows


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# -- Amplitude maps: an amplitude for every pixel of a raster.


_SUFFIXES: Final = (".npy", ".csv")


def amplitude_maps(loaded: LoadedExperiment) -> dict[str, NDArray[np.float64]]:
    """Amplitudes [m], shape (ny, nx), of every raster that names a file, by the path of the step.

    Raises `BadInput` with every file that cannot be used, at the line of its `amplitude_map`. A .npy file is read
    without pickle: it is data.
    """
    maps: dict[str, NDArray[np.float64]] = {}
    problems: list[Problem] = []
    for placed in written_steps("probe", loaded.experiment.probe):
        if isinstance(placed.step, Raster) and placed.step.amplitude_map is not None:
            name, key = placed.step.amplitude_map, (*placed.key_path, "amplitude_map")
            try:
                maps[placed.path] = _amplitude_map(loaded, placed.step, name, partial(loaded.problem, key, name))
            except BadInput as error:
                problems += error.problems
    if problems:
        raise BadInput(problems)
    return maps


def _amplitude_map(
    loaded: LoadedExperiment, raster: Raster, name: str, problem: Callable[[str, str], Problem]
) -> NDArray[np.float64]:
    amplitudes = _read(Path(loaded.document.name).parent / name, problem)
    nx, ny = raster.pixels
    if amplitudes.shape != (ny, nx):
        shape = " × ".join(str(length) for length in amplitudes.shape)
        limit = f"holds {shape} values, and the raster has {ny} rows of {nx}"
        raise BadInput(problem(limit, "write one row a line, one value a pixel"))
    low, high = AMPLITUDE_NM
    if not np.all((amplitudes >= low) & (amplitudes <= high)):
        raise BadInput(problem(f"holds values outside {low:g} … {high:g} nm", "write amplitudes in nm"))
    allowed = loaded.experiment.envelope.approach_um
    largest = float(amplitudes.max())
    if largest > allowed * 1e3:
        limit = f"holds {largest:g} nm, and an approach may not be longer than envelope.approach_um, {allowed:g} µm"
        raise BadInput(problem(limit, "lower it, or raise envelope.approach_um"))
    return amplitudes * factor("nm")


def _read(path: Path, problem: Callable[[str, str], Problem]) -> NDArray[np.float64]:
    if path.suffix not in _SUFFIXES:
        raise BadInput(problem(f"is none of {', '.join(_SUFFIXES)}", "save the map in one of these forms"))
    if not path.is_file():
        raise BadInput(problem("is no file in the experiment's folder", "check the spelling and the folder"))
    try:
        if path.suffix == ".npy":
            values: NDArray[Any] = np.load(path, allow_pickle=False)
        else:
            values = np.loadtxt(path, delimiter=",", ndmin=2)
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, EOFError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        raise BadInput(problem(f"cannot be read: {reason}", "write plain numbers")) from None
