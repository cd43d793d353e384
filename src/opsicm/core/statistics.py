"""Scatter about a straight line: what is left of a stretch once its own slope is taken away."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def scatter_about_line(x: F64, y: F64) -> float:
    """Standard deviation of `y` (n,) about its least-squares line on `x` (n,), n - 2 degrees of freedom."""
    basis = np.column_stack((np.ones_like(x), x - x.mean()))
    rest = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(np.sqrt(rest @ rest / max(x.size - 2, 1)))


# -- What a record's own numbers say of its resolution, and when they say nothing.


_ROUND_OFF: Final = 1e-9  # of a value: no instrument here resolves it, arithmetic does

_LEVELS: Final = 5


def count_of(values: NDArray[np.float64]) -> float:
    """The smallest step between different values, as of a converter or of a printed table; 0 where it is round-off.

    `values` [any unit], (n,). A step below 1e-9 of the largest value is arithmetic, not resolution, and fewer than five
    different values are set-points, whose distance says nothing of it.
    """
    different = np.unique(values[np.isfinite(values)])
    if different.size < _LEVELS:
        return 0.0
    steps = np.diff(different)
    floor = _ROUND_OFF * float(np.max(np.abs(different)))
    real = steps[steps > floor]
    # Steps of both kinds mean that the numbers were computed: then the smallest real one is no count.
    return float(real.min()) if real.size == steps.size else 0.0


def known_u(value: float, u: float) -> float | None:
    """`u`, or None where it is below 1e-9 of `value`: the record neither scatters nor steps, and says nothing of u."""
    return u if u > _ROUND_OFF * abs(value) else None
