"""Short forms of the fault rows of the console. The seed is fixed; `python -m faults --only f12` draws others."""

from __future__ import annotations

import importlib
import random

import pytest


@pytest.mark.real_time
@pytest.mark.parametrize("module", ["f12_stop", "f16_pages"])
def test_short_form(module: str) -> None:
    seed = 7
    rows = importlib.import_module(f"faults.{module}").run(random.Random(f"{seed} {module}"), short=True)
    assert rows
    for row in rows:
        assert row.holds, f"{row.row} {row.fault}, seed {seed}: {row.observed}"
