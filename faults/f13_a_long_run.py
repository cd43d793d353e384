"""F13: 24 h of experiment and a million hops, accelerated: the runner's part, and a million hops through the record's
three processes. Holds when memory grows by less than 50 MB, descriptors stay, and facts, rows and hops are in order."""

from __future__ import annotations

import os
import random
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faults.outcome import Outcome
from faults.steered_run import MemoryRecorder, run_steered
from faults.stream import Stream, folder
from opsicm.core.facts import Fact, SampleBlock
from opsicm.experiment.file import experiment_from_text
from opsicm.record.reader import Run
from opsicm.record.recorder import Reading
from opsicm.record.shared_recorder import SharedRecorder

_GROWTH = 50e6  # [bytes]
_EXPERIMENT = """\
opsicm: 1
title: long
rig: twin/graphite
pipette: {{bias_V: 0.7}}
specimen: {{loading_mg_cm2: 0.1}}
cell:
  - repeat: {{times: {rounds}, steps: [{{hold: {{potential_V: 0.3, for_s: 20}}}}, {{rest: {{for_s: 10}}}}]}}
probe:
  - hop: {{at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}}
envelope: {{cell_V: [-0.5, 2.0]}}
"""


class OrderCheck(MemoryRecorder):
    """A recorder that only counts what is out of order, and measures the process's memory and descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.hop_count = self.fact_count = 0
        self.wrong = 0
        self._t_ns = -1
        self._sample = (0, 0)
        self.memory: list[float] = []
        self.descriptors: list[int] = []

    def block(self, block: SampleBlock) -> None:
        position = (block.segment, block.first_sample)
        self.wrong += position[0] == self._sample[0] and position != self._sample
        self._sample = (block.segment, block.first_sample + block.counts.shape[0])

    def hops(self, step: str, records: NDArray[Any]) -> None:
        del step
        self.wrong += not np.array_equal(records["hop"], self.hop_count + np.arange(records.size))
        self.hop_count += records.size

    def reading(self, reading: Reading) -> None:
        self.wrong += reading.t_ns < self._t_ns
        self._t_ns = reading.t_ns

    def fact(self, fact: Fact) -> None:
        self.wrong += fact.seq != self.fact_count
        self.fact_count += 1
        if fact.kind == "step_started" and fact.track == "cell":
            self.memory.append(resident())
            self.descriptors.append(len(list(Path("/proc/self/fd").iterdir())))


def resident() -> float:
    """[bytes] of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * resource.getpagesize())


def own_memory(pid: int) -> float:
    """[bytes] of a process that are in memory now, but for what it shares: the ring."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def recorded(hops: int, workspace: Path) -> Outcome:
    """`hops` hops, 200 a block, as fast as they are taken."""
    stream, many = Stream(2, 10_000, 2_000, 500), 200
    count, run = -(-hops // many), folder(workspace)
    recorder = SharedRecorder(run)
    recorder.open(stream.header())
    recorder.fact(stream.begun())
    pool = stream.pool()
    memory: list[dict[str, float]] = []
    descriptors: list[dict[str, int]] = []
    for k in range(count):
        hop = np.repeat(stream.hop(k), many)
        hop["hop"] = k * many + np.arange(many)
        recorder.block(stream.block(pool, k))
        recorder.hops("probe[0]", hop)
        recorder.reading(stream.reading(k))
        if k in (count // 4, count - 1):
            while recorder.positions[0] != recorder.positions[1] or not run.unfinished_file.exists():
                recorder.wait(0.02)
            recorder.wait(0.5)  # the converter follows
            pids = {"controller": os.getpid(), "writer": recorder.writer, "converter": recorder.converter}
            memory.append({name: own_memory(pid) for name, pid in pids.items()})
            descriptors.append({name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in pids.items()})
    recorder.fact(stream.end(1, count))
    with Run(recorder.close()) as recorded_run:
        whole = np.array_equal(recorded_run.hops["number"].values, np.arange(count * many))
    grown, same = {name: memory[1][name] - memory[0][name] for name in memory[0]}, descriptors[0] == descriptors[1]
    observed = ", ".join(f"{name} grew by {value * 1e-6:.1f} MB" for name, value in grown.items())
    observed += f", {'the same' if same else 'other'} descriptors, {'all' if whole else 'NOT all'} in order"
    holds = whole and same and max(grown.values()) < _GROWTH
    return Outcome("F13", "a long run (the record's part)", count * many, observed, holds)


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """3 minutes of experiment and 20 000 recorded hops in short; in full 24 h and a million."""
    del draw
    rounds = 6 if short else 24 * 120
    recorder = OrderCheck()
    run_steered(experiment_from_text(_EXPERIMENT.format(rounds=rounds)), recorder=recorder)
    settled = len(recorder.memory) // 4  # what is loaded and compiled once
    grown = max(recorder.memory[settled:]) - recorder.memory[settled]
    descriptors = len(set(recorder.descriptors[settled:]))
    observed = (
        f"{rounds * 30 / 3600:.3g} h, {recorder.hop_count} hops, {recorder.fact_count} facts, memory grew by "
        f"{grown * 1e-6:.1f} MB, {descriptors} number of descriptors, {recorder.wrong} out of order"
    )
    enough = short or recorder.hop_count >= 1e6
    holds = grown < _GROWTH and descriptors == 1 and not recorder.wrong and enough
    with tempfile.TemporaryDirectory() as workspace:
        of_record = recorded(20_000 if short else 1_000_000, Path(workspace))
    return [Outcome("F13", "a long run (the runner's part)", recorder.hop_count, observed, holds), of_record]
