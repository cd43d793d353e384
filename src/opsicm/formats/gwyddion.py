"""Gwyddion's native `.gwy`, a serialised container whose data fields are the images, its `.gsf` and its text export.

Layout, from Gwyddion's user guide ("Gwyddion native format", no code used): `GWYP`, then one object: its type as a
zero-terminated string, its size as uint32, its components; a component is a zero-terminated name, one letter for the
type, and the value, little endian. A data field is `/n/data` with its title at `/n/data/title`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import factor, si_unit
from opsicm.formats.column_titles import unit_factor
from opsicm.formats.image_file import ImageChannel, ImageFile, unit_of_image
from opsicm.formats.text import Text, bad, number

MAGIC: Final = b"GWYP"
GSF_MAGIC: Final = b"Gwyddion Simple Field 1.0\n"
MISSING: Final = "missing pixels"
"""The key of a channel's metadata by which `image_writing` says that pixels are missing, and how many."""
UNDER_MASK: Final = "{} pixels, under the mask"
_SCALARS: Final = {"b": "<?", "c": "<c", "i": "<i", "q": "<q", "d": "<d"}
_ARRAYS: Final = {"C": "<i1", "I": "<i4", "Q": "<i8", "D": "<f8"}
_DEEPEST: Final = 16


def read_gwy(data: bytes, path: Path) -> ImageFile:
    """All data fields of a `.gwy`; `BadInput` for a file that is truncated, damaged or without an image."""
    try:
        name, content, _ = _read_object(memoryview(data), len(MAGIC), 0)
        images = [_image(content, key) for key in sorted(content, key=_channel_number) if _is_data_field(content, key)]
    except (struct.error, UnicodeDecodeError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise bad(
            path, "content", "a damaged Gwyddion file", "its objects do not fit their sizes", "save it again"
        ) from None
    if not images:
        raise bad(path, "content", f"a {name} without images", "a data field is needed", "save a channel with it")
    settings = {key: value for key, value in content.items() if isinstance(value, str) and "/meta" not in key}
    return ImageFile(".gwy", tuple(images), settings)


def _is_data_field(content: Mapping[str, Any], key: str) -> bool:
    value = content[key]
    return key.endswith("/data") and isinstance(value, dict) and "xres" in value


def _channel_number(key: str) -> int:
    part = key.split("/")[1] if key.count("/") > 1 else ""
    return int(part) if part.isdigit() else 0


def _image(content: Mapping[str, Any], key: str) -> ImageChannel:
    field = content[key]
    values = np.array(field["data"], dtype=np.float64).reshape(field["yres"], field["xres"])
    lateral, unit = (str(field.get(name, {}).get("unitstr", "")) for name in ("si_unit_xy", "si_unit_z"))
    stem = key.removesuffix("/data")
    said, mask = content.get(f"{stem}/meta", {}), content.get(f"{stem}/mask")
    # Gwyddion's data hold no NaN. A mask may mark anything: it means missing pixels only where the file says so.
    if isinstance(said, dict) and isinstance(mask, dict) and "under the mask" in str(said.get(MISSING, "")):
        values = np.where(np.array(mask["data"]).reshape(values.shape) > 0.0, np.nan, values)
    title = str(content.get(f"{key}/title", key))
    length, scale = unit_factor(unit_of_image(lateral, "z"), "m"), unit_factor(unit_of_image(unit, title), "m")
    if scale is not None:  # Gwyddion itself writes base units; others' writers may not
        values, unit = scale * values, "m"
    sizes = ((length * float(field[k]) if length is not None else None) for k in ("xreal", "yreal"))
    return ImageChannel(title, values, unit, *sizes)


def _read_object(data: memoryview, at: int, depth: int) -> tuple[str, dict[str, Any], int]:
    if depth > _DEEPEST:
        raise ValueError("objects in objects")
    name, at = _read_string(data, at)
    (size,) = struct.unpack_from("<I", data, at)
    at += 4
    end = at + size
    if end > len(data):
        raise ValueError("cut")
    components: dict[str, Any] = {}
    while at < end:
        key, at = _read_string(data, at)
        components[key], at = _read_value(data, at, depth)
    return name, components, end


def _read_value(data: memoryview, at: int, depth: int) -> tuple[Any, int]:
    kind = chr(data[at])
    at += 1
    if kind in _SCALARS:
        size = struct.calcsize(_SCALARS[kind])
        return struct.unpack_from(_SCALARS[kind], data, at)[0], at + size
    if kind == "s":
        return _read_string(data, at)
    if kind == "o":
        _, components, at = _read_object(data, at, depth + 1)
        return components, at
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    if kind in _ARRAYS:
        size = count * np.dtype(_ARRAYS[kind]).itemsize
        if at + size > len(data):
            raise ValueError("cut")
        return np.frombuffer(data, _ARRAYS[kind], count, at), at + size
    items: list[Any] = []
    item: Any
    for _ in range(count):
        if kind == "S":
            item, at = _read_string(data, at)
        elif kind == "O":
            _, item, at = _read_object(data, at, depth + 1)
        else:
            raise ValueError("unknown type")
        items.append(item)
    return items, at


def _read_string(data: memoryview, at: int) -> tuple[str, int]:
    stop = at
    while data[stop]:
        stop += 1
    return bytes(data[at:stop]).decode("utf-8"), stop + 1


# -- Gwyddion Simple Field: a header of texts, one to four zero bytes, then the rows in single precision, top first.


def read_gsf(data: bytes, path: Path) -> ImageFile:
    """The image of a `.gsf`; `BadInput` for one that is truncated or damaged."""
    end = data.find(b"\0")
    lines = data[: max(end, 0)].decode("utf-8", "replace").splitlines()[1:]
    fields = {key.strip(): value.strip() for key, equals, value in (line.partition("=") for line in lines) if equals}
    begin = end + 4 - end % 4
    try:
        columns, rows = int(fields["XRes"]), int(fields["YRes"])
        sizes = [float(fields[key]) if fields.get("XYUnits") == "m" else None for key in ("XReal", "YReal")]
        if not 0 < 4 * rows * columns == len(data) - begin:
            raise ValueError("size")
    except (KeyError, ValueError):
        limit = "its header states XRes and YRes, and so many numbers follow it"
        raise bad(path, "content", "a damaged .gsf file", limit, "save it again") from None
    values = np.frombuffer(data, "<f4", rows * columns, begin).reshape(rows, columns).astype(np.float64)
    scale, unit = _unit(fields.get("ZUnits", ""))
    image = ImageChannel(fields.get("Title", "data"), scale * values, unit, *sizes)
    settings = {key: value for key, value in fields.items() if key not in ("XRes", "YRes", "XReal", "YReal")}
    return ImageFile(".gsf", (image,), settings)


def _unit(text: str) -> tuple[float, str]:
    """(factor, SI unit) of a unit; one of another quantity is kept as it is written."""
    try:
        return (factor(text), si_unit(text)) if text else (1.0, "")
    except OutsideDomain:
        return 1.0, text


# Text export: a matrix of numbers under a header of comments in the language of Gwyddion's user.
# The header's four lines are told apart by their order, since their words are translated: channel, width, height, unit.
_HEADER_LINE: Final = re.compile(r"#\s*[^:]+:\s*(?P<value>.*)")
_LENGTH: Final = re.compile(r"(?P<number>[-+\d.,eE]+)\s*(?P<unit>\S+)")


def looks_like_export(text: Text) -> bool:
    """Whether the first lines are a channel, two lengths with units, and a unit."""
    header = [_HEADER_LINE.fullmatch(line.strip()) for line in text.lines[:4]]
    if len(header) < 3 or any(line is None for line in header[:3]):
        return False
    return all(_length(match["value"]) is not None for match in header[1:3] if match is not None)


def parse_export(text: Text, path: Path) -> ImageFile:
    """The image of an export; `BadInput` where rows differ in length or hold no numbers."""
    header = [line for line in text.lines if line.strip().startswith("#")]
    body = [(k, line) for k, line in enumerate(text.lines, 1) if line.strip() and not line.strip().startswith("#")]
    values = [match["value"].strip() for line in header if (match := _HEADER_LINE.fullmatch(line.strip()))]
    unit = values[3] if len(values) > 3 else ""
    scale = 1.0
    if unit:
        try:
            unit = unit_of_image(unit, values[0])
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
        "Gwyddion text export",
        (ImageChannel(values[0], scale * np.array(rows), unit, x, y),),
        {line.lstrip("# ").split(":")[0]: value for line, value in zip(header, values, strict=False)},
        (f"decimal {decimal_word}, {text.encoding}",),
    )


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        return None
    value = number(match["number"], "," if "," in match["number"] else ".")
    try:
        unit = unit_of_image(match["unit"], "z")
        return value * factor(unit) if value is not None and si_unit(unit) == "m" else None
    except OutsideDomain:
        return None
