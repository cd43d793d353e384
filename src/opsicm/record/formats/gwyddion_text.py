"""Gwyddion's text export: a matrix of numbers under a header of comments, in the language of whoever saved it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from opsicm.errors import OutsideDomain
from opsicm.record.formats.image_file import Image, ImageFile
from opsicm.record.formats.text import Text, bad, number
from opsicm.units import factor, si_unit

# The header's four lines by place, because their words are translated: channel, width, height, unit of the values.
_HEADER: Final = re.compile(r"#\s*[^:]+:\s*(?P<value>.*)")
_LENGTH: Final = re.compile(r"(?P<number>[-+\d.,eE]+)\s*(?P<unit>\S+)")


def looks_like_export(text: Text) -> bool:
    """Whether the first lines are a channel, two lengths with units, and a unit."""
    found = [_HEADER.fullmatch(line.strip()) for line in text.lines[:4]]
    if len(found) < 3 or any(line is None for line in found[:3]):
        return False
    return all(_length(match["value"]) is not None for match in found[1:3] if match is not None)


def parse_export(text: Text, path: Path) -> ImageFile:
    """The image of an export; `BadInput` where rows differ in length or hold no numbers."""
    header = [line for line in text.lines if line.strip().startswith("#")]
    body = [(k, line) for k, line in enumerate(text.lines, 1) if line.strip() and not line.strip().startswith("#")]
    values = [match["value"].strip() for line in header if (match := _HEADER.fullmatch(line.strip()))]
    unit = values[3] if len(values) > 3 else ""
    scale = 1.0
    if unit:
        try:
            scale, unit = factor(unit), si_unit(unit)
        except OutsideDomain:
            scale = 1.0  # a unit of another quantity: kept as it is written
    decimal = "," if any("," in line for _, line in body[:20]) else "."
    rows: list[list[float]] = []
    for k, line in body:
        row = [number(part, decimal) for part in line.split()]
        if None in row or (rows and len(row) != len(rows[0])):
            limit = f"{len(rows[0])} numbers as in the rows before" if rows else "numbers"
            raise bad(path, "row", repr(line[:60]), limit, "export the image again", line=k)
        rows.append([float(v) for v in row if v is not None])
    if not rows:
        raise bad(path, "content", "a header without numbers", "an image has rows", "export the image again")
    x, y = (_length(value) for value in values[1:3])
    decimal_word = "comma" if decimal == "," else "point"
    return ImageFile(
        "Gwyddion text export", (Image(values[0], scale * np.array(rows), unit, x, y),),
        {line.lstrip("# ").split(":")[0]: value for line, value in zip(header, values, strict=False)},
        (f"decimal {decimal_word}, {text.encoding}",),
    )  # fmt: skip


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        return None
    value = number(match["number"], "," if "," in match["number"] else ".")
    try:
        return value * factor(match["unit"].replace("μ", "µ")) if value is not None else None
    except OutsideDomain:
        return None
