"""The envelope: what the rig may never leave. `check` holds the plan against it, the watchdog the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from opsicm.protocol.frozen import Frozen, Number, Potential
from opsicm.protocol.refusal import Refusal
from opsicm.units import to_si

_PAIR = 2

READABLE: Final = 0.1e-9  # [A] below this a pipette is held near zero bias on purpose
COLLAPSED: Final = 0.1  # of the usual far current: less is a touch or a clog, and a run stops


class Envelope(Frozen):
    """Limits of a run. Currents are magnitudes: 20 allows −20 to +20.

    `approach_um` is how far one fall may go below the height where it began, `run_h` how long the run may last,
    `bias_mV` by how much the pipette wire may miss its potential against lithium.
    """

    cell_V: tuple[Potential, Potential] = (-0.05, 2.0)
    cell_mA: Annotated[Number, Field(gt=0, le=10_000)] = 20.0
    approach_um: Annotated[Number, Field(gt=0, le=1000)] = 5.0
    pipette_nA: Annotated[Number, Field(gt=0, le=10_000)] = 20.0
    run_h: Annotated[Number, Field(gt=0, le=10_000)] = 100.0
    bias_mV: Annotated[Number, Field(gt=0, le=10_000)] = 100.0

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The range of potentials goes upwards."""
        pair: Sequence[float] = given.get("cell_V") or ()
        if len(pair) == _PAIR and not pair[0] < pair[1]:
            remedy = f"write the lower one first, as [{min(pair):g}, {max(pair):g}]"
            yield Refusal(("cell_V",), list(pair), "the first potential must be below the second", remedy)

    @property
    def cell_current(self) -> float:
        """Largest magnitude of the cell current [A]."""
        return to_si("cell_mA", self.cell_mA)

    @property
    def approach(self) -> float:
        """Farthest that one fall may go down [m]."""
        return to_si("approach_um", self.approach_um)

    @property
    def pipette_current(self) -> float:
        """Largest magnitude of the pipette current [A]."""
        return to_si("pipette_nA", self.pipette_nA)

    @property
    def duration(self) -> float:
        """Longest run [s]."""
        return to_si("run_h", self.run_h)

    @property
    def bias_residual(self) -> float:
        """Largest magnitude by which the pipette wire may miss its potential [V]."""
        return to_si("bias_mV", self.bias_mV)
