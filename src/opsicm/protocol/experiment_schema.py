"""The JSON Schema of an experiment file, so that an editor can complete and check one while it is written."""

from __future__ import annotations

from typing import Any

from opsicm.protocol.experiment import Experiment


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of the YAML form: each step a mapping with one key, its word."""
    schema = Experiment.model_json_schema(mode="validation")
    plain: dict[str, Any] = _for_a_file(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **plain, "title": "opsicm experiment file"}


def _for_a_file(node: Any) -> Any:
    """A key that may be left out may not be left empty, so `null` is no choice; titles made of keys say nothing."""
    if isinstance(node, list):
        return [_for_a_file(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _for_a_file(value) for key, value in node.items() if not _is_noise(key, value)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del kept["anyOf"]
        kept = {**rest[0], **kept} if len(rest) == 1 else {**kept, "anyOf": rest}
    return kept


def _is_noise(key: str, value: Any) -> bool:
    return (key == "default" and value is None) or (key == "title" and isinstance(value, str))
