"""Steps of the pipette electrode alone: its voltammogram, and the amplifier's offset at zero bias."""

from __future__ import annotations

from typing import Final

import numpy as np

from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_steps import PipetteSweep, Zero
from opsicm.runner.probe_context import ProbeContext

_READ_EVERY_NS: Final = 50_000_000


class PipetteVoltammogram:
    """The pipette electrode's potential there and back, over and over, at a height, sampled in full."""

    hop: HopParameters | None = None

    def __init__(self, context: ProbeContext, path: str, step: PipetteSweep) -> None:
        self._context = context
        self._path = path
        self._step = step
        self._leg_ns = round(abs(step.to_V - step.from_V) / step.rate * 1e9)
        self._elapsed_ns = 0

    @property
    def done(self) -> int:
        """Cycles."""
        return self._elapsed_ns // (2 * self._leg_ns)

    @done.setter
    def done(self, cycles: int) -> None:
        self._elapsed_ns = cycles * 2 * self._leg_ns

    @property
    def finished(self) -> bool:
        """Whether every cycle is done."""
        return self.done >= self._step.cycles

    def start(self) -> None:
        """To the height; what follows is a segment of its own."""
        self._context.lift_to(self._step.height)
        self._context.begin_segment()

    def stop(self) -> None:
        """Back to the bias."""
        self._context.bias.aim_nominal()

    def wait(self, until_ns: int) -> None:
        """Hold the potential that the sweep has reached."""
        self._context.bias.aim(self._ramp()[0])
        self._context.dwell(self._path, until_ns)

    def advance(self, until_ns: int) -> None:
        """On along the present leg."""
        context = self._context
        if context.travels(until_ns):
            return
        volts, slope, left_ns = self._ramp()
        context.bias.aim(volts, slope)
        began = context.now()
        context.dwell(self._path, min(until_ns, began + left_ns, began + context.bias.trusted_ns))
        self._elapsed_ns += context.now() - began

    def _ramp(self) -> tuple[float, float, int]:
        """(potential [V], slope [V/s], what is left of this leg [ns])."""
        leg, elapsed_ns = divmod(self._elapsed_ns, self._leg_ns)
        vertices = (self._step.from_V, self._step.to_V)
        here, there = vertices if leg % 2 == 0 else vertices[::-1]
        slope = self._step.rate if there > here else -self._step.rate
        return here + slope * elapsed_ns * 1e-9, slope, self._leg_ns - elapsed_ns


class ZeroBias:
    """The pipette electrode at the reference's potential for a time: what the amplifier shows then is its offset.

    The cell's own ohmic drop reaches the pipette too, so the offset means something at open circuit.
    """

    hop: HopParameters | None = None

    def __init__(self, context: ProbeContext, path: str, step: Zero) -> None:
        self._context = context
        self._path = path
        self._left_ns = round(step.for_s * 1e9)
        self._currents: list[float] = []
        self.done = 0

    @property
    def finished(self) -> bool:
        """Whether its time has passed."""
        return self._left_ns <= 0

    def start(self) -> None:
        """Far enough that nothing but the amplifier is seen."""
        self._context.lift_to(self._context.rig.hop_controller.start_height)

    def stop(self) -> None:
        """Back to the bias; where its time has passed, the offset is a fact."""
        self._context.bias.aim_nominal()
        if self.finished and self._currents:
            offset, n = float(np.mean(self._currents)), len(self._currents)
            u = float(np.std(self._currents, ddof=1) / np.sqrt(n)) if n > 1 else None
            data = {"message": "amplifier offset at zero bias", "offset_A": offset, "u_A": u, "n": n}
            self._context.fact("note", self._path, data)
            self._currents = []

    def wait(self, until_ns: int) -> None:
        """Stand."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:
        """Wait a little, and read the current."""
        context = self._context
        if context.travels(until_ns):
            return
        context.bias.aim(0.0)
        began = context.now()
        self.wait(min(until_ns, began + _READ_EVERY_NS, began + self._left_ns))
        self._currents.append(context.read_current())
        self._left_ns -= context.now() - began
