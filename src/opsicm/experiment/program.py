"""Iterating over the steps of a cell or probe program with their numbers and paths, inside repeats too.

One iteration serves both programs and both forms of a step, the validated model and the plain mapping of a file that
may still have mistakes, so that runner, checks, results, forecast and commands give a step the same path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar, overload

from pydantic import Field

from opsicm.experiment.refusal import KeyPath, Refusal
from opsicm.experiment.step_model import FileModel, Whole, word_of

if TYPE_CHECKING:
    from opsicm.experiment.cell_steps import CellStep, SingleCellStep
    from opsicm.experiment.probe_steps import ProbeStep, SingleProbeStep

Track = Literal["cell", "probe"]
Settings = Mapping[str, Any]
Step = TypeVar("Step")
MAX_REPEAT_DEPTH: Final = 3
_REPEAT: Final = "repeat"


class RepeatStep(FileModel):
    """Steps of a program, repeated `times` times; a subclass adds the `steps` of its program."""

    word: ClassVar[str] = _REPEAT
    times: Annotated[Whole, Field(ge=1, le=10_000, examples=[3])]

    @classmethod
    def refusals(cls, given: Settings) -> Iterator[Refusal]:
        """Repeats may be nested only `MAX_REPEAT_DEPTH` deep."""
        if _depth(given) > MAX_REPEAT_DEPTH:
            limit = f"repeats may stand {MAX_REPEAT_DEPTH} deep at most"
            yield Refusal(("steps",), "", limit, "multiply two of the times, or write steps out")


@dataclass(frozen=True, slots=True)
class PlacedStep(Generic[Step]):
    """A step and where it is: `number` counts the entries of the program, a repeat as one.

    `path` is its name in facts, results and messages: `probe[2]`, or `probe[2].1` for the second step inside a repeat,
    the same in every round. `key_path` leads to its settings in the file, with the word at its end.
    """

    number: int
    path: str
    key_path: KeyPath
    step: Step


@overload
def written_steps(track: Literal["probe"], steps: Sequence[ProbeStep]) -> Iterator[PlacedStep[SingleProbeStep]]: ...
@overload
def written_steps(track: Literal["cell"], steps: Sequence[CellStep]) -> Iterator[PlacedStep[SingleCellStep]]: ...
@overload
def written_steps(track: Track, steps: Iterable[Settings] | None) -> Iterator[PlacedStep[dict[str, Any]]]: ...
def written_steps(track: Track, steps: Iterable[Any] | None) -> Iterator[PlacedStep[Any]]:
    """Every step that is no repeat, once, in the order of the file; in the file's form, those that have settings."""
    return _walk(steps, track + "[{}]", (track,), None, rounds=False)


@overload
def executed_steps(track: Literal["probe"], steps: Sequence[ProbeStep]) -> Iterator[PlacedStep[SingleProbeStep]]: ...
@overload
def executed_steps(track: Literal["cell"], steps: Sequence[CellStep]) -> Iterator[PlacedStep[SingleCellStep]]: ...
def executed_steps(track: Track, steps: Iterable[Any]) -> Iterator[PlacedStep[Any]]:
    """Every step that is no repeat in the order of execution: those inside a repeat once a round."""
    return _walk(steps, track + "[{}]", (track,), None, rounds=True)


def top_level_steps(track: Track, steps: Iterable[Any] | None) -> Iterator[PlacedStep[dict[str, Any]]]:
    """The entries of a program in the file's form, a repeat as one."""
    return _entries(steps, track + "[{}]", (track,), None)


def steps_inside(repeat: Settings) -> Iterator[PlacedStep[dict[str, Any]]]:
    """The entries of a repeat in the file's form, with paths from the repeat."""
    return _entries(repeat.get("steps"), "{}", ("steps",), None)


def _walk(
    steps: Iterable[Any] | None, name: str, keys: KeyPath, number: int | None, rounds: bool
) -> Iterator[PlacedStep[Any]]:
    for entry in _entries(steps, name, keys, number):
        if entry.key_path[-1] != _REPEAT:
            yield entry
            continue
        times = _key(entry.step, "times") if rounds else 1
        for _ in range(times):
            inside = (*entry.key_path, "steps")
            yield from _walk(_key(entry.step, "steps"), entry.path + ".{}", inside, entry.number, rounds)


def _entries(steps: Iterable[Any] | None, name: str, keys: KeyPath, number: int | None) -> Iterator[PlacedStep[Any]]:
    for index, entry in enumerate(steps or ()):
        word = word_of(entry)
        step = entry[word] if isinstance(entry, dict) and word is not None else entry
        # A step that is wrong in itself has no settings here: it is left out, and refused by its own model.
        if word is not None and (isinstance(step, dict) or step is entry):
            yield PlacedStep(index if number is None else number, name.format(index), (*keys, index, word), step)


def _key(step: Any, key: str) -> Any:
    return step.get(key) if isinstance(step, dict) else getattr(step, key)


def _depth(repeat: Settings) -> int:
    """How many repeats stand in one another, the one with these settings included."""
    inner = [entry.step for entry in steps_inside(repeat) if entry.key_path[-1] == _REPEAT]
    return 1 + max((_depth(settings) for settings in inner), default=0)
