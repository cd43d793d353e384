"""The table of a curve: a text file of numbers, one column a name with its unit, read into SI."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from opsicm.errors import BadInput, Problem
from opsicm.protocol.yaml_file import Document, read_text
from opsicm.units import KEY_SUFFIX, factor, si_unit, suffix_of


def read_curve(
    path: Path, names: tuple[str, ...], leaf: Document
) -> tuple[dict[str, tuple[float, ...]], dict[str, str]]:
    """(columns, units) of the table at `path`: the names less their units lead to numbers in SI.

    A first line that is no numbers is a heading and must name the same columns; `#` begins a comment.
    """
    if not path.is_file():
        raise BadInput(
            leaf.problem(("table",), path.name, "there is no such file", "check the spelling and the folder")
        )
    units: dict[str, str] = {}  # short name → unit in the file, in the order of the columns
    for index, name in enumerate(names):
        suffix = suffix_of(name)
        short = name.removesuffix(f"_{suffix}")
        if short in units:
            raise BadInput(leaf.problem(("columns", index), name, "is given twice", "give each column its own name"))
        units[short] = KEY_SUFFIX[suffix] if suffix else "1"
    columns = zip(*_rows(path, names), strict=True)
    numbers = {
        short: tuple(x * factor(units[short]) for x in column) for short, column in zip(units, columns, strict=True)
    }
    return numbers, {short: si_unit(unit) for short, unit in units.items()}


def _rows(path: Path, names: tuple[str, ...]) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    heading_allowed = True
    for line, cells in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        words = [cell.strip() for cell in cells]
        if not any(words) or words[0].startswith("#"):
            continue
        numbers = [_number(word) for word in words]
        if heading_allowed and tuple(words) == names:
            heading_allowed = False
            continue
        heading_allowed = False
        good = tuple(number for number in numbers if number is not None)
        if len(good) != len(names) or len(words) != len(names):
            limit = f"must hold {len(names)} finite numbers, {', '.join(names)}"
            problem = Problem("the row", ", ".join(words)[:60], limit, "correct the row", str(path), line)
            raise BadInput(problem)
        rows.append(good)
    if len(rows) < 2:
        problem = Problem("the table", f"{len(rows)} rows", "a curve needs two at least", "add rows", str(path))
        raise BadInput(problem)
    return rows


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
