"""Feather (Arrow IPC) and Parquet tables of cyclers, read with pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.column_titles import STEP_TIME, Meaning, meaning
from opsicm.formats.optional import needed
from opsicm.formats.text import bad
from opsicm.formats.text_table import continued

FEATHER: Final = b"ARROW1"
PARQUET: Final = b"PAR1"
# NewareNDA's tables name time and voltage without their units, which its documentation gives as s and V; its time
# restarts with each step.
_NEWARE_NDA: Final = {"Time": "Step Time (s)", "Voltage": "Voltage (V)"}


def read_feather(data: bytes, path: Path) -> CellFile:
    """t, E and I of a Feather or Parquet table; `BadInput` without pyarrow, for a damaged file, or where one is missing."""
    name = "Feather" if data.startswith(FEATHER) else "Parquet"
    pyarrow = needed("pyarrow", path, f"a {name} table")
    from pyarrow import feather, parquet  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415

    read = feather.read_table if name == "Feather" else parquet.read_table
    try:
        table = read(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError, ValueError):
        raise bad(path, "content", f"a damaged {name} table", "its parts must be whole", "save it again") from None
    titles = [str(title) for title in table.column_names]
    neware = {"Time", "Voltage", "Status", "Step"} <= set(titles)
    known = [meaning(_NEWARE_NDA.get(title, title) if neware else title) for title in titles]
    best = {letter: _best(known, letter) for letter in "tEI"}
    if any(k is None for k in best.values()):
        limit = "time, voltage and current with their units are needed"
        raise bad(path, "columns", ", ".join(titles)[:120], limit, "name them as Time(s), Voltage(V), Current(mA)")
    t, potential, current = (_values(table, known, k, path) for k in best.values() if k is not None)
    notes = []
    if known[best["t"] or 0].rank == STEP_TIME and np.any(np.diff(t) < 0.0):
        t = continued(t)
        notes.append("the clock restarts with each step: continued over the steps")
    skipped = [title for k, title in enumerate(titles) if k not in best.values()]
    settings = {"columns": ", ".join(titles), "not read": ", ".join(skipped)}
    return CellFile(name, (CellRecord("", t, potential, current),), settings, tuple(notes))


def _best(known: list[Meaning], letter: str) -> int | None:
    fitting = [k for k, one in enumerate(known) if one.letter == letter and one.factor is not None]
    return min(fitting, key=lambda k: known[k].rank, default=None)


def _values(table: object, known: list[Meaning], k: int, path: Path) -> NDArray[np.float64]:
    column = table.column(k)  # type: ignore[attr-defined]
    try:
        values = np.asarray(column.to_numpy(), dtype=np.float64)
    except (TypeError, ValueError):
        limit = "it holds no numbers"
        raise bad(path, "column", repr(known[k].title), limit, "export it as numbers") from None
    return np.asarray((known[k].factor or 1.0) * values)
