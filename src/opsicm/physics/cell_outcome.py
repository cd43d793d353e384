"""What a cell is asked to leave out, and how it says that it cannot go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opsicm.errors import LimitCrossed, Problem
from opsicm.physics import cell_step as k

_REASONS: Final = {
    k.DEPLETED_SPECIMEN: ("salt depleted", "at the specimen", "lower the current, stir, or raise the concentration"),
    k.DEPLETED_COUNTER: ("salt depleted", "at the counter electrode", "lower the current or raise the concentration"),
    k.STOICHIOMETRY: ("graphite full or empty", "at the particle surface", "stop earlier: set a cut-off potential"),
    k.UNSTABLE_COMPENSATION: ("iR over-compensated", "in the potentiostat", "compensate a smaller part"),
    k.SALT_TOO_HIGH: ("salt beyond the table", "in the bath", "lower the current or the concentration"),
}


@dataclass(frozen=True)
class Terms:
    """Parts of the model that can be switched: `ohmic`, `salt` in what the pipette finds; `convection` in the bath.

    Ohmic (the potential drop) and salt (the changed concentration) act on the reading alone, so that both parts
    belong to one and the same cell current. Convection changes the bath itself.
    """

    ohmic: bool = True
    salt: bool = True
    convection: bool = False


class CellStopped(LimitCrossed):
    """A step that no cell can make; the state is that of the last moment that could be met."""

    def __init__(self, outcome: int, time: float) -> None:
        self.reason, self.place, remedy = _REASONS[outcome]
        self.time = time
        super().__init__(Problem(f"cell at {time:.6g} s", "", f"{self.reason} {self.place}", remedy))
