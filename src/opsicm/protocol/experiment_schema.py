"""The JSON Schema of an experiment file, so that an editor can complete and check one while it is written."""

from __future__ import annotations

from typing import Any

from opsicm.protocol.experiment import Experiment


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of the YAML form: each step a mapping with one key, its word."""
    schema = Experiment.model_json_schema(mode="validation")
    plain: dict[str, Any] = _without_null(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **plain, "title": "opsicm experiment file"}


def _without_null(node: Any) -> Any:
    """A key that may be left out may not be left empty, so `null` is no choice in a file."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del kept["anyOf"]
        kept = {**rest[0], **kept} if len(rest) == 1 else {**kept, "anyOf": rest}
    return kept
