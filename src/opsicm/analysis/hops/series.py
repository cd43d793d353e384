"""Heights and reference currents of a series of hops at one point: which hops count, and their coarse height."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from opsicm.analysis.hops.change_points import ChangePoint, change_points
from opsicm.core.statistics import linear_fit, robust_sigma, straight_line
from opsicm.physics.specimen.drift import SHARE

_BLOCK: Final = 8  # hops
_FEWEST_BLOCKS: Final = 4
_ROUNDS: Final = 5
_OUTLYING: Final = 6.0  # robust sigmas
_LEFT: Final = 0.2  # of the reference, that the cell's current leaves


@dataclass(frozen=True, slots=True)
class HopSeries:
    """Good hops in order of time: `t` [s], `height` [m], `current` (the reference, far from the surface) [A].

    Left out were `bad` hops without contact and `drifting` ones on an unstable baseline.
    """

    t: NDArray[np.float64]
    height: NDArray[np.float64]
    current: NDArray[np.float64]
    potential: NDArray[np.float64]
    cell_current: NDArray[np.float64]
    setpoint: float
    bad: int
    drifting: int = 0
    segment: NDArray[np.int64] | None = None  # None: all hops are of one segment
    number: NDArray[np.int64] | None = None  # of each among all hops, the bad ones included, from 1
    bias_error: NDArray[np.float64] | None = None  # by what share the bias missed its target; None: not known

    @property
    def size(self) -> int:
        """Number of good hops."""
        return self.t.size

    @property
    def flags(self) -> dict[str, int]:
        """The hops left out, as a result's flags (the keys are those of version 0.1.0)."""
        return {"bad_hops": self.bad, "restless_hops": self.drifting}


def hop_series(hops: xr.Dataset, tip_potential: float | None = None) -> HopSeries:
    """The hops of `hops` that ended in contact (outcome 0) on a stable baseline, the reference current.

    The others are counted: `bad` ended otherwise; `drifting` had a reference that changed by more than half the
    setpoint from the hop before or to the hop after (`physics.specimen.drift`), or a bias that missed `tip_potential`
    [V] by more than half the setpoint.
    """
    contact = hops["outcome"].values == 0
    moving = _drifting_hops(hops)
    residual = hops["bias_residual"].values
    if not np.isfinite(residual).all():  # a run of measured files: nothing tells the potential of the tip
        tip_potential = None
    if tip_potential:
        moving |= np.abs(residual) > SHARE * hops["setpoint"].values * abs(tip_potential)
    good = contact & ~moving
    good_values = {
        name: hops[name].values[good] for name in ("t_ns", "z_stop", "i_ref", "cell_potential", "cell_current")
    }
    setpoint = float(np.median(hops["setpoint"].values)) if hops.sizes["hop"] else float("nan")
    return HopSeries(
        good_values["t_ns"] * 1e-9,
        good_values["z_stop"],
        good_values["i_ref"],
        good_values["cell_potential"],
        good_values["cell_current"],
        setpoint,
        int(np.count_nonzero(~contact)),
        int(np.count_nonzero(contact & moving)),
        hops["segment"].values[good].astype(np.int64),
        np.flatnonzero(good) + 1,
        residual[good] / tip_potential if tip_potential else None,
    )


def state_changes(series: HopSeries) -> list[ChangePoint]:
    """Where the reference current passes to another level by more than half the setpoint: there the tip changed.

    What the cell's current adds to it is taken off first (`without_cell_current`): a vertex or a cut-off moves the
    reference as quickly as a tip does. Less than half the setpoint the hops follow by themselves
    (`physics.specimen.drift`). [] for hops of several segments.
    """
    if series.segment is not None and np.unique(series.segment).size > 1:
        return []
    changes = change_points(without_cell_current(series.current, series.cell_current))
    return [c for c in changes if abs(c.after / c.before - 1.0) > SHARE * series.setpoint]


def without_cell_current(current: NDArray[np.float64], cell_current: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reference `current` i [A] as it would be without the `cell_current` I [A], both (n,): i / (1 + (b/i₀) I).

    The cell's current shifts the potential at the tip by its ohmic drop at once, and the pipette's conductance, which
    is what a tip changes, multiplies both. b [1] by least squares of the differences between means of eight hops, from
    which those beyond six robust sigma are left out: a change of the tip is one such difference, slow salt none; i₀ is
    the median of i - b I. Unchanged below 32 hops, where the cell's current is constant or not known, or where it takes
    away four fifths of the reference.
    """
    blocks = current.size // _BLOCK
    if blocks < _FEWEST_BLOCKS or not np.isfinite(cell_current).all():
        return current
    y, x = (np.diff(one[: blocks * _BLOCK].reshape(blocks, _BLOCK).mean(axis=1)) for one in (current, cell_current))
    kept = np.ones(x.size, bool)
    slope = 0.0
    for _ in range(_ROUNDS):
        power = float(x[kept] @ x[kept])
        if power == 0.0:
            return current
        slope = float(x[kept] @ y[kept]) / power
        left = y - slope * x
        kept = np.abs(left) <= max(_OUTLYING * robust_sigma(left, 0.0), float(np.median(np.abs(left))))
    share = 1.0 + slope * cell_current / float(np.median(current - slope * cell_current))
    return current / share if np.all(share > _LEFT) else current


def by_state(series: HopSeries, changes: list[ChangePoint]) -> HopSeries:
    """The series with a segment of its own for every state and every passage: nothing is compared across a change."""
    if not changes:
        return series
    edges = np.array([edge for c in changes for edge in (c.start, c.index)])
    return replace(series, segment=np.searchsorted(edges, np.arange(series.size), side="right").astype(np.int64))


def _drifting_hops(hops: xr.Dataset) -> NDArray[np.bool_]:
    i_ref, setpoint = hops["i_ref"].values, hops["setpoint"].values
    if i_ref.size < 2:
        return np.zeros(i_ref.size, bool)
    step = np.abs(np.diff(i_ref)) / np.maximum(np.abs(i_ref[1:]), 1e-30)
    # From one segment to the next the reference may change: that is no drift during an approach.
    step[np.diff(hops["segment"].values) != 0] = 0.0
    beside = np.maximum(np.append(step, 0.0), np.insert(step, 0, 0.0))
    return np.asarray(beside > SHARE * setpoint)


def windows_without_gap(series: HopSeries, window: int) -> NDArray[np.bool_]:
    """Which windows of `window` successive hops lie in one segment, without a pause of more than two periods.

    [size - window + 1]; empty when there are fewer hops.
    """
    if series.size < window:
        return np.zeros(0, bool)
    period = np.median(np.diff(series.t))
    gap = np.diff(series.t) > 2.0 * period
    if series.segment is not None:
        gap |= np.diff(series.segment) != 0
    return np.asarray(~np.any(sliding_window_view(gap, window - 1), axis=1))


def value_at(
    t: NDArray[np.float64], values: NDArray[np.float64], when: float, window: int, degree: int = 1
) -> tuple[float, float, float]:
    """(value, standard uncertainty, slope per second) at time `when`, by a polynomial through the `window` nearest.

    The uncertainty is the regression's, with sigma from its own residuals. Assumes that the quantity is linear over the
    window, or a parabola for `degree` 2: use that where the window is not short against a turn of the quantity. Fails
    (ValueError) with fewer than `degree` + 2 points.
    """
    near = np.sort(np.argsort(np.abs(t - when), kind="stable")[:window])
    if near.size < degree + 2:
        raise ValueError(f"value_at needs {degree + 2} points, got {near.size}")
    if degree == 1:
        line = straight_line(t[near], values[near])
        return *line.at(when), line.slope
    span = float(np.ptp(t[near])) or 1.0
    fit = linear_fit(np.vander((t[near] - when) / span, degree + 1, increasing=True), values[near])
    return float(fit.coefficients[0]), float(fit.u[0]), float(fit.coefficients[1]) / span


def coarse_heights(hops: xr.Dataset, slow: xr.Dataset) -> NDArray[np.float64] | None:
    """Coarse height at each hop [m]; None where no slow row has one. The stage moves between segments only.

    The median of the rows between the first and the last hop of a segment, so that a row read while the stage
    travelled has no weight; where a segment is too short to hold a row, the next row after it. The last row *before* a
    hop would be wrong: after a park it still has the previous height.
    """
    t, height = slow["t_ns"].values, slow["coarse_z"].values
    known = np.isfinite(height)
    if not known.any():
        return None
    t, height = t[known], height[known]
    at, segments = hops["t_ns"].values, hops["segment"].values
    coarse = np.empty(at.size)
    for segment in np.unique(segments):
        inside = segments == segment
        first, last = at[inside].min(), at[inside].max()
        during = (t >= first) & (t <= last)
        after = min(int(np.searchsorted(t, last)), t.size - 1)
        coarse[inside] = np.median(height[during]) if during.any() else height[after]
    return coarse
