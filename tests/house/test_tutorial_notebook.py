"""The tutorial notebook is executed, and shows what it says it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.tutorial_notebook import NOTEBOOK, executed


def _text(outputs: list[dict[str, Any]]) -> list[str]:
    return ["".join(output["text"] if "text" in output else output["data"]["text/plain"]) for output in outputs]


def test_every_cell_shows_what_the_notebook_says(tmp_path: Path) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    again = [cell for cell in executed(notebook, tmp_path)["cells"] if cell["cell_type"] == "code"]
    for cell, anew in zip(cells, again, strict=True):
        source = "".join(cell["source"])
        assert _text(anew["outputs"]) == _text(cell["outputs"]), f"{source}\nrun python -m scripts.tutorial_notebook"
        kinds = [sorted(output.get("data", {})) for output in cell["outputs"]]
        assert [sorted(output.get("data", {})) for output in anew["outputs"]] == kinds, source
    pictures = [output for cell in again for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) >= 4


def test_a_cell_that_fails_fails_the_execution(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "source": ["print('a')\n", "1 / 0"], "metadata": {}}
    with pytest.raises(ZeroDivisionError):
        executed({"cells": [cell]}, tmp_path)
    cell["source"] = ["x = 2\n", "print('a')\n", "x + 1"]
    (done,) = executed({"cells": [cell]}, tmp_path)["cells"]
    assert _text(done["outputs"]) == ["a\n", "3"]
