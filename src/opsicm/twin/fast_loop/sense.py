"""What one sample is: scanner, pipette, amplifier and converter, in the arithmetic that both loops share.

A linear lag is summed in lanes of 16 samples, counted from the segment's first: what the samples since the last
multiple of 16 have added (the *part*, a recursion from zero) and what is left of the value at that multiple (the
*edge*, times a power). It is the same recursion; but sixteen lanes of a block can now run side by side, and the loop
over samples and the loop over lanes round alike, to the last bit.

Samples are in single precision: 2 pm at 30 µm, a hundredth of a count of the converter, and twice as many to a SIMD
register. Edges are in double precision and hold what lasts: a slow lag in single precision would stop short of its end.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled, inlined
from opsicm.physics.gaussian import fma

LANE: Final = 16
_F = np.float32
_D: Any = np.float64
_I = np.int32
_NOTHING: Final = 1e-30
_HALF, _LEAST, _MOST = _F(0.5), _F(-32768.0), _F(32767.0)


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
    """What the loop carries from sample to sample besides the hop's own state.

    Parts and edges as at the head of this file; where they do not add up to the value (somebody has moved the pipette,
    a segment begins), the value holds.
    """

    z: float  # [m] where the pipette truly is
    speed: float  # [m/sample]; a scanner of first order has none
    filtered: float  # [A]
    hop: int  # hops finished in this plan
    z_part: float = 0.0
    speed_part: float = 0.0
    filtered_part: float = 0.0
    z_edge: float = 0.0
    speed_edge: float = 0.0
    filtered_edge: float = 0.0


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


class Law(NamedTuple):
    """The instrument as the loops use it: constants worked out once a slice, in single precision but for the reach.

    The shares of the command are what the rounded matrix leaves, so that a command held long enough is reached.
    """

    second_order: bool
    zz: Any
    zv: Any
    vz: Any
    vv: Any
    from_command: Any  # share of the command in z, and in speed
    speed_from_command: Any
    keep: Any
    gain: Any
    current_noise: Any
    height_noise: Any
    per_ampere: Any
    per_metre: Any
    z_reach: float


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
def law_of(instrument: Instrument) -> Law:
    """The constants of `instrument`."""
    held = held_command(instrument)
    zz, vz, keep = _F(held.zz), _F(held.vz), _F(1.0 - instrument.filter_gain)
    return Law(
        instrument.resonance > 0.0,
        zz,
        _F(held.zv),
        vz,
        _F(held.vv),
        _F(1.0 - _D(zz)),
        -vz,
        keep,
        _F(1.0 - _D(keep)),
        _F(instrument.current_noise),
        _F(instrument.height_noise / instrument.height_scale),
        _F(1.0 / instrument.current_scale),
        _F(1.0 / instrument.height_scale),
        instrument.z_reach,
    )


@compiled
def lane_powers(law: Law) -> NDArray[np.float64]:
    """[5, 17]: the scanner's matrix (zz, zv, vz, vv) and the filter's factor to the powers 0 … 16."""
    powers = np.zeros((5, LANE + 1))
    powers[0, 0] = powers[3, 0] = powers[4, 0] = 1.0
    a, b, c, d, keep = _D(law.zz), _D(law.zv), _D(law.vz), _D(law.vv), _D(law.keep)
    for n in range(LANE):
        zz, zv, vz, vv = powers[0, n], powers[1, n], powers[2, n], powers[3, n]
        powers[0, n + 1], powers[1, n + 1] = a * zz + b * vz, a * zv + b * vv
        powers[2, n + 1], powers[3, n + 1] = c * zz + d * vz, c * zv + d * vv
        powers[4, n + 1] = keep * powers[4, n]
    # What is left of a fast lag would turn denormal, which is slow, long after it has stopped to matter.
    return np.where(np.abs(powers) < _NOTHING, 0.0, powers)


@compiled
def resumed(motion: Motion, powers: NDArray[np.float64], first_sample: int) -> Motion:
    """`motion` with parts and edges that add up to its values before `first_sample`."""
    n = ((first_sample - 1) & (LANE - 1)) + 1
    z = together(motion.z_part, powers[0, n], motion.z_edge, powers[1, n], motion.speed_edge)
    speed = together(motion.speed_part, powers[2, n], motion.z_edge, powers[3, n], motion.speed_edge)
    filtered = added(motion.filtered_part, powers[4, n], motion.filtered_edge)
    moved = z != _F(motion.z) or speed != _F(motion.speed)
    z_part, speed_part, z_edge, speed_edge = motion.z_part, motion.speed_part, motion.z_edge, motion.speed_edge
    if moved:
        z_part, speed_part, z_edge, speed_edge = _D(_F(motion.z)), _D(_F(motion.speed)), 0.0, 0.0
    filtered_part, filtered_edge = motion.filtered_part, motion.filtered_edge
    if filtered != _F(motion.filtered):
        filtered_part, filtered_edge = _D(_F(motion.filtered)), 0.0
    return Motion(
        motion.z,
        motion.speed,
        motion.filtered,
        motion.hop,
        z_part,
        speed_part,
        filtered_part,
        z_edge,
        speed_edge,
        filtered_edge,
    )


@inlined
def added(part: Any, power: Any, edge: Any) -> Any:
    """Part and edge of a lag of first order, together [float32]."""
    return fma(_F(power), _F(edge), _F(part))


@inlined
def together(part: Any, power: Any, edge: Any, other_power: Any, other_edge: Any) -> Any:
    """Part and the edges of a scanner with a resonance, together [float32]."""
    return fma(_F(power), _F(edge), fma(_F(other_power), _F(other_edge), _F(part)))


@inlined
def next_edges(
    z_part: Any,
    speed_part: Any,
    filtered_part: Any,
    z_edge: float,
    speed_edge: float,
    filtered_edge: float,
    powers: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Edges (z, speed, filtered current) of the lane after the one that these parts and edges end."""
    return (
        fma(powers[0, LANE], z_edge, fma(powers[1, LANE], speed_edge, _D(z_part))),
        fma(powers[2, LANE], z_edge, fma(powers[3, LANE], speed_edge, _D(speed_part))),
        next_edge(filtered_part, filtered_edge, powers[4, LANE]),
    )


@inlined
def next_edge(part: Any, edge: float, power: float) -> Any:
    """Edge of the lane after the one that `part` and `edge` end, of a lag of first order."""
    return fma(power, edge, _D(part))


@inlined
def over_lane(start: Any, step: Any, lane: Any) -> Any:
    """A quantity of the world that goes straight, at sample `lane` (float32) of the lane that has `start` [float32]."""
    return fma(lane, step, start)


@inlined
def to_counts(value: Any) -> Any:
    """The converter: `value` [counts, float32] rounded half up and clipped to 16 bits."""
    x = _F(value + _HALF)
    x = x if x > _LEAST else _LEAST
    x = x if x < _MOST else _MOST
    whole = _I(x)
    return _I(whole - _I(_F(whole) > x))


@inlined
def current_counts(filtered: Any, per_ampere: Any) -> Any:
    """The amplifier's output [A, float32] as counts."""
    return to_counts(_F(filtered * per_ampere))


@inlined
def height_counts(z: Any, draw: Any, per_metre: Any, noise: Any) -> Any:
    """The height sensor's output as counts: `z` [m, float32], its noise [counts] times a normal number."""
    return to_counts(fma(noise, draw, _F(z * per_metre)))


@inlined
def unfiltered(bulk: Any, leak: Any, relative: Any, draw: Any, noise: Any) -> Any:
    """Current [A, float32] in front of the amplifier's low-pass."""
    return fma(bulk, relative, fma(noise, draw, leak))
