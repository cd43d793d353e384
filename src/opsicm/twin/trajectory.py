"""The cell's trajectory as far as it is known: steps in a row, linear between their ends."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.twin.specimen import Footprint

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_OLDEST_NS: Final = 3_000_000_000  # of an answer: a setting and a fault may add up to 2 s


@compiled
def interval_of(breakpoints: Ints, t_ns: int) -> tuple[int, float]:
    """(index of the breakpoint that ends the interval of `t_ns`, share of the interval that is over then).

    The outer intervals go on beyond the ends.
    """
    if breakpoints.size == 1:
        return 0, 1.0
    k = min(max(int(np.searchsorted(breakpoints, t_ns, side="right")), 1), breakpoints.size - 1)
    return k, (t_ns - breakpoints[k - 1]) / (breakpoints[k] - breakpoints[k - 1])


@compiled
def interpolated(breakpoints: Ints, values: Floats, t_ns: Ints) -> Floats:
    """`values` [rows, n] at `breakpoints` [n, ns], piecewise linear, at every one of `t_ns`: [rows, times].

    At the last breakpoint exactly its value, to the last bit: what follows begins with it.
    """
    result = np.empty((values.shape[0], t_ns.size))
    for i in range(t_ns.size):
        k, w = interval_of(breakpoints, t_ns[i])
        for row in range(values.shape[0]):
            a, b = values[row, k - 1], values[row, k]
            result[row, i] = values[row, -1] if t_ns[i] == breakpoints[-1] else a + w * (b - a)
    return result


@compiled
def interpolated_heights(
    breakpoints: Ints, displacement: Floats, patch_index: NDArray[np.intp], height: Floats, t_ns: Ints
) -> Floats:
    """Heights [m, times × points]: `height` [m] of a point and the mean displacement of the patches that it lies on.

    `displacement` [m, n × patches] at `breakpoints` [n, ns], `patch_index` [points × m].
    """
    result = np.empty((t_ns.size, height.size))
    for i in range(t_ns.size):
        k, w = interval_of(breakpoints, t_ns[i])
        for point in range(height.size):
            before, after = 0.0, 0.0
            for patch in patch_index[point]:
                before += displacement[k - 1, patch]
                after += displacement[k, patch]
            a = height[point] + before / patch_index.shape[1]
            b = height[point] + after / patch_index.shape[1]
            result[i, point] = b if w == 1.0 else a + w * (b - a)
    return result


class CellState(NamedTuple):
    """The cell at one instant, as far as anything outside it can see."""

    t_ns: int
    potential: float  # [V] specimen against the reference, as the potentiostat reads it
    current: float  # [A] negative lithiates
    charge: float  # [C] since the start
    set_point: float  # [V] NaN unless a potential is controlled
    expansion: float  # [m] rise of the mean surface since stoichiometry 0
    reference_error: float  # [V] by which `potential` is too high
    conductance: float  # [S] of the pipette far from the surface, at its height, before flow and charge change it
    offset: float  # [V] what opposes the pipette electrode: ohmic drop from pipette to reference, junction
    salt: float  # [mol/m³] outside the tip, as late as the tip shows it


class CellStates(NamedTuple):
    """`CellState` at many instants, every field an array [n]."""

    t_ns: NDArray[np.int64]
    potential: Floats
    current: Floats
    charge: Floats
    set_point: Floats
    expansion: Floats
    reference_error: Floats
    conductance: Floats
    offset: Floats
    salt: Floats


@dataclass(frozen=True)
class PipetteTrajectory:
    """Conductance [S], opposing potential [V] and salt [mol/m³] of the pipette at breakpoints [ns], piecewise linear.

    Finer than the cell's steps where the pipette travels. `lags` [mol/m³, n × k] of its memory's relaxations.
    """

    t_ns: tuple[int, ...]
    conductance: tuple[float, ...]
    offset: tuple[float, ...]
    salt: tuple[float, ...]
    lags: Floats

    @cached_property
    def table(self) -> tuple[Ints, Floats]:
        """The same as arrays: breakpoints [n], (conductance, offset, salt) [3, n]."""
        return np.array(self.t_ns), np.array((self.conductance, self.offset, self.salt))

    def at(self, t_ns: int) -> tuple[float, float, float]:
        """(conductance, offset, salt) at `t_ns`; the last interval goes on beyond the end."""
        times, g, v, c = self.t_ns, self.conductance, self.offset, self.salt
        if t_ns == times[-1] or len(times) == 1:
            return g[-1], v[-1], c[-1]
        k = min(max(bisect_right(times, t_ns), 1), len(times) - 1)
        w = (t_ns - times[k - 1]) / (times[k] - times[k - 1])
        return g[k - 1] + w * (g[k] - g[k - 1]), v[k - 1] + w * (v[k] - v[k - 1]), c[k - 1] + w * (c[k] - c[k - 1])

    def first(self, n: int) -> PipetteTrajectory:
        """The first `n` of its breakpoints."""
        return PipetteTrajectory(self.t_ns[:n], self.conductance[:n], self.offset[:n], self.salt[:n], self.lags[:n])


@dataclass(frozen=True)
class TrajectorySegment:
    """Steps that end at `t_ns` [n + 1, the first of them the beginning], with what holds at each of these ends.

    `states` have the fields of `CellState` in their order, from the potential to the reference's error; `displacement`
    [m, n + 1 × patches] is the specimen's.
    """

    t_ns: tuple[int, ...]
    states: tuple[tuple[float, ...], ...]
    displacement: Floats
    pipette: PipetteTrajectory

    @property
    def begin(self) -> int:
        """[ns]"""
        return self.t_ns[0]

    @property
    def end(self) -> int:
        """[ns]"""
        return self.t_ns[-1]

    def step_of(self, t_ns: int) -> int:
        """The step that holds `t_ns`; an end belongs to the step that ends there."""
        return min(max(bisect_left(self.t_ns, t_ns) - 1, 0), len(self.t_ns) - 2)

    def state_at(self, t_ns: int) -> CellState:
        """The cell and the pipette far from the surface at `t_ns`; the outer steps go on beyond the segment.

        In plain Python: a single instant is asked for at every turn of the runner, and arrays would cost it more.
        """
        times = self.t_ns
        if t_ns == times[-1] or len(times) == 1:  # to the last bit what the next step begins with
            return CellState._make((t_ns, *self.states[-1], *self.pipette.at(t_ns)))
        k = min(max(bisect_right(times, t_ns), 1), len(times) - 1)
        w = (t_ns - times[k - 1]) / (times[k] - times[k - 1])
        mixed = [a + w * (b - a) for a, b in zip(self.states[k - 1], self.states[k], strict=True)]
        return CellState._make((t_ns, *mixed, *self.pipette.at(t_ns)))

    def states_at(self, t_ns: NDArray[np.int64]) -> CellStates:
        """`state_at` at every one of `t_ns`: the same numbers."""
        return CellStates(t_ns, *interpolated(*self._table, t_ns), *interpolated(*self.pipette.table, t_ns))

    @cached_property
    def _table(self) -> tuple[Ints, Floats]:
        return np.array(self.t_ns), np.array(self.states).T.copy()

    def heights_at(self, footprint: Footprint, t_ns: NDArray[np.int64]) -> Floats:
        """Heights [m, times × n] under a footprint at `t_ns`."""
        return interpolated_heights(self._table[0], self.displacement, footprint.patch_index, footprint.height, t_ns)

    def first(self, steps: int) -> TrajectorySegment:
        """The first of its steps."""
        n = steps + 1
        return TrajectorySegment(self.t_ns[:n], self.states[:n], self.displacement[:n], self.pipette.first(n))


class PastSegment(NamedTuple):
    """A segment that is over, what the potentiostat controlled in it, and whether a cut-off had ended that."""

    segment: TrajectorySegment
    control: str
    cut_off: bool


class ReadingHistory:
    """Segments that are over, for as long as a late answer of the potentiostat may need them; the oldest first."""

    def __init__(self) -> None:
        self._past: deque[PastSegment] = deque()

    def append(self, past: PastSegment) -> None:
        """`past` is over; what is too old for any answer goes."""
        self._past.append(past)
        while self._past[0].segment.end < past.segment.end - _OLDEST_NS:
            self._past.popleft()

    def at(self, t_ns: int) -> PastSegment:
        """The segment of `t_ns`, or the oldest that is known."""
        return next((past for past in reversed(self._past) if past.segment.begin <= t_ns), self._past[0])
