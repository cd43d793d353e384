"""Reading the record: the time to open a run of ten gigabytes, and the speed of reading its samples."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from benchmarks.record import pool
from benchmarks.row import BenchRow
from opsicm.core.facts import MEANING, channel
from opsicm.instruments.clock import stopwatch
from opsicm.record import default_plot, nexus_file, text_seal
from opsicm.record.live_files import HOP_ROW, READING_ROW, chunk_rows
from opsicm.record.nexus_file import BLOCK_COLUMNS
from opsicm.record.packed_counts import ChunkPress, CountsReader
from opsicm.record.reader import Run
from opsicm.record.recorder import RunHeader

_GIGABYTES: Final = 10.0
_DT_NS: Final = 1_000
_BLOCK: Final = 50_000  # samples
_HOP: Final = 10_000
_RANGE: Final = 1 << 19  # samples read at a time
_RANGES: Final = 76  # 640 MB


@dataclass(frozen=True, slots=True)
class Size:
    """Of a run: samples of 8 channels at 1 MS/s in whole chunks, hops of 10 ms, a slow row and two facts a second."""

    chunks: int

    @staticmethod
    def of(gigabytes: float) -> Size:
        return Size(max(1, round(gigabytes * 1e9 / (16 * chunk_rows(_DT_NS)))))

    @property
    def samples(self) -> int:
        return self.chunks * chunk_rows(_DT_NS)

    @property
    def hops(self) -> int:
        return self.samples // _HOP

    @property
    def seconds(self) -> float:
        return self.samples * _DT_NS * 1e-9


def row() -> list[BenchRow]:
    """Two rows, of one file; a smaller one, and no verdict on opening, where the disk has no room for it."""
    counts = pool()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as workspace:
        room = shutil.disk_usage(workspace).free * 1e-9 / 2
        size = Size.of(min(_GIGABYTES, room))
        path = Path(workspace) / "run.nxs"
        build(path, size, counts)
        back = read_back(path, _RANGES)
        cold, warm = opening(path, cold=True), opening(path, cold=False)
        stored = path.stat().st_size * 1e-9
    short = size.samples * 16e-9 < 0.99 * _GIGABYTES
    size_text = (
        f"{size.samples * 16e-9:.1f} GB of counts in {size.chunks} chunks ({stored:.1f} GB on the disk), "
        f"{size.hops} hops, {round(size.seconds * 2)} facts"
    )
    return [
        BenchRow(
            "record: opening a run",
            cold,
            "s",
            f"{warm:.3f} s once the disk's cache has it",
            f"title, outcome, segments and hops known, nothing in the disk's cache before; {size_text}",
            "≤ 0.3 s",
            None if short else cold <= 0.3,
            "the disk has no room for 10 GB" if short else "",
        ),
        BenchRow(
            "record: read-back against memcpy",
            back * 100,
            "%",
            "copies of the same stretches from memory to the same place, which the cache knows",
            f"{_RANGES * _RANGE * 16e-6:.0f} MB of 8 channels in stretches of 8 MB, one thread, no cache, "
            f"every checksum; load {os.getloadavg()[0]:.1f}",
            "≥ 15 %",
            back >= 0.15,
        ),
    ]


def build(path: Path, size: Size, counts: NDArray[np.int16]) -> None:
    """A valid run file whose chunks are a few, packed once and written again and again: each has its own place in the
    file and in the index, as in a run. Without the decimated stream, which may be absent and is not looked at."""
    channels = tuple(channel(name, 1e-12, "bench") for name in list(MEANING)[: counts.shape[2]])
    header = RunHeader(
        "ten gigabytes", "2026-01-01T00:00:00.000+00:00", "title: bench\n", "title: rig\n", channels, _DT_NS
    )
    with h5py.File(path, "w", libver=nexus_file.FORMAT, rdcc_nbytes=0) as file:
        entry = nexus_file.start(file, header, "bench", {"losses": "none"})
        hops, readings = _hops(size), _readings(size)
        nexus_file.hops(entry, hops)
        nexus_file.slow_rows(entry, readings)
        segment = nexus_file.group_of(
            nexus_file.group_of(entry, "samples", "NXcollection"), "segment_0001", "NXcollection"
        )
        segment.attrs.update(t0_ns=0, dt_ns=_DT_NS)
        rows, width = chunk_rows(_DT_NS), len(channels)
        dataset = segment.create_dataset(
            "counts",
            (size.samples, width),
            np.int16,
            maxshape=(None, width),
            chunks=(rows, width),
            fletcher32=True,
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        nexus_file.describe(dataset, channels)
        packed = _packed(counts, rows)
        for k in range(size.chunks):
            dataset.id.write_direct_chunk((k * rows, 0), packed[k % len(packed)])
        segment.create_dataset(
            "lost", data=np.empty((0, 2), np.int64), chunks=(1024, 2), maxshape=(None, 2), fletcher32=True
        )
        _blocks(segment, size, width)
        nexus_file.instrument(entry, header)
        nexus_file.journal(entry, _facts(size))
        nexus_file.end_time(entry, header)
        default_plot.write(entry, hops, readings)
        places, data = text_seal.text_references(file), text_seal.chunk_places(file)
    text_seal.seal(path, places, data)


def _packed(counts: NDArray[np.int16], rows: int) -> list[bytes]:
    samples = counts.reshape(-1, counts.shape[2])
    press = ChunkPress(rows * samples.shape[1])
    into = np.empty(press.room, np.uint8)
    return [
        into[: press.pack(samples[k : k + rows], into)].tobytes() for k in range(0, samples.shape[0] - rows + 1, rows)
    ]


def _blocks(segment: h5py.Group, size: Size, width: int) -> None:
    first = np.arange(0, size.samples, _BLOCK)
    n = np.minimum(_BLOCK, size.samples - first)
    table = np.column_stack([first, n, first * _DT_NS, np.zeros((first.size, width), np.int64)])
    item = segment.create_dataset(
        "blocks",
        data=table,
        chunks=(4096, table.shape[1]),
        maxshape=(None, table.shape[1]),
        compression="gzip",
        fletcher32=True,
    )
    item.attrs["columns"] = np.array([name.encode() for name in (*BLOCK_COLUMNS, *["quality"] * width)], "S")


def _hops(size: Size) -> NDArray[np.void]:
    rows = np.zeros(size.hops, HOP_ROW)
    start = np.arange(rows.size) * _HOP
    rows["hop"], rows["segment"], rows["step"] = np.arange(rows.size), 1, b"probe[0]"
    for name, late in (("start", 0), ("fall", 2_000), ("stop", 6_000), ("top", _HOP - 1)):
        rows[f"sample_{name}"] = start + late
    rows["t_ns"] = rows["sample_stop"] * _DT_NS
    rows["z_stop"] = 1e-6 + 1e-9 * np.random.default_rng(1).normal(size=rows.size)
    return rows


def _readings(size: Size) -> NDArray[np.void]:
    rows = np.zeros(max(1, round(size.seconds)), READING_ROW)
    rows["t_ns"], rows["control"] = np.arange(rows.size) * 10**9, b"open_circuit"
    return rows


def _facts(size: Size) -> list[str]:
    """A line of usual length each; the last says how it ended."""
    data = {"first": 0, "stop": 100, "segment": 1, "outcome": "contact"}
    last = round(size.seconds * 2)
    return [
        json.dumps(
            {
                "seq": k,
                "t_ns": k * 500_000_000,
                "kind": "run_ended" if k == last else "hops",
                "track": "probe",
                "step": "probe[0]",
                "data": {"outcome": "completed"} if k == last else data,
            }
        )
        for k in range(last + 1)
    ]


def opening(path: Path, cold: bool) -> float:
    """[s] until a run is open and its title, outcome, segments and hops are known; the median of three."""

    def forget() -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        with contextlib.suppress(AttributeError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)

    times = []
    for _ in range(3):
        if cold:
            forget()
        took = stopwatch()
        with Run(path) as run:
            _ = run.title, run.outcome, run.segments(), run.hops.sizes
        times.append(took())
    return float(np.median(times))


def read_back(path: Path, stretches: int) -> float:
    """Speed of samples out of the file over that of copies in memory, by the same stretches; best of three each.

    Source and destination are touched before, the destination is one stretch for both: what a reader that looks at each
    stretch in turn would have, and the fastest that a copy can be.
    """
    with h5py.File(path, "r", rdcc_nbytes=0) as file:
        reader = CountsReader(file["entry/samples/segment_0001/counts"])
        length, width = reader.dataset.shape
        n = min(_RANGE, length)
        stretches = min(stretches, length // n)
        into = np.zeros((n, width), np.int16)
        source = np.ones((stretches * n, width), np.int16)

        def read() -> None:
            for k in range(stretches):
                reader.read_into(into, k * n)

        def copy() -> None:
            for k in range(stretches):
                np.copyto(into, source[k * n : (k + 1) * n])

        return _best(copy) / _best(read)


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(3):
        took = stopwatch()
        work()
        times.append(took())
    return min(times)
