"""The probe's track: which step is due, what waits for an event of the cell, and what is suspended meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opsicm.core.facts import Kind
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_bounds import BoundedStep
from opsicm.experiment.probe_steps import ProbeStep, SingleProbeStep
from opsicm.experiment.program import executed

# -- What the runner asks of whatever carries out a step of the probe.


class Procedure(Protocol):
    """One probe step while it is carried out. It may be stopped between two advances and started again later."""

    hop: HopParameters | None
    """How it hops, which a command may change meanwhile; None where it does not hop."""
    done: int
    """Hops, trips or cycles so far: what a resumed run needs."""

    @property
    def finished(self) -> bool:
        """Whether it has come to its own end."""
        ...

    def start(self) -> None:
        """Go to where it begins or goes on."""
        ...

    def advance(self, until_ns: int) -> None:
        """Do something that ends, but for the hop in flight, at `until_ns` or before."""
        ...

    def wait(self, until_ns: int) -> None:
        """Disturb nothing until `until_ns`: the bias is not known yet."""
        ...

    def stop(self) -> None:
        """Put back what it has changed, the bias above all. Also after its own end."""
        ...


@dataclass(slots=True)
class _Running:
    path: str
    step: SingleProbeStep
    procedure: Procedure
    started_ns: int
    suspended_ns: int | None = None  # since when


class ProbeTrack:
    """Steps in order, one at a time, each only while its cell step runs when it is bound to one.

    A step with `at` is deferred until `trigger`; then the present step is suspended at the end of its plan, the
    deferred one runs to its end, and the suspended one goes on. A pause suspends whatever runs. Time in which a step is
    suspended does not count for its `for_s`. Where a run is resumed, `skipped` steps are over and the next one has done
    `begun` (hops, ns) already.
    """

    def __init__(
        self,
        program: Sequence[ProbeStep],
        procedure_for: Callable[[str, SingleProbeStep], Procedure],
        fact: Callable[[Kind, str, Mapping[str, Any]], None],
        skipped: int = 0,
        begun: tuple[int, int] = (0, 0),
    ) -> None:
        self._steps = (placed for placed in executed("probe", program) if placed.step.at is None)
        self._procedure_for = procedure_for
        self._fact = fact
        for _ in range(skipped):
            next(self._steps, None)
        self.number = skipped
        """Of the present step, or of the next one, among those that wait for no event."""
        self._next = next(self._steps, None)
        self._begun = begun
        self._main: _Running | None = None
        self._at: _Running | None = None
        self._triggered: deque[tuple[str, SingleProbeStep, str]] = deque()
        self.paused = False

    @property
    def path(self) -> str:
        """The present step's name in facts."""
        running = self._at or self._main
        if running is not None:
            return running.path
        return self._next.path if self._next is not None else "probe"

    @property
    def procedure(self) -> Procedure | None:
        """What runs, paused or not."""
        running = self._at or self._main
        return running.procedure if running is not None else None

    def present(self, now_ns: int, cell_step: int) -> Procedure | None:
        """What should run now; starts, ends and suspends as it must. None: nothing, or paused."""
        if self.paused:
            return None
        if self._at is not None and self._over(self._at, now_ns, cell_step):
            self._end(self._at)
            self._at = None
        self._drop_ended(now_ns, cell_step)
        if self._at is None and self._triggered:
            if self._main is not None:
                self._suspend(self._main, now_ns)
            path, step, why = self._triggered.popleft()
            self._at = self._start(path, step, now_ns, {"at": why})
        if self._at is not None:
            self._go_on(self._at, now_ns)
            return self._at.procedure
        if self._main is None:
            self._begin_next(now_ns, cell_step)
        if self._main is None:
            return None
        self._go_on(self._main, now_ns)
        return self._main.procedure

    def ends_ns(self) -> int | None:
        """When the present step ends by its own time, if it does."""
        running = self._at or self._main
        if running is None or not isinstance(running.step, BoundedStep) or running.step.for_s is None:
            return None
        return running.started_ns + round(running.step.for_s * 1e9)

    def trigger(self, path: str, step: SingleProbeStep, why: str) -> None:
        """An event that `step` waits for has come."""
        self._triggered.append((path, step, why))

    # -- commands ---------------------------------------------------------------------------------------------------

    def pause(self, now_ns: int) -> tuple[bool, str]:
        """Suspend until `resume`; the pipette is at the top, and its owner takes it further up."""
        if self.paused:
            return False, "the probe is paused already"
        running = self._at or self._main
        if running is not None and running.suspended_ns is None:
            self._suspend(running, now_ns)
        self.paused = True
        return True, f"{self.path} is paused, pipette up"

    def resume(self) -> tuple[bool, str]:
        """Go on: approach anew, in a segment of its own."""
        if not self.paused:
            return False, "the probe is not paused"
        self.paused = False
        return True, f"{self.path} goes on"

    def skip(self) -> tuple[bool, str]:
        """End the present step."""
        running = self._at or self._main
        if running is None:
            return False, "no step of the probe runs"
        self._end(running, {"skipped": True})
        if running is self._at:
            self._at = None
        else:
            self._main = None
        return True, f"{running.path} has ended"

    # -- starts and ends --------------------------------------------------------------------------------------------

    def _drop_ended(self, now_ns: int, cell_step: int) -> None:
        main = self._main
        if main is not None and self._over(main, now_ns, cell_step):
            self._end(main)
            self._main = None

    def _begin_next(self, now_ns: int, cell_step: int) -> None:
        while self._next is not None:
            path, step = self._next.path, self._next.step
            wanted = step.during_index
            if wanted is not None and cell_step < wanted:
                return
            self._next = next(self._steps, None)
            if wanted is None or cell_step == wanted:
                self._main = self._start(path, step, now_ns, {}, self._begun)
                self._begun = (0, 0)
                if not self._over(self._main, now_ns, cell_step):
                    return
                self._end(self._main)
                self._main = None
            else:
                self.number += 1

    def _start(
        self, path: str, step: SingleProbeStep, now_ns: int, data: Mapping[str, Any], begun: tuple[int, int] = (0, 0)
    ) -> _Running:
        running = _Running(path, step, self._procedure_for(path, step), now_ns - begun[1])
        running.procedure.done = begun[0]
        self._fact("step_started", path, {"number": self.number, "done": running.procedure.done, **data})
        running.procedure.start()
        return running

    def _end(self, running: _Running, data: Mapping[str, Any] | None = None) -> None:
        if running.suspended_ns is None:
            running.procedure.stop()
        self._fact("step_ended", running.path, data or {})
        if running is self._main:
            self.number += 1

    def _suspend(self, running: _Running, now_ns: int) -> None:
        if running.suspended_ns is None:
            running.procedure.stop()
            running.suspended_ns = now_ns

    def _go_on(self, running: _Running, now_ns: int) -> None:
        if running.suspended_ns is None:
            return
        running.started_ns += now_ns - running.suspended_ns
        running.suspended_ns = None
        running.procedure.start()

    def _over(self, running: _Running, now_ns: int, cell_step: int) -> bool:
        wanted = running.step.during_index
        if wanted is not None and cell_step > wanted:
            return True
        if running.procedure.finished:
            return True
        if running.suspended_ns is not None or not isinstance(running.step, BoundedStep):
            return False
        return running.step.for_s is not None and now_ns - running.started_ns >= round(running.step.for_s * 1e9)
