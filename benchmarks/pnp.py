"""One Newton iteration of the Poisson–Nernst–Planck solver."""

from __future__ import annotations

from timeit import default_timer

from benchmarks.row import BenchRow
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.pnp import solve_pnp


def row() -> list[BenchRow]:
    """Seconds per iteration, set-up shared among them, at about 36 000 unknowns with charge and bias."""
    start = default_timer()
    solution = solve_pnp(Pipette(), 0.2, 1000.0, 1000.0, -0.02)
    spent = (default_timer() - start) / len(solution.corrections)
    unknowns = 3 * solution.tip.mesh.count
    return [
        BenchRow(
            "PNP Newton iteration", spent, "s", "", f"{unknowns} unknowns", "<= 1 s at 37 000 unknowns", spent <= 1.0
        )
    ]
