"""The record's memory: by how much its processes grow over a million hops."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.row import BenchRow
from opsicm.core.facts import HOP_DTYPE, Fact, SampleBlock, channel
from opsicm.record import run_folder
from opsicm.record.recorder import Reading, RunHeader
from opsicm.record.shared_recorder import SharedRecorder

_TURNS: Final = 10_000
_HOPS: Final = 100  # a turn
_SAMPLES: Final = 1_000  # a turn and channel
_DT_NS: Final = 10_000
_AFTER: Final = 0.1  # of the turns: what is set up once is set up by then
_LIMIT: Final = 50e6  # [bytes]


@dataclass(frozen=True, slots=True)
class MemoryGrowth:
    """Growth [bytes] of each process's private memory from a tenth of the turns to the end."""

    controller: int
    writer: int
    converter: int


def row() -> list[BenchRow]:
    """One row; the ring, which two of them share, does not count: its size is set at the start."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as workspace:
        growth = feed(Path(workspace), _TURNS)
    others = f"{growth.writer * 1e-6:.1f} MB, the converter, which follows, by {growth.converter * 1e-6:.1f} MB"
    limit = (
        f"{_TURNS * _HOPS:.0e} hops, {_TURNS} blocks, slow rows and facts each, as fast as they are taken; the "
        f"writer grew by {others}"
    )
    return [
        BenchRow(
            "record: memory of the controlling process",
            growth.controller * 1e-6,
            "MB",
            "",
            limit,
            "24 h, 1e6 hops: grows < 50 MB",
            growth.controller < _LIMIT and growth.writer < _LIMIT,
        )
    ]


def feed(out: Path, turns: int) -> MemoryGrowth:
    """A run of `turns`, each a block, `_HOPS` hops, a slow row and a fact."""
    folder = run_folder.create(out, "bench", datetime(2026, 1, 1, tzinfo=UTC), "", "")
    recorder = SharedRecorder(folder)
    channels = tuple(channel(name, 1e-12, "bench") for name in ("pipette_current", "z"))
    recorder.open(RunHeader("bench", "2026-01-01T00:00:00.000+00:00", "", "", channels, _DT_NS))
    counts = np.random.default_rng(1).normal(0.0, 30.0, (_SAMPLES, 2)).astype(np.int16)
    hops = np.zeros(_HOPS, HOP_DTYPE)
    hops["segment"] = 1
    begin = MemoryGrowth(0, 0, 0)
    for k in range(turns):
        if k == round(_AFTER * turns):
            begin = _memory(recorder)
        t_ns = (k + 1) * _SAMPLES * _DT_NS
        first = k * _SAMPLES
        recorder.block(SampleBlock(1, first, first * _DT_NS, _DT_NS, counts, np.zeros(2, np.uint8)))
        hops["hop"], hops["t_ns"] = np.arange(k * _HOPS, (k + 1) * _HOPS), t_ns
        for name in ("start", "fall", "stop", "top"):
            hops[f"sample_{name}"] = first
        recorder.hops("probe[0]", hops)
        recorder.reading(Reading(t_ns, 1.0, 0.0, 0.0, None, "open", None, 0.0, 0.7, 0.0, 1e-6, 1e-3))
        recorder.fact(Fact(k, t_ns, "hops", "probe", "probe[0]", {"range": [k * _HOPS, (k + 1) * _HOPS - 1]}))
    end = _memory(recorder)
    recorder.close()
    return MemoryGrowth(end.controller - begin.controller, end.writer - begin.writer, end.converter - begin.converter)


def _memory(recorder: SharedRecorder) -> MemoryGrowth:
    """The private memory of all processes once everything is on the disk."""
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.02)
    return MemoryGrowth(*(private_bytes(one) for one in (os.getpid(), recorder.writer, recorder.converter)))


def private_bytes(pid: int) -> int:
    """[bytes] of resident memory that is neither a file's nor shared."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/status has no RssAnon")
