"""Images from hop records: one frame for every pass of a raster, with the height at each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

F64 = NDArray[np.float64]
_SAME: Final = 1e-3  # of a pixel's pitch: two lines as close are one line hopped again
_TURNED: Final = 1e-3  # [rad] of the rows: less is the scatter of a scanner that reports its positions


@dataclass(frozen=True, slots=True)
class Frame:
    """One pass of a raster: `heights` [row, column] [m], NaN where no hop ended in contact.

    `x` [column], `y` [row] [m] in the specimen's coordinates, as the experiment file has them; where the rows are
    turned by `rotation` [rad] from the x axis, along and across the rows about the centre of the image. `time` [s] its
    middle, `potential` [V] and `cell_current` [A] medians over it, `bad` hops without contact of all `hops`. `rows`
    [row, column] is the index of a pixel's hop in what the frame was made from, -1 without contact: with it any other
    column of the hops becomes an image.
    """

    heights: F64
    x: F64
    y: F64
    time: float
    potential: float
    cell_current: float
    bad: int
    hops: int
    rows: NDArray[np.int64]
    rotation: float = 0.0

    def array(self, heights: F64 | None = None) -> xr.DataArray:
        """The heights, or others of the same pixels, with their coordinates."""
        coords = {"x": ("x", self.x), "y": ("y", self.y)}
        attrs = {"units": "m", "quantity": "height"}
        if self.rotation:
            attrs["lateral_note"] = _turned(self.rotation)
        return xr.DataArray(self.heights if heights is None else heights, dims=("y", "x"), coords=coords, attrs=attrs)


def is_raster(hops: xr.Dataset) -> bool:
    """Whether the hops of one step form an image: several pixels to a line, and lines at different positions."""
    pixel = hops["pixel"].values
    return np.unique(pixel).size > 1 and _rows(hops)[0] > 1


def frames(hops: xr.Dataset, coarse: F64 | None = None, pass_rows: int = 0) -> list[Frame]:
    """The frames of one raster step, in order of time; `line` counts rows over the passes, `pixel` is the column.

    `coarse` [hop] [m] is added to the heights (None: nothing): frames of several steps may stand on different coarse
    heights. `pass_rows` is how many lines a whole pass has where these hops alone may not show it: a pass that the end
    of a cell step cut off. A pixel hopped twice keeps the last; a pass of which fewer than half the pixels were reached
    is left out. Empty where the hops are no raster.
    """
    if not is_raster(hops):
        return []
    rows, columns = _rows(hops)
    rows = max(rows, pass_rows)
    line, pixel = hops["line"].values.astype(int), hops["pixel"].values.astype(int)
    number = line // rows
    frame_list = []
    for k in np.unique(number):
        of = number == k
        frame = _frame(
            hops.isel(hop=np.flatnonzero(of)),
            np.flatnonzero(of),
            line[of] % rows,
            pixel[of],
            (rows, columns),
            None if coarse is None else coarse[of],
        )
        if frame is not None:
            frame_list.append(frame)
    return frame_list


def rows_of_passes(hops: xr.Dataset) -> dict[str, int]:
    """Lines of a whole pass of each raster step of a run, as the longest of its segments shows them.

    A step that repeats has a segment for each time, and the end of a cell step cuts one off in the middle.
    """
    steps, segments = hops["step"].values, hops["segment"].values
    rows: dict[str, int] = {}
    for segment in np.unique(segments):
        chosen = np.flatnonzero(segments == segment)
        group, step = hops.isel(hop=chosen), str(steps[chosen[0]])
        if is_raster(group):
            rows[step] = max(rows.get(step, 0), rows_of_pass(group))
    return rows


def rows_of_pass(hops: xr.Dataset) -> int:
    """How many lines one pass of a raster has: `line` counts on from pass to pass."""
    return _rows(hops)[0]


def image_so_far(
    hops: xr.Dataset, coarse: F64 | None, x: F64, y: F64, rotation: float = 0.0, back: int = 0
) -> xr.DataArray | None:
    """The heights [m] (y, x) of the pass that a raster is in, as far as it has come; NaN where no hop made contact yet.

    `back` is how many passes before that one. `hops` of one step in order of time, `coarse` [hop] [m] as for `frames`;
    `x` [column], `y` [row] [m] are the coordinates that the program gives its pixels. None where no hop of the pass
    made contact. Once the pass is whole the heights are those of its frame. The coordinate `hop` (y, x) is the index of
    each pixel's hop in `hops`, -1 without contact.
    """
    line, pixel = hops["line"].values.astype(int), hops["pixel"].values.astype(int)
    if not line.size:
        return None
    number = line // y.size
    of = (number == number[-1] - back) & (hops["outcome"].values == 0) & (pixel >= 0) & (pixel < x.size)
    if not of.any():
        return None
    heights = np.full((y.size, x.size), np.nan)
    z = hops["z_stop"].values + (0.0 if coarse is None else coarse)
    heights[line[of] % y.size, pixel[of]] = z[of]
    index = np.full(heights.shape, -1, np.int64)
    index[line[of] % y.size, pixel[of]] = np.flatnonzero(of)
    coords = {"x": ("x", x), "y": ("y", y), "hop": (("y", "x"), index)}
    image = xr.DataArray(heights, dims=("y", "x"), coords=coords, attrs={"units": "m"})
    if rotation:
        image.attrs["lateral_note"] = _turned(rotation)
    return image


def _turned(rotation: float) -> str:
    return f"rows turned by {np.degrees(rotation):.3g}° about the image's centre"


def areas(frames: Sequence[Frame]) -> list[list[int]]:
    """Which frames show the same pixels, as indices in order of time; the area that was imaged first comes first."""
    found: dict[tuple[float, ...], list[int]] = {}
    for k, frame in enumerate(frames):
        corners = np.array([frame.x[0], frame.x[-1], frame.y[0], frame.y[-1], frame.rotation])
        found.setdefault((*frame.heights.shape, *np.round(corners, 9).tolist()), []).append(k)
    return list(found.values())


def _rows(hops: xr.Dataset) -> tuple[int, int]:
    """Rows per pass, and columns: a pass ends where a line lies on the first line again."""
    line, pixel = hops["line"].values.astype(int), hops["pixel"].values.astype(int)
    x, y = hops["x"].values, hops["y"].values
    columns = int(pixel.max()) + 1
    # Lines are compared at the column that most of them have: means over lines would need whole lines.
    column = int(np.argmax(np.bincount(pixel)))
    at = np.flatnonzero(pixel == column)
    positions = {int(line[k]): (x[k], y[k]) for k in at}
    lines = sorted(positions)
    first = positions[lines[0]]
    first_line = np.flatnonzero(line == lines[0])
    pitch = float(np.hypot(np.ptp(x[first_line]), np.ptp(y[first_line]))) / max(columns - 1, 1)
    for k in lines[1:]:
        if np.hypot(positions[k][0] - first[0], positions[k][1] - first[1]) <= _SAME * pitch:
            return k - lines[0], columns
    return int(line.max()) + 1, columns


def _frame(
    hops: xr.Dataset,
    index: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    shape: tuple[int, int],
    coarse: F64 | None,
) -> Frame | None:
    contact = hops["outcome"].values == 0
    if contact.sum() < 0.5 * shape[0] * shape[1]:
        return None
    heights = np.full(shape, np.nan)
    z = hops["z_stop"].values + (0.0 if coarse is None else coarse)
    heights[row[contact], column[contact]] = z[contact]
    rows = np.full(shape, -1, np.int64)
    rows[row[contact], column[contact]] = index[contact]
    x, y, rotation = _axes(row, column, hops, shape)
    return Frame(
        heights,
        x,
        y,
        float(np.median(hops["t_ns"])) * 1e-9,
        float(np.nanmedian(hops["cell_potential"])),
        float(np.nanmedian(hops["cell_current"])),
        int((~contact).sum()),
        int(contact.size),
        rows,
        rotation,
    )


def _axes(
    row: NDArray[np.int64], column: NDArray[np.int64], hops: xr.Dataset, shape: tuple[int, int]
) -> tuple[F64, F64, float]:
    """Coordinates of the columns and rows [m] and the rotation of the rows [rad], by regression of the positions."""
    number = [n - 0.5 * (count - 1) for n, count in ((column, shape[1]), (row, shape[0]))]  # about the centre
    basis = np.column_stack((np.ones(row.size), *number))
    solution, *_ = np.linalg.lstsq(basis, np.column_stack((hops["x"].values, hops["y"].values)), rcond=None)
    centre, along, across = solution
    angle = float(np.arctan2(along[1], along[0]))
    turned = abs(angle) > _TURNED and bool(along.any())
    axes = [
        middle + step * (np.arange(count) - 0.5 * (count - 1))
        for middle, step, count in zip(centre, np.hypot(*solution[1:].T), shape[::-1], strict=True)
    ]
    # Rows may be hopped from the top of the image downwards.
    if float(across @ (-np.sin(angle), np.cos(angle))) < 0.0:
        axes[1] = axes[1][::-1]
    return axes[0], axes[1], angle if turned else 0.0
