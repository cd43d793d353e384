"""WSxM's `.stp`: an ini-like text of a stated length, then the rows as 16-bit integers or doubles.

Known from published files and from the public readers of Gwyddion and SurfaceTopography (no code used). Counts run
from the stated Minimum to Maximum over the stated Z amplitude (where these are missing, from the lowest count to the
highest); rows and columns are stored from the last to the first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import factor, si_unit
from opsicm.formats.image_file import ImageChannel, ImageFile, unit_of_image
from opsicm.formats.text import bad

MAGIC: Final = b"WSxM file copyright"
_SIZE: Final = re.compile(rb"Image header size: (\d+)")
_TYPES: Final = {"short": "<i2", "double": "<f8", "float": "<f4", "integer": "<i4"}
_MOST_PIXELS: Final = 1 << 26


def read_stp(data: bytes, path: Path) -> ImageFile:
    """The image of a `.stp`; `BadInput` for one that is truncated or whose header is incomplete."""
    stated = _SIZE.search(data[:400])
    head = data[: int(stated[1])] if stated else b""
    settings: dict[str, str] = {}
    for line in head.decode("latin-1").splitlines():
        key, colon, value = line.partition(": ")
        if colon:
            settings.setdefault(key.strip(), value.strip())
    try:
        rows, columns = int(settings["Number of rows"]), int(settings["Number of columns"])
        kind = _TYPES[settings.get("Image Data Type", "short")]
        if not 0 < rows * columns <= _MOST_PIXELS:
            raise ValueError("size")
        counts = np.frombuffer(data, kind, rows * columns, len(head)).reshape(rows, columns).astype(np.float64)
        channel = settings.get("Acquisition channel", "Topography")
        amplitude, unit = _quantity(settings["Z Amplitude"], channel)
        x, y = (_quantity(settings[f"{axis} Amplitude"], "Z") for axis in "XY")
    except (KeyError, ValueError, OutsideDomain):
        limit = "its header and its data do not fit each other"
        raise bad(path, "content", "a damaged WSxM file", limit, "save it again as .stp") from None
    low, high = (_number(settings.get(key, "")) for key in ("Minimum", "Maximum"))
    span = high - low if low is not None and high is not None else float(np.ptp(counts))
    values = counts[::-1, ::-1] * (amplitude / span if span > 0.0 else 0.0)
    sizes = [length if u == "m" else None for length, u in (x, y)]
    chosen = ("Acquisition time", "Head type", "Image processes", "Comments", "Set Point", "Acquisition mode")
    return ImageFile(
        ".stp", (ImageChannel(channel, values, unit, *sizes),), {k: settings[k] for k in chosen if k in settings}
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _quantity(text: str, channel: str) -> tuple[float, str]:
    value, _, written = text.partition(" ")
    unit = unit_of_image(written, channel)
    return float(value) * factor(unit), si_unit(unit)
