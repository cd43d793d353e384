"""The bench of the record in short: what is compared is done, and said in the row."""

from __future__ import annotations

import os
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


def test_the_paced_rows_state_every_process(tmp_path: Path) -> None:
    share, late = record.paced(tmp_path, record.pool(20_000), seconds=0.4)
    assert (share.goal, late.goal) == ("≤ 5 %", "≤ 20 ms")
    assert share.met == (0.0 <= share.value <= 5.0)
    assert late.met == (0.0 < late.value <= 20.0)
    assert "the converter, which yields to everything else, took" in share.limit
    with Run(next(tmp_path.glob("*/run.nxs"))) as run:
        assert run.length(1) == 400_000


def test_the_file_that_is_opened_is_a_valid_run_in_many_chunks(tmp_path: Path) -> None:
    path, before, counts = tmp_path / "run.nxs", tmp_path / "before.h5", record.pool(20_000)
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
    record_reading.pack_as_before(before, 2 << 19, counts)
    with h5py.File(before, "r") as file:
        assert np.array_equal(file["counts"][80_000:160_000], counts.reshape(-1, 8))
    speeds = record_reading.read_back(path, before, 2)
    assert speeds.bytes == (2 << 19) * 16
    assert min(speeds.copy, speeds.one, speeds.two, speeds.before) > 0.0


def test_reading_back_is_judged_by_both_threads() -> None:
    row = record_reading.Speeds(10e9, 2.5e9, 4.0e9, 1.2e9, 640_000_000).row()
    assert (row.value, row.met) == (25.0, True)
    assert "2.50 GB/s on one thread, 4.00 on two" in row.limit
    assert "as version 0.1.0 did, through HDF5: 1.20 GB/s" in row.peer
    assert record_reading.Speeds(10e9, 2.4e9, 4.0e9, 1.2e9, 1).row().met is False
    if (os.cpu_count() or 1) > 1:
        assert record_reading.Speeds(10e9, 2.5e9, 2.4e9, 1.2e9, 1).row().met is False


def test_memory_does_not_grow_with_the_turns(tmp_path: Path) -> None:
    grown = record_memory.feed(tmp_path, 1600)
    # A turn brings 4 kB of samples and 18 kB of hops, 32 MB from the tenth on. What the allocator keeps of the writer's
    # buffers differs from run to run by some 10 MB, whatever the number of turns.
    assert grown.controller < 4e6
    assert grown.writer < 16e6
    (path,) = tmp_path.glob("*/run.nxs")
    with Run(path) as run:
        assert run.hops.sizes["hop"] == 160_000
        assert run.length(1) == 1_600_000
