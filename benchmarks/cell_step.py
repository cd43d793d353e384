"""One interactive step of the cell, against PyBaMM's."""

from __future__ import annotations

from timeit import default_timer

import numpy as np

from benchmarks.dfn_peer import cell_parameters, interactive_step, peer
from benchmarks.row import BenchRow
from opsicm.physics.cell.cell import Cell

_STEPS = 20_000


def seconds_per_step(cell: Cell) -> float:
    """[s] of `advance(0.1)`, the median of ten batches."""
    cell.set_current(-1e-6)
    cell.advance(1.0)
    batches = []
    for _ in range(10):
        start = default_timer()
        for _ in range(_STEPS // 10):
            cell.advance(0.1)
        batches.append((default_timer() - start) / (_STEPS // 10))
    return float(np.median(batches))


def row() -> list[BenchRow]:
    """`advance(0.1)` as a live run calls it, Python's part included, with the default's sizes and hysteresis."""
    numbers = cell_parameters()
    alone = seconds_per_step(Cell(numbers[0], initial_potential=0.2))
    step = seconds_per_step(Cell(cell_parameters(particles=True)[0], initial_potential=0.2))
    goal = ">= 200 times faster than PyBaMM's step (prototype: 6.7 µs)"
    limit = f"{step * 1e6:.2f} µs per step; {alone * 1e6:.2f} with one size of particles, which is all the peer has"
    if peer() is None:
        reason = "PyBaMM is not installed (extra: oracle)"
        return [BenchRow("cell step", step * 1e6, "µs", "PyBaMM DFN step", limit, goal, None, reason)]
    peer_step = interactive_step(numbers)
    against = f"PyBaMM DFN {peer_step * 1e3:.3g} ms"
    return [BenchRow("cell step", peer_step / step, "times", against, limit, goal, peer_step / step >= 200.0)]
