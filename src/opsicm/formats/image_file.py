"""Images of other microscopes, as every reader of an image file returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.column_titles import unit_name

F64 = NDArray[np.float64]
_HEIGHT_WORDS = ("z-axis", "topography", "height", "höhe", "z")


def is_height_name(name: str) -> bool:
    """Whether a channel's name ends in a word for a height."""
    return name.lower().rpartition(" ")[2] in _HEIGHT_WORDS


def unit_of_image(written: str, name: str) -> str:
    """The unit of a channel as `core.units` has it, or as written: "A" of a height is Å without its ring."""
    unit = unit_name(written) or written.strip()
    return "Å" if unit == "A" and is_height_name(name) else unit


@dataclass(frozen=True, slots=True)
class ImageChannel:
    """One channel: `values` [row, column] in `unit` (SI; "" where the file states none), sizes [m], None if unknown.

    The first row is the top of the image, as the instrument's and Gwyddion's windows show it.
    """

    name: str
    values: F64
    unit: str
    x_size: float | None
    y_size: float | None


@dataclass(frozen=True, slots=True)
class ImageFile:
    """All channels of a file, its format's name and further settings; `notes` state what the reader assumed."""

    format: str
    images: tuple[ImageChannel, ...]
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def heights(self) -> tuple[ImageChannel, ...]:
        """The height channels: those in metres, or all of them in a file without units."""
        metres = tuple(image for image in self.images if image.unit == "m")
        named = [i for i in metres if is_height_name(i.name)]
        # The topography first, other lengths (a sensor, an error signal) after it.
        ordered = (*named, *(i for i in metres if not is_height_name(i.name)))
        return ordered or tuple(image for image in self.images if image.unit == "")
