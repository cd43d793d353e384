"""What goes over the WebSocket: binary messages to the page, short JSON texts from it.

A message to the page, little-endian:

    bytes     content
    0–3       "oCon"
    4–5       version of the layout, 1
    6         kind: 1 status, 2 view, 3 facts, 4 people, 5 settings
    7         how many views of the same moment follow this one
    8–11      number of the message to this page, from 1
    12–15     n, the length of the text
    16–16+n   UTF-8 JSON, filled up with spaces so that 16 + n is a multiple of 8
    16+n–     arrays of float64, one after the other, NaN where there is no value

In the text `{"at": k, "shape": [...]}` stands for an array: its first number is the k-th float64 behind the text, in C
order. The page draws views of one moment together and answers the last with the text `{"drawn": number}`; the next ones
are sent only then. A view has `times`, when what it shows was so: see `PageFigure`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem
from opsicm.figures.view import Axis, CurvePanel, ImagePanel, Series, View, colour_limits

VERSION: Final = 1
HEAD: Final = struct.Struct("<4sHBBII")  # magic, version, kind, views that follow, number, length of the text
MAGIC: Final = b"oCon"
LONGEST_FROM_PAGE: Final = 1024  # [bytes] of a text from the page


class Kind(IntEnum):
    """What a message holds."""

    STATUS = 1
    VIEW = 2
    FACTS = 3
    PEOPLE = 4
    SETTINGS = 5


class Arrays:
    """Collects the arrays of a message and gives each its place; those that are equal have one: the times of the cell's
    rows stand once, not with each curve."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._at = 0

    def place(self, values: NDArray[Any]) -> dict[str, Any]:
        """Where `values` will stand."""
        data = np.ascontiguousarray(values, dtype="<f8")
        at = self._places.setdefault(data.tobytes(), self._at)
        if at == self._at:
            self._at += data.size
        return {"at": at, "shape": list(data.shape)}

    def data(self) -> bytes:
        """All of them."""
        return b"".join(self._places)


@dataclass(frozen=True, slots=True)
class Message:
    """A message without its number, which differs from page to page."""

    kind: Kind
    text: bytes
    arrays: bytes = b""

    def numbered(self, number: int, follow: int = 0) -> bytes:
        """The bytes of the message; `follow` views of the same moment come after it."""
        return HEAD.pack(MAGIC, VERSION, self.kind, follow, number, len(self.text)) + self.text + self.arrays


def message(kind: Kind, content: Mapping[str, Any], arrays: Arrays | None = None) -> Message:
    """A message of `content`, which is JSON without NaN."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    return Message(kind, text + b" " * (-(HEAD.size + len(text)) % 8), b"" if arrays is None else arrays.data())


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A figure, and when what it shows was so, in seconds of the run: the cursor runs through all figures by it.

    `begin` is the zero of an axis of time. `pixels` are the times of the pixels [row, column] of each image (NaN: not
    reached), or of its columns [column]; `points` those of the first curve. `images` is when each image of a raster
    began. None and empty where a figure has no such thing.
    """

    view: View
    begin: float | None = None
    pixels: tuple[NDArray[np.float64], ...] = ()
    points: NDArray[np.float64] | None = None
    images: NDArray[np.float64] | None = None


def view_message(slot: str, figure: View | PageFigure) -> Message:
    """A figure for the place `slot` of the page."""
    figure = figure if isinstance(figure, PageFigure) else PageFigure(figure)
    view, arrays = figure.view, Arrays()
    panels = [
        _curves(panel, arrays) if isinstance(panel, CurvePanel) else _image(panel, arrays) for panel in view.panels
    ]
    times = {
        "begin": figure.begin,
        "pixels": [arrays.place(one) for one in figure.pixels],
        "points": None if figure.points is None else arrays.place(figure.points),
        "images": None if figure.images is None else arrays.place(figure.images),
    }
    content = {
        "slot": slot,
        "name": view.name,
        "title": view.title,
        "caption": view.caption,
        "share_x": view.share_x,
        "columns": view.columns,
        "panels": panels,
        "times": times,
    }
    return message(Kind.VIEW, content, arrays)


def _axis(axis: Axis) -> dict[str, str]:
    return {"quantity": axis.quantity, "unit": axis.unit, "label": axis.label}


def _curves(panel: CurvePanel, arrays: Arrays) -> dict[str, Any]:
    return {
        "kind": "curves",
        "x": _axis(panel.x),
        "y": _axis(panel.y),
        "series": [_series(series, arrays) for series in panel.series],
        "note": panel.note,
        "x_limits": panel.x_limits,
        "y_limits": panel.y_limits,
        "row_names": panel.row_names,
    }


def _series(series: Series, arrays: Arrays) -> dict[str, Any]:
    return {
        "label": series.label,
        "role": series.role,
        "style": series.style,
        "shade": series.shade,
        "x": arrays.place(series.x),
        "y": arrays.place(series.y),
        "band": None if series.band is None else arrays.place(series.band),
    }


def _image(panel: ImagePanel, arrays: Arrays) -> dict[str, Any]:
    finite = bool(np.isfinite(panel.values).any())
    return {
        "kind": "image",
        "x": _axis(panel.x),
        "y": _axis(panel.y),
        "value": _axis(panel.value),
        "values": arrays.place(panel.values),
        "extent": panel.extent,
        "shows": panel.shows,
        "limits": colour_limits(panel) if finite else None,
        "note": panel.note,
        "scale_bar": panel.scale_bar,
        "line": panel.line,
    }


def decoded(data: bytes) -> tuple[Kind, int, dict[str, Any]]:
    """(kind, number, content with its arrays in place) of a message: what the page does, for tests and other clients.

    Raises `BadInput` for what is no message.
    """
    try:
        magic, version, kind, _, number, length = HEAD.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise ValueError("no message of this version")
        numbers = np.frombuffer(data, "<f8", offset=HEAD.size + length)
        return Kind(kind), number, _with_arrays(json.loads(data[HEAD.size : HEAD.size + length]), numbers)
    except (struct.error, ValueError) as error:
        limit = f"is no message of the console ({error})"
        raise BadInput(Problem("message", f"{len(data)} bytes", limit, "read the layout in console/wire.py")) from error


def _with_arrays(content: Any, numbers: NDArray[np.float64]) -> Any:
    if isinstance(content, dict):
        if content.keys() == {"at", "shape"}:
            count = int(np.prod(content["shape"]))
            return numbers[content["at"] : content["at"] + count].reshape(content["shape"])
        return {key: _with_arrays(value, numbers) for key, value in content.items()}
    return [_with_arrays(one, numbers) for one in content] if isinstance(content, list) else content


@dataclass(frozen=True, slots=True)
class FromPage:
    """What a page says: a view `drawn`, the `levelling` of images it wants, how a replay goes on, or the `settings` of
    its figures, which are still to be checked."""

    drawn: int | None = None
    levelling: str | None = None
    speed: float | None = None
    playing: bool | None = None
    seek: float | None = None  # [s]
    settings: dict[str, Any] | None = None


_KEYS: Final[dict[str, tuple[type, ...]]] = {
    "drawn": (int,),
    "levelling": (str,),
    "speed": (int, float),
    "playing": (bool,),
    "seek": (int, float),
    "settings": (dict,),
}
LEVELLINGS: Final = ("none", "plane", "parabola")


def from_page(text: str) -> FromPage:
    """What the page says in `text`; raises `BadInput` for all but a JSON object with keys of `FromPage`."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not said or not all(_is_said(key, value) for key, value in said.items()):
        limit = f"a page says one JSON object with {', '.join(_KEYS)}"
        raise BadInput(Problem("message of a page", ascii(text[:60]), limit, "load the page anew"))
    return FromPage(**said)


def _is_said(key: str, value: Any) -> bool:
    if key not in _KEYS or not isinstance(value, _KEYS[key]) or (isinstance(value, bool) and key != "playing"):
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0 <= value < 1e12  # NaN is neither
    return key != "levelling" or value in LEVELLINGS
