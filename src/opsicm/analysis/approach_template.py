"""A template: relative current against distance on an even grid, from any curve, for fits at the speed of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled
from opsicm.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]
# Cubic Hermite pieces of 1 nm: on 1/d curves their error is h^4/(16 d^4) of the drop, 1e-6 of it at 15 nm.
_STEP: Final = 1e-9
_LONGEST: Final = 2.5e-6
# [m] the last step of Gauss-Newton: it converges quadratically, the next would be about 2 step²/d, 2e-4 nm at 34 nm.
_CONVERGED: Final = 5e-11


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


@compiled
def fit_fall(
    current: Any, height: Any, begin: int, end: int, i_scale: float, i_offset: float, z_scale: float, z_offset: float,
    highest: float, bulk: float, z0: float, table: F64, step: float, nearest: float,
) -> tuple[float, float, float, float, float, float, float, float]:  # fmt: skip
    """Gauss-Newton for (bulk current, z0) of one fall: least squares of I = bulk·T(z - z0) over samples [begin, end).

    `current`, `height` are 1-D arrays (counts or SI with their scales); samples above `highest` [m] are left out.
    Start from `bulk` [A], `z0` [m]. Two passes over every eighth sample, then over all until z0 moves by less than
    5e-11 m. Returns bulk, z0, inverse information (bulk bulk, bulk z0, z0 z0; to be times sigma²), residual sum of
    squares, samples used, iterations (0: not converged).
    """
    done = 0
    b00 = b01 = b11 = rest = 0.0
    used = 0
    per_step, last = 1.0 / step, float(table.shape[0] - 1)
    first = begin
    while first < end - 1 and height[first] * z_scale + z_offset > highest:
        first += 1
    for iteration in range(25):
        stride = 8 if iteration < 2 and end - first > 1000 else 1
        s00 = s01 = s11 = g0 = g1 = rest = 0.0
        used = 0
        for k in range(first, end, stride):
            z = height[k] * z_scale + z_offset
            if z > highest:
                continue
            u = (z - z0) * per_step - 1.0
            if 0.0 < u < last:
                # The piece itself, here: a call that returns the slope in 1/m would divide twice per sample.
                j = int(u)
                w = u - j
                row = np.uint64(j)
                p0, m0 = table[row, 0], table[row, 1]
                p1, m1 = table[row + np.uint64(1), 0], table[row + np.uint64(1), 1]
                c3 = 2.0 * (p0 - p1) + m0 + m1
                c2 = 3.0 * (p1 - p0) - 2.0 * m0 - m1
                value = p0 + w * (m0 + w * (c2 + w * c3))
                by_z0 = -bulk * per_step * (m0 + w * (2.0 * c2 + 3.0 * w * c3))
            else:
                value, slope = at(z - z0, table, step)
                by_z0 = -bulk * slope
            r = current[k] * i_scale + i_offset - bulk * value
            s00 += value * value
            s01 += value * by_z0
            s11 += by_z0 * by_z0
            g0 += value * r
            g1 += by_z0 * r
            rest += r * r
            used += 1
        determinant = s00 * s11 - s01 * s01
        if used < 8 or not determinant > 1e-14 * s00 * s11:
            return bulk, z0, 0.0, 0.0, 0.0, rest, float(used), 0.0
        b00, b01, b11 = s11 / determinant, -s01 / determinant, s00 / determinant
        d_bulk, d_z0 = b00 * g0 + b01 * g1, b01 * g0 + b11 * g1
        # The curve steepens towards the sample: a long step towards it overshoots.
        d_z0 = min(max(d_z0, -nearest), nearest)
        bulk += d_bulk
        z0 += d_z0
        if stride == 1 and abs(d_z0) < _CONVERGED:
            # The sum of squares belongs to the point before the last step, whose change is at most (0.05 nm/u)² sigma².
            done = iteration + 1
            break
    return bulk, z0, b00, b01, b11, rest, float(used), float(done)


@compiled
def fit_falls(
    counts: NDArray[np.int16], current: int, height: int, begin: NDArray[np.int64], end: NDArray[np.int64],
    scales: F64, highest: F64, start: F64, table: F64, step: float, out: F64,
) -> None:  # fmt: skip
    """`fit_fall` for every hop: `start` [hop, 2], `scales` (i scale, i offset, z scale, z offset), `out` [hop, 8]."""
    for h in range(begin.size):
        found = fit_fall(
            counts[:, current], counts[:, height], begin[h], end[h], scales[0], scales[1], scales[2], scales[3],
            highest[h], start[h, 0], start[h, 1], table, step, 20e-9,
        )  # fmt: skip
        for j in range(8):
            out[h, j] = found[j]
