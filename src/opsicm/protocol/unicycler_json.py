"""aurora-unicycler's JSON as text: in with the line of every problem, out as its own reader takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from opsicm.errors import BadInput, Problem
from opsicm.protocol.model_problems import made_of
from opsicm.protocol.refusal import KeyPath
from opsicm.protocol.unicycler_vocabulary import STEPS, Protocol
from opsicm.protocol.yaml_file import Document, shown, yaml_document

_RATE: Final = re.compile(r"(?:(\d*\.?\d*)([CD])|([+-]?\d+\.?\d*))/(\d+\.?\d*)")
_NOTHING_AT_ZERO: Final = ("rate_C", "current_mA", "until_time_s", "until_rate_C", "until_current_mA")


def read_protocol(text: str, name: str = "<text>") -> tuple[Document, Protocol]:
    """The protocol in a JSON text, and where its keys stand; raises `BadInput` with every problem in it."""
    data = _json(text, name)
    _known_steps(data, name, lines := _lines(text, name))
    document = Document(name, text, _house_form(data), _house_lines(data, lines))
    return document, made_of(document, Protocol)


def protocol_text(protocol: Protocol) -> str:
    """The JSON text of a protocol; what is not given is left out."""
    data = protocol.model_dump(mode="json", exclude_none=True, exclude={"unicycler"})
    method = [{"step": word, **settings} for step in data.pop("method") for word, settings in step.items()]
    return json.dumps({**data, "method": method}, indent=4, ensure_ascii=False, allow_nan=False) + "\n"


def _json(text: str, name: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise BadInput(Problem(repr(key), "", "is given twice", "delete one of the two", name))
            found[key] = value
        return found

    def no_number(word: str) -> NoReturn:
        raise BadInput(Problem("a number", word, "must be finite", "write a number", name))

    try:
        data = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except json.JSONDecodeError as error:
        raise BadInput(Problem("the text", "", f"is not JSON: {error.msg}", "mend it", name, error.lineno)) from None
    except (RecursionError, ValueError) as error:  # ValueError: a whole number of thousands of digits
        limit = f"cannot be read as JSON: {str(error).split(';', maxsplit=1)[0]}"
        raise BadInput(Problem("the text", "", limit, "is this a cycling protocol?", name)) from None
    if any("\ud800" <= character <= "\udfff" for character in json.dumps(data, ensure_ascii=False)):
        limit = "half of a character, as \\ud800 alone, is no text"
        raise BadInput(Problem("the text", "", limit, "write the character itself", name))
    if not isinstance(data, dict):
        remedy = "begin it with {, and give record and method"
        raise BadInput(Problem("the top of the file", shown(data), "must be an object", remedy, name, 1))
    return data


def _lines(text: str, name: str) -> Mapping[KeyPath, int]:
    """Lines of the keys by the YAML reader, which reads nearly every JSON text; none where it does not."""
    try:
        return yaml_document(text, name).lines
    except BadInput:
        return {}


def _known_steps(data: dict[str, Any], name: str, lines: Mapping[KeyPath, int]) -> None:
    method = data.get("method")
    found = []
    for index, step in enumerate(method if isinstance(method, list) else []):
        word = step.get("step") if isinstance(step, dict) else None
        if word in STEPS:
            continue
        limit, remedy = "is no step of aurora-unicycler", f"steps that can be read are {', '.join(STEPS)}"
        if word == "impedance_spectroscopy":
            limit, remedy = "opsicm has no impedance step", "delete it"
        elif not isinstance(word, str):
            limit, remedy = "a step is an object with its word under step", f"write step: {STEPS[0]}"
        thing = f"method[{index}]"
        found.append(Problem(thing, shown(word), limit, remedy, name, lines.get(("method", index))))
    if found:
        raise BadInput(found)


def _house_form(data: dict[str, Any]) -> dict[str, Any]:
    """The file with its empty keys left out, rates as numbers, and each step below its word."""
    kept: dict[str, Any] = {key: _less_empty(value) for key, value in data.items() if value is not None}
    if isinstance(kept.get("method"), list):
        kept["method"] = [{step["step"]: _settings(step)} for step in kept["method"]]
    return kept


def _less_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _less_empty(inner) for key, inner in value.items() if not _is_empty(key, inner)}
    return [_less_empty(inner) for inner in value] if isinstance(value, list) else value


def _is_empty(key: str, value: Any) -> bool:
    return value is None or (value == "" and key not in ("loop_to", "tag"))


def _settings(step: dict[str, Any]) -> dict[str, Any]:
    settings = {key: _rate(value) if key.endswith("rate_C") else value for key, value in step.items() if key != "step"}
    return {key: value for key, value in settings.items() if not (key in _NOTHING_AT_ZERO and _is_zero(value))}


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


def _rate(value: Any) -> Any:
    """A rate as a number; as it is where it is none, for the model to refuse."""
    found = _RATE.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
    if found is None:
        return value
    times, letter, plain, below = found.groups()
    if float(below) == 0 or times == ".":
        return value
    above = float(plain) if plain is not None else float(times or 1) * (-1 if letter == "D" else 1)
    return above / float(below)


def _house_lines(data: dict[str, Any], lines: Mapping[KeyPath, int]) -> dict[KeyPath, int]:
    moved: dict[KeyPath, int] = {}
    for path, line in lines.items():
        if len(path) > 2 and path[0] == "method" and isinstance(path[1], int):
            moved[(*path[:2], data["method"][path[1]]["step"], *path[2:])] = line
        else:
            moved[path] = line
    return moved
