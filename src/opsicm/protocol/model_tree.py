"""Finding one's way in nested models: which model a path ends in, and what every model in a file refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from opsicm.protocol.frozen import Frozen
from opsicm.protocol.one_key import word_of
from opsicm.protocol.refusal import KeyPath, Refusal, below


def models_in(annotation: Any) -> list[type[Frozen]]:
    """Every model that an annotation mentions, in order."""
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def model_at(root: type[Frozen], path: KeyPath) -> type[Frozen] | None:
    """The model that the value at `path` is made with; None where there is none, as at a number."""
    current: list[type[Frozen]] = [root]
    word_is_next = False
    for part in path:
        if isinstance(part, int):
            continue
        if word_is_next:
            current = [model for model in current if getattr(model, "word", None) == part]
            word_is_next = False
        else:
            field = current[0].model_fields.get(part) if current else None
            current = [] if field is None else models_in(field.annotation)
            word_is_next = any(hasattr(model, "word") for model in current)
    return current[0] if len(current) == 1 and not word_is_next else None


def refusals_within(model: type[Frozen], given: Mapping[str, Any]) -> Iterator[Refusal]:
    """What `model` and every model inside it refuse of `given`, the file's form."""
    for key, field in model.model_fields.items():
        inner = models_in(field.annotation)
        value = given.get(key)
        if len(inner) == 1 and isinstance(value, dict):
            yield from below(refusals_within(inner[0], value), key)
        elif isinstance(value, list):
            yield from below(_refusals_of_items(inner, value), key)
    yield from model.refusals(given)


def _refusals_of_items(models: list[type[Frozen]], items: list[Any]) -> Iterator[Refusal]:
    for index, item in enumerate(items):
        word = word_of(item)
        for model in models:
            if word is not None and getattr(model, "word", None) == word and isinstance(item[word], dict):
                yield from below(refusals_within(model, item[word]), index, word)


def blanked(data: dict[str, Any], unknown: list[KeyPath], wrong: list[KeyPath]) -> dict[str, Any]:
    """`data` less its unknown keys, and with None in place of every value that is wrong in itself."""
    kept: dict[str, Any] = _copy(data)
    for path in wrong:
        _blank(kept, path)
    for path in unknown:
        holder = _holder(kept, path)
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
    return kept


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _holder(data: Any, path: KeyPath) -> Any:
    """The mapping or list that holds the last part of `path`; None when the way there is blank or absent."""
    for part in path[:-1]:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _blank(data: dict[str, Any], path: KeyPath) -> None:
    holder = _holder(data, path)
    if isinstance(holder, dict):
        if path[-1] in holder:
            holder[path[-1]] = None
    elif isinstance(holder, list) and path[-2] in _STEP_LISTS and isinstance(path[-1], int):
        holder[path[-1]] = None  # a step: the others keep their numbers
    elif isinstance(holder, list):
        _blank(data, path[:-1])  # half of a pair is no pair


_STEP_LISTS = ("cell", "probe", "steps")
