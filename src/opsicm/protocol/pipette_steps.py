"""Probe steps without a hop: staying at a height, travelling by millimetres, the pipette's own voltammogram."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from opsicm.protocol.frozen import Number, Seconds, Whole
from opsicm.protocol.probe_bounds import BoundedStep, Count, ProbeAction
from opsicm.protocol.refusal import Refusal
from opsicm.protocol.timed_step import Leg
from opsicm.units import to_si

Height = Annotated[Number, Field(gt=0, le=10_000, examples=[10])]
WirePotential = Annotated[Number, Field(ge=-2, le=2)]


class Park(BoundedStep):
    """Stay at a height above the specimen."""

    word: ClassVar[str] = "park"
    height_um: Height

    @property
    def height(self) -> float:
        """Height above the specimen [m]."""
        return to_si("height_um", self.height_um)


class Tower(BoundedStep):
    """The coarse stage up and down between two heights, over and over; one trip is up and down again."""

    word: ClassVar[str] = "tower"
    low_um: Annotated[Height, Field(examples=[100])]
    high_um: Annotated[Height, Field(examples=[2600])]
    speed_mm_s: Annotated[Number, Field(gt=0, le=100, examples=[0.5])]
    dwell_s: Annotated[Number, Field(ge=0, le=1e6)] = 0.0
    record_every_s: Annotated[Seconds, Field(ge=1e-3)] = 0.05
    trips: Count | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A tower goes upwards."""
        yield from super().refusals(given)
        low, high = given.get("low_um"), given.get("high_um")
        if low is not None and high is not None and not low < high:
            yield Refusal(("high_um",), high, f"must be above low_um, {low:g} µm", "write the lower height as low_um")

    @property
    def low(self) -> float:
        """Lower height [m]."""
        return to_si("low_um", self.low_um)

    @property
    def high(self) -> float:
        """Upper height [m]."""
        return to_si("high_um", self.high_um)

    @property
    def speed(self) -> float:
        """Speed of the coarse stage [m/s]."""
        return to_si("speed_mm_s", self.speed_mm_s)

    @property
    def trip_duration(self) -> float:
        """One trip, up and down with its two dwells [s]; accelerations left out."""
        return 2.0 * ((self.high - self.low) / self.speed + self.dwell_s)


class PipetteSweep(ProbeAction):
    """The wire's potential (against Li/Li⁺) there and back at a height: the pipette's own voltammogram."""

    word: ClassVar[str] = "pipette_sweep"
    from_V: Annotated[WirePotential, Field(examples=[-0.7])]
    to_V: Annotated[WirePotential, Field(examples=[0.7])]
    rate_mV_s: Annotated[Number, Field(gt=0, le=100_000, examples=[100])]
    cycles: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    height_um: Height

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A sweep must go somewhere."""
        yield from super().refusals(given)
        if given.get("to_V") is not None and given.get("from_V") == given["to_V"]:
            yield Refusal(("to_V",), given["to_V"], "must differ from from_V", "use park to stay at one bias")

    @property
    def rate(self) -> float:
        """Magnitude of the sweep rate [V/s]."""
        return to_si("rate_mV_s", self.rate_mV_s)

    @property
    def height(self) -> float:
        """Height above the specimen [m]."""
        return to_si("height_um", self.height_um)

    def legs(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]) of every straight piece, in order."""
        duration = abs(self.to_V - self.from_V) / self.rate
        return ((self.from_V, self.to_V, duration), (self.to_V, self.from_V, duration)) * self.cycles
