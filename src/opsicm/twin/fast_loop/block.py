"""A block of 256 samples as 16 lanes of 16: every array holds sample k at `place(k)`, so that lanes lie side by side.

One loop a function, over a whole array, no branch that depends on a sample: what the compiler turns into SIMD.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled, inlined
from opsicm.physics.gaussian import fma, normal_pair
from opsicm.twin.fast_loop.curve import cell_of, cell_row, in_cell, loop_relative_current, scaled
from opsicm.twin.fast_loop.sense import (
    LANE,
    Law,
    Motion,
    Slice,
    added,
    current_counts,
    height_counts,
    next_edge,
    next_edges,
    over_lane,
    together,
    unfiltered,
)

BLOCK: Final = LANE * LANE
LAST: Final = BLOCK - LANE
COMMAND, OFFSET = range(2)  # rows in double precision
(
    CURRENT_DRAW,
    HEIGHT_DRAW,
    NTH,
    Z_PART,
    SPEED_PART,
    CURRENT_PART,
    Z_EDGE,
    SPEED_EDGE,
    CURRENT_EDGE,
    SURFACE,
    BULK,
    LEAK,
    Z,
    GAP,
    RELATIVE,
) = range(15)
ZZ_POWER, ZV_POWER, KEEP_POWER = 15, 16, 19  # of five rows: `lane_powers`, spread over the block
AMPERES, METRES, CELL, PAIR = range(4)
_FEW_CELLS: Final = 5
_MOST: Final = 2**31 - 1
_F = np.float32
_D: Any = np.float64
_I = np.int32
_U: Any = np.uint64
_U32: Any = np.uint32
_ZERO = _F(0.0)

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@compiled
def place(k: int) -> int:
    """Where sample `k` of a block lies; its own inverse."""
    return ((k & (LANE - 1)) << 4) | (k >> 4)


@compiled
def new_block(powers: F64) -> tuple[F64, F32, I32, NDArray[np.uint32], F64]:
    """(plan, work, lanes, places, edges): the arrays of a block, with what never changes filled in.

    `plan` has the commands and each sample's number in the block, `lanes` the counts and the curve's cell, `edges` each
    lane's (z, speed, filtered current). Functions take the arrays they use whole and index rows: a view of a row, as
    a tuple of arrays does, counts references, and these counts alone took a third of the loop's time.
    """
    plan, work = np.zeros((2, BLOCK)), np.zeros((KEEP_POWER + 1, BLOCK), np.float32)
    places = np.empty(BLOCK, np.uint32)
    for m in range(BLOCK):
        places[m] = place(m)
        plan[OFFSET, m] = place(m)
        work[NTH, m] = m >> 4
        for row in range(5):
            work[ZZ_POWER + row, m] = powers[row, (m >> 4) + 1]
    return plan, work, np.empty((4, BLOCK), np.int32), places, np.empty((3, LANE))


@compiled
def draw(low_key: Any, high_key: Any, start: Any, places: NDArray[np.uint32], work: F32) -> None:
    """The block's noise; `start` as uint32, for the reason in `gaussian._fill`."""
    for m in range(BLOCK):
        a, b = normal_pair(low_key, high_key, _U32(start + places[m]))
        work[CURRENT_DRAW, m] = a
        work[HEIGHT_DRAW, m] = b


@compiled
def _first_order(law: Law, plan: F64, work: F32) -> None:
    zz, share, reach = law.zz, law.from_command, law.z_reach
    for m in range(LANE):
        work[Z_PART, m] = fma(zz, _ZERO, _F(share * _F(max(-reach, min(reach, plan[COMMAND, m])))))
    for m in range(LANE, BLOCK):
        command = _F(max(-reach, min(reach, plan[COMMAND, m])))
        work[Z_PART, m] = fma(zz, work[Z_PART, m - LANE], _F(share * command))


@compiled
def _second_order(law: Law, plan: F64, work: F32) -> None:
    for m in range(BLOCK):
        c = _F(max(-law.z_reach, min(law.z_reach, plan[COMMAND, m])))
        z0 = work[Z_PART, m - LANE] if m >= LANE else _ZERO
        v0 = work[SPEED_PART, m - LANE] if m >= LANE else _ZERO
        work[Z_PART, m] = fma(law.zz, z0, fma(law.zv, v0, _F(law.from_command * c)))
        work[SPEED_PART, m] = fma(law.vz, z0, fma(law.vv, v0, _F(law.speed_from_command * c)))


@compiled
def _edge_of_lanes(row: int, part: int, edge_row: int, edge: float, power: float, work: F32, edges: F64) -> None:
    # Sixteen values along the lanes, then copied row by row to every sample.
    for j in range(LANE):
        edges[row, j] = work[edge_row, j] = edge
        edge = next_edge(work[part, LAST + j], edge, power)
    for m in range(LANE, BLOCK):
        work[edge_row, m] = work[edge_row, m - LANE]


@compiled
def _edges_of_second_order(z: float, speed: float, powers: F64, work: F32, edges: F64) -> None:
    for j in range(LANE):
        edges[0, j] = work[Z_EDGE, j] = z
        edges[1, j] = work[SPEED_EDGE, j] = speed
        z, speed, _ = next_edges(work[Z_PART, LAST + j], work[SPEED_PART, LAST + j], 0.0, z, speed, 0.0, powers)
    for m in range(LANE, BLOCK):
        work[Z_EDGE, m] = work[Z_EDGE, m - LANE]
        work[SPEED_EDGE, m] = work[SPEED_EDGE, m - LANE]


@compiled
def move_block(law: Law, powers: F64, motion: Motion, plan: F64, work: F32, edges: F64) -> None:
    """The scanner's answer to the block's commands."""
    z, speed, _ = next_edges(motion.z_part, motion.speed_part, 0.0, motion.z_edge, motion.speed_edge, 0.0, powers)
    if law.second_order:
        _second_order(law, plan, work)
        _edges_of_second_order(z, speed, powers, work, edges)
        for m in range(BLOCK):
            work[Z, m] = together(
                work[Z_PART, m], work[ZZ_POWER, m], work[Z_EDGE, m], work[ZV_POWER, m], work[SPEED_EDGE, m]
            )
        return
    _first_order(law, plan, work)
    _edge_of_lanes(0, Z_PART, Z_EDGE, z, powers[0, LANE], work, edges)
    for m in range(LANE):
        edges[1, m] = 0.0
    for m in range(BLOCK):
        work[Z, m] = added(work[Z_PART, m], work[ZZ_POWER, m], work[Z_EDGE, m])


@compiled
def _world(now: Slice, begin: int, count: int, below: float, work: F32) -> None:
    # What holds at the first sample of every lane, then copied row by row.
    swelling_step = (now.swelling_to - now.swelling_from) / count
    bulk_step, leak_step = (now.bulk_to - now.bulk_from) / count, (now.leak_to - now.leak_from) / count
    for j in range(LANE):
        since = begin + LANE * j
        work[SURFACE, j] = (below + now.swelling_from) + since * swelling_step
        work[BULK, j] = now.bulk_from + since * bulk_step
        work[LEAK, j] = now.leak_from + since * leak_step
    for m in range(LANE, BLOCK):
        work[SURFACE, m] = work[SURFACE, m - LANE]
        work[BULK, m] = work[BULK, m - LANE]
        work[LEAK, m] = work[LEAK, m - LANE]


@compiled
def _gaps(step: Any, curve: F32, work: F32, lanes: I32) -> tuple[Any, Any, Any]:
    # The distances, the first and last cell of the curve among them, and the smallest by its `_rank`.
    per_radius = curve[0]
    first, last, nearest = _I(_MOST), _I(0), _I(_MOST)
    for m in range(BLOCK):
        gap = _F(work[Z, m] - over_lane(work[SURFACE, m], step, work[NTH, m]))
        work[GAP, m] = gap
        c = cell_of(scaled(gap, per_radius))
        lanes[CELL, m] = c
        first = c if c < first else first
        last = c if c > last else last
        rank = _rank(np.float32(gap).view(np.int32))
        nearest = rank if rank < nearest else nearest
    return first, last, nearest


@inlined
def _rank(bits: Any) -> Any:
    # Integers in the order of the numbers whose bits these are (a minimum of integers fills lanes); its own inverse.
    return _I(bits ^ _I(_I(bits >> _I(31)) & _I(_MOST)))


@compiled
def _relative_in_cell(curve: F32, cell: int, work: F32) -> None:
    c0, c1, c2, c3, c4 = cell_row(cell, curve)
    per_radius, F = curve[0], curve[1]
    for m in range(BLOCK):
        work[RELATIVE, m] = in_cell(scaled(work[GAP, m], per_radius), F, c0, c1, c2, c3, c4)


@compiled
def _relative_where(curve: F32, cell: int, work: F32, lanes: I32) -> None:
    c0, c1, c2, c3, c4 = cell_row(cell, curve)
    per_radius, F, this = curve[0], curve[1], _I(cell)
    for m in range(BLOCK):
        here = in_cell(scaled(work[GAP, m], per_radius), F, c0, c1, c2, c3, c4)
        work[RELATIVE, m] = here if lanes[CELL, m] == this else work[RELATIVE, m]


@compiled
def _relative(first: int, last: int, curve: F32, work: F32, lanes: I32) -> None:
    if last - first >= _FEW_CELLS:
        for m in range(BLOCK):
            work[RELATIVE, m] = loop_relative_current(work[GAP, m], curve)
        return
    _relative_in_cell(curve, first, work)
    for cell in range(first + 1, last + 1):
        _relative_where(curve, cell, work, lanes)


@compiled
def _currents(law: Law, bulk_step: Any, leak_step: Any, work: F32) -> None:
    keep, gain, noise = law.keep, law.gain, law.current_noise
    for m in range(BLOCK):
        far, aside = (
            over_lane(work[BULK, m], bulk_step, work[NTH, m]),
            over_lane(work[LEAK, m], leak_step, work[NTH, m]),
        )
        work[CURRENT_PART, m] = _F(gain * unfiltered(far, aside, work[RELATIVE, m], work[CURRENT_DRAW, m], noise))
    for m in range(LANE):
        work[CURRENT_PART, m] = fma(keep, _ZERO, work[CURRENT_PART, m])
    for m in range(LANE, BLOCK):
        work[CURRENT_PART, m] = fma(keep, work[CURRENT_PART, m - LANE], work[CURRENT_PART, m])


@compiled
def _counts(law: Law, work: F32, lanes: I32) -> None:
    per_ampere, per_metre, noise = law.per_ampere, law.per_metre, law.height_noise
    for m in range(BLOCK):
        filtered = added(work[CURRENT_PART, m], work[KEEP_POWER, m], work[CURRENT_EDGE, m])
        amperes = current_counts(filtered, per_ampere)
        metres = height_counts(work[Z, m], work[HEIGHT_DRAW, m], per_metre, noise)
        lanes[AMPERES, m] = amperes
        lanes[METRES, m] = metres
        lanes[PAIR, m] = _I(_I(metres << _I(16)) | _I(amperes & _I(0xFFFF)))


@compiled
def sense_block(
    law: Law,
    powers: F64,
    motion: Motion,
    now: Slice,
    begin: int,
    count: int,
    below: float,
    curve: F32,
    work: F32,
    lanes: I32,
    edges: F64,
) -> float:
    """Distance, current in front of the amplifier's low-pass and behind it, and the counts of the block.

    Returns the smallest distance [m].
    """
    _world(now, begin, count, below, work)
    first, last, nearest = _gaps(_F((now.swelling_to - now.swelling_from) / count), curve, work, lanes)
    _relative(first, last, curve, work, lanes)
    bulk_step, leak_step = (now.bulk_to - now.bulk_from) / count, (now.leak_to - now.leak_from) / count
    _currents(law, _F(bulk_step), _F(leak_step), work)
    filtered = next_edge(motion.filtered_part, motion.filtered_edge, powers[4, LANE])
    _edge_of_lanes(2, CURRENT_PART, CURRENT_EDGE, filtered, powers[4, LANE], work, edges)
    _counts(law, work, lanes)
    return float(_D(np.int32(_rank(nearest)).view(np.float32)))


@compiled
def as_pairs(counts: NDArray[np.int16]) -> I32:
    """Two channels of counts as one 32-bit word a sample, the same memory; nothing if there are three."""
    # The current stands first, so in the lower half: every processor that Numba compiles for is little-endian.
    return counts.view(np.int32).reshape(-1) if counts.shape[1] == 2 else np.empty(0, np.int32)


@compiled
def store(
    length: int, begin: int, law: Law, plan: F64, lanes: I32, counts: NDArray[np.int16], pairs: NDArray[np.int32]
) -> None:
    """The block's first `length` samples, in the order of time; `pairs` from `as_pairs`."""
    if counts.shape[1] == 2:
        for k in range(length):
            pairs[_U(begin + k)] = lanes[_U(PAIR), _U(place(k))]  # unsigned: no question whether to count from the end
        return
    for k in range(length):
        m = place(k)
        counts[begin + k, 0] = lanes[AMPERES, m]
        counts[begin + k, 1] = lanes[METRES, m]
        command = _F(max(-law.z_reach, min(law.z_reach, plan[COMMAND, m])))
        counts[begin + k, 2] = height_counts(command, _ZERO, law.per_metre, _ZERO)


@compiled
def clipped_in(channel: int, lanes: I32, length: int) -> int:
    """How many of the block's first `length` samples the converter has clipped in a row of `lanes`."""
    hit = _I(0)
    for m in range(BLOCK):
        hit |= _I(abs(lanes[channel, m]) >= 32767)
    if not hit:
        return 0
    clipped = 0
    for k in range(length):
        clipped += abs(lanes[channel, place(k)]) >= 32767
    return clipped


@compiled
def closest(length: int, work: F32) -> float:
    """The smallest gap [m] among the block's first `length` samples."""
    nearest = np.inf
    for k in range(length):
        nearest = min(nearest, _D(work[GAP, place(k)]))
    return nearest


@compiled
def motion_after(length: int, hop: int, law: Law, powers: F64, work: F32, edges: F64) -> Motion:
    """The motion after the block's first `length` samples."""
    m, lane = place(length - 1), (length - 1) >> 4
    n = ((length - 1) & (LANE - 1)) + 1
    speed = speed_part = _ZERO
    if law.second_order:
        speed_part = work[SPEED_PART, m]
        speed = together(speed_part, powers[2, n], edges[0, lane], powers[3, n], edges[1, lane])
    filtered = added(work[CURRENT_PART, m], powers[4, n], edges[2, lane])
    return Motion(
        _D(work[Z, m]),
        _D(speed),
        _D(filtered),
        hop,
        _D(work[Z_PART, m]),
        _D(speed_part),
        _D(work[CURRENT_PART, m]),
        edges[0, lane],
        edges[1, lane],
        edges[2, lane],
    )
