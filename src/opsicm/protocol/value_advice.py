"""What to say about a value of the wrong kind or beyond a limit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, Final

import annotated_types
from pydantic_core import ErrorDetails

from opsicm.protocol.frozen import Frozen
from opsicm.protocol.key_advice import example_of
from opsicm.protocol.model_tree import model_at
from opsicm.protocol.refusal import KeyPath, Refusal
from opsicm.protocol.yaml_scalar import FLOAT
from opsicm.units import KEY_SUFFIX, suffix_of

_LIMITS: Final = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_KINDS: Final = {
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": "may have 500 characters at most",
    "tuple_type": "must be a list in brackets",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
}


def wrong_value(root: type[Frozen], detail: ErrorDetails) -> Refusal:
    """The refusal for one error of pydantic's about a value."""
    path, value, kind = detail["loc"], detail["input"], detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if kind in _LIMITS:
        bound, words = _LIMITS[kind]
        limit = f"must be {words} {context[bound]:g}{_unit(key)}"
        return Refusal(path, value, limit, _limit_remedy(root, path, key, value))
    if kind == "literal_error":
        return Refusal(path, value, f"must be {_or(context['expected'])}", _literal_remedy(context["expected"], value))
    if kind == "string_pattern_mismatch" and key == "during":
        return Refusal(path, value, "must name a cell step", "write during: cell[0], counted from 0")
    if kind in ("too_short", "too_long"):
        bound = context["min_length"] if kind == "too_short" else context["max_length"]
        words = "at least" if kind == "too_short" else "at most"
        return Refusal(path, value, f"must have {words} {bound} entries", f"write {_example(root, path)}")
    if kind == "missing":  # an entry of a pair
        return Refusal(path[:-1], value, "has too few entries", f"write {_example(root, path)}")
    limit = _KINDS.get(kind, detail["msg"])
    return Refusal(path, value, limit, _kind_remedy(root, path, kind, value))


def _unit(key: str) -> str:
    suffix = suffix_of(key)
    return f" {KEY_SUFFIX[suffix]}" if suffix else ""


def _or(expected: str) -> str:
    return expected.replace("'", "")


def _literal_remedy(expected: str, value: Any) -> str:
    close = difflib.get_close_matches(str(value), re.findall(r"'([^']*)'", expected), 1)
    return f"did you mean {close[0]}?" if close else "write one of these"


def _kind_remedy(root: type[Frozen], path: KeyPath, kind: str, value: Any) -> str:
    if kind == "string_type":
        return f'put it in quotes: "{value}"' if isinstance(value, int | float) else "write it as a text"
    if kind in ("float_type", "int_type") and isinstance(value, str):
        if FLOAT.fullmatch(value.strip().replace(",", ".")) and "," in value:
            return f"write a decimal point: {value.strip().replace(',', '.')}"
        number = FLOAT.match(value.strip())
        if number:
            return f"write {number[0]} alone, without quotes or a unit: the unit is in the name of the key"
    return f"write {_example(root, path)}"


def _example(root: type[Frozen], path: KeyPath) -> str:
    while path and isinstance(path[-1], int):
        path = path[:-1]
    owner = model_at(root, path[:-1]) if path else None
    key = str(path[-1]) if path else ""
    if owner is None or key not in owner.model_fields:
        return "its settings in braces, as {key: value}" if path else "keys and values"
    return example_of(owner, key)


def _limit_remedy(root: type[Frozen], path: KeyPath, key: str, value: Any) -> str:
    special = _REMEDIES.get(key)
    advice = special(value) if special is not None else None
    if advice is not None:
        return advice
    owner = model_at(root, path[:-1])
    field = owner.model_fields.get(key) if owner is not None else None
    bounds = [_bound_text(constraint) for constraint in field.metadata] if field is not None else []
    span = " and ".join(text for text in bounds if text)
    return f"give a value {span}{_unit(key)}" if span else "give a value within the limit"


def _bound_text(constraint: Any) -> str:
    match constraint:
        case annotated_types.Gt():
            return f"above {constraint.gt:g}"
        case annotated_types.Ge():
            return f"of at least {constraint.ge:g}"
        case annotated_types.Lt():
            return f"below {constraint.lt:g}"
        case annotated_types.Le():
            return f"of at most {constraint.le:g}"
        case _:
            return ""


def _setpoint(value: float) -> str:
    remaining = 50 < value < 100
    meant = f": did you mean a drop of {100 - value:.6g}?" if remaining else ", as 2.0"
    return "setpoint_pct is the drop of the current that ends a fall, not what is left of it" + meant


_REMEDIES: Final[dict[str, Callable[[Any], str | None]]] = {
    "setpoint_pct": lambda value: _setpoint(value) if value > 0 else "give the drop that ends a fall, as 2.0",
    "rate_mV_s": lambda value: "a rate has no sign: the direction is from from_V to to_V" if value <= 0 else None,
    "cycles": lambda value: "leave the sweep out, or give 1 or more" if value < 1 else None,
    "ir_compensation_pct": lambda value: (
        "full compensation makes a potentiostat oscillate: use 97 or less" if value >= 100 else None
    ),
    "opsicm": lambda _: "this program reads version 1: write opsicm: 1",
    "opsicm_rig": lambda _: "this program reads version 1: write opsicm_rig: 1",
    "bias_V": lambda _: "give V_tip against Li/Li⁺, as 0.7",
}
