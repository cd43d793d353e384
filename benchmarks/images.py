"""Levelling a plane and registering a frame."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.raw_hops import best
from benchmarks.row import BenchRow
from opsicm.analysis.topography.levelling import plane
from opsicm.analysis.topography.registration import register


def row() -> list[BenchRow]:
    """Milliseconds of one core; the registered shift beside the true one."""
    rng = np.random.default_rng(1)
    large = rng.standard_normal((512, 512))
    plane(large)
    level = 1e3 * best(lambda: plane(large), 9)
    surface = gaussian_filter(rng.standard_normal((140, 140)), 3)
    first, second = surface[4:132, 4:132], 1.06 * surface[2:130, 7:135]
    shift_found = register(first, second)
    shift_ms = 1e3 * best(lambda: register(first, second), 9)
    lstsq = "NumPy lstsq on three columns"
    y, x = np.indices(large.shape)
    basis = np.column_stack((np.ones(large.size), x.ravel(), y.ravel()))
    peer = 1e3 * best(lambda: np.linalg.lstsq(basis, large.ravel(), rcond=None), 3)
    return [
        BenchRow(
            "plane of 512²", level, "ms", f"{lstsq} {peer:.1f} ms", "", "Plane levelling of 512² ≤ 15 ms", level <= 15.0
        ),
        BenchRow(
            "register 128²",
            shift_ms,
            "ms",
            f"found ({shift_found.dy:.3f}, {shift_found.dx:.3f}) for (2, -3)",
            "",
            "Register a 128² frame ≤ 20 ms",
            shift_ms <= 20.0,
        ),
    ]
