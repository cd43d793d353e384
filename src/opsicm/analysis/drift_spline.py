"""The slope of a noisy series at each of its points, as smooth as the noise demands, with an interval that covers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

F64 = NDArray[np.float64]
_PER_KNOT: Final = 15
_FEWEST: Final = 30
_FEWEST_KNOTS: Final = 8
_MOST_POINTS: Final = 6000
_DEGREE: Final = 3
_ORDER: Final = 2  # of the differences that are penalised: a straight drift is free
_PENALTIES: Final = 10.0 ** np.arange(-2.0, 12.1, 0.25)


def smooth_slope(t: F64, values: F64, sigma: float) -> tuple[F64, F64]:
    """(d values/dt, its standard uncertainty) at each `t`, (n,); `sigma` of one value, white.

    A cubic B-spline with a knot for fifteen points and a penalty on the second differences of its coefficients; the
    penalty is the one of largest marginal likelihood, so that a steady drift becomes one slope and a bent one bends. u
    is that of the posterior, whose intervals cover the truth on average over the points. From 6000 points on means of
    neighbours take their place. Assumes one smoothness for the whole series: beside a quick event the quiet rest is
    rougher than it need be, and u larger. Fails (ValueError) below 30 points.
    Source: Eilers and Marx, Statist. Sci. 1996, 11, 89; Wahba, J. R. Statist. Soc. B 1983, 45, 133, for the interval.
    """
    if t.size < _FEWEST:
        raise ValueError(f"smooth_slope needs {_FEWEST} points, got {t.size}")
    of = -(-t.size // _MOST_POINTS)
    whole = t.size // of * of
    at, y = (v[:whole].reshape(-1, of).mean(axis=1) for v in (t, values))
    middle, span = float(y.mean()), float(at[-1] - at[0])
    # Without noise a spline through the points: one part in 10^9 of them stands for it.
    noise = max(sigma / of**0.5, 1e-9 * float(np.max(np.abs(y))), 1e-300)
    pieces = max(at.size // _PER_KNOT, _FEWEST_KNOTS)
    knots = np.arange(-_DEGREE, pieces + _DEGREE + 1) / pieces
    x = np.clip((at - at[0]) / span, 0.0, 1.0 - 1e-12)
    basis = BSpline.design_matrix(x, knots, _DEGREE)
    gram = (basis.T @ basis).toarray()
    size = gram.shape[0]
    differences = np.diff(np.eye(size), _ORDER, axis=0)
    lower = np.linalg.cholesky(gram + 1e-9 * float(np.trace(gram)) / size * np.eye(size))
    inverse = np.linalg.inv(lower)
    rough, turn = np.linalg.eigh(inverse @ differences.T @ differences @ inverse.T)
    rough = np.maximum(rough, 0.0)
    rough[:_ORDER] = 0.0
    seen = turn.T @ (inverse @ (basis.T @ ((y - middle) / noise)))
    kept = max((1.0 / (1.0 + penalty * rough) for penalty in _PENALTIES), key=lambda share: _likelihood(share, seen))
    turned = inverse.T @ turn
    slope_basis = BSpline(knots, turned, _DEGREE).derivative()
    place = np.clip((t - at[0]) / span, 0.0, 1.0)
    rows = np.asarray(slope_basis(place), dtype=np.float64) / span
    return noise * rows @ (kept * seen), noise * np.sqrt((rows**2) @ kept)


def _likelihood(kept: F64, seen: F64) -> float:
    """Twice the log of the marginal likelihood, less what no penalty changes; `kept` of each component."""
    lost = 1.0 - kept[_ORDER:]
    if np.any(lost <= 0.0):
        return -np.inf
    return float(np.sum(kept * seen**2) + np.sum(np.log(lost)))
