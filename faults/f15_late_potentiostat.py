"""F15: the bias at 1 V/s with a potentiostat that answers 0 to 100 ms late. Holds when the pipette electrode's true
potential stays within rate x latency + 2 mV of its target and no row records a residual above 2 mV: a late reading is
compared with the command at the time of the reading."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np

from faults.outcome import Outcome
from faults.steered_run import MemoryRecorder, run_steered
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.rig_file import rig_path
from opsicm.instruments.roles import Rig
from opsicm.twin.hop_controller import TwinHopController

_RATE = 1.0  # [V/s]
_MARGIN = 2e-3  # [V]
_INTERVAL_NS = 1_000_000
_PRESET = "twin/graphite"
EXPERIMENT = """\
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


class TipPotentialMonitor:
    """Records every millisecond the true error of the twin's tip potential, which the world knows without delay."""

    def __init__(self, rig: Rig) -> None:
        assert isinstance(rig.hop_controller, TwinHopController)
        self._world = rig.hop_controller.world
        self.off: list[float] = []
        self._plain_wait = rig.clock.wait_until
        rig.clock.wait_until = self.wait_until  # type: ignore[method-assign]

    def wait_until(self, t_ns: int) -> None:
        """Wait as the clock does, in steps of a millisecond."""
        while self._world.now_ns < t_ns:
            self._plain_wait(min(t_ns, self._world.now_ns + _INTERVAL_NS))
            # The twin's circuit: the reference is at -E, the pipette electrode at the command.
            self.off.append(self._world.command(self._world.now_ns) + self._world.reading().potential - 0.7)


def once(late_s: float) -> tuple[float, MemoryRecorder]:
    """(largest error [V] of the tip's potential, the run) on a rig whose potentiostat is late by `late_s`."""
    plain = rig_path(_PRESET).read_text(encoding="utf-8")
    late = plain.replace("initial_V: 1.2", f"initial_V: 1.2, latency_ms: {late_s * 1e3:.9g}")
    assert late != plain, "the preset has changed"
    monitors: list[TipPotentialMonitor] = []
    with tempfile.TemporaryDirectory() as where:
        (Path(where) / "rig.yaml").write_text(late, encoding="utf-8")
        text = EXPERIMENT.replace(_PRESET, "rig.yaml")
        experiment = experiment_from_text(text, str(Path(where) / "experiment.yaml"))
        kept = run_steered(experiment, change=lambda rig: monitors.append(TipPotentialMonitor(rig)))
    return float(np.max(np.abs(monitors[0].off))), kept


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """3 latencies in short, 20 in full, 0 and 100 ms among them."""
    latencies = [0.0, 0.1, *(draw.uniform(0.0, 0.1) for _ in range(1 if short else 18))]
    holds, observed = True, []
    for late in latencies:
        off, kept = once(late)
        recorded = np.abs(kept.column("bias_residual"))
        completed = kept.ending is not None and kept.ending.outcome == "completed"
        # The first rows have no command to compare with yet.
        residual = float(recorded[2:].max())
        holds = holds and completed and off <= _RATE * late + _MARGIN and residual <= _MARGIN
        observed.append(f"{late * 1e3:.0f} ms late: {off * 1e3:.1f} mV off at most, recorded {residual * 1e3:.1f} mV")
    return [Outcome("F15", "bias at 1 V/s, late potentiostat", len(latencies), "; ".join(observed[:5]), holds)]
