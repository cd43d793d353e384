"""F15: the bias at 1 V/s with a potentiostat that answers 0 to 100 ms late. Holds when the wire stays within
rate x latency + 2 mV of its potential, as the world knows it, and the residual of each sample and hop can be read."""

from __future__ import annotations

import random

import numpy as np

from faults.outcome import Outcome
from faults.steered import Kept, steered
from opsicm.instruments.cell_control import CellControl, CellReading
from opsicm.instruments.rig import Rig
from opsicm.instruments.roles import Potentiostat
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
  - sweep: {from_V: 1.2, to_V: 0.3, rate_mV_s: 1000, cycles: 3, ir_compensation_pct: 50}
probe:
  - park: {height_um: 100}
envelope: {cell_V: [-0.5, 2.0], cell_mA: 100, bias_mV: 1000}
"""


class Late:
    """A potentiostat whose answer is `late_ns` old and says so in its stamp, or does not (`stamped` False)."""

    def __init__(self, inner: Potentiostat, rig: Rig, late_ns: int) -> None:
        self._inner, self._rig, self._late_ns = inner, rig, late_ns
        self._seen: list[CellReading] = []

    def apply(self, control: CellControl, at_ns: int) -> None:
        self._inner.apply(control, at_ns)

    def read(self) -> CellReading:
        """The newest reading that is old enough; while there is none, the oldest."""
        self._seen.append(self._inner.read())
        now = self._rig.clock.now_ns()
        while len(self._seen) > 1 and self._seen[1].t_ns <= now - self._late_ns:
            self._seen.pop(0)
        return self._seen[0]

    def safe(self) -> None:
        self._inner.safe()
