"""From the steps of a cell program to the controls of a potentiostat, in order, each with its duration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from opsicm.experiment.cell_steps import CellStep, ConstantCurrent, Gitt, Hold, Ladder, Repeat, Sweep, numbered
from opsicm.experiment.cell_steps import OpenCircuit as Rest
from opsicm.experiment.controls import cut_offs
from opsicm.instruments.roles import CellControl, CellReading, OpenCircuit, PotentialRamp
from opsicm.instruments.roles import ConstantCurrent as HeldCurrent

PlainStep = Sweep | Hold | Ladder | ConstantCurrent | Gitt | Rest


_SETTLED_NS: Final = 200_000_000  # after a change of potential, before its current is believed to have fallen
_MOST_PULSES: Final = 10_000  # with the paper's 420 s each, 49 days


@dataclass(frozen=True, slots=True)
class CellAction:
    """One control of one step. `duration_ns` None: only a cut-off ends it; `charge` [C] and `soc` may too, and a
    current whose magnitude has fallen below `fallen` [A].

    `visit` counts how often the program has come to this step before. `delithiated_end` marks an action whose end is
    the delithiated cut-off, from which SOC counts. `rested_ns` is how long after its beginning the specimen has rested
    (None: it does not), `level` [V] the rung of a ladder, `record_every_ns` the period of slow rows where the step
    asks for one; `cut_off_ends_step` says that nothing of this step follows a cut-off.
    """

    step: int
    path: str
    control: CellControl
    duration_ns: int | None
    charge: float | None = None
    soc: float | None = None
    delithiated_end: bool = False
    rested_ns: int | None = None
    level: float | None = None
    record_every_ns: int | None = None
    cut_off_ends_step: bool = False
    fallen: float | None = None
    visit: int = 0

    def has_fallen(self, reading: CellReading, began_ns: int) -> bool:
        """Whether the current that was to fall has: by a reading of this control, after its double layer is charged.

        A potentiostat that answers late still shows the open circuit, or the current, of the control before; and one
        that has just closed its loop shows none.
        """
        fresh = reading.t_ns >= began_ns + _SETTLED_NS
        return self.fallen is not None and fresh and abs(reading.current) < self.fallen

    def from_then_on(self, elapsed_ns: int, passed: float) -> CellAction:
        """What is left of it after `elapsed_ns` with `passed` [C]: a ramp goes on from where it was left."""
        control = self.control
        if isinstance(control, PotentialRamp):
            control = replace(control, start=control.start + control.slope * elapsed_ns * 1e-9)
        return replace(
            self,
            control=control,
            duration_ns=None if self.duration_ns is None else max(0, self.duration_ns - elapsed_ns),
            charge=None if self.charge is None else max(0.0, self.charge - abs(passed)),
            rested_ns=None if self.rested_ns is None or self.rested_ns < elapsed_ns else self.rested_ns - elapsed_ns,
        )


def cell_actions(program: Sequence[CellStep], area: float, capacity: float | None) -> Iterator[CellAction]:
    """The controls of a cell program in order; `area` [m²] and `capacity` [C] turn densities and C-rates to amperes.

    A pulse train that only its cut-off ends holds `_MOST_PULSES` pulses: passing over the rest must end.
    """
    _, highest = cut_offs(program) or (0.0, float("inf"))
    visits: Counter[str] = Counter()
    for index, path, step in numbered(program):
        assert not isinstance(step, Repeat), "unrolled by `numbered`"
        rows = None if step.record_every_s is None else _ns(step.record_every_s)
        for action in _actions_of(step, area, capacity, highest):
            yield replace(action, step=index, path=path, visit=visits[path], record_every_ns=rows)
        visits[path] += 1


def _actions_of(step: PlainStep, area: float, capacity: float | None, highest: float) -> Iterator[CellAction]:
    match step:
        case Ladder():
            for level, _, duration in step.legs():
                held = PotentialRamp(level, 0.0, step.ir_compensation)
                yield CellAction(
                    -1,
                    "",
                    held,
                    _ns(duration),
                    delithiated_end=level == highest,
                    rested_ns=_ns(step.rest_s),
                    level=level,
                )
        case Sweep():
            for start, end, duration in step.legs():
                ramp = PotentialRamp(start, (end - start) / duration, step.ir_compensation)
                yield CellAction(-1, "", ramp, _ns(duration), delithiated_end=end == highest)
        case Hold():
            held = PotentialRamp(step.potential_V, 0.0, step.ir_compensation)
            duration_ns = None if step.for_s is None else _ns(step.for_s)
            fallen = None if step.until is None else step.until.current(area, capacity)
            at_top = step.potential_V == highest
            yield CellAction(-1, "", held, duration_ns, delithiated_end=at_top, fallen=fallen)
        case ConstantCurrent():
            until = step.until
            duration_ns = None if until.for_s is None else _ns(until.for_s)
            control, at_top = _current(step.current(area, capacity), until.potential_V, highest)
            yield CellAction(-1, "", control, duration_ns, until.charge, until.soc, at_top)
        case Gitt():
            cut_off = None if step.until is None else step.until.potential_V
            control, at_top = _current(step.current(area, capacity), cut_off, highest)
            for _ in range(_MOST_PULSES if step.pulses is None else step.pulses):
                yield CellAction(
                    -1, "", control, _ns(step.pulse_s), delithiated_end=at_top, cut_off_ends_step=cut_off is not None
                )
                yield CellAction(-1, "", OpenCircuit(), _ns(step.rest_s), rested_ns=0)
        case Rest():
            yield CellAction(-1, "", OpenCircuit(), _ns(step.for_s), rested_ns=0)


def _current(current: float, potential: float | None, highest: float) -> tuple[HeldCurrent, bool]:
    """(the control, whether its cut-off is the delithiated one)."""
    lowest, upper = (potential, None) if current < 0.0 else (None, potential)
    return HeldCurrent(current, lowest, upper), current > 0.0 and potential == highest


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
