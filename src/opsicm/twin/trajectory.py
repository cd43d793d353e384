"""A stretch of the cell's life that is known: steps in a row, straight between their ends."""

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

# -- What is known at some instants and goes straight between them, at any others: the outer pieces go on beyond.


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def piece_of(known: Ints, t_ns: int) -> tuple[int, float]:
    """(index of the end of the piece that holds `t_ns`, share of the piece that is over then)."""
    if known.size == 1:
        return 0, 1.0
    k = min(max(int(np.searchsorted(known, t_ns, side="right")), 1), known.size - 1)
    return k, (t_ns - known[k - 1]) / (known[k] - known[k - 1])


@compiled
def values_at(known: Ints, values: Floats, t_ns: Ints) -> Floats:
    """`values` [rows, n], known at `known` [n, ns], at every one of `t_ns`: [rows, times].

    At the last instant exactly what is known there: what follows begins with it.
    """
    found = np.empty((values.shape[0], t_ns.size))
    for i in range(t_ns.size):
        k, w = piece_of(known, t_ns[i])
        for row in range(values.shape[0]):
            a, b = values[row, k - 1], values[row, k]
            found[row, i] = values[row, -1] if t_ns[i] == known[-1] else a + w * (b - a)
    return found


@compiled
def heights_at(known: Ints, rise: Floats, owners: NDArray[np.intp], rest: Floats, t_ns: Ints) -> Floats:
    """Heights [m, times × points]: `rest` [m] of a point and the mean rise of the patches that it lies on.

    `rise` [m, n × patches] is known at `known` [n, ns], `owners` [points × m] are the patches.
    """
    found = np.empty((t_ns.size, rest.size))
    for i in range(t_ns.size):
        k, w = piece_of(known, t_ns[i])
        for point in range(rest.size):
            before, after = 0.0, 0.0
            for patch in owners[point]:
                before += rise[k - 1, patch]
                after += rise[k, patch]
            a, b = rest[point] + before / owners.shape[1], rest[point] + after / owners.shape[1]
            found[i, point] = b if w == 1.0 else a + w * (b - a)
    return found


Table = tuple[NDArray[np.int64], Floats]


class CellMoment(NamedTuple):
    """The cell at one instant, as far as anything outside it can see."""

    t_ns: int
    potential: float  # [V] specimen against the reference, as the potentiostat reads it
    current: float  # [A] negative lithiates
    charge: float  # [C] since the start
    set_point: float  # [V] NaN unless a potential is controlled
    expansion: float  # [m] rise of the mean surface since stoichiometry 0
    reference_error: float  # [V] by which `potential` is too high
    conductance: float  # [S] of the pipette far from the surface, at its height
    offset: float  # [V] what opposes the wire's potential: ohmic drop from pipette to reference, junction


class CellCourse(NamedTuple):
    """`CellMoment` at many instants, every field an array [n]."""

    t_ns: NDArray[np.int64]
    potential: Floats
    current: Floats
    charge: Floats
    set_point: Floats
    expansion: Floats
    reference_error: Floats
    conductance: Floats
    offset: Floats


@dataclass(frozen=True)
class Way:
    """Conductance [S] and opposing potential [V] of the pipette at instants [ns], straight between.

    Finer than the cell's steps where the pipette travels.
    """

    t_ns: tuple[int, ...]
    conductance: tuple[float, ...]
    offset: tuple[float, ...]

    @cached_property
    def table(self) -> Table:
        """The same as arrays: instants [n], (conductance, offset) [2, n]."""
        return np.array(self.t_ns), np.array((self.conductance, self.offset))

    def at(self, t_ns: int) -> tuple[float, float]:
        """(conductance, offset) at `t_ns`; the last piece goes on beyond the end."""
        times = self.t_ns
        if t_ns == times[-1] or len(times) == 1:
            return self.conductance[-1], self.offset[-1]
        k = min(max(bisect_right(times, t_ns), 1), len(times) - 1)
        w = (t_ns - times[k - 1]) / (times[k] - times[k - 1])
        g, v = self.conductance, self.offset
        return g[k - 1] + w * (g[k] - g[k - 1]), v[k - 1] + w * (v[k] - v[k - 1])


@dataclass(frozen=True)
class Stretch:
    """Steps that end at `t_ns` [n + 1, the first of them the beginning]; `seen` and `rise` [m, n + 1 × patches] there.

    `seen` has the fields of `CellMoment` in their order, from the potential to the reference's error.
    """

    t_ns: tuple[int, ...]
    seen: tuple[tuple[float, ...], ...]
    rise: Floats
    way: Way

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

    def moment(self, t_ns: int) -> CellMoment:
        """The cell and the pipette far from the surface at `t_ns`; the outer steps go on beyond the stretch."""
        times = self.t_ns
        if t_ns == times[-1] or len(times) == 1:  # to the last bit what the next step begins with
            return CellMoment._make((t_ns, *self.seen[-1], *self.way.at(t_ns)))
        k = min(max(bisect_right(times, t_ns), 1), len(times) - 1)
        w = (t_ns - times[k - 1]) / (times[k] - times[k - 1])
        mixed = [a + w * (b - a) for a, b in zip(self.seen[k - 1], self.seen[k], strict=True)]
        return CellMoment._make((t_ns, *mixed, *self.way.at(t_ns)))

    def course(self, t_ns: NDArray[np.int64]) -> CellCourse:
        """`moment` at every one of `t_ns`: the same numbers."""
        return CellCourse(t_ns, *values_at(*self._table, t_ns), *values_at(*self.way.table, t_ns))

    @cached_property
    def _table(self) -> Table:
        return np.array(self.t_ns), np.array(self.seen).T.copy()

    def heights(self, footprint: Footprint, t_ns: NDArray[np.int64]) -> Floats:
        """Heights [m, times × n] under a footprint at `t_ns`."""
        return heights_at(self._table[0], self.rise, footprint.owners, footprint.rest, t_ns)

    def first(self, steps: int) -> Stretch:
        """The first of its steps."""
        n = steps + 1
        way = Way(self.way.t_ns[:n], self.way.conductance[:n], self.way.offset[:n])
        return Stretch(self.t_ns[:n], self.seen[:n], self.rise[:n], way)


# -- What the potentiostat has shown before: for as long as a late answer may ask for it.


_OLDEST_NS: Final = 3_000_000_000  # of an answer: a setting and a fault may add up to 2 s


class Shown(NamedTuple):
    """A stretch of the cell, the word for what was held in it, and whether a cut-off had ended that."""

    stretch: Stretch
    control: str
    cut_off: bool


class ShownPast:
    """Stretches that are over, the oldest first."""

    def __init__(self) -> None:
        self._past: deque[Shown] = deque()

    def keep(self, shown: Shown) -> None:
        """`shown` is over; what is too old for any answer goes."""
        self._past.append(shown)
        while self._past[0].stretch.end < shown.stretch.end - _OLDEST_NS:
            self._past.popleft()

    def at(self, t_ns: int) -> Shown:
        """What was shown at `t_ns`, or the oldest that is known."""
        return next((past for past in reversed(self._past) if past.stretch.begin <= t_ns), self._past[0])
