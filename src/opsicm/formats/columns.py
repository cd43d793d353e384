"""Text tables of t, I, z …: with or without a header, decimal comma or point, tab, blank, `;` or `,` as separator."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.core.units import factor, si_unit
from opsicm.formats.text import Text, bad, number
from opsicm.formats.written_digits import written_step

# The letter of a column → its SI unit. `I` pipette current, `R` resistance, `V` pipette bias.
# `E` the cell's potential: beside it, I is the cell's current. `sto` the stoichiometry of an open-circuit curve.
QUANTITIES: Final[Mapping[str, str]] = {
    "t": "s",
    "I": "A",
    "z": "m",
    "x": "m",
    "y": "m",
    "R": "Ohm",
    "V": "V",
    "E": "V",
    "sto": "1",
}
_WORDS: Final[Mapping[str, str]] = {
    "t": "t",
    "time": "t",
    "zeit": "t",
    "i": "I",
    "current": "I",
    "strom": "I",
    "pipette current": "I",
    "pipette_current": "I",
    "ion current": "I",
    "z": "z",
    "z-pos": "z",
    "height": "z",
    "z position": "z",
    "höhe": "z",
    "x": "x",
    "y": "y",
    "r": "R",
    "resistance": "R",
    "v": "V",
    "bias": "V",
    "pipette_bias": "V",
    "e": "E",
    "ewe": "E",
    "potential": "E",
    "voltage": "E",
    "cell potential": "E",
    "cell_potential": "E",
    "ocp": "E",
    "<i>": "I",
    "test_time": "t",
    "sto": "sto",
    "stoichiometry": "sto",
}
_EXAMPLE: Final = "--columns t=s,I=pA,z=um, one entry for each column from the left, _ for one to skip"
_LAYOUTS: Final = (*((sep, dec) for sep in ("\t", ";", None) for dec in (".", ",")), (",", "."))
_SEPARATOR_NAME: Final = {"\t": "tab", ";": "semicolon", ",": "comma", None: "blank"}
_TITLE: Final = re.compile(r"\s*(?P<word>[^\[\](/]+?)\s*(?:[\[(]\s*(?P<a>[^\])]+?)\s*[\])]|/\s*(?P<b>\S+))?\s*")
_ROWS_TRIED: Final = 200  # rows of numbers that decide the layout
_LONGEST_HEADER: Final = 100


@dataclass(frozen=True, slots=True)
class ColumnTable:
    """The columns of a table by quantity, in SI, and how the text was written.

    `steps`: what the last digit of a quantity stands for, in SI. `counters` are the instrument's integrals of the
    current [C] by their titles, `clock` its wall clock [s since 1970], of a cell's record.
    """

    data: Mapping[str, NDArray[np.float64]]
    units: Mapping[str, str]
    header: tuple[str, ...]
    separator: str
    decimal: str
    encoding: str
    counters: Mapping[str, NDArray[np.float64]] | None = None
    clock: NDArray[np.float64] | None = None
    steps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnlabelledTable:
    """A table whose columns have no titles, or titles without units: `values` [row, column] as written."""

    values: NDArray[np.float64]
    titles: tuple[str, ...]
    header: tuple[str, ...]
    written: str

    @property
    def example(self) -> str:
        """A --columns option that fits the number of columns."""
        first = {2: "sto=1,E=V", 3: "t=s,I=pA,z=um"}.get(len(self.titles), "t=s,I=pA,z=um")
        return first + ",_" * max(0, len(self.titles) - 1 - first.count(","))


def parse_unlabelled(text: Text, path: Path) -> UnlabelledTable:
    """The table in a text that does not state what its columns are."""
    separator, decimal, first, width = _layout(text, path)
    header = tuple(line for line in text.lines[:first] if line.strip())
    titles = _titles(header, separator, width) or [f"column {k}" for k in range(1, width + 1)]
    values = _numbers(text, first, separator, decimal, width, path)
    word = "comma" if decimal == "," else "point"
    return UnlabelledTable(values, tuple(titles), header, f"{_SEPARATOR_NAME[separator]} separated, decimal {word}")


def parse_columns(text: Text, path: Path, columns: str | None = None) -> ColumnTable:
    """The columns of a text table in SI; `columns` as "t=s,I=pA,z=um" where the header does not name them."""
    separator, decimal, first, width = _layout(text, path)
    header = tuple(line for line in text.lines[:first] if line.strip())
    if columns is not None:
        titles = _titles(header, separator, width)
        chosen = _specified(columns, titles, width, path)
    else:
        chosen = _from_header(header, separator, width, path)
    table = _numbers(text, first, separator, decimal, width, path)
    data = {name: np.ascontiguousarray(table[:, k] * factor(unit)) for k, name, unit in chosen}
    # A thousand rows, from beginning to end, show the digits.
    lines = text.lines[first :: max(1, (len(text.lines) - first) // 1000)]
    sample = [parts for line in lines if len(parts := _split(line, separator)) == width]
    steps = {name: written_step([p[k] for p in sample], table[:, k]) * factor(unit) for k, name, unit in chosen}
    units = {name: unit for _, name, unit in chosen}
    return ColumnTable(data, units, header, _SEPARATOR_NAME[separator], decimal, text.encoding, steps=steps)


def _split(line: str, separator: str | None) -> list[str]:
    parts = line.strip(" \r\n").split(separator)
    # A separator at the end of every row does not begin another column.
    return parts[:-1] if separator is not None and len(parts) > 1 and not parts[-1].strip() else parts


def _layout(text: Text, path: Path) -> tuple[str | None, str, int, int]:
    """Separator, decimal sign, first line of numbers, and number of columns with which the lines agree."""
    readings: list[tuple[str | None, str, int, int, list[list[float]]]] = []
    for separator, decimal in _LAYOUTS:
        reading = _reading(text, separator, decimal)
        if reading is not None:
            readings.append((separator, decimal, *reading))
    if not readings:
        raise bad(
            path,
            "content",
            "not a table",
            "at least two columns of numbers after at most 100 lines of header",
            "export the data as text with one row per sample",
        )
    # The reading with the shortest header explains most of the file.
    shortest = min(reading[2] for reading in readings)
    readings = [reading for reading in readings if reading[2] == shortest]
    separator, decimal, first, width, rows = readings[0]
    # Compared as text, because a NaN differs from itself.
    if any(str(reading[4]) != str(rows) for reading in readings[1:]):
        raise bad(
            path,
            "decimal sign",
            f"ambiguous in {text.lines[first][:40]!r}",
            "a comma could separate or be decimal",
            "separate the columns with tabs or semicolons",
            line=first + 1,
        )
    if (
        separator == ","
        and width == 2
        and all(value == int(value) for row in rows for value in row if np.isfinite(value))
    ):
        raise bad(
            path,
            "decimal sign",
            f"ambiguous in {text.lines[first][:40]!r}",
            "one column with decimal comma, or two?",
            "separate the columns with tabs or semicolons",
            line=first + 1,
        )
    return separator, decimal, first, width


def _reading(text: Text, separator: str | None, decimal: str) -> tuple[int, int, list[list[float]]] | None:
    first: int | None = None
    rows: list[list[float]] = []
    for k, line in enumerate(text.lines):
        if len(rows) >= _ROWS_TRIED or (first is None and k > _LONGEST_HEADER):
            break
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        values = [number(part, decimal) for part in _split(line, separator)]
        numeric = [value for value in values if value is not None]
        if len(values) < 2 or len(numeric) < len(values):
            if first is None:
                continue
            # One bad row among many is damage, to be reported with its line; early it is still header.
            if len(rows) > 5:
                continue
            first, rows = None, []
            continue
        if rows and len(numeric) != len(rows[0]):
            if len(rows) > 5:
                continue
            rows = []
            first = None
        first = k if first is None else first
        rows.append(numeric)
    return (first, len(rows[0]), rows) if first is not None else None


def _numbers(
    text: Text, first: int, separator: str | None, decimal: str, width: int, path: Path
) -> NDArray[np.float64]:
    lines = enumerate(text.lines[first:], start=first + 1)
    body = [(k, line) for k, line in lines if line.strip() and not line.lstrip().startswith("#")]
    plain = "\n".join(line.rstrip(" \t;\r") if separator != "," else line.rstrip(", \r") for _, line in body)
    if decimal == ",":
        plain = plain.replace(",", ".")
    try:
        table = np.loadtxt(io.StringIO(plain), delimiter=separator, comments=None, ndmin=2, dtype=np.float64)
        if table.shape[1] == width:
            return table
    except ValueError:
        pass
    for line, row in body:
        values = [number(part, decimal) for part in _split(row, separator)]
        if len(values) != width or None in values:
            raise bad(
                path,
                "row",
                repr(row[:60]),
                f"{width} numbers are needed, as in the rows before",
                "the file is cut or damaged here: copy it again, or delete this line",
                line=line,
            )
    raise bad(path, "table", f"{len(body)} rows", f"{width} numbers in each", "export the data again")


def _titles(header: tuple[str, ...], separator: str | None, width: int) -> list[str] | None:
    """The titles of the columns: the last header line that splits into as many parts as there are columns."""
    for line in reversed(header):
        for sep in dict.fromkeys((separator, "\t", ";", "|", ",", None)):
            parts = [part.strip().strip('"') for part in line.strip().lstrip("#").split(sep)]
            if len(parts) == width and all(parts):
                return parts
    return None


def _title(title: str) -> tuple[str | None, str | None]:
    """Letter and unit that a title states: "I [pA]", "time / s", "z_um"; None for what it does not."""
    match = _TITLE.fullmatch(title)
    if match is None:
        return None, None
    word, unit = match["word"].strip(), match["a"] or match["b"]
    if unit is None and word.lower() not in _WORDS and "_" in word:
        word, _, unit = word.rpartition("_")
    unit = unit.replace("μ", "µ") if unit else None
    return _WORDS.get(word.lower()), unit


def _from_header(header: tuple[str, ...], separator: str | None, width: int, path: Path) -> list[tuple[int, str, str]]:
    titles = _titles(header, separator, width)
    if titles is None:
        raise bad(
            path, "columns", f"{width} without titles", "their quantities and units are not stated", f"give {_EXAMPLE}"
        )
    chosen: list[tuple[int, str, str]] = []
    for k, (letter, stated) in enumerate(map(_title, titles)):
        if letter is None:
            continue
        unit = "1" if stated is None and QUANTITIES[letter] == "1" else stated
        if unit is None:
            raise bad(path, "column", repr(titles[k]), "its title states no unit", f"give {_EXAMPLE}")
        _check_unit(letter, unit, path.name)
        chosen.append((k, letter, unit))
    if not chosen:
        raise bad(
            path, "titles", repr(titles)[:80], f"none names a quantity of {', '.join(QUANTITIES)}", f"give {_EXAMPLE}"
        )
    return _without_repeats(chosen, repr(titles), path.name)


def _specified(columns: str, titles: list[str] | None, width: int, path: Path) -> list[tuple[int, str, str]]:
    """The entries by title where every one names a title of the header; else by position, one for each column."""
    entries: list[tuple[str, str] | None] = []
    for item in (part.strip() for part in columns.split(",")):
        name, equals, unit = (part.strip() for part in item.partition("="))
        if item == "_":
            entries.append(None)
        elif equals and name in QUANTITIES:
            _check_unit(name, unit, "--columns")
            entries.append((name, unit))
        else:
            raise BadInput(
                Problem("--columns", repr(item), f"known letters are {', '.join(QUANTITIES)}", f"write {_EXAMPLE}")
            )
    letters = [_title(title)[0] for title in titles] if titles else []
    named = [entry[0] for entry in entries if entry is not None]
    if None not in entries and named and all(letters.count(name) == 1 for name in named):
        return _agreeing([(letters.index(entry[0]), *entry) for entry in entries if entry is not None], titles, columns)
    if len(entries) != width:
        raise BadInput(
            Problem(
                "--columns",
                f"{columns!r}, {len(entries)} entries",
                f"{path.name} has {width} columns",
                f"write {_EXAMPLE}",
            )
        )
    return _agreeing([(k, *entry) for k, entry in enumerate(entries) if entry is not None], titles, columns)


def _agreeing(chosen: list[tuple[int, str, str]], titles: list[str] | None, columns: str) -> list[tuple[int, str, str]]:
    """`chosen`, unless a title states another unit: one of the two is then wrong by a power of ten."""
    for k, letter, unit in chosen:
        named, stated = _title(titles[k]) if titles else (None, None)
        if named != letter or stated is None:
            continue
        try:
            same = factor(stated) == factor(unit)
        except OutsideDomain:
            continue
        if not same:
            limit = f"the title of column {k + 1} is {titles[k]!r}" if titles else ""
            remedy = f"write {letter}={stated}, or correct the title in a copy of the file"
            raise BadInput(Problem("--columns", f"{letter}={unit}", limit, remedy))
    return _without_repeats(chosen, columns, "--columns")


def _check_unit(letter: str, unit: str, source: str) -> None:
    try:
        actual = si_unit(unit)
    except OutsideDomain as error:
        problem = error.problems[0]
        raise BadInput(Problem(f"unit of {letter}", repr(unit), problem.limit, problem.remedy, file=source)) from None
    if actual != QUANTITIES[letter]:
        raise BadInput(
            Problem(
                f"unit of {letter}",
                repr(unit),
                f"{letter} is measured in {QUANTITIES[letter]}",
                f"give {_EXAMPLE}",
                source,
            )
        )


def _without_repeats(chosen: list[tuple[int, str, str]], text: str, source: str) -> list[tuple[int, str, str]]:
    letters = [letter for _, letter, _ in chosen]
    twice = sorted({letter for letter in letters if letters.count(letter) > 1})
    if twice or not chosen:
        value = f"{', '.join(twice)} twice in {text[:80]}" if twice else "empty"
        raise BadInput(Problem("columns", value, "each quantity once", f"give {_EXAMPLE}", file=source))
    return chosen
