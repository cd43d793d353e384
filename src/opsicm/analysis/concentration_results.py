"""From the conductance of modulated places to the salt's concentration, by a calibration of the same levels."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.calibration import Calibration, calibrate, concentration
from opsicm.analysis.modulation import conductance_fit
from opsicm.analysis.result import Result, failed
from opsicm.errors import OutsideDomain

F64 = NDArray[np.float64]
NAME: Final = "concentration"
_NEAR: Final = 0.01  # [V] of a sweep either side of a level
_FEWEST: Final = 5
_BENT: Final = 3.0  # the second coefficient over its u, from which on a parabola is used
_METHOD: Final = "conductance at the levels, read backwards through the calibration of conductance against salt"


def no_calibration() -> Result:
    """What a modulated run says of the concentration alone."""
    reason = (
        "conductance alone knows no concentration: name runs of pipette_sweep in three or more baths, which reach the "
        "same levels, beside this run"
    )
    return failed(NAME, "mM", _METHOD, "no calibration", reason)


def conductance_at_levels(bias: F64, current: F64, levels: F64) -> float | None:
    """Conductance [S] that a current-voltage curve, `bias` [V] and `current` [A] (n,), has between the `levels` [V].

    The straight line through the mean currents within 10 mV of each level, as `conductance_fit` draws it through the
    levels of a modulation: the same few per cent of rectification are in both. None where a level was not swept.
    """
    means, us = [], []
    for level in levels:
        near = current[np.abs(bias - level) <= _NEAR]
        if near.size < _FEWEST:
            return None
        means.append(float(near.mean()))
        us.append(float(near.std(ddof=1)) / near.size**0.5)
    # One weight for all: the scatter about a level is mostly the slope itself.
    fit = conductance_fit(levels, np.array(means), np.full(len(means), max(us)))
    return None if fit is None else fit[0]


def conductance_calibration(c: F64, conductance: F64, pipette: NDArray[np.int64]) -> Calibration:
    """Line of `conductance` [S] on `c` [mol/m³], (n,), of numbered pipettes; a parabola where it is clearly bent.

    Fails (`OutsideDomain`) as `calibrate` does.
    """
    line = calibrate(c, conductance, 1, pipette)
    try:
        curve = calibrate(c, conductance, 2, pipette)
    except OutsideDomain:
        return line
    bent = abs(float(curve.coefficients[2])) > _BENT * float(curve.covariance[2, 2]) ** 0.5
    return curve if bent else line


def concentration_results(calibration: Calibration, places: xr.Dataset) -> list[Result]:
    """Median concentration over modulated places, its change from first to last, and the sensitivity that u hangs on.

    `places`: `conductance`, `u_conductance` [S] over `place` with `t` [s], as the trace of `modulation_results` has
    them. u of the median: the calibration's band and the pipettes' spread, common to all places, and the places' own
    scatter over sqrt(n). In a change the common part cancels to first order and is left out. A place where
    d ln G/d ln c is too small, or whose conductance lies outside the calibrated range, is counted and left out; fewer
    than half of them left gives "not identifiable". Assumes the same kind of pipette as in the calibration.
    """
    g, u_g = places["conductance"].values, places["u_conductance"].values
    found = [concentration(calibration, float(a), float(b)) for a, b in zip(g, u_g, strict=True)]
    good = np.array([one.value is not None for one in found], dtype=bool)
    flags = {"places_not_identifiable": int((~good).sum())}
    sensitivity = np.array([one.sensitivity for one in found])
    middle = float(np.median(sensitivity))
    said = "d ln G/d ln c of the calibration, median over the places; u: their scatter. Below 0.05 nothing is inverted"
    results = [
        Result("concentration_sensitivity", middle, 1.4826 * float(np.median(np.abs(sensitivity - middle))), "1", said)
    ]
    kind = f"{_METHOD}, of degree {calibration.degree} through {calibration.c.size} points"
    if 2 * int(good.sum()) < good.size:
        reason = next(one.reason for one in found if one.value is None)
        reason = f"{int((~good).sum())} of {good.size} places: {reason}"
        return [failed(NAME, "mM", kind, "not identifiable", reason), *results]
    c = np.array([np.nan if one.value is None else one.value for one in found])
    # What a single place adds of its own, without what all of them share.
    slope = np.abs(np.asarray(calibration.slope(c)))
    own = u_g / slope
    level = float(np.nanmedian(c))
    common = concentration(calibration, float(np.median(g[good])))
    shared = common.u if common.u is not None else 0.0
    spread = 1.2533 * 1.4826 * float(np.nanmedian(np.abs(c - level)))
    n = int(good.sum())
    u = float(np.hypot(shared, max(spread, float(np.nanmedian(own))) / n**0.5))
    trace = xr.Dataset(
        {"concentration": ("place", c), "u": ("place", own), "sensitivity": ("place", sensitivity)},
        coords={"t": ("place", places["t"].values)}, attrs={"units": "mol/m3", "u_common": shared},
    )  # fmt: skip
    method = f"{kind}; median over {n} places, one of them {float(np.nanmedian(own)):.3g} mM of its own"
    first = [Result(NAME, level, u, "mM", method, flags=flags, trace=trace)]
    known = c[good]
    if n >= 2 * _FEWEST:
        m = max(n // 10, 3)
        change = float(known[-m:].mean() - known[:m].mean())
        u = float(np.hypot(known[-m:].std(ddof=1), known[:m].std(ddof=1))) / m**0.5
        said = f"mean of the last {m} places less mean of the first {m}; the calibration's own u left out"
        first.append(Result("concentration_change", change, u, "mM", said, flags=flags))
    return [*first, *results]
