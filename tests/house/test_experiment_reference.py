"""The reference of the experiment file says what the models and the published schema say."""

from __future__ import annotations

from typing import Any

from opsicm.experiment.schema import json_schema
from scripts.experiment_reference import PAGE, page


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m scripts.experiment_reference"


def test_every_key_of_the_schema_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    keys: set[str] = set()

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            keys.update(node.get("properties", {}))
            for inner in node.values():
                collect(inner)
        elif isinstance(node, list):
            for inner in node:
                collect(inner)

    collect(json_schema())
    assert len(keys) > 80
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
