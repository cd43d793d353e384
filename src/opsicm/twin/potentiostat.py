"""The potentiostat's electronics: how late, how coarse, how noisy and how far it reads; control is the cell's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opsicm.core.errors import LimitCrossed, OutsideDomain, Problem
from opsicm.experiment.controls import CellControl, OpenCircuit
from opsicm.instruments.roles import CellReading
from opsicm.physics.noise import gaussian
from opsicm.twin.circuit import TWO_ELECTRODE
from opsicm.twin.devices import TwinDevice
from opsicm.twin.world import World

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


class TwinPotentiostat(TwinDevice):
    """The world's cell as this potentiostat shows it. Charge and set point come from its own counter, exact."""

    def __init__(self, world: World, readout: Readout, seed: int) -> None:
        self._world = world
        self._readout = readout
        self._seed = seed
        self._reads = 0
        self._now_ns = lambda: world.now_ns

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
            limit = "it does not answer and keeps its last control"
            raise LimitCrossed(
                Problem("potentiostat", now, limit, "check its cable, then what the cell has gone through")
            )


def _converted(value: float, step: float, reach: float) -> float:
    if step > 0.0:
        value = round(value / step) * step
    return max(-reach, min(reach, value))
