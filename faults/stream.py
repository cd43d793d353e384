"""A stream of numbered blocks, and a check of which of them a run file holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
from numpy.typing import NDArray

from faults.outcome import failed_checks
from opsicm.core.facts import HOP_DTYPE, MEANING, Fact, SampleBlock, channel
from opsicm.record import run_folder
from opsicm.record.reader import Run
from opsicm.record.recorder import Reading, Recorder, RunHeader
from opsicm.record.run_folder import RunFolder

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POOL_SIZE = 8


@dataclass(frozen=True, slots=True)
class Stream:
    """Blocks of `samples` x `channels` every `dt_ns`; a new segment after every `per_segment` blocks."""

    channels: int = 8
    dt_ns: int = 10_000
    samples: int = 5_000
    per_segment: int = 10_000

    @property
    def period(self) -> float:
        """[s] between two blocks."""
        return self.samples * self.dt_ns * 1e-9

    def header(self) -> RunHeader:
        """The header of a run of the twin."""
        names = list(MEANING)[: self.channels]
        parameters = {"set": {"name": "none", "leaves": {}}}
        provenance = {"opsicm": "test", "seed": 1, "user": "faults"}
        channels = tuple(channel(name, 1e-12, "stream") for name in names)
        return RunHeader(
            "fault",
            STARTED.isoformat(timespec="milliseconds"),
            "title: fault\n",
            "title: rig\n",
            channels,
            self.dt_ns,
            parameters,
            provenance,
        )

    def pool(self) -> NDArray[np.int16]:
        """The counts of the blocks: a slow wave with a few bits of noise, as from a filtered converter."""
        random = np.random.default_rng(7)
        wave: NDArray[np.float64] = 8000 * np.sin(np.arange(self.samples) / 300.0)[None, :, None]
        noise = random.normal(0, 6, (POOL_SIZE, self.samples, self.channels))
        counts: NDArray[np.int16] = (wave + noise).astype(np.int16)
        return counts

    def counts(self, pool: NDArray[np.int16], k: int) -> NDArray[np.int16]:
        """Counts of block `k`: its number is in its first two samples."""
        counts: NDArray[np.int16] = pool[k % POOL_SIZE].copy()
        counts[0], counts[1] = k & 0x7FFF, k >> 15
        return counts

    def block(self, pool: NDArray[np.int16], k: int) -> SampleBlock:
        """Block `k`."""
        segment, index = divmod(k, self.per_segment)
        t0_ns = k * self.samples * self.dt_ns
        quality = np.zeros(self.channels, np.uint8)
        return SampleBlock(segment + 1, index * self.samples, t0_ns, self.dt_ns, self.counts(pool, k), quality)

    def reading(self, k: int) -> Reading:
        """A slow row after block `k`; its current encodes `k`."""
        t_ns = (k + 1) * self.samples * self.dt_ns
        return Reading(t_ns, 1.0, 0.0, 0.0, None, "open", None, k * 1e-12, 0.7, 0.0, 1e-6, 1e-3)

    def hop(self, k: int) -> NDArray[Any]:
        """A hop within block `k`, of lines of five; its number and its height encode `k`."""
        hop = np.zeros(1, HOP_DTYPE)
        segment, index = divmod(k, self.per_segment)
        hop["hop"], hop["segment"], hop["t_ns"] = k, segment + 1, k * self.samples * self.dt_ns + 3_000_000
        hop["z_stop"] = k * 1e-9
        hop["line"], hop["pixel"] = divmod(k, 5)
        for name, share in (("start", 0.002), ("fall", 0.2), ("stop", 0.6), ("top", 0.8)):
            hop[f"sample_{name}"] = index * self.samples + round(share * self.samples)
        return hop

    def fact(self, seq: int, k: int) -> Fact:
        """A note after block `k`."""
        return Fact(seq, k * self.samples * self.dt_ns, "note", "run", "stream", {"block": k})

    def begun(self) -> Fact:
        """The first fact."""
        return Fact(0, 0, "run_started", "run", "run", {"title": "fault"})

    def end(self, seq: int, k: int) -> Fact:
        """The last fact, before block `k`."""
        return Fact(seq, k * self.samples * self.dt_ns, "run_ended", "run", "run", {"outcome": "completed"})

    def feed(self, recorder: Recorder, pool: NDArray[np.int16], k: int) -> None:
        """Block `k` with its hop, its slow row and its note."""
        recorder.block(self.block(pool, k))
        recorder.hops("probe[0]", self.hop(k))
        recorder.reading(self.reading(k))
        recorder.fact(self.fact(k + 1, k))

    def record(self, recorder: Recorder, count: int, look: Callable[[int], None] = lambda _: None) -> None:
        """`count` blocks in their own time, and the end; `look` is called before each block with its number."""
        pool, began = self.pool(), time.monotonic()
        recorder.fact(self.begun())
        for k in range(count):
            look(k)
            self.feed(recorder, pool, k)
            time.sleep(max(0.0, began + (k + 1) * self.period - time.monotonic()))
        recorder.fact(self.end(count + 1, count))

    def lacks(self, path: Path, count: int) -> list[str]:
        """What a run file lacks, or has otherwise, of `count` blocks with their hops, slow rows and notes."""
        wrong = failed_checks(path)
        blocks = list(self.kept(path))
        if blocks != list(range(count)):
            wrong.append(f"{len(set(blocks))} of {count} blocks")
        with Run(path) as run:
            heights, currents = run.hops["z_stop"].values, run.slow["pipette_current"].values
            notes = [fact.data["block"] for fact in run.facts if fact.step == "stream"]
            losses = run.provenance["losses"]
        true = np.arange(count)
        if not np.array_equal(heights, true * 1e-9):
            wrong.append(f"{heights.size} of {count} hops")
        if not np.array_equal(currents, true * 1e-12):
            wrong.append(f"{currents.size} of {count} slow rows")
        if notes != true.tolist():
            wrong.append(f"{len(notes)} of {count} facts")
        if losses != "none":
            wrong.append(f"losses: {losses}")
        return wrong

    def kept(self, path: Path) -> Iterator[int]:
        """Numbers of the blocks that a run file holds, in order; each one compared sample by sample."""
        pool = self.pool()
        with h5py.File(path, "r") as file:
            samples = file["entry/samples"]
            for name in sorted(samples):
                group = samples[name]
                segment = int(name.rsplit("_", 1)[1])
                lost = group["lost"][:].tolist()
                for first, n, _ in group["blocks"][:, :3].tolist():
                    k = (segment - 1) * self.per_segment + first // self.samples
                    if n != self.samples:
                        raise AssertionError(f"block {k}: {n} samples")
                    if any(a < first + n and b > first for a, b in lost):
                        continue  # named as lost
                    if not np.array_equal(group["counts"][first : first + n], self.counts(pool, k)):
                        raise AssertionError(f"block {k} holds other numbers")
                    yield k


def folder(out: Path) -> RunFolder:
    """A new run folder."""
    return run_folder.create(out, "fault", STARTED, "title: fault\n", "title: rig\n")
