"""The approach curve point by point: compiled spline against scipy.interpolate."""

from __future__ import annotations

from timeit import default_timer

import numpy as np
from scipy.interpolate import CubicSpline

from benchmarks.row import BenchRow
from opsicm.physics.pipette.approach import over, relative_current
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve


def row() -> list[BenchRow]:
    """Nanoseconds per distance; the ratio to a scalar call of CubicSpline gates."""
    curve = approach_curve(Pipette())
    d = np.geomspace(2e-9, 2e-6, 200_000)
    over(relative_current, d[:10], curve.packed)
    start = default_timer()
    over(relative_current, d, curve.packed)
    compiled_time = (default_timer() - start) / d.size
    nodes = np.geomspace(1e-9, 2.5e-6, 33)
    spline = CubicSpline(np.log(nodes), curve.relative_current(nodes))
    x = np.log(d[::100])
    start = default_timer()
    for value in x:
        spline(value)
    scipy_time = (default_timer() - start) / x.size
    ratio = scipy_time / compiled_time
    return [
        BenchRow(
            "approach spline",
            ratio,
            "times scipy",
            f"scipy CubicSpline {scipy_time * 1e9:.0f} ns",
            f"{compiled_time * 1e9:.0f} ns here",
            ">= 20",
            ratio >= 20.0,
        )
    ]
