"""Noise that is slow: flicker and random walks, as functions of the time and of nothing that was asked before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opsicm.physics.noise import gaussian_block

F64 = NDArray[np.float64]
_SHORTEST: Final = 0.025  # [s] between the knots of the quickest octave: above 10 Hz white noise is all there is
_OCTAVES: Final = 21  # the slowest has 7 h between its knots
_GOLDEN: Final = 0.6180339887498949  # by which the octaves are shifted: at no time do all of them stand on a knot
_CHANNELS: Final = 2**40  # beyond those of any segment's samples
Slope = Literal[1, 2]


@dataclass(frozen=True, slots=True)
class SlowNoise:
    """A noise of power S(f) = `level`²/f^`slope` [unit²/Hz], one-sided, between 20 µHz and 5 Hz; 0 at time 0.

    `level` [unit/√Hz] is its density at 1 Hz; slope 1 is flicker, 2 a random walk. A sum of octaves, each a row of
    independent normal numbers joined by straight lines, every one half as quick as the last: summed, their sinc^4
    spectra follow the power law within 5 % up to 1 Hz. The value at a time depends on (`seed`, `number`, time) alone,
    so that a resumed run and one that looks ahead see the same noise. Assumes fewer than 2^40 segments; ends flat below
    20 µHz. Source of the sum: Voss and McCartney, in M. Gardner, Sci. Am. 1978, 238 (4), 16; its scale: the integral
    of x^(slope - 1) sinc^4.
    """

    level: float
    slope: Slope
    seed: int
    number: int

    def at(self, time: ArrayLike) -> F64:
        """Values [unit, n] at times [s, n] ≥ 0, in any order."""
        t = np.atleast_1d(np.asarray(time, dtype=np.float64))
        if self.level == 0.0 or not t.size:
            return np.zeros(t.size)
        both = np.append(t, 0.0)
        total = np.zeros(both.size)
        for octave in range(_OCTAVES):
            spacing = _SHORTEST * 2.0**octave
            # One-sided, 2 sigma² spacing sinc^4 summed over octaves is 2 sigma² integral / ln 2, which gives sigma.
            variance = 1.5 * math.log(2.0) if self.slope == 1 else 0.5 * math.pi**2 * spacing
            total += math.sqrt(variance) * self._joined(both / spacing + octave * _GOLDEN, octave)
        return np.asarray(self.level * (total[:-1] - total[-1]))

    def _joined(self, place: F64, octave: int) -> F64:
        """Standard normal numbers at whole places, joined by straight lines."""
        knots = np.unique(np.concatenate((np.floor(place), np.floor(place) + 1.0))).astype(np.int64)
        values = np.empty(knots.size)
        begin = 0
        # Runs of neighbours are drawn together: most of what is asked for lies side by side.
        for run in np.split(knots, np.flatnonzero(np.diff(knots) > 1) + 1):
            drawn = np.empty(run.size, np.float32)
            gaussian_block(self.seed, _CHANNELS + 64 * self.number + octave, int(run[0]), drawn)
            values[begin : begin + run.size] = drawn
            begin += run.size
        return np.asarray(np.interp(place, knots, values))


def random_walk_level(wander: float, within: float) -> float:
    """Density at 1 Hz [unit/√Hz] of a walk that changes by `wander` rms `within` [s]: wander/(pi sqrt(2 within)).

    A walk of variance q t has S(f) = 2 q/(2 pi f)², one-sided.
    """
    return wander / (math.pi * math.sqrt(2.0 * within))
