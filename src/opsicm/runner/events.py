"""Events of the cell that probe steps wait for: a rest, a state of charge, a potential."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from opsicm.experiment.controls import SAME_LEVEL
from opsicm.experiment.probe_steps import ProbeStep, SingleProbeStep
from opsicm.experiment.program import written
from opsicm.instruments.roles import CellReading
from opsicm.runner.cell_track import CellTrack

_AT_ONCE: Final = 2e-3  # [1] of SOC, [V]: what is met already when it is first known counts as reached


@dataclass(slots=True)
class _Waiting:
    path: str
    step: SingleProbeStep
    came: int = field(default=0)


class CellEvents:
    """Watches readings for the events of `program`.

    A rest comes when an action has rested for as long as it says. A state of charge or a potential comes when two
    readings in a row lie on either side of it, and where the first reading of it is there already; a level of a ladder
    comes when it has rested, and only then: its potential is not passed but held.
    """

    def __init__(self, program: Sequence[ProbeStep]) -> None:
        steps = written("probe", program)
        self._waiting = [_Waiting(placed.path, placed.step) for placed in steps if placed.step.at is not None]
        self._rested: tuple[int, int] | None = None  # (number of the control, when it began) that was counted
        self._soc: float | None = None
        self._potential: float | None = None

    def come(self, now_ns: int, reading: CellReading, cell: CellTrack) -> Iterator[tuple[str, SingleProbeStep, str]]:
        """(path, step, what has come) of every step whose event came with this reading."""
        if not self._waiting:
            return
        rests = self._rests(now_ns, cell)
        level = cell.level
        soc, potential = cell.soc(reading.charge), reading.potential
        for waiting in self._waiting:
            at = waiting.step.at
            assert at is not None
            said = []
            if at.after_each == "rest" and rests:
                said.append("rest")
            said += [f"soc {value * 100:g} %" for value in at.soc if _passed(self._soc, soc, value)]
            for value in at.potential_V or ():
                held = rests and level is not None and abs(level - value) < SAME_LEVEL
                if held or (level is None and _passed(self._potential, potential, value)):
                    said.append(f"potential {value:g} V")
            waiting.came += len(said)
            for what in said:
                yield waiting.path, waiting.step, what
        self._soc, self._potential = soc, potential

    def missed(self) -> Iterator[str]:
        """Paths of the steps whose event never came."""
        return (waiting.path for waiting in self._waiting if not waiting.came)

    def _rests(self, now_ns: int, cell: CellTrack) -> bool:
        rested = cell.rested_ns
        if rested is None or now_ns < rested or self._rested == (cell.number, rested):
            return False
        self._rested = (cell.number, rested)
        return True


def _passed(before: float | None, now: float | None, value: float) -> bool:
    if now is None:
        return False
    if before is None:
        return abs(now - value) <= _AT_ONCE
    return before != now and min(before, now) <= value <= max(before, now) and before != value
