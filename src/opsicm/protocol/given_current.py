"""A cell current as a laboratory gives it: in mA, per area, or as a C-rate. Negative lithiates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import ConfigDict, Field

from opsicm.errors import OutsideDomain, Problem
from opsicm.protocol.frozen import Frozen, Number
from opsicm.protocol.refusal import Refusal
from opsicm.protocol.timed_step import TimedStep
from opsicm.units import to_si

_COULOMB_PER_HOUR_AMPERE: Final = 3600.0
CURRENTS: Final = ("current_mA", "current_mA_cm2", "c_rate")


class OneCurrent(Frozen):
    """A current given in exactly one of three ways."""

    example: ClassVar[str] = "current_mA_cm2: -0.4 (negative lithiates)"
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in CURRENTS]})
    current_mA: Annotated[Number, Field(ge=-10_000, le=10_000)] | None = None
    current_mA_cm2: Annotated[Number | None, Field(ge=-10_000, le=10_000, examples=[-0.4])] = None
    c_rate: Annotated[Number, Field(ge=-1000, le=1000)] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Exactly one current, and not zero."""
        currents = [key for key in CURRENTS if key in given]
        ways = "current_mA, current_mA_cm2 and c_rate"
        if not currents:
            yield Refusal((), "", f"needs one of {ways}", f"add one, as {cls.example}")
        for key in currents[1:]:
            limit = f"{currents[0]} is given too, and there is only one of {ways}"
            yield Refusal((key,), given[key], limit, f"delete {currents[0]} or {key}")
        if len(currents) == 1 and given[currents[0]] == 0:
            remedy = "give a current other than zero (negative lithiates), or use open_circuit"
            yield Refusal((currents[0],), given[currents[0]], "passes no charge", remedy)

    def current(self, area_m2: float, capacity_C: float | None = None) -> float:
        """Cell current [A], negative lithiates; `capacity_C` [C] of the specimen is needed for a C-rate."""
        if self.current_mA is not None:
            return to_si("current_mA", self.current_mA)
        if self.current_mA_cm2 is not None:
            return to_si("current_mA_cm2", self.current_mA_cm2) * area_m2
        if capacity_C is None or self.c_rate is None:
            problem = Problem("c_rate", str(self.c_rate), "a C-rate needs the capacity of the specimen", "pass it")
            raise OutsideDomain(problem)
        return self.c_rate * capacity_C / _COULOMB_PER_HOUR_AMPERE

    def current_density(self, area_m2: float, capacity_C: float | None = None) -> float:
        """Cell current per geometric area [A/m²], negative lithiates."""
        return self.current(area_m2, capacity_C) / area_m2


class GivenCurrent(OneCurrent, TimedStep):
    """A step that drives a current."""


class FallenCurrent(OneCurrent):
    """The current, as a magnitude, that ends a hold: it has fallen below it."""

    called: ClassVar[str] = "until"
    example: ClassVar[str] = "current_mA_cm2: 0.02"
    current_mA: Annotated[Number, Field(gt=0, le=10_000)] | None = None
    current_mA_cm2: Annotated[Number | None, Field(gt=0, le=10_000, examples=[0.02])] = None
    c_rate: Annotated[Number, Field(gt=0, le=1000)] | None = None
