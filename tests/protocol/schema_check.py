"""Just enough of JSON Schema (draft 2020-12) to judge an experiment file: no package needed for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
    "integer": (int,), "number": (int, float),
}  # fmt: skip
_SAID_ONLY = {"$defs", "$schema", "title", "description", "default", "examples"}


def accepts(root: Mapping[str, Any], value: Any, schema: Mapping[str, Any] | None = None) -> bool:
    """Whether `value` is valid; raises `KeyError` for a keyword that this does not know, lest it be passed over."""
    schema = root if schema is None else schema
    return all(_holds(root, value, schema, keyword) for keyword in schema if keyword not in _SAID_ONLY)


def _holds(root: Mapping[str, Any], value: Any, schema: Mapping[str, Any], keyword: str) -> bool:
    rule = schema[keyword]

    def valid(inner: Any, inner_schema: Mapping[str, Any]) -> bool:
        return accepts(root, inner, inner_schema)

    number = isinstance(value, int | float) and not isinstance(value, bool)
    checks: dict[str, Callable[[], bool]] = {
        "$ref": lambda: valid(value, root["$defs"][rule.removeprefix("#/$defs/")]),
        "type": lambda: isinstance(value, _KINDS[rule]) and (rule == "boolean" or not isinstance(value, bool)),
        "enum": lambda: value in rule,
        "const": lambda: value == rule,
        "oneOf": lambda: sum(valid(value, choice) for choice in rule) == 1,
        "anyOf": lambda: any(valid(value, choice) for choice in rule),
        "not": lambda: not valid(value, rule),
        "required": lambda: not isinstance(value, dict) or set(rule) <= value.keys(),
        "properties": lambda: (
            not isinstance(value, dict) or all(valid(value[key], rule[key]) for key in rule if key in value)
        ),
        "additionalProperties": lambda: (
            rule is not False or not isinstance(value, dict) or all(_named(schema, key) for key in value)
        ),
        "patternProperties": lambda: (
            not isinstance(value, dict)
            or all(valid(value[key], rule[name]) for name in rule for key in value if re.search(name, key))
        ),
        "maxProperties": lambda: not isinstance(value, dict) or len(value) <= rule,
        "minProperties": lambda: not isinstance(value, dict) or len(value) >= rule,
        "items": lambda: not isinstance(value, list) or all(valid(item, rule) for item in value),
        "prefixItems": lambda: (
            not isinstance(value, list) or all(valid(item, inner) for item, inner in zip(value, rule, strict=False))
        ),
        "minItems": lambda: not isinstance(value, list) or len(value) >= rule,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= rule,
        "minLength": lambda: not isinstance(value, str) or len(value) >= rule,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= rule,
        "pattern": lambda: not isinstance(value, str) or re.search(rule, value) is not None,
        "minimum": lambda: not number or value >= rule,
        "maximum": lambda: not number or value <= rule,
        "exclusiveMinimum": lambda: not number or value > rule,
        "exclusiveMaximum": lambda: not number or value < rule,
    }
    return checks[keyword]()


def _named(schema: Mapping[str, Any], key: str) -> bool:
    """Whether a schema speaks of this key."""
    return key in schema.get("properties", {}) or any(
        re.search(name, key) for name in schema.get("patternProperties", {})
    )
