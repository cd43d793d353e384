"""A template: relative current against distance on an even grid, from any curve, for fits at the speed of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled
from opsicm.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]
# Cubic Hermite pieces of 1 nm: on 1/d curves their error is h^4/(16 d^4) of the drop, 1e-6 of it at 15 nm.
_STEP: Final = 1e-9
_LONGEST: Final = 2.5e-6


@dataclass(frozen=True, slots=True)
class Template:
    """`table` [node, 2]: relative current [1] and its slope times `step` at (k + 1)·step [m]; `name` says whose."""

    table: F64
    step: float
    name: str

    def over(self, distance: F64) -> F64:
        """Relative current [1] at `distance` [m], any shape."""
        return _over(np.ascontiguousarray(distance, dtype=np.float64).ravel(), self.table, self.step).reshape(
            np.shape(distance)
        )


def template(
    curve: Callable[[F64], F64], name: str, step: float = _STEP, longest: float = _LONGEST, scale: float = 1.0
) -> Template:
    """Tabulate `curve` (relative current [1] of distance [m], rising to 1) up to `longest` [m], stretched by `scale`.

    Between nodes cubic Hermite with central-difference slopes; below the first node (`step`) the first piece's line
    goes on, beyond the last the drop falls as 1/d. `curve` may be finite elements, the hyperbola, or a measurement.
    Fails (`OutsideDomain`) where the curve is not finite or nowhere rises.
    """
    d: F64 = step * np.arange(1, max(4, round(longest / step)) + 1, dtype=np.float64)
    eps = 1e-3 * step
    values = np.asarray(curve(d / scale), dtype=np.float64)
    ahead, behind = np.asarray(curve((d + eps) / scale)), np.asarray(curve((d - eps) / scale))
    slopes = (ahead - behind) * (step / (2.0 * eps))
    if not (np.isfinite(values).all() and np.isfinite(slopes).all()) or np.ptp(values) <= 0.0:
        raise OutsideDomain(
            Problem("template", name, "it must be finite and rise with distance", "give a curve of relative current")
        )
    return Template(np.ascontiguousarray(np.column_stack((values, slopes))), step, name)


def hyperbola_template(C: float, longest: float = _LONGEST) -> Template:
    """The hyperbola d/(d + C) as a template: `C` [m]."""
    return template(lambda d: d / (d + C), f"hyperbola, C = {C * 1e9:.3g} nm", longest=longest)


@compiled
def at(distance: float, table: F64, step: float) -> tuple[float, float]:
    """Template and its slope [1/m] at `distance` [m]."""
    u = distance / step - 1.0
    last = table.shape[0] - 1
    if u <= 0.0:
        return table[0, 0] + u * table[0, 1], table[0, 1] / step
    if u >= last:
        end = (last + 1.0) * step
        drop = (1.0 - table[last, 0]) * end / distance
        return 1.0 - drop, drop / distance
    k = int(u)
    t = u - k
    p0, m0, p1, m1 = table[k, 0], table[k, 1], table[k + 1, 0], table[k + 1, 1]
    a = 2.0 * (p0 - p1) + m0 + m1
    b = 3.0 * (p1 - p0) - 2.0 * m0 - m1
    return p0 + t * (m0 + t * (b + t * a)), (m0 + t * (2.0 * b + 3.0 * t * a)) / step


@compiled
def _over(distance: F64, table: F64, step: float) -> F64:
    out = np.empty_like(distance)
    for k in range(distance.size):
        out[k] = at(distance[k], table, step)[0]
    return out
