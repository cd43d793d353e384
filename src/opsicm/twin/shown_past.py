"""What the potentiostat has shown before: for as long as a late answer may ask for it."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from opsicm.twin.stretch import Stretch

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
