"""The twin's sample loop, sample by sample, round the hop step that every rig uses: the definition.

`lanes.run_slice` gives the same samples and the same event log several times as fast; it is what runs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.instruments.hop import FALL_BEGINS, STOP_DECIDED, TOP_REACHED, HopSettings, HopState, step
from opsicm.physics.noise import fma, gaussian_pairs
from opsicm.twin.fast_loop.curve import table_relative_current
from opsicm.twin.fast_loop.sample import (
    FALL,
    GAP_MIN,
    I_REF,
    I_STOP,
    LANE,
    OUTCOME,
    START,
    STOP,
    TOP,
    Z_MIN,
    Z_STOP,
    FilterCoefficients,
    FilterState,
    Hops,
    Instrument,
    LoopState,
    Slice,
    Stream,
    along_lane,
    carry_powers,
    coefficients_of,
    current_counts,
    height_counts,
    next_carries,
    resumed,
    unfiltered,
    with_carry,
    with_two_carries,
)

PAIRS_PER_SEGMENT: Final = 8  # noise channels 16 n (current) and 16 n + 1 (height) of segment n: pair 8 n
DWELL_SURFACE: Final = -1.0  # [m] of a plan without hops, before the slice's displacement: out of range of any tip
_DRAWN: Final = 32  # noise numbers drawn at a time: two SIMD registers' worth, and little is wasted at a slice's end
_F = np.float32
_D: Any = np.float64
_ZERO = _F(0.0)


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
    """Write what the step decided at `sample` into the event log (see `Hops`) of its hop."""
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
    state: LoopState,
    settings: HopSettings,
    instrument: Instrument,
    filters: FilterCoefficients,
    powers: NDArray[np.float64],
    now: Slice,
    begin: int,
    end: int,
    stream: Stream,
    hops: Hops,
    curve: NDArray[np.float32],
    counts: NDArray[np.int16],
) -> tuple[LoopState, int, bool, int, int]:
    """Samples `begin` to `end` of a slice, one by one.

    Returns (state, samples of the slice taken, whether the plan is over, currents clipped, heights clipped).
    """
    surface, moments, measured = hops.surface, hops.moments, hops.measured
    planned = surface.shape[0]
    controller, before, hop = state.controller, state.filters, state.finished
    z, speed, filtered = _F(before.z), _F(before.speed), _F(before.filtered)
    z_part, speed_part, filtered_part = _F(before.z_part), _F(before.speed_part), _F(before.filtered_part)
    z_carry, speed_carry, filtered_carry = before.z_carry, before.speed_carry, before.filtered_carry
    with_command = counts.shape[1] > 2
    current_clipped = height_clipped = 0
    bulk_step = (now.bulk_to - now.bulk_from) / now.samples
    leak_step = (now.leak_to - now.leak_from) / now.samples
    displacement_step = (now.displacement_to - now.displacement_from) / now.samples
    current_draw, height_draw = np.empty(_DRAWN, np.float32), np.empty(_DRAWN, np.float32)
    if planned > 0:
        settings = with_amplitude(settings, hops.amplitude[min(hop, planned - 1)])
    over, k = False, begin
    while k < end and not over:
        sample = stream.first_sample + k
        drawn = (k - begin) % _DRAWN
        if drawn == 0:
            gaussian_pairs(stream.seed, stream.segment * PAIRS_PER_SEGMENT, sample, current_draw, height_draw)
        # Lanes are counted from the segment's first sample, never from the slice's: how a run is cut into slices and
        # plans must not show in the last bit.
        lane = sample & (LANE - 1)
        if lane == 0:
            z_carry, speed_carry, filtered_carry = next_carries(
                z_part, speed_part, filtered_part, z_carry, speed_carry, filtered_carry, powers
            )
            z_part, speed_part, filtered_part = _ZERO, _ZERO, _ZERO
        # The scanner moves first: the command that the step gave after the last sample is held over this one.
        command = _F(max(-filters.z_reach, min(filters.z_reach, controller.z_command)))
        if filters.second_order:
            z_part, speed_part = (
                fma(filters.zz, z_part, fma(filters.zv, speed_part, _F(filters.from_command * command))),
                fma(filters.vz, z_part, fma(filters.vv, speed_part, _F(filters.speed_from_command * command))),
            )
            z = with_two_carries(z_part, powers[0, lane + 1], z_carry, powers[1, lane + 1], speed_carry)
            speed = with_two_carries(speed_part, powers[2, lane + 1], z_carry, powers[3, lane + 1], speed_carry)
        else:
            z_part = fma(filters.zz, z_part, _F(filters.from_command * command))
            z = with_carry(z_part, powers[0, lane + 1], z_carry)
        # The world, linear over the slice: in double precision at the lane's first sample and from there on in single,
        # for a block of lanes computes the former once a lane and only the latter once a sample.
        below = surface[min(hop, planned - 1)] if planned > 0 else DWELL_SURFACE
        since, nth = k - lane, _F(lane)
        under = along_lane(_F((below + now.displacement_from) + since * displacement_step), _F(displacement_step), nth)
        gap = _F(z - under)
        relative = table_relative_current(gap, curve)
        current = unfiltered(
            along_lane(_F(now.bulk_from + since * bulk_step), _F(bulk_step), nth),
            along_lane(_F(now.leak_from + since * leak_step), _F(leak_step), nth),
            relative,
            current_draw[drawn],
            filters.current_noise,
        )
        filtered_part = fma(filters.keep, filtered_part, _F(filters.gain * current))
        filtered = with_carry(filtered_part, powers[4, lane + 1], filtered_carry)
        amperes = current_counts(filtered, filters.per_ampere)
        metres = height_counts(z, height_draw[drawn], filters.per_metre, filters.height_noise)
        counts[k, 0] = amperes
        counts[k, 1] = metres
        if with_command:
            counts[k, 2] = height_counts(command, _ZERO, filters.per_metre, _ZERO)
        current_clipped += abs(amperes) >= 32767
        height_clipped += abs(metres) >= 32767
        k += 1
        if planned == 0:
            continue
        # The controller reads the converter, not the truth.
        controller, event = step(
            controller, settings, amperes * instrument.current_scale, metres * instrument.height_scale
        )
        measured[hop, GAP_MIN] = min(measured[hop, GAP_MIN], _D(gap))
        log_event(event, controller, hop, sample, moments, measured)
        if event == TOP_REACHED:
            hop += 1
            if hop == planned or sample >= hops.last_start:
                over = True
            else:
                moments[hop, START] = sample + 1
                settings = with_amplitude(settings, hops.amplitude[hop])
    after = FilterState(
        _D(z),
        _D(speed),
        _D(filtered),
        _D(z_part),
        _D(speed_part),
        _D(filtered_part),
        z_carry,
        speed_carry,
        filtered_carry,
    )
    return LoopState(controller, after, hop), k, over, current_clipped, height_clipped


@compiled
def run_slice_by_definition(
    state: LoopState,
    settings: HopSettings,
    instrument: Instrument,
    now: Slice,
    stream: Stream,
    hops: Hops,
    curve: NDArray[np.float32],
    counts: NDArray[np.int16],
) -> tuple[LoopState, int, int, int]:
    """Up to a slice of samples; ends early with the plan's last hop, or with the hop in flight at `hops.last_start`.

    `curve` is the tip's approach curve from `approach_table`, `counts` [n, 2 or 3] receives the samples: current, z
    and, if there is a third column, z_command in the scale of z. Returns (state, samples taken, currents clipped by
    the converter, heights clipped).

    One sample: the scanner follows its command exactly over the sample (`zero_order_hold`), the current is the
    finite-element one at the true distance plus the leak, the amplifier's noise and low-pass follow, and the hop step
    sees the filtered current and the noisy height, as converted to counts.
    """
    filters = coefficients_of(instrument)
    powers = carry_powers(filters)
    begun = LoopState(state.controller, resumed(state.filters, powers, stream.first_sample), state.finished)
    state, taken, _, current_clipped, height_clipped = walk(
        begun, settings, instrument, filters, powers, now, 0, now.samples, stream, hops, curve, counts
    )
    return state, taken, current_clipped, height_clipped
