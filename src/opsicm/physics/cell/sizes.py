"""Particles of several sizes: a log-normal distribution of radii by volume as a few classes.

Classes have equal volume, each with the radius that gives it the surface which its part of the distribution has, so
that the whole surface is exact with any number of them. Gauss–Hermite points, the usual choice, converge faster for
what is smooth in ln R, but half of the volume then empties at one moment, and a spread is here to tell when that is:
the largest change of the current in ten hops errs by 24 % with five such points and by 8 % with five classes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
CLASSES: Final = 5

# Columns of `size_classes`.
(RADIUS, VOLUME_SHARE, SURFACE_SHARE) = range(3)


def size_classes(radius: float, spread: float, classes: int = CLASSES) -> Floats:
    """Rows (radius [m], share of the volume, share of the surface) [n, 3], the smallest particles first.

    `radius` [m] has half of the volume below it; `spread` [1] is the standard deviation of ln R by volume, 0 for one
    size. (D90 − D10)/D50, the span of a data sheet, is 2 sinh(1.2816 · spread).
    """
    if spread == 0.0:
        return np.array([[radius, 1.0, 1.0]])
    edges = ndtri(np.arange(classes + 1) / classes)
    # ⟨1/R⟩ of a class: a log-normal weighted by 1/R is one whose ln R lies σ² lower.
    surface = np.exp(0.5 * spread**2) * np.diff(ndtr(edges + spread))
    return np.column_stack([radius / (classes * surface), np.full(classes, 1.0 / classes), surface / surface.sum()])
