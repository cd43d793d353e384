"""What the hop step will do while it has nothing to decide, and when it next has.

Everything here repeats arithmetic of `instruments/hop.py`, in its order of operations: where the two differed in the
last bit, a command or a decision would one day fall on another sample. The test holds them to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.instruments.hop import FALL, LATENCY, REFERENCE, RISE, SETTLE, HopSettings, HopState
from opsicm.twin.fast_loop.block import AMPERES, BLOCK, COMMAND, METRES, OFFSET, place
from opsicm.twin.fast_loop.sample import Instrument

_LEAST, _MOST = -32768, 32767
_I = np.int32


@compiled
def planned_commands(
    state: HopState, settings: HopSettings, dwells: bool, plan: NDArray[np.float64]
) -> tuple[int, float]:
    """Fill in a block's commands, as they will be if no current ends the approach.

    Returns (how many samples they hold for, the command of the sample past the block). At the last sample for which
    they hold the approach is used up or the top reached; more than a block: not in this one.
    """
    if dwells:
        for m in range(BLOCK):
            plan[COMMAND, m] = state.z_command
        return BLOCK + 1, state.z_command
    if state.phase <= FALL:
        top, still = state.z_command, settings.reference - state.spent
        if state.phase == SETTLE:
            still += settings.settle
        elif state.phase == FALL:
            top, still = state.z_top, -state.spent
        # An approach is linear from its top, not from the last command, so every command of it is known at once; and
        # `fallen` is clipped at 0 for the samples that still settle or average, which saves a branch in this loop.
        start = float(still)
        for m in range(BLOCK):
            fallen = plan[OFFSET, m] - start
            plan[COMMAND, m] = top - (fallen if fallen > 0.0 else 0.0) * settings.fall_step
        # The step compares rounded heights, so the quotient may be off by one either way: begin two below and ask as
        # the step does.
        last = max(0, int(settings.approach / settings.fall_step) - 2)
        while top - (top - last * settings.fall_step) < settings.approach:
            last += 1
        return min(BLOCK + 1, still + last + 1), top - max(0, BLOCK - still) * settings.fall_step
    # Latency and withdrawal go from command to command, rounding and all: this one is serial, as in the step.
    z, spent, rising = state.z_command, state.spent, state.phase == RISE
    for k in range(BLOCK):
        plan[COMMAND, place(k)] = z
        spent += 1
        if not rising:
            rising = spent >= settings.latency
            if not rising:
                z -= settings.fall_step
        if rising:
            z = min(z + settings.rise_step, state.z_target)
            if z >= state.z_target:
                for rest in range(k + 1, BLOCK):
                    plan[COMMAND, place(rest)] = z
                return k + 1, z
    return BLOCK + 1, z


@compiled
def _ends_fall(counts: int, settings: HopSettings, i_ref: float, scale: float) -> bool:
    # Word for word the step's comparison.
    current = counts * scale
    return bool(current * i_ref <= (1.0 - settings.setpoint) * i_ref * i_ref)


@compiled
def quiet_range(settings: HopSettings, i_ref: float, scale: float) -> tuple[int, int]:
    """(least, most) counts of the current that leave an approach going; an empty range: every sample ends it.

    By bisection of the step's own comparisons, which are monotone in the counts, rounding included. So a block is
    judged by integer comparisons in SIMD, once a reference current, and still as the step judges.
    """
    low, high = _LEAST - 1, _MOST + 1
    sign = 1 if i_ref >= 0.0 else -1
    inside, outside = sign * (_MOST + 1), sign * (_LEAST - 1)
    if _ends_fall(inside, settings, i_ref, scale):
        return 1, 0
    while abs(inside - outside) > 1:
        middle = (inside + outside) // 2
        if _ends_fall(middle, settings, i_ref, scale):
            outside = middle
        else:
            inside = middle
    if sign > 0:
        low = inside
    else:
        high = inside
    calm, loud = -1, _MOST + 2
    while loud - calm > 1:
        middle = (calm + loud) // 2
        if abs(middle * scale) > settings.overload:
            loud = middle
        else:
            calm = middle
    return max(low, -calm), min(high, calm)


@compiled
def next_decision(
    state: HopState,
    settings: HopSettings,
    begin: int,
    length: int,
    ends: int,
    low: int,
    high: int,
    lanes: NDArray[np.int32],
    counts: NDArray[np.int16],
    first: int,
) -> int:
    """The first sample of the block, from `begin` on, at which the step does more than wait; `length` or more if none.

    `ends` is the sample at which a fall has used up its approach or a rise has reached its top.
    """
    if state.phase == SETTLE:
        return begin + settings.settle - state.spent - 1
    if state.phase == REFERENCE:
        return begin + settings.reference - state.spent - 1
    if state.phase == LATENCY:
        return begin + settings.latency - state.spent - 1
    if state.phase == FALL:
        loud, least, most = _I(0), _I(low), _I(high)
        for m in range(BLOCK):
            loud |= _I((lanes[AMPERES, m] < least) | (lanes[AMPERES, m] > most))
        if loud:
            for k in range(begin, length):
                if counts[first + k, 0] < low or counts[first + k, 0] > high:
                    return k
    return ends


@compiled
def advance_waiting(
    state: HopState,
    begin: int,
    end: int,
    after: float,
    instrument: Instrument,
    plan: NDArray[np.float64],
    lanes: NDArray[np.int32],
    counts: NDArray[np.int16],
    first: int,
) -> HopState:
    """The state after samples `begin` to `end` of the block, at none of which the step decides anything."""
    if end <= begin:
        return state
    least = _I(_MOST)
    if end - begin == BLOCK:
        for m in range(BLOCK):
            least = lanes[METRES, m] if lanes[METRES, m] < least else least
    else:
        for k in range(first + begin, first + end):
            least = min(least, np.int32(counts[k, 1]))
    total = state.reference_sum
    if state.phase == REFERENCE:
        for k in range(first + begin, first + end):
            total += counts[k, 0] * instrument.current_scale
    z_command = state.z_command
    if state.phase >= FALL:
        z_command = plan[COMMAND, place(end)] if end < BLOCK else after
    return HopState(
        state.phase,
        state.spent + end - begin,
        z_command,
        state.z_top,
        state.z_target,
        total,
        state.i_ref,
        state.i_stop,
        state.z_stop,
        min(state.z_min, least * instrument.height_scale),
        state.i_far,
        state.outcome,
    )
