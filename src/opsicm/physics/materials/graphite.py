"""Graphite's open-circuit potential against stoichiometry x in LixC6, from measured tables.

A measured curve is digitised: it has noise, and a rise in it would make an equilibrium unstable. So points that rise
are pooled (isotonic regression, which changes nothing where the data already fall), a monotone cubic (PCHIP) joins
the nodes, and both ends continue as an equilibrium must: to +∞ as x → 0 and to −∞ as x → 1.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq, isotonic_regression

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.materials.swelling import VOLUME_CHANGE, VOLUME_STOICHIOMETRY
from opsicm.physics.tables import load_table

Floats = NDArray[np.float64]
OCP_TABLES: Final = ("ecker-2015", "chen-2020", "ai-2020")
UPPER_JOIN: Final = 0.995  # [1] stoichiometry where the site-exhaustion tail begins
TAIL_VOLTAGE: Final = 0.0256926  # [V] RT/F at 298.15 K: entropy of the last sites


def ocp_curve(stoichiometry: ArrayLike, potential: ArrayLike) -> Floats:
    """Rows (x, U [V], dU/dx [V]) of a strictly falling cubic through a measured curve; shape [n, 3].

    `stoichiometry` [1] rises strictly and lies in 0–1; `potential` [V vs Li/Li⁺]. A first point at x = 0 is dropped:
    U has no finite value there. Fails (raises) with fewer than four points after pooling.
    """
    x, u = np.asarray(stoichiometry, dtype=np.float64), np.asarray(potential, dtype=np.float64)
    if x.ndim != 1 or x.shape != u.shape or not np.all(np.diff(x) > 0.0) or x[0] < 0.0 or x[-1] > 1.0:
        limit = "stoichiometry rises strictly within 0–1, one potential for each"
        raise OutsideDomain(Problem("open-circuit curve", f"{x.size} rows", limit, "sort and clean the table"))
    keep = (x > 0.0) & (x < 1.0)
    x, u = x[keep], u[keep]
    pooled = isotonic_regression(u, increasing=False)
    starts = pooled.blocks[:-1]
    nodes = np.array([x[a:b].mean() for a, b in zip(starts, pooled.blocks[1:], strict=True)])
    values = np.asarray(pooled.x)[starts]
    if nodes.size < 4:
        raise OutsideDomain(Problem("open-circuit curve", f"{nodes.size} falling points", "at least 4", "add points"))
    cubic = PchipInterpolator(nodes, values)
    inside = np.append(nodes[nodes < UPPER_JOIN], min(UPPER_JOIN, nodes[-1]))
    inside = np.unique(inside)
    slopes = np.minimum(cubic.derivative()(inside), -1e-4)  # a flat stage would leave the Newton step without a slope
    return np.column_stack([inside, cubic(inside), slopes])


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
        value = curve[last, 1] + curve[last, 2] * d + TAIL_VOLTAGE * (np.log((1.0 - x) / free) + d / free)
        return value, curve[last, 2] + TAIL_VOLTAGE * (1.0 / free - 1.0 / (1.0 - x))
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


@cache
def measured_ocp(name: str = "ecker-2015") -> Floats:
    """The rows of a measured curve by name: `ecker-2015`, `chen-2020` or `ai-2020`."""
    if name not in OCP_TABLES:
        known = ", ".join(OCP_TABLES)
        raise OutsideDomain(Problem("open-circuit curve", repr(name), f"known: {known}", "name one or give a table"))
    table = load_table("graphite_ocp_" + name.replace("-", "_"))
    x, u = table["stoichiometry"], table["ocp_V"]
    if name == "ai-2020":  # its first two rows, 3.5 and 3 V, are PyBaMM's guard against extrapolation, not data
        x, u = x[2:], u[2:]
    if name == "chen-2020":
        x, u = x[1:], u[1:]
    rows = ocp_curve(x, u)
    rows.setflags(write=False)
    return rows


def open_circuit_potential(x: ArrayLike, curve: Floats | str = "ecker-2015") -> Floats:
    """U [V vs Li/Li⁺] at stoichiometry `x` in (0, 1), any shape; `curve` a name or rows of `ocp_curve`."""
    rows = measured_ocp(curve) if isinstance(curve, str) else curve
    points = np.asarray(x, dtype=np.float64)
    if points.size and not (points.min() > 0.0 and points.max() < 1.0):
        value = f"{points.min():g} … {points.max():g}"
        raise OutsideDomain(Problem("stoichiometry", value, "it lies in 0 < x < 1", "clip the grid"))
    return np.array([ocp_and_slope(float(p), rows)[0] for p in points.ravel()]).reshape(points.shape)


def stoichiometry_at(potential: float, curve: Floats | str = "ecker-2015") -> float:
    """x at rest at `potential` [V vs Li/Li⁺]; raises where even the extrapolated curve does not reach."""
    rows = measured_ocp(curve) if isinstance(curve, str) else curve
    low, high = 1e-12, 1.0 - 1e-12
    top, bottom = ocp_and_slope(low, rows)[0], ocp_and_slope(high, rows)[0]
    if not bottom <= potential <= top:
        limit = f"the open-circuit curve spans {bottom:.3f} to {top:.3f} V"
        raise OutsideDomain(Problem("rest potential", f"{potential:g} V", limit, "choose a potential inside"))
    # Solved in ln(x/(1−x)): near 1.7 V x is 1e-3 and below, where a bisection in x would lose digits.
    logit = brentq(
        lambda q: ocp_and_slope(1.0 / (1.0 + np.exp(-q)), rows)[0] - potential, np.log(low), -np.log(low), xtol=1e-13
    )
    return float(1.0 / (1.0 + np.exp(-logit)))


# -- Which stages graphite is made of at a stoichiometry.


STAGES: Final = ("1L", "4L", "3L", "2L", "2", "1")  # pure at x = 0, 0.12, 0.18, 0.24, 0.5, 1


def stage_fractions(x: ArrayLike, *, hysteresis: float = 0.0, lithiating: bool = True) -> Floats:
    """Fraction of each of `STAGES` [6, *x.shape] by the lever rule between neighbouring stages; they sum to 1.

    `hysteresis` [1] shifts the stages between the two ends to greater x while lithiating and to smaller x while
    delithiating, by half of it each way: the ordered stages 2L and 2 form late and leave late (Dahn, Phys. Rev. B 44
    (1991) 9170). With 0 the lithium content Σ f_k x_k is x; with hysteresis it is not, for x is then the mean of a
    distribution that this form does not resolve. Fails in the solid solution of stage 1L, which it calls a mixture.
    """
    points = np.asarray(x, dtype=np.float64)
    gap = float(np.diff(VOLUME_STOICHIOMETRY).min())
    if not 0.0 <= hysteresis < 2.0 * gap:
        limit = f"0 ≤ hysteresis < {2 * gap:g}, or stages change order with the ends"
        raise OutsideDomain(Problem("staging hysteresis", f"{hysteresis:g}", limit, "choose a smaller one"))
    if points.size and not (points.min() >= 0.0 and points.max() <= 1.0):
        value = f"{points.min():g} … {points.max():g}"
        raise OutsideDomain(Problem("stoichiometry", value, "it lies in 0–1", "clip it"))
    nodes = VOLUME_STOICHIOMETRY.copy()
    nodes[1:-1] += 0.5 * hysteresis if lithiating else -0.5 * hysteresis
    return np.stack([np.interp(points, nodes, row) for row in np.eye(nodes.size)])


def volume_of_stages(fractions: Floats) -> Floats:
    """Relative volume change [1] of a mixture of stages: Σ f_k v_k; that of `swelling` without hysteresis."""
    return np.asarray(np.tensordot(VOLUME_CHANGE, fractions, axes=1))
