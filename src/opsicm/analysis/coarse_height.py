"""The coarse stage's height under hops: it stands still within a segment and moves only between two."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def coarse_of_hops(hops: xr.Dataset, slow: xr.Dataset) -> NDArray[np.float64] | None:
    """Coarse height at each hop [m]; None where no slow row says it.

    The median of the rows between the first and the last hop of a segment, so that a row read while the stage still
    travelled does not count; where a segment is too short to hold a row, the next one after it. The last row *before*
    a hop would be wrong: after a park it says where the pipette came from.
    """
    t, height = slow["t_ns"].values, slow["coarse_z"].values
    known = np.isfinite(height)
    if not known.any():
        return None
    t, height = t[known], height[known]
    at, segments = hops["t_ns"].values, hops["segment"].values
    found = np.empty(at.size)
    for segment in np.unique(segments):
        mine = segments == segment
        first, last = at[mine].min(), at[mine].max()
        during = (t >= first) & (t <= last)
        after = min(int(np.searchsorted(t, last)), t.size - 1)
        found[mine] = np.median(height[during]) if during.any() else height[after]
    return found
