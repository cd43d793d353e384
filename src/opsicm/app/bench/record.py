"""The record: what the writer costs, how long a block takes to its file, and how fast it is with no pace to keep."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.app.bench.row import BenchRow
from opsicm.facts.channel import MEANING, channel
from opsicm.facts.samples import SampleBlock
from opsicm.instruments.clock import Pacer, stopwatch
from opsicm.record import run_folder
from opsicm.record.reader import Run
from opsicm.record.recorder import Header
from opsicm.record.shared_recorder import SharedRecorder

_CHANNELS: Final = 8
_DT_NS: Final = 1_000
_BLOCK: Final = 50_000  # samples: 50 ms, 0.8 MB
_PACED: Final = 10.0  # [s]
_UNPACED: Final = 400  # blocks: 320 MB
_FLUSH: Final = 0.5
_STRETCH: Final = 1 << 19  # samples read at a time


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
    """Every row, measured in one go; the file that the unpaced row leaves is the one that is read."""
    pool = _pool()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as where:
        share, latency = _paced(Path(where), pool)
        ours, made = _unpaced(Path(where), pool)
        raw = _raw(Path(where) / "raw", pool)
        back, opening, size = _read_back(made), _opening(made), made.stat().st_size
    against = "1 MS/s x 8 channels, paced, 10 s"
    return [
        BenchRow("record: writer's share of a core", share * 100, "%", "", against, "≤ 6 %", share <= 0.06),
        BenchRow("record: block to file, p99", latency * 1e3, "ms", "", against, "≤ 20 ms", latency <= 0.02),
        BenchRow("record: unpaced against a raw write", ours / raw, "1",
                 f"raw write with the same fdatasync rhythm, {raw / 1e6:.0f} MB/s", "320 MB of 8 channels",
                 "≥ 0.6", ours / raw >= 0.6),
        BenchRow("record: read-back against memcpy", back * 100, "%", "memcpy of the same samples, chunk cache off",
                 "320 MB of 8 channels, in stretches of 8 MB", "≥ 15 %", back >= 0.15),
        BenchRow("record: opening a run", opening, "s", "", f"a run file of {size * 1e-9:.2f} GB", "≤ 0.3 s",
                 None if opening <= 0.3 else False,
                 "the goal is for 10 GB, which the bench's ten minutes do not make; opening reads no samples"),
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


def _unpaced(out: Path, pool: NDArray[np.int16]) -> tuple[float, Path]:
    """([bytes/s] of counts until all of it is on the disk, the run file)."""
    recorder = _recorder(out)
    took = stopwatch()
    for k in range(_UNPACED):
        recorder.block(_block(pool, k))
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.005)
    speed = float(_UNPACED * pool[0].nbytes / took())
    return speed, recorder.close()


def _read_back(path: Path) -> float:
    """Samples read out of the file over samples copied in memory, by the same stretches; best of three each."""
    with h5py.File(path, "r", rdcc_nbytes=0) as file:
        counts = file["entry/samples/segment_0001/counts"]
        into = np.empty((_STRETCH, counts.shape[1]), np.int16)
        kept = np.ones(counts.shape, np.int16)
        stretches = [slice(k, k + _STRETCH) for k in range(0, counts.shape[0] - _STRETCH + 1, _STRETCH)]

        def read() -> None:
            for stretch in stretches:
                counts.read_direct(into, stretch)

        def copy() -> None:
            for stretch in stretches:
                np.copyto(into, kept[stretch])

        return _best(copy) / _best(read)


def _opening(path: Path) -> float:
    """[s] until a run is open, its title, outcome and segments known; best of three."""

    def look() -> None:
        with Run(path) as run:
            _ = run.title, run.outcome, run.segments()

    return _best(look)


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(3):
        took = stopwatch()
        work()
        times.append(took())
    return min(times)


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
