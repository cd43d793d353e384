"""Gwyddion's own `.gwy`: a serialised container; its data fields are the images.

Layout, from Gwyddion's user guide ("Gwyddion native format", no code used): `GWYP`, then one object: its type as a
zero-terminated string, its size as uint32, its components; a component is a zero-terminated name, one letter for the
type, and the value, little endian. A data field is `/n/data` with its title at `/n/data/title`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from opsicm.record.formats.image_file import Image, ImageFile
from opsicm.record.formats.text import bad

MAGIC: Final = b"GWYP"
_SCALARS: Final = {"b": "<?", "c": "<c", "i": "<i", "q": "<q", "d": "<d"}
_ARRAYS: Final = {"C": "<i1", "I": "<i4", "Q": "<i8", "D": "<f8"}
_DEEPEST: Final = 16


def read_gwy(data: bytes, path: Path) -> ImageFile:
    """All data fields of a `.gwy`; `BadInput` for a file that is cut, damaged or holds no image."""
    try:
        name, content, _ = _object(memoryview(data), len(MAGIC), 0)
        found = [_image(content, key) for key in sorted(content, key=_number) if _is_field(content, key)]
    except (struct.error, UnicodeDecodeError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise bad(path, "content", "a damaged Gwyddion file", "its objects do not fit their sizes", "save it again")\
            from None  # fmt: skip
    if not found:
        raise bad(path, "content", f"a {name} without images", "a data field is needed", "save a channel with it")
    settings = {key: value for key, value in content.items() if isinstance(value, str) and "/meta" not in key}
    return ImageFile(".gwy", tuple(found), settings)


def _is_field(content: Mapping[str, Any], key: str) -> bool:
    value = content[key]
    return key.endswith("/data") and isinstance(value, dict) and "xres" in value


def _number(key: str) -> int:
    part = key.split("/")[1] if key.count("/") > 1 else ""
    return int(part) if part.isdigit() else 0


def _image(content: Mapping[str, Any], key: str) -> Image:
    field = content[key]
    values = np.array(field["data"], dtype=np.float64).reshape(field["yres"], field["xres"])
    lateral, unit = (str(field.get(name, {}).get("unitstr", "")) for name in ("si_unit_xy", "si_unit_z"))
    known = lateral == "m"
    title = str(content.get(f"{key}/title", key))
    return Image(title, values, unit, *((float(field[k]) if known else None) for k in ("xreal", "yreal")))


def _object(data: memoryview, at: int, depth: int) -> tuple[str, dict[str, Any], int]:
    if depth > _DEEPEST:
        raise ValueError("objects in objects")
    name, at = _string(data, at)
    (size,) = struct.unpack_from("<I", data, at)
    at += 4
    end = at + size
    if end > len(data):
        raise ValueError("cut")
    found: dict[str, Any] = {}
    while at < end:
        key, at = _string(data, at)
        found[key], at = _value(data, at, depth)
    return name, found, end


def _value(data: memoryview, at: int, depth: int) -> tuple[Any, int]:
    kind = chr(data[at])
    at += 1
    if kind in _SCALARS:
        size = struct.calcsize(_SCALARS[kind])
        return struct.unpack_from(_SCALARS[kind], data, at)[0], at + size
    if kind == "s":
        return _string(data, at)
    if kind == "o":
        _, found, at = _object(data, at, depth + 1)
        return found, at
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
            item, at = _string(data, at)
        elif kind == "O":
            _, item, at = _object(data, at, depth + 1)
        else:
            raise ValueError("unknown type")
        items.append(item)
    return items, at


def _string(data: memoryview, at: int) -> tuple[str, int]:
    stop = at
    while data[stop]:
        stop += 1
    return bytes(data[at:stop]).decode("utf-8"), stop + 1
