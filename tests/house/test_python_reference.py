"""The Python page says what the docstrings say, and names every function, member and figure."""

from __future__ import annotations

import opsicm
from opsicm.cli.python_plots import RunPlots
from opsicm.cli.python_run import StoredRun
from scripts.python_reference import PAGE, page


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m scripts.python_reference"


def test_everything_that_a_user_can_call_is_on_the_page() -> None:
    text = page()
    assert [name for name in opsicm.__all__ if f"### opsicm.{name}\n" not in text] == []
    for of in (StoredRun, RunPlots):
        members = [name for name in vars(of) if not name.startswith("_")]
        assert len(members) > 10
        assert [name for name in members if f"- `.{name}" not in text] == []
