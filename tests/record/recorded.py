"""Short recorded runs for the tests: a stream with hops, through the real recorder and its writer process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from faults.stream import Stream, folder
from opsicm.facts.fact import Fact
from opsicm.facts.hop import HOP_DTYPE
from opsicm.record.recorder import Header
from opsicm.record.shared_recorder import SharedRecorder

STREAM = Stream(channels=2, per_segment=8)
BLOCKS = 20


def feed(recorder: SharedRecorder, stream: Stream = STREAM, blocks: int = BLOCKS, ended: bool = True) -> None:
    """Blocks, one hop a block, a slow row and a note each; as fast as it goes."""
    pool = stream.pool()
    recorder.fact(Fact(0, 0, "run_started", "run", "run", {"title": "test"}))
    for k in range(blocks):
        block = stream.block(pool, k)
        recorder.block(block)
        hop = np.zeros(1, HOP_DTYPE)
        hop["hop"], hop["segment"], hop["t_ns"], hop["z_stop"] = k, block.segment, block.t0_ns + 3_000_000, k * 1e-9
        hop["line"], hop["pixel"] = divmod(k, 5)
        for name, at in (("start", 10), ("fall", 1000), ("stop", 3000), ("top", 4000)):
            hop[f"sample_{name}"] = block.first_sample + at
        recorder.hops("probe[0]", hop)
        recorder.reading(stream.reading(k))
        recorder.fact(stream.fact(k + 1, k))
    if ended:
        t_ns = blocks * stream.samples * stream.dt_ns
        recorder.fact(Fact(blocks + 1, t_ns, "run_ended", "run", "run", {"outcome": "completed"}))


def record(out: Path, header: Header | None = None, stream: Stream = STREAM, blocks: int = BLOCKS) -> Path:
    """The run file of a whole run below `out`."""
    recorder = SharedRecorder(folder(out))
    recorder.open(header or stream.header())
    feed(recorder, stream, blocks)
    return recorder.close()
