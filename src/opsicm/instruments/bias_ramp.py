"""For how long a ramp of the bias command may be left alone, and by what it then misses: one law for run and check.

Between two readings the command ramps with the slope that the cell's potential had. Where the slope changes, the ramp
goes astray until the next reading.
"""

from __future__ import annotations

import math
from typing import Final

BEND: Final = 0.5e-3
"""[V] that a ramp may miss by when the slope changes as it last did: 0.07 % of the paper's 0.7 V."""
KINK: Final = 2e-3
"""[V] that it may miss by when the potential suddenly stands still, as where a stage begins."""
SHORTEST: Final = 0.1
"""[s]"""
LONGEST: Final = 1.0
"""[s]"""
LOOK: Final = 0.02
"""[s] between two looks at a potential that bends too much to hop."""


def trusted(bend: float, slope: float, last: float) -> float:
    """How long [s] a ramp is trusted whose slope [V/s] changed by `bend` [V/s] in the `last` interval [s].

    min(BEND/|bend|, KINK/|slope|, 2 last + SHORTEST, LONGEST), and SHORTEST at least.
    """
    strictest = max(abs(bend) / BEND, abs(slope) / KINK, 1e-9)
    return max(min(1.0 / strictest, 2.0 * last + SHORTEST, LONGEST), SHORTEST)


def bends_too_much(bend: float) -> bool:
    """Whether a slope that changes by `bend` [V/s] between two looks makes the shortest ramp miss by more than BEND."""
    return abs(bend) * SHORTEST > BEND


def lag(curvature: float, slope: float) -> float:
    """[V] by which the command misses at the end of a ramp where the potential bends by `curvature` [V/s²] all along.

    A ramp of T goes on with the slope of the T before it, which is curvature·T behind at its end: it misses by
    curvature·T², with the T that `trusted` settles at. Assumes a curvature that changes little in T.
    """
    bend = abs(curvature)
    steady = math.sqrt(BEND / bend) if bend > BEND / LONGEST**2 else LONGEST
    ramp = max(min(steady, KINK / max(abs(slope), KINK / LONGEST)), SHORTEST)
    return bend * ramp**2
