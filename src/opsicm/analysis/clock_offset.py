"""Offset and drift between the clocks of a cell's record and a pipette's, from the changes that both show.

The pipette's current depends on the cell: through the bias, which is measured against the cell's electrode, through the
ohmic drop of the cell's current in the bath, and through the salt that it moves. Whatever the mechanism, within one
record it is nearly a linear response, p(t) = a + b t + c t² + d E(t) + e I(t), whose coefficients are fitted at every
offset; the offset at which the cell explains most of the pipette's record is the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from opsicm.core.statistics import u_of_rectangle

F64 = NDArray[np.float64]
_POINTS: Final = 1500  # of the longer record in the search: its lags are as many
_FINE: Final = 40_000  # of the overlap in the refinement
_FEWEST: Final = 20  # points that both records have
_OVERLAP: Final = 0.25  # of the shorter record: less is no common record
# Twice the gain in log-likelihood that chance reaches among the lags: chi-squared of two coefficients is beyond
# 2 ln(lags) + 20 with a probability of e^-10.
_CHANCE: Final = 20.0
_CLEARLY: Final = 0.05  # of the shorter record, by which one of several equal offsets overlaps more than the next
_MOST_DRIFT: Final = 1e-3  # a quartz is within 1e-4, the timer of an old program within ten times that
_CERTAIN: Final = 3.0  # times its u: a drift that is told from zero
_BLOCKS: Final = 20
_MANY: Final = 100  # blocks, each longer than what a step correlates
_WORSE: Final = 3.0  # standard uncertainties of a scatter: another offset explains as much unless it scatters more


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """t_cell = t_probe (1 + drift) + offset: `offset` [s] with `u`, `drift` [1] with `u_drift` (0 where not fitted).

    `explained` is the share of the pipette's variance, beyond a slow drift, that the cell explains at this offset;
    `by` names the pipette's signal. `others` [s] would explain what they overlap as well (a periodic program): this one
    was taken because at no other the records overlap as far.
    """

    offset: float
    u: float
    drift: float
    u_drift: float
    explained: float
    by: str
    others: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class NoOffset:
    """Why the records do not tell: `candidates` [s] are offsets that explain them equally well."""

    outcome: str
    reason: str
    candidates: tuple[float, ...] = ()


def clock_offset(
    cell_t: F64, cell: Sequence[F64], probe_t: F64, probe: Sequence[tuple[str, F64]]
) -> ClockOffset | NoOffset:
    """The offset and drift of two clocks.

    `cell_t` [s] (n,) with the signals `cell` (potential [V], current [A]); `probe_t` [s] (m,) with the signals `probe`
    by name (command voltage [V], current [A]), each (m,), increasing times. Of the probe's signals that which the cell
    explains best is taken. A hop's dips in the current are left out by a median over each row.

    u is the larger of the fit's, its residuals' correlation counted, and that of a step which lies anywhere between
    two rows of either record; a drift is fitted where the overlap tells it from zero. Assumes that the response is
    linear and faster than a row; a slow one (diffusion) shifts the offset by its time constant, which u does not hold.
    Fails as a value: "no overlap", "no common change", "several offsets" (a periodic program).
    """
    answers = [(name, _search(cell_t, cell, probe_t, signal)) for name, signal in probe]
    found = [(name, one) for name, one in answers if isinstance(one, _Found)]
    if not found:
        refusals = [one for _, one in answers if isinstance(one, NoOffset)]
        several = [one for one in refusals if one.candidates]
        return (several or refusals or [NoOffset("no common change", "the pipette's record has no signal")])[0]
    name, best = max(found, key=lambda one: one[1].gain)
    return _refined(name, best, cell_t, cell, probe_t, dict(probe)[name])


@dataclass(frozen=True, slots=True)
class _Found:
    lag: float
    gain: float
    step: float
    others: tuple[float, ...]


def _search(cell_t: F64, cell: Sequence[F64], probe_t: F64, signal: F64) -> _Found | NoOffset:
    """The best of all offsets on a coarse grid."""
    known = np.isfinite(signal)
    if known.sum() < _FEWEST or np.ptp(signal[known]) == 0.0:
        return NoOffset("no common change", "the pipette's record is constant")
    spans = float(np.ptp(cell_t)), float(np.ptp(probe_t))
    step = max(max(spans) / _POINTS, _period(cell_t), _period(probe_t))
    cells, cell_zero = _on_grid(cell_t, cell, step)
    (values,), probe_zero = _on_grid(probe_t[known], [signal[known]], step)
    n, m = cells[0].size, values.size
    least = max(_FEWEST, round(_OVERLAP * min(n, m)))
    if min(n, m) < least:
        return NoOffset("no overlap", f"the records have {min(n, m)} common rows of {step:.3g} s; {least} are needed")
    rows = []
    for lag in range(least - m, n - least + 1):  # row k of the probe is at row k + lag of the cell
        first, last = max(0, -lag), min(m, n - lag)
        moved = [one[first + lag : last + lag] for one in cells]
        fit = _fit(values[first:last], moved)
        if fit is not None:
            rows.append((lag, *fit, last - first))
    if not rows:
        return NoOffset("no common change", "where the records overlap the cell does not change")
    table = np.array(rows)
    gain = table[:, 1]
    threshold = 2.0 * np.log(gain.size) + _CHANCE
    best = int(np.argmax(gain))
    if gain[best] < threshold:
        reason = "no change of the cell shows in the pipette's record more than by chance"
        return NoOffset("no common change", reason)
    offset = cell_zero - probe_zero + table[:, 0] * step
    peaks = [best, *_as_good(table, best, threshold)]
    # Of a periodic program: the records of one experiment overlap as far as they can, and one offset does so clearly.
    overlap = np.sort(table[peaks, 4])[::-1] / min(n, m)
    chosen = max(peaks, key=lambda k: table[k, 4])
    candidates = tuple(float(offset[k]) for k in peaks)
    if len(peaks) > 1 and overlap[0] - overlap[1] < _CLEARLY:
        reason = f"{', '.join(f'{one:.4g}' for one in candidates)} s explain the records equally well"
        return NoOffset("several offsets", reason, candidates)
    others = tuple(float(offset[k]) for k in peaks if k != chosen)
    return _Found(float(offset[chosen]), float(gain[chosen]), step, others)


def _as_good(table: NDArray[np.float64], best: int, threshold: float) -> list[int]:
    """Other offsets, outside the best one's own peak, that explain what they overlap as well as it does."""
    gain, scatter, rows = table[:, 1], table[:, 2], table[:, 4]
    left = right = best
    while left > 0 and (gain[left - 1] < gain[left] or gain[left - 1] > 0.5 * gain[best]):
        left -= 1
    while right < gain.size - 1 and (gain[right + 1] < gain[right] or gain[right + 1] > 0.5 * gain[best]):
        right += 1
    peaks = [
        k
        for k in range(gain.size)
        if not left <= k <= right
        and gain[k] >= threshold
        and gain[k] == gain[max(0, k - 2) : k + 3].max()
        and scatter[k] <= scatter[best] * (1.0 + _WORSE / np.sqrt(2.0 * rows[k]))
    ]
    return sorted(peaks, key=lambda k: -gain[k])[:4]


def _fit(values: F64, cell: Sequence[F64]) -> tuple[float, float, float] | None:
    """(gain in twice the log-likelihood, scatter of what is left, independent rows); None where the cell is still."""
    changing = [one for one in cell if np.ptp(one) > 0.0]
    if not changing:
        return None
    slow, rest = _basis(values.size), np.column_stack([(one - one.mean()) / np.std(one) for one in changing])
    # What the slow basis explains is no evidence for an offset: the cell's part beyond it alone counts.
    values, rest = values - slow @ (slow.T @ values), rest - slow @ (slow.T @ rest)
    before = float(values @ values)
    solution, *_ = np.linalg.lstsq(rest, values, rcond=1e-6)
    residual = values - rest @ solution
    after = float(residual @ residual)
    if before <= 0.0:
        return None
    after = max(after, 1e-12 * before)
    independent = values.size * _independent(residual)
    return independent * float(np.log(before / after)), float(np.sqrt(after / values.size)), independent


def _basis(n: int) -> F64:
    """An orthonormal basis of a slow drift over n rows: constant, line, parabola."""
    return np.asarray(np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, n), 3))[0])


def _independent(residual: F64) -> float:
    """Which share of the rows is independent: from the correlation of neighbours, and from the means of blocks.

    Noise hides a slow baseline from neighbours; the means of blocks, which average the noise, show it.
    """
    power = float(residual @ residual)
    if power <= 0.0:
        return 1.0
    r = min(max(float(residual[1:] @ residual[:-1]) / power, 0.0), 0.999)
    length = residual.size // _BLOCKS
    if length < 2:
        return (1.0 - r) / (1.0 + r)
    means = residual[: length * _BLOCKS].reshape(_BLOCKS, length).mean(axis=1)
    slow = length * float(means @ means) / _BLOCKS / (power / residual.size)
    return min((1.0 - r) / (1.0 + r), 1.0 / max(slow, 1.0))


def _period(t: F64) -> float:
    return float(np.median(np.diff(t))) if t.size > 1 else 0.0


def _on_grid(t: F64, signals: Sequence[F64], step: float) -> tuple[list[F64], float]:
    """Signals at the middles of rows of `step` [s], and the first of these times.

    Many samples in a row give their median, so that a hop's dip does not count; fewer are interpolated.
    """
    zero = float(t[0])
    n = int(np.floor((t[-1] - zero) / step)) + 1
    middles = zero + step * np.arange(n)
    out = []
    for signal in signals:
        values = np.interp(middles, t, signal)
        edges = np.searchsorted(t, middles[:, None] + step * np.array([-0.5, 0.5]))
        for k in np.flatnonzero(edges[:, 1] - edges[:, 0] > 3):
            values[k] = np.median(signal[edges[k, 0] : edges[k, 1]])
        out.append(values)
    return out, zero


def _refined(name: str, found: _Found, cell_t: F64, cell: Sequence[F64], probe_t: F64, signal: F64) -> ClockOffset:
    """Offset and drift by least squares on a fine grid, from the coarse offset."""
    known = np.isfinite(signal)
    probe_t, signal = probe_t[known], signal[known]
    overlap = min(cell_t[-1], probe_t[-1] + found.lag) - max(cell_t[0], probe_t[0] + found.lag)
    step = max(_period(probe_t), overlap / _FINE, min(_period(cell_t), found.step) / 10.0)
    (values,), zero = _on_grid(probe_t, [signal], step)
    t = zero + step * np.arange(values.size)
    fine = _Fine(values, t, float(np.median(t)), cell_t, cell, max(_period(cell_t), step))
    near = minimize_scalar(fine.cost, bounds=(found.lag - 1.5 * found.step, found.lag + 1.5 * found.step))
    # A step lies anywhere between two rows of either record, at the beginning and at the end: that is in both u.
    rows = float(np.hypot(u_of_rectangle(_period(cell_t)), u_of_rectangle(_period(probe_t))))
    half = 0.5 * float(np.ptp(t))
    # In seconds at the end of the record, so that both are of one size.
    simplex = np.array([[near.x, 0.0], [near.x + rows, 0.0], [near.x, rows]])
    options: Any = {"initial_simplex": simplex, "maxfev": 150, "xatol": 1e-4}

    def cost(one: F64) -> float:
        return fine.cost(float(one[0]), float(one[1]) / half)

    both = minimize(cost, simplex[0], method="Nelder-Mead", options=options)
    offset, drift = float(both.x[0]), float(both.x[1]) / half
    u, u_drift, explained = fine.uncertainty(offset, drift, True)
    u_drift = float(np.hypot(u_drift, 2.0**0.5 * rows / overlap))
    if not (abs(drift) > _CERTAIN * u_drift and abs(drift) < _MOST_DRIFT):
        offset, drift, u_drift = float(near.x), 0.0, 0.0
        u, _, explained = fine.uncertainty(offset, drift, False)
    # The fit's offset is that at the middle of the record, where it is known best: t_cell = t + offset + drift (t - m).
    return ClockOffset(
        offset - drift * fine.middle, float(np.hypot(u, rows)), drift, u_drift, explained, name, found.others
    )


@dataclass(frozen=True, slots=True)
class _Fine:
    """The pipette's `values` at `t` [s] against the cell; `width` [s] of a row, over which a slope is taken."""

    values: F64
    t: F64
    middle: float
    cell_t: F64
    cell: Sequence[F64]
    width: float

    def _parts(self, offset: float, drift: float) -> tuple[F64, F64, F64, F64, F64, NDArray[np.bool_]] | None:
        """(values, cell's part, its scale, slow basis, times of the cell, rows inside); None without a change."""
        at = self.t + offset + drift * (self.t - self.middle)
        inside = (at >= self.cell_t[0]) & (at <= self.cell_t[-1])
        if inside.sum() < _FEWEST:
            return None
        at, y = at[inside], self.values[inside]
        moved = np.column_stack([np.interp(at, self.cell_t, one) for one in self.cell])
        scale = np.std(moved, axis=0)
        if not np.any(scale > 0.0):
            return None
        scale[scale == 0.0] = np.inf
        slow = _basis(y.size)
        rest = (moved - moved.mean(axis=0)) / scale
        return y - slow @ (slow.T @ y), rest - slow @ (slow.T @ rest), scale, slow, at, inside

    def cost(self, offset: float, drift: float = 0.0) -> float:
        """Mean square of what the cell does not explain, over that of the values."""
        parts = self._parts(offset, drift)
        if parts is None:
            return 1.0
        y, rest, *_ = parts
        response, *_ = np.linalg.lstsq(rest, y, rcond=1e-6)
        residual = y - rest @ response
        return float(residual @ residual) / float(y @ y)

    def uncertainty(self, offset: float, drift: float, with_drift: bool) -> tuple[float, float, float]:
        """(u of the offset, of the drift, explained share), by the derivative of the fit.

        From sums of derivative times residual over blocks of rows, so that correlated residuals count as they are and a
        slow baseline, which has no part in a step, does not.
        """
        parts = self._parts(offset, drift)
        if parts is None:
            return float("inf"), float("inf"), 0.0
        y, rest, scale, slow, at, inside = parts
        response, *_ = np.linalg.lstsq(rest, y, rcond=1e-6)
        residual = y - rest @ response
        # A central difference over a row of the cell: its record is straight between rows.
        ends = [
            np.column_stack([np.interp(at + side, self.cell_t, one) for one in self.cell])
            for side in (self.width, -self.width)
        ]
        slope = ((ends[0] - ends[1]) / (2.0 * self.width) / scale) @ response
        columns = np.column_stack([slope, slope * (self.t - self.middle)[inside]] if with_drift else [slope])
        columns = columns - slow @ (slow.T @ columns)
        part, *_ = np.linalg.lstsq(rest, columns, rcond=1e-6)
        columns = columns - rest @ part
        inverse = np.linalg.pinv(columns.T @ columns)
        sums = np.add.reduceat(columns * residual[:, None], np.arange(0, y.size, max(1, y.size // _MANY)))
        u = np.sqrt(np.diag(inverse @ (sums.T @ sums) @ inverse))
        explained = 1.0 - float(residual @ residual) / float(y @ y)
        return float(u[0]), float(u[1]) if with_drift else 0.0, explained
