"""Workbooks of spreadsheet programs (.xlsx, .xlsm, .xlsb, .xls, .ods), opened by python-calamine; no formula is run.

Each sheet is read as a text table, its cells as fields: titles, units below them, dates, h:mm:ss and numbers written as
text with a decimal comma mean the same in both.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from opsicm.core.errors import BadInput
from opsicm.formats.cell_record import CellFile
from opsicm.formats.columns import ColumnTable, columns_of, record_of
from opsicm.formats.field_values import NumberStyle, decimal_evidence
from opsicm.formats.optional import needed
from opsicm.formats.text import Text, bad
from opsicm.formats.text_table import find_table

ZIP: Final = b"PK\x03\x04"
OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# What the standard library raises for a damaged archive.
ZIP_DAMAGE: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, KeyError, ValueError, EOFError, OSError),
    *(NotImplementedError, RuntimeError),
)
_LARGEST: Final = 512 * 1024 * 1024
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_KINDS: Final = {"worksheets/": "worksheet", "sharedStrings": "sharedStrings", "styles": "styles"}


def is_workbook(names: Sequence[str]) -> bool:
    """Whether the members of a zip archive are those of a workbook."""
    return any(name.startswith("xl/workbook.") for name in names) or "content.xml" in names


def read_workbook(data: bytes, path: Path, columns: str | None = None) -> CellFile | ColumnTable:
    """The sheets that hold time, potential and current, else the first with other known columns.

    Raises `BadInput` where no sheet has titled columns with units, for a damaged workbook, and without python-calamine.
    """
    sheets = _sheets(data, path)
    records, looks, notes = [], [], []
    skipped: list[tuple[str, BadInput]] = []
    tables: list[ColumnTable] = []
    for name, rows in sheets:
        try:
            text = Text(tuple("\t".join(row) for row in _fields(rows)), "workbook", "none")
            table = columns_of(find_table(text, path, separator="\t"), text.encoding, columns)
        except BadInput as error:
            skipped.append((name, error))
            continue
        if {"t", "E", "I"} <= set(table.data):
            records.append(record_of(table, name))
            notes += [f"{name}: {note}" for note in table.notes]
            looks += [f"{name}: {look}" for look in table.looks]
        elif len(table.data) > 1:
            tables.append(table)
    if not records and tables:
        return tables[0]
    if not records:
        raise _nothing_read(skipped, path)
    if skipped:
        notes.append(f"sheets without such a table: {', '.join(name for name, _ in skipped)}")
    notes.append("current as the instrument signs it: positive charges, which delithiates a half cell's electrode")
    settings = {"sheets": ", ".join(name for name, _ in sheets)}
    return CellFile(path.suffix.lower() or ".xlsx", tuple(records), settings, tuple(notes), tuple(looks))


def _nothing_read(skipped: Sequence[tuple[str, BadInput]], path: Path) -> BadInput:
    """What is wrong with the sheet that comes nearest to a table: the first that is one."""
    tables = [error for _, error in skipped if error.problems[0].value != "not a table"]
    names = ", ".join(name for name, _ in skipped)[:120]
    if tables:
        p = tables[0].problems[0]
        return bad(path, p.thing, p.value, p.limit, p.remedy, line=p.line)
    limit = "a sheet needs titled columns of time, voltage and current with their units"
    return bad(path, "sheets", names or "none", limit, "title them as Time(s), Voltage(V), Current(mA)")


def _sheets(data: bytes, path: Path) -> list[tuple[str, list[list[Any]]]]:
    calamine = needed("python_calamine", path, "a workbook")
    if data.startswith(ZIP):
        _refuse_damaged(data, path)
    try:
        book = calamine.CalamineWorkbook.from_object(io.BytesIO(data))
    except calamine.CalamineError:
        book = None
    if book is None and data.startswith(ZIP):
        try:
            book = calamine.CalamineWorkbook.from_object(io.BytesIO(_completed(data)))
        except (calamine.CalamineError, *ZIP_DAMAGE):
            book = None
    if book is None:
        raise bad(path, "content", "a damaged workbook", "its parts must be whole", "save it again")
    try:
        return [(name, book.get_sheet_by_name(name).to_python()) for name in book.sheet_names]
    except calamine.CalamineError:
        raise bad(path, "content", "a damaged workbook", "its sheets must be whole", "save it again") from None


def _refuse_damaged(data: bytes, path: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            if sum(item.file_size for item in book.infolist()) > _LARGEST:
                raise bad(path, "size", "unpacked above 512 MB", "a workbook of a cycler is smaller", "export as .csv")
    except ZIP_DAMAGE:
        raise bad(path, "content", "a damaged workbook", "its parts must be whole", "save it again") from None


def _completed(data: bytes) -> bytes:
    """A workbook with the standard's relations, which some exporters leave out or name differently (ECMA-376, 2)."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as book, zipfile.ZipFile(out, "w") as complete:
        for name in book.namelist():
            content = book.read(name)
            if name == "xl/_rels/workbook.xml.rels":
                content = re.sub(rb"<Relationship\b[^>]*>", _with_kind, content)
            if name not in ("_rels/.rels", "[Content_Types].xml"):
                complete.writestr(name, content)
        relation = f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/>'
        complete.writestr("_rels/.rels", f'<Relationships xmlns="{_PACKAGE}/relationships">{relation}</Relationships>')
    return out.getvalue()


def _with_kind(match: re.Match[bytes]) -> bytes:
    """A relation with the kind that its target's folder shows."""
    tag = match[0].decode("utf-8", "replace")
    target = re.search(r'Target="([^"]*)"', tag)
    kind = next((kind for part, kind in _KINDS.items() if target is not None and part in target[1]), None)
    return (re.sub(r'Type="[^"]*"', f'Type="{_RELATIONS}/{kind}"', tag) if kind else tag).encode()


def _fields(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    """The cells as fields of a text table: numbers of the workbook with a point, those written as text likewise."""
    fields = [[_field(cell) for cell in row] for row in rows]
    for k in range(max((len(row) for row in rows), default=0)):
        column = [row[k] for row in rows if k < len(row)]
        texts = [cell for cell in column if isinstance(cell, str)]
        evidence = decimal_evidence(texts)
        if evidence.comma and not evidence.point and len(texts) < len(column):
            style = NumberStyle(",", ".")
            for row, cells in zip(fields, rows, strict=True):
                number = style.number(str(cells[k])) if k < len(cells) and isinstance(cells[k], str) else None
                row[k : k + 1] = [repr(number)] if number is not None else row[k : k + 1]
    return fields


def _field(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, int | float):
        return repr(cell)
    if isinstance(cell, timedelta):
        minutes, seconds = divmod(cell.total_seconds(), 60.0)
        return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{seconds:09.6f}"
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    return " ".join(str(cell).split())
