"""The cell program: what the potentiostat does to the specimen. Negative current lithiates."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, get_args

from pydantic import ConfigDict, Field

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.units import to_si
from opsicm.experiment.current_words import DIRECTIONS, Magnitude, magnitude
from opsicm.experiment.program import RepeatStep
from opsicm.experiment.refusal import Refusal
from opsicm.experiment.step_model import BaseCellStep, ByWord, FileModel, Leg, Number, Potential, Seconds, Whole

# -- Currents in mA, per area, or as a C-rate: negative lithiates. Or in words, where the word is the direction.

_COULOMB_PER_HOUR_AMPERE: Final = 3600.0
CURRENTS: Final = ("current_mA", "current_mA_cm2", "c_rate")
CURRENTS_AND_WORDS: Final = (*CURRENTS, *DIRECTIONS)


def _exactly_one(keys: tuple[str, ...]) -> dict[str, Any]:
    return {"oneOf": [{"required": [key]} for key in keys]}


class CurrentSetting(FileModel):
    """A current given in exactly one of three ways."""

    example: ClassVar[str] = "current_mA_cm2: 0.02"
    ways: ClassVar[tuple[str, ...]] = CURRENTS
    model_config = ConfigDict(json_schema_extra=_exactly_one(CURRENTS))
    current_mA: Annotated[Number, Field(ge=-10_000, le=10_000)] | None = None
    current_mA_cm2: Annotated[Number | None, Field(ge=-10_000, le=10_000, examples=[-0.4])] = None
    c_rate: Annotated[Number, Field(ge=-1000, le=1000)] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Exactly one current, and not zero."""
        currents = [key for key in cls.ways if key in given]
        choices = f"{', '.join(cls.ways[:-1])} and {cls.ways[-1]}"
        if not currents:
            yield Refusal((), "", f"needs one of {choices}", f"add one, as {cls.example}")
        for key in currents[1:]:
            limit = f"{currents[0]} is given too, and there is only one of {choices}"
            yield Refusal((key,), given[key], limit, f"delete {currents[0]} or {key}")
        if len(currents) == 1 and given[currents[0]] == 0:
            remedy = "give a current other than zero (negative lithiates), or use open_circuit"
            yield Refusal((currents[0],), given[currents[0]], "passes no charge", remedy)

    @property
    def signed(self) -> tuple[str, float]:
        """(which of `current_mA`, `current_mA_cm2` and `c_rate`, its value), negative lithiates."""
        values = ((key, getattr(self, key)) for key in CURRENTS)
        return next((key, value) for key, value in values if value is not None)

    def current(self, area_m2: float, capacity_C: float | None = None) -> float:
        """Cell current [A], negative lithiates; `capacity_C` [C] of the specimen is needed for a C-rate."""
        key, value = self.signed
        if key == "current_mA":
            return to_si(key, value)
        if key == "current_mA_cm2":
            return to_si(key, value) * area_m2
        if capacity_C is None:
            problem = Problem("c_rate", str(value), "a C-rate needs the capacity of the specimen", "pass it")
            raise OutsideDomain(problem)
        return value * capacity_C / _COULOMB_PER_HOUR_AMPERE

    def current_density(self, area_m2: float, capacity_C: float | None = None) -> float:
        """Cell current per geometric area [A/m²], negative lithiates."""
        return self.current(area_m2, capacity_C) / area_m2


class CurrentStep(CurrentSetting, BaseCellStep):
    """A step that drives a current: a number with a sign, or a word for the direction and a magnitude with its unit."""

    example: ClassVar[str] = "lithiate: 0.4 mA/cm2, or current_mA_cm2: -0.4 (negative lithiates)"
    ways: ClassVar[tuple[str, ...]] = CURRENTS_AND_WORDS
    model_config = ConfigDict(json_schema_extra=_exactly_one(CURRENTS_AND_WORDS))
    lithiate: Magnitude | None = None
    delithiate: Magnitude | None = None

    @property
    def signed(self) -> tuple[str, float]:
        """(which of `current_mA`, `current_mA_cm2` and `c_rate`, its value), negative lithiates."""
        for word, sign in DIRECTIONS.items():
            if (text := getattr(self, word)) is not None:
                key, value = magnitude(text)
                return key, sign * value
        return super().signed


class EndCurrent(CurrentSetting):
    """The magnitude of the current below which a hold ends."""

    display_name: ClassVar[str] = "until"
    current_mA: Annotated[Number, Field(gt=0, le=10_000)] | None = None
    current_mA_cm2: Annotated[Number | None, Field(gt=0, le=10_000, examples=[0.02])] = None
    c_rate: Annotated[Number, Field(gt=0, le=1000)] | None = None


# -- Steps that control the current: constant current, pulse train (GITT), open circuit.


class Until(FileModel):
    """What ends a constant current: whichever comes first. Charge is a magnitude.

    `soc_pct` is counted from the last delithiated cut-off of the program; before the first one there is no state of
    charge, and it ends nothing.
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
            remedy = "give at least one, as until: {for_s: 3600}"  # a potential depends on the direction
            yield Refusal((), given, "needs potential_V, for_s, charge_mAh or soc_pct", remedy)

    @property
    def charge(self) -> float | None:
        """Charge passed at the end, as a magnitude [C]; None when charge does not end the step."""
        return None if self.charge_mAh is None else to_si("charge_mAh", self.charge_mAh)

    @property
    def soc(self) -> float | None:
        """State of charge at the end, 0 … 1; None when it does not end the step."""
        return None if self.soc_pct is None else to_si("soc_pct", self.soc_pct)


class ConstantCurrentStep(CurrentStep):
    """A constant current until a cut-off: `lithiate: C/5`, or a number of which a negative one lithiates."""

    word: ClassVar[str] = "constant_current"
    until: Annotated[Until, Field(examples=[{"for_s": 3600}])]


class CutOff(FileModel):
    """A potential that ends a pulse train."""

    display_name: ClassVar[str] = "until"
    potential_V: Annotated[Potential, Field(examples=[0.01])]


class Gitt(CurrentStep):
    """Galvanostatic intermittent titration: a pulse, a rest at open circuit, and again.

    `lithiate: C/20`, or a number of which a negative one lithiates.

    It ends after `pulses` pulses with their rests, or with the pulse that reaches `until`, whichever comes first.
    """

    model_config = ConfigDict(
        json_schema_extra={
            **_exactly_one(CURRENTS_AND_WORDS),
            "anyOf": [{"required": ["pulses"]}, {"required": ["until"]}],
        }
    )
    word: ClassVar[str] = "gitt"
    rest_key: ClassVar[str] = "rest_s"
    pulse_s: Annotated[Seconds, Field(examples=[120])]
    rest_s: Annotated[Seconds, Field(examples=[300])]
    pulses: Annotated[Whole | None, Field(ge=1, le=100_000, examples=[10])] = None
    until: CutOff | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """One current, and an end."""
        yield from super().refusals(given)
        if "pulses" not in given and "until" not in given:
            yield Refusal((), "", "needs pulses or until", "add one, as pulses: 10")


class OpenCircuitStep(BaseCellStep):
    """No current for a time; the potential is only measured."""

    word: ClassVar[str] = "open_circuit"
    rest_key: ClassVar[str] = "for_s"
    for_s: Annotated[Seconds, Field(examples=[300])]


class Rest(OpenCircuitStep):
    """Another word for open circuit, as cyclers use it."""

    word: ClassVar[str] = "rest"


# -- Steps that control the potential: sweep, conditioning, hold and ladder.

IrCompensation = Annotated[Number, Field(ge=0, lt=100, examples=[97])]
_WHOLE_STEPS: Final = 1e-6  # of a step: 1.7 - 0.1 is not eight times 0.2 in binary


def _values_of(given: Mapping[str, Any], *keys: str) -> list[Any]:
    return [given.get(key) for key in keys]


class PotentialStep(BaseCellStep):
    """A step that controls the potential, optionally with compensation of part of the ohmic drop."""

    ir_compensation_pct: IrCompensation = 0

    @property
    def ir_compensation(self) -> float:
        """Fraction of the uncompensated resistance that the potentiostat compensates."""
        return to_si("ir_compensation_pct", self.ir_compensation_pct)


class Sweep(PotentialStep):
    """A linear sweep there and back: one cycle is `from_V` → `to_V` → `from_V`.

    With `start_V` a cycle begins between the two: `start_V` → `to_V` → `from_V` → `start_V`.
    """

    word: ClassVar[str] = "sweep"
    from_V: Annotated[Potential, Field(examples=[1.7])]
    to_V: Annotated[Potential, Field(examples=[0.0])]
    rate_mV_s: Annotated[Number, Field(ge=1e-6, le=10_000, examples=[0.3])]
    cycles: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    start_V: Potential | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The two vertices differ, and the sweep begins between them."""
        start, end, begin = _values_of(given, "from_V", "to_V", "start_V")
        if end is not None and start == end:
            yield Refusal(("to_V",), end, "must differ from from_V", "use hold to stay at one potential")
        if None not in (start, end, begin) and not min(start, end) <= begin <= max(start, end):
            limit = f"must lie between from_V and to_V, {start:g} and {end:g} V"
            yield Refusal(("start_V",), begin, limit, "begin between the two vertices, or leave it out")

    @property
    def rate(self) -> float:
        """Magnitude of the sweep rate [V/s]."""
        return to_si("rate_mV_s", self.rate_mV_s)

    def one_cycle(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]) of each ramp of a cycle, in order; ramps of zero length are left out."""
        corners: tuple[float, ...] = (self.from_V, self.to_V, self.from_V)
        if self.start_V is not None:
            corners = (self.start_V, self.to_V, self.from_V, self.start_V)
        pairs = [(a, b) for a, b in itertools.pairwise(corners) if a != b]
        return tuple((a, b, abs(b - a) / self.rate) for a, b in pairs)


class Conditioning(Sweep):
    """Sweeps that form the surface film before the measurement; probe steps run during them only if they say so."""

    word: ClassVar[str] = "conditioning"


class Hold(PotentialStep):
    """One potential for a time, or `until` the current has fallen below a magnitude; with both, whichever comes first.

    After a `constant_current` to the same potential it is the second half of CC-CV.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["for_s"]}, {"required": ["until"]}]})
    word: ClassVar[str] = "hold"
    potential_V: Annotated[Potential, Field(examples=[0.1])]
    for_s: Annotated[Seconds | None, Field(examples=[300])] = None
    until: EndCurrent | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A hold must have an end."""
        if "for_s" not in given and "until" not in given:
            remedy = "add one, as for_s: 300 or until: {current_mA_cm2: 0.02}"
            yield Refusal((), "", "needs for_s or until", remedy)


class Ladder(PotentialStep):
    """Levels from `from_V` to `to_V`, both included, `step_mV` apart.

    Each is held for `rest_s + hold_s`. The events `rest` and `potential_V` occur at each level when `rest_s` has
    passed; a probe step that waits for them then has `hold_s`.
    """

    word: ClassVar[str] = "ladder"
    rest_key: ClassVar[str] = "hold_s"
    from_V: Annotated[Potential, Field(examples=[1.7])]
    to_V: Annotated[Potential, Field(examples=[0.1])]
    step_mV: Annotated[Number, Field(ge=0.1, le=10_000, examples=[200])]
    rest_s: Annotated[Seconds, Field(examples=[300])]
    hold_s: Annotated[Number, Field(ge=0, le=1e7, examples=[1500])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A whole number of steps, one at least."""
        start, end, step = _values_of(given, "from_V", "to_V", "step_mV")
        if end is not None and start == end:
            yield Refusal(("to_V",), end, "must differ from from_V", "use hold to stay at one potential")
        elif None not in (start, end, step):
            count = abs(end - start) / to_si("step_mV", step)
            if abs(count - round(count)) > _WHOLE_STEPS or round(count) < 1:
                span_mV = abs(end - start) * 1e3
                limit = f"does not divide the {span_mV:g} mV from {start:g} to {end:g} V into whole steps"
                nearest = span_mV / max(1, round(count))
                yield Refusal(("step_mV",), step, limit, f"write step_mV: {nearest:.12g}, or move an end")

    def levels(self) -> tuple[float, ...]:
        """The held potentials [V] in order; exact at both ends."""
        count = round(abs(self.to_V - self.from_V) / to_si("step_mV", self.step_mV))
        return tuple(round(self.from_V + (self.to_V - self.from_V) * k / count, 9) for k in range(count + 1))


class CellRepeat(RepeatStep):
    """Its steps, repeated `times` times. `during: cell[k]` counts a repeat as one step."""

    steps: Annotated[
        tuple[CellStep, ...], Field(min_length=1, examples=[[{"hold": {"potential_V": 0.1, "for_s": 300}}]])
    ]


SingleCellStep = Sweep | Hold | Ladder | ConstantCurrentStep | Gitt | OpenCircuitStep
"""A step that is no repeat: conditioning is a sweep, rest is open circuit."""
AnyCellStep = Sweep | Conditioning | Hold | Ladder | ConstantCurrentStep | Gitt | OpenCircuitStep | Rest | CellRepeat
CellStep = Annotated[AnyCellStep, ByWord()]
CellRepeat.model_rebuild()
CELL_STEPS: Final[dict[str, type[FileModel]]] = {step.word: step for step in get_args(AnyCellStep)}
