"""Probe steps that hop: at a point, along a line, over an area; and the bias levels at the top of a hop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from opsicm.protocol.frozen import Frozen, Number, Text, Whole
from opsicm.protocol.places import Pixels, Point, Size, metres
from opsicm.protocol.probe_bounds import BoundedStep, Count, ProbeAction
from opsicm.protocol.refusal import Refusal
from opsicm.units import to_si

Amplitude = Annotated[Number, Field(ge=1, le=20_000, examples=[2000])]
FallRate = Annotated[Number, Field(ge=0.01, le=1000, examples=[30])]
Setpoint = Annotated[Number, Field(gt=0, le=50, examples=[2.0])]
Levels = Annotated[
    tuple[Annotated[Number, Field(ge=-2, le=2)], ...],
    Field(min_length=2, max_length=64, examples=[[0.65, 0.75]]),
]
Milliseconds = Annotated[Number, Field(gt=0, le=10_000)]


def modulation_refusals(given: Mapping[str, Any]) -> Iterator[Refusal]:
    """The blanked time must leave some of the dwell to look at; two levels at least must differ."""
    dwell, blanking, levels = (given.get(key) for key in ("dwell_ms", "blanking_ms", "levels_V"))
    if dwell is not None and blanking is not None and blanking >= dwell:
        limit = f"must be shorter than dwell_ms, {dwell:g} ms, or nothing is left to measure"
        yield Refusal(("blanking_ms",), blanking, limit, "blank a tenth of the dwell, or dwell longer")
    if levels is not None and len(levels) > 1 and len(set(levels)) == 1:
        yield Refusal(("levels_V",), list(levels), "all levels are the same", "give two that differ, as [0.65, 0.75]")


class Modulation(Frozen):
    """At the top of every hop the wire steps through `levels_V` (against Li/Li⁺) and returns to the bias.

    Of each dwell the first `blanking_ms` are not measured: the stray capacitance charges then.
    """

    levels_V: Levels
    dwell_ms: Annotated[Milliseconds, Field(examples=[5])]
    blanking_ms: Annotated[Number, Field(ge=0, le=10_000, examples=[0.5])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """What levels, dwell and blanking must satisfy together."""
        return modulation_refusals(given)

    @property
    def dwell(self) -> float:
        """Time at each level [s]."""
        return to_si("dwell_ms", self.dwell_ms)

    @property
    def blanking(self) -> float:
        """Time at the beginning of each level that is not measured [s]."""
        return to_si("blanking_ms", self.blanking_ms)

    @property
    def duration(self) -> float:
        """Time that all levels take in one hop [s]."""
        return self.dwell * len(self.levels_V)


class Falling(ProbeAction):
    """What every fall towards the surface needs."""

    fall_nm_per_ms: FallRate
    setpoint_pct: Setpoint

    @property
    def fall_rate(self) -> float:
        """Speed of the approach [m/s]."""
        return to_si("fall_nm_per_ms", self.fall_nm_per_ms)

    @property
    def setpoint(self) -> float:
        """Relative drop of the current that ends a fall: 0.02 for 2 %."""
        return to_si("setpoint_pct", self.setpoint_pct)


class Hopping(Falling):
    """Falls and withdrawals, one after the other."""

    amplitude_nm: Amplitude

    @property
    def amplitude(self) -> float:
        """Distance withdrawn after a contact [m]."""
        return to_si("amplitude_nm", self.amplitude_nm)

    @property
    def modulation(self) -> Modulation | None:
        """The bias levels at the top of each hop; None where the bias stays."""
        return getattr(self, "modulate", None)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return None


class AtPoint(Hopping, BoundedStep):
    """Hops at one point, over and over."""

    at_um: Annotated[Point, Field(examples=[[0, 0]])]
    hops: Count | None = None

    @property
    def place(self) -> tuple[float, float]:
        """The point (x, y) [m]."""
        return metres("at_um", self.at_um)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return self.hops


class Hop(AtPoint):
    """Approach and withdraw at one point, over and over."""

    word: ClassVar[str] = "hop"
    modulate: Modulation | None = None


class Modulate(AtPoint):
    """Hop at one point and step the wire through `levels_V` at the top of every hop."""

    word: ClassVar[str] = "modulate"
    levels_V: Levels
    dwell_ms: Annotated[Milliseconds, Field(examples=[5])]
    blanking_ms: Annotated[Number, Field(ge=0, le=10_000, examples=[0.5])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A step's bounds, and what levels, dwell and blanking must satisfy together."""
        yield from super().refusals(given)
        yield from modulation_refusals(given)

    @property
    def modulation(self) -> Modulation:
        """The bias levels at the top of each hop."""
        return Modulation(levels_V=self.levels_V, dwell_ms=self.dwell_ms, blanking_ms=self.blanking_ms)


class Line(Hopping, BoundedStep):
    """Hop along a straight line of pixels, over and over; one pass is from start to end."""

    word: ClassVar[str] = "line"
    from_um: Annotated[Point, Field(examples=[[0, 0]])]
    to_um: Annotated[Point, Field(examples=[[10, 0]])]
    pixels: Annotated[Whole, Field(ge=2, le=65_536, examples=[128])]
    passes: Count | None = None
    modulate: Modulation | None = None

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
        return metres("from_um", self.from_um)

    @property
    def end(self) -> tuple[float, float]:
        """Where the line ends (x, y) [m]."""
        return metres("to_um", self.to_um)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return None if self.passes is None else self.passes * self.pixels


class Area(Hopping):
    """A rectangle of pixels."""

    center_um: Annotated[Point, Field(examples=[[0, 0]])]
    size_um: Annotated[Size, Field(examples=[[20, 20]])]

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the rectangle (x, y) [m]."""
        return metres("center_um", self.center_um)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the rectangle [m], from the first pixel to the last."""
        return metres("size_um", self.size_um)

    @property
    def rotation(self) -> float:
        """Angle from the x axis to the rows, counter-clockwise [rad]."""
        return 0.0

    def corners(self) -> tuple[tuple[float, float], ...]:
        """The four corners (x, y) [m]: the outermost places that the tip goes to."""
        (x, y), (w, h), (c, s) = self.center, self.size, (math.cos(self.rotation), math.sin(self.rotation))
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        return tuple((x + (u * w * c - v * h * s) / 2, y + (u * w * s + v * h * c) / 2) for u, v in signs)


class Raster(Area, BoundedStep):
    """An image: a hop at every pixel of a rectangle, row by row.

    One pass, unless `passes` says how many, or `during` or `for_s` lets it go on. `amplitude_map` names a .npy or .csv
    file of amplitudes [nm], one a pixel, shape (ny, nx), seen from the experiment file; `amplitude_nm` then is that of
    the first fall.
    """

    word: ClassVar[str] = "raster"
    pixels: Annotated[Pixels, Field(examples=[[128, 128]])]
    order: Literal["serpentine", "forward"] = "serpentine"
    rotation_deg: Annotated[Number, Field(ge=-180, le=180)] = 0.0
    passes: Count | None = None
    amplitude_map: Text | None = None
    modulate: Modulation | None = None
    ends_by_itself: ClassVar[bool] = True

    @property
    def rotation(self) -> float:
        """Angle from the x axis to the rows, counter-clockwise [rad]."""
        return to_si("rotation_deg", self.rotation_deg)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where `during` or `for_s` ends it."""
        passes = self.passes if self.passes is not None or self.during or self.for_s else 1
        return None if passes is None else passes * self.pixels[0] * self.pixels[1]
