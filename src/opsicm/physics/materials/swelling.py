"""How much graphite swells: relative volume against stoichiometry."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.core.compiled import compiled

Floats = NDArray[np.float64]
# x in LixC6 and (V − V₀)/V₀: straight between the stages. Stages 1L, 4L, 3L, 2L, 2 and 1 as quoted with the paper.
VOLUME_STOICHIOMETRY: Final[Floats] = np.array([0.0, 0.12, 0.18, 0.24, 0.50, 1.0])
VOLUME_CHANGE: Final[Floats] = np.array([0.0, 0.0241, 0.0336, 0.0437, 0.0558, 0.131])


@compiled
def volume_change_at(x: float) -> float:
    """Relative volume change of graphite [1] at stoichiometry `x`; the end values outside 0–1."""
    if x <= 0.0:
        return float(VOLUME_CHANGE[0])
    for k in range(1, VOLUME_CHANGE.size):
        if x <= VOLUME_STOICHIOMETRY[k]:
            s = (x - VOLUME_STOICHIOMETRY[k - 1]) / (VOLUME_STOICHIOMETRY[k] - VOLUME_STOICHIOMETRY[k - 1])
            return float(VOLUME_CHANGE[k - 1] + s * (VOLUME_CHANGE[k] - VOLUME_CHANGE[k - 1]))
    return float(VOLUME_CHANGE[-1])


@compiled
def mean_volume_change(x: Floats, shares: Floats) -> float:
    """Σ share·v(x) over the shells of a particle; `shares` (first x.size entries) sum to 1."""
    total = 0.0
    for k in range(x.size):
        total += shares[k] * volume_change_at(x[k])
    return total


def relative_volume_change(x: ArrayLike, swelling_factor: float = 1.0) -> Floats:
    """Relative volume change [1] at stoichiometry `x` (any shape), times `swelling_factor` [1].

    With factor 1 it is that of graphite itself: 2.41, 3.36, 4.37, 5.58, 13.1 % at x = 0.12, 0.18, 0.24, 0.5, 1. An
    electrode on a stiff foil takes its particles' growth as thickness: if pores keep their volume the factor is the
    solid's volume fraction. Straight lines between stages assume two-phase coexistence throughout.
    """
    return swelling_factor * np.interp(np.asarray(x, dtype=np.float64), VOLUME_STOICHIOMETRY, VOLUME_CHANGE)
