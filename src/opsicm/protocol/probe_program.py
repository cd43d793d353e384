"""The probe program: what the pipette does while the cell program runs.

Each step lasts as long as one bound says: `during` a cell step (it starts when that step starts and ends when
it ends), `for_s` a time, or a count of hops or passes. Without a bound it lasts until the cell program ends.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag

from opsicm.protocol.frozen import Frozen, Number, Seconds, Whole
from opsicm.protocol.one_key import OneKey, word_of
from opsicm.protocol.refusal import Refusal
from opsicm.units import to_si

CELL_REFERENCE: Final = re.compile(r"cell\[(0|[1-9][0-9]{0,5})\]")
During = Annotated[str, StringConstraints(strict=True, pattern=r"^cell\[(0|[1-9][0-9]{0,5})\]$")]
Coordinate = Annotated[Number, Field(ge=-1e5, le=1e5)]
Point = tuple[Coordinate, Coordinate]
Amplitude = Annotated[Number, Field(ge=1, le=20_000, examples=[2000])]
FallRate = Annotated[Number, Field(ge=0.01, le=1000, examples=[30])]
Setpoint = Annotated[Number, Field(gt=0, le=50, examples=[2.0])]
Count = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
_BOUNDS = ("during", "for_s", "hops", "passes")
# No two of the bounds, in JSON Schema's words.
_ONE_BOUND: Final[dict[str, Any]] = {
    "not": {"anyOf": [{"required": list(pair)} for pair in itertools.combinations(_BOUNDS, 2)]}
}


class BoundedStep(Frozen):
    """What every probe step has: at most one bound."""

    model_config = ConfigDict(json_schema_extra=_ONE_BOUND)
    word: ClassVar[Literal["park", "hop", "line"]]
    during: During | None = None
    for_s: Seconds | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """At most one bound."""
        bounds = [bound for bound in _BOUNDS if bound in given]
        for bound in bounds[1:]:
            limit = f"{bounds[0]} is given too, and a step has one bound at most"
            yield Refusal((bound,), given[bound], limit, f"delete {bounds[0]} or {bound}")

    @property
    def during_index(self) -> int | None:
        """Number of the cell step that this step accompanies, counted from 0."""
        return None if self.during is None else cell_index(self.during)


class Park(BoundedStep):
    """Stay at a height above the specimen."""

    word: ClassVar[Literal["park", "hop", "line"]] = "park"
    height_um: Annotated[Number, Field(gt=0, le=10_000, examples=[10])]

    @property
    def height(self) -> float:
        """Height above the specimen [m]."""
        return to_si("height_um", self.height_um)


class _Hopping(BoundedStep):
    amplitude_nm: Amplitude
    fall_nm_per_ms: FallRate
    setpoint_pct: Setpoint

    @property
    def amplitude(self) -> float:
        """Distance withdrawn after a contact [m]."""
        return to_si("amplitude_nm", self.amplitude_nm)

    @property
    def fall_rate(self) -> float:
        """Speed of the approach [m/s]."""
        return to_si("fall_nm_per_ms", self.fall_nm_per_ms)

    @property
    def setpoint(self) -> float:
        """Relative drop of the current that ends a fall: 0.02 for 2 %."""
        return to_si("setpoint_pct", self.setpoint_pct)


class Hop(_Hopping):
    """Approach and withdraw at one point, over and over."""

    word: ClassVar[Literal["park", "hop", "line"]] = "hop"
    at_um: Annotated[Point, Field(examples=[[0, 0]])]
    hops: Count | None = None

    @property
    def at(self) -> tuple[float, float]:
        """The point (x, y) [m]."""
        return _metres("at_um", self.at_um)


class Line(_Hopping):
    """Hop along a straight line of pixels, over and over; one pass is from start to end."""

    word: ClassVar[Literal["park", "hop", "line"]] = "line"
    from_um: Annotated[Point, Field(examples=[[0, 0]])]
    to_um: Annotated[Point, Field(examples=[[10, 0]])]
    pixels: Annotated[Whole, Field(ge=2, le=65_536, examples=[128])]
    passes: Count | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A line must have a length."""
        yield from super().refusals(given)
        start, end = given.get("from_um"), given.get("to_um")
        if start is not None and end is not None and tuple(start) == tuple(end):
            yield Refusal(("to_um",), end, "must differ from from_um", "use hop to stay at one point")

    @property
    def start(self) -> tuple[float, float]:
        """Where the line begins (x, y) [m]."""
        return _metres("from_um", self.from_um)

    @property
    def end(self) -> tuple[float, float]:
        """Where the line ends (x, y) [m]."""
        return _metres("to_um", self.to_um)


def cell_index(reference: str) -> int | None:
    """The number in `cell[k]`; None when the text is no such reference."""
    match = CELL_REFERENCE.fullmatch(reference)
    return int(match[1]) if match else None


def _metres(key: str, point: tuple[float, float]) -> tuple[float, float]:
    return to_si(key, point[0]), to_si(key, point[1])


ProbeStep = Annotated[
    Annotated[Park, OneKey("park"), Tag("park")]
    | Annotated[Hop, OneKey("hop"), Tag("hop")]
    | Annotated[Line, OneKey("line"), Tag("line")],
    Discriminator(word_of),
]
PROBE_STEPS: dict[str, type[Frozen]] = {step.word: step for step in (Park, Hop, Line)}
