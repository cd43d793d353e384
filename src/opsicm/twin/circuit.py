"""The twin's own circuit: where each node stands against ground, from what the two instruments do.

Deliberately not shared with `instruments/wiring.py`: if the software's sign table were wrong, a twin that used the
same table would agree with it, and the rig would not.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nodes:
    """Potentials [V] against system ground of the specimen, the reference electrode and the wire in the pipette."""

    specimen: float
    reference: float
    pipette_wire: float

    @property
    def wire_against_reference(self) -> float:
        """What drives the pipette current: the wire against the Li reference in the bath [V]."""
        return self.pipette_wire - self.reference


def nodes(cell_potential: float, amplifier_command: float) -> Nodes:
    """The nodes when the potentiostat keeps the specimen at ground and `cell_potential` against the reference [V].

    The potentiostat's working electrode is its virtual ground: it pushes the solution, and the reference with it,
    until specimen - reference = cell_potential. The amplifier's headstage holds the wire at ground + command.
    Assumes common grounds and no current through the reference.
    """
    specimen = 0.0
    return Nodes(specimen, specimen - cell_potential, amplifier_command)
