"""Short forms of the fault rows that the runner owns. The seed is printed; `python -m faults --seed N` repeats it."""

from __future__ import annotations

import importlib
import random

import pytest


@pytest.mark.parametrize(
    "module", ["f02_kill_the_controller", "f11_pause_the_probe", "f13_a_long_run", "f15_late_potentiostat"]
)
def test_short_form(module: str) -> None:
    seed = 7  # `make test` is no lottery; `make faults` draws
    rows = importlib.import_module(f"faults.{module}").run(random.Random(f"{seed} {module}"), short=True)
    assert rows
    for row in rows:
        assert row.held, f"{row.row} {row.fault}, seed {seed}: {row.seen}"
