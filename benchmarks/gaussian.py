"""Gaussian numbers for the sample loop."""

from __future__ import annotations

from timeit import default_timer

import numpy as np

from benchmarks.row import BenchRow
from opsicm.core.compiled import compiled
from opsicm.physics.noise import gaussian, gaussian_block

_BLOCK, _BLOCKS = 65536, 200


@compiled
def _one_by_one(count: int) -> float:
    total = 0.0
    for k in range(count):
        total += gaussian(1, 0, k)
    return total


def row() -> list[BenchRow]:
    """Millions per second of one core, in a block that stays in cache, against NumPy's ziggurat."""
    out = np.empty(_BLOCK, np.float32)
    gaussian_block(1, 0, 0, out)
    _one_by_one(10)
    best = np.inf
    for attempt in range(5):
        start = default_timer()
        for k in range(_BLOCKS // 5):
            gaussian_block(1, 0, (attempt * _BLOCKS + k) * _BLOCK, out)
        best = min(best, (default_timer() - start) / (_BLOCKS // 5))
    rng = np.random.default_rng(1)
    start = default_timer()
    for _ in range(20):
        rng.standard_normal(out=out, dtype=np.float32)
    numpy_rate = 20 * _BLOCK / (default_timer() - start) * 1e-6
    start = default_timer()
    _one_by_one(2_000_000)
    scalar = 2.0 / (default_timer() - start)
    rate = _BLOCK / best * 1e-6
    return [
        BenchRow(
            "gaussian numbers",
            rate,
            "M/s per core",
            f"NumPy ziggurat {numpy_rate:.0f} M/s",
            f"one by one {scalar:.0f} M/s",
            ">= 400",
            rate >= 400.0,
        )
    ]
