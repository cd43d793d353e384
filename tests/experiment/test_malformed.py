"""Short form of F14 for experiment files. `make faults` draws ten thousand."""

from __future__ import annotations

import random

from faults import f14_malformed_experiments


def test_malformed_and_hostile_files_are_refused_or_read() -> None:
    seed = 7  # `make test` is no lottery
    (row,) = f14_malformed_experiments.run(random.Random(f"{seed} f14_malformed_experiments"), short=True)
    assert row.holds, f"seed {seed}: {row.observed}"
