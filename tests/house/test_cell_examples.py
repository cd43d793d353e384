"""What the cell's examples page shows is what its scripts print."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("ex3[0-2]_*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_page_shows_what_the_script_prints(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script runs, draws, and prints what the page says."""
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [str(script), str(picture)])
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out.strip()
    page = (EXAMPLES / "cell.md").read_text(encoding="utf-8")
    assert printed
    assert printed in page, f"docs/examples/cell.md is behind {script.name}; it now prints:\n{printed}"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_example_is_found() -> None:
    """Three of them."""
    assert len(SCRIPTS) == 3
