"""The twin's sample loop: 100 000 samples a second of virtual time, a thousand times as fast as they would pass.

What it is and why it is so: docs/explanations/fast-loop.md. Everything outside goes through the names below; how a
slice of samples is computed (lanes, blocks, views without an owner) is nobody else's business.
"""

from opsicm.twin.fast_loop.curve import approach_table
from opsicm.twin.fast_loop.definition import DWELL_SURFACE, run_slice_by_definition
from opsicm.twin.fast_loop.lanes import Breakpoints, run_slice, run_slices
from opsicm.twin.fast_loop.sample import (
    FALL,
    GAP_MIN,
    I_REF,
    I_STOP,
    OUTCOME,
    START,
    STOP,
    TOP,
    Z_MIN,
    Z_STOP,
    FilterState,
    Hops,
    Instrument,
    LoopState,
    Slice,
    Stream,
    zero_order_hold,
)

__all__ = [
    "DWELL_SURFACE",
    "FALL",
    "GAP_MIN",
    "I_REF",
    "I_STOP",
    "OUTCOME",
    "START",
    "STOP",
    "TOP",
    "Z_MIN",
    "Z_STOP",
    "Breakpoints",
    "FilterState",
    "Hops",
    "Instrument",
    "LoopState",
    "Slice",
    "Stream",
    "approach_table",
    "run_slice",
    "run_slice_by_definition",
    "run_slices",
    "zero_order_hold",
]
