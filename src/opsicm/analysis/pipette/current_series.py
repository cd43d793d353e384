"""A recording of the pipette current against time alone: its level, noise and drift, of each state of the pipette."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.hops.change_points import ChangePoint, change_points, states
from opsicm.analysis.hops.state_changes import drift_result, level_result, state_change_results
from opsicm.analysis.result import Result, failed
from opsicm.core.statistics import scatter_with_u

F64 = NDArray[np.float64]
_FEWEST: Final = 20
_MOST: Final = 20_000  # means that a longer recording is searched in
_RANGE: Final = 0.5  # of the range from the 5th to the 95th percentile: 1.6 sigmas of white noise
_NAME: Final = "pipette_current"


def current_results(t: F64, current: F64, bias: float | None = None) -> list[Result]:
    """Level [pA], noise [pA], drift [%] of a pipette current, and its resistance where `bias` [V] is known.

    `t` [s], `current` [A], (n,), in order of time, NaN where nothing was recorded. Where the current passes from one
    level to another (`change_points`), the change comes first, with its time, and the rest is of each state. Above
    20 000 samples the changes are searched in means of neighbours. Fails with a named outcome where there are too few
    samples, or the current is one number.
    """
    method = "samples of a recording of the current against time"
    known = np.isfinite(t) & np.isfinite(current)
    t, i = t[known], current[known]
    if i.size < _FEWEST:
        return [failed(_NAME, "pA", method, "too few points", f"{i.size} samples; {_FEWEST} are needed")]
    if np.ptp(i) == 0.0:
        return [failed(_NAME, "pA", method, "constant current", "every current is the same: look at the channel")]
    changes = _changes(i)
    times = None if np.any(np.diff(t) <= 0.0) else t
    trace = xr.Dataset({"I": ("row", i)}, coords={} if times is None else {"row_t": ("row", t)})
    results = state_change_results(changes, "current_jump", "pipette current", "row", times, np.flatnonzero(known) + 1)
    for number, state in enumerate(states(i.size, changes), start=1):
        of_state = _state_results(i[state], bias, method)
        results += [r.within(part="state", number=number) for r in of_state] if changes else of_state
    results.append(
        Result("samples", float(i.size), 0.0, "1", method, flags={"missing": int((~known).sum())}, trace=trace)
    )
    return results


def _changes(i: F64) -> list[ChangePoint]:
    """The changes of a recording, in means of neighbours, larger than what these means usually range over.

    A recording while the pipette hops goes up and down with every hop: that is no state of the tip.
    """
    group = -(-i.size // _MOST)
    whole = i.size // group * group
    means = i[:whole].reshape(-1, group).mean(axis=1)
    found = change_points(means)
    about = np.concatenate([means[state] - np.median(means[state]) for state in states(means.size, found)])
    usual = float(np.ptp(np.quantile(about, (0.05, 0.95))))
    kept = [c for c in found if abs(c.after - c.before) > _RANGE * usual]
    changes = []
    for c in kept:
        start, index = c.start * group, c.index * group
        if group > 1 and start == index:
            # To the sample: where the means on either side differ most.
            first = max(start - 2 * group, 0)
            near = i[first : start + 2 * group] - float(i[first : start + 2 * group].mean())
            sums, left = np.cumsum(near)[:-1], np.arange(1.0, near.size)
            start = index = first + 1 + int(np.argmax(sums**2 / (left * (near.size - left))))
        changes.append(ChangePoint(start, index, c.before, c.after, c.u_before, c.u_after))
    return changes


def _state_results(i: F64, bias: float | None, method: str) -> list[Result]:
    if i.size < _FEWEST:
        return [failed(_NAME, "pA", method, "too few points", f"{i.size} samples between two changes")]
    results = [level_result(_NAME, 1e12 * i, "pA", "samples", {})]
    sigma, u = scatter_with_u(i)
    noise = "standard deviation of one sample, from second differences of successive ones"
    results.append(Result("current_noise", 1e12 * sigma, 1e12 * u, "pA", noise))
    results += drift_result("current_drift", i, "samples", {})
    middle = float(np.median(i))
    if bias is not None and middle != 0.0:
        level = results[0]
        ohm = 1e-6 * bias / middle
        relative = abs((level.u or 0.0) / (1e12 * middle))
        results.append(Result("pipette_resistance", ohm, abs(ohm) * relative, "MOhm", "bias over the median current"))
    return results
