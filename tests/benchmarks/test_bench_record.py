"""The bench of the record in short: what is compared is done, and said in the row."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from benchmarks import record, record_memory, record_reading
from opsicm.record.reader import Run
from opsicm.record.validate import validate


def test_the_unpaced_row_states_what_was_compared(tmp_path: Path) -> None:
    row = record.against_raw(tmp_path, record.pool(2_000), blocks=20, turns=1)
    assert row.value > 0.0
    assert "1 x 1 MB of 8 channels" in row.limit
    assert "the same blocks, unpacked" in row.peer
    assert "fdatasync every 0.5 s" in row.peer
    assert not list(tmp_path.iterdir())


def test_the_file_that_is_opened_is_a_valid_run_in_many_chunks(tmp_path: Path) -> None:
    path, counts = tmp_path / "run.nxs", record.pool(20_000)
    size = record_reading.Size.of(0.02)
    record_reading.build(path, size, counts)
    assert [finding for finding in validate(path) if not finding.ok] == []
    with h5py.File(path, "r") as file:
        stored = file["entry/samples/segment_0001/counts"]
        assert stored.id.get_num_chunks() == size.chunks == 76
        assert np.array_equal(stored[16384:32768], counts.reshape(-1, 8)[16384:32768])
    with Run(path) as run:
        assert run.outcome == "completed"
        assert run.hops.sizes["hop"] == 76 * 16384 // 10_000
    assert 0.0 < record_reading.opening(path, cold=True) < 30.0
    assert record_reading.read_back(path, 2) > 0.0


def test_memory_does_not_grow_with_the_turns(tmp_path: Path) -> None:
    grown = record_memory.feed(tmp_path, 400)
    # A turn brings 4 kB of samples and 18 kB of hops: all of them together would be 8 MB.
    assert grown.controller < 4e6
    (path,) = tmp_path.glob("*/run.nxs")
    with Run(path) as run:
        assert run.hops.sizes["hop"] == 40_000
        assert run.length(1) == 400_000
