"""Between which potentials a cell program works: what a state of charge is counted from and over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opsicm.experiment.cell_steps import CellStep, ConstantCurrent, Gitt, Hold, Ladder, Repeat, Sweep


def cut_offs(program: Sequence[CellStep]) -> tuple[float, float] | None:
    """(lithiated, delithiated) cut-off [V]: the lowest and the highest potential at which a step turns or ends.

    None where a program has no two of them: a state of charge then has no meaning.
    """
    found = {potential for step in program for potential in turns_of(step)}
    return (min(found), max(found)) if len(found) > 1 else None


def turns_of(step: CellStep) -> Iterator[float]:
    """Potentials [V] at which a step turns, stays or ends by a cut-off."""
    match step:
        case Sweep() | Ladder():
            yield from (potential for leg in step.legs() for potential in leg[:2])
        case Hold():
            yield step.potential_V
        case ConstantCurrent() | Gitt() if step.until is not None and step.until.potential_V is not None:
            yield step.until.potential_V
        case Repeat():
            for inner in step.steps:
                yield from turns_of(inner)
        case _:
            pass
