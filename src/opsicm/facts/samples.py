"""Blocks of samples on one clock: sample k of a segment is at t0_ns + k*dt_ns, in integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """`counts` [n, channel], C order, int16; `t0_ns` is the time of the block's first sample.

    `first_sample` is the index of that sample in its segment; `quality` [channel] says what to think of it.
    """

    segment: int
    first_sample: int
    t0_ns: int
    dt_ns: int
    counts: NDArray[np.int16]
    quality: NDArray[np.uint8]
