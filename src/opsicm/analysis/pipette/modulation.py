"""Several pipette biases at one place: conductance G = dI/dV and the potential V0 at which no current flows."""

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
_SAME: Final = 2e-3  # [V] two samples of one level differ by less


@dataclass(frozen=True, slots=True)
class Modulated:
    """`conductance` [S] and `intercept` V0 [V] with their u, `time` [s] of each."""

    conductance: F64
    u_conductance: F64
    intercept: F64
    u_intercept: F64
    time: F64

    @property
    def size(self) -> int:
        """How many places or moments were modulated."""
        return self.conductance.size


def level_means(bias: F64, current: F64, blanking: int) -> tuple[F64, F64, F64]:
    """(level [V], mean current [A], its u [A]) of every plateau of `bias` [V], without its first `blanking` samples.

    `current` [A], both (n,), of one place. A plateau is a run of samples that follow each other within 2 mV; those
    shorter than the blanking and eight samples are left out. u counts neighbours' correlation, as a filter leaves it.
    """
    edges = [0, *(np.flatnonzero(np.abs(np.diff(bias)) > _SAME) + 1).tolist(), bias.size]
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
    rectification make G depend on the sign of the bias (a few per cent, up to 17 mV of V0), which no u here contains.
    Report changes against open circuit.
    """
    if level.size < 2 or np.ptp(level) < 2.0 * _SAME:
        return None
    line = straight_line(level, mean, np.maximum(u, 1e-30))
    return (line.slope, line.u_slope, *line.zero()) if line.slope else None


def modulation_results(found: Modulated, levels: Sequence[float], bad: int = 0) -> list[Result]:
    """Median conductance and intercept over the places, their changes from first to last, and what one of them knows.

    `levels` [V] that every place was stepped through; `bad` places without a fit are counted. Fails with a named
    outcome where no place had two levels.
    """
    method = "I = G (V - V0) through the mean currents at the levels of each place, blanked"
    flags = {"without_fit": bad}
    if not found.size:
        reason = "no place has plateaus of two levels longer than the blanking: dwell longer"
        return [failed("conductance", "nS", method, "no levels", reason)]
    trace = xr.Dataset(
        {
            "conductance": ("place", found.conductance),
            "u_conductance": ("place", found.u_conductance),
            "intercept": ("place", found.intercept),
            "u_intercept": ("place", found.u_intercept),
        },
        coords={"t": ("place", found.time)},
        attrs={"units": "S, V", "levels": list(levels)},
    )
    results = []
    for name, values, us, unit, scale in (
        ("conductance", found.conductance, found.u_conductance, "nS", 1e9),
        ("intercept_potential", found.intercept, found.u_intercept, "mV", 1e3),
    ):
        own = float(np.sqrt(np.mean(us**2)))
        middle, u = median_with_u(values, own)
        said = f"{method}; median over {values.size}, u of one {own * scale:.3g} {unit}"
        results.append(Result(name, scale * middle, scale * u, unit, said, flags=flags, trace=trace))
        if values.size >= 2 * _FEWEST:
            n = max(values.size // 10, 3)
            (last, u_last), (begin, u_begin) = mean_with_u(values[-n:]), mean_with_u(values[:n])
            change, u_change = last - begin, float(np.hypot(u_last, u_begin))
            said = f"mean of the last {n} less mean of the first {n}"
            results.append(Result(f"{name}_change", scale * change, scale * u_change, unit, said, flags=flags))
    return results
