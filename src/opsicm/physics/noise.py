"""Noise: the thermal current of a resistance, and Gaussian numbers that depend on (seed, channel, sample) alone.

Why not a stream such as PCG64 with a ziggurat: a lane version, a resumed run and a replay must draw the same
noise for the same sample, in whatever order samples are computed. So: hash the index to two words, then turn them to
two normal numbers (Box and Muller), one for an even channel and one for the odd one after it: a sample loop needs
both. Hash and turn work on 32-bit words without tables or branches, so that the array version fills SIMD lanes; all
versions do the same arithmetic and give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

from opsicm.core.compiled import compiled, inlined
from opsicm.core.constants import BOLTZMANN
from opsicm.core.errors import OutsideDomain, Problem

_F = np.float32
_I = np.int32
_U: Any = np.uint64
_U32: Any = np.uint32
_ONE, _HALF, _MINUS_HALF, _MINUS_TWO = _F(1.0), _F(0.5), _F(-0.5), _F(-2.0)
_SQRT_HALF_BITS: Final = 0x3F3504F3
_EIGHTH_TURN: Final = 0x20000000
_LN2: Final = _F(0.6931471805599453)
_PER_WORD: Final = _F(2.0**-32)
_PER_HALF_WORD: Final = _F(2.0**-31)
# ln(1 + t) = t - t²/2 + t³ P(t) for t in [sqrt(1/2) - 1, sqrt(2) - 1]: Cephes logf, Moshier 1992.
_L0, _L1, _L2 = _F(7.0376836292e-2), _F(-1.1514610310e-1), _F(1.1676998740e-1)
_L3, _L4, _L5 = _F(-1.2420140846e-1), _F(1.4249322787e-1), _F(-1.6668057665e-1)
_L6, _L7, _L8 = _F(2.0000714765e-1), _F(-2.4999993993e-1), _F(3.3333331174e-1)
# sin(pi x/2)/x and cos(pi x/2) in x², |x| <= 1/2: Chebyshev interpolation, below 4e-8 off (tested against NumPy).
_S0, _S1, _S2, _S3 = _F(1.57079632), _F(-0.64596348), _F(0.07968022), _F(-0.00460216)
_C0, _C1, _C2, _C3, _C4 = _F(1.0), _F(-1.23370054), _F(0.253669204), _F(-0.0208600704), _F(0.000903629885)


def thermal_current_density(R: float, T: float) -> float:
    """Thermal (Johnson) current noise sqrt(4 k T / R) [A/√Hz] of a resistance `R` [Ohm] at `T` [K].

    Assumes equilibrium; a biased pipette adds shot and 1/f noise. Source: Nyquist, Phys. Rev. 1928, 32, 110.
    """
    if not (R > 0.0 and T > 0.0):
        raise OutsideDomain(
            Problem("resistance and temperature", f"{R:g} Ohm, {T:g} K", "both must be above 0", "use Ohm and kelvin")
        )
    return math.sqrt(4.0 * BOLTZMANN * T / R)


def pipette_current_noise(density: float, R: float, T: float, filter_Hz: float) -> float:
    """rms current noise [A] of a pipette of `R` [Ohm] at `T` [K] behind a one-pole low-pass of `filter_Hz`.

        rms² = (density² + 4 k T / R) · (pi/2) filter_Hz

    `density` [A/√Hz] is that of the amplifier without a pipette. Assumes white, independent sources. Fails where 1/f
    noise or the f² noise of the input capacitance counts.
    """
    return math.hypot(thermal_current_density(R, T), density) * math.sqrt(math.pi / 2.0 * filter_Hz)


@intrinsic  # type: ignore[untyped-decorator]
def fma(_typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Callable[..., Any]]:
    """a·b + c in one floating type, rounded once: the same bits on every machine (IEEE 754-2008, 5.4.1).

    Inside compiled functions only. Plain Numba never fuses, nor may it: a fused and an unfused version of a formula
    differ in the last bit. Asked for by name it is one instruction where the processor has it, half of a polynomial's
    cost, and a library call elsewhere.
    """

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, b, c), generate


@inlined
def _mix64(z: Any) -> Any:
    # splitmix64's finaliser: Steele, Lea, Flood, OOPSLA 2014, figure 17.
    z = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U(27))) * _U(0x94D049BB133111EB)
    return z ^ (z >> _U(31))


@compiled
def pair_keys(seed: int, pair: int, block: int) -> tuple[Any, Any]:
    """The two 32-bit keys of `block` (sample index >> 16) of channels 2 `pair` and 2 `pair` + 1."""
    z = _mix64(_U(seed) + _U(0x9E3779B97F4A7C15))
    z = _mix64(z ^ (_U(pair) * _U(0xD1B54A32D192ED03)))
    z = _mix64(z + _U(block) * _U(0x9E3779B97F4A7C15))
    return _U32(z & _U(0xFFFFFFFF)), _U32(z >> _U(32))


@compiled
def _words(low_key: Any, high_key: Any, low: Any) -> tuple[Any, Any]:
    # Two keyed rounds of a 32-bit finaliser ("lowbias32", Wellons 2018); `low` is the index within the block. The
    # second word comes by one round more, with the last multiplier of the same author's triple32.
    x = _U32(low_key ^ low)
    x = _U32(_U32(x ^ (x >> _U32(16))) * _U32(0x21F0AAAD))
    x = _U32(_U32(x ^ (x >> _U32(15))) + high_key)
    x = _U32(_U32(x ^ (x >> _U32(16))) * _U32(0x735A2D97))
    x = _U32(_U32(x ^ (x >> _U32(15))) * _U32(0x7FEB352D))
    y = _U32(_U32(x ^ (x >> _U32(13))) * _U32(0x846CA68B))
    return _U32(x ^ (x >> _U32(16))), _U32(y ^ (y >> _U32(16)))


@compiled
def _radius(word: Any) -> Any:
    # sqrt(-2 ln u), u in (0, 1] from 31 bits: up to 6.6.
    u = (_F(_I(word >> _U32(1))) + _HALF) * _PER_HALF_WORD
    bits = np.float32(u).view(np.int32)
    exponent = _I(_I(bits - _I(_SQRT_HALF_BITS)) >> _I(23))
    t = np.int32(bits - _I(exponent << _I(23))).view(np.float32) - _ONE
    poly = fma(fma(fma(fma(_L0, t, _L1), t, _L2), t, _L3), t, _L4)
    poly = fma(fma(fma(fma(poly, t, _L5), t, _L6), t, _L7), t, _L8)
    log = fma(_F(exponent), _LN2, fma(fma(poly, t, _MINUS_HALF), _F(t * t), t))
    return _F(np.sqrt(_F(_MINUS_TWO * log)))


@compiled
def _direction(word: Any) -> tuple[Any, Any]:
    # Cosine and sine of word/2^32 turns: nearest quarter turn, polynomials within an eighth either way, signs by bits.
    quarter = _U32(_U32(word + _U32(_EIGHTH_TURN)) >> _U32(30))
    x = _F(_F(_I(_U32(word << _U32(2)))) * _PER_WORD)
    q = _F(x * x)
    sine = _F(x * fma(fma(fma(_S3, q, _S2), q, _S1), q, _S0))
    cosine = fma(fma(fma(fma(_C4, q, _C3), q, _C2), q, _C1), q, _C0)
    odd = _U32(quarter & _U32(1)) != _U32(0)
    along = sine if odd else cosine
    across = cosine if odd else sine
    along_bits = _U32(np.float32(along).view(np.uint32) ^ _U32(_U32(_U32(quarter + _U32(1)) & _U32(2)) << _U32(30)))
    across_bits = _U32(np.float32(across).view(np.uint32) ^ _U32(_U32(quarter & _U32(2)) << _U32(30)))
    return np.uint32(along_bits).view(np.float32), np.uint32(across_bits).view(np.float32)


@inlined
def normal_pair(low_key: Any, high_key: Any, low: Any) -> tuple[Any, Any]:
    """Two independent standard normal numbers [1] for keys from `pair_keys` and `low` = sample index & 0xFFFF.

    (r cos a, r sin a), r² = -2 ln u, from two hashed words. Source: Box, Muller, Ann. Math. Stat. 1958, 29, 610.
    """
    first, second = _words(low_key, high_key, low)
    r = _radius(first)
    along, across = _direction(second)
    return _F(r * along), _F(r * across)


@compiled
def gaussian(seed: int, channel: int, index: int) -> float:
    """A standard normal number [1] for sample `index` (>= 0) of `channel` in a run with `seed`.

    `normal_pair` of channels 2n and 2n + 1. Assumes fewer than 2^63 samples; independence between samples, channels
    and seeds is that of the hash (tested: moments, tails, spectrum, neighbours in all three, radii). Fails beyond 6.6
    sigma (probability 4e-11 per sample), where there is nothing. Single precision: relative error below 1e-6.
    Sources: beside the constants above.
    """
    low_key, high_key = pair_keys(seed, channel >> 1, index >> 16)
    even, odd = normal_pair(low_key, high_key, _U32(index & 0xFFFF))
    return float(odd if channel & 1 else even)


@compiled
def _fill(low_key: Any, high_key: Any, start: Any, even: NDArray[np.float32], odd: NDArray[np.float32]) -> None:
    # `start` must come as uint32: counted in 64 bits the loop fills half as many lanes.
    for k in range(even.shape[0]):
        a, b = normal_pair(low_key, high_key, _U32(start) + _U32(k))
        even[k] = a
        odd[k] = b


@compiled
def gaussian_pairs(seed: int, pair: int, first_index: int, even: NDArray[np.float32], odd: NDArray[np.float32]) -> None:
    """Fill `even` and `odd` [any length, one length] with `gaussian` of channels 2 `pair` and 2 `pair` + 1, SIMD."""
    done = 0
    while done < even.shape[0]:
        index = first_index + done
        low_key, high_key = pair_keys(seed, pair, index >> 16)
        start = index & 0xFFFF
        count = min(even.shape[0] - done, 0x10000 - start)
        _fill(low_key, high_key, _U32(start), even[done : done + count], odd[done : done + count])
        done += count


@compiled
def gaussian_block(seed: int, channel: int, first_index: int, out: NDArray[np.float32]) -> None:
    """Fill `out` [any length, float32] with `gaussian(seed, channel, first_index + k)`: the same values, SIMD."""
    other = np.empty(out.shape[0], np.float32)
    if channel & 1:
        gaussian_pairs(seed, channel >> 1, first_index, other, out)
    else:
        gaussian_pairs(seed, channel >> 1, first_index, out, other)
