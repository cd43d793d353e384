"""The runner: its overhead per hop plan, and whole experiments of the paper with their recording.

Each experiment runs in a process of its own, as `opsicm run` does, so that its memory is its own too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from benchmarks.row import BenchRow
from opsicm.cli.live_settings import Revisions, shift_between
from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.facts import Fact, SampleBlock
from opsicm.experiment.file import experiment_from_text, experiment_path
from opsicm.instruments.clock import stopwatch
from opsicm.instruments.roles import HopPlan, PlanOutcome
from opsicm.record.recorder import Reading, RunHeader
from opsicm.runner.commands import StopSignal
from opsicm.runner.runner import RunContext, Runner

_GOALS: Final = {
    "e09": "a whole E9 … on the twin ≤ 25 s wall with recording, memory ≤ 1 GB",
    "e06": "E6 (17 images of 128²) within 5 minutes",
}
_TEXT: Final = """\
opsicm: 1
title: overhead
rig: twin/graphite
pipette: {bias_V: 0.7}
cell: [{hold: {potential_V: 1.2, for_s: 120}}]
probe: [{hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0}}]
"""


class NullRecorder:
    """A recorder that keeps nothing."""

    def open(self, header: RunHeader) -> None: ...
    def block(self, block: SampleBlock) -> None: ...
    def hops(self, step: str, records: NDArray[Any]) -> None: ...
    def reading(self, reading: Reading) -> None: ...
    def fact(self, fact: Fact) -> None: ...
    def close(self) -> Path:
        raise AssertionError("nothing was kept")


def _overhead() -> tuple[float, int]:
    """([s] of a plan that the runner takes besides the controller and the world, plans)."""
    experiment = experiment_from_text(_TEXT)
    loaded = load_rig(experiment, None)
    prepared = prepare(experiment, loaded, 1, lambda _: None)
    controller = prepared.rig.hop_controller
    plain, spent, plans = controller.run, 0.0, 0

    def run(plan: HopPlan, stop: Any) -> PlanOutcome:
        nonlocal spent, plans
        watch = stopwatch()
        outcome = plain(plan, stop)
        spent, plans = spent + watch(), plans + 1
        return outcome

    controller.run = run  # type: ignore[method-assign]
    run_context = RunContext(
        prepared.capacity, prepared.reversible, shift_between, Revisions(experiment, loaded), swelling=prepared.swelling
    )
    runner = Runner(experiment.experiment, prepared.rig, NullRecorder(), StopSignal(lambda: False), run_context)
    watch = stopwatch()
    runner.run()
    return (watch() - spent) / plans, plans


def _whole_experiment(name: str) -> tuple[float, float, int]:
    """([s] of wall time, [bytes] of the largest process, exit code) of a whole experiment, its recording included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "opsicm", "run", str(experiment_path(name)), "--out", folder]
        watch = stopwatch()
        done = subprocess.run(command, capture_output=True, check=False)
        wall = watch()
    return wall, 1024.0 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode


def row() -> list[BenchRow]:
    """Overhead per plan; E9 and, where `OPSICM_LONG` is set (it takes minutes), E6."""
    _overhead()
    seconds, plans = _overhead()
    rows = [
        BenchRow(
            "runner_overhead",
            seconds * 1e3,
            "ms/plan",
            "",
            f"{plans} plans, without record",
            "Runner overhead ≤ 2 ms per hop plan",
            seconds <= 2e-3,
        )
    ]
    names = {"e09": "e09_height_during_voltammogram.yaml"}
    if "OPSICM_LONG" in os.environ:
        names["e06"] = "e06_images_at_held_potentials.yaml"
    for name, file in names.items():
        wall, memory, code = _whole_experiment(file)
        machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        limit = f"exit code {code}; largest process {memory * 1e-9:.2f} GB; {machine}"
        met = code == 0 and (wall <= 25.0 and memory <= 1e9 if name == "e09" else wall <= 300.0)
        rows.append(BenchRow(f"{name}_wall", wall, "s", "", limit, _GOALS[name], met))
    return rows
