"""Neware's binary files: `.nda` of BTS 7 (86-byte records) by a reader of its own, other `.nda` and `.ndax` by fastnda.

The own reader keeps currents exact, where fastnda rounds them to 32 bits.

The layout is not published by its maker. What is used: little endian; a record begins with 0x55, holds its number at
byte 2, its step at 10, status at 12, ms in the step at 14, voltage [0.1 mV] at 22, current [counts] at 26, date at 70
and the range code at 78. The scale of a current count goes by the range code, as in Solid-Energy-Systems/NewareNDA
(BSD-3; no code used): compared with that project's reference table in the tests.
"""

from __future__ import annotations

import logging
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.optional import needed
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
    """t, E, I of every record; another version, or a range whose scale is not known, is left to fastnda."""
    return _bts_7(data) or read_by_fastnda(data, path)


def _bts_7(data: bytes) -> CellFile | None:
    at = data.find(_FIRST)
    rows = np.frombuffer(data[at : at + (len(data) - at) // 86 * 86], _RECORD) if at >= 0 else np.empty(0, _RECORD)
    # The last block is padded, and pages may end in rows of another kind.
    rows = rows[(rows["mark"] == _MARK) & (rows["number"] > 0) & np.isin(rows["status"], list(_STATES))]
    if rows.size < 2 or data[14:15] != _BTS_7:
        return None
    rows = rows[np.argsort(rows["number"], kind="stable")]
    scale = np.array([_ampere_per_count(int(code)) for code in rows["range"]])
    if np.isnan(scale).any():
        return None
    begins = np.flatnonzero(np.diff(rows["step"], prepend=-1) != 0)
    back = np.flatnonzero(np.diff(rows["ms"].astype(np.int64)) < 0) + 1
    if not np.isin(back, begins).all():  # a simulation step restarts the clock within itself
        return None
    record = CellRecord("", _time(rows, begins), 1e-4 * rows["voltage"].astype(float), scale * rows["current"])
    y, d = int(rows["year"][0]), rows["date"][0]
    settings = {"begun": f"{y:04d}-{d[0]:02d}-{d[1]:02d} {d[2]:02d}:{d[3]:02d}:{d[4]:02d}", "steps": str(begins.size)}
    ranges = ", ".join(str(code) for code in np.unique(rows["range"]))
    return CellFile(".nda", (record,), settings, (f"current scale taken from the range code ({ranges})",))


def is_ndax(names: Sequence[str]) -> bool:
    """Whether the members of a zip archive are those of an `.ndax`."""
    return any(name.endswith(".ndc") for name in names)


def read_by_fastnda(data: bytes, path: Path) -> CellFile:
    """t, E, I of any `.nda` or `.ndax` that fastnda knows; its step types, which carry the sign, are not needed."""
    ndax = data.startswith(b"PK")
    # fastnda puts a faster library in the place of zlib's functions; nobody else knows its errors.
    own = {name: getattr(zlib, name) for name in ("decompress", "decompressobj")}
    fastnda = needed("fastnda", path, f"a Neware file ({'.ndax' if ndax else '.nda of another version than BTS 7'})")
    with tempfile.TemporaryDirectory() as folder:  # its readers go by the file's ending
        copy = Path(folder) / f"copy.{'ndax' if ndax else 'nda'}"
        copy.write_bytes(data)
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            table = fastnda.read(copy)
        except Exception as error:  # noqa: BLE001  # a library's own: damaged and unknown files raise anything there
            limit = f"fastnda cannot read it ({type(error).__name__})"
            remedy = "export it from BTSDA as .xlsx or .csv"
            raise bad(path, "content", "a Neware file", limit, remedy) from None
        finally:
            logging.disable(level)
            for name, function in own.items():
                setattr(zlib, name, function)
    columns = {name: np.asarray(table[name].to_numpy(), dtype=np.float64) for name in _FASTNDA if name in table.columns}
    if len(columns) < len(_FASTNDA) or columns["total_time_s"].size < 2:
        limit = f"{', '.join(_FASTNDA)} are needed"
        raise bad(path, "content", "a Neware file without rows", limit, "export it from BTSDA as .xlsx or .csv")
    t, potential, current = (columns[name] for name in ("total_time_s", "voltage_V", "current_mA"))
    clock = columns["unix_time_s"]
    record = CellRecord("", t, potential, 1e-3 * current, None, clock)
    text, agrees = _held_against_counter(table, current, t)
    notes, looks = ((text,), ()) if agrees else ((), (text,))
    return CellFile(".ndax" if ndax else ".nda", (record,), {"read by": "fastnda"}, notes, looks)


_FASTNDA: Final = ("total_time_s", "voltage_V", "current_mA", "unix_time_s")
_BTS_7: Final = b"\x1d"  # byte 14 is the version: other ones have records of another kind


def _held_against_counter(table: Any, current: NDArray[np.float64], t: NDArray[np.float64]) -> tuple[str, bool]:
    """The library's unit of current against the file's own counter of capacity, and whether both agree to a tenth."""
    counter = np.abs(np.asarray(table["capacity_mAh"].to_numpy(), dtype=np.float64))
    steps = 0.5 * np.abs(current[1:] + current[:-1]) * np.diff(t) / 3600.0
    whole = np.diff(counter) >= 0.0  # it begins anew with each step
    counted, integral = float(np.sum(np.diff(counter)[whole])), float(np.sum(steps[whole]))
    text = f"the current in mA, integrated, is {integral:.4g} mAh, and the file's own counter {counted:.4g} mAh"
    return text, counted == 0.0 or abs(integral / counted - 1.0) < 0.1


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
