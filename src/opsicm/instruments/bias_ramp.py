"""How long the bias command may ramp between two readings of the cell, and how large its error then is.

Between two readings the command ramps with the slope that the cell's potential had. Where that slope changes, the
command is wrong until the next reading. The runner and `check` use the same rule.
"""

from __future__ import annotations

import math
from typing import Final

CURVATURE_ERROR: Final = 0.5e-3
"""[V] allowed where the slope goes on changing as it last did: 0.07 % of the paper's 0.7 V."""
KINK_ERROR: Final = 2e-3
"""[V] allowed where the potential suddenly stops moving, as at the beginning of a plateau."""
SHORTEST_RAMP: Final = 0.1
"""[s]"""
LONGEST_RAMP: Final = 1.0
"""[s]"""
SETTLING_INTERVAL: Final = 0.02
"""[s] between readings while the slope changes too fast to hop."""
LONGEST_SETTLING: Final = 2.0
"""[s] that hopping waits for the slope to settle; then it begins all the same, and the residual is recorded."""


def ramp_duration(slope_change: float, slope: float, interval: float) -> float:
    """How long [s] a ramp may last whose `slope` [V/s] has changed by `slope_change` [V/s] in the last `interval` [s].

    min(CURVATURE_ERROR/|change|, KINK_ERROR/|slope|, 2 interval + SHORTEST_RAMP, LONGEST_RAMP), but at least
    SHORTEST_RAMP.
    """
    strictest = max(abs(slope_change) / CURVATURE_ERROR, abs(slope) / KINK_ERROR, 1e-9)
    return max(min(1.0 / strictest, 2.0 * interval + SHORTEST_RAMP, LONGEST_RAMP), SHORTEST_RAMP)


def is_unsettled(slope_change: float) -> bool:
    """Whether even the shortest ramp is too long for a slope that changes by `slope_change` [V/s] between readings."""
    return abs(slope_change) * SHORTEST_RAMP > CURVATURE_ERROR


def ramp_error(curvature: float, slope: float) -> float:
    """[V] by which the command is wrong at the end of a ramp of a potential with a constant `curvature` [V/s²].

    A ramp of duration T uses the slope of the T before it, which at its end is curvature·T behind: the error is
    curvature·T², with the T at which `ramp_duration` settles. Assumes that the curvature changes little within T.
    """
    curvature = abs(curvature)
    steady = math.sqrt(CURVATURE_ERROR / curvature) if curvature > CURVATURE_ERROR / LONGEST_RAMP**2 else LONGEST_RAMP
    ramp = max(min(steady, KINK_ERROR / max(abs(slope), KINK_ERROR / LONGEST_RAMP)), SHORTEST_RAMP)
    return curvature * ramp**2
