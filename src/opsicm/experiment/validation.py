"""Validating a document by its model: pydantic's errors become problems with value, limit, remedy, file and line.

Before that, numbers with units are read: `for: 30 min` becomes `for_s: 1800` where the model has that key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.key_refusals import (
    given_twice,
    is_misspelt,
    misplaced,
    missing_key,
    model_at,
    models_in,
    moved_inside,
    refusals_within,
    unknown_key,
    unknown_step,
    without_wrong_values,
    wrong_value,
)
from opsicm.experiment.quantities import C_RATE, quantity, unit_of_key, words_of_key
from opsicm.experiment.refusal import REFUSED, UNUSABLE, KeyPath, Refusal, path_text
from opsicm.experiment.step_model import FileModel, word_of
from opsicm.experiment.vary import parsed_path
from opsicm.experiment.yaml_file import Document

MAX_PROBLEMS: Final = 100  # a file with more is the wrong file
Model = TypeVar("Model", bound=FileModel)


def validated(document: Document, model: type[Model]) -> Model:
    """The instance of `model` that `document` describes; raises `BadInput` with every problem, each one once."""
    document = with_plain_numbers(document, model)
    details: list[ErrorDetails] = []
    instance: Model | None = None
    try:
        instance = model.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    empty = list(_empty_values(document.data, ()))
    if instance is None or empty:
        raise BadInput(_problems(document, model, details, empty))
    return instance


def _problems(
    document: Document, model: type[FileModel], details: list[ErrorDetails], empty: list[KeyPath]
) -> list[Problem]:
    blank = set(empty)
    details = [detail for detail in details if _is_informative(detail, blank)]
    wrong = {detail["loc"] for detail in details}
    empty = [path for path in empty if not any(path[:length] in wrong for length in range(len(path)))]
    unknown: list[KeyPath] = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    unsound: list[KeyPath] = [detail["loc"] for detail in details if detail["type"] != REFUSED]
    total = len(details) + len(empty)
    details = sorted(details, key=lambda detail: document.line(detail["loc"]) or 0)[:MAX_PROBLEMS]
    refusals = [_refusal(model, detail, details, document.data) for detail in details]
    refusals += [Refusal(path, "", "has no value", "write one, or delete the line") for path in empty[:MAX_PROBLEMS]]
    refusals += refusals_within(model, without_wrong_values(document.data, unknown, [*empty, *unsound]))
    problems = _in_order(document, [refusal for refusal in refusals if refusal is not None])
    if total <= MAX_PROBLEMS:
        return problems
    rest = Problem("the file", "", f"has {total - MAX_PROBLEMS} problems more", "mend these first", document.name)
    return [*problems[:MAX_PROBLEMS], rest]


def _refusal(
    root: type[FileModel], detail: ErrorDetails, details: list[ErrorDetails], document: Mapping[str, Any]
) -> Refusal | None:
    path, value = detail["loc"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    owner = model_at(root, path[:-1]) if path else None
    match detail["type"]:
        case "missing" if owner is not None:
            unknown = {
                str(other["loc"][-1]): other["input"]
                for other in details
                if other["type"] == "extra_forbidden" and other["loc"][:-1] == path[:-1]
            }
            if inside := misplaced(owner, str(path[-1]), unknown):
                return moved_inside(path, inside)
            return None if is_misspelt(owner, str(path[-1]), list(unknown)) else missing_key(owner, path)
        case "extra_forbidden" if owner is not None:
            absent = [d["loc"][-1] for d in details if d["type"] == "missing" and d["loc"][:-1] == path[:-1]]
            if any(misplaced(owner, str(key), {str(path[-1]): value}) for key in absent):
                return None  # reported with the key that it belongs to
            return given_twice(owner, path, value, document) or unknown_key(owner, path, value)
        case "union_tag_invalid" | "union_tag_not_found":
            return unknown_step(path, value)
        case kind if kind in (REFUSED, UNUSABLE):
            return Refusal(path, value, context["limit"], context["remedy"])
        case _:
            return wrong_value(root, detail)


def _is_informative(detail: ErrorDetails, blank: set[KeyPath]) -> bool:
    """Whether an error adds something to the problems of empty values and of the items inside."""
    loc: KeyPath = detail["loc"]
    if any(loc[:length] in blank for length in range(len(loc) + 1)):
        return False
    # pydantic counts only the items that were right
    return not (detail["type"] == "too_short" and len(detail["input"]) >= detail.get("ctx", {})["min_length"])


def _empty_values(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _empty_values(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _empty_values(inner, (*path, index))


def _in_order(document: Document, refusals: list[Refusal]) -> list[Problem]:
    """Sorted by line, without duplicates: pydantic and the models' own refusals may report the same."""
    distinct = {(refusal.path, refusal.limit): refusal for refusal in refusals}
    problems = [document.problem(r.path, r.value, r.limit, r.remedy) for r in distinct.values()]
    return sorted(problems, key=lambda problem: problem.line or 0)


# -- Numbers with units. The model's own form of a file has plain numbers only, so that everything behind it reads one
# -- form; a key keeps the line on which it was written.


def with_plain_numbers(document: Document, model: type[FileModel]) -> Document:
    """The document with each number with a unit as the plain number of the key that carries the unit in its name.

    `for: 30 min` becomes `for_s: 1800`, `c_rate: C/5` becomes `c_rate: 0.2`. What cannot be read stays as it is, and is
    refused by the model.
    """
    moved: dict[KeyPath, KeyPath] = {}
    data = _plain_mapping(document.data, model, (), moved)
    if data == document.data:
        return document
    lines = {_moved(path, moved): line for path, line in document.lines.items()}
    return replace(document, data=data, lines=lines)


def _moved(path: KeyPath, moved: Mapping[KeyPath, KeyPath]) -> KeyPath:
    """Where a path leads after keys on it were renamed."""
    for length in range(1, len(path) + 1):
        if path[:length] in moved:
            return (*moved[path[:length]], *path[length:])
    return path


def _plain_mapping(
    given: dict[str, Any], model: type[FileModel], path: KeyPath, moved: dict[KeyPath, KeyPath]
) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in given.items():
        field = model.model_fields.get(key)
        inner = models_in(field.annotation) if field is not None else []
        if key == "vary" and field is not None and isinstance(value, dict):
            plain[key] = {}
            for text, values in value.items():
                new = _plain_vary(model, text, values)
                moved |= {("vary", text): ("vary", new[0])} if new[0] != text else {}
                plain[key][new[0]] = new[1]
        elif len(inner) == 1 and isinstance(value, dict):
            plain[key] = _plain_mapping(value, inner[0], (*path, key), moved)
        elif inner and isinstance(value, list):
            plain[key] = [_plain_item(item, inner, (*path, key, index), moved) for index, item in enumerate(value)]
        elif (known := _with_its_unit(model, key, value, {**given, **plain})) is not None:
            moved[(*path, key)] = (*path, known[0])
            plain[known[0]] = known[1]
        else:
            plain[key] = value
    return plain


def _plain_item(item: Any, models: list[type[FileModel]], path: KeyPath, moved: dict[KeyPath, KeyPath]) -> Any:
    if not isinstance(item, dict):
        return item
    word = word_of(item)
    for model in models:
        if not hasattr(model, "word"):
            return _plain_mapping(item, model, path, moved)
        if word is not None and model.word == word and isinstance(item[word], dict):
            return {word: _plain_mapping(item[word], model, (*path, word), moved)}
    return item


def _with_its_unit(model: type[FileModel], key: str, value: Any, given: Mapping[str, Any]) -> tuple[str, Any] | None:
    """(key of the model, plain value) of a number with a unit; None where it is no such thing."""
    if key in model.model_fields:  # c_rate does not end in its unit, so it takes one
        candidates = [key] if unit_of_key(key) == C_RATE else []
    else:
        candidates = [known for known in model.model_fields if key in words_of_key(known)]
    read = [(known, _in_unit(value, unit_of_key(known) or "")) for known in candidates]
    read = [(known, number) for known, number in read if number is not None]
    if len(read) != 1 or (read[0][0] != key and read[0][0] in given):
        return None
    return read[0]


def _in_unit(value: Any, unit: str) -> float | list[float] | None:
    """A text, or a list of texts, as plain numbers in `unit`; a zero in a list needs no unit."""
    if isinstance(value, list):
        numbers = [0 if item == 0 and not isinstance(item, bool) else _in_unit(item, unit) for item in value]
        plain = [number for number in numbers if isinstance(number, int | float)]
        return plain if len(plain) == len(value) and any(isinstance(item, str) for item in value) else None
    read = quantity(value) if isinstance(value, str) else None
    return read.in_unit(unit) if read is not None and read.unit else None


def _plain_vary(root: type[FileModel], text: str, values: Any) -> tuple[str, Any]:
    """A path of `vary` and its values, each with its unit: `cell[0].rest.for: [10 min, 1 h]`."""
    path = parsed_path(text)
    owner = model_at(root, path[:-1]) if path else None
    if path is None or owner is None or not isinstance(values, list):
        return text, values
    plain = _with_its_unit(owner, str(path[-1]), values, {})
    return (text, values) if plain is None else (path_text((*path[:-1], plain[0])), plain[1])
