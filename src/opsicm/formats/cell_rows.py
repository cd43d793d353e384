"""Rows of a cell's record from a text that is still being written: its head, and the lines that have come since."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.cell_record import CellFile
from opsicm.formats.columns import ColumnTable
from opsicm.formats.identify import parse_text
from opsicm.formats.text import bad, decode

F64 = NDArray[np.float64]


def cell_rows(data: bytes, path: Path, columns: str | None = None) -> tuple[F64, F64, F64]:
    """(t [s], E [V], I [A], anodic positive) of all rows in a text of any known layout; `columns` as elsewhere.

    `data` begins with the file's own head, which says what the columns are, and ends with a whole line. Raises
    `BadInput` where there are no rows yet, or a row is damaged.
    """
    content = parse_text(decode(data, path), path, columns)
    if isinstance(content, CellFile):
        t, potential, current = (
            np.concatenate([getattr(record, name) for record in content.records])
            for name in ("t", "potential", "current")
        )
        return t, potential, current
    if isinstance(content, ColumnTable) and {"t", "E", "I"} <= set(content.data):
        return content.data["t"], content.data["E"], content.data["I"]
    limit = "columns of time, potential and current are needed"
    raise bad(path, "content", "no record of a cell", limit, "export these three, or name them with the key columns")
