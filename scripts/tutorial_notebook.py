"""Executes docs/tutorials/python.ipynb as a notebook would, and keeps what its cells show.

python -m scripts.tutorial_notebook executes it and writes the outputs into it; tests/house/test_tutorial_notebook.py
executes it again and compares. The cells run as plain Python in a folder of their own: a kernel would need twenty
packages more, and shows the same (the last expression of a cell, by its HTML, picture or text).
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

NOTEBOOK: Final = Path(__file__).parents[1] / "docs/tutorials/python.ipynb"
_WHEN: Final = (  # what differs from one execution to the next → what the notebook says instead
    (re.compile(r"\d{8}T\d{6}Z"), "20261130T080000Z"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"), "2026-11-30T08:00:00.000+00:00"),
)


def executed(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The notebook with the outputs of its cells, executed in order in one namespace within `folder`."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    with contextlib.chdir(folder):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                cells.append(cell)
                continue
            count += 1
            outputs = _outputs("".join(cell["source"]), namespace, count)
            cells.append({**cell, "execution_count": count, "outputs": outputs})
    return {**notebook, "cells": cells}


def _outputs(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What a cell prints, and what its last expression shows."""
    statements = ast.parse(source).body
    ending = statements[-1] if statements else None
    last = ending if isinstance(ending, ast.Expr) else None
    body = statements if last is None else statements[:-1]
    name = f"<cell {count}>"
    printed = io.StringIO()
    # Whatever a library has made of how this process prints arrays: what is shown is what a fresh kernel shows.
    with contextlib.redirect_stdout(printed), np.printoptions(precision=8, suppress=False):
        exec(compile(ast.Module(body, []), name, "exec"), namespace)
        shown = None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), namespace)
        data = None if shown is None else _shown(shown)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if data is not None:
        outputs.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data})
    return outputs


def _shown(value: object) -> dict[str, Any]:
    """The forms of a value by their media types; HTML of opsicm only, for xarray's has random names in it."""
    data: dict[str, Any] = {"text/plain": _lines(repr(value))}
    if type(value).__module__.startswith("opsicm."):
        if html := getattr(value, "_repr_html_", lambda: None)():
            data["text/html"] = _lines(html)
        if picture := getattr(value, "_repr_png_", lambda: None)():
            data["image/png"] = base64.b64encode(picture).decode()
    return data


def _lines(text: str) -> list[str]:
    text = text.replace(f"{Path.cwd()}/", "")  # the folder that it is executed in
    for pattern, instead in _WHEN:
        text = pattern.sub(instead, text)
    return text.splitlines(keepends=True)


def main() -> None:
    """Execute the notebook and write it with its outputs."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        done = executed(notebook, Path(folder))
    NOTEBOOK.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
