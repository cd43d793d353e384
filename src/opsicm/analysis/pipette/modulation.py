"""Several pipette biases before each hop: conductance G = dI/dV and the potential V0 of zero current."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import independent_share, mean_with_u, median_with_u, straight_line

F64 = NDArray[np.float64]
_FEWEST: Final = 8
_LEVEL_WIDTH: Final = 2e-3  # [V] two samples of one level differ by less


@dataclass(frozen=True, slots=True)
class ConductanceSeries:
    """`conductance` [S] and `intercept` V0 [V] with their u, `time` [s] of each."""

    conductance: F64
    u_conductance: F64
    intercept: F64
    u_intercept: F64
    time: F64

    @property
    def size(self) -> int:
        """Number of modulated hops."""
        return self.conductance.size


def level_means(bias: F64, current: F64, blanking: int) -> tuple[F64, F64, F64]:
    """(level [V], mean current [A], its u [A]) of every plateau of `bias` [V], without its first `blanking` samples.

    `current` [A], both (n,), before one hop. A plateau is a run of successive samples within 2 mV of each other; those
    shorter than the blanking and eight samples are left out. u allows for the correlation of neighbours by a filter.
    """
    edges = [0, *(np.flatnonzero(np.abs(np.diff(bias)) > _LEVEL_WIDTH) + 1).tolist(), bias.size]
    levels, means, us = [], [], []
    for a, b in pairwise(edges):
        first = a + blanking
        if b - first < _FEWEST:
            continue
        values = current[first:b]
        mean, u = mean_with_u(values)
        levels.append(float(bias[first:b].mean()))
        means.append(mean)
        us.append(u * independent_share(values - mean) ** -0.5)
    return np.array(levels), np.array(means), np.array(us)


def conductance_fit(level: F64, mean: F64, u: F64) -> tuple[float, float, float, float] | None:
    """(G [S], u, V0 [V], u) of I = G (V - V0), weighted by 1/u²; None with fewer than two levels or no slope.

    `level` [V], `mean` [A], `u` [A], (levels,). Assumes that one G holds for all levels: electro-osmosis and
    rectification make G depend on the sign of the bias (a few per cent, up to 17 mV of V0), which is not in u.
    Report changes against open circuit.
    """
    if level.size < 2 or np.ptp(level) < 2.0 * _LEVEL_WIDTH:
        return None
    line = straight_line(level, mean, np.maximum(u, 1e-30))
    return (line.slope, line.u_slope, *line.zero()) if line.slope else None


def modulation_results(series: ConductanceSeries, levels: Sequence[float], bad: int = 0) -> list[Result]:
    """Median conductance and intercept over the hops, and their changes from first to last.

    `levels` [V] that were applied before every hop; `bad` hops without a fit are counted. Fails with a named outcome
    where no hop had two levels.
    """
    method = "I = G (V - V0) through the mean currents at the levels before each hop, blanked"
    flags = {"without_fit": bad}
    if not series.size:
        reason = "no hop has plateaus of two levels longer than the blanking: dwell longer"
        return [failed("conductance", "nS", method, "no levels", reason)]
    trace = xr.Dataset(
        {
            "conductance": ("hop", series.conductance),
            "u_conductance": ("hop", series.u_conductance),
            "intercept": ("hop", series.intercept),
            "u_intercept": ("hop", series.u_intercept),
        },
        coords={"t": ("hop", series.time)},
        attrs={"units": "S, V", "levels": list(levels)},
    )
    results = []
    for name, change_name, values, us, unit, scale in (
        ("conductance", "conductance_change", series.conductance, series.u_conductance, "nS", 1e9),
        ("intercept_potential", "intercept_potential_change", series.intercept, series.u_intercept, "mV", 1e3),
    ):
        u_single = float(np.sqrt(np.mean(us**2)))
        middle, u = median_with_u(values, u_single)
        median_method = f"{method}; median over {values.size}, u of one {u_single * scale:.3g} {unit}"
        results.append(Result(name, scale * middle, scale * u, unit, median_method, flags=flags, trace=trace))
        if values.size >= 2 * _FEWEST:
            n = max(values.size // 10, 3)
            (last, u_last), (begin, u_begin) = mean_with_u(values[-n:]), mean_with_u(values[:n])
            change, u_change = last - begin, float(np.hypot(u_last, u_begin))
            change_method = f"mean of the last {n} less mean of the first {n}"
            results.append(Result(change_name, scale * change, scale * u_change, unit, change_method, flags=flags))
    return results
