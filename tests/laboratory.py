"""A laboratory for tests: one short experiment, a rig file that a test may edit, a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from opsicm.app.execute import execute
from opsicm.protocol.experiment_file import LoadedExperiment, read_experiment
from opsicm.record.reader import Run

# A specimen so thin that 8 mV/s takes it through its stages: 100 s of experiment, some 1250 hops.
TEXT = """\
opsicm: 1
title: short operando run
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {area_cm2: 0.5, thickness_um: 28, loading_mg_cm2: 0.05}
cell:
  - sweep: {from_V: 0.4, to_V: 0.0, rate_mV_s: 8, cycles: 1, ir_compensation_pct: 97}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [-0.6, 2.0]}
"""
RIG = (Path(__file__).parents[1] / "src/opsicm/presets/twin-demo.yaml").read_text(encoding="utf-8")
# At rest where the sweep begins, so that nothing happens at its first instant.
RIG = RIG.replace("initial_V: 1.2", "initial_V: 0.4")


@dataclass(frozen=True)
class Laboratory:
    """Runs experiments in a folder of its own, against a rig file that a test may edit."""

    folder: Path

    def experiment(self, text: str = TEXT, rig: str = RIG) -> LoadedExperiment:
        (self.folder / "rig.yaml").write_text(rig, encoding="utf-8")
        path = self.folder / "experiment.yaml"
        path.write_text(text.replace("rig: twin/graphite", "rig: rig.yaml"), encoding="utf-8")
        return read_experiment(path)

    def run(
        self, text: str = TEXT, rig: str = RIG, seed: int | None = 1, stop: Callable[[], bool] = lambda: False
    ) -> Run:
        return Run(execute(self.experiment(text, rig), self.folder / "out", seed=seed, stop=stop).path)
