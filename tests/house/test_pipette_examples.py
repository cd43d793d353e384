"""What the pipette's examples page shows is what its scripts print."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("ex1[0-5]_*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_page_shows_what_the_script_prints(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out.strip()
    page = (EXAMPLES / "pipette.md").read_text(encoding="utf-8")
    assert printed
    assert printed in page, f"docs/examples/pipette.md is behind {script.name}; it now prints:\n{printed}"


def test_every_example_is_found() -> None:
    assert len(SCRIPTS) == 6
