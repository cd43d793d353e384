"""The reference of the experiment file says what the models and the published schema say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from opsicm.experiment.file import json_schema

SCRIPT = Path(__file__).parents[2] / "scripts/experiment_reference.py"


def script() -> ModuleType:
    """The script that writes the page, as a module."""
    spec = importlib.util.spec_from_file_location("experiment_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes() -> None:
    made = script()
    text = made.PAGE.read_text(encoding="utf-8")
    assert text == made.page(), "run python scripts/experiment_reference.py"


def test_every_key_of_the_schema_is_on_the_page() -> None:
    text = script().PAGE.read_text(encoding="utf-8")
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
