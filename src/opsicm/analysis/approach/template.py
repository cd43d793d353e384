"""A template (relative current against distance on an even grid) and its least-squares fit to every approach.

Any approach curve can be tabulated. The fit is Gauss-Newton for bulk current and surface position, compiled to run as
fast as the samples can be read: blocks of 64 samples, eight partial sums side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem

F64 = NDArray[np.float64]
# Cubic Hermite pieces of 1 nm: on 1/d curves their error is h^4/(16 d^4) of the drop, 1e-6 of it at 15 nm.
_STEP: Final = 1e-9
_RANGE: Final = 2.5e-6


@dataclass(frozen=True, slots=True)
class Template:
    """`table` [node, 2]: relative current [1] and its slope times `step` at (k + 1)·step [m]; `name` of the curve."""

    table: F64
    step: float
    name: str

    def relative_current(self, distance: F64) -> F64:
        """Relative current [1] at `distance` [m], any shape."""
        return _evaluate_all(np.ascontiguousarray(distance, dtype=np.float64).ravel(), self.table, self.step).reshape(
            np.shape(distance)
        )


def tabulate(
    curve: Callable[[F64], F64], name: str, step: float = _STEP, longest: float = _RANGE, scale: float = 1.0
) -> Template:
    """Tabulate `curve` (relative current [1] of distance [m], rising to 1) up to `longest` [m], stretched by `scale`.

    Between nodes cubic Hermite with central-difference slopes; below the first node (`step`) the first piece's line
    continues, beyond the last the drop decays as 1/d. `curve` may be finite elements, the hyperbola, or a measurement.
    Fails (`OutsideDomain`) where the curve is not finite or constant.
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


def hyperbola_template(C: float, longest: float = _RANGE) -> Template:
    """The hyperbola d/(d + C) as a template; `C` [m]."""
    return tabulate(lambda d: d / (d + C), f"hyperbola, C = {C * 1e9:.3g} nm", longest=longest)


@compiled
def evaluate(distance: float, table: F64, step: float) -> tuple[float, float]:
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
def _evaluate_all(distance: F64, table: F64, step: float) -> F64:
    out = np.empty_like(distance)
    for k in range(distance.size):
        out[k] = evaluate(distance[k], table, step)[0]
    return out


I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
# [m] Gauss-Newton stops below this step: it converges quadratically, so the next would be about 2 step²/d, 2e-3 nm at
# a distance of 34 nm.
_CONVERGED: Final = 2e-10
_LONGEST_STEP: Final = 20e-9  # [m] of one iteration: the curve steepens towards the sample, so a longer step overshoots
_BLOCK: Final = 64
_LANES: Final = 8


@compiled
def cubic_pieces(table: F64) -> F64:
    """Cubic coefficients [node, 4] of a template's pieces, constant first, in the fraction of a step."""
    out = np.empty((table.shape[0] - 1, 4))
    for j in range(out.shape[0]):
        p0, m0, p1, m1 = table[j, 0], table[j, 1], table[j + 1, 0], table[j + 1, 1]
        out[j, 0], out[j, 1] = p0, m0
        out[j, 2] = 3.0 * (p1 - p0) - 2.0 * m0 - m1
        out[j, 3] = 2.0 * (p0 - p1) + m0 + m1
    return out


@compiled
def fill_full_block(
    words: I32,
    first: int,
    stride: int,
    scales: F64,
    highest: float,
    bulk: float,
    z0: float,
    piece: F64,
    step: float,
    block: F64,
) -> bool:
    """Value, -d value/d(distance/step) and residual of 64 samples into `block` [3, 64].

    False where a sample lies outside the table or above `highest`: `block` is then invalid; use `fill_partial_block`.
    Nothing in the loop branches, so that the compiler turns it into vector instructions: a sample out of range is
    evaluated at the first node and only spoils the returned flag.
    """
    per_step, last = 1.0 / step, float(piece.shape[0])
    per_count, shift = scales[2] * per_step, (scales[3] - z0) * per_step - 1.0
    ceiling = (highest - z0) * per_step - 1.0
    whole = True
    for j in range(_BLOCK):
        word = np.int64(words[np.uint64(first + j * stride)])
        u = (word >> 16) * per_count + shift
        inside = (u > 0.0) & (u < last) & (u <= ceiling)
        whole &= inside
        u = u if inside else 0.0
        node = np.int64(u)
        w, row = u - node, np.uint64(node)
        c1, c2, c3 = piece[row, 1], piece[row, 2], piece[row, 3]
        value = piece[row, 0] + w * (c1 + w * (c2 + w * c3))
        block[0, j] = value
        block[1, j] = -(c1 + w * (2.0 * c2 + 3.0 * w * c3))
        block[2, j] = np.float64(np.int16(word)) * scales[0] + scales[1] - bulk * value
    return whole


@compiled
def fill_partial_block(
    words: I32,
    first: int,
    stride: int,
    count: int,
    scales: F64,
    highest: float,
    bulk: float,
    z0: float,
    table: F64,
    step: float,
    block: F64,
) -> int:
    """As `fill_full_block` for up to 64 samples at any height, zeros for the others; returns how many were used."""
    used = 0
    block[:] = 0.0
    for j in range(count):
        word = np.int64(words[np.uint64(first + j * stride)])
        z = (word >> 16) * scales[2] + scales[3]
        if z > highest:
            continue
        value, slope = evaluate(z - z0, table, step)
        block[0, used], block[1, used] = value, -slope * step
        block[2, used] = np.float64(np.int16(word)) * scales[0] + scales[1] - bulk * value
        used += 1
    return used


@compiled
def fit_one_approach(
    words: I32,
    begin: int,
    end: int,
    scales: F64,
    highest: float,
    bulk: float,
    z0: float,
    table: F64,
    piece: F64,
    step: float,
    block: F64,
    sums: F64,
) -> tuple[float, float, float, float, float, float, float, float]:
    """Least squares of I = bulk·T(z - z0) over the samples [begin, end) of one approach, by Gauss-Newton.

    `words` as `RawSamples.words`, `scales` (i scale, i offset, z scale, z offset); samples above `highest` [m] are left
    out. Start from `bulk` [A], `z0` [m]. `block` [3, 64] and `sums` [6, 8] are work arrays. Returns bulk, z0, inverse
    information (bulk bulk, bulk z0, z0 z0; to be times sigma²), residual sum of squares, samples used, iterations
    (0: not converged).

    The first pass takes every eighth sample, the second every fourth, the others all: far from the minimum a step needs
    no more, and an approach of thousands of samples then costs two full passes instead of four. Eight partial sums run
    side by side because each addition to a single sum would have to wait for the one before it.
    """
    b00 = b01 = b11 = residual_squares = 0.0
    used = 0
    first = begin
    while first < end - 1 and (words[first] >> 16) * scales[2] + scales[3] > highest:
        first += 1
    for iteration in range(25):
        stride = (8, 4)[iteration] if iteration < 2 and end - first > 1000 else 1
        samples = (end - first + stride - 1) // stride
        sums[:] = 0.0
        used = 0
        for b in range(0, samples, _BLOCK):
            first_word, count = first + b * stride, min(_BLOCK, samples - b)
            if count == _BLOCK and fill_full_block(
                words, first_word, stride, scales, highest, bulk, z0, piece, step, block
            ):
                used += _BLOCK
            else:
                used += fill_partial_block(
                    words, first_word, stride, count, scales, highest, bulk, z0, table, step, block
                )
            for j in range(0, _BLOCK, _LANES):
                for lane in range(_LANES):
                    v, d, r = block[0, j + lane], block[1, j + lane], block[2, j + lane]
                    sums[0, lane] += v * v
                    sums[1, lane] += v * d
                    sums[2, lane] += d * d
                    sums[3, lane] += v * r
                    sums[4, lane] += d * r
                    sums[5, lane] += r * r
        by_z0 = bulk / step
        s00, s01, s11 = sums[0].sum(), sums[1].sum() * by_z0, sums[2].sum() * by_z0 * by_z0
        g0, g1, residual_squares = sums[3].sum(), sums[4].sum() * by_z0, sums[5].sum()
        determinant = s00 * s11 - s01 * s01
        if used < 8 or not determinant > 1e-14 * s00 * s11:
            return bulk, z0, 0.0, 0.0, 0.0, residual_squares, float(used), 0.0
        b00, b01, b11 = s11 / determinant, -s01 / determinant, s00 / determinant
        d_bulk, d_z0 = b00 * g0 + b01 * g1, b01 * g0 + b11 * g1
        d_z0 = min(max(d_z0, -_LONGEST_STEP), _LONGEST_STEP)
        bulk += d_bulk
        z0 += d_z0
        if stride == 1 and abs(d_z0) < _CONVERGED:
            # The sum of squares is that before the last step; this is its change, exact for a linear model.
            return bulk, z0, b00, b01, b11, residual_squares - d_bulk * g0 - d_z0 * g1, float(used), iteration + 1.0
    return bulk, z0, b00, b01, b11, residual_squares, float(used), 0.0


@compiled
def fit_each_approach(
    words: I32, begin: I64, end: I64, scales: F64, highest: F64, start: F64, table: F64, step: float, out: F64
) -> None:
    """`fit_one_approach` for every hop: `highest` [hop], `start` [hop, 2], `out` [hop, 8]."""
    piece = cubic_pieces(table)
    block, sums = np.zeros((3, _BLOCK)), np.zeros((6, _LANES))
    for h in range(begin.size):
        fit = fit_one_approach(
            words, begin[h], end[h], scales, highest[h], start[h, 0], start[h, 1], table, piece, step, block, sums
        )
        for j in range(8):
            out[h, j] = fit[j]
