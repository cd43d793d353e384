"""Scatter about a straight line: what is left of a stretch once its own slope is taken away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def scatter_about_line(x: F64, y: F64) -> float:
    """Standard deviation of `y` (n,) about its least-squares line on `x` (n,), n - 2 degrees of freedom."""
    basis = np.column_stack((np.ones_like(x), x - x.mean()))
    rest = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(np.sqrt(rest @ rest / max(x.size - 2, 1)))
