"""Images as plain numbers: a text matrix, NumPy's .npy and .npz, and lists of points x y z on a grid."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.core.units import factor, si_unit
from opsicm.formats.column_titles import unit_name
from opsicm.formats.image_file import ImageChannel, ImageFile
from opsicm.formats.text import Text, bad
from opsicm.formats.text_table import NUMBER, find_table, read_columns

F64 = NDArray[np.float64]
NPY: Final = b"\x93NUMPY"
_MOST_PIXELS: Final = 1 << 26
_ON_GRID: Final = 0.05  # of a step: positions of one column of the grid agree within it, as a stage's read-back does


@dataclass(frozen=True, slots=True)
class ImageScale:
    """What the user states of an image whose file does not: its size along x and y [m], and the unit of its values."""

    size: tuple[float, float] | None = None
    unit: str | None = None

    @classmethod
    def of(cls, size_um: str | None, unit: str | None) -> ImageScale | None:
        """From `--size-um` ("20" or "20,15") and `--unit` ("nm"); None where neither is given."""
        if size_um is None and unit is None:
            return None
        size = None
        if size_um is not None:
            parts = size_um.replace("x", ",").split(",")
            try:
                numbers = [float(part) for part in parts]
            except ValueError:
                numbers = []
            if len(numbers) not in (1, 2) or not all(0.0 < n < 1e6 for n in numbers):
                limit = "the width and the height of the image in µm"
                raise BadInput(Problem("--size-um", repr(size_um), limit, "write --size-um 20 or --size-um 20,15"))
            size = (1e-6 * numbers[0], 1e-6 * numbers[-1])
        if unit is not None:
            name = unit_name(unit) or unit
            try:
                si_unit(name)
            except OutsideDomain as error:
                p = error.problems[0]
                raise BadInput(Problem("--unit", repr(unit), p.limit, "write --unit nm")) from None
            unit = name
        return cls(size, unit)


def scaled(file: ImageFile, scale: ImageScale) -> ImageFile:
    """A file with what the user states; refused where it contradicts what the file states itself."""
    images = []
    for image in file.images:
        x, y, unit, values = image.x_size, image.y_size, image.unit, image.values
        if scale.unit is not None:
            if unit and unit != si_unit(scale.unit):
                remedy = "leave --unit out"
                raise BadInput(Problem("--unit", scale.unit, f"the file states {unit} for {image.name}", remedy))
            if not unit:
                unit, values = si_unit(scale.unit), factor(scale.unit) * values
        if scale.size is not None:
            stated = [s for s in (x, y) if s is not None]
            if stated and any(
                abs(s / g - 1.0) > 0.01 for s, g in zip((x, y), scale.size, strict=True) if s is not None
            ):
                limit = f"the file states {' x '.join(f'{1e6 * s:.4g}' for s in stated)} µm"
                raise BadInput(Problem("--size-um", f"{1e6 * scale.size[0]:g}", limit, "leave --size-um out"))
            x, y = scale.size
        images.append(ImageChannel(image.name, values, unit, x, y))
    return ImageFile(file.format, tuple(images), file.settings, file.notes)


def read_numpy(data: bytes, path: Path) -> ImageFile:
    """The images of an `.npy` or `.npz`; of three dimensions, one image for each of the first."""
    arrays: Mapping[str, object]
    try:
        content = np.load(io.BytesIO(data), allow_pickle=False)
        arrays = {"": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        pickled = "pickle" in str(error).lower()
        value = "a NumPy file of Python objects" if pickled else "a damaged NumPy file"
        limit = "only arrays of numbers are read" if pickled else "its data do not fit its header"
        raise bad(path, "content", value, limit, "save the heights with numpy.save(path, heights)") from None
    images = [image for name, array in arrays.items() for image in _of_array(name, array)]
    if not images:
        shapes = ", ".join(f"{name or 'array'} {getattr(array, 'shape', '')}" for name, array in arrays.items())
        limit = "a matrix of numbers of at least 2 x 2 is needed"
        raise bad(path, "arrays", shapes[:120], limit, "save the heights as one matrix")
    return ImageFile("NumPy", tuple(images), {}, ("rows from the top; no unit and no size in the file",))


def _of_array(name: str, array: object) -> list[ImageChannel]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or not 4 <= array.size <= _MOST_PIXELS:
        return []
    values = array.astype(np.float64)
    if values.ndim == 2 and min(values.shape) >= 2:
        return [ImageChannel(name or "matrix", values, "", None, None)]
    if values.ndim == 3 and min(values.shape[1:]) >= 2:
        return [ImageChannel(f"{name or 'matrix'} {k + 1}", one, "", None, None) for k, one in enumerate(values)]
    return []


def read_matrix(text: Text, path: Path) -> ImageFile:
    """A matrix of numbers in a text, or a list of points x y z on a grid where it has three columns that are one."""
    table = find_table(text, path)
    words = [k for k, kind in enumerate(table.kinds) if kind != NUMBER]
    if words:
        limit = f"{table.named(words[0])} is {table.kinds[words[0]]}"
        raise bad(
            path, "content", "not a matrix", limit, "name its columns: --columns x=um,y=um,z=nm for a list of points"
        )
    columns = read_columns(table, range(table.width)).values
    values = np.column_stack([columns[k] for k in range(table.width)])
    decimal = "comma" if table.decimal == "," else "point"
    note = f"rows from the top; decimal {decimal}, {text.encoding}"
    if table.width == 3:
        grid = on_grid(values[:, 0], values[:, 1], values[:, 2])
        if grid is not None:
            heights, _, _ = grid
            points = "a list of points x y z on a grid; x and y only order it, for their unit is not stated"
            return ImageFile("text matrix", (ImageChannel("matrix", heights, "", None, None),), {}, (points, note))
    if values.shape[0] < 2:
        raise bad(path, "rows", str(values.shape[0]), "an image has at least two", "export the whole matrix")
    return ImageFile("text matrix", (ImageChannel("matrix", values, "", None, None),), {}, (note,))


def points_image(x: F64, y: F64, z: F64, path: Path) -> ImageFile:
    """The image of points x, y, z [m]; `BadInput` where they do not stand on a grid."""
    grid = on_grid(x, y, z)
    if grid is None:
        limit = "x and y must be those of a rectangular grid, each point once"
        raise bad(path, "points", f"{x.size} off a grid", limit, "interpolate them to a grid, in Gwyddion for example")
    heights, width, height = grid
    missing = int(np.count_nonzero(~np.isfinite(heights)))
    notes = [f"{x.size} points x y z on a grid"]
    notes += [f"{missing} places of the grid have no point"] if missing else []
    return ImageFile("points x y z", (ImageChannel("z", heights, "m", width, height),), {}, tuple(notes))


def on_grid(x: F64, y: F64, z: F64) -> tuple[F64, float, float] | None:
    """Heights [row from the top, column] of points on a grid and its sizes; None where they are not on one.

    A position belongs to a column of the grid where it is within a twentieth of a step of it. A tenth of the places may
    have no point (NaN); sizes are those of the pixels' edges.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    places = [_places(axis[finite]) for axis in (x, y)]
    if places[0] is None or places[1] is None:
        return None
    (column, n, dx), (row, m, dy) = places[0], places[1]
    if n * m > _MOST_PIXELS or not 0.9 * n * m <= finite.sum() <= n * m:
        return None
    heights = np.full((m, n), np.nan)
    heights[m - 1 - row, column] = z[finite]
    if np.unique(row * n + column).size != finite.sum():
        return None
    return heights, n * dx, m * dy


def _places(axis: F64) -> tuple[NDArray[np.intp], int, float] | None:
    """The column of the grid of each position, the number of columns and their distance."""
    if axis.size < 4:
        return None
    ordered = np.sort(axis)
    gaps = np.diff(ordered)
    span = float(ordered[-1] - ordered[0])
    steps = gaps[gaps > 0.01 * span / max(axis.size, 1)]
    if span <= 0.0 or not steps.size:
        return None
    # Jumps between columns are the large gaps; scatter within one is far smaller.
    step = float(np.median(steps[steps > 0.3 * steps.max()]))
    n = round(span / step) + 1
    if n < 2:
        return None
    step = span / (n - 1)
    place = (axis - ordered[0]) / step
    nearest = np.round(place)
    if np.max(np.abs(place - nearest)) > _ON_GRID:
        return None
    return nearest.astype(np.intp), n, step
