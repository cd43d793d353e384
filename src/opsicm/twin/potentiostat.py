"""The potentiostat's electronics: how late, how coarse, how noisy and how far it reads; control is the cell's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, OutsideDomain, Problem
from opsicm.instruments.roles import CellControl, CellReading, OpenCircuit
from opsicm.physics.gaussian import gaussian

if TYPE_CHECKING:  # the world asks this module for its nodes
    from opsicm.twin.world import World

# -- The twin's own circuit: where each node stands against ground, from what the two instruments do.
#
# Deliberately not shared with `instruments/wiring.py`: if the software's sign table were wrong, a twin that used the
# same table would agree with it, and the rig would not.


COMMON: Final = "common"
TWO_ELECTRODE: Final = "two_electrode"


Potential = TypeVar("Potential", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class Nodes(Generic[Potential]):
    """Potentials [V] against system ground of the specimen, the reference electrode and the wire in the pipette.

    At one instant, or at many.
    """

    specimen: Potential
    reference: Potential
    pipette_wire: Potential

    @property
    def wire_against_reference(self) -> Potential:
        """What drives the pipette current: the wire against the reference electrode in the bath [V]."""
        return self.pipette_wire - self.reference


def nodes(cell_potential: Potential, amplifier_command: Potential, grounding: str = COMMON) -> Nodes[Potential]:
    """The nodes when the amplifier's headstage holds the wire at ground + `amplifier_command` [V].

    `common`: the potentiostat's working electrode is its virtual ground; it pushes the solution, and the reference
    with it, until specimen - reference = `cell_potential` [V]. `two_electrode`: no potentiostat; the reference itself
    is clamped to ground and the specimen floats at `cell_potential` above it. Assumes no current through the
    reference that would polarise it.
    """
    if grounding == TWO_ELECTRODE:
        return Nodes(cell_potential, 0.0 * cell_potential, amplifier_command)
    specimen = 0.0 * cell_potential
    return Nodes(specimen, specimen - cell_potential, amplifier_command)


_POTENTIAL_NOISE: Final = 10  # noise channels, beside those of segment 0, which no run has
_CURRENT_NOISE: Final = 11


@dataclass(frozen=True, slots=True)
class Readout:
    """`latency` [s] of an answer; noise [V, A rms] and converter steps [V, A], 0 for none; ranges [V, A]."""

    latency: float = 0.0
    potential_noise: float = 0.0
    current_noise: float = 0.0
    potential_step: float = 0.0
    current_step: float = 0.0
    potential_range: float = 5.0
    current_range: float = 0.1


class TwinPotentiostat:
    """The world's cell as this potentiostat shows it. Charge and set point come from its own counter, exact."""

    def __init__(self, world: World, readout: Readout, seed: int) -> None:
        self._world = world
        self._readout = readout
        self._seed = seed
        self._reads = 0

    def apply(self, control: CellControl, at_ns: int) -> None:
        self._answers()
        if self._world.grounding == TWO_ELECTRODE and not isinstance(control, OpenCircuit):
            limit = "two_electrode: no specimen is connected to the potentiostat"
            raise OutsideDomain(Problem("cell control", type(control).__name__, limit, "leave the cell open"))
        self._world.schedule(control, at_ns)

    def read(self) -> CellReading:
        self._answers()
        world, r = self._world, self._readout
        self._reads += 1
        true = world.reading(r.latency + world.faults.latency(world.now_ns))
        potential = true.potential + r.potential_noise * gaussian(self._seed, _POTENTIAL_NOISE, self._reads)
        current = true.current + r.current_noise * gaussian(self._seed, _CURRENT_NOISE, self._reads)
        return CellReading(
            true.t_ns,
            _converted(potential, r.potential_step, r.potential_range),
            _converted(current, r.current_step, r.current_range),
            true.charge,
            true.set_point,
            true.control,
            true.cut_off,
        )

    def safe(self) -> None:
        """Open circuit, by the safe channel: it is another line and answers when this one does not."""
        self._world.open_now()

    def _answers(self) -> None:
        if self._world.faults.potentiostat_is_lost(self._world.now_ns):
            now = f"silent at {self._world.now_ns * 1e-9:.3f} s"
            limit = "it does not answer and goes on as it was last told"
            raise LimitCrossed(
                Problem("potentiostat", now, limit, "check its cable, then what the cell has gone through")
            )


def _converted(value: float, step: float, reach: float) -> float:
    if step > 0.0:
        value = round(value / step) * step
    return max(-reach, min(reach, value))
