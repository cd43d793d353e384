"""Feather (Arrow IPC) tables of cyclers, read with pyarrow where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.cell_record import CellFile, CellRecord, cell_columns
from opsicm.formats.text import bad

MAGIC: Final = b"ARROW1"
NEEDED: Final = "reading it needs pyarrow, which is not installed"
REMEDY: Final = "pip install opsicm[formats], or export it as .csv"


def readable() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


def read_feather(data: bytes, path: Path) -> CellFile:
    """t, E and I of a Feather table; `BadInput` without pyarrow, for a damaged file, or where one is missing."""
    if not readable():
        raise bad(path, "content", "a Feather table", NEEDED, REMEDY)
    import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415
    from pyarrow import feather  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415

    try:
        table = feather.read_table(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError, ValueError):
        raise bad(path, "content", "a damaged Feather table", "its parts must be whole", "save it again") from None
    titles = list(table.column_names)
    # NewareNDA's tables name time and voltage without their units, which its documentation gives as s and V.
    columns = cell_columns([{"Time": "Time(s)", "Voltage": "Voltage(V)"}.get(title, title) for title in titles])
    if columns is None:
        limit = "time, voltage and current with their units are needed"
        raise bad(path, "columns", ", ".join(titles)[:120], limit, "name them as Time(s), Voltage(V), Current(mA)")
    t, potential, current = (
        columns[k][1] * np.asarray(table.column(columns[k][0]).to_numpy(), dtype=np.float64) for k in "tEI"
    )
    return CellFile("Feather", (CellRecord("", _continuous(t), potential, current),), {"columns": ", ".join(titles)})


def _continuous(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Continuous time from a clock that restarts with each step."""
    back = np.flatnonzero(np.diff(t) < 0.0) + 1
    starts = np.zeros(t.size)
    starts[back] = t[back - 1]
    return np.asarray(t + np.cumsum(starts), dtype=np.float64)
