"""When a probe step starts and when it ends.

A step runs after the one before it. It lasts as long as one bound says: `during` a cell step (it starts when that step
starts and ends when it ends), `for_s` a time, or a count of its own. Without a bound a step that does not end by itself
lasts until the cell program ends. A step with `at` waits for events of the cell instead, and runs once, to its own
end, at each of them; the step that was running is suspended meanwhile. A step with `every_min` runs in the same way at
equal intervals, `during` a cell step or throughout the cell program.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from opsicm.core.units import to_si
from opsicm.experiment.refusal import KeyPath, Refusal
from opsicm.experiment.step_model import FileModel, Number, Potential, Seconds, Whole

Point = tuple[float, float]
CELL_REFERENCE: Final = re.compile(r"cell\[(0|[1-9][0-9]{0,5})\]")
During = Annotated[str, StringConstraints(strict=True, pattern=r"^cell\[(0|[1-9][0-9]{0,5})\]$")]
Count = Annotated[Whole, Field(ge=1, le=1_000_000_000)]
COUNTS: Final = ("hops", "passes", "trips")
_BOUNDS: Final = ("during", "for_s", *COUNTS)
_EVENTS: Final = ("after_each", "soc_pct", "potential_V")
# No two of the bounds, in JSON Schema's words. An event is no bound, and excludes `during`; of a step with `every_min`
# `during` says when it is repeated, and another bound ends it each time.
_PAIRS: Final = [*itertools.combinations(_BOUNDS, 2), ("during", "at"), ("every_min",)]
_PAIRS_OF_REPEATED: Final = [*itertools.combinations(_BOUNDS[1:], 2), ("at",)]
_ONE_BOUND: Final[dict[str, Any]] = {
    "anyOf": [
        {"not": {"anyOf": [{"required": list(pair)} for pair in _PAIRS]}},
        {"required": ["every_min"], "not": {"anyOf": [{"required": list(pair)} for pair in _PAIRS_OF_REPEATED]}},
    ]
}


class AwaitedEvents(FileModel):
    """The events of the cell that a step waits for: one kind of them.

    `after_each: rest` occurs at each ladder level when its `rest_s` has passed, and at the beginning of each open
    circuit; `soc_pct` and `potential_V` occur each time the cell crosses one of the values.
    """

    display_name: ClassVar[str] = "at"
    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    after_each: Literal["rest"] | None = None
    soc_pct: Annotated[tuple[Annotated[Number, Field(ge=0, le=100)], ...], Field(min_length=1)] | None = None
    potential_V: Annotated[tuple[Potential, ...], Field(min_length=1)] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Exactly one kind of event."""
        events = [event for event in _EVENTS if event in given]
        if not events:
            remedy = "write at: {after_each: rest}, {soc_pct: […]} or {potential_V: […]}"
            yield Refusal((), given, "names no event", remedy)
        for event in events[1:]:
            limit = f"{events[0]} is given too, and a step waits for one kind of event"
            yield Refusal((event,), given[event], limit, f"delete {events[0]} or {event}")

    @property
    def soc(self) -> tuple[float, ...]:
        """States of charge, 0 … 1."""
        return tuple(to_si("soc_pct", value) for value in self.soc_pct or ())


class BaseProbeStep(FileModel):
    """The base of every probe step: the cell step that it accompanies, or the events that it waits for."""

    model_config = ConfigDict(json_schema_extra=_ONE_BOUND)
    word: ClassVar[str]
    ends_by_itself: ClassVar[bool] = True
    sampled: ClassVar[bool] = False
    """Whether it is sampled; other steps leave slow rows only."""
    during: During | None = None
    at: AwaitedEvents | None = None
    every_min: Annotated[Number, Field(gt=0, le=100_000)] | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """At most one bound; `at` and `every_min` need an end each time, and exclude each other."""
        yield from super().refusals(given)
        repeated = "every_min" in given
        bounds = [bound for bound in _BOUNDS if bound in given and not (repeated and bound == "during")]
        for bound in bounds[1:]:
            limit = f"{bounds[0]} is given too, and a step has one bound at most"
            yield Refusal((bound,), given[bound], limit, f"delete {bounds[0]} or {bound}")
        if repeated and "at" in given:
            limit = "at is given too, and a step waits for events or for its next time, not for both"
            yield Refusal(("every_min",), given["every_min"], limit, "delete every_min or at")
        elif "at" in given and "during" in given:
            limit = "at is given too, and a step either accompanies a cell step or waits for events"
            yield Refusal(("during",), given["during"], limit, "delete during or at")
        elif ("at" in given or repeated) and not cls.ends_by_itself and not bounds:
            ends = [key for key in _BOUNDS if key in cls.model_fields and key != "during"]
            key = "every_min" if repeated else "at"
            limit = "the step has no end of its own, so the suspended step would never continue"
            yield Refusal((key,), given[key], limit, f"give it {' or '.join(ends)}")

    @property
    def during_index(self) -> int | None:
        """Number of the cell step that this step accompanies, counted from 0."""
        return None if self.during is None else cell_index(self.during)

    @property
    def interval(self) -> float | None:
        """The time from one beginning of a step with `every_min` to the next [s]; None for another step."""
        return None if self.every_min is None else to_si("every_min", self.every_min)

    @property
    def deferred(self) -> bool:
        """Whether it waits for an event or a time, and interrupts the step that then runs."""
        return self.at is not None or self.every_min is not None

    @classmethod
    def has_end(cls, given: Mapping[str, Any]) -> bool:
        """Whether the step with these settings, in the file's form, ends before the cell program does."""
        return cls.ends_by_itself or any(given.get(key) is not None for key in ("for_s", *COUNTS))

    @property
    def time_bound(self) -> float | None:
        """The time that ends this step [s]; None where something else does."""
        return None

    @property
    def outermost_points(self) -> Mapping[str, tuple[Point, ...]]:
        """The outermost points (x, y) [m] that the tip visits, by their key; empty where x and y are not used."""
        return {}

    @property
    def electrode_potentials(self) -> Mapping[KeyPath, tuple[float, ...]]:
        """Potentials of the pipette electrode [V vs Li/Li⁺] other than the bias, by their key."""
        return {}

    def heights(self, start_height: float) -> tuple[float, ...]:  # noqa: ARG002
        """Heights [m] at which the step measures the bulk current; a hop begins `start_height` above the surface."""
        return ()


class OpenEndedStep(BaseProbeStep):
    """A step without an end of its own: it may be given a time."""

    ends_by_itself: ClassVar[bool] = False
    for_s: Seconds | None = None

    @property
    def time_bound(self) -> float | None:
        """The time that ends this step [s]; None where something else does."""
        return self.for_s


def cell_index(reference: str) -> int | None:
    """The number in `cell[k]`; None when the text is no such reference."""
    match = CELL_REFERENCE.fullmatch(reference)
    return int(match[1]) if match else None
