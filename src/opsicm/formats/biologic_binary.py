"""BioLogic's binary `.mpr`: modules, of which one lists the numbers of its columns and holds the rows.

The maker publishes no description; the layout is known from the public readers galvani and yadg (no code used): after
a mark of 52 bytes come modules, each `MODULE`, a short name (10 bytes), a long one (25), lengths, a version and a date.
The data module begins with the number of rows (u4), of columns (u1), and the columns' numbers; its rows follow at a
place that goes by its version. Held against EC-Lab's own text export of the same measurement in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.text import bad

MAGIC: Final = b"BIO-LOGIC MODULAR FILE"
_MARK: Final = 52
_EXPORT: Final = "in EC-Lab: Experiment, Export as Text, and read the .mpt"
# Columns that share one byte of flags, and the widths of the others; a column that is not listed cannot be passed over.
_FLAGS: Final = frozenset((1, 2, 3, 21, 31, 65))
_DOUBLES: Final = (4, 7, 11, 13, 23, 24, 74, *range(123, 127), 211, 438, 467, *range(498, 503))
_FLOATS: Final = (
    *(5, 6, 8, 9, *range(16, 21), 26, 27, *range(32, 39), 69, 70, *range(75, 79), 96, *range(98, 102), 163),
    *(168, 169, *range(172, 175), 178, 179, *range(217, 243), 271, 272, 301, 302, 331, 332, 361, 362, 391, 392),
    *(*range(422, 427), *range(430, 436), 441, 462, 471, *range(473, 498), 505),
)
_TYPES: Final = {
    **dict.fromkeys(_FLOATS, "<f4"),
    **dict.fromkeys(_DOUBLES, "<f8"),
    **dict.fromkeys((212, 213, 468, 469), "<u4"),
    **dict.fromkeys((39, 131), "<u2"),
    509: "u1",
}
_TIME, _EWE, _MEAN_EWE, _CURRENT, _MEAN_CURRENT = (4,), (6,), (77, 174), (8,), (11, 76)
_CHARGE: Final = {13: 3.6, 178: 1.0, 434: 1.0}  # (Q-Qo) in mA.h or C


def read_mpr(data: bytes, path: Path) -> CellFile:
    """t, Ewe and I of an `.mpr`; `BadInput` for a cut file, an unknown column, or one of the three that is missing."""
    try:
        modules = list(_modules(data))
        version, content = next(module[1:] for module in modules if module[0].startswith("VMP data"))
        columns, rows = _rows(version, content)
    except (struct.error, ValueError, StopIteration):
        limit = "its modules do not fit their lengths, or it was never finished"
        raise bad(
            path, "content", f"a damaged .mpr file ({len(data)} bytes)", limit, f"copy it again, or {_EXPORT}"
        ) from None
    unknown = [number for number in columns if number not in _TYPES and number not in _FLAGS]
    if unknown:
        raise bad(path, "column", f"number {unknown[0]}", "its width is not known", _EXPORT)
    kind = np.dtype(
        [(str(k), _TYPES[number]) if number >= 0 else (str(k), "u1") for k, number in enumerate(_fields(columns))]
    )
    count = struct.unpack_from("<I", content)[0]
    if len(rows) < count * kind.itemsize or count < 1:
        limit = f"{count} rows of {kind.itemsize} bytes are stated"
        raise bad(path, "rows", f"{len(rows)} bytes", limit, f"copy it again, or {_EXPORT}")
    table = np.frombuffer(rows, kind, count)
    fields = _fields(columns)

    def column(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
        for number in numbers:
            if number in fields:
                return np.asarray(table[str(fields.index(number))], dtype=np.float64)
        return None

    t, potential, current = column(*_TIME), column(*_EWE, *_MEAN_EWE), column(*_MEAN_CURRENT, *_CURRENT)
    if t is None or potential is None or current is None:
        missing = " and ".join(n for n, v in (("time", t), ("Ewe", potential), ("I", current)) if v is None)
        raise bad(path, "columns", f"without {missing}", "time, Ewe and I are needed", _EXPORT)
    notes = []
    instant = column(*_CURRENT)
    if column(*_MEAN_CURRENT) is not None and instant is not None:
        apart = 1e-3 * float(np.nanmax(np.abs(instant - current)))
        notes.append(f"I is '<I>', the mean over an interval, not 'I', from which it differs by up to {apart:.3g} A")
    charges = [scale * q for number, scale in _CHARGE.items() if (q := column(number)) is not None]
    record = CellRecord("", t, potential, 1e-3 * current, {"(Q-Qo)": charges[0]} if charges else None)
    settings = {"modules": ", ".join(name.strip() for name, _, _ in modules), "columns": str(len(columns))}
    return CellFile(".mpr", (record,), settings, tuple(notes))


def _modules(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    at = _MARK
    while at < len(data):
        if data[at : at + 6] != b"MODULE":
            raise ValueError("no module")
        name = data[at + 6 : at + 16].decode("latin-1")
        at += 6 + 35
        longer = data[at : at + 4] == b"\xff\xff\xff\xff"  # EC-Lab 11.50 and later state a greatest length before
        length, version = struct.unpack_from("<II", data, at + 4 * longer)
        at += 16 + 8 * longer
        if at + length > len(data):
            raise ValueError("cut")
        yield name, version, data[at : at + length]
        at += length


def _rows(version: int, content: bytes) -> tuple[list[int], bytes]:
    """The numbers of the columns, and the bytes of the rows."""
    count = content[4]
    if version in (2, 3):
        start = 405 if version == 2 else 406
        return list(struct.unpack_from(f"<{count}H", content, 5)), content[start:]
    if version == 0 and content[5]:
        return list(content[5 : 5 + count]), content[100:]
    if version == 0:
        return list(content[6 : 5 + 2 * count : 2]), content[1007:]
    raise ValueError("version")


def _fields(columns: list[int]) -> list[int]:
    """The columns with the flags as one, -1, where the first of them stands."""
    fields: list[int] = []
    for number in columns:
        if number not in _FLAGS:
            fields.append(number)
        elif -1 not in fields:
            fields.append(-1)
    return fields
