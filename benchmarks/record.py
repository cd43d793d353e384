"""The record: the writer's share of a core, the latency from block to disk, and the unpaced speed."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.row import BenchRow
from opsicm.core.facts import MEANING, SampleBlock, channel
from opsicm.instruments.clock import Pacer, stopwatch
from opsicm.record import run_folder
from opsicm.record.recorder import RunHeader
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.record.writer_process import SYNC_EVERY

_CHANNELS: Final = 8
_DT_NS: Final = 1_000
_BLOCK: Final = 50_000  # samples: 50 ms, 0.8 MB
_PACED: Final = 10.0  # [s]
_UNPACED: Final = 1200  # blocks: 960 MB, thrice what the ring holds; the last flush may come half a second late
_TURNS: Final = 2


def pool(samples: int = _BLOCK) -> NDArray[np.int16]:
    """Currents as a filtered converter gives them: 10 kHz wide at 1 MS/s, 11 bits of noise over a slow wave."""
    random = np.random.default_rng(1)
    white = random.normal(0, 300, (4, samples, _CHANNELS))
    smooth = np.empty_like(white)
    smooth[:, 0], keep = white[:, 0], np.exp(-2 * np.pi * 1e4 * _DT_NS * 1e-9)
    for k in range(1, samples):
        smooth[:, k] = keep * smooth[:, k - 1] + (1 - keep) * white[:, k]
    wave = 8000 * np.sin(np.arange(samples) / 7000.0)
    counts: NDArray[np.int16] = (smooth * 8 + wave[None, :, None]).astype(np.int16)
    return counts


def _recorder(out: Path) -> SharedRecorder:
    channels = tuple(channel(name, 1e-12, "bench") for name in list(MEANING)[:_CHANNELS])
    folder = run_folder.create(out, "bench", datetime(2026, 1, 1, tzinfo=UTC), "", "")
    recorder = SharedRecorder(folder)
    recorder.open(RunHeader("bench", "2026-01-01T00:00:00.000+00:00", "", "", channels, _DT_NS))
    return recorder


def _block(counts: NDArray[np.int16], k: int) -> SampleBlock:
    n = counts.shape[1]
    return SampleBlock(1, k * n, k * n * _DT_NS, _DT_NS, counts[k % 4], np.zeros(_CHANNELS, np.uint8))


def _cpu(pid: int) -> float:
    """[s] of processor time that a process has had."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def row() -> list[BenchRow]:
    """Three rows: paced, and with no pace to keep."""
    counts = pool()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as workspace:
        rows = paced(Path(workspace), counts, _PACED)
        unpaced = against_raw(Path(workspace), counts, _UNPACED, _TURNS)
    return [*rows, unpaced]


def paced(out: Path, counts: NDArray[np.int16], seconds: float) -> list[BenchRow]:
    """Two rows: what the record takes of a core while 1 MS/s of 8 channels come, and how late they are in the log."""
    writer, converter, controller, late = _paced(out, counts, seconds)
    limit = f"1 MS/s x 8 channels, paced, {seconds:g} s, load {os.getloadavg()[0]:.1f}"
    others = (
        f"beside it the converter, which yields to everything else, took {converter:.1%}, and the controlling "
        f"process, which hands the blocks over, {controller:.1%}"
    )
    # In the log a block is in the system's cache, which no kill takes; the disk has it at the next `fdatasync`.
    where = f"until the log has it; brought to the disk every {SYNC_EVERY:g} s"
    return [
        BenchRow(
            "record: writer's share of a core", writer * 100, "%", "", f"{limit}; {others}", "≤ 5 %", writer <= 0.05
        ),
        BenchRow("record: block to disk, p99", late * 1e3, "ms", "", f"{limit}; {where}", "≤ 20 ms", late <= 0.02),
    ]


def against_raw(workspace: Path, counts: NDArray[np.int16], blocks: int, turns: int) -> BenchRow:
    """The row of both speeds, measured alternately because the load of disk and machine changes within seconds; each
    file is deleted at once."""
    recorded = raw = 0.0
    for turn in range(turns):
        out = workspace / str(turn)
        recorded += _unpaced(out, counts, blocks)
        shutil.rmtree(out)
        raw += _raw(workspace / "raw", counts, blocks)
        (workspace / "raw").unlink()
    size = blocks * counts[0].nbytes / 1e6
    peer = (
        f"plain writes of the same blocks, unpacked, with fdatasync every {SYNC_EVERY:g} s and at the end: "
        f"{turns * size / raw:.0f} MB/s"
    )
    limit = (
        f"{turns} x {size:.0f} MB of 8 channels, packed and summed, from the first block until all is "
        f"on the disk: {turns * size / recorded:.0f} MB/s of counts; load {os.getloadavg()[0]:.1f}"
    )
    return BenchRow(
        "record: unpaced against a raw write", raw / recorded, "1", peer, limit, "≥ 0.5", raw / recorded >= 0.5
    )


def _paced(out: Path, counts: NDArray[np.int16], seconds: float) -> tuple[float, float, float, float]:
    """(share of a core of the writer, of the converter, of this process; 99th percentile of the latency [s])."""
    recorder = _recorder(out)
    pacer = Pacer(1.0, lambda: False)
    processes = (recorder.writer, recorder.converter, os.getpid())
    before, took = [_cpu(one) for one in processes], stopwatch()
    latencies: list[int] = []
    count, period = 0, counts.shape[1] * _DT_NS
    for k in range(round(seconds / (period * 1e-9))):
        recorder.block(_block(counts, k))
        pacer.hold((k + 1) * period)
        fresh, count = recorder.latencies(count)
        latencies += fresh
    writer, converter, controller = ((_cpu(one) - first) / took() for one, first in zip(processes, before, strict=True))
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.005)
    latencies += recorder.latencies(count)[0]
    recorder.close()
    return writer, converter, controller, float(np.percentile(latencies, 99)) * 1e-9


def _unpaced(out: Path, counts: NDArray[np.int16], blocks: int) -> float:
    """[s] until all of it is on the disk; making the run file comes after that."""
    recorder = _recorder(out)
    took = stopwatch()
    for k in range(blocks):
        recorder.block(_block(counts, k))
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.005)
    seconds = took()
    recorder.close()
    return seconds


def _raw(path: Path, counts: NDArray[np.int16], blocks: int) -> float:
    """[s] until all of it is on the disk."""
    took, since = stopwatch(), stopwatch()
    with path.open("wb", buffering=0) as file:
        for k in range(blocks):
            file.write(counts[k % 4].data)
            if since() >= SYNC_EVERY:
                os.fdatasync(file.fileno())
                since = stopwatch()
        os.fdatasync(file.fileno())
    return took()
