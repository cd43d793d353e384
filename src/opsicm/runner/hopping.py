"""Hopping at a point, along a line or over a rectangle, with or without bias levels at the top of every hop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.experiment.hop_parameters import BiasLevels, HopParameters
from opsicm.experiment.patterns import Pattern
from opsicm.runner.probe_context import ProbeContext

_LONGEST_PLAN_NS: Final = 1_000_000_000
_PERIOD_MARGIN: Final = 1.05  # a hop lasts longer than calculated where the surface has receded


class HoppingProcedure:
    """Hops over a pattern, in plans of at most a second and never longer than a ramp of the bias may last."""

    def __init__(self, context: ProbeContext, path: str, pattern: Pattern, hop: HopParameters) -> None:
        self._context = context
        self._path = path
        self._pattern = pattern
        self.hop: HopParameters | None = hop
        self.done = 0
        self._from_far = True  # whether the next approach is the first since the start
        self._did_not_fit = False  # whether the last turn was too short for a hop

    @property
    def finished(self) -> bool:
        """Whether every pass is done."""
        return self._pattern.total is not None and self.done >= self._pattern.total

    def start(self) -> None:
        """Go to the start height above the surface where it begins, and begin a new segment of samples."""
        first = self._pattern.some(0 if self.finished else self.done, 1)
        start_height = self._context.rig.hop_controller.start_height
        self._context.lift_over(float(first.x[0]), float(first.y[0]), start_height)
        self._context.begin_segment()
        self._from_far = True

    def stop(self) -> None:
        """Nothing to put back: between two plans the pipette is at the top."""

    def wait(self, until_ns: int) -> None:
        """Stay at the top and sample."""
        self._context.dwell(self._path, until_ns)

    def advance(self, until_ns: int) -> None:
        """Run the next hops; dwell where no hop would end in time or the bulk current drifts too fast."""
        context, hop = self._context, self.hop
        assert hop is not None
        if context.wait_for_stage(until_ns) or context.wait_for_steady_current(self._path, hop, until_ns):
            return
        left_ns = until_ns - context.now()
        period_ns = self._period_ns(hop)
        needed_ns = period_ns + (self._longer_first_ns(hop) if self._from_far else 0)
        count = min(_LONGEST_PLAN_NS, context.bias.ramp_duration_ns, left_ns) // period_ns
        fits = left_ns >= needed_ns
        if fits:
            count = max(1, count)
        else:
            # A hop longer than a turn of the run fits none: what did not fit twice in a row may outlast the turn.
            ends_in_time = context.ends_ns is None or context.ends_ns - context.now() >= needed_ns
            count = 1 if self._did_not_fit and ends_in_time else 0
            until_ns += count * (needed_ns - left_ns)
        self._did_not_fit = not fits
        if count and hop.bias_levels is not None:
            self._modulate(hop.bias_levels)
            count = 1
        points = self._pattern.some(self.done, count)
        before = context.hops
        try:
            hops = context.run(context.plan(self._path, points, hop, until_ns))
        finally:  # hops that had arrived when an instrument was lost are done as well
            self.done += context.hops - before
        self._from_far = self._from_far and not hops.size
        self.keep(hops)

    def keep(self, hops: NDArray[Any]) -> None:
        """Take finished hops, in a subclass that needs them."""

    def _period_ns(self, hop: HopParameters) -> int:
        amplitudes = self._pattern.points.amplitude
        longest = hop if amplitudes is None else replace(hop, amplitude=float(np.max(amplitudes)))
        return round(self._context.rig.hop_controller.timing.period(longest) * _PERIOD_MARGIN * 1e9)

    def _longer_first_ns(self, hop: HopParameters) -> int:
        """By how much the first approach lasts longer than the next ones: it begins at the start height."""
        farther = max(0.0, self._context.rig.hop_controller.start_height - hop.amplitude)
        return round(farther / hop.fall_rate * 1e9)

    def _modulate(self, bias: BiasLevels) -> None:
        """Apply the levels in turn and sample each; return to the bias before the reference current is measured."""
        context = self._context
        try:
            for level in bias.levels:
                context.bias.set_target(level)
                context.dwell(self._path, context.now() + round(bias.dwell * 1e9))
        finally:
            context.bias.return_to_nominal()
