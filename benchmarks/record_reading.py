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
from xxhash import xxh3_64_intdigest as checksum

from benchmarks.record import pool
from benchmarks.row import BenchRow
from opsicm.core.facts import MEANING, channel
from opsicm.instruments.clock import stopwatch
from opsicm.record import default_plot, nexus_file, packed_counts, stored_chunks, text_seal
from opsicm.record.counts_reader import CountsReader
from opsicm.record.log import HOP_ROW, READING_ROW
from opsicm.record.reader import Run
from opsicm.record.recorder import RunHeader

_GIGABYTES: Final = 10.0
_DT_NS: Final = 1_000
_BLOCK: Final = 50_000  # samples
_HOP: Final = 10_000
_RANGE: Final = 1 << 19  # samples read at a time
_RANGES: Final = 76  # 640 MB
_BEFORE: Final = 0.19  # of memcpy, what version 0.1.0 read on one thread by its own reader, which was faster than HDF5
_CHUNK: Final = packed_counts.chunk_rows(8)
_CHUNK_BEFORE: Final = 16_384  # samples in a chunk of version 0.1.0


@dataclass(frozen=True, slots=True)
class Size:
    """Of a run: samples of 8 channels at 1 MS/s in whole chunks, hops of 10 ms, a slow row and two facts a second."""

    chunks: int

    @staticmethod
    def of(gigabytes: float) -> Size:
        return Size(max(1, round(gigabytes * 1e9 / (16 * _CHUNK))))

    @property
    def samples(self) -> int:
        return self.chunks * _CHUNK

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
        path, before = Path(workspace) / "run.nxs", Path(workspace) / "before.h5"
        build(path, size, counts)
        pack_as_before(before, min(size.samples, _RANGES * _RANGE), counts)
        speeds = read_back(path, before, _RANGES)
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
        speeds.row(),
    ]


@dataclass(frozen=True, slots=True)
class Speeds:
    """[bytes/s] of counts: copies in memory, samples out of the file on one thread and on two, and samples that are
    packed as version 0.1.0 packed them, through HDF5."""

    copy: float
    one: float
    two: float
    before: float
    bytes: int

    def row(self) -> BenchRow:
        """Against what version 0.1.0 reached, both by what the machine copies meanwhile."""
        processors = os.cpu_count() or 1
        peer = (
            f"copies of the same stretches from memory to the same place, which the cache knows: "
            f"{self.copy * 1e-9:.1f} GB/s; the same counts packed as version 0.1.0 did, through HDF5: "
            f"{self.before * 1e-9:.2f} GB/s"
        )
        limit = (
            f"{self.bytes * 1e-6:.0f} MB of 8 channels in stretches of 8 MB, no cache, every checksum: "
            f"{self.one * 1e-9:.2f} GB/s on one thread, {self.two * 1e-9:.2f} on two of {processors} processors; "
            f"load {os.getloadavg()[0]:.1f}"
        )
        share = self.one / self.copy
        return BenchRow(
            "record: read-back against memcpy",
            share * 100,
            "%",
            peer,
            limit,
            f"1.3 x version 0.1.0's {_BEFORE:.0%} on one thread, more with two",
            share >= 1.3 * _BEFORE and (processors == 1 or self.two > self.one),
        )


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
        tables = nexus_file.hops(entry), nexus_file.slow_rows(entry), nexus_file.JournalTable(entry)
        tables[0].append(hops)
        tables[1].append(readings)
        tables[2].append(_facts(size))
        segment = nexus_file.group_of(
            nexus_file.group_of(entry, "samples", "NXcollection"), "segment_0001", "NXcollection"
        )
        segment.attrs.update(t0_ns=0, dt_ns=_DT_NS)
        dataset, sums = stored_chunks.counts(segment, channels, _CHUNK)
        dataset.resize(size.samples, axis=0)
        samples = counts.reshape(-1, len(channels))
        packed = [packed_counts.pack(samples[k : k + _CHUNK]) for k in range(0, samples.shape[0] - _CHUNK + 1, _CHUNK)]
        chunks = [stored_chunks.stored(one, _CHUNK, len(channels)) for one in packed]
        for k in range(size.chunks):
            dataset.id.write_direct_chunk((k * _CHUNK, 0), chunks[k % len(chunks)])
        sums.append(np.resize(np.array([checksum(one) for one in packed], np.uint64), size.chunks))
        blocks = nexus_file.blocks(segment, channels)
        blocks.append(_blocks(size, len(channels)))
        for table in (*tables, sums, blocks):
            table.flush()
        segment.create_dataset(
            "lost", data=np.empty((0, 2), np.int64), chunks=(1024, 2), maxshape=(None, 2), fletcher32=True
        )
        nexus_file.instrument(entry, header)
        nexus_file.end_time(entry, header)
        default_plot.write(entry, hops, readings)
        places, data = text_seal.text_references(file), text_seal.chunk_places(file)
    text_seal.seal(path, places, data)


def pack_as_before(path: Path, samples: int, counts: NDArray[np.int16]) -> None:
    """Counts in chunks as version 0.1.0 packed them: bitshuffle and LZ4, with the Fletcher-32 of HDF5."""
    source = counts.reshape(-1, counts.shape[2])
    with h5py.File(path, "w", rdcc_nbytes=0) as file:
        item = file.create_dataset(
            "counts",
            (samples, source.shape[1]),
            np.int16,
            chunks=(_CHUNK_BEFORE, source.shape[1]),
            fletcher32=True,
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        for at in range(0, samples, source.shape[0]):
            item[at : at + source.shape[0]] = source[: samples - at]


def _blocks(size: Size, width: int) -> NDArray[np.int64]:
    first = np.arange(0, size.samples, _BLOCK)
    n = np.minimum(_BLOCK, size.samples - first)
    return np.column_stack([first, n, first * _DT_NS, np.zeros((first.size, width), np.int64)])


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


def read_back(path: Path, before: Path, stretches: int) -> Speeds:
    """Speed of samples out of the file, and of copies in memory by the same stretches; best of three each.

    Source and destination are touched before, the destination is one stretch for all: what a reader that looks at each
    stretch in turn would have, and the fastest that a copy can be.
    """
    with h5py.File(path, "r", rdcc_nbytes=0) as file, h5py.File(before, "r", rdcc_nbytes=0) as old:
        group = file["entry/samples/segment_0001"]
        reader, old_counts = CountsReader(group["counts"], group["counts_xxh3"]), old["counts"]
        length, width = old_counts.shape
        n = min(_RANGE, length)
        stretches = min(stretches, length // n)
        into = np.zeros((n, width), np.int16)
        source = np.ones((stretches * n, width), np.int16)
        works: list[Callable[[int], None]] = [
            lambda k: np.copyto(into, source[k * n : (k + 1) * n]),
            lambda k: reader.read_into(into, k * n, 1),
            lambda k: reader.read_into(into, k * n, 2),
            lambda k: old_counts.read_direct(into, np.s_[k * n : (k + 1) * n]),
        ]
        copy, one, two, old_way = (source.nbytes / _best(work, stretches) for work in works)
        return Speeds(copy, one, two, old_way, source.nbytes)


def _best(work: Callable[[int], None], stretches: int) -> float:
    times = []
    for _ in range(3):
        took = stopwatch()
        for k in range(stretches):
            work(k)
        times.append(took())
    return min(times)
