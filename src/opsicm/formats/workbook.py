"""Spreadsheets (`.xlsx`) of battery cyclers: a zip of XML, read with the standard library; no formula is run.

ECMA-376 Part 1: `xl/workbook.xml` names the sheets, `xl/sharedStrings.xml` holds the texts, a sheet's cell `<c r="B2"
t="s"><v>` is a number, or with t="s" the number of a text.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np

from opsicm.formats.cell_record import CellFile, CellRecord, cell_columns
from opsicm.formats.text import bad

MAGIC: Final = b"PK\x03\x04"
_LARGEST: Final = 512 * 1024 * 1024
_MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    ElementTree.ParseError,
    KeyError,
    ValueError,
    IndexError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)
_CELL: Final = re.compile(r"([A-Z]+)\d+")


def read_workbook(data: bytes, path: Path) -> CellFile:
    """The sheets of a workbook that hold time, potential and current under titles; `BadInput` where none does."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            if "xl/workbook.xml" not in book.namelist():
                raise bad(path, "content", "a zip archive", "an .xlsx workbook is known", "unpack it and name a file")
            if sum(item.file_size for item in book.infolist()) > _LARGEST:
                raise bad(path, "size", "unpacked above 512 MB", "a workbook of a cycler is smaller", "export as .csv")
            texts = _texts(book)
            sheets = list(_sheets(book))
            records = []
            for name, member in sheets:
                record = _record(name, book.read(member), texts)
                records += [record] if record is not None else []
    except _DAMAGE:
        raise bad(path, "content", "a damaged workbook", "its parts must be whole", "save it again") from None
    if not records:
        limit = "a sheet needs titled columns of time, voltage and current with their units"
        raise bad(path, "sheets", ", ".join(name for name, _ in sheets)[:120], limit, "title them as Time(s)")
    notes = ("current as the instrument signs it: positive charges, which delithiates a half cell's electrode",)
    return CellFile(".xlsx", tuple(records), {"sheets": ", ".join(name for name, _ in sheets)}, notes)


def _texts(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    root = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
    return ["".join(part.text or "" for part in item.iter(f"{_MAIN}t")) for item in root.iter(f"{_MAIN}si")]


def _sheets(book: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    links = ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))
    targets = {link.get("Id"): str(link.get("Target")) for link in links}
    for sheet in ElementTree.fromstring(book.read("xl/workbook.xml")).iter(f"{_MAIN}sheet"):
        target = targets.get(sheet.get(_RELATION), "").lstrip("/")
        member = target if target.startswith("xl/") else f"xl/{target}"
        if member in book.namelist():
            yield str(sheet.get("name")), member


def _record(name: str, sheet: bytes, texts: list[str]) -> CellRecord | None:
    rows = _rows(sheet, texts)
    titles = next(rows, {})
    keys = list(titles)
    columns = cell_columns([titles[key] for key in keys])
    if columns is None:
        return None
    key_of = {letter: keys[k] for letter, (k, _) in columns.items()}
    table = np.array([[float(row.get(key_of[letter]) or "nan") for letter in "tEI"] for row in rows])
    if table.size == 0:
        return None
    t, potential, current = (columns[letter][1] * table[:, k] for k, letter in enumerate("tEI"))
    return CellRecord(name, t, potential, current)


def _rows(sheet: bytes, texts: list[str]) -> Iterator[dict[str, str]]:
    for _, element in ElementTree.iterparse(io.BytesIO(sheet)):
        if element.tag != f"{_MAIN}row":
            continue
        row = {}
        for cell in element.iter(f"{_MAIN}c"):
            reference = _CELL.match(cell.get("r", ""))
            value = cell.findtext(f"{_MAIN}v")
            if cell.get("t") == "inlineStr":
                value = "".join(part.text or "" for part in cell.iter(f"{_MAIN}t"))
            if reference is not None and value is not None:
                row[reference[1]] = texts[int(value)] if cell.get("t") == "s" else value
        element.clear()
        yield row
