"""The hop loop in SIMD lanes over time: samples and records of `hop_loop.run_samples`, bit for bit.

A block is 16 lanes of 16 consecutive samples. Until something is decided, a hop's commands are known in advance; so a
block is computed as if nothing were, and then judged. The samples before a decision stand; the step itself takes the
decision, the scalar loop goes on to the next multiple of 16, and the next block begins there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba.core.cgutils import get_null_value
from numba.extending import intrinsic
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.instruments.hop import STOP_DECIDED, TOP_REACHED, HopSettings, HopState, step
from opsicm.physics.gaussian import pair_keys
from opsicm.twin.fast_loop.block import (
    AMPERES,
    BLOCK,
    METRES,
    as_pairs,
    clipped_in,
    closest,
    draw,
    motion_after,
    move_block,
    new_block,
    sense_block,
    store,
)
from opsicm.twin.fast_loop.forecast import forecast, next_decision, quiet_counts, wait
from opsicm.twin.fast_loop.loop import DWELL_SURFACE, GAP_MIN, PAIRS_PER_SEGMENT, START, log_event, walk, with_amplitude
from opsicm.twin.fast_loop.sense import LANE, Instrument, Law, Motion, Slice, lane_powers, law_of, resumed

# -- Arrays whose references a kernel does not count.
#
# Numba counts references wherever an array goes from function to function, by atomic additions of nanoseconds each.
# A kernel that calls twenty small functions for a block of 256 samples spends a fifth of its time on that.


@intrinsic  # type: ignore[untyped-decorator]
def borrowed(_typing: Any, array: Any) -> tuple[Any, Callable[..., Any]]:
    """The same array without an owner, inside compiled functions only: for the length of one call.

    The owner must outlive every use: an argument of the caller does; what the caller has allocated does if `held`
    stands behind the call.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo, view.parent = get_null_value(view.meminfo.type), get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


@compiled
def held(array: Any) -> int:
    """The number of the array's rows: a last use, which keeps what `borrowed` has lent until here."""
    return int(array.shape[0])


_NOISE_BLOCK: Final = 0x10000
FIRST, BULK, LEAK, COARSE, LURCH = range(5)


@compiled
def run_lanes(
    state: HopState,
    motion: Motion,
    settings: HopSettings,
    instrument: Instrument,
    now: Slice,
    count: int,
    first_sample: int,
    segment: int,
    seed: int,
    last_start: int,
    curve: NDArray[np.float32],
    surface: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    moments: NDArray[np.int64],
    measured: NDArray[np.float64],
    counts: NDArray[np.int16],
) -> tuple[HopState, Motion, int, int, int]:
    """As `hop_loop.run_samples`, argument for argument and bit for bit, several times as fast."""
    law = law_of(instrument)
    powers = lane_powers(law)
    plan, work, lanes, places, edges = new_block(powers)
    pairs = as_pairs(counts)
    result = _run_blocks(
        state,
        resumed(motion, powers, first_sample),
        settings,
        instrument,
        law,
        borrowed(powers),
        now,
        count,
        first_sample,
        segment,
        seed,
        last_start,
        borrowed(curve),
        borrowed(surface),
        borrowed(amplitude),
        borrowed(moments),
        borrowed(measured),
        borrowed(counts),
        borrowed(pairs),
        borrowed(plan),
        borrowed(work),
        borrowed(lanes),
        borrowed(places),
        borrowed(edges),
    )
    held(powers), held(pairs), held(plan), held(work), held(lanes), held(places), held(edges)
    return result


@compiled
def _run_blocks(
    state: HopState,
    motion: Motion,
    settings: HopSettings,
    instrument: Instrument,
    law: Law,
    powers: NDArray[np.float64],
    now: Slice,
    count: int,
    first_sample: int,
    segment: int,
    seed: int,
    last_start: int,
    curve: NDArray[np.float32],
    surface: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    moments: NDArray[np.int64],
    measured: NDArray[np.float64],
    counts: NDArray[np.int16],
    pairs: NDArray[np.int32],
    plan: NDArray[np.float64],
    work: NDArray[np.float32],
    lanes: NDArray[np.int32],
    places: NDArray[np.uint32],
    edges: NDArray[np.float64],
) -> tuple[HopState, Motion, int, int, int]:
    hops = surface.shape[0]
    low, high, judged = 0, 0, np.nan
    clipped, too_high, k, over = 0, 0, 0, False
    while k < count and not over:
        sample = first_sample + k
        to_edge = -sample & (LANE - 1)
        noise_left = _NOISE_BLOCK - (sample & (_NOISE_BLOCK - 1))
        if to_edge or noise_left < BLOCK or count - k < LANE:
            end = min(count, k + (to_edge if to_edge else LANE))
            state, motion, k, over, c, h = walk(
                state,
                motion,
                settings,
                instrument,
                law,
                powers,
                now,
                count,
                k,
                end,
                first_sample,
                segment,
                seed,
                last_start,
                curve,
                surface,
                amplitude,
                moments,
                measured,
                counts,
            )
            clipped, too_high = clipped + c, too_high + h
            continue
        hop = motion.hop
        if hops > 0:
            settings = with_amplitude(settings, amplitude[hop])
        holds, after = forecast(state, settings, hops == 0, plan)
        length = min(holds, BLOCK, count - k)
        low_key, high_key = pair_keys(seed, segment * PAIRS_PER_SEGMENT, sample >> 16)
        draw(low_key, high_key, np.uint32(sample & (_NOISE_BLOCK - 1)), places, work)
        move_block(law, powers, motion, plan, work, edges)
        below = surface[hop] if hops > 0 else DWELL_SURFACE
        nearest = sense_block(law, powers, motion, now, k, count, below, curve, work, lanes, edges)
        store(length, k, law, plan, lanes, counts, pairs)
        i = length if hops == 0 else 0
        while i < length:
            if state.i_ref != judged:
                low, high = quiet_counts(settings, state.i_ref, instrument.current_scale)
                judged = state.i_ref
            decision = min(length, next_decision(state, settings, i, length, holds - 1, low, high, lanes, counts, k))
            state = wait(state, i, decision, after, instrument, plan, lanes, counts, k)
            i = decision
            if i < length:
                amperes, metres = (
                    counts[k + i, 0] * instrument.current_scale,
                    counts[k + i, 1] * instrument.height_scale,
                )
                state, event = step(state, settings, amperes, metres)
                log_event(event, state, hop, sample + i, moments, measured)
                i += 1
                if event in (STOP_DECIDED, TOP_REACHED):
                    length = i
                    if event == TOP_REACHED:
                        hop += 1
                        over = hop == hops or sample + i - 1 >= last_start
                        if not over:
                            moments[hop, START] = sample + i
        if hops > 0:
            if length < BLOCK:
                nearest = closest(length, work)
            measured[motion.hop, GAP_MIN] = min(measured[motion.hop, GAP_MIN], nearest)
        clipped += clipped_in(AMPERES, lanes, length)
        too_high += clipped_in(METRES, lanes, length)
        motion = motion_after(length, hop, law, powers, work, edges)
        k += length
    return state, motion, k, clipped, too_high


@compiled
def run_stretch(
    state: HopState,
    motion: Motion,
    settings: HopSettings,
    instrument: Instrument,
    knots: NDArray[np.float64],
    heights: NDArray[np.float64],
    first_sample: int,
    segment: int,
    seed: int,
    last_start: int,
    curve: NDArray[np.float32],
    dwells: bool,
    amplitude: NDArray[np.float64],
    moments: NDArray[np.int64],
    measured: NDArray[np.float64],
    counts: NDArray[np.int16],
) -> tuple[HopState, Motion, int, int, int]:
    """`run_lanes` over slices in a row, each with a world of its own, as if they were one.

    `knots` [slices + 1, 5]: the slice's first sample as a row of `counts`, and what holds there (columns above);
    `heights` [slices + 1, hops] of the surface under each hop [m], under the pipette if it `dwells`.
    """
    taken, clipped, too_high, hops = 0, 0, 0, 0 if dwells else heights.shape[1]
    surface = np.empty(hops)
    for k in range(knots.shape[0] - 1):
        here, there = knots[k], knots[k + 1]
        # The rise is that under the hop in flight; another hop of the plan may rise otherwise, which within one slice
        # comes to less than its share of a step of the cell (0.1 s or 1 mV).
        under = 0 if dwells else motion.hop
        base = heights[k, under] - DWELL_SURFACE if dwells else 0.0
        grown = heights[k + 1, under] - heights[k, under]
        for hop in range(hops):
            surface[hop] = heights[k, hop] + here[LURCH]
        now = Slice(here[BULK], there[BULK], base - here[COARSE], base + grown - there[COARSE], here[LEAK], there[LEAK])
        begin, end = int(here[FIRST]), int(there[FIRST])
        state, motion, count, c, h = run_lanes(
            state,
            motion,
            settings,
            instrument,
            now,
            end - begin,
            first_sample + taken,
            segment,
            seed,
            last_start,
            curve,
            surface,
            amplitude,
            moments,
            measured,
            counts[begin:end],
        )
        taken, clipped, too_high = taken + count, clipped + c, too_high + h
        if count < end - begin or (not dwells and motion.hop == hops):
            break
    return state, motion, taken, clipped, too_high
