"""Images from hop records: one frame for every pass of a raster, with the height at each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

F64 = NDArray[np.float64]
_SAME: Final = 1e-3  # of a pixel's pitch: two lines as close are one line hopped again


@dataclass(frozen=True, slots=True)
class Frame:
    """One pass of a raster: `heights` [row, column] [m], NaN where no hop ended in contact.

    `x`, `y` [m] along its edges; `time` [s] its middle, `potential` [V] and `cell_current` [A] medians over it, `bad`
    hops without contact of all `hops`. `rows` [row, column] is the index of the pixel's hop in what the frame was made
    from, -1 without contact: with it any other column of the hops becomes an image.
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

    def array(self) -> xr.DataArray:
        """The heights with coordinates, for `image_results`."""
        coords = {"x": ("x", self.x), "y": ("y", self.y)}
        return xr.DataArray(self.heights, dims=("y", "x"), coords=coords, attrs={"units": "m", "quantity": "height"})


def is_raster(hops: xr.Dataset) -> bool:
    """Whether the hops of one step form an image: several pixels to a line, and lines at different positions."""
    pixel = hops["pixel"].values
    return np.unique(pixel).size > 1 and _rows(hops)[0] > 1


def frames(hops: xr.Dataset, coarse: F64 | None = None) -> list[Frame]:
    """The frames of one raster step, in order of time; `line` counts rows over the passes, `pixel` is the column.

    `coarse` [hop] [m] is added to the heights (None: nothing): frames of several steps may stand on different coarse
    heights. A pixel hopped twice keeps the last; a pass of which fewer than half the pixels were reached is left out.
    Empty where the hops are no raster.
    """
    if not is_raster(hops):
        return []
    rows, columns = _rows(hops)
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
    return Frame(
        heights,
        _along(column, hops, shape[1]),
        _along(row, hops, shape[0]),
        float(np.median(hops["t_ns"])) * 1e-9,
        float(np.nanmedian(hops["cell_potential"])),
        float(np.nanmedian(hops["cell_current"])),
        int((~contact).sum()),
        int(contact.size),
        rows,
    )


def _along(index: NDArray[np.int64], hops: xr.Dataset, count: int) -> F64:
    """Distance of each column (or row) from the first, from a regression of the positions on its number."""
    step = []
    middle = index.astype(np.float64) - float(np.mean(index))
    for name in ("x", "y"):
        position = hops[name].values - float(np.mean(hops[name].values))
        step.append(float(middle @ position) / max(float(middle @ middle), 1e-300))
    return np.asarray(np.arange(count) * float(np.hypot(step[0], step[1])), dtype=np.float64)
