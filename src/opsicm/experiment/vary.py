"""The key `vary`, which makes a series of runs from one experiment file.

`vary: {pipette.radius_nm: [50, 100], cell[0].sweep.rate_mV_s: [5, 10, 20]}` gives one run for each combination, the
last path changing fastest. A path is written as in a problem's message, with the words of steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import Field, WithJsonSchema

from opsicm.experiment.key_refusals import model_at
from opsicm.experiment.refusal import KeyPath, Refusal, path_text
from opsicm.experiment.step_model import FileModel, Scalar

MAX_RUNS: Final = 1000
_NAME: Final = r"[A-Za-z][A-Za-z0-9_]*"
_PATH: Final = re.compile(rf"{_NAME}(?:\[[0-9]{{1,6}}\])?(?:\.{_NAME}(?:\[[0-9]{{1,6}}\])?)*")
_PART: Final = re.compile(rf"({_NAME})|\[([0-9]{{1,6}})\]")
_FIXED: Final = ("opsicm", "title", "vary")

Values = Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=MAX_RUNS)]
Vary = Annotated[
    dict[str, Values],
    WithJsonSchema(
        {
            "type": "object",
            "patternProperties": {
                f"^{_PATH.pattern}$": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_RUNS,
                    "items": {"anyOf": [{"type": kind} for kind in ("number", "boolean", "string")]},
                }
            },
            "additionalProperties": False,
            "default": {},
        }
    ),
]


def parsed_path(text: str) -> KeyPath | None:
    """`cell[0].sweep.rate_mV_s` as ("cell", 0, "sweep", "rate_mV_s"); None when the text is no path."""
    if not _PATH.fullmatch(text):
        return None
    return tuple(name or int(number) for name, number in _PART.findall(text))


def vary_refusals(root: type[FileModel], given: Mapping[str, Any]) -> Iterator[Refusal]:
    """Paths that lead to no key of the file, and more than `MAX_RUNS` runs."""
    vary = given.get("vary")
    if not isinstance(vary, dict):
        return
    runs = 1
    for text, values in vary.items():
        runs *= len(values or ())
        limit = _unreachable(root, given, text)
        if limit is not None:
            remedy = "write a path as a problem names it, as pipette.radius_nm or cell[0].sweep.rate_mV_s"
            yield Refusal(("vary", text), "", limit, remedy)
    if runs > MAX_RUNS:
        yield Refusal(("vary",), "", f"makes {runs} runs and a file may make {MAX_RUNS}", "vary less at a time")


def _unreachable(root: type[FileModel], given: Mapping[str, Any], text: str) -> str | None:
    path = parsed_path(text)
    if path is None:
        return "is no path"
    if path[0] in _FIXED:
        return f"{path[0]} cannot be varied"
    holder: Any = given
    for length, part in enumerate(path[:-1], 1):
        is_key = isinstance(holder, dict) and part in holder
        is_index = isinstance(holder, list | tuple) and isinstance(part, int) and part < len(holder)
        if is_key or is_index:
            holder = holder[part]
            if holder is None:  # wrong in itself, and refused for that
                return None
        elif len(path) == 2 and isinstance(part, str) and part in root.model_fields:
            break  # a group that the file leaves at its defaults, as `specimen`
        else:
            return f"the file has no {path_text(path[:length])}"
    owner = model_at(root, path[:-1])
    if owner is None or path[-1] not in owner.model_fields:
        where = path_text(path[:-1])
        return f"{where} has no key {path[-1]}" if where else f"the file has no key {path[-1]}"
    return None
