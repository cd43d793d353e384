"""Cell steps that control the potential: sweep, conditioning, hold and the ladder of held levels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import ConfigDict, Field

from opsicm.protocol.frozen import Number, Potential, Seconds, Whole
from opsicm.protocol.given_current import FallenCurrent
from opsicm.protocol.refusal import Refusal
from opsicm.protocol.timed_step import Leg, TimedStep
from opsicm.units import to_si

IrCompensation = Annotated[Number, Field(ge=0, lt=100, examples=[97])]
_WHOLE_STEPS: Final = 1e-6  # of a step: 1.7 - 0.1 is not eight times 0.2 in binary


def _found(given: Mapping[str, Any], *keys: str) -> list[Any]:
    return [given.get(key) for key in keys]


class PotentialStep(TimedStep):
    """A step that controls the potential; the potentiostat takes out part of the ohmic drop if told so."""

    ir_compensation_pct: IrCompensation = 0

    @property
    def ir_compensation(self) -> float:
        """Fraction of the uncompensated resistance that the potentiostat takes out."""
        return to_si("ir_compensation_pct", self.ir_compensation_pct)


class Sweep(PotentialStep):
    """A linear sweep there and back: one cycle is `from_V` → `to_V` → `from_V`.

    With `start_V` a cycle begins between the two: `start_V` → `to_V` → `from_V` → `start_V`.
    """

    word: ClassVar[str] = "sweep"
    from_V: Annotated[Potential, Field(examples=[1.7])]
    to_V: Annotated[Potential, Field(examples=[0.0])]
    rate_mV_s: Annotated[Number, Field(gt=0, le=10_000, examples=[0.3])]
    cycles: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    start_V: Potential | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A sweep must go somewhere, and begin on its way."""
        start, end, begin = _found(given, "from_V", "to_V", "start_V")
        if end is not None and start == end:
            yield Refusal(("to_V",), end, "must differ from from_V", "use hold to stay at one potential")
        if None not in (start, end, begin) and not min(start, end) <= begin <= max(start, end):
            limit = f"must lie between from_V and to_V, {start:g} and {end:g} V"
            yield Refusal(("start_V",), begin, limit, "begin between the two vertices, or leave it out")

    @property
    def rate(self) -> float:
        """Magnitude of the sweep rate [V/s]."""
        return to_si("rate_mV_s", self.rate_mV_s)

    def legs(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]) of every straight piece, in order; pieces without a length left out."""
        corners: tuple[float, ...] = (self.from_V, self.to_V, self.from_V)
        if self.start_V is not None:
            corners = (self.start_V, self.to_V, self.from_V, self.start_V)
        pairs = [(a, b) for a, b in itertools.pairwise(corners) if a != b]
        return tuple((a, b, abs(b - a) / self.rate) for a, b in pairs) * self.cycles


class Conditioning(Sweep):
    """Sweeps that form the film before the ones that are watched; the probe waits meanwhile, if it is told to."""

    word: ClassVar[str] = "conditioning"


class Hold(PotentialStep):
    """One potential for a time, or `until` the current has fallen below a magnitude; with both, whichever comes first.

    After a `constant_current` to the same potential it is the second half of CC-CV.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["for_s"]}, {"required": ["until"]}]})
    word: ClassVar[str] = "hold"
    potential_V: Annotated[Potential, Field(examples=[0.1])]
    for_s: Annotated[Seconds | None, Field(examples=[300])] = None
    until: FallenCurrent | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A hold must have an end."""
        if "for_s" not in given and "until" not in given:
            remedy = "add one, as for_s: 300 or until: {current_mA_cm2: 0.02}"
            yield Refusal((), "", "needs for_s or until", remedy)


class Ladder(PotentialStep):
    """Levels from `from_V` to `to_V`, both included, `step_mV` apart.

    Each is held for `rest_s + hold_s`. The events `rest` and `potential_V` come at each level when `rest_s` has passed,
    so that what the probe does then has `hold_s` to do it in.
    """

    word: ClassVar[str] = "ladder"
    from_V: Annotated[Potential, Field(examples=[1.7])]
    to_V: Annotated[Potential, Field(examples=[0.1])]
    step_mV: Annotated[Number, Field(ge=0.1, le=10_000, examples=[200])]
    rest_s: Annotated[Seconds, Field(examples=[300])]
    hold_s: Annotated[Number, Field(ge=0, le=1e7, examples=[1500])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A whole number of steps, one at least."""
        start, end, step = _found(given, "from_V", "to_V", "step_mV")
        if end is not None and start == end:
            yield Refusal(("to_V",), end, "must differ from from_V", "use hold to stay at one potential")
        elif None not in (start, end, step):
            count = abs(end - start) / to_si("step_mV", step)
            if abs(count - round(count)) > _WHOLE_STEPS or round(count) < 1:
                span_mV = abs(end - start) * 1e3
                limit = f"does not divide the {span_mV:g} mV from {start:g} to {end:g} V into whole steps"
                nearest = span_mV / max(1, round(count))
                yield Refusal(("step_mV",), step, limit, f"write step_mV: {nearest:.6g}, or move an end")

    def levels(self) -> tuple[float, ...]:
        """The held potentials [V] in order; exact at both ends."""
        count = round(abs(self.to_V - self.from_V) / to_si("step_mV", self.step_mV))
        return tuple(round(self.from_V + (self.to_V - self.from_V) * k / count, 9) for k in range(count + 1))

    def legs(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]): one level piece for each level."""
        return tuple((level, level, self.rest_s + self.hold_s) for level in self.levels())
