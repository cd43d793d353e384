"""F15: the bias at 1 V/s with a potentiostat that answers 0 to 100 ms late. Holds when the wire stays within
rate x latency + 2 mV of its potential, as the world knows it, and the residual of each sample and hop can be read."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from faults.outcome import Outcome
from faults.steered import Kept, steered
from opsicm.instruments.cell_control import CellReading
from opsicm.instruments.rig import Rig
from opsicm.protocol.experiment_file import experiment_from_text
from opsicm.twin.hop_controller import TwinHopController

_RATE = 1.0  # [V/s]
_MARGIN = 2e-3  # [V]
_EXPERIMENT = """\
opsicm: 1
title: late
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - hold: {potential_V: 1.2, for_s: 2}
  - sweep: {from_V: 1.2, to_V: 0.3, rate_mV_s: 1000, cycles: 3}
probe:
  - park: {height_um: 100}
envelope: {cell_V: [-0.5, 2.0], cell_mA: 100, bias_mV: 1000}
"""


class Late:
    """Lets the potentiostat of a twin answer with what was true `late_ns` ago, and notes where the wire truly stood."""

    def __init__(self, rig: Rig, late_ns: int) -> None:
        assert isinstance(rig.hop_controller, TwinHopController)
        self._world = rig.hop_controller.world
        self._rig, self._late_ns = rig, late_ns
        self._t, self._potential = [0], [rig.potentiostat.read().potential]
        self.off: list[float] = []
        self._plain_step, self._plain_wait, self._plain_read = (
            self._world.take_step, rig.clock.wait_until, rig.potentiostat.read
        )  # fmt: skip
        self._world.take_step = self.take_step  # type: ignore[method-assign]
        rig.clock.wait_until = self.wait_until  # type: ignore[method-assign]
        rig.potentiostat.read = self.read  # type: ignore[method-assign]

    def take_step(self) -> None:
        """The world's step; its end is remembered."""
        self._plain_step()
        end = self._world.step_end()
        self._t.append(end)
        self._potential.append(self._world.moment(end).potential)

    def wait_until(self, t_ns: int) -> None:
        """The clock's wait; the wire is looked at wherever the potential has moved meanwhile."""
        began = self._world.now_ns
        self._plain_wait(t_ns)
        for t, potential in zip(reversed(self._t), reversed(self._potential), strict=True):
            if t <= began:
                break
            if t <= t_ns:
                # The twin's own circuit: the reference stands at -E, the wire at the command.
                self.off.append(self._world.command(t) + potential - 0.7)

    def read(self) -> CellReading:
        """What was true then, and says so."""
        then = max(0, self._rig.clock.now_ns() - self._late_ns)
        potential = float(np.interp(then, self._t, self._potential))
        return replace(self._plain_read(), t_ns=then, potential=potential)


def once(late_s: float) -> tuple[float, Kept]:
    """(largest distance [V] of the wire from its potential, the run)."""
    seen: list[Late] = []
    experiment = experiment_from_text(_EXPERIMENT)
    kept = steered(experiment, change=lambda rig: seen.append(Late(rig, round(late_s * 1e9))))
    return float(np.max(np.abs(seen[0].off))), kept


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """3 latencies in short, 20 in full, 0 and 100 ms among them."""
    latencies = [0.0, 0.1, *(draw.uniform(0.0, 0.1) for _ in range(1 if short else 18))]
    held, seen = True, []
    for late in latencies:
        off, kept = once(late)
        recorded = np.abs(kept.column("bias_residual"))
        completed = kept.ending is not None and kept.ending.outcome == "completed"
        # The first rows have nothing to compare with: nobody has commanded anything yet.
        told = float(recorded[2:].max())
        held = held and completed and off <= _RATE * late + _MARGIN and told <= _RATE * late + _MARGIN
        seen.append(f"{late * 1e3:.0f} ms late: {off * 1e3:.1f} mV off at most, recorded {told * 1e3:.1f} mV")
    return [Outcome("F15", "bias at 1 V/s, late potentiostat", len(latencies), "; ".join(seen[:5]), held)]
