"""Heights and reference currents of a series of hops at one point: which hops count, and how much they scatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

_MEDIAN_TO_SIGMA: Final = 1.4826  # of a Gaussian's median absolute deviation


@dataclass(frozen=True, slots=True)
class HopSeries:
    """Good hops in order of time: `t` [s], `height` [m], `current` (reference, far) [A]; `bad` hops were left out."""

    t: NDArray[np.float64]
    height: NDArray[np.float64]
    current: NDArray[np.float64]
    potential: NDArray[np.float64]
    cell_current: NDArray[np.float64]
    setpoint: float
    bad: int

    @property
    def size(self) -> int:
        """Number of good hops."""
        return self.t.size


def hop_series(hops: xr.Dataset) -> HopSeries:
    """The hops of `hops` that ended in contact (outcome 0); the others are counted, not averaged."""
    good = hops["outcome"].values == 0
    take = {name: hops[name].values[good] for name in ("t_ns", "z_stop", "i_ref", "cell_potential", "cell_current")}
    setpoint = float(np.median(hops["setpoint"].values)) if hops.sizes["hop"] else float("nan")
    return HopSeries(
        take["t_ns"] * 1e-9,
        take["z_stop"],
        take["i_ref"],
        take["cell_potential"],
        take["cell_current"],
        setpoint,
        int(np.count_nonzero(~good)),
    )


def scatter(values: NDArray[np.float64]) -> float:
    """Standard deviation of one value, from what a parabola through its neighbours does not explain.

    Second differences x[k-1] - 2 x[k] + x[k+1] have variance 6 sigma² for white noise on any straight trend; their
    median absolute deviation is blind to jumps. Assumes noise that is white from value to value. Fails below 5 values
    (NaN). Source: von Neumann et al., Ann. Math. Stat. 1941, 12, 153, for the first difference.
    """
    if values.size < 5:
        return float("nan")
    second = np.diff(values, 2)
    return float(_MEDIAN_TO_SIGMA * np.median(np.abs(second - np.median(second))) / np.sqrt(6.0))


def value_at(
    t: NDArray[np.float64], values: NDArray[np.float64], when: float, window: int, degree: int = 1
) -> tuple[float, float, float]:
    """(value, standard uncertainty, slope per second) at time `when`, by a polynomial through the `window` nearest.

    The uncertainty is the regression's, with sigma from its own residuals. Assumes that the quantity is straight over
    the window, or a parabola for `degree` 2: use that where the window is no longer short against a turn of the
    quantity. Fails (ValueError) with fewer than `degree` + 2 points. Source: any text on linear regression, as Draper &
    Smith, Applied Regression Analysis, 3rd ed., Eq. (3.1.6).
    """
    near = np.sort(np.argsort(np.abs(t - when), kind="stable")[:window])
    if near.size < degree + 2:
        raise ValueError(f"value_at needs {degree + 2} points, got {near.size}")
    if degree > 1:
        span = float(np.ptp(t[near])) or 1.0
        basis = np.vander((t[near] - when) / span, degree + 1, increasing=True)
        found, *_ = np.linalg.lstsq(basis, values[near], rcond=None)
        rest = float(np.sum((values[near] - basis @ found) ** 2)) / (near.size - degree - 1)
        spread_at = float(np.linalg.inv(basis.T @ basis)[0, 0])
        return float(found[0]), float(np.sqrt(rest * spread_at)), float(found[1]) / span
    x, y = t[near] - when, values[near]
    centre = float(np.mean(x))
    spread = float(np.sum((x - centre) ** 2))
    slope = float(np.sum((x - centre) * y)) / spread
    at = float(np.mean(y)) - slope * centre
    residual = y - (at + slope * x)
    sigma2 = float(np.sum(residual**2)) / (near.size - 2)
    return at, float(np.sqrt(sigma2 * (1.0 / near.size + centre**2 / spread))), slope
