"""Gaussian numbers that depend on (seed, channel, sample index) and on nothing else.

Why not a stream such as PCG64 with a ziggurat: a lane version, a resumed run and a replay must draw the same
noise for the same sample, in whatever order samples are computed. So: hash the index, then invert the normal
distribution. Hash and inversion work on 32-bit words without tables or branches, so that the array version
fills SIMD lanes; both versions do the same arithmetic and give the same bits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled

_F = np.float32
_I = np.int32
_U: Any = np.uint64
_U32: Any = np.uint32
_ONE, _TWO, _HALF = _F(1.0), _F(2.0), _F(0.5)
_SQRT_HALF_BITS: Final = 0x3F3504F3
_LN2: Final = _F(0.6931471805599453)
_SQRT2: Final = _F(1.4142135623730951)
_TO_P: Final = _F(2.0**-32)
# ln(1 + t) = t - t²/2 + t³ P(t) for t in [sqrt(1/2) - 1, sqrt(2) - 1]: Cephes logf, Moshier 1992.
_L0, _L1, _L2 = _F(7.0376836292e-2), _F(-1.1514610310e-1), _F(1.1676998740e-1)
_L3, _L4, _L5 = _F(-1.2420140846e-1), _F(1.4249322787e-1), _F(-1.6668057665e-1)
_L6, _L7, _L8 = _F(2.0000714765e-1), _F(-2.4999993993e-1), _F(3.3333331174e-1)
# erfinv(x) = x P(w), w = -ln(1 - x²), below and above w = 5: Giles, GPU Computing Gems Jade, 2011, chapter 10.
_A0, _A1, _A2 = _F(2.81022636e-08), _F(3.43273939e-07), _F(-3.5233877e-06)
_A3, _A4, _A5 = _F(-4.39150654e-06), _F(0.00021858087), _F(-0.00125372503)
_A6, _A7, _A8 = _F(-0.00417768164), _F(0.246640727), _F(1.50140941)
_B0, _B1, _B2 = _F(-0.000200214257), _F(0.000100950558), _F(0.00134934322)
_B3, _B4, _B5 = _F(-0.00367342844), _F(0.00573950773), _F(-0.0076224613)
_B6, _B7, _B8 = _F(0.00943887047), _F(1.00167406), _F(2.83297682)
_W_SPLIT, _W_LOW, _W_HIGH = _F(5.0), _F(2.5), _F(3.0)


@compiled
def _mix64(z: Any) -> Any:
    # splitmix64's finaliser: Steele, Lea, Flood, OOPSLA 2014, figure 17.
    z = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U(27))) * _U(0x94D049BB133111EB)
    return z ^ (z >> _U(31))


@compiled
def _key(seed: int, channel: int, block: int) -> Any:
    z = _mix64(_U(seed) + _U(0x9E3779B97F4A7C15))
    z = _mix64(z ^ (_U(channel) * _U(0xD1B54A32D192ED03)))
    return _mix64(z + _U(block) * _U(0x9E3779B97F4A7C15))


@compiled
def _word(low_key: Any, high_key: Any, low: Any) -> Any:
    # Two keyed rounds of a 32-bit finaliser ("lowbias32", Wellons 2018); `low` is the index within the block.
    x = _U32(low_key ^ low)
    x = _U32(_U32(x ^ (x >> _U32(16))) * _U32(0x21F0AAAD))
    x = _U32(_U32(x ^ (x >> _U32(15))) + high_key)
    x = _U32(_U32(x ^ (x >> _U32(16))) * _U32(0x735A2D97))
    x = _U32(_U32(x ^ (x >> _U32(15))) * _U32(0x7FEB352D))
    return _U32(x ^ (x >> _U32(16)))


@compiled
def _normal(word: Any) -> Any:
    # p in (0, 1/2) from 31 bits, the sign from the last one: both tails reach 6.3 sigma with equal resolution.
    p = (_F(_I(word & _U32(0x7FFFFFFF))) + _HALF) * _TO_P
    y = _TWO * p * (_TWO - _TWO * p)  # 1 - x²
    bits = np.float32(y).view(np.int32)
    exponent = _I(_I(bits - _I(_SQRT_HALF_BITS)) >> _I(23))
    t = np.int32(bits - _I(exponent << _I(23))).view(np.float32) - _ONE
    poly = (((((((_L0 * t + _L1) * t + _L2) * t + _L3) * t + _L4) * t + _L5) * t + _L6) * t + _L7) * t + _L8
    w = -(t - _HALF * t * t + t * t * t * poly + _F(exponent) * _LN2)
    c = w - _W_LOW
    centre = (((((((_A0 * c + _A1) * c + _A2) * c + _A3) * c + _A4) * c + _A5) * c + _A6) * c + _A7) * c + _A8
    # No max(w, 0) here: it stops vectorisation, and a NaN of the branch not taken is not used.
    r = _F(np.sqrt(w)) - _W_HIGH
    tail = (((((((_B0 * r + _B1) * r + _B2) * r + _B3) * r + _B4) * r + _B5) * r + _B6) * r + _B7) * r + _B8
    size = _SQRT2 * (_ONE - _TWO * p) * (centre if w < _W_SPLIT else tail)
    return -size if word >> _U32(31) else size


@compiled
def gaussian(seed: int, channel: int, index: int) -> float:
    """A standard normal number [1] for sample `index` (>= 0) of `channel` in a run with `seed`.

    x = sqrt(2) erfinv(2 u - 1), u from 32 hashed bits. Assumes fewer than 2^63 samples; independence between
    samples, channels and seeds is that of the hash (tested: moments, tails, spectrum, neighbours in all three).
    Fails beyond 6.3 sigma (probability 5e-10 per sample), where there is nothing. Single precision: relative
    error of the inversion below 1e-6. Sources: beside the constants above.
    """
    key = _key(seed, channel, index >> 16)
    return float(_normal(_word(_U32(key & _U(0xFFFFFFFF)), _U32(key >> _U(32)), _U32(index & 0xFFFF))))


@compiled
def gaussian_block(seed: int, channel: int, first_index: int, out: NDArray[np.float32]) -> None:
    """Fill `out` [any length, float32] with `gaussian(seed, channel, first_index + k)`: the same values, SIMD."""
    n = out.shape[0]
    done = 0
    while done < n:
        index = first_index + done
        key = _key(seed, channel, index >> 16)
        low_key, high_key = _U32(key & _U(0xFFFFFFFF)), _U32(key >> _U(32))
        start = index & 0xFFFF
        count = min(n - done, 0x10000 - start)
        for k in range(count):
            out[done + k] = _normal(_word(low_key, high_key, _U32(start + k)))
        done += count
