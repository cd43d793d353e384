"""What probe steps wait for: a rest, a state of charge or a potential of the cell, or the next of equal intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from opsicm.experiment.controls import SAME_LEVEL
from opsicm.experiment.probe_steps import ProbeStep, SingleProbeStep
from opsicm.experiment.program import written_steps
from opsicm.instruments.roles import CellReading
from opsicm.runner.cell_track import CellTrack

_ALREADY_THERE: Final = 2e-3  # [1] of SOC, [V]: a first reading this near to the value counts as reaching it


@dataclass(slots=True)
class _AwaitingStep:
    path: str
    step: SingleProbeStep
    occurrences: int = field(default=0)
    next_ns: int | None = field(default=None)
    """When a step with `every_min` is due next; None before its cell step has begun."""


class CellEvents:
    """Watches readings for the events of `program`.

    A rest occurs when an action has rested for as long as the step asks. A state of charge or a potential occurs when
    it lies between two successive readings, or when the first reading is already there; on a ladder a potential occurs
    when its level has rested, and only then: it is held, not passed. A step with `every_min` is due when its cell step
    begins, and then after each interval of the run's clock; in a resumed run it is due at once.
    """

    def __init__(self, program: Sequence[ProbeStep]) -> None:
        steps = written_steps("probe", program)
        self._waiting = [_AwaitingStep(placed.path, placed.step) for placed in steps if placed.step.deferred]
        self._last_rest: tuple[int, int] | None = None  # (number of the action, when its rest was complete)
        self._soc: float | None = None
        self._potential: float | None = None

    def occurred(
        self, now_ns: int, reading: CellReading, cell: CellTrack
    ) -> Iterator[tuple[str, SingleProbeStep, str]]:
        """(path, step, event) of every step whose event occurred with this reading."""
        if not self._waiting:
            return
        rests = self._rests(now_ns, cell)
        level = cell.level
        soc, potential = cell.soc(reading.charge), reading.potential
        for waiting in self._waiting:
            at = waiting.step.at
            if at is None:
                yield from self._due(waiting, now_ns, cell)
                continue
            events = ["rest"] if at.after_each == "rest" and rests else []
            events += [f"soc {value * 100:g} %" for value in at.soc if _passed(self._soc, soc, value)]
            for value in at.potential_V or ():
                held = rests and level is not None and abs(level - value) < SAME_LEVEL
                if held or (level is None and _passed(self._potential, potential, value)):
                    events.append(f"potential {value:g} V")
            waiting.occurrences += len(events)
            for event in events:
                yield waiting.path, waiting.step, event
        self._soc, self._potential = soc, potential

    def missed(self) -> Iterator[str]:
        """Paths of the steps whose event or time never came."""
        return (waiting.path for waiting in self._waiting if not waiting.occurrences)

    def _due(self, waiting: _AwaitingStep, now_ns: int, cell: CellTrack) -> Iterator[tuple[str, SingleProbeStep, str]]:
        step, during = waiting.step, waiting.step.during_index
        assert step.interval is not None
        if cell.step < 0 or (during is not None and cell.step != during):
            return
        if waiting.next_ns is None:
            waiting.next_ns = cell.began_ns
        if now_ns < waiting.next_ns:
            return
        interval_ns = round(step.interval * 1e9)
        waiting.occurrences += 1
        waiting.next_ns += ((now_ns - waiting.next_ns) // interval_ns + 1) * interval_ns
        yield waiting.path, step, f"time {waiting.occurrences}, every {step.every_min:g} min"

    def due_ns(self, now_ns: int) -> int | None:
        """When the next repetition at an interval is due; None where none is known."""
        due = [waiting.next_ns for waiting in self._waiting if waiting.next_ns is not None and waiting.next_ns > now_ns]
        return min(due, default=None)

    def _rests(self, now_ns: int, cell: CellTrack) -> bool:
        complete_ns = cell.rest_complete_ns
        if complete_ns is None or now_ns < complete_ns or self._last_rest == (cell.number, complete_ns):
            return False
        self._last_rest = (cell.number, complete_ns)
        return True


def _passed(before: float | None, now: float | None, value: float) -> bool:
    if now is None:
        return False
    if before is None:
        return abs(now - value) <= _ALREADY_THERE
    return before != now and min(before, now) <= value <= max(before, now) and before != value
