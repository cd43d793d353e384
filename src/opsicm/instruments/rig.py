"""A rig: the instruments together, on one clock."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from opsicm.instruments.clock import Clock
from opsicm.instruments.roles import Amplifier, CoarseStage, HopController, Potentiostat, Scanner


@dataclass(frozen=True, slots=True)
class Rig:
    """The roles that an operando experiment needs, by the title of their rig file; `grounding` as in `wiring`.

    `safe_addresses` are `socket#role` of the safe channels, in the order in which a watchdog must use them; a rig in
    the controlling process has none.
    """

    name: str
    clock: Clock
    amplifier: Amplifier
    potentiostat: Potentiostat
    scanner: Scanner
    coarse_stage: CoarseStage
    hop_controller: HopController
    grounding: str = "common"
    safe_addresses: tuple[str, ...] = ()

    def safe(self) -> None:
        """Probe up first, then the cell to open circuit, then the bias to zero: the order of every exit path.

        Each is told whatever the one before answers; what one of them raises is raised when all have been told.
        """
        with ExitStack() as last_first:
            for role in (self.amplifier, self.potentiostat, self.scanner, self.hop_controller):
                last_first.callback(role.safe)
