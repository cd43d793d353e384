"""The sample loop in SIMD lanes over time: samples and event log of `run_slice_by_definition`, bit for bit.

A block is 16 lanes of 16 consecutive samples. Until something is decided, a hop's commands are known in advance; so a
block is computed as if nothing were, and then judged. The samples before a decision stand; the step itself takes the
decision, the scalar loop goes on to the next multiple of 16, and the next block begins there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numba.core.cgutils import get_null_value
from numba.extending import intrinsic
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.instruments.hop import STOP_DECIDED, TOP_REACHED, HopSettings, step
from opsicm.physics.noise import pair_keys
from opsicm.twin.fast_loop.block import (
    AMPERES,
    BLOCK,
    METRES,
    Block,
    as_pairs,
    clipped_in,
    closest,
    draw,
    filter_state_after,
    move_scanner,
    new_block,
    sense_block,
    store,
)
from opsicm.twin.fast_loop.definition import DWELL_SURFACE, PAIRS_PER_SEGMENT, log_event, walk, with_amplitude
from opsicm.twin.fast_loop.lookahead import advance_waiting, next_decision, planned_commands, quiet_range
from opsicm.twin.fast_loop.sample import (
    GAP_MIN,
    LANE,
    START,
    FilterCoefficients,
    Hops,
    Instrument,
    LoopState,
    Slice,
    Stream,
    carry_powers,
    coefficients_of,
    resumed,
)

_NOISE_BLOCK: Final = 0x10000  # samples of one pair of noise keys


@intrinsic  # type: ignore[untyped-decorator]
def unowned_view(_typing: Any, array: Any) -> tuple[Any, Callable[..., Any]]:
    """The same array without an owner, inside compiled functions only: a view whose references are not counted.

    Numba counts references wherever an array goes from function to function, by atomic additions of nanoseconds each;
    a kernel that calls twenty small functions for a block of 256 samples spends a fifth of its time on that. The owner
    must outlive every use: an argument of the caller does; what the caller has allocated does if `keep_alive` stands
    behind the last use.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo, view.parent = get_null_value(view.meminfo.type), get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


@compiled
def keep_alive(array: Any) -> int:
    """The number of the array's rows: a last use, which keeps the owner of an `unowned_view` until here."""
    return int(array.shape[0])


@compiled
def run_slice(
    state: LoopState,
    settings: HopSettings,
    instrument: Instrument,
    now: Slice,
    stream: Stream,
    hops: Hops,
    curve: NDArray[np.float32],
    counts: NDArray[np.int16],
) -> tuple[LoopState, int, int, int]:
    """As `run_slice_by_definition`, argument for argument and bit for bit, several times as fast."""
    filters = coefficients_of(instrument)
    powers = carry_powers(filters)
    block = new_block(powers)
    plan, work, lanes, places, carries = block.plan, block.work, block.lanes, block.places, block.carries
    pairs = as_pairs(counts)
    result = _run_blocks(
        LoopState(state.controller, resumed(state.filters, powers, stream.first_sample), state.finished),
        settings,
        instrument,
        filters,
        unowned_view(powers),
        now,
        stream,
        Hops(
            unowned_view(hops.surface),
            unowned_view(hops.amplitude),
            unowned_view(hops.moments),
            unowned_view(hops.measured),
            hops.last_start,
        ),
        unowned_view(curve),
        unowned_view(counts),
        unowned_view(pairs),
        Block(unowned_view(plan), unowned_view(work), unowned_view(lanes), unowned_view(places), unowned_view(carries)),
    )
    keep_alive(powers), keep_alive(pairs)
    keep_alive(plan), keep_alive(work), keep_alive(lanes), keep_alive(places), keep_alive(carries)
    return result


@compiled
def _run_blocks(
    state: LoopState,
    settings: HopSettings,
    instrument: Instrument,
    filters: FilterCoefficients,
    powers: NDArray[np.float64],
    now: Slice,
    stream: Stream,
    hops: Hops,
    curve: NDArray[np.float32],
    counts: NDArray[np.int16],
    pairs: NDArray[np.int32],
    block: Block,
) -> tuple[LoopState, int, int, int]:
    plan, work, lanes, carries = block.plan, block.work, block.lanes, block.carries
    moments, measured = hops.moments, hops.measured
    planned = hops.surface.shape[0]
    low, high, judged = 0, 0, np.nan
    current_clipped, height_clipped, k, over = 0, 0, 0, False
    while k < now.samples and not over:
        sample = stream.first_sample + k
        to_lane = -sample & (LANE - 1)
        noise_left = _NOISE_BLOCK - (sample & (_NOISE_BLOCK - 1))
        # A block begins at a lane's first sample, draws with one pair of noise keys and is worth it from a lane on;
        # everything else goes sample by sample, up to the next place where a block may begin.
        if to_lane or noise_left < BLOCK or now.samples - k < LANE:
            end = min(now.samples, k + (to_lane if to_lane else LANE))
            state, k, over, c, h = walk(
                state, settings, instrument, filters, powers, now, k, end, stream, hops, curve, counts
            )
            current_clipped, height_clipped = current_clipped + c, height_clipped + h
            continue
        controller, hop = state.controller, state.finished
        if planned > 0:
            settings = with_amplitude(settings, hops.amplitude[hop])
        # First the whole block, as if nothing were decided in it: that is what fills the lanes …
        holds, after = planned_commands(controller, settings, planned == 0, plan)
        length = min(holds, BLOCK, now.samples - k)
        low_key, high_key = pair_keys(stream.seed, stream.segment * PAIRS_PER_SEGMENT, sample >> 16)
        draw(low_key, high_key, np.uint32(sample & (_NOISE_BLOCK - 1)), block.places, work)
        move_scanner(filters, powers, state.filters, plan, work, carries)
        below = hops.surface[hop] if planned > 0 else DWELL_SURFACE
        nearest = sense_block(filters, powers, state.filters, now, k, below, curve, work, lanes, carries)
        store(length, k, filters, plan, lanes, counts, pairs)
        # … then from decision to decision. One that only begins the next phase leaves the commands as they were
        # planned; a stop or a top does not, so what lies behind it is computed again, after the scalar loop has gone on
        # to the next lane. That happens twice a hop, in thousands of samples.
        i = length if planned == 0 else 0
        while i < length:
            if controller.i_ref != judged:
                low, high = quiet_range(settings, controller.i_ref, instrument.current_scale)
                judged = controller.i_ref
            decision = min(
                length, next_decision(controller, settings, i, length, holds - 1, low, high, lanes, counts, k)
            )
            controller = advance_waiting(controller, i, decision, after, instrument, plan, lanes, counts, k)
            i = decision
            if i < length:
                amperes = counts[k + i, 0] * instrument.current_scale
                metres = counts[k + i, 1] * instrument.height_scale
                controller, event = step(controller, settings, amperes, metres)
                log_event(event, controller, hop, sample + i, moments, measured)
                i += 1
                if event in (STOP_DECIDED, TOP_REACHED):
                    length = i
                    if event == TOP_REACHED:
                        hop += 1
                        over = hop == planned or sample + i - 1 >= hops.last_start
                        if not over:
                            moments[hop, START] = sample + i
        if planned > 0:
            if length < BLOCK:
                nearest = closest(length, work)
            measured[state.finished, GAP_MIN] = min(measured[state.finished, GAP_MIN], nearest)
        current_clipped += clipped_in(AMPERES, lanes, length)
        height_clipped += clipped_in(METRES, lanes, length)
        state = LoopState(controller, filter_state_after(length, filters, powers, work, carries), hop)
        k += length
    return state, k, current_clipped, height_clipped


class Breakpoints(NamedTuple):
    """The world at the ends of slices, between which it is linear; one more of each than there are slices."""

    rows: NDArray[np.int64]  # of `counts`: each slice's first
    bulk: NDArray[np.float64]  # [A] pipette current far from the surface
    leak: NDArray[np.float64]  # [A] current that does not pass the tip
    coarse_z: NDArray[np.float64]  # [m] true height of the scanner's zero
    heights: NDArray[np.float64]  # [m, breakpoints × hops] of the surface under each hop; one column in a dwell
    z_step: float = 0.0  # [m] by which the specimen stands higher as a whole

    def between(self, first: int, last: int) -> Breakpoints:
        """Slices `first` to `last` - 1."""
        some = slice(first, last + 1)
        rows, bulk, leak, coarse_z, heights, z_step = self
        return Breakpoints(rows[some], bulk[some], leak[some], coarse_z[some], heights[some], z_step)


@compiled
def run_slices(
    state: LoopState,
    settings: HopSettings,
    instrument: Instrument,
    world: Breakpoints,
    stream: Stream,
    hops: Hops,
    curve: NDArray[np.float32],
    counts: NDArray[np.int16],
) -> tuple[LoopState, int, int, int]:
    """`run_slice` over slices in a row as if they were one; fills `hops.surface` for each."""
    rows, heights, surface = world.rows, world.heights, hops.surface
    taken, current_clipped, height_clipped, planned = 0, 0, 0, surface.shape[0]
    for k in range(rows.shape[0] - 1):
        # The displacement is that under the hop in flight; another hop of the plan may be displaced otherwise, which
        # within one slice comes to less than its share of a step of the cell (0.1 s or 1 mV).
        under = state.finished if planned > 0 else 0
        base = 0.0 if planned > 0 else heights[k, 0] - DWELL_SURFACE
        grown = heights[k + 1, under] - heights[k, under]
        for hop in range(planned):
            surface[hop] = heights[k, hop] + world.z_step
        begin, end = rows[k], rows[k + 1]
        now = Slice(
            end - begin,
            world.bulk[k],
            world.bulk[k + 1],
            base - world.coarse_z[k],
            base + grown - world.coarse_z[k + 1],
            world.leak[k],
            world.leak[k + 1],
        )
        here = Stream(stream.first_sample + taken, stream.segment, stream.seed)
        state, count, c, h = run_slice(state, settings, instrument, now, here, hops, curve, counts[begin:end])
        taken, current_clipped, height_clipped = taken + count, current_clipped + c, height_clipped + h
        if count < end - begin or (planned > 0 and state.finished == planned):
            break
    return state, taken, current_clipped, height_clipped
