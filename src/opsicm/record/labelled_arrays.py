"""Labelled arrays of a run: the same shapes whether they come from a run file or from a run in progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from opsicm.core.facts import HOP_DTYPE, Channel
from opsicm.record.nexus_file import CELL, HOP_UNITS, SLOW, SLOW_TEXTS, SOC_DEFINITION
from opsicm.record.passes import has_pattern, passes

HOP_COLUMNS: Final = (*(HOP_DTYPE.names or ()), "step")
CELL_COLUMNS: Final = (*CELL, "control")
SLOW_COLUMNS: Final = (*SLOW, *SLOW_TEXTS)
POSITION_COLUMNS: Final = ("x", "y", "line", "pixel")


def table(columns: Mapping[str, NDArray[Any]], units: Mapping[str, str], dimension: str) -> xr.Dataset:
    """Columns of equal length along `dimension`; a column that is also the dimension is called `number`."""
    variables: dict[str, Any] = {}
    for name, values in columns.items():
        attributes = {"units": units.get(name, "1")} if values.dtype.kind != "O" else {}
        if name == "soc":
            attributes["definition"] = SOC_DEFINITION
        # A column that is also the dimension would become an index; hop numbers are data.
        variables["number" if name == dimension else name] = (dimension, values, attributes)
    return xr.Dataset(variables)


def hops(columns: Mapping[str, NDArray[Any]]) -> xr.Dataset:
    """One row per hop, dimension `hop`."""
    return table(columns, HOP_UNITS, "hop")


def samples(
    rows: NDArray[np.int16], first: int, channels: Sequence[Channel], t0_ns: int, dt_ns: int, lost: NDArray[np.int64]
) -> xr.Dataset:
    """Counts in SI units, one variable per channel, coordinate `t_ns`; NaN where samples are lost."""
    n = rows.shape[0]
    t_ns = t0_ns + np.arange(first, first + n, dtype=np.int64) * dt_ns
    variables: dict[str, Any] = {}
    for k, channel in enumerate(channels):
        values = rows[:, k] * channel.scale + channel.offset
        for begin, end in lost:
            values[max(0, begin - first) : max(0, end - first)] = np.nan
        variables[channel.name] = ("sample", values, {"units": channel.unit})
    return xr.Dataset(variables, coords={"t_ns": ("sample", t_ns)})


class _LazyChannel(BackendArray):  # xarray's documented interface for an array that is not in memory
    def __init__(self, read: Callable[[int, int], NDArray[np.float64]], length: int) -> None:
        self._read = read
        self.shape = (length,)
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._get)

    def _get(self, key: tuple[Any, ...]) -> Any:
        (index,) = key
        if isinstance(index, slice):
            first, stop, step = index.indices(self.shape[0])
            return self._read(first, stop)[:: step or 1] if step > 0 else self._read(stop + 1, first + 1)[::step]
        return self._read(int(index), int(index) + 1)[0]


class _DeferredArray(BackendArray):
    """An array that is computed when the first part of it is asked for."""

    def __init__(self, make: Callable[[], NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._make = cache(make)
        self.shape = shape
        self.dtype = dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, lambda index: self._make()[index]
        )


def lazy(
    names: Sequence[tuple[str, str]], length: int, read: Callable[[str, int, int], NDArray[np.float64]]
) -> xr.Dataset:
    """A Dataset of (name, unit) along `sample` that reads a slice when it is taken."""

    def variable(name: str, unit: str) -> xr.Variable:
        def get(first: int, stop: int) -> NDArray[np.float64]:
            return read(name, first, stop)

        array = indexing.LazilyIndexedArray(_LazyChannel(get, length))
        return xr.Variable(("sample",), array, {"units": unit})

    return xr.Dataset({name: variable(name, unit) for name, unit in names})


def image(rows: xr.Dataset, field: str) -> xr.DataArray:
    """A field of the hops of a raster as an image [line, pixel], with x and y [m]; NaN where no hop made contact.

    Of several hops at one pixel the last counts.
    """
    rows = rows.isel(hop=np.flatnonzero((rows["line"].values >= 0) & (rows["pixel"].values >= 0)))
    contact = rows["outcome"].values == 0
    line = _rows({name: rows[name].values for name in POSITION_COLUMNS})[contact]
    pixel = rows["pixel"].values[contact]
    shape = (int(line.max(initial=-1)) + 1, int(pixel.max(initial=-1)) + 1)

    def spread(name: str) -> NDArray[np.float64]:
        out = np.full(shape, np.nan)
        out[line, pixel] = rows[name].values[contact]
        return out

    coordinates = {name: (("line", "pixel"), spread(name), {"units": "m"}) for name in ("x", "y")}
    return xr.DataArray(spread(field), dims=("line", "pixel"), coords=coordinates, attrs=dict(rows[field].attrs))


def images(columns: Mapping[str, NDArray[Any]], read: Callable[[str], NDArray[Any]]) -> xr.Dataset:
    """Hops of a repeated raster as [pass, y, x] (y the row, x the pixel).

    `columns` are POSITION_COLUMNS and `outcome`; `read` returns another column of the same hops when a field needs it.
    Fields `z_stop`, `i_ref`, `i_stop` and `t_ns` (ns, -1 without a hop); NaN where a pass made no contact. The pass of
    a hop is the number of the step's earlier hops at its pixel. Hops without a line are left out.
    """
    on_raster = (columns["line"] >= 0) & (columns["pixel"] >= 0)
    row = _rows({name: columns[name][on_raster] for name in POSITION_COLUMNS})
    pixel = columns["pixel"][on_raster].astype(np.int64)
    height, width = int(row.max(initial=-1)) + 1, int(pixel.max(initial=-1)) + 1
    at = row * max(1, width) + pixel
    order = np.argsort(at, kind="stable")
    turn = np.empty(at.size, np.int64)
    turn[order] = np.arange(at.size) - np.searchsorted(at[order], at[order], "left")
    shape = (int(turn.max(initial=-1)) + 1, height, width)
    contact = columns["outcome"][on_raster] == 0

    def spread(name: str) -> NDArray[Any]:
        valid = contact if name != "t_ns" else np.ones(contact.size, bool)
        out = np.full(shape, np.nan) if name != "t_ns" else np.full(shape, -1, np.int64)
        out[turn[valid], row[valid], pixel[valid]] = read(name)[on_raster][valid]
        return out

    def variable(name: str) -> xr.Variable:
        dtype = np.dtype(np.int64 if name == "t_ns" else np.float64)
        array = indexing.LazilyIndexedArray(_DeferredArray(lambda: spread(name), shape, dtype))
        return xr.Variable(("pass", "y", "x"), array, {"units": HOP_UNITS[name]})

    return xr.Dataset({name: variable(name) for name in ("z_stop", "i_ref", "i_stop", "t_ns")})


def _rows(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """The row of each hop in its pass."""
    x, y, line, pixel = (columns[name] for name in POSITION_COLUMNS)
    return passes(x, y, line, pixel).row if has_pattern(x, y, pixel) else line.astype(np.int64)


def section(traces: Sequence[xr.Dataset], x: NDArray[np.float64], z: NDArray[np.float64]) -> xr.DataArray:
    """Pipette current over x and z from the approaches of a line's hops: the mean of the samples in each z cell.

    `z` [m] are the cells' centres, equally spaced; NaN where an approach did not reach.
    """
    step = z[1] - z[0]
    edges = np.append(z - step / 2, z[-1] + step / 2)
    out = np.full((z.size, len(traces)), np.nan)
    for k, trace in enumerate(traces):
        height, current = trace["z"].values, trace["pipette_current"].values
        count, _ = np.histogram(height, edges)
        total, _ = np.histogram(height, edges, weights=current)
        np.divide(total, count, out=out[:, k], where=count > 0)
    coordinates = {"z": ("z", z, {"units": "m"}), "x": ("x", x, {"units": "m"})}
    return xr.DataArray(out, dims=("z", "x"), coords=coordinates, attrs={"units": "A"})
