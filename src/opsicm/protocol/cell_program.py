"""The cell program: what the potentiostat does to the specimen. Negative current lithiates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import Discriminator, Field, Tag

from opsicm.protocol.current_steps import ConstantCurrent, CutOff, Gitt, OpenCircuit, Rest, Until
from opsicm.protocol.frozen import Frozen, Whole
from opsicm.protocol.given_current import FallenCurrent
from opsicm.protocol.one_key import OneKey, word_of
from opsicm.protocol.potential_steps import Conditioning, Hold, Ladder, Sweep
from opsicm.protocol.refusal import Refusal

__all__ = [
    "CELL_STEPS", "CellStep", "Conditioning", "ConstantCurrent", "CutOff", "FallenCurrent", "Gitt", "Hold",
    "Ladder", "OpenCircuit", "Repeat", "Rest", "Sweep", "Until", "cell_step_duration", "numbered",
]  # fmt: skip

DEEPEST_REPEAT: Final = 3
Times = Annotated[Whole, Field(ge=1, le=10_000, examples=[3])]


class Repeat(Frozen):
    """Its steps, `times` over. `during: cell[k]` counts a repeat as one step."""

    word: ClassVar[str] = "repeat"
    times: Times
    steps: Annotated[
        tuple[CellStep, ...], Field(min_length=1, examples=[[{"hold": {"potential_V": 0.1, "for_s": 300}}]])
    ]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Repeats within repeats only so deep."""
        if _depth(given) > DEEPEST_REPEAT:
            limit = f"repeats may stand {DEEPEST_REPEAT} deep at most"
            yield Refusal(("steps",), "", limit, "multiply two of the times, or write steps out")


CellStep = Annotated[
    Annotated[Sweep, OneKey("sweep"), Tag("sweep")]
    | Annotated[Conditioning, OneKey("conditioning"), Tag("conditioning")]
    | Annotated[Hold, OneKey("hold"), Tag("hold")]
    | Annotated[Ladder, OneKey("ladder"), Tag("ladder")]
    | Annotated[ConstantCurrent, OneKey("constant_current"), Tag("constant_current")]
    | Annotated[Gitt, OneKey("gitt"), Tag("gitt")]
    | Annotated[OpenCircuit, OneKey("open_circuit"), Tag("open_circuit")]
    | Annotated[Rest, OneKey("rest"), Tag("rest")]
    | Annotated[Repeat, OneKey("repeat"), Tag("repeat")],
    Discriminator(word_of),
]
Repeat.model_rebuild()
CELL_STEPS: dict[str, type[Frozen]] = {
    step.word: step for step in (Sweep, Conditioning, Hold, Ladder, ConstantCurrent, Gitt, OpenCircuit, Rest, Repeat)
}


def _depth(given: Mapping[str, Any]) -> int:
    """How many repeats stand in one another, the one in `given` included."""
    steps = given.get("steps")
    inner = [step["repeat"] for step in steps or () if word_of(step) == "repeat" and isinstance(step["repeat"], dict)]
    return 1 + max((_depth(repeat) for repeat in inner), default=0)


def cell_step_duration(step: CellStep) -> float | None:
    """The longest that a step can last [s]; None when only its cut-offs bound it."""
    match step:
        case Sweep() | Ladder():
            return sum(duration for _, _, duration in step.legs())
        case ConstantCurrent():
            return step.until.for_s
        case Gitt():
            return None if step.pulses is None else step.pulses * (step.pulse_s + step.rest_s)
        case Repeat():
            return program_duration(step.steps, step.times)
        case _:
            return step.for_s


def program_duration(steps: Sequence[CellStep], times: int = 1) -> float | None:
    """The longest that steps can last one after the other [s], `times` over; None when one has no bound."""
    durations = [cell_step_duration(step) for step in steps]
    known = [duration for duration in durations if duration is not None]
    return times * sum(known) if len(known) == len(durations) else None


def numbered(program: Sequence[CellStep]) -> Iterator[tuple[int, str, CellStep]]:
    """Every step that is no repeat, in the order in which it runs: (its number in the program, its path, the step).

    The path is `cell[2]`, or `cell[2].1` for the second step inside a repeat, in every round alike.
    """
    for index, step in enumerate(program):
        for path, inner in _unrolled(f"cell[{index}]", step):
            yield index, path, inner


def _unrolled(path: str, step: CellStep) -> Iterator[tuple[str, CellStep]]:
    if not isinstance(step, Repeat):
        yield path, step
        return
    for _ in range(step.times):
        for position, inner in enumerate(step.steps):
            yield from _unrolled(f"{path}.{position}", inner)
