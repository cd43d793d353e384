"""Short forms of the fault rows that the record owns. The seed is printed; `python -m faults --seed N` repeats it."""

from __future__ import annotations

import importlib
import random

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "f01_kill_the_writer",
        "f03_kill_the_group",
        "f04_power_cut",
        "f05_disk_full",
        "f06_slow_disk",
        "f10_clock_steps",
        "f14_damaged_files",
        "f18_kill_the_converter",
        "f19_recover",
        "f20_flipped_bits",
        "f21_little_shared_memory",
        "f22_folder_taken_away",
        "f23_stopped_processes",
    ],
)
def test_short_form(module: str) -> None:
    seed = 7  # `make test` is no lottery; `make faults` draws
    rows = importlib.import_module(f"faults.{module}").run(random.Random(f"{seed} {module}"), short=True)
    assert rows
    for row in rows:
        assert row.holds is not False, f"{row.row} {row.fault}, seed {seed}: {row.observed}"
    if unjudged := [f"{row.row}: {row.observed}" for row in rows if row.holds is None]:
        pytest.skip("; ".join(unjudged))
