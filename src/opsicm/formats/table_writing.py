"""Tables for other programs: csv with a row of units, the Battery Data Format, Parquet, and NetCDF.

Numbers are in SI, written with every digit they have; where a value is missing the cell is empty (csv) or null.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem

if TYPE_CHECKING:
    import xarray as xr

_BLOCK: Final = 100_000  # rows turned into text together
# Of the columns that `bdf_text` takes: the title that the format asks for, and the factor from SI to its unit.
# https://battery-data-alliance.github.io/battery-data-format: time, voltage and current are required.
_BDF: Final = {
    "t": ("Test Time / s", 1.0),
    "potential": ("Voltage / V", 1.0),
    "current": ("Current / A", 1.0),
    "charge": ("Net Capacity / Ah", 1.0 / 3600.0),
}
_BDF_REQUIRED: Final = ("t", "potential", "current")
_UNIX: Final = "Unix Time / s"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: numbers in the SI `unit` ("1" without one, "" of texts), (n,)."""

    name: str
    unit: str
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class DataTable:
    """Columns of equal length, and what is to be known about them (title, source, signs), as texts."""

    name: str
    columns: tuple[Column, ...]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.columns[0].values.size) if self.columns else 0


def must_have(library: str, what: str, otherwise: str) -> None:
    """Raise `BadInput` where an optional `library` is not installed; `otherwise` is the format that needs none."""
    if find_spec(library) is None:
        limit = f"writing it needs {library}, which is not installed"
        raise BadInput(Problem(what, "", limit, f"pip install {library}, or {otherwise}"))


def csv_text(table: DataTable) -> Iterator[str]:
    """`table` as csv in pieces: a row of names, a row of units, then the numbers, with decimal points."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerow([column.unit for column in table.columns])
    yield out.getvalue()
    yield from _rows([column.values for column in table.columns])


def _rows(columns: Sequence[NDArray[Any]]) -> Iterator[str]:
    for first in range(0, columns[0].size if columns else 0, _BLOCK):
        out = io.StringIO(newline="")
        cells = [_cells(values[first : first + _BLOCK]) for values in columns]
        csv.writer(out, lineterminator="\n").writerows(zip(*cells, strict=True))
        yield out.getvalue()


def _cells(values: NDArray[Any]) -> list[str]:
    """Texts of a column; `repr` of a float is the shortest text that reads back as the same number."""
    if values.dtype.kind != "f":
        return ["" if value is None else str(value) for value in values.tolist()]
    return [repr(value) if value == value else "" for value in values.tolist()]  # noqa: PLR0124 - NaN differs from itself


def bdf_text(table: DataTable, started_utc: str | None = None) -> Iterator[str]:
    """`table` in the Battery Data Format: its columns t, potential and current, charge where there is one.

    `started_utc` is the ISO 8601 instant of t = 0, for the Unix time. The format counts a current as positive where it
    raises the voltage ("charging"): the sign of a delithiating current of a half cell against lithium, as here.

    Raises `BadInput` where one of the three is missing.
    """
    by_name = {column.name: column for column in table.columns}
    missing = [name for name in _BDF_REQUIRED if name not in by_name]
    if missing:
        there = ", ".join(by_name) or "nothing"
        limit = f"the Battery Data Format needs time, potential and current of a cell; {', '.join(missing)} is missing"
        raise BadInput(Problem("the table", there, limit, "convert a record of a cell, or name OUT with .csv"))
    chosen = [(title, scale * by_name[name].values) for name, (title, scale) in _BDF.items() if name in by_name]
    zero = _unix(started_utc)
    if zero is not None:
        chosen.insert(1, (_UNIX, zero + by_name["t"].values))
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow([title for title, _ in chosen])
    yield out.getvalue()
    yield from _rows([values for _, values in chosen])


def _unix(started_utc: str | None) -> float | None:
    if started_utc is None:
        return None
    try:
        moment = datetime.fromisoformat(started_utc)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def parquet_bytes(table: DataTable) -> bytes:
    """`table` as Parquet: the unit of a column is in its metadata (`unit`), the notes are in the file's (`opsicm`).

    Raises `BadInput` without pyarrow.
    """
    must_have("pyarrow", "Parquet", "name OUT with .csv")
    import pyarrow as pa  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415
    from pyarrow import parquet  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415

    arrays = [
        pa.array(c.values, from_pandas=True) if c.values.dtype.kind != "O" else pa.array(c.values.tolist())
        for c in table.columns
    ]
    fields = [pa.field(c.name, a.type, metadata={"unit": c.unit}) for c, a in zip(table.columns, arrays, strict=True)]
    schema = pa.schema(fields, metadata={"opsicm": json.dumps(dict(table.notes), ensure_ascii=False)})
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), out)
    return out.getvalue()


def write_netcdf(path: Path, groups: Mapping[str, xr.Dataset], notes: Mapping[str, str]) -> None:
    """`groups` of labelled arrays as NetCDF-4, each a group, units in attributes; `notes` are those of the file.

    Raises `BadInput` without h5netcdf.
    """
    must_have("h5netcdf", "NetCDF", "name OUT with .csv")
    import xarray  # noqa: PLC0415

    xarray.Dataset(attrs=dict(notes)).to_netcdf(path, mode="w", engine="h5netcdf")
    for name, dataset in groups.items():
        dataset.to_netcdf(path, mode="a", group=name, engine="h5netcdf")


def table_of_dataset(name: str, dataset: xr.Dataset, notes: Mapping[str, str]) -> DataTable:
    """The one-dimensional variables of a labelled array as a table; a column `t_ns` becomes `t` in seconds."""
    columns: list[Column] = []
    for key, variable in dataset.variables.items():
        values = variable.values
        if key == "t_ns":
            columns.insert(0, Column("t", "s", values / 1e9))
        else:
            text = values.dtype.kind in "OSU"
            columns.append(Column(str(key), "" if text else str(variable.attrs.get("units", "1")), values))
    return DataTable(name, tuple(columns), notes)


def dataset_of_table(table: DataTable) -> xr.Dataset:
    """A table as a labelled array along `row`."""
    import xarray  # noqa: PLC0415

    return xarray.Dataset(
        {
            c.name: ("row", c.values.astype(str) if c.values.dtype.kind == "O" else c.values, {"units": c.unit})
            for c in table.columns
        }
    )
