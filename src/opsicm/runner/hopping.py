"""Hopping: at a point, along a line, over a rectangle; with or without steps of the bias at the top of every hop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.experiment.hop_parameters import BiasLevels, HopParameters
from opsicm.runner.patterns import Pattern
from opsicm.runner.probe_context import ProbeContext

_PLAN_NS: Final = 1_000_000_000
_MARGIN: Final = 1.05  # a hop may last this much longer than its surface at rest would make it


class Hopping:
    """Hops over a pattern, in plans of at most a second and never longer than the bias can be trusted."""

    def __init__(self, context: ProbeContext, path: str, pattern: Pattern, hop: HopParameters) -> None:
        self._context = context
        self._path = path
        self._pattern = pattern
        self.hop: HopParameters | None = hop
        self.done = 0

    @property
    def finished(self) -> bool:
        """Whether every pass is done."""
        return self._pattern.total is not None and self.done >= self._pattern.total

    def start(self) -> None:
        """Above the surface as it was last seen; what follows is a segment of its own."""
        self._context.lift_to(self._context.rig.hop_controller.start_height)
        self._context.begin_segment()

    def stop(self) -> None:
        """Nothing to put back: between two plans the pipette is at the top."""

    def wait(self, until_ns: int) -> None:
        """Stay at the top, sampling."""
        self._context.dwell(self._path, until_ns)

    def advance(self, until_ns: int) -> None:
        """The next hops; a dwell where none ends in time or the bulk current drifts."""
        context, hop = self._context, self.hop
        assert hop is not None
        if context.travels(until_ns) or context.waits_for_current(self._path, hop, until_ns):
            return
        left_ns = until_ns - context.now()
        period_ns = self._period_ns(hop)
        count = min(_PLAN_NS, context.bias.trusted_ns, left_ns) // period_ns
        if left_ns >= period_ns:
            count = max(1, count)
        if count and hop.bias_levels is not None:
            self._modulate(hop.bias_levels)
            count = 1
        points = self._pattern.some(self.done, count)
        hops = context.run(context.plan(self._path, points, hop, until_ns))
        self.done += hops.size
        self.keep(hops)

    def keep(self, hops: NDArray[Any]) -> None:
        """Finished hops, for a subclass that needs them."""

    def _period_ns(self, hop: HopParameters) -> int:
        heights = self._pattern.points.amplitude
        longest = hop if heights is None else replace(hop, amplitude=float(np.max(heights)))
        return round(self._context.rig.hop_controller.timing.period(longest) * _MARGIN * 1e9)

    def _modulate(self, bias: BiasLevels) -> None:
        """The levels in turn, sampled; back at the bias before the reference of the hop is taken."""
        context = self._context
        try:
            for level in bias.levels:
                context.bias.aim(level)
                context.dwell(self._path, context.now() + round(bias.dwell * 1e9))
        finally:
            context.bias.aim_nominal()
