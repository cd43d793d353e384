"""Steps that move only the bias: the pipette's voltammogram, and the amplifier's offset at zero bias."""

from __future__ import annotations

from typing import Final

import numpy as np

from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_steps import PipetteSweep, Zero
from opsicm.runner.probe_context import ProbeContext

_READ_INTERVAL_NS: Final = 50_000_000


class PipetteSweepProcedure:
    """Sweeps the pipette electrode's potential there and back at a fixed height, cycle after cycle, sampled in full."""

    hop: HopParameters | None = None

    def __init__(self, context: ProbeContext, path: str, step: PipetteSweep) -> None:
        self._context = context
        self._path = path
        self._step = step
        self._leg_ns = round(abs(step.to_V - step.from_V) / step.rate * 1e9)
        self._elapsed_ns = 0

    @property
    def done(self) -> int:
        """Complete cycles."""
        return self._elapsed_ns // (2 * self._leg_ns)

    @done.setter
    def done(self, cycles: int) -> None:
        self._elapsed_ns = cycles * 2 * self._leg_ns

    @property
    def finished(self) -> bool:
        """Whether every cycle is done."""
        return self.done >= self._step.cycles

    def start(self) -> None:
        """Go to the step's height and begin a new segment of samples."""
        self._context.lift_to(self._step.height)
        self._context.begin_segment()

    def stop(self) -> None:
        """Return to the experiment's bias."""
        self._context.bias.return_to_nominal()

    def wait(self, until_ns: int) -> None:
        """Hold the potential that the sweep has reached."""
        self._context.bias.set_target(self._ramp()[0])
        self._context.dwell(self._path, until_ns)

    def advance(self, until_ns: int) -> None:
        """Continue the present leg."""
        context = self._context
        if context.wait_for_stage(until_ns):
            return
        volts, slope, left_ns = self._ramp()
        context.bias.set_target(volts, slope)
        began = context.now()
        context.dwell(self._path, min(until_ns, began + left_ns, began + context.bias.ramp_duration_ns))
        self._elapsed_ns += context.now() - began

    def _ramp(self) -> tuple[float, float, int]:
        """(potential [V], slope [V/s], time to the end of this leg [ns])."""
        leg, elapsed_ns = divmod(self._elapsed_ns, self._leg_ns)
        vertices = (self._step.from_V, self._step.to_V)
        first, last = vertices if leg % 2 == 0 else vertices[::-1]
        slope = self._step.rate if last > first else -self._step.rate
        return first + slope * elapsed_ns * 1e-9, slope, self._leg_ns - elapsed_ns


class ZeroProcedure:
    """Holds the pipette electrode at the reference's potential for a time: the current read then is the offset.

    The cell's own ohmic drop drives a current through the pipette too: the offset is meaningful at open circuit only.
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
        """Go to the start height, where the surface does not affect the current."""
        self._context.lift_to(self._context.rig.hop_controller.start_height)

    def stop(self) -> None:
        """Return to the experiment's bias; once the time has passed, record the offset as a fact."""
        self._context.bias.return_to_nominal()
        if self.finished and self._currents:
            offset, n = float(np.mean(self._currents)), len(self._currents)
            u = float(np.std(self._currents, ddof=1) / np.sqrt(n)) if n > 1 else None
            data = {"message": "amplifier offset at zero bias", "offset_A": offset, "u_A": u, "n": n}
            self._context.fact("note", self._path, data)
            self._currents = []

    def wait(self, until_ns: int) -> None:
        """Stay in place."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:
        """Wait for one reading interval and read the current."""
        context = self._context
        if context.wait_for_stage(until_ns):
            return
        context.bias.set_target(0.0)
        began = context.now()
        self.wait(min(until_ns, began + _READ_INTERVAL_NS, began + self._left_ns))
        self._currents.append(context.read_current())
        self._left_ns -= context.now() - began
