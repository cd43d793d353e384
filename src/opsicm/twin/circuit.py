"""The twin's own circuit: where each node stands against ground, from what the two instruments do.

Deliberately not shared with `instruments/wiring.py`: if the software's sign table were wrong, a twin that used the same
table would agree with it, and the rig would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

COMMON: Final = "common"
TWO_ELECTRODE: Final = "two_electrode"
Potential = TypeVar("Potential", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Nodes(Generic[Potential]):
    """Potentials [V] against system ground of the specimen, the reference electrode and the pipette electrode.

    At one instant, or at many.
    """

    specimen: Potential
    reference: Potential
    pipette_electrode: Potential

    @property
    def electrode_against_reference(self) -> Potential:
        """What drives the pipette current: the pipette electrode against the reference in the bath [V]."""
        return self.pipette_electrode - self.reference


def nodes(cell_potential: Potential, amplifier_command: Potential, grounding: str = COMMON) -> Nodes[Potential]:
    """The nodes when the amplifier's headstage holds the pipette electrode at ground + `amplifier_command` [V].

    `common`: the potentiostat's working electrode is its virtual ground; it pushes the solution, and the reference
    with it, until specimen - reference = `cell_potential` [V]. `two_electrode`: no potentiostat; the reference itself
    is clamped to ground and the specimen floats at `cell_potential` above it. Assumes no current through the
    reference that would polarise it.
    """
    if grounding == TWO_ELECTRODE:
        return Nodes(cell_potential, 0.0 * cell_potential, amplifier_command)
    specimen = 0.0 * cell_potential
    return Nodes(specimen, specimen - cell_potential, amplifier_command)
