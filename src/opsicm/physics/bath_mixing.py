"""Natural convection in the bath, as a multiplier of the salt's diffusivity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled

Floats = NDArray[np.float64]


@compiled
def mixing_factors(time: float, c: Floats, grid: Floats, convection: Floats, first: int, mixing: Floats) -> None:
    """Multipliers of D at the faces into `mixing` [n + 1]; all 1 while `convection[0]` is 0 (switched off)."""
    if convection[0] == 0.0:
        for k in range(mixing.size):
            mixing[k] = 1.0
