"""Which stages graphite is made of at a stoichiometry."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.errors import OutsideDomain, Problem
from opsicm.physics.swelling import VOLUME_CHANGE, VOLUME_STOICHIOMETRY

Floats = NDArray[np.float64]
STAGES: Final = ("1L", "4L", "3L", "2L", "2", "1")  # pure at x = 0, 0.12, 0.18, 0.24, 0.5, 1


def stage_fractions(x: ArrayLike, *, hysteresis: float = 0.0, lithiating: bool = True) -> Floats:
    """Fraction of each of `STAGES` [6, *x.shape] by the lever rule between neighbouring stages; they sum to 1.

    `hysteresis` [1] shifts the stages between the two ends to greater x while lithiating and to smaller x while
    delithiating, by half of it each way: the ordered stages 2L and 2 form late and leave late (Dahn, Phys. Rev. B 44
    (1991) 9170). With 0 the lithium content Σ f_k x_k is x; with hysteresis it is not, for x is then the mean of a
    distribution that this form does not resolve. Fails in the solid solution of stage 1L, which it calls a mixture.
    """
    points = np.asarray(x, dtype=np.float64)
    gap = float(np.diff(VOLUME_STOICHIOMETRY).min())
    if not 0.0 <= hysteresis < 2.0 * gap:
        limit = f"0 ≤ hysteresis < {2 * gap:g}, or stages change order with the ends"
        raise OutsideDomain(Problem("staging hysteresis", f"{hysteresis:g}", limit, "choose a smaller one"))
    if points.size and not (points.min() >= 0.0 and points.max() <= 1.0):
        value = f"{points.min():g} … {points.max():g}"
        raise OutsideDomain(Problem("stoichiometry", value, "it lies in 0–1", "clip it"))
    nodes = VOLUME_STOICHIOMETRY.copy()
    nodes[1:-1] += 0.5 * hysteresis if lithiating else -0.5 * hysteresis
    return np.stack([np.interp(points, nodes, row) for row in np.eye(nodes.size)])


def volume_of_stages(fractions: Floats) -> Floats:
    """Relative volume change [1] of a mixture of stages: Σ f_k v_k; that of `swelling` without hysteresis."""
    return np.asarray(np.tensordot(VOLUME_CHANGE, fractions, axes=1))
