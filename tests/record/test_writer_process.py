"""The writer by itself, in this process: what it takes from the ring is in the log before the ring may forget it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faults.stream import Stream, folder
from opsicm.core.facts import SampleBlock
from opsicm.record import log, packed_counts
from opsicm.record import ring as messages
from opsicm.record.log import LogWriter
from opsicm.record.recorder import RunHeader
from opsicm.record.ring import Ring
from opsicm.record.run_folder import RunFolder
from opsicm.record.writer_process import Writer
from tests.fixtures.logged import made, read_all
from tests.fixtures.recorded import BLOCKS, STREAM, hop_of


def _begun(out: Path, header: RunHeader | None = None) -> RunFolder:
    run_folder = folder(out)
    LogWriter.begin(run_folder, header or STREAM.header())
    return run_folder


def _put(ring: Ring, block: SampleBlock, k: int) -> None:
    assert ring.put(messages.BLOCK, messages.block_parts(block), 0)
    assert ring.put(messages.HOPS, messages.hops_parts("probe[0]", hop_of(block, k)), 0)
    assert ring.put(messages.READING, (messages.reading_row(STREAM.reading(k)).tobytes(),), 0)


def test_four_times_the_ring_goes_through_it(tmp_path: Path) -> None:
    run_folder, pool, ring = _begun(tmp_path), STREAM.pool(), Ring.create(1 << 20)
    writer = Writer(run_folder, ring)
    committed = set()
    for k in range(200):  # 4 MB
        _put(ring, STREAM.block(pool, k), k)
        assert writer.take()
        assert ring.committed == ring.put_bytes
        committed.add(ring.committed)
    assert len(committed) == 200
    assert not writer.take()
    writer.finish()
    assert ring.synced[0] == ring.put_bytes
    ring.release()
    groups, reader = read_all(run_folder)
    assert (reader.losses, reader.ended) == ([], True)
    assert [int(rows["hop"][0]) for group in groups for rows in group.hops] == list(range(200))
    assert [rows["pipette_current"][0] for group in groups for rows in group.readings] == [
        k * 1e-12 for k in range(200)
    ]
    path, losses = made(run_folder)
    assert losses == []
    assert list(STREAM.kept(path)) == list(range(200))


def test_what_comes_together_is_one_group_of_one_segment(tmp_path: Path) -> None:
    run_folder, pool, ring = _begun(tmp_path), STREAM.pool(), Ring.create(8 << 20)
    writer = Writer(run_folder, ring)
    for k in range(BLOCKS):
        _put(ring, STREAM.block(pool, k), k)
    writer.take()
    writer.finish()
    ring.release()
    groups, _ = read_all(run_folder)
    of_blocks = [group for group in groups if group.blocks]
    assert [group.blocks[0]["segment"].tolist() for group in of_blocks] == [[1] * 8, [2] * 8, [3] * 4]
    assert [[(one.first, one.rows) for one in group.samples] for group in of_blocks] == [
        [(0, 40_000)], [(0, 40_000)], [(0, 20_000)]
    ]  # fmt: skip


def test_chunks_are_cut_as_the_file_will_have_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_counts, "ELEMENTS", 8192)  # chunks of 4096 samples
    run_folder, pool, ring = _begun(tmp_path), STREAM.pool(), Ring.create(8 << 20)
    writer = Writer(run_folder, ring)
    for k in range(3):
        _put(ring, STREAM.block(pool, k), k)
        writer.take()
    writer.finish()
    ring.release()
    groups, _ = read_all(run_folder)
    assert [[(one.first, one.rows) for one in group.samples] for group in groups if group.blocks] == [
        [(0, 4096), (4096, 904)],
        [(5000, 3192), (8192, 1808)],
        [(10_000, 2288), (12_288, 2712)],
    ]
    monkeypatch.undo()
    path, _ = made(run_folder)  # in other chunks than those of the log
    assert list(STREAM.kept(path)) == [0, 1, 2]


@pytest.mark.parametrize("committed", [True, False])
def test_the_next_writer_goes_on_where_one_died(tmp_path: Path, committed: bool) -> None:
    """Killed after a group was in the log, and before or after it said so: the group is there once."""
    run_folder, pool, ring = _begun(tmp_path), STREAM.pool(), Ring.create(8 << 20)
    first = Writer(run_folder, ring)
    for k in range(5):
        _put(ring, STREAM.block(pool, k), k)
    before = ring.committed
    first.take()
    if not committed:
        ring.commit(before)
    for k in range(5, 9):
        _put(ring, STREAM.block(pool, k), k)
    first._disk.close()  # its thread, which in this process nobody kills
    second = Writer(run_folder, ring)
    assert second.take()
    second.finish()
    ring.release()
    path, losses = made(run_folder)
    assert losses == []
    assert list(STREAM.kept(path)) == list(range(9))


@pytest.mark.parametrize("width", [1, 3])
def test_counts_look_into_the_ring_until_they_are_packed(tmp_path: Path, width: int) -> None:
    """A block is packed where it lies: it must be over before its place is given to the next one. Laps of a small ring,
    each block in chunks and tails."""
    stream = Stream(channels=width, samples=150_000 // width)
    run_folder, pool, ring = _begun(tmp_path, stream.header()), stream.pool(), Ring.create(1 << 20)
    writer = Writer(run_folder, ring)
    for k in range(12):
        assert ring.put(messages.BLOCK, messages.block_parts(stream.block(pool, k)), 0)
        writer.take()
    writer.finish()
    ring.release()
    path, losses = made(run_folder)
    assert losses == []
    assert list(stream.kept(path)) == list(range(12))


def test_a_disk_that_takes_no_more_ends_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder, ring = _begun(tmp_path), Ring.create(1 << 20)
    writer = Writer(run_folder, ring)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_write", full)
    _put(ring, STREAM.block(STREAM.pool(), 0), 0)
    with pytest.raises(OSError, match="No space left"):
        writer.take()
    assert ring.committed == 0
    writer._disk.close()
    ring.release()


def test_each_channel_by_its_policy(tmp_path: Path) -> None:
    header = STREAM.header()
    one, other = header.channels
    run_folder = _begun(tmp_path, replace(header, channels=(replace(one, policy="decimated"), other)))
    ring, pool = Ring.create(1 << 20), STREAM.pool()
    writer = Writer(run_folder, ring)
    _put(ring, STREAM.block(pool, 3), 3)
    writer.take()
    writer.finish()
    ring.release()
    (group,) = [group for group in read_all(run_folder)[0] if group.blocks]
    back = np.empty((5000, 1), np.int16)
    packed_counts.unpack(group.samples[0].packed, back)
    np.testing.assert_array_equal(back[:, 0], STREAM.counts(pool, 3)[:, 1])
    counts = STREAM.counts(pool, 3)[:, 0]
    assert group.decimated[0].minimum[:, 0].tolist() == [counts[a : a + 128].min() for a in range(0, 5000, 128)]
