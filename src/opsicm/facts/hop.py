"""The hop record: one row per approach and withdrawal."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np


class Outcome(IntEnum):
    """How a hop ended."""

    CONTACT = 0
    NO_CONTACT = 1
    BELOW_AT_START = 2
    OVERLOAD = 3
    ABORTED = 4


HOP_DTYPE: Final = np.dtype(
    [
        ("hop", "i8"), ("line", "i4"), ("pixel", "i4"), ("x", "f8"), ("y", "f8"), ("segment", "i4"),
        ("sample_start", "i8"), ("sample_fall", "i8"), ("sample_stop", "i8"), ("sample_top", "i8"), ("t_ns", "i8"),
        ("i_ref", "f8"), ("i_stop", "f8"), ("setpoint", "f8"), ("z_stop", "f8"), ("z_min", "f8"),
        ("cell_potential", "f8"), ("cell_current", "f8"), ("bias_residual", "f8"), ("outcome", "u1"), ("flags", "u4"),
    ]
)  # fmt: skip
"""Fields of a hop; `step` (text path, as `probe[0]`) stands beside the array. SI units; `t_ns` at the stop."""
