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
    yield from model.refusals(given)
    for key, field in model.model_fields.items():
        inner = models_in(field.annotation)
        value = given.get(key)
        if len(inner) == 1 and isinstance(value, dict):
            yield from below(refusals_within(inner[0], value), key)
        elif isinstance(value, list):
            yield from below(_refusals_of_items(inner, value), key)


def _refusals_of_items(models: list[type[Frozen]], items: list[Any]) -> Iterator[Refusal]:
    for index, item in enumerate(items):
        word = word_of(item)
        for model in models:
            if word is not None and getattr(model, "word", None) == word and isinstance(item[word], dict):
                yield from below(refusals_within(model, item[word]), index, word)


def without(data: dict[str, Any], paths: list[KeyPath]) -> dict[str, Any]:
    """`data` less the values at `paths`. A step becomes None, so that the others keep their numbers."""
    kept = _copy(data)
    for path in paths:
        _remove(kept, path)
    pruned: dict[str, Any] = kept
    return pruned


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _remove(data: dict[str, Any], path: KeyPath) -> None:
    holder: Any = data
    holders = []
    for part in path:
        if (isinstance(holder, dict) and part in holder) or (isinstance(holder, list) and isinstance(part, int) and part < len(holder)):
            holders.append(holder)
            holder = holder[part]
        else:
            return
    if not path:
        data.clear()
    elif isinstance(holders[-1], dict):
        del holders[-1][path[-1]]
    elif len(path) == _STEP_DEPTH:
        holders[-1][path[-1]] = None
    else:  # half of a pair is no pair
        _remove(data, path[:-1])


_STEP_DEPTH = 2  # ("cell", 3)
