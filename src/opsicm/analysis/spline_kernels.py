"""Compiled evaluation of a bicubic spline at a whole image's pixels, all moved by one fraction of a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from opsicm.compiled import compiled

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@compiled
def spline_and_slopes(coefficients: F64, rows: I64, by_row: F64, columns: I64, by_column: F64) -> tuple[F64, F64, F64]:
    """Value and slopes along rows and columns, (ny, nx), of the B-spline `coefficients` (any unit).

    `rows` (4, ny), `columns` (4, nx) are the coefficients under each pixel; `by_row`, `by_column` (2, 4) their weights
    for value and slope. One pass along the columns, one along the rows, instead of sixteen products a pixel.
    """
    ny, nx = rows.shape[1], columns.shape[1]
    high = coefficients.shape[0]
    along, sloped = np.empty((high, nx)), np.empty((high, nx))
    for i in range(high):
        for j in range(nx):
            value, slope = 0.0, 0.0
            for k in range(4):
                c = coefficients[i, columns[k, j]]
                value += by_column[0, k] * c
                slope += by_column[1, k] * c
            along[i, j] = value
            sloped[i, j] = slope
    value_of, down, across = np.empty((ny, nx)), np.empty((ny, nx)), np.empty((ny, nx))
    for i in range(ny):
        r0, r1, r2, r3 = rows[0, i], rows[1, i], rows[2, i], rows[3, i]
        for j in range(nx):
            a0, a1, a2, a3 = along[r0, j], along[r1, j], along[r2, j], along[r3, j]
            value_of[i, j] = by_row[0, 0] * a0 + by_row[0, 1] * a1 + by_row[0, 2] * a2 + by_row[0, 3] * a3
            down[i, j] = by_row[1, 0] * a0 + by_row[1, 1] * a1 + by_row[1, 2] * a2 + by_row[1, 3] * a3
            across[i, j] = (
                by_row[0, 0] * sloped[r0, j] + by_row[0, 1] * sloped[r1, j]
                + by_row[0, 2] * sloped[r2, j] + by_row[0, 3] * sloped[r3, j]
            )  # fmt: skip
    return value_of, down, across


@compiled
def line_residual(moved: F64, target: F64, w: F64) -> F64:
    """moved - c·target - b for the c, b of least squares with weights `w`, all (ny, nx)."""
    total, sum_t, sum_m = 1e-300, 0.0, 0.0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            total += w[i, j]
            sum_t += w[i, j] * target[i, j]
            sum_m += w[i, j] * moved[i, j]
    mean_t, mean_m = sum_t / total, sum_m / total
    spread, both = 0.0, 0.0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            away = target[i, j] - mean_t
            spread += w[i, j] * away * away
            both += w[i, j] * away * (moved[i, j] - mean_m)
    c = both / spread if spread > 0.0 else 1.0
    rest = np.empty(moved.shape)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            rest[i, j] = moved[i, j] - mean_m - c * (target[i, j] - mean_t)
    return rest


@compiled
def scale_of(rest: F64, weight: F64) -> float:
    """1.4826 times the median of |rest| over every second pixel each way that has a weight; 0 without any.

    A quarter of the pixels knows the median as well: the smoothing has made neighbours alike.
    """
    values = np.empty(((rest.shape[0] + 1) // 2) * ((rest.shape[1] + 1) // 2))
    n = 0
    for i in range(0, rest.shape[0], 2):
        for j in range(0, rest.shape[1], 2):
            if weight[i, j] > 0.0:
                values[n] = abs(rest[i, j])
                n += 1
    return 1.4826 * np.partition(values[:n], n // 2)[n // 2] if n > 0 else 0.0


@compiled
def biweight(rest: F64, weight: F64, limit: float) -> F64:
    """`weight`·(1 - (rest/limit)²)², 0 beyond `limit`: Tukey's weights, (ny, nx)."""
    w = np.empty(rest.shape)
    for i in range(rest.shape[0]):
        for j in range(rest.shape[1]):
            inside = 1.0 - (rest[i, j] / limit) ** 2
            w[i, j] = weight[i, j] * inside * inside if inside > 0.0 else 0.0
    return w


@compiled
def bounded_loss(rest: F64, weight: F64, limit: float) -> float:
    """Sum of weight·(1 - (1 - (rest/limit)²)³), 1 beyond `limit`: Tukey's loss."""
    total = 0.0
    for i in range(rest.shape[0]):
        for j in range(rest.shape[1]):
            inside = 1.0 - (rest[i, j] / limit) ** 2
            total += weight[i, j] * (1.0 - inside**3) if inside > 0.0 else weight[i, j]
    return total


@compiled
def normal_equations(down: F64, across: F64, target: F64, rest: F64, w: F64) -> tuple[F64, F64]:
    """Normal matrix (4, 4) and right side (4,) of a step in (dy, dx, c, b)."""
    normal, right = np.zeros((4, 4)), np.zeros(4)
    row = np.empty(4)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            one = w[i, j]
            if one == 0.0:
                continue
            row[0], row[1], row[2], row[3] = down[i, j], across[i, j], -target[i, j], -1.0
            for p in range(4):
                right[p] -= one * row[p] * rest[i, j]
                for q in range(p + 1):
                    normal[p, q] += one * row[p] * row[q]
    for p in range(4):
        for q in range(p):
            normal[q, p] = normal[p, q]
    return normal, right
