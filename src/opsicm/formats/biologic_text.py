"""BioLogic's text export `.mpt`: a header whose length it states, titles, tab-separated rows, often decimal commas."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np

from opsicm.formats.cell_record import CellFile, CellRecord, cell_columns
from opsicm.formats.text import Text, bad

_FIRST: Final = "EC-Lab ASCII FILE"
_LENGTH: Final = "Nb header lines"


def looks_like_mpt(text: Text) -> bool:
    """Whether the first line is EC-Lab's."""
    return bool(text.lines) and text.lines[0].strip() == _FIRST


def parse_mpt(text: Text, path: Path) -> CellFile:
    """t, Ewe and I of an `.mpt`; `BadInput` where one of the three was not exported."""
    stated = text.lines[1].partition(":")[2].strip() if len(text.lines) > 1 else ""
    if _LENGTH not in "".join(text.lines[1:2]) or not stated.isdigit() or int(stated) > len(text.lines):
        raise bad(path, "header", "truncated", f"the second line states {_LENGTH!r}", "export the file again", line=2)
    head = int(stated)
    titles = [title for title in text.lines[head - 1].split("\t") if title.strip()]
    columns = cell_columns(titles)
    if columns is None:
        limit = "time/s, Ewe/V and I/mA (or <I>/mA) are needed"
        raise bad(path, "columns", ", ".join(titles)[:120], limit, "export these columns too", line=head)
    body = "\n".join(line.rstrip("\t") for line in text.lines[head:] if line.strip()).replace(",", ".")
    if not body:
        raise bad(path, "rows", "none", "a record has rows", "export the file again", line=head)
    order = sorted(columns, key=lambda letter: columns[letter][0])
    try:
        table = np.loadtxt(
            io.StringIO(body), delimiter="\t", comments=None, ndmin=2, usecols=[columns[k][0] for k in order]
        )
    except ValueError as error:
        limit = f"{len(titles)} columns of numbers ({str(error).partition(';')[0]})"
        raise bad(path, "rows", "not all numbers", limit, "export the file again") from None
    data = {letter: columns[letter][1] * table[:, k] for k, letter in enumerate(order)}
    settings = dict(_settings(text.lines[2 : head - 1]))
    return CellFile(".mpt", (CellRecord("", data["t"], data["E"], data["I"]),), settings)


def _settings(lines: tuple[str, ...]) -> list[tuple[str, str]]:
    """Lines of `name : value`, and the technique's name, a line of its own."""
    pairs = [line.partition(" : ") for line in lines]
    technique = next((line.strip() for line in lines if line.strip()), "")
    return [("technique", technique), *((k.strip(), v.strip()) for k, sign, v in pairs if sign and v.strip())]
