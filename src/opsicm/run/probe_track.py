"""The probe's track: which step is due, and its hops as plans of at most a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from opsicm.instruments.hop import HopTiming
from opsicm.instruments.roles import HopPlan
from opsicm.protocol.probe_program import Hop, Line, Park, ProbeAction, ProbeStep, probe_sequence

_PLAN_NS: Final = 1_000_000_000
_ROOM: Final = 1.05  # a hop may last this much longer than its surface at rest would make it


class ProbeTrack:
    """Steps in order; one runs at a time, and only while its cell step does, when it is bound to one."""

    def __init__(self, program: Sequence[ProbeStep], timing: HopTiming, approach: float, tip_potential: float) -> None:
        self._program = [step for _, step in probe_sequence(program)]
        self._timing = timing
        self._approach = approach
        self._tip_potential = tip_potential
        self._index = 0
        self._started_ns: int | None = None
        self._done = 0
        self.segment = 0
        self.hops = 0

    @property
    def path(self) -> str:
        """The present step's name in facts."""
        return f"probe[{self._index}]"

    def due(self, now_ns: int, cell_step: int) -> tuple[ProbeAction | None, list[tuple[str, str]]]:
        """The step that should run now, and the starts and ends this decision makes, as (kind, path)."""
        events: list[tuple[str, str]] = []
        while self._index < len(self._program):
            step = self._program[self._index]
            wanted = step.during_index
            if self._started_ns is None:
                if wanted is not None and cell_step < wanted:
                    return None, events
                if wanted is None or cell_step == wanted:
                    self._start(step, now_ns)
                    events.append(("step_started", self.path))
                    return step, events
            elif not self._over(step, now_ns, cell_step):
                return step, events
            if self._started_ns is not None:
                events.append(("step_ended", self.path))
            self._index, self._started_ns = self._index + 1, None
        return None, events

    def _start(self, step: ProbeAction, now_ns: int) -> None:
        self._started_ns, self._done = now_ns, 0
        if not isinstance(step, Park):
            self.segment += 1

    def _over(self, step: ProbeAction, now_ns: int, cell_step: int) -> bool:
        assert self._started_ns is not None
        if step.during_index is not None:
            return cell_step > step.during_index
        if step.time_bound is not None:
            return now_ns - self._started_ns >= round(step.time_bound * 1e9)
        if isinstance(step, Hop) and step.hops is not None:
            return self._done >= step.hops
        if isinstance(step, Line) and step.passes is not None:
            return self._done >= step.passes * step.pixels
        return False

    def ends_ns(self, step: ProbeAction) -> int | None:
        """When the present step ends by its own time, if it does."""
        if step.time_bound is None or self._started_ns is None:
            return None
        return self._started_ns + round(step.time_bound * 1e9)

    def plan(self, step: Hop | Line, now_ns: int, until_ns: int, horizon_ns: int) -> HopPlan:
        """The next hops: as many as fit into `horizon_ns`, one at least; none, to dwell, if none ends in time."""
        duration_ns = round(self._timing.duration(step.amplitude, step.fall_rate) * _ROOM * 1e9)
        count = min(_PLAN_NS, horizon_ns, until_ns - now_ns) // duration_ns
        if until_ns - now_ns >= duration_ns:
            count = max(1, count)
        if isinstance(step, Hop):
            left = count if step.hops is None else min(count, step.hops - self._done)
            x, y = (np.full(left, value) for value in step.place)
            line, pixel = np.zeros(left, np.int32), np.zeros(left, np.int32)
        else:
            left = count if step.passes is None else min(count, step.passes * step.pixels - self._done)
            number = self._done + np.arange(left)
            line, pixel = (number // step.pixels).astype(np.int32), (number % step.pixels).astype(np.int32)
            along = pixel / (step.pixels - 1)
            x = step.start[0] + along * (step.end[0] - step.start[0])
            y = step.start[1] + along * (step.end[1] - step.start[1])
        return HopPlan(
            self.path, self.segment, self.hops, x, y, line, pixel, np.full(left, step.amplitude), step.fall_rate,
            step.setpoint, self._approach, self._tip_potential, until_ns,
        )  # fmt: skip

    def dwell(self, step: Hop | Line, until_ns: int) -> HopPlan:
        """No hops: stay at the top, sampling, until `until_ns`."""
        return self.plan(step, until_ns, until_ns, 0)

    def finished(self, hops: int) -> None:
        """Count hops that a plan has finished."""
        self._done += hops
        self.hops += hops
