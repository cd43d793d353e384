"""The record: what the writer costs, how long a block takes to its file, and how fast it is with no pace to keep."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.app.bench.row import BenchRow
from opsicm.facts.channel import MEANING, channel
from opsicm.facts.samples import SampleBlock
from opsicm.instruments.clock import Pacer, stopwatch
from opsicm.record import run_folder
from opsicm.record.recorder import Header
from opsicm.record.shared_recorder import SharedRecorder

_CHANNELS: Final = 8
_DT_NS: Final = 1_000
_BLOCK: Final = 50_000  # samples: 50 ms, 0.8 MB
_PACED: Final = 10.0  # [s]
_UNPACED: Final = 400  # blocks: 320 MB
_FLUSH: Final = 0.5


def _pool() -> NDArray[np.int16]:
    """Currents as a filtered converter gives them: 10 kHz wide at 1 MS/s, 11 bits of noise over a slow wave."""
    random = np.random.default_rng(1)
    white = random.normal(0, 300, (4, _BLOCK, _CHANNELS))
    smooth = np.empty_like(white)
    smooth[:, 0], keep = white[:, 0], np.exp(-2 * np.pi * 1e4 * _DT_NS * 1e-9)
    for k in range(1, _BLOCK):
        smooth[:, k] = keep * smooth[:, k - 1] + (1 - keep) * white[:, k]
    wave = 8000 * np.sin(np.arange(_BLOCK) / 7000.0)
    counts: NDArray[np.int16] = (smooth * 8 + wave[None, :, None]).astype(np.int16)
    return counts


def _recorder(out: Path) -> SharedRecorder:
    channels = tuple(channel(name, 1e-12, "bench") for name in list(MEANING)[:_CHANNELS])
    folder = run_folder.create(out, "bench", datetime(2026, 1, 1, tzinfo=UTC), "", "")
    recorder = SharedRecorder(folder)
    recorder.open(Header("bench", "2026-01-01T00:00:00.000+00:00", "", "", channels, _DT_NS))
    return recorder


def _block(pool: NDArray[np.int16], k: int) -> SampleBlock:
    return SampleBlock(1, k * _BLOCK, k * _BLOCK * _DT_NS, _DT_NS, pool[k % 4], np.zeros(_CHANNELS, np.uint8))


def _cpu(pid: int) -> float:
    """[s] of processor time that a process has had."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def row() -> list[BenchRow]:
    """Four rows, measured in one go."""
    pool = _pool()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as where:
        share, latency = _paced(Path(where), pool)
        ours = _unpaced(Path(where), pool)
        raw = _raw(Path(where) / "raw", pool)
    against = "1 MS/s x 8 channels, paced, 10 s"
    return [
        BenchRow("record: writer's share of a core", share * 100, "%", "", against, "≤ 6 %", share <= 0.06),
        BenchRow("record: block to file, p99", latency * 1e3, "ms", "", against, "≤ 20 ms", latency <= 0.02),
        BenchRow("record: unpaced against a raw write", ours / raw, "1",
                 f"raw write with the same fdatasync rhythm, {raw / 1e6:.0f} MB/s", "320 MB of 8 channels",
                 "≥ 0.6", ours / raw >= 0.6),
    ]  # fmt: skip


def _paced(out: Path, pool: NDArray[np.int16]) -> tuple[float, float]:
    recorder = _recorder(out)
    pacer = Pacer(1.0, lambda: False)
    before, took = _cpu(recorder.writer), stopwatch()
    latencies: list[int] = []
    seen = 0
    for k in range(round(_PACED / (_BLOCK * _DT_NS * 1e-9))):
        recorder.block(_block(pool, k))
        pacer.hold((k + 1) * _BLOCK * _DT_NS)
        fresh, seen = recorder.latencies(seen)
        latencies += fresh
    share = (_cpu(recorder.writer) - before) / took()
    recorder.close()
    return share, float(np.percentile(latencies, 99)) * 1e-9


def _unpaced(out: Path, pool: NDArray[np.int16]) -> float:
    """[bytes/s] of counts until all of it is on the disk."""
    recorder = _recorder(out)
    took = stopwatch()
    for k in range(_UNPACED):
        recorder.block(_block(pool, k))
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.005)
    speed = float(_UNPACED * pool[0].nbytes / took())
    recorder.close()
    return speed


def _raw(path: Path, pool: NDArray[np.int16]) -> float:
    took, since = stopwatch(), stopwatch()
    with path.open("wb", buffering=0) as file:
        for k in range(_UNPACED):
            file.write(pool[k % 4].data)
            if since() >= _FLUSH:
                os.fdatasync(file.fileno())
                since = stopwatch()
        os.fdatasync(file.fileno())
    return float(_UNPACED * pool[0].nbytes / took())
