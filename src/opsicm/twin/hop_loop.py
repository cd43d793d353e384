"""The twin's fast loop: scanner, pipette and amplifier, sample by sample, round the hop step that every rig uses."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled
from opsicm.instruments.hop import (
    FALL_BEGINS,
    STOP_DECIDED,
    TOP_REACHED,
    HopSettings,
    HopState,
    step,
)
from opsicm.physics.approach import relative_current
from opsicm.physics.noise import gaussian_block

CURRENT_NOISE: Final = 0
HEIGHT_NOISE: Final = 1
_CHANNELS_PER_SEGMENT: Final = 16
_DRAWN: Final = 512  # noise numbers drawn at a time: enough for SIMD lanes, few enough to be lost at the end of a plan


class Instrument(NamedTuple):
    """Constants of the fast loop. Times as the fraction by which a first-order lag closes in one sample."""

    scanner_gain: float  # 1 - exp(-dt/tau) of the scanner
    filter_gain: float  # 1 - exp(-dt/tau) of the amplifier's low-pass
    current_noise: float  # [A] of a sample before the filter
    height_noise: float  # [m] of the height sensor
    z_reach: float  # [m] where the scanner ends, above and below its zero
    current_scale: float  # [A/count]
    height_scale: float  # [m/count]
    resonance: float = 0.0  # [rad/sample] undamped natural frequency times dt; 0: first order, by `scanner_gain`
    damping: float = 0.7  # [1] of the critical one, of a scanner with a resonance


class Motion(NamedTuple):
    """What the loop carries from sample to sample besides the hop's own state."""

    z: float  # [m] where the pipette truly is
    speed: float  # [m/sample]; a scanner of first order has none
    filtered: float  # [A]
    hop: int  # hops finished in this plan


class Slice(NamedTuple):
    """A stretch of time over which the world is linear: values at its first sample and one sample past its last."""

    bulk_from: float  # [A] pipette current far from the surface
    bulk_to: float
    swelling_from: float  # [m]
    swelling_to: float
    leak_from: float = 0.0  # [A] current that does not pass the tip: drift of the offset, capacitive current
    leak_to: float = 0.0


class Held(NamedTuple):
    """How (z - command, speed) turn over one sample with the command held: a matrix."""

    zz: float
    zv: float
    vz: float
    vv: float


# Columns of the event log, one row per hop: sample indices and what the step measured.
START, FALL, STOP, TOP, OUTCOME = 0, 1, 2, 3, 4
I_REF, I_STOP, Z_STOP, Z_MIN, GAP_MIN = 0, 1, 2, 3, 4


@compiled
def _to_counts(value: float, per_unit: float) -> int:
    # Half up, not half to even: floor is one instruction, Python's round is a function.
    counts = math.floor(value * per_unit + 0.5)
    return max(-32768, min(32767, counts))


@compiled
def held_command(instrument: Instrument) -> Held:
    """The scanner's exact response over one sample to a command that is held, as a converter holds it.

    First order: z - c shrinks by 1 - scanner_gain. With a resonance w [rad/sample] and damping D: the exponential of
    [[0, 1], [-w², -2 D w]], below, at and above critical damping. Assumes that the load does not change w or D.
    """
    w, D = instrument.resonance, instrument.damping
    if w <= 0.0:
        return Held(1.0 - instrument.scanner_gain, 0.0, 0.0, 0.0)
    decay = D * w
    square = w * w * (1.0 - D * D)
    if square > 0.0:
        beat = math.sqrt(square)
        even, odd = math.cos(beat), math.sin(beat) / beat
    elif square < 0.0:
        beat = math.sqrt(-square)
        even, odd = math.cosh(beat), math.sinh(beat) / beat
    else:
        even, odd = 1.0, 1.0
    even, odd = math.exp(-decay) * even, math.exp(-decay) * odd
    return Held(even + decay * odd, odd, -w * w * odd, even - decay * odd)


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
    curve: NDArray[np.float64],
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
    finite-element one at the true distance (`curve`, see `physics.tip_field`) and the leak, the amplifier's low-pass
    and the noise follow, and the step sees the filtered current and the noisy height, as converted to counts.
    """
    hops = surface.shape[0]
    z, speed, filtered, hop = motion
    held = held_command(instrument)
    with_command = counts.shape[1] > 2
    current_clipped = height_clipped = 0
    taken = 0
    current_draw, height_draw = np.empty(_DRAWN, np.float32), np.empty(_DRAWN, np.float32)
    channel = segment * _CHANNELS_PER_SEGMENT
    per_ampere, per_metre = 1.0 / instrument.current_scale, 1.0 / instrument.height_scale
    if hops > 0:
        settings = with_amplitude(settings, amplitude[min(hop, hops - 1)])
    for k in range(count):
        if k % _DRAWN == 0:
            gaussian_block(seed, channel + CURRENT_NOISE, first_sample + k, current_draw)
            gaussian_block(seed, channel + HEIGHT_NOISE, first_sample + k, height_draw)
        w = k / count
        bulk = now.bulk_from + w * (now.bulk_to - now.bulk_from)
        swelling = now.swelling_from + w * (now.swelling_to - now.swelling_from)
        below = surface[min(hop, hops - 1)] if hops > 0 else -1.0
        reachable = max(-instrument.z_reach, min(instrument.z_reach, state.z_command))
        behind = z - reachable
        z, speed = reachable + held.zz * behind + held.zv * speed, held.vz * behind + held.vv * speed
        gap = z - below - swelling
        sample = first_sample + k
        white = instrument.current_noise * current_draw[k % _DRAWN]
        leak = now.leak_from + w * (now.leak_to - now.leak_from)
        current = bulk * relative_current(gap, curve) + leak + white
        filtered += instrument.filter_gain * (current - filtered)
        sensed = z + instrument.height_noise * height_draw[k % _DRAWN]
        current_counts = _to_counts(filtered, per_ampere)
        height_counts = _to_counts(sensed, per_metre)
        counts[k, 0] = current_counts
        counts[k, 1] = height_counts
        if with_command:
            counts[k, 2] = _to_counts(reachable, per_metre)
        current_clipped += abs(current_counts) >= 32767
        height_clipped += abs(height_counts) >= 32767
        taken = k + 1
        if hops == 0:
            continue
        # The controller reads the converter, not the truth.
        state, event = step(
            state, settings, current_counts * instrument.current_scale, height_counts * instrument.height_scale
        )
        measured[hop, GAP_MIN] = min(measured[hop, GAP_MIN], gap)
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
            hop += 1
            if hop == hops or sample >= last_start:
                break
            moments[hop, START] = sample + 1
            settings = with_amplitude(settings, amplitude[hop])
    return state, Motion(z, speed, filtered, hop), taken, current_clipped, height_clipped
