"""Places in the plane of the specimen, as a file writes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from opsicm.protocol.frozen import Number, Whole
from opsicm.units import to_si

Coordinate = Annotated[Number, Field(ge=-1e5, le=1e5)]
Length = Annotated[Number, Field(gt=0, le=1e5)]
PixelCount = Annotated[Whole, Field(ge=2, le=4096)]
Point = tuple[Coordinate, Coordinate]
Size = tuple[Length, Length]
Pixels = tuple[PixelCount, PixelCount]


def metres(key: str, pair: tuple[float, float]) -> tuple[float, float]:
    """A pair of numbers whose key carries their unit, in metres."""
    return to_si(key, pair[0]), to_si(key, pair[1])
