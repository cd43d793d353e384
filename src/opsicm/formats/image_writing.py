"""Images for other programs: Gwyddion's `.gwy` and `.gsf`, and OME-TIFF stacks.

The first row of an image is its top, as every one of these formats and its readers have it. Layouts from Gwyddion's
user guide ("Gwyddion native format", "Gwyddion Simple Field"; no code used) and the OME-TIFF specification.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.gwyddion import GSF_MAGIC, MAGIC, MISSING, UNDER_MASK
from opsicm.formats.table_writing import must_have

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to be written: `values` [row, column] in the SI `unit`, first row at the top, NaN where missing.

    `width`, `height` [m] of the whole image, None where unknown; `left`, `top` [m] where its upper left corner lies in
    the specimen's coordinates, y up. `name` is the quantity; `number` and `time` [s] which of a series it is, None of
    one alone. `remarks` are texts (step, potential).
    """

    name: str
    values: F64
    unit: str
    width: float | None = None
    height: float | None = None
    left: float = 0.0
    top: float = 0.0
    time: float | None = None
    number: int | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name with the number of the image in its series."""
        return self.name if self.number is None else f"{self.name}, image {self.number}"


def _extent(picture: Picture) -> tuple[float, float, str]:
    """(width, height, lateral unit): in pixels where the size is not known, which is better than a size made up."""
    if picture.width is None or picture.height is None:
        rows, columns = picture.values.shape
        return float(columns), float(rows), ""
    return picture.width, picture.height, "m"


# -- Gwyddion -------------------------------------------------------------------------------------------------------


def gwy_bytes(pictures: Sequence[Picture]) -> bytes:
    """`pictures` as the channels of a `.gwy`, in SI.

    Gwyddion's y axis points down, so that its offset of an image is minus the `top`. Its data hold no NaN: missing
    pixels carry the mean of the others and lie under the channel's mask, and the channel's metadata say so.
    """
    components = b""
    for k, picture in enumerate(pictures):
        missing = ~np.isfinite(picture.values)
        known = picture.values[~missing]
        filled = np.where(missing, known.mean() if known.size else 0.0, picture.values)
        remarks = dict(picture.remarks)
        components += _component(f"/{k}/data", _field(picture, filled, picture.unit))
        components += _component(f"/{k}/data/title", picture.title)
        if missing.any():
            components += _component(f"/{k}/mask", _field(picture, missing.astype(np.float64), ""))
            remarks[MISSING] = UNDER_MASK.format(int(missing.sum()))
        if remarks:
            meta = b"".join(_component(name, text) for name, text in remarks.items())
            components += _component(f"/{k}/meta", _Object("GwyContainer", meta))
    return MAGIC + _object(_Object("GwyContainer", components))


@dataclass(frozen=True, slots=True)
class _Object:
    name: str
    components: bytes


def _object(item: _Object) -> bytes:
    return _string(item.name) + struct.pack("<I", len(item.components)) + item.components


def _string(text: str) -> bytes:
    return text.replace("\0", " ").encode("utf-8") + b"\0"


def _component(name: str, value: int | float | str | F64 | _Object) -> bytes:
    head = _string(name)
    match value:
        case int():
            return head + b"i" + struct.pack("<i", value)
        case float():
            return head + b"d" + struct.pack("<d", value)
        case str():
            return head + b"s" + _string(value)
        case _Object():
            return head + b"o" + _object(value)
        case _:
            return head + b"D" + struct.pack("<I", value.size) + value.astype("<f8").tobytes()


def _field(picture: Picture, values: F64, unit: str) -> _Object:
    rows, columns = values.shape
    width, height, lateral = _extent(picture)
    numbers: dict[str, int | float | F64 | _Object] = {
        "xres": columns,
        "yres": rows,
        "xreal": width,
        "yreal": height,
        "xoff": picture.left,
        "yoff": -picture.top,
        "si_unit_xy": _Object("GwySIUnit", _component("unitstr", lateral)),
        "si_unit_z": _Object("GwySIUnit", _component("unitstr", _gwy_unit(unit))),
        "data": np.ascontiguousarray(values, np.float64),
    }
    return _Object("GwyDataField", b"".join(_component(name, value) for name, value in numbers.items()))


def _gwy_unit(unit: str) -> str:
    return "" if unit == "1" else unit


def gsf_bytes(picture: Picture) -> bytes:
    """`picture` as a Gwyddion Simple Field: a header of texts, then the values in single precision.

    Single precision keeps 6e-8 of a value: 1 pm of 10 µm. Missing pixels are NaN, which the format knows.
    """
    rows, columns = picture.values.shape
    width, height, lateral = _extent(picture)
    fields = {
        "XRes": columns,
        "YRes": rows,
        "XReal": repr(width),
        "YReal": repr(height),
        "XOffset": repr(picture.left),
        "YOffset": repr(-picture.top),
        "XYUnits": lateral,
        "ZUnits": _gwy_unit(picture.unit),
        "Title": _line(picture.title),
        **{_line(name).replace("=", " "): _line(text) for name, text in picture.remarks.items()},
    }
    head = GSF_MAGIC + "".join(f"{name} = {value}\n" for name, value in fields.items() if value != "").encode("utf-8")
    # One to four zero bytes, so that the data begin at a multiple of four.
    return head + b"\0" * (4 - len(head) % 4) + picture.values.astype("<f4").tobytes()


def _line(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())


# -- OME-TIFF -------------------------------------------------------------------------------------------------------


def ome_tiff_bytes(pictures: Sequence[Picture]) -> bytes:
    """`pictures` as an OME-TIFF: images of one shape and size are one stack over time, in double precision and SI.

    A stack's channels are the names of the pictures that share a time, with their units. Raises `BadInput` without
    tifffile.
    """
    must_have("tifffile", "OME-TIFF", "name OUT with .gwy")
    import tifffile  # type: ignore[import-untyped,import-not-found,unused-ignore] # noqa: PLC0415

    out = io.BytesIO()
    with tifffile.TiffWriter(out, ome=True) as tiff:
        for stack in _stacks(pictures):
            first = stack[0]
            times = list(dict.fromkeys(picture.time for picture in stack))
            channels = [f"{p.name} [{p.unit or 'unit not stated'}]" for p in stack[: len(stack) // len(times)]]
            values = np.stack([picture.values for picture in stack])
            values = values.reshape(len(times), len(channels), *first.values.shape)
            metadata: dict[str, Any] = {"axes": "TCYX", "Channel": {"Name": channels}}
            if first.width is not None and first.height is not None:
                rows, columns = first.values.shape
                metadata |= {"PhysicalSizeX": 1e6 * first.width / columns, "PhysicalSizeXUnit": "µm"}
                metadata |= {"PhysicalSizeY": 1e6 * first.height / rows, "PhysicalSizeYUnit": "µm"}
            if None not in times:
                planes = [time for time in times for _ in channels]
                metadata["Plane"] = {"DeltaT": planes, "DeltaTUnit": ["s"] * len(planes)}
            remarks = "; ".join(f"{k}: {v}" for k, v in first.remarks.items())
            metadata["Description"] = f"values in SI; first row at the top. {remarks}".strip()
            tiff.write(values, photometric="minisblack", metadata=metadata)
    return out.getvalue()


def _stacks(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Pictures of one area and shape together, in order of time; in each stack every time has the same names."""
    areas: dict[object, list[Picture]] = {}
    for picture in pictures:
        areas.setdefault((picture.values.shape, _extent(picture), picture.left, picture.top), []).append(picture)
    stacks: list[list[Picture]] = []
    for of_area in areas.values():
        by_time: dict[float | None, list[Picture]] = {}
        for picture in of_area:
            by_time.setdefault(picture.time, []).append(picture)
        names = {tuple((p.name, p.unit) for p in at) for at in by_time.values()}
        stacks += [[p for at in by_time.values() for p in at]] if len(names) == 1 else [[p] for p in of_area]
    return stacks
