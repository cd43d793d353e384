"""Parts of a cell's record over which one quantity was controlled, and when the control changed between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from opsicm.analysis.cell.unrecorded import ROWS, noise_about_line
from opsicm.core.statistics import straight_line

F64 = NDArray[np.float64]
Kind = Literal["rest", "current", "potential", "sweep", "unknown"]

STAIR: Final = 6e-3  # [V]: potentiostats that sweep in steps take 1 to 5 mV; a larger step is one of the program


@dataclass(frozen=True, slots=True)
class ControlledPart:
    """Rows [first, stop) over which one quantity was controlled, from `begin` to `end` [s].

    `level` is what was controlled: the current [A] (0 of a rest), the potential [V], or the rate of a sweep [V/s]; NaN
    of "unknown". Sweeps share the row of the vertex between them. `u_begin`, `u_end` [s]: within a row nobody knows
    when the control changed; 0 at the ends of the record.
    """

    kind: Kind
    first: int
    stop: int
    level: float
    begin: float
    end: float
    u_begin: float = 0.0
    u_end: float = 0.0

    @property
    def rows(self) -> slice:
        """The rows of the part."""
        return slice(self.first, self.stop)

    @property
    def direction(self) -> Literal["lithiation", "delithiation", "rest"]:
        """Of a constant current (negative lithiates) or a rest."""
        return "rest" if self.kind == "rest" else "lithiation" if self.level < 0.0 else "delithiation"


def with_times(
    t: F64, potential: F64, parts: Sequence[ControlledPart], gaps: NDArray[np.bool_] | None = None
) -> list[ControlledPart]:
    """The parts with the times at which the control changed between them, and vertices shared by two sweeps.

    `t` [s], `potential` [V], (n,); `gaps` (n - 1,) are intervals in which nothing was recorded: there a part ends with
    its last row.
    """
    parts = list(parts)
    for k in range(len(parts) - 1):
        one, other = parts[k], parts[k + 1]
        if gaps is not None and gaps[other.first - 1]:
            continue
        step = abs(float(potential[other.first] - potential[other.first - 1]))
        even = 1.5 * max(abs(one.level), abs(other.level)) * float(t[other.first] - t[other.first - 1])
        if one.kind == other.kind == "sweep" and step <= STAIR + even:
            vertex = _vertex_row(t, potential, one, other)
            at = float(t[vertex])
            half = 0.5 * float(t[min(vertex + 1, t.size - 1)] - t[max(vertex - 1, 0)]) / 12.0**0.5
            parts[k] = replace(one, stop=vertex + 1, end=at, u_end=half)
            parts[k + 1] = replace(other, first=vertex, begin=at, u_begin=half)
            continue
        at, u = _time_of_change(t, potential, one, other)
        parts[k], parts[k + 1] = replace(one, end=at, u_end=u), replace(other, begin=at, u_begin=u)
    return parts


def _vertex_row(t: F64, e: F64, one: ControlledPart, other: ControlledPart) -> int:
    """The row nearest to where the lines of two sweeps meet."""
    lines = [straight_line(t[p.rows], e[p.rows]) for p in (one, other)]
    if one.level * other.level >= 0.0:
        return other.first
    at = (lines[1].at(0.0)[0] - lines[0].at(0.0)[0]) / (lines[0].slope - lines[1].slope)
    low, high = one.first + 1, other.stop - 2
    k = int(np.searchsorted(t, at))
    near = min((j for j in (k - 1, k) if low <= j <= high), key=lambda j: abs(t[j] - at), default=other.first)
    # Farther than a few rows away it is no vertex but a cut between two programs.
    return near if abs(near - other.first) <= 3 else other.first


def _time_of_change(t: F64, e: F64, one: ControlledPart, other: ControlledPart) -> tuple[float, float]:
    """When the control changed between the last row of one part and the first of the next [s], and u.

    A step has its own clock: its first row is at its start or one of its own intervals later, and the last row of the
    step before at most one of that step's intervals old. Where a current ran into a hold, the potential says when: it
    reached that level.
    """
    a = other.first
    last, first = float(t[a - 1]), float(t[a])
    own = [
        float(np.median(np.diff(t[s]))) if s.stop - s.start > 1 else first - last
        for s in (slice(max(one.first, a - 6), a), slice(a, min(other.stop, a + 6)))
    ]
    if one.kind == "current" and other.kind == "potential" and a - one.first >= ROWS and first > last:
        before = slice(a - ROWS, a)
        line = straight_line(t[before], e[before])
        ahead = (other.level - float(e[a - 1])) / line.slope if line.slope else -1.0
        if 0.0 < ahead <= 1.5 * (first - last):
            noise = noise_about_line(t[max(one.first, a - 50) : a], e[max(one.first, a - 50) : a])
            unsure = min(noise / abs(line.slope), first - last)
            return min(last + ahead, first), float(np.hypot(0.1 * (first - last), unsure))
    earliest, latest = max(last, first - own[1]), min(first, last + own[0])
    return 0.5 * (earliest + latest), abs(latest - earliest) / 12.0**0.5


def corners(t: F64, e: F64, tolerance: float) -> list[int]:
    """Rows where a polygon through some of the rows turns that is nowhere farther than `tolerance` from the others.

    Source: Douglas and Peucker, Cartographica 1973, 10, 112; on the potential alone, as time has no error.
    """
    # The turns of many cycles first: one by one they would be looked for in all rows.
    reach = max(20.0 * tolerance, 0.2 * float(np.ptp(e)))
    turns = sorted({0, e.size - 1, *(int(k) for way in (e, -e) for k in find_peaks(way, prominence=reach)[0])})
    edges = set(turns)
    stack = list(pairwise(turns))
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        length = float(t[b] - t[a])
        chord = e[a] + (e[b] - e[a]) * ((t[a : b + 1] - t[a]) / length if length > 0.0 else 0.0)
        away = np.abs(e[a : b + 1] - chord)
        k = a + int(np.argmax(away))
        if away[k - a] > tolerance and a < k < b:
            edges.add(k)
            stack += [(a, k), (k, b)]
    turns = sorted(edges)
    # Cuts that noise made: gone where one line serves both sides.
    kept = turns[:1]
    for k, after in pairwise(turns[1:]):
        both = slice(kept[-1], after + 1)
        residual = straight_line(t[both], e[both]).residual
        if float(np.max(np.abs(residual))) > 0.75 * tolerance:
            kept.append(k)
    return [*kept, turns[-1]] if len(turns) > 1 else turns
