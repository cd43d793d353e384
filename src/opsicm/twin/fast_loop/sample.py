"""What one sample is: scanner, pipette, amplifier and converter, in the arithmetic that both loops share.

Scanner and low-pass are linear recursions y[k] = a·y[k-1] + b·x[k], summed in lanes of 16 samples that are counted from
the segment's first. Within a lane a value is its *part*, the same recursion begun from zero at the lane's first sample,
plus its *carry*, the value at the end of the lane before, times a^n. Exact algebra; it is written so in both loops for
the sake of rounding: sixteen lanes of a block can then run side by side and still give the scalar loop's last bit.

Samples are in single precision: 2 pm at 30 µm, a hundredth of a count of the converter, and twice as many to a SIMD
register. Carries are in double precision: they hold what lasts, and a slow lag in single precision stops short of its
end.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled, inlined
from opsicm.instruments.hop import HopState
from opsicm.physics.noise import fma

LANE: Final = 16  # float32: one register of AVX-512, two of AVX2; a block of 16 lanes fits the first-level cache
_F = np.float32
_D: Any = np.float64
_I = np.int32
_NEGLIGIBLE: Final = 1e-30  # of a carry: far below a count, far above the denormal numbers of single precision
_HALF, _LEAST, _MOST = _F(0.5), _F(-32768.0), _F(32767.0)


class Instrument(NamedTuple):
    """Electronics as the loop needs them. Times as the fraction by which a first-order lag closes in one sample."""

    scanner_gain: float  # 1 - exp(-dt/tau) of the scanner
    filter_gain: float  # 1 - exp(-dt/tau) of the amplifier's low-pass
    current_noise: float  # [A] of a sample before the filter
    height_noise: float  # [m] of the height sensor
    z_reach: float  # [m] where the scanner ends, above and below its zero
    current_scale: float  # [A/count]
    height_scale: float  # [m/count]
    resonance: float = 0.0  # [rad/sample] undamped natural frequency times dt; 0: first order, by `scanner_gain`
    damping: float = 0.7  # [1] of the critical one, of a scanner with a resonance


class FilterState(NamedTuple):
    """Scanner state and low-pass state after a sample: the values, and the parts and carries that add up to them.

    Where they do not (somebody has moved the pipette, a segment begins) the values hold: see `resumed`.
    """

    z: float  # [m] where the pipette truly is
    speed: float  # [m/sample]; a scanner of first order has none
    filtered: float  # [A] behind the amplifier's low-pass
    z_part: float = 0.0
    speed_part: float = 0.0
    filtered_part: float = 0.0
    z_carry: float = 0.0
    speed_carry: float = 0.0
    filtered_carry: float = 0.0


class LoopState(NamedTuple):
    """What the loop carries from sample to sample."""

    controller: HopState
    filters: FilterState
    finished: int  # hops of the plan that are over


class Slice(NamedTuple):
    """A piece of time over which the world is linear: values at its first sample and one sample past its last."""

    samples: int
    bulk_from: float  # [A] pipette current far from the surface
    bulk_to: float
    displacement_from: float = (
        0.0  # [m] by which the surface stands higher than `Hops.surface`, over the scanner's zero
    )
    displacement_to: float = 0.0
    leak_from: float = 0.0  # [A] current that does not pass the tip: drift of the offset, capacitive current
    leak_to: float = 0.0


class Stream(NamedTuple):
    """Which samples these are: noise is a function of (seed, segment, sample) and of nothing else."""

    first_sample: int
    segment: int
    seed: int


class Hops(NamedTuple):
    """A plan's hops and their event log; one without hops dwells: the command stays and every sample is taken.

    `moments` [hop, 5] are sample indices and the outcome, `measured` [hop, 5] what the hop step has measured, and the
    smallest *true* distance to the surface, which the world knows and the record never does. Columns: `START` ….
    """

    surface: NDArray[np.float64]  # [m] of the surface under each hop before the slice's displacement
    amplitude: NDArray[np.float64]  # [m] withdrawal of each hop
    moments: NDArray[np.int64]
    measured: NDArray[np.float64]
    last_start: int = 2**62  # sample at which the hop in flight becomes the plan's last


START, FALL, STOP, TOP, OUTCOME = range(5)  # columns of `Hops.moments`
I_REF, I_STOP, Z_STOP, Z_MIN, GAP_MIN = range(5)  # and of `Hops.measured`


class HoldMatrix(NamedTuple):
    """How (z - command, speed) turn over one sample with the command held by a zero-order hold: a matrix."""

    zz: float
    zv: float
    vz: float
    vv: float


class FilterCoefficients(NamedTuple):
    """The instrument as the loops use it, worked out once a slice, in single precision but for the reach.

    The shares of the command are what the rounded matrix leaves, so that a command held long enough is reached.
    """

    second_order: bool
    zz: Any
    zv: Any
    vz: Any
    vv: Any
    from_command: Any  # share of the command in z, and in speed
    speed_from_command: Any
    keep: Any  # of the low-pass's output by the next sample
    gain: Any
    current_noise: Any
    height_noise: Any
    per_ampere: Any
    per_metre: Any
    z_reach: float


@compiled
def zero_order_hold(instrument: Instrument) -> HoldMatrix:
    """The scanner's exact response over one sample to a command that is held, as a converter holds it.

    First order: z - c shrinks by 1 - scanner_gain. With a resonance w [rad/sample] and damping D: the exponential of
    [[0, 1], [-w², -2 D w]], below, at and above critical damping. Assumes that the load does not change w or D.
    """
    w, D = instrument.resonance, instrument.damping
    if w <= 0.0:
        return HoldMatrix(1.0 - instrument.scanner_gain, 0.0, 0.0, 0.0)
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
    return HoldMatrix(even + decay * odd, odd, -w * w * odd, even - decay * odd)


@compiled
def coefficients_of(instrument: Instrument) -> FilterCoefficients:
    """The constants of `instrument`."""
    held = zero_order_hold(instrument)
    zz, vz, keep = _F(held.zz), _F(held.vz), _F(1.0 - instrument.filter_gain)
    return FilterCoefficients(
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
def carry_powers(filters: FilterCoefficients) -> NDArray[np.float64]:
    """[5, 17]: the scanner's matrix (zz, zv, vz, vv) and the filter's factor to the powers 0 … 16."""
    powers = np.zeros((5, LANE + 1))
    powers[0, 0] = powers[3, 0] = powers[4, 0] = 1.0
    a, b, c, d, keep = _D(filters.zz), _D(filters.zv), _D(filters.vz), _D(filters.vv), _D(filters.keep)
    for n in range(LANE):
        zz, zv, vz, vv = powers[0, n], powers[1, n], powers[2, n], powers[3, n]
        powers[0, n + 1], powers[1, n + 1] = a * zz + b * vz, a * zv + b * vv
        powers[2, n + 1], powers[3, n + 1] = c * zz + d * vz, c * zv + d * vv
        powers[4, n + 1] = keep * powers[4, n]
    # The powers of a fast lag would turn denormal, which is slow, long after they have stopped to matter.
    return np.where(np.abs(powers) < _NEGLIGIBLE, 0.0, powers)


@compiled
def resumed(state: FilterState, powers: NDArray[np.float64], first_sample: int) -> FilterState:
    """`state` with parts and carries that add up to its values before `first_sample`."""
    n = ((first_sample - 1) & (LANE - 1)) + 1
    z_part, speed_part, z_carry, speed_carry = state.z_part, state.speed_part, state.z_carry, state.speed_carry
    filtered_part, filtered_carry = state.filtered_part, state.filtered_carry
    z = with_two_carries(z_part, powers[0, n], z_carry, powers[1, n], speed_carry)
    speed = with_two_carries(speed_part, powers[2, n], z_carry, powers[3, n], speed_carry)
    # In single precision on both sides: that is the precision in which the values were handed out.
    if z != _F(state.z) or speed != _F(state.speed):
        z_part, speed_part, z_carry, speed_carry = _D(_F(state.z)), _D(_F(state.speed)), 0.0, 0.0
    if with_carry(filtered_part, powers[4, n], filtered_carry) != _F(state.filtered):
        filtered_part, filtered_carry = _D(_F(state.filtered)), 0.0
    return FilterState(
        state.z, state.speed, state.filtered, z_part, speed_part, filtered_part, z_carry, speed_carry, filtered_carry
    )


@inlined
def with_carry(part: Any, power: Any, carry: Any) -> Any:
    """Value of a lag of first order from its part and its carry [float32]."""
    return fma(_F(power), _F(carry), _F(part))


@inlined
def with_two_carries(part: Any, power: Any, carry: Any, other_power: Any, other_carry: Any) -> Any:
    """Value of a scanner with a resonance from its part and both carries [float32]."""
    return fma(_F(power), _F(carry), fma(_F(other_power), _F(other_carry), _F(part)))


@inlined
def next_carries(
    z_part: Any,
    speed_part: Any,
    filtered_part: Any,
    z_carry: float,
    speed_carry: float,
    filtered_carry: float,
    powers: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Carries (z, speed, filtered current) into the lane after the one that these parts and carries end."""
    return (
        fma(powers[0, LANE], z_carry, fma(powers[1, LANE], speed_carry, _D(z_part))),
        fma(powers[2, LANE], z_carry, fma(powers[3, LANE], speed_carry, _D(speed_part))),
        next_carry(filtered_part, filtered_carry, powers[4, LANE]),
    )


@inlined
def next_carry(part: Any, carry: float, power: float) -> Any:
    """Carry of a lag of first order into the lane after the one that `part` and `carry` end."""
    return fma(power, carry, _D(part))


@inlined
def along_lane(start: Any, step: Any, nth: Any) -> Any:
    """A linear quantity of the world [float32] at sample `nth` (float32) of the lane that begins with `start`."""
    return fma(nth, step, start)


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
