"""The cell's track: from steps to controls with a due time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opsicm.errors import OutsideDomain, Problem
from opsicm.instruments.cell_control import CellControl, OpenCircuit, PotentialRamp
from opsicm.instruments.cell_control import ConstantCurrent as HeldCurrent
from opsicm.protocol.cell_program import CellStep, ConstantCurrent, Hold, Sweep
from opsicm.protocol.cell_program import OpenCircuit as Rest


@dataclass(frozen=True, slots=True)
class CellAction:
    """One control of one step. `duration_ns` None: only a cut-off ends it. `charge` [C] ends it too when given.

    `delithiated_end` marks an action whose end is the delithiated cut-off, from which SOC counts.
    """

    step: int
    control: CellControl
    duration_ns: int | None
    charge: float | None = None
    delithiated_end: bool = False

    @property
    def path(self) -> str:
        """The step's name in facts."""
        return f"cell[{self.step}]"


def cell_actions(program: Sequence[CellStep], area: float, capacity: float | None) -> Iterator[CellAction]:
    """The controls of a cell program in order; `area` [m²] and `capacity` [C] turn densities and C-rates to amperes."""
    _, highest_cut_off = cut_offs(program) or (0.0, float("inf"))
    for index, step in enumerate(program):
        match step:
            case Sweep():
                for start, end, duration in step.legs():
                    ramp = PotentialRamp(start, (end - start) / duration, step.ir_compensation)
                    yield CellAction(index, ramp, _ns(duration), delithiated_end=end == highest_cut_off)
            case Hold():
                yield CellAction(index, PotentialRamp(step.potential_V, 0.0, step.ir_compensation), _ns(step.for_s))
            case ConstantCurrent():
                current = step.current(area, capacity)
                potential = step.until.potential_V
                lowest, highest = (potential, None) if current < 0.0 else (None, potential)
                duration_ns = None if step.until.for_s is None else _ns(step.until.for_s)
                held = HeldCurrent(current, lowest, highest)
                to_cut_off = current > 0.0 and potential == highest_cut_off
                yield CellAction(index, held, duration_ns, step.until.charge, delithiated_end=to_cut_off)
            case Rest():
                yield CellAction(index, OpenCircuit(), _ns(step.for_s))
            case _:
                limit = "this version does not execute it yet"
                raise OutsideDomain(Problem(f"cell[{index}].{step.word}", "", limit, "use sweep, hold or rest"))


def cut_offs(program: Sequence[CellStep]) -> tuple[float, float] | None:
    """(lithiated, delithiated) cut-off [V]: the lowest and the highest potential at which a step turns or ends.

    None where a program has no two of them: a state of charge then has no meaning.
    """
    potentials: set[float] = set()
    for step in program:
        match step:
            case Sweep() | Hold():
                potentials.update(potential for leg in step.legs() for potential in leg[:2])
            case ConstantCurrent() if step.until.potential_V is not None:
                potentials.add(step.until.potential_V)
            case _:
                pass
    return (min(potentials), max(potentials)) if len(potentials) > 1 else None


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
