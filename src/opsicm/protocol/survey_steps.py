"""Probe steps that prepare and correct: offset, engage, tilt, landmarks, and a new tip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from opsicm.protocol.frozen import Number, Seconds, Text, Whole
from opsicm.protocol.hopping_steps import Area, Falling
from opsicm.protocol.places import Pixels
from opsicm.protocol.probe_bounds import ProbeAction
from opsicm.protocol.refusal import Refusal
from opsicm.units import to_si

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class Zero(ProbeAction):
    """No bias for a time: the amplifier's offset, measured and recorded as a fact."""

    word: ClassVar[str] = "zero"
    for_s: Annotated[Seconds, Field(examples=[2])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """`for_s` is how long it measures, not a bound among others."""
        yield from super().refusals({key: value for key, value in given.items() if key != "for_s"})

    @property
    def time_bound(self) -> float | None:
        """How long it measures [s]."""
        return self.for_s


class Engage(Falling):
    """Find the surface from far away: fall over the scanner's range, step the coarse stage down, and again.

    It ends with the surface in the middle of the scanner's range.
    """

    word: ClassVar[str] = "engage"
    step_um: Annotated[Number, Field(gt=0, le=1000, examples=[5])]

    @property
    def step(self) -> float:
        """One step of the coarse stage [m]."""
        return to_si("step_um", self.step_um)


class Tilt(Area):
    """Hop on a grid of `points` × `points`, fit a plane, record it as a fact."""

    word: ClassVar[str] = "tilt"
    points: Annotated[Whole, Field(ge=2, le=64, examples=[3])]

    @property
    def count(self) -> int:
        """Hops to the step's own end."""
        return self.points * self.points


class Landmark(Area):
    """Image a place that can be found again, under a name."""

    word: ClassVar[str] = "landmark"
    name: Annotated[Name, Field(examples=["corner"])]
    pixels: Annotated[Pixels, Field(examples=[[32, 32]])]

    @property
    def count(self) -> int:
        """Hops to the step's own end."""
        return self.pixels[0] * self.pixels[1]


class ReturnTo(ProbeAction):
    """Image a landmark again and shift x and y by how far it has moved; the shift is a fact."""

    word: ClassVar[str] = "return_to"
    name: Annotated[Name, Field(examples=["corner"])]


class ExchangeTip(ProbeAction):
    """The pipette has been exchanged: a fact, so that what is measured before and after is not taken for one."""

    word: ClassVar[str] = "exchange_tip"
    note: Annotated[Text, Field(examples=["pipette 2 of the batch"])]
