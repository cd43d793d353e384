"""Noise that is slow: flicker, random walks and a wandering reference, each a function of the time alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.core.compiled import compiled
from opsicm.physics.noise import gaussian

F64 = NDArray[np.float64]
_SHORTEST: Final = 0.025  # [s] between the knots of the quickest octave: above 10 Hz white noise is all there is
_OCTAVES: Final = 21  # the slowest has 7 h between its knots
_GOLDEN: Final = 0.6180339887498949  # by which the octaves are shifted: at no time do all of them stand on a knot
_SPACING: Final[F64] = np.asarray(
    _SHORTEST * 2.0 ** np.arange(_OCTAVES), np.float64
)  # [s] between the knots of every octave
_CHANNELS: Final = 2**40  # beyond those of any segment's samples
_KNOT_NS: Final = 10_000_000_000  # between two knots of a reference's drift


@dataclass(frozen=True, slots=True)
class SlowNoise:
    """A noise of power S(f) = `flicker`²/f + `walk`²/f² [unit²/Hz], one-sided, 20 µHz to 5 Hz; 0 at time 0.

    Both [unit/√Hz] are densities at 1 Hz: of flicker and of a random walk. A sum of octaves, each a row of independent
    normal numbers joined by straight lines, every one half as quick as the last: summed, their sinc^4 spectra follow
    the power law within 5 % up to 1 Hz. Flicker and walk share the numbers, for an octave of their sum is one of
    independent normal numbers again, as large as both together. The value at a time depends on (`seed`, `number`, time)
    alone, so that a resumed run and one that looks ahead see the same noise. Assumes below 2^40 segments; ends flat
    below 20 µHz. Source of the sum: Voss and McCartney, in M. Gardner, Sci. Am. 1978, 238 (4), 16; its scale: the
    integral of x^(slope - 1) sinc^4.
    """

    flicker: float
    walk: float
    seed: int
    number: int
    _size: F64 = field(init=False, repr=False, compare=False)
    _first: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # One-sided, 2 sigma² spacing sinc^4 summed over octaves is 2 sigma² integral / ln 2, which gives each sigma.
        of_walk = self.walk * np.sqrt(0.5 * math.pi**2 * _SPACING)
        object.__setattr__(self, "_size", np.hypot(self.flicker * math.sqrt(1.5 * math.log(2.0)), of_walk))
        object.__setattr__(self, "_first", _sum(self.seed, self._channel, 0.0, self._size))

    @property
    def _channel(self) -> int:
        return _CHANNELS + 64 * self.number

    def at(self, time: ArrayLike) -> F64:
        """Values [unit, n] at times [s, n] ≥ 0, in any order."""
        t = np.atleast_1d(np.asarray(time, dtype=np.float64))
        return np.asarray(_sums(self.seed, self._channel, t, self._size) - self._first)

    def once(self, time: float) -> float:
        """The value [unit] at one time [s] ≥ 0: the same as `at`, for a tenth of its cost."""
        return float(_sum(self.seed, self._channel, time, self._size) - self._first)


@compiled
def _sum(seed: int, channel: int, time: float, size: F64) -> float:
    """Every octave at `time` [s]: normal numbers of this `size` at whole places, joined by straight lines."""
    total = 0.0
    spacing = _SHORTEST
    for octave in range(size.size):
        if size[octave] > 0.0:
            place = time / spacing + octave * _GOLDEN
            before = int(place)
            first = gaussian(seed, channel + octave, before)
            total += size[octave] * (first + (place - before) * (gaussian(seed, channel + octave, before + 1) - first))
        spacing *= 2.0
    return total


@compiled
def _sums(seed: int, channel: int, time: F64, size: F64) -> F64:
    """`_sum` at many times [s, n]."""
    total = np.empty(time.size)
    for n in range(time.size):
        total[n] = _sum(seed, channel, time[n], size)
    return total


def random_walk_level(wander: float, within: float) -> float:
    """Density at 1 Hz [unit/√Hz] of a walk that changes by `wander` rms `within` [s]: wander/(pi sqrt(2 within)).

    A walk of variance q t has S(f) = 2 q/(2 pi f)², one-sided.
    """
    return wander / (math.pi * math.sqrt(2.0 * within))


class Line(NamedTuple):
    """A straight line in time: `value` [unit] at `since_ns`, `slope` [unit/s], as far as `until_ns`."""

    value: float
    slope: float
    since_ns: int
    until_ns: int

    def at(self, t_ns: int) -> float:
        """The value [unit] at `t_ns`, beyond the ends too."""
        return self.value + self.slope * (t_ns - self.since_ns) * 1e-9


@dataclass(frozen=True, slots=True)
class ReferenceDrift:
    """By how much the potential [V] that a reference electrode shows is too high: `rate` [V/s] · t and a walk on top.

    Straight between knots 10 s apart, so that a potentiostat that regulates against it follows a ramp: finer, a walk of
    0.1 mV in a minute changes by less than 40 µV, which is little beside a potentiostat's own noise. `before_ns` is for
    how long it had drifted when time 0 came. A metal electrode's potential has no bound of its own here: neither a
    passivating film nor the salt around it pulls it back.
    """

    rate: float
    walk: SlowNoise | None
    before_ns: int = 0

    def line(self, t_ns: int) -> Line:
        """The straight piece that begins at `t_ns` or holds it."""
        knot = (t_ns + self.before_ns) // _KNOT_NS
        times = 1e-9 * _KNOT_NS * np.array([knot, knot + 1])
        first, last = (self.rate * times + (self.walk.at(times) if self.walk else 0.0)).tolist()
        since_ns = knot * _KNOT_NS - self.before_ns
        return Line(first, (last - first) / (1e-9 * _KNOT_NS), since_ns, since_ns + _KNOT_NS)
