"""Validating a document by its model: pydantic's errors become problems with value, limit, remedy, file and line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.key_refusals import (
    is_misspelt,
    missing_key,
    model_at,
    refusals_within,
    unknown_key,
    unknown_step,
    without_wrong_values,
    wrong_value,
)
from opsicm.experiment.refusal import REFUSED, UNUSABLE, KeyPath, Refusal
from opsicm.experiment.step_model import FileModel
from opsicm.experiment.yaml_file import Document

MAX_PROBLEMS: Final = 100  # a file with more is the wrong file
Model = TypeVar("Model", bound=FileModel)


def validated(document: Document, model: type[Model]) -> Model:
    """The instance of `model` that `document` describes; raises `BadInput` with every problem, each one once."""
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
    refusals = [_refusal(model, detail, details) for detail in details]
    refusals += [Refusal(path, "", "has no value", "write one, or delete the line") for path in empty[:MAX_PROBLEMS]]
    refusals += refusals_within(model, without_wrong_values(document.data, unknown, [*empty, *unsound]))
    problems = _in_order(document, [refusal for refusal in refusals if refusal is not None])
    if total <= MAX_PROBLEMS:
        return problems
    rest = Problem("the file", "", f"has {total - MAX_PROBLEMS} problems more", "mend these first", document.name)
    return [*problems[:MAX_PROBLEMS], rest]


def _refusal(root: type[FileModel], detail: ErrorDetails, details: list[ErrorDetails]) -> Refusal | None:
    path, value = detail["loc"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    owner = model_at(root, path[:-1]) if path else None
    match detail["type"]:
        case "missing" if owner is not None:
            siblings = [other["loc"] for other in details if other["type"] == "extra_forbidden"]
            unknown = [str(loc[-1]) for loc in siblings if loc[:-1] == path[:-1]]
            return None if is_misspelt(owner, str(path[-1]), unknown) else missing_key(owner, path)
        case "extra_forbidden" if owner is not None:
            return unknown_key(owner, path, value)
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
