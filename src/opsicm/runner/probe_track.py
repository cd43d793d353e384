"""The probe's track: which step is due, which wait for an event of the cell, and which is suspended meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from opsicm.core.errors import InstrumentLost
from opsicm.core.facts import Kind
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_bounds import OpenEndedStep
from opsicm.experiment.probe_steps import ProbeStep, SingleProbeStep
from opsicm.experiment.program import executed_steps


class Procedure(Protocol):
    """A probe step in execution. It may be stopped between two advances and started again later."""

    hop: HopParameters | None
    """How it hops, which a command may change; None where it does not hop."""
    done: int
    """Hops, trips or cycles so far, from which a resumed run continues."""

    @property
    def finished(self) -> bool:
        """Whether it has reached its own end."""
        ...

    def start(self) -> None:
        """Go to where it begins or continues."""
        ...

    def advance(self, until_ns: int) -> None:
        """Continue the step; return at `until_ns` or before, apart from the hop in flight."""
        ...

    def wait(self, until_ns: int) -> None:
        """Stay in place until `until_ns`, since the bias is not known yet."""
        ...

    def stop(self) -> None:
        """Restore what the step has changed, above all the bias; called at its end too."""
        ...


@dataclass(slots=True)
class _Running:
    path: str
    step: SingleProbeStep
    procedure: Procedure
    started_ns: int
    suspended_since_ns: int | None = None


class ProbeTrack:
    """Steps in order, one at a time, each only while its cell step runs when it is bound to one.

    A step with `at` or `every_min` is deferred until `trigger`; then the present step is suspended at the end of its
    plan, the deferred one runs to its end, and the suspended one continues. A pause suspends the running step. Time
    during which a step is suspended does not count towards its `for_s`. Where a run is resumed, `skipped` steps are
    over and the next one has already done `begun` (hops, ns).
    """

    def __init__(
        self,
        program: Sequence[ProbeStep],
        procedure_for: Callable[[str, SingleProbeStep], Procedure],
        fact: Callable[[Kind, str, Mapping[str, Any]], None],
        skipped: int = 0,
        begun: tuple[int, int] = (0, 0),
    ) -> None:
        self._steps = (placed for placed in executed_steps("probe", program) if not placed.step.deferred)
        self._procedure_for = procedure_for
        self._fact = fact
        for _ in range(skipped):
            next(self._steps, None)
        self.number = skipped
        """Number of the present or next step among those that wait for no event."""
        self._next = next(self._steps, None)
        self._begun = begun
        self._main: _Running | None = None
        self._triggered_step: _Running | None = None
        self._triggered: deque[tuple[str, SingleProbeStep, str]] = deque()
        self.paused = False

    @property
    def _running(self) -> _Running | None:
        return self._triggered_step or self._main

    @property
    def path(self) -> str:
        """The present step's name in facts."""
        present = self._running or self._next
        return "probe" if present is None else present.path

    @property
    def procedure(self) -> Procedure | None:
        """The procedure of the present step, paused or not."""
        return None if self._running is None else self._running.procedure

    def due(self, now_ns: int, cell_step: int) -> Procedure | None:
        """The procedure that should run now, after starting, ending and suspending steps; None where none should."""
        if self.paused:
            return None
        if self._triggered_step is not None and self._is_over(self._triggered_step, now_ns, cell_step):
            self._end(self._triggered_step)
            self._triggered_step = None
        if self._main is not None and self._is_over(self._main, now_ns, cell_step):
            self._end(self._main)
            self._main = None
        while self._triggered and _is_past(self._triggered[0][1], cell_step):
            self._triggered.popleft()
        if self._triggered_step is None and self._triggered:
            if self._main is not None:
                self._suspend(self._main, now_ns)
            path, step, why = self._triggered.popleft()
            # In its place before it starts: an instrument that is lost meanwhile loses no step.
            self._triggered_step = self._placed(path, step, now_ns, {"at": why})
            self._triggered_step.procedure.start()
        if self._triggered_step is not None:
            self._resume(self._triggered_step, now_ns)
            return self._triggered_step.procedure
        if self._main is None:
            self._begin_next(now_ns, cell_step)
        if self._main is None:
            return None
        self._resume(self._main, now_ns)
        return self._main.procedure

    def ends_ns(self) -> int | None:
        """When `for_s` ends the present step; None where something else does."""
        running = self._running
        if running is None or not isinstance(running.step, OpenEndedStep) or running.step.for_s is None:
            return None
        return running.started_ns + round(running.step.for_s * 1e9)

    def trigger(self, path: str, step: SingleProbeStep, why: str) -> None:
        """Run `step` next: the event or the time that it waits for has come.

        A step that is repeated at intervals is not made up for: while it still runs or waits to, a time is left out.
        """
        runs = self._triggered_step is not None and self._triggered_step.path == path
        if step.interval is not None and (runs or any(waiting == path for waiting, _, _ in self._triggered)):
            self._fact("note", path, {"message": f"{why}: left out, since the step before it is not over"})
            return
        self._triggered.append((path, step, why))

    # -- commands ---------------------------------------------------------------------------------------------------

    def pause(self, now_ns: int) -> tuple[bool, str]:
        """Suspend until `resume`. The pipette is then at the top of a hop; the caller withdraws it to a safe height."""
        if self.paused:
            return False, "the probe is paused already"
        running = self._running
        if running is not None:
            self._suspend(running, now_ns)
        self.paused = True
        return True, f"{self.path} is paused, pipette up"

    def interrupt(self, now_ns: int) -> None:
        """Suspend as a pause does; the step may not be able to restore what it has changed: an instrument is lost."""
        running = self._running
        if running is not None:
            with suppress(InstrumentLost):
                self._suspend(running, now_ns)
            if running.suspended_since_ns is None:
                running.suspended_since_ns = now_ns
        self.paused = True

    def resume(self) -> tuple[bool, str]:
        """Continue with a new approach, in a new segment."""
        if not self.paused:
            return False, "the probe is not paused"
        self.paused = False
        return True, f"{self.path} continues"

    def skip(self) -> tuple[bool, str]:
        """End the present step."""
        running = self._running
        if running is None:
            return False, "no step of the probe runs"
        self._end(running, {"skipped": True})
        if running is self._triggered_step:
            self._triggered_step = None
        else:
            self._main = None
        return True, f"{running.path} has ended"

    # -- starts and ends --------------------------------------------------------------------------------------------

    def _begin_next(self, now_ns: int, cell_step: int) -> None:
        while self._next is not None:
            path, step = self._next.path, self._next.step
            cell_index = step.during_index
            if cell_index is not None and cell_step < cell_index:
                return
            self._next = next(self._steps, None)
            if cell_index is None or cell_step == cell_index:
                self._main = self._placed(path, step, now_ns, {}, self._begun)
                self._begun = (0, 0)
                self._main.procedure.start()
                if not self._is_over(self._main, now_ns, cell_step):
                    return
                self._end(self._main)
                self._main = None
            else:
                self.number += 1

    def _placed(
        self, path: str, step: SingleProbeStep, now_ns: int, data: Mapping[str, Any], begun: tuple[int, int] = (0, 0)
    ) -> _Running:
        running = _Running(path, step, self._procedure_for(path, step), now_ns - begun[1])
        running.procedure.done = begun[0]
        self._fact("step_started", path, {"number": self.number, "done": running.procedure.done, **data})
        return running

    def _end(self, running: _Running, data: Mapping[str, Any] | None = None) -> None:
        if running.suspended_since_ns is None:
            running.procedure.stop()
        self._fact("step_ended", running.path, data or {})
        if running is self._main:
            self.number += 1

    def _suspend(self, running: _Running, now_ns: int) -> None:
        if running.suspended_since_ns is None:
            running.procedure.stop()
            running.suspended_since_ns = now_ns

    def _resume(self, running: _Running, now_ns: int) -> None:
        if running.suspended_since_ns is None:
            return
        running.started_ns += now_ns - running.suspended_since_ns
        running.suspended_since_ns = None
        running.procedure.start()

    def _is_over(self, running: _Running, now_ns: int, cell_step: int) -> bool:
        if _is_past(running.step, cell_step):
            return True
        if running.procedure.finished:
            return True
        if running.suspended_since_ns is not None or not isinstance(running.step, OpenEndedStep):
            return False
        return running.step.for_s is not None and now_ns - running.started_ns >= round(running.step.for_s * 1e9)


def _is_past(step: SingleProbeStep, cell_step: int) -> bool:
    """Whether the cell step that it accompanies is over."""
    return step.during_index is not None and cell_step > step.during_index
