"""The base class of every model in a file: frozen, strict about keys and about numbers.

A number in a file is a number: `"0.3"` and `true` are refused where a number belongs, and so are NaN and
infinity, because a limit compared with NaN never trips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from opsicm.experiment.refusal import UNUSABLE, Refusal, raise_refusals

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _one_value(value: Any) -> Any:
    """Refuses what holds several values once, instead of once for each type that one value may have."""
    if isinstance(value, list | tuple | dict):
        context = {"limit": "is not one value", "remedy": "write one number or word for each run"}
        raise PydanticCustomError(UNUSABLE, "{limit}; {remedy}", context)
    return value


Scalar = Annotated[Flag | Whole | Number | Text, BeforeValidator(_one_value)]
Seconds = Annotated[Number, Field(gt=0, le=1e7)]
Potential = Annotated[Number, Field(ge=-10, le=10)]


class FileModel(BaseModel):
    """A frozen model that refuses unknown keys.

    The annotation of a key states what it must satisfy alone; `refusals` checks what the keys must satisfy *together*.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    display_name: ClassVar[str] = ""
    """The model's name in messages, where it is not the name of its class."""

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:  # noqa: ARG003
        """The contradictions between the keys in `given`, the file's form of this model.

        All mistakes of a file are reported at once, so this is called for files with other mistakes too: a key that
        is wrong in itself is None in `given`, and a required one may be missing.
        """
        yield from ()

    @model_validator(mode="after")
    def _refuse(self) -> Self:
        raise_refusals(type(self).__name__, self.refusals(self.model_dump(exclude_none=True)))
        return self


# -- A step stands in a file as a mapping with one key, its word: `- sweep: {from_V: 1.7, …}`.
#
# In Python the step is the object itself. This annotation is the only place that knows both forms, so the step
# classes stay plain models and an error's path is the path in the file, word included.


_WORD_AND_SETTINGS = 1  # a step's mapping has this many keys


class OneKey:
    """Wraps and unwraps a step in its word; used as `Annotated[Sweep, OneKey("sweep"), Tag("sweep")]`."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The model's own schema between an unwrapping before and a wrapping after."""

        def unwrap(value: Any) -> Any:
            return value[self.word] if isinstance(value, dict) else value

        def wrap(step: Any, inner: core_schema.SerializerFunctionWrapHandler) -> dict[str, Any]:
            return {self.word: inner(step)}

        inner = handler(source)
        return core_schema.no_info_before_validator_function(
            unwrap, inner, serialization=core_schema.wrap_serializer_function_ser_schema(wrap, schema=inner)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A mapping with exactly this one key."""
        return {
            "type": "object",
            "properties": {self.word: handler(schema)},
            "required": [self.word],
            "additionalProperties": False,
        }


class ByWord:
    """`Annotated[Park | Hop, ByWord()]`: any of these steps, each wrapped in its own word."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """One schema for each step, chosen by the word."""
        choices = {step.word: handler.generate_schema(Annotated[step, OneKey(step.word)]) for step in get_args(source)}
        return core_schema.tagged_union_schema(choices, discriminator=word_of)


def word_of(step: Any) -> str | None:
    """The word of a step in either form; None when it has none."""
    if isinstance(step, dict):
        only = next(iter(step)) if len(step) == _WORD_AND_SETTINGS else None
        return only if isinstance(only, str) else None
    word = getattr(step, "word", None)
    return word if isinstance(word, str) else None


# -- The base class of cell steps.

Leg = tuple[float, float, float]
"""(from [V], to [V], duration [s]) of one ramp of a potential-controlled step."""


class BaseCellStep(FileModel):
    """A step of the cell; `record_every_s` is the period of its slow rows, None where the runner chooses.

    `rest_key` is the key that says how long what waits for the step's rest has time; empty where it has none.
    """

    word: ClassVar[str]
    rest_key: ClassVar[str] = ""
    record_every_s: Annotated[Number, Field(ge=1e-3, le=3600)] | None = None
