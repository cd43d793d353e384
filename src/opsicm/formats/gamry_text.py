"""Gamry's `.dta`: tab-separated labels, then tables named CURVE, CURVE1 …, each with titles and units."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import factor
from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.text import Text, bad, number

_CURVE: Final = re.compile(r"(O?CV)?CURVE\d*", re.IGNORECASE)
_WANTED: Final = {"T": "s", "Vf": "V", "Im": "A"}


def looks_like_dta(text: Text) -> bool:
    """Whether the file begins as a Gamry file does."""
    return (
        bool(text.lines)
        and text.lines[0].strip() == "EXPLAIN"
        and any(line.startswith("TAG\t") for line in text.lines[:5])
    )


def parse_dta(text: Text, path: Path) -> CellFile:
    """Every curve of a `.dta` with T, Vf and Im; `BadInput` where there is none or a row is damaged."""
    settings: dict[str, str] = {}
    records: list[CellRecord] = []
    k = 1
    while k < len(text.lines):
        parts = text.lines[k].split("\t")
        k += 1
        if len(parts) > 1 and parts[1] == "TABLE" and _CURVE.fullmatch(parts[0]):
            stop = k
            while stop < len(text.lines) and text.lines[stop].startswith("\t"):
                stop += 1
            record = _curve(parts[0], text.lines[k:stop], k, path)
            records += [record] if record is not None else []
            k = stop
        elif len(parts) > 2 and not records:
            settings[parts[0]] = parts[2]
    if not records:
        limit = "a CURVE table with T, Vf and Im is needed"
        raise bad(path, "content", "no such curve", limit, "name a file of a voltammogram or a current step")
    notes = ("potential against the reference electrode (Vf); current positive anodic, Gamry's default",)
    return CellFile(".dta", tuple(records), settings, notes)


def _curve(name: str, lines: tuple[str, ...], first: int, path: Path) -> CellRecord | None:
    titles = [part.strip() for part in lines[0].split("\t")] if lines else []
    if len(lines) < 2 or not set(_WANTED) <= set(titles):
        return None
    units = [part.strip().split(" ")[0].rstrip(".") for part in lines[1].split("\t")]
    columns: dict[str, list[float]] = {title: [] for title in _WANTED}
    decimal = "," if any("," in line for line in lines[2:12]) else "."
    for k, line in enumerate(lines[2:], first + 3):
        parts = line.split("\t")
        values = {t: number(parts[titles.index(t)], decimal) if len(parts) == len(titles) else None for t in _WANTED}
        for title, value in values.items():
            if value is None:
                limit = f"{len(titles)} columns, with numbers for {', '.join(_WANTED)}"
                raise bad(path, "row", repr(line[:60]), limit, "the file is cut or damaged here", line=k)
            columns[title].append(value)
    try:
        t, potential, current = (
            factor(units[titles.index(title)]) * np.array(columns[title], dtype=np.float64) for title in _WANTED
        )
    except OutsideDomain:
        raise bad(path, "units", "\t".join(units), "s, V and A are needed", "export it again", line=first + 2) from None
    return CellRecord(name, t, potential, current)
