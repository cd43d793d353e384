"""BioLogic's text export `.mpt`: a header whose length it states, titles, tab-separated rows, often decimal commas."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opsicm.formats.cell_record import CellFile
from opsicm.formats.column_titles import meaning
from opsicm.formats.columns import columns_of, record_of
from opsicm.formats.text import Text, bad
from opsicm.formats.text_table import find_table

_FIRST: Final = ("EC-Lab ASCII FILE", "BT-Lab ASCII FILE")
_LENGTH: Final = "Nb header lines"


def looks_like_mpt(text: Text) -> bool:
    """Whether the first line is EC-Lab's or BT-Lab's."""
    return bool(text.lines) and text.lines[0].strip() in _FIRST


def parse_mpt(text: Text, path: Path, columns: str | None = None) -> CellFile:
    """t, Ewe and I of an `.mpt`; `BadInput` where one of the three was not exported or chosen."""
    stated = text.lines[1].partition(":")[2].strip() if len(text.lines) > 1 else ""
    if _LENGTH not in "".join(text.lines[1:2]) or not stated.isdigit() or int(stated) > len(text.lines):
        raise bad(path, "header", "truncated", f"the second line states {_LENGTH!r}", "export the file again", line=2)
    head = _title_line(text, int(stated) - 1) + 1
    titles = [title.strip() for title in text.lines[head - 1].split("\t") if title.strip()]
    if not any(line.strip() for line in text.lines[head:]):
        raise bad(path, "rows", "none", "a record has rows", "export the file again", line=head)
    letters = {one.letter for one in map(meaning, titles) if one.factor is not None}
    table = columns_of(find_table(text, path, head, "\t"), text.encoding, columns) if columns is not None else None
    if not {"t", "E", "I"} <= (letters if table is None else set(table.data)):
        limit = "time/s, Ewe/V and I/mA (or <I>/mA) are needed"
        remedy = "export these columns too: in EC-Lab, Experiment, Export as Text"
        raise bad(path, "columns", ", ".join(titles)[:120], limit, remedy, line=head)
    table = table or columns_of(find_table(text, path, head, "\t"), text.encoding)
    settings = dict(_settings(text.lines[2 : head - 1]))
    return CellFile(".mpt", (record_of(table),), settings, table.notes, table.looks)


def _title_line(text: Text, stated: int) -> int:
    """The line of the titles: the stated one, else one near it, for comments of several lines may not be counted."""
    near = sorted(range(max(stated - 20, 2), min(stated + 60, len(text.lines))), key=lambda k: abs(k - stated))
    for k in near:
        parts = text.lines[k].split("\t")
        if sum(meaning(part).factor is not None for part in parts if part.strip()) >= 2:
            return k
    return stated


def _settings(lines: tuple[str, ...]) -> list[tuple[str, str]]:
    """Lines of `name : value`, and the technique's name, a line of its own."""
    pairs = [line.partition(" : ") for line in lines]
    technique = next((line.strip() for line in lines if line.strip()), "")
    return [("technique", technique), *((k.strip(), v.strip()) for k, sign, v in pairs if sign and v.strip())]
