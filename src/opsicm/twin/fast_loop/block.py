"""A block of 256 samples as 16 lanes of 16: every array holds sample k at `place(k)`, so that lanes lie side by side.

    memory       0   1   2 …  15 |  16  17 …  31 | …       row r of 16 numbers: sample r of every lane
    sample       0  16  32 … 240 |   1  17 … 241 | …

So the recursions, which go from a sample to the next, go from row to row, and each row is one SIMD instruction or two.
One loop a function, over a whole array, no branch that depends on a sample: what the compiler turns into SIMD.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled, inlined
from opsicm.physics.noise import fma, normal_pair
from opsicm.twin.fast_loop.curve import cell_of, cell_row, in_cell, scaled, table_relative_current
from opsicm.twin.fast_loop.sample import (
    LANE,
    FilterCoefficients,
    FilterState,
    Slice,
    along_lane,
    current_counts,
    height_counts,
    next_carries,
    next_carry,
    unfiltered,
    with_carry,
    with_two_carries,
)

BLOCK: Final = LANE * LANE
LAST: Final = BLOCK - LANE
COMMAND, OFFSET = range(2)  # rows of `Block.plan`
(  # rows of `Block.work`
    CURRENT_DRAW,
    HEIGHT_DRAW,
    NTH,
    Z_PART,
    SPEED_PART,
    CURRENT_PART,
    Z_CARRY,
    SPEED_CARRY,
    CURRENT_CARRY,
    SURFACE,
    BULK,
    LEAK,
    Z,
    GAP,
    RELATIVE,
) = range(15)
ZZ_POWER, ZV_POWER, KEEP_POWER = 15, 16, 19  # of five rows: `carry_powers`, spread over the block
AMPERES, METRES, CELL, PAIR = range(4)  # rows of `Block.lanes`
_FEW_CELLS: Final = 5  # of the curve in a block: up to here a pass for each beats looking coefficients up by sample
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


class Block(NamedTuple):
    """The arrays of a block: one allocation serves a whole slice.

    Functions take the arrays they use whole and index rows. A view of a row counts references, and so does a tuple of
    arrays where it is taken apart: these counts alone once took a third of the loop's time.
    """

    plan: F64  # [2, 256] commands [m] and each sample's number in the block
    work: F32  # [20, 256] rows above
    lanes: I32  # [4, 256] counts, and the cell of the curve
    places: NDArray[np.uint32]  # [256] `place`
    carries: F64  # [3, 16] into each lane: z, speed, filtered current


@compiled
def new_block(powers: F64) -> Block:
    """A block with what never changes filled in; `powers` from `carry_powers`."""
    plan, work = np.zeros((2, BLOCK)), np.zeros((KEEP_POWER + 1, BLOCK), np.float32)
    places = np.empty(BLOCK, np.uint32)
    for m in range(BLOCK):
        places[m] = place(m)
        plan[OFFSET, m] = place(m)
        work[NTH, m] = m >> 4
        for row in range(5):
            work[ZZ_POWER + row, m] = powers[row, (m >> 4) + 1]
    return Block(plan, work, np.empty((4, BLOCK), np.int32), places, np.empty((3, LANE)))


@compiled
def draw(low_key: Any, high_key: Any, start: Any, places: NDArray[np.uint32], work: F32) -> None:
    """The block's noise; `start` as uint32, for the reason in `noise._fill`."""
    for m in range(BLOCK):
        a, b = normal_pair(low_key, high_key, _U32(start + places[m]))
        work[CURRENT_DRAW, m] = a
        work[HEIGHT_DRAW, m] = b


@compiled
def _first_order(filters: FilterCoefficients, plan: F64, work: F32) -> None:
    zz, share, reach = filters.zz, filters.from_command, filters.z_reach
    for m in range(LANE):
        work[Z_PART, m] = fma(zz, _ZERO, _F(share * _F(max(-reach, min(reach, plan[COMMAND, m])))))
    for m in range(LANE, BLOCK):
        command = _F(max(-reach, min(reach, plan[COMMAND, m])))
        work[Z_PART, m] = fma(zz, work[Z_PART, m - LANE], _F(share * command))


@compiled
def _second_order(filters: FilterCoefficients, plan: F64, work: F32) -> None:
    for m in range(BLOCK):
        c = _F(max(-filters.z_reach, min(filters.z_reach, plan[COMMAND, m])))
        z0 = work[Z_PART, m - LANE] if m >= LANE else _ZERO
        v0 = work[SPEED_PART, m - LANE] if m >= LANE else _ZERO
        work[Z_PART, m] = fma(filters.zz, z0, fma(filters.zv, v0, _F(filters.from_command * c)))
        work[SPEED_PART, m] = fma(filters.vz, z0, fma(filters.vv, v0, _F(filters.speed_from_command * c)))


@compiled
def _carry_of_lanes(row: int, part: int, carry_row: int, carry: float, power: float, work: F32, carries: F64) -> None:
    # The one serial loop: sixteen values along the lanes. Then copied row by row to every sample, so that the loops
    # over the block index all their arrays alike.
    for j in range(LANE):
        carries[row, j] = work[carry_row, j] = carry
        carry = next_carry(work[part, LAST + j], carry, power)
    for m in range(LANE, BLOCK):
        work[carry_row, m] = work[carry_row, m - LANE]


@compiled
def _carries_of_second_order(z: float, speed: float, powers: F64, work: F32, carries: F64) -> None:
    for j in range(LANE):
        carries[0, j] = work[Z_CARRY, j] = z
        carries[1, j] = work[SPEED_CARRY, j] = speed
        z, speed, _ = next_carries(work[Z_PART, LAST + j], work[SPEED_PART, LAST + j], 0.0, z, speed, 0.0, powers)
    for m in range(LANE, BLOCK):
        work[Z_CARRY, m] = work[Z_CARRY, m - LANE]
        work[SPEED_CARRY, m] = work[SPEED_CARRY, m - LANE]


@compiled
def move_scanner(
    filters: FilterCoefficients, powers: F64, before: FilterState, plan: F64, work: F32, carries: F64
) -> None:
    """The scanner's response to the block's commands.

    Parts first, all lanes at once; then the carries, lane after lane, which is all that is serial; then both together.
    """
    z, speed, _ = next_carries(before.z_part, before.speed_part, 0.0, before.z_carry, before.speed_carry, 0.0, powers)
    if filters.second_order:
        _second_order(filters, plan, work)
        _carries_of_second_order(z, speed, powers, work, carries)
        for m in range(BLOCK):
            work[Z, m] = with_two_carries(
                work[Z_PART, m], work[ZZ_POWER, m], work[Z_CARRY, m], work[ZV_POWER, m], work[SPEED_CARRY, m]
            )
        return
    _first_order(filters, plan, work)
    _carry_of_lanes(0, Z_PART, Z_CARRY, z, powers[0, LANE], work, carries)
    for m in range(LANE):
        carries[1, m] = 0.0
    for m in range(BLOCK):
        work[Z, m] = with_carry(work[Z_PART, m], work[ZZ_POWER, m], work[Z_CARRY, m])


@compiled
def _world_at_lanes(now: Slice, begin: int, below: float, work: F32) -> None:
    # What holds at the first sample of every lane, then copied row by row.
    displacement_step = (now.displacement_to - now.displacement_from) / now.samples
    bulk_step, leak_step = (now.bulk_to - now.bulk_from) / now.samples, (now.leak_to - now.leak_from) / now.samples
    for j in range(LANE):
        since = begin + LANE * j
        work[SURFACE, j] = (below + now.displacement_from) + since * displacement_step
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
        gap = _F(work[Z, m] - along_lane(work[SURFACE, m], step, work[NTH, m]))
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
            work[RELATIVE, m] = table_relative_current(work[GAP, m], curve)
        return
    _relative_in_cell(curve, first, work)
    for cell in range(first + 1, last + 1):
        _relative_where(curve, cell, work, lanes)


@compiled
def _currents(filters: FilterCoefficients, bulk_step: Any, leak_step: Any, work: F32) -> None:
    keep, gain, noise = filters.keep, filters.gain, filters.current_noise
    for m in range(BLOCK):
        bulk = along_lane(work[BULK, m], bulk_step, work[NTH, m])
        leak = along_lane(work[LEAK, m], leak_step, work[NTH, m])
        work[CURRENT_PART, m] = _F(gain * unfiltered(bulk, leak, work[RELATIVE, m], work[CURRENT_DRAW, m], noise))
    for m in range(LANE):
        work[CURRENT_PART, m] = fma(keep, _ZERO, work[CURRENT_PART, m])
    for m in range(LANE, BLOCK):
        work[CURRENT_PART, m] = fma(keep, work[CURRENT_PART, m - LANE], work[CURRENT_PART, m])


@compiled
def _counts(filters: FilterCoefficients, work: F32, lanes: I32) -> None:
    per_ampere, per_metre, noise = filters.per_ampere, filters.per_metre, filters.height_noise
    for m in range(BLOCK):
        filtered = with_carry(work[CURRENT_PART, m], work[KEEP_POWER, m], work[CURRENT_CARRY, m])
        amperes = current_counts(filtered, per_ampere)
        metres = height_counts(work[Z, m], work[HEIGHT_DRAW, m], per_metre, noise)
        lanes[AMPERES, m] = amperes
        lanes[METRES, m] = metres
        lanes[PAIR, m] = _I(_I(metres << _I(16)) | _I(amperes & _I(0xFFFF)))


@compiled
def sense_block(
    filters: FilterCoefficients,
    powers: F64,
    before: FilterState,
    now: Slice,
    begin: int,
    below: float,
    curve: F32,
    work: F32,
    lanes: I32,
    carries: F64,
) -> float:
    """Distance, current in front of the amplifier's low-pass and behind it, and the counts of the block.

    Returns the smallest distance [m].
    """
    _world_at_lanes(now, begin, below, work)
    first, last, nearest = _gaps(_F((now.displacement_to - now.displacement_from) / now.samples), curve, work, lanes)
    _relative(first, last, curve, work, lanes)
    bulk_step, leak_step = (now.bulk_to - now.bulk_from) / now.samples, (now.leak_to - now.leak_from) / now.samples
    _currents(filters, _F(bulk_step), _F(leak_step), work)
    filtered = next_carry(before.filtered_part, before.filtered_carry, powers[4, LANE])
    _carry_of_lanes(2, CURRENT_PART, CURRENT_CARRY, filtered, powers[4, LANE], work, carries)
    _counts(filters, work, lanes)
    return float(_D(np.int32(_rank(nearest)).view(np.float32)))


@compiled
def as_pairs(counts: NDArray[np.int16]) -> I32:
    """Two channels of counts as one 32-bit word a sample, the same memory; nothing if there are three."""
    # The current stands first, so in the lower half: every processor that Numba compiles for is little-endian.
    return counts.view(np.int32).reshape(-1) if counts.shape[1] == 2 else np.empty(0, np.int32)


@compiled
def store(
    length: int,
    begin: int,
    filters: FilterCoefficients,
    plan: F64,
    lanes: I32,
    counts: NDArray[np.int16],
    pairs: NDArray[np.int32],
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
        command = _F(max(-filters.z_reach, min(filters.z_reach, plan[COMMAND, m])))
        counts[begin + k, 2] = height_counts(command, _ZERO, filters.per_metre, _ZERO)


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
def filter_state_after(length: int, filters: FilterCoefficients, powers: F64, work: F32, carries: F64) -> FilterState:
    """The filters' state after the block's first `length` samples."""
    m, lane = place(length - 1), (length - 1) >> 4
    n = ((length - 1) & (LANE - 1)) + 1
    speed = speed_part = _ZERO
    if filters.second_order:
        speed_part = work[SPEED_PART, m]
        speed = with_two_carries(speed_part, powers[2, n], carries[0, lane], powers[3, n], carries[1, lane])
    filtered = with_carry(work[CURRENT_PART, m], powers[4, n], carries[2, lane])
    return FilterState(
        _D(work[Z, m]),
        _D(speed),
        _D(filtered),
        _D(work[Z_PART, m]),
        _D(speed_part),
        _D(work[CURRENT_PART, m]),
        carries[0, lane],
        carries[1, lane],
        carries[2, lane],
    )
