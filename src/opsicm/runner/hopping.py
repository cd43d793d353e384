"""Hopping: at a point, along a line, over a rectangle; with or without steps of the bias at the top of every hop."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.runner.hop_words import HopWords, Modulation
from opsicm.runner.patterns import Pattern
from opsicm.runner.probe_context import ProbeBench

_PLAN_NS: Final = 1_000_000_000
_ROOM: Final = 1.05  # a hop may last this much longer than its surface at rest would make it


class Hopping:
    """Hops over a pattern, in plans of at most a second and never longer than the bias can be trusted."""

    def __init__(
        self, bench: ProbeBench, path: str, pattern: Pattern, words: HopWords, modulation: Modulation | None = None
    ) -> None:
        self._bench = bench
        self._path = path
        self._pattern = pattern
        self._modulation = modulation
        self.words: HopWords | None = words
        self.done = 0

    @property
    def over(self) -> bool:
        """Whether every pass is done."""
        return self._pattern.total is not None and self.done >= self._pattern.total

    def enter(self) -> None:
        """Above the surface as it was last seen; what follows is a segment of its own."""
        self._bench.lift_to(self._bench.rig.hop_controller.start_height)
        self._bench.begin_segment()

    def leave(self) -> None:
        """Nothing to put back: between two plans the pipette is at the top."""

    def pass_time(self, until_ns: int) -> None:
        """Stay at the top, sampling."""
        self._bench.dwell(self._path, until_ns)

    def turn(self, until_ns: int) -> None:
        """The next hops; a dwell where none ends in time or the bulk current does not rest."""
        bench, words = self._bench, self.words
        assert words is not None
        if bench.travels(until_ns) or bench.waits(
            self._path, words.amplitude / words.fall_rate, words.setpoint, until_ns
        ):
            return
        left_ns = until_ns - bench.now()
        duration_ns = self._duration_ns(words)
        count = min(_PLAN_NS, bench.bias.trusted_ns, left_ns) // duration_ns
        if left_ns >= duration_ns:
            count = max(1, count)
        if count and self._modulation is not None:
            self._modulate(self._modulation)
            count = 1
        points = self._pattern.some(self.done, count)
        hops = bench.run(bench.plan(self._path, points, words, until_ns))
        self.done += hops.size
        self.keep(hops)

    def keep(self, hops: NDArray[Any]) -> None:
        """Hops that have been made, for who makes something of them."""

    def _duration_ns(self, words: HopWords) -> int:
        heights = self._pattern.points.amplitude
        highest = words.amplitude if heights is None else float(np.max(heights))
        seconds = self._bench.rig.hop_controller.timing.duration(highest, words.fall_rate)
        if self._modulation is not None:
            seconds += self._modulation.dwell * len(self._modulation.levels)
        return round(seconds * _ROOM * 1e9)

    def _modulate(self, modulation: Modulation) -> None:
        """The wire's levels in turn, sampled; back at the bias before the reference of the hop is taken."""
        bench = self._bench
        try:
            for level in modulation.levels:
                bench.bias.aim(level)
                bench.dwell(self._path, bench.now() + round(modulation.dwell * 1e9))
        finally:
            bench.bias.aim_nominal()
