"""A block of 256 samples as 16 lanes of 16: every array holds sample k at `place(k)`, so that lanes lie side by side.

One loop a function, over a whole array, no branch that depends on a sample: what the compiler turns into SIMD.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled
from opsicm.physics.gaussian import normal_pair
from opsicm.twin.hop_sense import LANE, Law, Motion, Slice, current_counts, height_counts, unfiltered
from opsicm.twin.loop_curve import cell_of, cell_row, in_cell, loop_relative_current, scaled

BLOCK: Final = LANE * LANE
LAST: Final = BLOCK - LANE
COMMAND, OFFSET, Z_PART, SPEED_PART, CURRENT_PART, Z_EDGE, SPEED_EDGE, CURRENT_EDGE, GAP, Z = range(10)
_POWERS: Final = 10  # five rows from here: `lane_powers`, spread over the block
_F = np.float32
_U32: Any = np.uint32

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]


@compiled
def place(k: int) -> int:
    """Where sample `k` of a block lies; its own inverse."""
    return ((k & (LANE - 1)) << 4) | (k >> 4)


@compiled
def block_workspace(powers: F64) -> tuple[F64, F32, NDArray[np.int32], NDArray[np.uint32]]:
    """(rows of a block, its noise and two rows of room, its counts, its places), with what never changes filled in."""
    work, places = np.zeros((_POWERS + 5, BLOCK)), np.empty(BLOCK, np.uint32)
    for m in range(BLOCK):
        places[m] = place(m)
        work[OFFSET, m] = place(m)
        for row in range(5):
            work[_POWERS + row, m] = powers[row, (m >> 4) + 1]
    return work, np.empty((4, BLOCK), np.float32), np.empty((2, BLOCK), np.int32), places


@compiled
def draw(low_key: Any, high_key: Any, start: Any, places: NDArray[np.uint32], drawn: F32) -> None:
    """The block's noise; `start` and `places` as uint32, for the reason in `gaussian._fill`."""
    current, height = drawn[0], drawn[1]
    for m in range(BLOCK):
        a, b = normal_pair(low_key, high_key, _U32(start + places[m]))
        current[m] = a
        height[m] = b


@compiled
def _spread(row: F64) -> None:
    # The first 16 values, one per lane, to every sample of their lane.
    for m in range(LANE, BLOCK):
        row[m] = row[m - LANE]


@compiled
def _first_order(zz: float, share: float, reach: float, command: F64, part: F64) -> None:
    for m in range(LANE):
        part[m] = zz * 0.0 + share * max(-reach, min(reach, command[m]))
    for m in range(LANE, BLOCK):
        part[m] = zz * part[m - LANE] + share * max(-reach, min(reach, command[m]))


@compiled
def _second_order(law: Law, command: F64, part: F64, speed: F64) -> None:
    held = law.held
    for m in range(BLOCK):
        c = max(-law.z_reach, min(law.z_reach, command[m]))
        z0 = part[m - LANE] if m >= LANE else 0.0
        v0 = speed[m - LANE] if m >= LANE else 0.0
        part[m] = held.zz * z0 + (held.zv * v0 + law.from_command * c)
        speed[m] = held.vz * z0 + (held.vv * v0 + law.speed_from_command * c)


@compiled
def _place_z(part: F64, edge: F64, power: F64, z: F64) -> None:
    for m in range(BLOCK):
        z[m] = part[m] + power[m] * edge[m]


@compiled
def _place_z_second(part: F64, edge: F64, speed_edge: F64, zz: F64, zv: F64, z: F64) -> None:
    for m in range(BLOCK):
        z[m] = part[m] + (zz[m] * edge[m] + zv[m] * speed_edge[m])


@compiled
def move_block(law: Law, powers: F64, motion: Motion, work: F64) -> None:
    """The scanner's answer to the block's commands."""
    part, edge, z = work[Z_PART], work[Z_EDGE], work[Z]
    edge[0] = motion.z
    if law.second_order:
        speed, speed_edge = work[SPEED_PART], work[SPEED_EDGE]
        speed_edge[0] = motion.speed
        _second_order(law, work[COMMAND], part, speed)
        for j in range(LANE - 1):
            a, b = edge[j], speed_edge[j]
            edge[j + 1] = part[LAST + j] + (powers[0, LANE] * a + powers[1, LANE] * b)
            speed_edge[j + 1] = speed[LAST + j] + (powers[2, LANE] * a + powers[3, LANE] * b)
        _spread(edge)
        _spread(speed_edge)
        _place_z_second(part, edge, speed_edge, work[_POWERS], work[_POWERS + 1], z)
        return
    _first_order(law.held.zz, law.from_command, law.z_reach, work[COMMAND], part)
    for j in range(LANE - 1):
        edge[j + 1] = part[LAST + j] + powers[0, LANE] * edge[j]
    _spread(edge)
    _place_z(part, edge, work[_POWERS], z)


@compiled
def _gaps(below: float, step: float, begin: float, offset: F64, z: F64, gap: F64, short: F32) -> None:
    for m in range(BLOCK):
        gap[m] = z[m] - (below + (begin + offset[m]) * step)
        short[m] = _F(gap[m])


@compiled
def _relative(gap: F32, curve: F32, out: F32) -> None:
    first = cell_of(scaled(gap[0], curve))
    other = np.int32(0)
    for m in range(BLOCK):
        other |= np.int32(cell_of(scaled(gap[m], curve)) ^ first)
    if other:
        for m in range(BLOCK):
            out[m] = loop_relative_current(gap[m], curve)
    else:
        _relative_in_cell(gap, curve, first, out)


@compiled
def _relative_in_cell(gap: F32, curve: F32, cell: int, out: F32) -> None:
    c0, c1, c2, c3, c4 = cell_row(cell, curve)
    a, F = curve[:1], curve[1]
    for m in range(BLOCK):
        out[m] = in_cell(scaled(gap[m], a), F, c0, c1, c2, c3, c4)


@compiled
def _currents(
    law: Law,
    bulk: float,
    bulk_step: float,
    leak: float,
    leak_step: float,
    begin: float,
    offset: F64,
    relative: F32,
    white: F32,
    out: F64,
) -> None:
    for m in range(BLOCK):
        far, aside = bulk + (begin + offset[m]) * bulk_step, leak + (begin + offset[m]) * leak_step
        out[m] = law.gain * unfiltered(far, aside, relative[m], white[m], law.current_noise)


@compiled
def _sense_height(law: Law, z: F64, white: NDArray[np.float32], out: NDArray[np.int32]) -> None:
    for m in range(BLOCK):
        out[m] = height_counts(z[m], white[m], law.per_metre, law.height_noise)


@compiled
def sense_block(
    law: Law,
    now: Slice,
    begin: int,
    count: int,
    below: float,
    curve: F32,
    work: F64,
    drawn: F32,
    lanes: NDArray[np.int32],
) -> None:
    """Gap, current in front of the filter (times its gain) and height counts of the block."""
    gap, relative = drawn[2], drawn[3]
    swelling_step = (now.swelling_to - now.swelling_from) / count
    _gaps(below + now.swelling_from, swelling_step, float(begin), work[OFFSET], work[Z], work[GAP], gap)
    _relative(gap, curve, relative)
    bulk_step, leak_step = (now.bulk_to - now.bulk_from) / count, (now.leak_to - now.leak_from) / count
    _currents(
        law, now.bulk_from, bulk_step, now.leak_from, leak_step, float(begin), work[OFFSET], relative, drawn[0],
        work[CURRENT_PART],
    )  # fmt: skip
    _sense_height(law, work[Z], drawn[1], lanes[1])


@compiled
def _filter(keep: float, part: F64) -> None:
    for m in range(LANE, BLOCK):
        part[m] = keep * part[m - LANE] + part[m]


@compiled
def _current(per_ampere: float, part: F64, edge: F64, power: F64, out: NDArray[np.int32]) -> None:
    for m in range(BLOCK):
        out[m] = current_counts(part[m] + power[m] * edge[m], per_ampere)


@compiled
def filter_block(law: Law, powers: F64, motion: Motion, work: F64, lanes: NDArray[np.int32]) -> None:
    """The amplifier's low-pass and its counts."""
    part, edge = work[CURRENT_PART], work[CURRENT_EDGE]
    _filter(law.keep, part)
    edge[0] = motion.filtered
    for j in range(LANE - 1):
        edge[j + 1] = part[LAST + j] + powers[4, LANE] * edge[j]
    _spread(edge)
    _current(law.per_ampere, part, edge, work[_POWERS + 4], lanes[0])


@compiled
def store(length: int, begin: int, law: Law, work: F64, lanes: NDArray[np.int32], counts: NDArray[np.int16]) -> None:
    """The block's first `length` samples, in the order of time."""
    for k in range(length):
        counts[begin + k, 0] = lanes[0, place(k)]
        counts[begin + k, 1] = lanes[1, place(k)]
    if counts.shape[1] > 2:
        for k in range(length):
            command = max(-law.z_reach, min(law.z_reach, work[COMMAND, place(k)]))
            counts[begin + k, 2] = height_counts(command, _F(0.0), law.per_metre, _F(0.0))


@compiled
def clipped_in(row: NDArray[np.int32], length: int) -> int:
    """How many of the block's first `length` samples the converter has clipped, from a row of counts."""
    hit = np.int32(0)
    for m in range(BLOCK):
        hit |= np.int32(abs(row[m]) >= 32767)
    if not hit:
        return 0
    clipped = 0
    for k in range(length):
        clipped += abs(row[place(k)]) >= 32767
    return clipped


@compiled
def closest(length: int, work: F64) -> float:
    """The smallest gap [m] among the block's first `length` samples."""
    gap = work[GAP]
    if length < BLOCK:
        least = np.inf
        for k in range(length):
            least = min(least, gap[place(k)])
        return float(least)
    for m in range(LANE, BLOCK):  # lane by lane in place: a single running minimum cannot fill lanes
        gap[m] = gap[m] if gap[m] < gap[m - LANE] else gap[m - LANE]
    return float(gap[LAST:].min())


@compiled
def edges(length: int, hop: int, second_order: bool, powers: F64, work: F64) -> Motion:
    """The motion after the block's first `length` samples."""
    m = place(length - 1)
    n = ((length - 1) & (LANE - 1)) + 1
    speed = 0.0
    speed_part = speed_edge = 0.0
    if second_order:
        speed_part, speed_edge = work[SPEED_PART, m], work[SPEED_EDGE, m]
        speed = speed_part + (powers[2, n] * work[Z_EDGE, m] + powers[3, n] * speed_edge)
    filtered = work[CURRENT_PART, m] + powers[4, n] * work[CURRENT_EDGE, m]
    return Motion(
        work[Z, m], speed, filtered, hop, work[Z_PART, m], speed_part, work[CURRENT_PART, m],
        work[Z_EDGE, m], speed_edge, work[CURRENT_EDGE, m],
    )  # fmt: skip
