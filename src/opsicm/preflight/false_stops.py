"""How often a fall ends by noise and not by the surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_REFERENCE_NODES, _REFERENCE_WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_DEVIATIONS: Final = np.linspace(-8.0, 37.0, 721)  # beyond, double precision knows no chance


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of a current behind a one-pole low-pass: `rms` [1] relative to the current, `memory` [1] from one sample to
    the next, exp(-2 pi f dt)."""

    rms: float
    memory: float

    @classmethod
    def filtered(cls, rms: float, filter_Hz: float, dt: float) -> Noise:
        """Behind a filter of `filter_Hz`, sampled every `dt` [s]."""
        return cls(rms, math.exp(-2.0 * math.pi * filter_Hz * dt))

    def of_mean(self, samples: float) -> float:
        """The rms [1] of the mean of n samples in a row: rms² / n · (1 + 2 sum_k (1 - k/n) a^k), in closed form."""
        a, n = self.memory, samples
        if a >= 1.0:
            return self.rms
        terms = (1.0 + a) / (1.0 - a) - 2.0 * a * (1.0 - a**n) / (n * (1.0 - a) ** 2)
        return self.rms * math.sqrt(min(1.0, terms / n))


def false_stop_probability(
    setpoint: float, noise: Noise, shares: Floats, samples: float, reference_samples: float, drift: float = 0.0
) -> float:
    """P [1] that one fall stops while the surface has taken only `shares` of the current.

        P = E_r [1 - (1 - Q(u_0)) prod_k (1 - h(u_k))],   u_k = (s - share_k - drift_k - (1 - s) r) / rms

    `setpoint` s [1]; `shares` [1] at equal steps of time along the part of the fall that is looked at, of `samples` in
    all; `drift` [1] by which the current itself falls meanwhile, straight. r is the error of the reference, normal,
    with the rms of the mean of `reference_samples`, and one and the same for a whole fall. h(u) is the chance that a
    sample is the first below the threshold when the one before was not: for a first-order filter's noise, which
    remembers one sample, the threshold's discrete Rice formula. An independent look every correlation time, which
    serves for means, counts six times too few here: what matters is how often noise *comes* to the threshold.

    Assumes Gaussian noise and survival that remembers one sample. Fails for noise of more than one pole or with 1/f.
    Source: S. O. Rice, Bell Syst. Tech. J. 1945, 24, 46, section 3.3, in discrete time.
    """
    if not noise.rms > 0.0:
        return float(np.any(shares + drift >= setpoint))
    r = noise.of_mean(reference_samples) * _REFERENCE_NODES
    weights = _REFERENCE_WEIGHTS / _REFERENCE_WEIGHTS.sum()
    falls = drift * (np.arange(shares.size) + 0.5) / shares.size
    u = (setpoint - shares - falls - (1.0 - setpoint) * r[:, None]) / noise.rms
    table = crossing_hazard(_DEVIATIONS, noise.memory)
    hazard = np.interp(u, _DEVIATIONS, table, right=0.0)
    survives = samples / shares.size * np.log1p(-np.minimum(hazard, 1.0 - 1e-12)).sum(axis=1) + np.log(ndtr(u[:, 0]))
    return float(np.clip(weights @ -np.expm1(survives), 0.0, 1.0))


def crossing_hazard(u: Floats, memory: float) -> Floats:
    """P(X_1 > u | X_0 <= u) [1] for standard normal X of correlation `memory` a: ν / Φ(u), shape of `u`.

        ν = ∫_u^∞ φ(x) Φ((u - a x) / sqrt(1 - a²)) dx

    A look that is independent of the one before (a = 0) has the upper tail Q(u) itself.
    """
    spread = math.sqrt(max(1.0 - memory**2, 1e-12))
    length = np.where(u > 0.0, 20.0 / (np.maximum(u, 0.0) + 2.0), 10.0 - u)
    x = u[:, None] + 0.5 * length[:, None] * (_NODES + 1.0)
    density = np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
    crossings = 0.5 * length * ((density * ndtr((u[:, None] - memory * x) / spread)) @ _WEIGHTS)
    return np.asarray(np.minimum(1.0, crossings / ndtr(u)))
