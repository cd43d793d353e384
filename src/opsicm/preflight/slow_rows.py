"""How often the runner keeps a slow row: what a parked pipette can be seen by."""

from __future__ import annotations

from typing import Final

from opsicm.protocol.cell_program import CellStep, Repeat
from opsicm.protocol.potential_steps import Sweep

_ROW_STEP: Final = 1e-3  # [V] between two slow rows of a sweep
_FINEST, _COARSEST = 0.1, 1.0  # [s]


def row_period(step: CellStep) -> float:
    """[s] between two slow rows of a cell step while nothing hops: what the step asks for, else a millivolt."""
    if not isinstance(step, Repeat) and step.record_every_s is not None:
        return step.record_every_s
    if isinstance(step, Sweep):
        return min(max(_ROW_STEP / step.rate, _FINEST), _COARSEST)
    return _COARSEST
