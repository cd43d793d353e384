"""Nanosurf's `.nid`: an ini text, the mark `#!`, and then the data sets' integers in the order in which it names them.

Known from published files and from the public readers of Gwyddion and SurfaceTopography (no code used): the line
`GrG-ChC=DataSet-a:b` names a channel's section; value = Min + Range·(count + 2^(bits-1))/2^bits for signed counts,
little endian for `Intel`.
"""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Final

import numpy as np

from opsicm.formats.column_titles import unit_factor
from opsicm.formats.image_file import ImageChannel, ImageFile, unit_of_image
from opsicm.formats.text import bad, decode

MAGIC: Final = b"[DataSet]"
_MARK: Final = b"#!"
_MOST_PIXELS: Final = 1 << 26


def read_nid(data: bytes, path: Path) -> ImageFile:
    """Every channel of a `.nid`; `BadInput` for one that is truncated or stores its samples in an unknown form."""
    mark = data.find(b"\r\n" + _MARK)
    mark = mark + 2 if mark >= 0 else data.find(_MARK)
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    try:
        parser.read_string("\n".join(decode(data[: max(mark, 0)], path).lines))
        groups = parser.getint("DataSet", "GroupCount")
        sections = [
            (parser.get("DataSet", f"Gr{g}-Name"), parser.get("DataSet", f"Gr{g}-Ch{c}"))
            for g in range(groups)
            for c in range(parser.getint("DataSet", f"Gr{g}-Count"))
            if parser.has_option("DataSet", f"Gr{g}-Ch{c}")
        ]
        images, at = [], mark + len(_MARK)
        for group, name in sections:
            image, at = _read_channel(parser[name], group, data, at)
            images.append(image)
    except (configparser.Error, ValueError, KeyError):
        limit = "its header or its data do not fit each other"
        raise bad(path, "content", "a damaged .nid file", limit, "copy it again from the instrument") from None
    if not images:
        raise bad(path, "content", "a .nid without channels", "an image is needed", "save the scan with its channels")
    info = parser["DataSet-Info"] if parser.has_section("DataSet-Info") else {}
    settings = {key: value for key, value in info.items() if value and not key.startswith("-")}
    return ImageFile(".nid", tuple(images), settings)


def _read_channel(section: configparser.SectionProxy, group: str, data: bytes, at: int) -> tuple[ImageChannel, int]:
    columns, rows, bits = (int(section[key]) for key in ("Points", "Lines", "SaveBits"))
    order = {"Intel": "<", "Motorola": ">"}[section["SaveOrder"]]
    signed = {"Signed": True, "Unsigned": False}[section["SaveSign"]]
    if section["SaveMode"] != "Binary" or bits not in (8, 16, 32) or not 0 < rows * columns <= _MOST_PIXELS:
        raise ValueError("unknown storage")
    counts = np.frombuffer(data, f"{order}{'i' if signed else 'u'}{bits // 8}", rows * columns, at)
    share = (counts.astype(np.float64) + (2.0 ** (bits - 1) if signed else 0.0)) / 2.0**bits
    values = float(section["Dim2Min"]) + float(section["Dim2Range"]) * share
    name = f"{group} {section['Dim2Name']}"
    lengths = [unit_factor(unit_of_image(section[f"Dim{k}Unit"], "z"), "m") for k in (0, 1)]
    sizes = [None if one is None else one * float(section[f"Dim{k}Range"]) for k, one in enumerate(lengths)]
    unit = unit_of_image(section["Dim2Unit"], name)
    scale = unit_factor(unit, "m")
    if scale is not None:
        values, unit = scale * values, "m"
    upright = values.reshape(rows, columns)[::-1]  # the first line stored is the lowest, as Gwyddion opens it too
    return ImageChannel(name, upright, unit, *sizes), at + rows * columns * bits // 8
