"""Cell steps that control the current: constant current, pulse train (GITT), open circuit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from opsicm.protocol.frozen import Frozen, Number, Potential, Seconds, Whole
from opsicm.protocol.given_current import GivenCurrent
from opsicm.protocol.refusal import Refusal
from opsicm.protocol.timed_step import TimedStep
from opsicm.units import to_si


class Until(Frozen):
    """What ends a constant current: whichever comes first. Charge is a magnitude.

    `soc_pct` counts from the last delithiated cut-off of the program; before the first there is no state of charge, and
    it ends nothing.
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    potential_V: Potential | None = None
    for_s: Seconds | None = None
    charge_mAh: Annotated[Number, Field(gt=0, le=1e6)] | None = None
    soc_pct: Annotated[Number, Field(ge=0, le=100)] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A constant current must have an end."""
        if not given:
            remedy = "give at least one, as until: {potential_V: 0.01}"
            yield Refusal((), given, "needs potential_V, for_s, charge_mAh or soc_pct", remedy)

    @property
    def charge(self) -> float | None:
        """Charge passed at the end, as a magnitude [C]; None when charge does not end the step."""
        return None if self.charge_mAh is None else to_si("charge_mAh", self.charge_mAh)

    @property
    def soc(self) -> float | None:
        """State of charge at the end, 0 … 1; None when it does not end the step."""
        return None if self.soc_pct is None else to_si("soc_pct", self.soc_pct)


class ConstantCurrent(GivenCurrent):
    """A constant current, given in one of three ways, until a cut-off. Negative lithiates."""

    word: ClassVar[str] = "constant_current"
    until: Annotated[Until, Field(examples=[{"potential_V": 0.01}])]


class CutOff(Frozen):
    """A potential that ends a pulse train."""

    called: ClassVar[str] = "until"
    potential_V: Annotated[Potential, Field(examples=[0.01])]


class Gitt(GivenCurrent):
    """Galvanostatic intermittent titration: a pulse, a rest at open circuit, and again. Negative current lithiates.

    It ends after `pulses` pulses with their rests, or with the pulse that reaches `until`, whichever comes first.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [key]} for key in ("current_mA", "current_mA_cm2", "c_rate")],
            "anyOf": [{"required": ["pulses"]}, {"required": ["until"]}],
        }
    )
    word: ClassVar[str] = "gitt"
    pulse_s: Annotated[Seconds, Field(examples=[120])]
    rest_s: Annotated[Seconds, Field(examples=[300])]
    pulses: Annotated[Whole | None, Field(ge=1, le=100_000, examples=[10])] = None
    until: CutOff | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """One current, and an end."""
        yield from super().refusals(given)
        if "pulses" not in given and "until" not in given:
            yield Refusal((), "", "needs pulses or until", "add one, as pulses: 10 or until: {potential_V: 0.01}")


class OpenCircuit(TimedStep):
    """No current for a time; the potential is only measured."""

    word: ClassVar[str] = "open_circuit"
    for_s: Annotated[Seconds, Field(examples=[300])]


class Rest(OpenCircuit):
    """Another word for open circuit, as cyclers use it."""

    word: ClassVar[str] = "rest"
