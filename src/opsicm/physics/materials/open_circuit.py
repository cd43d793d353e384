"""Open-circuit potential against stoichiometry x, from a measured table or from galleries.

A measured curve is digitised: it has noise, and a rise in it would make an equilibrium unstable. So points that rise
are pooled (isotonic regression, which changes nothing where the data already fall), a monotone cubic (PCHIP) joins
the nodes, and both ends continue as an equilibrium must: to +∞ as x → 0 and to −∞ as x → 1.

Where U is steep a digitised x has noise too, and a falling table turns it into waves of dx/dU: peaks of a voltammogram
that the material does not have. `dilute_below` replaces that end by one smooth branch fitted to its points.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq, isotonic_regression

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem

Floats = NDArray[np.float64]
_DILUTEST: Final = 1e-4  # [1] where the rows of a fitted dilute branch end
_DILUTE_RATIO: Final = 1.2  # of x between two of them: the cubic between errs by 4e-4 of the slope at most
UPPER_JOIN: Final = 0.995  # [1] stoichiometry where the site-exhaustion tail begins
THERMAL_VOLTAGE: Final = 0.0256926  # [V] RT/F at 298.15 K: entropy of the last sites, width of a gallery


def ocp_curve(stoichiometry: ArrayLike, potential: ArrayLike, dilute_below: float = 0.0) -> Floats:
    """Rows (x, U [V], dU/dx [V]) of a strictly falling cubic through a measured curve; shape [n, 3].

    `stoichiometry` [1] rises strictly and lies in 0–1; `potential` [V vs Li/Li⁺]. A first point at x = 0 is dropped:
    U has no finite value there. With `dilute_below` [1] the points below the last one that does not exceed it give way
    to `dilute_branch`; 0 keeps them all. Fails (raises) with fewer than four points after pooling, or without three
    below the join.
    """
    x, u = np.asarray(stoichiometry, dtype=np.float64), np.asarray(potential, dtype=np.float64)
    if x.ndim != 1 or x.shape != u.shape or not np.all(np.diff(x) > 0.0) or x[0] < 0.0 or x[-1] > 1.0:
        limit = "stoichiometry rises strictly within 0–1, one potential for each"
        raise OutsideDomain(Problem("open_circuit_potential", f"{x.size} rows", limit, "sort and clean the table"))
    keep = (x > 0.0) & (x < 1.0)
    x, u = x[keep], u[keep]
    pooled = isotonic_regression(u, increasing=False)
    starts = pooled.blocks[:-1]
    nodes = np.array([x[a:b].mean() for a, b in zip(starts, pooled.blocks[1:], strict=True)])
    values = np.asarray(pooled.x)[starts]
    if nodes.size < 4:
        raise OutsideDomain(Problem("open_circuit_potential", f"{nodes.size} falling points", "at least 4", "add some"))
    cubic = PchipInterpolator(nodes, values)
    inside = np.append(nodes[nodes < UPPER_JOIN], min(UPPER_JOIN, nodes[-1]))
    inside = np.unique(inside)
    slopes = np.minimum(cubic.derivative()(inside), -1e-4)  # a flat stage would leave the Newton step without a slope
    rows = np.column_stack([inside, cubic(inside), slopes])
    if dilute_below <= 0.0:
        return rows
    join = int(np.searchsorted(inside, dilute_below, side="right")) - 1
    if join < 3 or join > inside.size - 2:
        limit = (
            f"the table has points from x = {inside[0]:.3g} to {inside[-1]:.3g}, and three at least lie below the join"
        )
        remedy = "give a stoichiometry inside, or 0 to keep the table as it is"
        raise OutsideDomain(Problem("open_circuit_dilute_below", f"{dilute_below:g}", limit, remedy))
    below = x < inside[join]
    return np.vstack([dilute_branch(x[below], u[below], rows[join]), rows[join:]])


def dilute_branch(stoichiometry: Floats, potential: Floats, join: Floats) -> Floats:
    """Rows (x, U, dU/dx) of U = U_j + b ln(x/x_j) + q ln²(x/x_j), b = x_j U_j', up to the row `join` (left out).

    The first two terms are the isotherm of sites whose energies are spread exponentially, by −b (Freundlich's; 25.7 meV
    would be sites that are all alike, carbons show 200 meV); the third lets the spread change with the filling. Value
    and slope at the join are the table's, so that q ≥ 0 alone is fitted, by least squares in U to the points below it
    (`stoichiometry` [1], `potential` [V], both [n]). −dx/dU = x/(−b − 2q ln(x/x_j)) rises with x for every such b and
    q: one branch, no peak. Fails where sites of another kind fill below the join: it smooths them away.
    """
    x_join, u_join, slope = join
    b = x_join * slope
    L = np.log(stoichiometry / x_join)
    q = max(0.0, float((potential - u_join - b * L) @ L**2 / (L**2 @ L**2)))
    count = int(np.ceil(np.log(x_join / _DILUTEST) / np.log(_DILUTE_RATIO)))
    L = np.log(_DILUTEST / x_join) * np.arange(count, 0, -1) / count
    x = x_join * np.exp(L)
    return np.column_stack([x, u_join + b * L + q * L**2, (b + 2.0 * q * L) / x])


@compiled
def ocp_and_slope(x: float, curve: Floats) -> tuple[float, float]:
    """U(x) [V] and dU/dx [V] for 0 < x < 1 on the rows of `ocp_curve`.

    Below the first node U = U₁ + x₁U₁' ln(x/x₁), continuous in slope: the dilute limit's logarithm with the table's
    own last slope. Above the last node x_n the entropy of the last sites is added to the table's straight
    continuation, U = U_n + U_n'(x − x_n) + (RT/F)[ln((1−x)/(1−x_n)) + (x−x_n)/(1−x_n)], again continuous in slope.
    Both are stated extrapolations, not data.
    """
    last = curve.shape[0] - 1
    if x <= curve[0, 0]:
        log_slope = curve[0, 0] * curve[0, 2]
        return curve[0, 1] + log_slope * np.log(x / curve[0, 0]), log_slope / x
    if x >= curve[last, 0]:
        free, d = 1.0 - curve[last, 0], x - curve[last, 0]
        value = curve[last, 1] + curve[last, 2] * d + THERMAL_VOLTAGE * (np.log((1.0 - x) / free) + d / free)
        return value, curve[last, 2] + THERMAL_VOLTAGE * (1.0 / free - 1.0 / (1.0 - x))
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if curve[middle, 0] <= x:
            low = middle
        else:
            high = middle
    h = curve[high, 0] - curve[low, 0]
    s = (x - curve[low, 0]) / h
    rise = curve[high, 1] - curve[low, 1]
    a = h * curve[low, 2] - rise
    b = rise - h * curve[high, 2]
    value = curve[low, 1] + s * rise + s * (1.0 - s) * (a * (1.0 - s) + b * s)
    slope = (rise + (1.0 - 2.0 * s) * (a * (1.0 - s) + b * s) + s * (1.0 - s) * (b - a)) / h
    return value, slope


def open_circuit_potential(x: ArrayLike, curve: Floats) -> Floats:
    """U [V vs Li/Li⁺] at stoichiometry `x` in (0, 1), any shape, on the rows of `ocp_curve`."""
    points = np.asarray(x, dtype=np.float64)
    if points.size and not (points.min() > 0.0 and points.max() < 1.0):
        value = f"{points.min():g} … {points.max():g}"
        raise OutsideDomain(Problem("stoichiometry", value, "it lies in 0 < x < 1", "clip the grid"))
    return np.array([ocp_and_slope(float(p), curve)[0] for p in points.ravel()]).reshape(points.shape)


def stoichiometry_at(potential: float, curve: Floats) -> float:
    """x at rest at `potential` [V vs Li/Li⁺]; raises where even the extrapolated curve does not reach."""
    low, high = 1e-12, 1.0 - 1e-12
    top, bottom = ocp_and_slope(low, curve)[0], ocp_and_slope(high, curve)[0]
    if not bottom <= potential <= top:
        limit = f"the open-circuit curve spans {bottom:.3f} to {top:.3f} V"
        raise OutsideDomain(Problem("rest potential", f"{potential:g} V", limit, "choose a potential inside"))
    # Solved in ln(x/(1−x)): near 1.7 V x of graphite is 1e-3 and below, where a bisection in x would lose digits.
    logit = brentq(
        lambda q: ocp_and_slope(1.0 / (1.0 + np.exp(-q)), curve)[0] - potential, np.log(low), -np.log(low), xtol=1e-13
    )
    return float(1.0 / (1.0 + np.exp(-logit)))


def gallery_stoichiometry(potential: ArrayLike, galleries: ArrayLike) -> Floats:
    """x = Σ_j x_j / Σ_j X_j at `potential` [V], x_j = X_j / (1 + exp((U − U⁰_j)/(ω_j V_T))): the MSMR form.

    `galleries` [n, 3] are rows U⁰ [V], share X [1], width ω [1]. Assumes independent galleries that exchange lithium
    freely; ω < 1 is a phase transition, ω > 1 a solid solution. Fails where staging has hysteresis. Source: Verbrugge
    et al., J. Electrochem. Soc. 164 (2017) E3243, equation 5.
    """
    U, (standard, share, width) = np.atleast_1d(np.asarray(potential, dtype=np.float64)), np.asarray(galleries).T
    exponent = (U[None, :] - standard[:, None]) / (width[:, None] * THERMAL_VOLTAGE)
    occupied = share[:, None] / (1.0 + np.exp(np.clip(exponent, -500.0, 500.0)))
    return np.asarray(occupied.sum(axis=0) / share.sum())


def gallery_curve(galleries: ArrayLike) -> Floats:
    """The rows of `ocp_curve` for `galleries`, sampled every 0.5 mV from 1.7 V above the highest to 0.3 V below all."""
    rows = np.asarray(galleries, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 3 or not (rows[:, 1:] > 0.0).all():
        limit = "galleries are rows of U⁰, share X > 0, width ω > 0"
        raise OutsideDomain(Problem("open_circuit_potential", str(rows.shape), limit, "give one row for each gallery"))
    U = np.arange(rows[:, 0].max() + 1.7, rows[:, 0].min() - 0.3, -5e-4)
    x = gallery_stoichiometry(U, rows)
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(x)) > 0.0]) & (x < 0.99999)
    return ocp_curve(x[keep], U[keep])
