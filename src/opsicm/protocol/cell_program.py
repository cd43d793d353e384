"""The cell program: what the potentiostat does to the specimen. Negative current lithiates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from opsicm.errors import OutsideDomain, Problem
from opsicm.protocol.frozen import Frozen, Number, Potential, Seconds, Whole
from opsicm.protocol.one_key import OneKey, word_of
from opsicm.protocol.refusal import Refusal
from opsicm.units import to_si

IrCompensation = Annotated[Number, Field(ge=0, lt=100, examples=[97])]
Leg = tuple[float, float, float]
_COULOMB_PER_HOUR_AMPERE = 3600.0
_CURRENTS = ("current_mA", "current_mA_cm2", "c_rate")


class Sweep(Frozen):
    """A linear sweep there and back: one cycle is `from_V` → `to_V` → `from_V`."""

    word: ClassVar[Literal["sweep"]] = "sweep"
    from_V: Annotated[Potential, Field(examples=[1.7])]
    to_V: Annotated[Potential, Field(examples=[0.0])]
    rate_mV_s: Annotated[Number, Field(gt=0, le=10_000, examples=[0.3])]
    cycles: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    ir_compensation_pct: IrCompensation = 0

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A sweep must go somewhere."""
        if given.get("to_V") is not None and given.get("from_V") == given["to_V"]:
            yield Refusal(("to_V",), given["to_V"], "must differ from from_V", "use hold to stay at one potential")

    @property
    def rate(self) -> float:
        """Magnitude of the sweep rate [V/s]."""
        return to_si("rate_mV_s", self.rate_mV_s)

    @property
    def ir_compensation(self) -> float:
        """Fraction of the uncompensated resistance that the potentiostat takes out."""
        return to_si("ir_compensation_pct", self.ir_compensation_pct)

    def legs(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]) of every straight piece, in order."""
        duration = abs(self.to_V - self.from_V) / self.rate
        return ((self.from_V, self.to_V, duration), (self.to_V, self.from_V, duration)) * self.cycles


class Hold(Frozen):
    """One potential for a time."""

    word: ClassVar[Literal["hold"]] = "hold"
    potential_V: Annotated[Potential, Field(examples=[0.1])]
    for_s: Annotated[Seconds, Field(examples=[300])]
    ir_compensation_pct: IrCompensation = 0

    @property
    def ir_compensation(self) -> float:
        """Fraction of the uncompensated resistance that the potentiostat takes out."""
        return to_si("ir_compensation_pct", self.ir_compensation_pct)

    def legs(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]): one level piece."""
        return ((self.potential_V, self.potential_V, self.for_s),)


class Until(Frozen):
    """What ends a constant current: whichever comes first. Charge is a magnitude."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    potential_V: Potential | None = None
    for_s: Seconds | None = None
    charge_mAh: Annotated[Number, Field(gt=0, le=1e6)] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A constant current must have an end."""
        if not given:
            yield Refusal(
                (), given, "needs potential_V, for_s or charge_mAh", "give at least one, as until: {potential_V: 0.01}"
            )

    @property
    def charge(self) -> float | None:
        """Charge passed at the end, as a magnitude [C]; None when charge does not end the step."""
        return None if self.charge_mAh is None else to_si("charge_mAh", self.charge_mAh)


class ConstantCurrent(Frozen):
    """A constant current, given in one of three ways, until a cut-off. Negative lithiates."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in _CURRENTS]})
    word: ClassVar[Literal["constant_current"]] = "constant_current"
    current_mA: Annotated[Number, Field(ge=-10_000, le=10_000)] | None = None
    current_mA_cm2: Annotated[Number | None, Field(ge=-10_000, le=10_000, examples=[-0.4])] = None
    c_rate: Annotated[Number, Field(ge=-1000, le=1000)] | None = None
    until: Annotated[Until, Field(examples=[{"potential_V": 0.01}])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Exactly one current, and not zero."""
        currents = [key for key in _CURRENTS if key in given]
        ways = "current_mA, current_mA_cm2 and c_rate"
        if not currents:
            yield Refusal((), "", f"needs one of {ways}", "add one, as current_mA_cm2: -0.4 (negative lithiates)")
        for key in currents[1:]:
            limit = f"{currents[0]} is given too, and the step takes only one of {ways}"
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


class OpenCircuit(Frozen):
    """No current for a time; the potential is only measured."""

    word: ClassVar[Literal["open_circuit", "rest"]] = "open_circuit"
    for_s: Annotated[Seconds, Field(examples=[300])]


class Rest(OpenCircuit):
    """Another word for open circuit, as cyclers use it."""

    word: ClassVar[Literal["open_circuit", "rest"]] = "rest"


CellStep = Annotated[
    Annotated[Sweep, OneKey("sweep"), Tag("sweep")]
    | Annotated[Hold, OneKey("hold"), Tag("hold")]
    | Annotated[ConstantCurrent, OneKey("constant_current"), Tag("constant_current")]
    | Annotated[OpenCircuit, OneKey("open_circuit"), Tag("open_circuit")]
    | Annotated[Rest, OneKey("rest"), Tag("rest")],
    Discriminator(word_of),
]
CELL_STEPS: dict[str, type[Frozen]] = {step.word: step for step in (Sweep, Hold, ConstantCurrent, OpenCircuit, Rest)}


def cell_step_duration(step: Sweep | Hold | ConstantCurrent | OpenCircuit) -> float | None:
    """The longest that a step can last [s]; None when only its cut-offs bound it."""
    match step:
        case Sweep():
            return sum(duration for _, _, duration in step.legs())
        case ConstantCurrent():
            return step.until.for_s
        case _:
            return step.for_s
