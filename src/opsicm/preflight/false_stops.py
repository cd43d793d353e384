"""How often a fall ends by noise and not by the surface."""

from __future__ import annotations

import math

_POLE = 2.0 * math.pi


def false_stop_probability(
    margin: float, noise: float, looks: float, reference_looks: float, drift: float = 0.0
) -> float:
    """P [1] that one fall stops falsely: 1 - exp(-looks · Q(k)), k = (margin - drift)/(noise sqrt(1 + 1/n_ref)).

    `margin` [1] is the setpoint, `noise` [1] the rms of the current relative to it, `looks` [1] the independent looks
    of a fall, `reference_looks` n_ref [1] those that were averaged for the reference, `drift` [1] by how much the
    current itself falls during a fall. Q is the upper tail of the normal distribution. Assumes white noise between
    independent looks and a threshold that each look meets alone; overstates where drift comes only late in a fall.
    Source: the project's physics, section 4: 23 % at 0.16 % noise, 300 looks, a 0.5 % threshold and a noiseless
    reference, 39 % with an 8-sample one.
    """
    spread = noise * math.sqrt(1.0 + 1.0 / reference_looks)
    left = margin - drift
    if left <= 0.0:
        return 1.0
    if spread <= 0.0:
        return 0.0
    tail = 0.5 * math.erfc(left / spread / math.sqrt(2.0))
    return -math.expm1(-looks * tail)


def independent_looks(seconds: float, filter_Hz: float, dt: float) -> float:
    """Looks [1] in a time [s] that a one-pole filter of `filter_Hz` leaves independent: one per 2/(2 pi f), at most one
    per sample `dt` [s]. Twice the time constant is the sum of the filter's autocorrelation."""
    return max(1.0, seconds / max(dt, 2.0 / (_POLE * filter_Hz)))
