"""The twin's hop loop, sample by sample, round the hop step that every rig uses: the definition.

`hop_lanes.run_lanes` gives the same samples and the same records, in SIMD lanes; it is what runs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.instruments.hop import FALL_BEGINS, STOP_DECIDED, TOP_REACHED, HopSettings, HopState, step
from opsicm.physics.gaussian import fma, gaussian_pairs
from opsicm.twin.fast_loop.curve import loop_relative_current
from opsicm.twin.fast_loop.sense import (
    LANE,
    Instrument,
    Law,
    Motion,
    Slice,
    added,
    current_counts,
    height_counts,
    lane_powers,
    law_of,
    next_edges,
    over_lane,
    resumed,
    together,
    unfiltered,
)

CURRENT_NOISE: Final = 0
HEIGHT_NOISE: Final = 1
PAIRS_PER_SEGMENT: Final = 8  # channels 16 n and 16 n + 1 of segment n: pair 8 n
DWELL_SURFACE: Final = -1.0  # [m] where a plan without hops has its surface, before the slice's rise
_DRAWN: Final = 32  # noise numbers drawn at a time
_F = np.float32
_D: Any = np.float64
_ZERO = _F(0.0)

# Columns of the event log, one row per hop: sample indices and what the step measured.
START, FALL, STOP, TOP, OUTCOME = 0, 1, 2, 3, 4
I_REF, I_STOP, Z_STOP, Z_MIN, GAP_MIN = 0, 1, 2, 3, 4


@compiled
def with_amplitude(settings: HopSettings, amplitude: float) -> HopSettings:
    """The settings of one hop of a plan."""
    return HopSettings(
        settings.setpoint,
        settings.fall_step,
        settings.rise_step,
        amplitude,
        settings.approach,
        settings.settle,
        settings.reference,
        settings.latency,
        settings.overload,
    )


@compiled
def log_event(
    event: int, state: HopState, hop: int, sample: int, moments: NDArray[np.int64], measured: NDArray[np.float64]
) -> None:
    """Write what the step decided at `sample` into the event log of its hop."""
    if event == FALL_BEGINS:
        moments[hop, FALL] = sample
        measured[hop, I_REF] = state.i_ref
    elif event == STOP_DECIDED:
        moments[hop, STOP] = sample
        moments[hop, OUTCOME] = state.outcome
        measured[hop, I_STOP] = state.i_stop
        measured[hop, Z_STOP] = state.z_stop
    elif event == TOP_REACHED:
        moments[hop, TOP] = sample
        measured[hop, Z_MIN] = state.z_min


@compiled
def walk(
    state: HopState,
    motion: Motion,
    settings: HopSettings,
    instrument: Instrument,
    law: Law,
    powers: NDArray[np.float64],
    now: Slice,
    count: int,
    begin: int,
    end: int,
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
) -> tuple[HopState, Motion, int, bool, int, int]:
    """Samples `begin` to `end` of a slice of `count`, one by one: see `run_samples`; True when the plan has ended."""
    hops = surface.shape[0]
    z, speed, filtered, hop = _F(motion.z), _F(motion.speed), _F(motion.filtered), motion.hop
    z_part, speed_part, filtered_part = _F(motion.z_part), _F(motion.speed_part), _F(motion.filtered_part)
    z_edge, speed_edge, filtered_edge = motion.z_edge, motion.speed_edge, motion.filtered_edge
    with_command = counts.shape[1] > 2
    current_clipped = height_clipped = 0
    bulk_step, leak_step = (now.bulk_to - now.bulk_from) / count, (now.leak_to - now.leak_from) / count
    swelling_step = (now.swelling_to - now.swelling_from) / count
    current_draw, height_draw = np.empty(_DRAWN, np.float32), np.empty(_DRAWN, np.float32)
    if hops > 0:
        settings = with_amplitude(settings, amplitude[min(hop, hops - 1)])
    over, k = False, begin
    while k < end and not over:
        sample = first_sample + k
        drawn = (k - begin) % _DRAWN
        if drawn == 0:
            gaussian_pairs(seed, segment * PAIRS_PER_SEGMENT, sample, current_draw, height_draw)
        lane = sample & (LANE - 1)
        if lane == 0:
            z_edge, speed_edge, filtered_edge = next_edges(
                z_part, speed_part, filtered_part, z_edge, speed_edge, filtered_edge, powers
            )
            z_part, speed_part, filtered_part = _ZERO, _ZERO, _ZERO
        command = _F(max(-law.z_reach, min(law.z_reach, state.z_command)))
        if law.second_order:
            z_part, speed_part = (
                fma(law.zz, z_part, fma(law.zv, speed_part, _F(law.from_command * command))),
                fma(law.vz, z_part, fma(law.vv, speed_part, _F(law.speed_from_command * command))),
            )
            z = together(z_part, powers[0, lane + 1], z_edge, powers[1, lane + 1], speed_edge)
            speed = together(speed_part, powers[2, lane + 1], z_edge, powers[3, lane + 1], speed_edge)
        else:
            z_part = fma(law.zz, z_part, _F(law.from_command * command))
            z = added(z_part, powers[0, lane + 1], z_edge)
        below = surface[min(hop, hops - 1)] if hops > 0 else DWELL_SURFACE
        since, nth = k - lane, _F(lane)
        under = over_lane(_F((below + now.swelling_from) + since * swelling_step), _F(swelling_step), nth)
        gap = _F(z - under)
        relative = loop_relative_current(gap, curve)
        current = unfiltered(
            over_lane(_F(now.bulk_from + since * bulk_step), _F(bulk_step), nth),
            over_lane(_F(now.leak_from + since * leak_step), _F(leak_step), nth),
            relative,
            current_draw[drawn],
            law.current_noise,
        )
        filtered_part = fma(law.keep, filtered_part, _F(law.gain * current))
        filtered = added(filtered_part, powers[4, lane + 1], filtered_edge)
        amperes = current_counts(filtered, law.per_ampere)
        metres = height_counts(z, height_draw[drawn], law.per_metre, law.height_noise)
        counts[k, 0] = amperes
        counts[k, 1] = metres
        if with_command:
            counts[k, 2] = height_counts(command, _ZERO, law.per_metre, _ZERO)
        current_clipped += abs(amperes) >= 32767
        height_clipped += abs(metres) >= 32767
        k += 1
        if hops == 0:
            continue
        # The controller reads the converter, not the truth.
        state, event = step(state, settings, amperes * instrument.current_scale, metres * instrument.height_scale)
        measured[hop, GAP_MIN] = min(measured[hop, GAP_MIN], _D(gap))
        log_event(event, state, hop, sample, moments, measured)
        if event == TOP_REACHED:
            hop += 1
            if hop == hops or sample >= last_start:
                over = True
            else:
                moments[hop, START] = sample + 1
                settings = with_amplitude(settings, amplitude[hop])
    return (
        state,
        Motion(
            _D(z),
            _D(speed),
            _D(filtered),
            hop,
            _D(z_part),
            _D(speed_part),
            _D(filtered_part),
            z_edge,
            speed_edge,
            filtered_edge,
        ),
        k,
        over,
        current_clipped,
        height_clipped,
    )


@compiled
def run_samples(
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
    """Up to `count` samples from `first_sample`; ends early with the plan's last hop, or with the hop in flight at
    sample `last_start`.

    `surface` [hop] is the height of the surface under each hop of the plan before swelling [m]; an empty one dwells:
    the command stays where it is and every sample is taken all the same. `amplitude` [hop] is each hop's withdrawal
    [m], `moments` [hop, 5] and `measured` [hop, 5] are the event log, `counts` [n, 2 or 3] the samples: current, z and,
    if there is a third column, z_command in the scale of z. Returns (state, motion, samples taken, currents clipped by
    the converter, heights clipped). The last entry of `measured` is the smallest *true* distance to the surface: the
    world knows it, the record never does.

    One sample: the scanner follows its command exactly over the sample (`held_command`), the current is the
    finite-element one at the true distance (`curve`, see `loop_curve`) and the leak, the amplifier's low-pass
    and the noise follow, and the step sees the filtered current and the noisy height, as converted to counts.
    """
    law = law_of(instrument)
    powers = lane_powers(law)
    state, motion, taken, _, current_clipped, height_clipped = walk(
        state,
        resumed(motion, powers, first_sample),
        settings,
        instrument,
        law,
        powers,
        now,
        count,
        0,
        count,
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
    return state, motion, taken, current_clipped, height_clipped
