"""A step stands in a file as a mapping with one key, its word: `- sweep: {from_V: 1.7, …}`.

In Python the step is the object itself. This annotation is the only place that knows both forms, so the step
classes stay plain models and an error's path is the path in the file, word included.
"""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

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


def word_of(step: Any) -> str | None:
    """The word of a step in either form; None when it has none."""
    if isinstance(step, dict):
        only = next(iter(step)) if len(step) == _WORD_AND_SETTINGS else None
        return only if isinstance(only, str) else None
    word = getattr(step, "word", None)
    return word if isinstance(word, str) else None
