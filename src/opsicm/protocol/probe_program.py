"""The probe program: what the pipette does while the cell program runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Discriminator, Field, Tag

from opsicm.protocol.cell_program import DEEPEST_REPEAT, Times
from opsicm.protocol.frozen import Frozen
from opsicm.protocol.hopping_steps import AtPoint, Hop, Hopping, Line, Modulate, Modulation, Raster
from opsicm.protocol.one_key import OneKey, word_of
from opsicm.protocol.pipette_steps import Park, PipetteSweep, Tower
from opsicm.protocol.probe_bounds import At, BoundedStep, ProbeAction, cell_index
from opsicm.protocol.refusal import Refusal
from opsicm.protocol.survey_steps import Engage, ExchangeTip, Landmark, ReturnTo, Tilt, Zero

__all__ = [
    "PROBE_STEPS", "At", "AtPoint", "BoundedStep", "Engage", "ExchangeTip", "Hop", "Hopping", "Landmark", "Line",
    "Modulate", "Modulation", "Park", "PipetteSweep", "ProbeAction", "ProbeRepeat", "ProbeStep", "Raster", "ReturnTo",
    "Tilt", "Tower", "Zero", "cell_index", "probe_sequence",
]  # fmt: skip


class ProbeRepeat(Frozen):
    """Its steps, `times` over. Inside it every step has an end of its own, and none waits for the cell."""

    word: ClassVar[str] = "repeat"
    times: Times
    steps: Annotated[tuple[ProbeStep, ...], Field(min_length=1, examples=[[{"park": {"height_um": 10, "for_s": 60}}]])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Every step inside ends by itself and starts by itself; repeats only so deep."""
        for index, step in enumerate(given.get("steps") or ()):
            word = word_of(step)
            if word is None or not isinstance(step[word], dict) or word not in PROBE_STEPS:
                continue
            path, settings = ("steps", index, word), step[word]
            for key in ("during", "at"):
                if settings.get(key) is not None:
                    limit = "a step inside a repeat runs after the one before it"
                    yield Refusal((*path, key), settings[key], limit, f"delete {key}")
            if not has_end(PROBE_STEPS[word], settings):
                yield Refusal(path, "", "has no end, so the repeat would never go on", "give it for_s or a count")
        if _depth(given) > DEEPEST_REPEAT:
            limit = f"repeats may stand {DEEPEST_REPEAT} deep at most"
            yield Refusal(("steps",), "", limit, "multiply two of the times, or write steps out")

    @property
    def during_index(self) -> None:
        """A repeat runs after the step before it and accompanies none."""
        return


ProbeStep = Annotated[
    Annotated[Park, OneKey("park"), Tag("park")]
    | Annotated[Hop, OneKey("hop"), Tag("hop")]
    | Annotated[Line, OneKey("line"), Tag("line")]
    | Annotated[Raster, OneKey("raster"), Tag("raster")]
    | Annotated[Tower, OneKey("tower"), Tag("tower")]
    | Annotated[Modulate, OneKey("modulate"), Tag("modulate")]
    | Annotated[PipetteSweep, OneKey("pipette_sweep"), Tag("pipette_sweep")]
    | Annotated[Zero, OneKey("zero"), Tag("zero")]
    | Annotated[Engage, OneKey("engage"), Tag("engage")]
    | Annotated[Tilt, OneKey("tilt"), Tag("tilt")]
    | Annotated[Landmark, OneKey("landmark"), Tag("landmark")]
    | Annotated[ReturnTo, OneKey("return_to"), Tag("return_to")]
    | Annotated[ExchangeTip, OneKey("exchange_tip"), Tag("exchange_tip")]
    | Annotated[ProbeRepeat, OneKey("repeat"), Tag("repeat")],
    Discriminator(word_of),
]
ProbeRepeat.model_rebuild()
_ACTIONS: tuple[type[ProbeAction], ...] = (
    Park, Hop, Line, Raster, Tower, Modulate, PipetteSweep, Zero, Engage, Tilt, Landmark, ReturnTo, ExchangeTip,
)  # fmt: skip
PROBE_STEPS: dict[str, type[Frozen]] = {**{step.word: step for step in _ACTIONS}, ProbeRepeat.word: ProbeRepeat}


def has_end(model: type[Frozen], settings: Mapping[str, Any]) -> bool:
    """Whether a step, in the file's form, ends without the cell's help."""
    if not issubclass(model, ProbeAction):
        return True
    return model.ends_by_itself or any(settings.get(key) is not None for key in ("for_s", "hops", "passes", "trips"))


def _depth(given: Mapping[str, Any]) -> int:
    steps = given.get("steps")
    inner = [step["repeat"] for step in steps or () if word_of(step) == "repeat" and isinstance(step["repeat"], dict)]
    return 1 + max((_depth(repeat) for repeat in inner), default=0)


def probe_sequence(program: Sequence[ProbeStep]) -> Iterator[tuple[str, ProbeAction]]:
    """Every step that is no repeat, in the order of the file: (its path, the step).

    The path is `probe[2]`, or `probe[2].1` for the second step inside a repeat, in every round alike.
    """
    for index, step in enumerate(program):
        yield from _unrolled(f"probe[{index}]", step)


def _unrolled(path: str, step: ProbeStep) -> Iterator[tuple[str, ProbeAction]]:
    if not isinstance(step, ProbeRepeat):
        yield path, step
        return
    for _ in range(step.times):
        for position, inner in enumerate(step.steps):
            yield from _unrolled(f"{path}.{position}", inner)
