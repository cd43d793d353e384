"""Neware's binary `.nda` of BTS 7 (86-byte records), read from published files and their exported tables.

The layout is not published by its maker. What is used: little endian; a record begins with 0x55, holds its number at
byte 2, its step at 10, status at 12, ms in the step at 14, voltage [0.1 mV] at 22, current [counts] at 26, date at 70
and the range code at 78. The scale of a current count goes by the range code, as in Solid-Energy-Systems/NewareNDA
(BSD-3; no code used): compared with that project's reference table in the tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.text import bad

MAGIC: Final = b"NEWARE"
_RECORD: Final = np.dtype(
    {
        "names": ["mark", "number", "step", "status", "ms", "voltage", "current", "year", "date", "range"],
        "formats": ["<u2", "<u4", "<u2", "u1", "<u8", "<i4", "<i4", "<u2", "(5,)u1", "<i4"],
        "offsets": [0, 2, 10, 12, 14, 22, 26, 70, 72, 78],
        "itemsize": 86,
    }
)
_FIRST: Final = b"\x55\x00\x01\x00\x00\x00"
_MARK: Final = 0x55
_STATES: Final = frozenset(range(1, 21))


def read_nda(data: bytes, path: Path) -> CellFile:
    """t, E, I of every record; `BadInput` for another version of the format or a range whose scale is not known."""
    at = data.find(_FIRST)
    rows = np.frombuffer(data[at : at + (len(data) - at) // 86 * 86], _RECORD) if at >= 0 else np.empty(0, _RECORD)
    # The last block is padded, and pages may end in rows of another kind.
    rows = rows[(rows["mark"] == _MARK) & (rows["number"] > 0) & np.isin(rows["status"], list(_STATES))]
    if rows.size < 2:
        limit = "only files of BTS 7 (86-byte records) are read"
        raise bad(path, "content", "a Neware file of another version", limit, "export it from BTSDA as .xlsx or .csv")
    rows = rows[np.argsort(rows["number"], kind="stable")]
    scale = np.array([_ampere_per_count(int(code)) for code in rows["range"]])
    if np.isnan(scale).any():
        unknown = sorted({int(code) for code in rows["range"][np.isnan(scale)]})
        limit = "the scale of its current counts is not known"
        raise bad(path, "current range", str(unknown), limit, "export it from BTSDA as .xlsx or .csv")
    begins = np.flatnonzero(np.diff(rows["step"], prepend=-1) != 0)
    record = CellRecord("", _time(rows, begins), 1e-4 * rows["voltage"].astype(float), scale * rows["current"])
    y, d = int(rows["year"][0]), rows["date"][0]
    settings = {"begun": f"{y:04d}-{d[0]:02d}-{d[1]:02d} {d[2]:02d}:{d[3]:02d}:{d[4]:02d}", "steps": str(begins.size)}
    ranges = ", ".join(str(code) for code in np.unique(rows["range"]))
    return CellFile(".nda", (record,), settings, (f"current scale taken from the range code ({ranges})",))


def _time(rows: NDArray[np.void], begins: NDArray[np.intp]) -> NDArray[np.float64]:
    """Seconds since the first record: the clock restarts with each step, which begins at the end of the last."""
    t = 1e-3 * rows["ms"].astype(np.float64)
    length = np.array([t[b - 1] for b in begins[1:]])
    return np.asarray(t + np.repeat(np.append(0.0, np.cumsum(length)), np.diff(np.append(begins, t.size))))


def _ampere_per_count(code: int) -> float:
    """[A] of one count: the range code is the range in mA; negative codes belong to instruments of finer resolution."""
    size = abs(code)
    if code == 0 or size > 200_000:
        return float("nan")
    steps = ((1000, 1e-4), (100, 1e-5), (10, 1e-6), (1, 1e-7))
    usual = next(ampere for least, ampere in steps if size >= least)
    return usual if code > 0 else 0.1 * usual
