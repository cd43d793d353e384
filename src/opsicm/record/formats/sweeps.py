"""Where one approach ends and the next begins in a column of heights."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

# The withdrawal between two approaches is one step in a step-by-step file: far larger than a step or its noise.
_RESTART_STEPS: Final = 10.0


def sweeps(z: NDArray[np.float64]) -> tuple[slice, ...]:
    """The sweeps of `z` (any unit): a new one begins where z jumps back by more than ten of its own steps.

    Holds for stepwise files, in which the withdrawal is not recorded. A file that records the withdrawal sample by
    sample comes back as one sweep; finding hops in such a trace is another task.
    """
    if z.size < 3:
        return (slice(0, z.size),)
    steps = np.diff(z)
    typical = float(np.nanmedian(np.abs(steps)))
    direction = float(np.sign(np.nanmedian(steps)))
    if typical == 0.0 or direction == 0.0 or not np.isfinite(typical):
        return (slice(0, z.size),)
    starts = np.flatnonzero(-direction * steps > _RESTART_STEPS * typical) + 1
    edges = [0, *(int(start) for start in starts), z.size]
    return tuple(slice(a, b) for a, b in pairwise(edges))
