"""The run file's samples: packed chunks of the live files as they are, and never one that is not good."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from faults.stream import Stream, folder
from opsicm.record import finalise as finalising
from opsicm.record.counts_copy import CountsCopy
from opsicm.record.live_file import LiveFile
from opsicm.record.live_files import chunk_rows
from opsicm.record.recorder import header_text
from opsicm.record.run_folder import RunFolder
from opsicm.record.validate import validate

STREAM = Stream(channels=2)
ROWS = chunk_rows(STREAM.dt_ns)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[CountsCopy]:
    """Every copy that finalising makes."""
    copied: list[CountsCopy] = []

    class Seen(CountsCopy):
        def __init__(self, into: h5py.Dataset) -> None:
            super().__init__(into)
            copied.append(self)

    monkeypatch.setattr(finalising, "CountsCopy", Seen)
    return copied


def live(tmp_path: Path, *spans: tuple[int, int]) -> RunFolder:
    """A folder with one live file for each (first, stop) of blocks."""
    run_folder = folder(tmp_path)
    run_folder.header.write_text(header_text(STREAM.header()), encoding="utf-8")
    run_folder.journal.touch()
    pool = STREAM.pool()
    for first, stop in spans:
        file = LiveFile(run_folder.next_live_file(), STREAM.header(), 1 + first)
        for k in range(first, stop):
            file.block(1 + k, STREAM.block(pool, k))
            file.settle()
        file.close()
    return run_folder


def test_whole_chunks_are_copied_and_the_rest_is_packed(tmp_path: Path, copies: list[CountsCopy]) -> None:
    path, losses = finalising.finalise(live(tmp_path, (0, 300)))
    assert losses == []
    assert [copy.copied for copy in copies] == [300 * STREAM.samples // ROWS]
    assert list(STREAM.kept(path)) == list(range(300))
    assert all(result.ok for result in validate(path)), validate(path)


def test_a_restart_within_a_chunk_is_packed_again(tmp_path: Path, copies: list[CountsCopy]) -> None:
    path, losses = finalising.finalise(live(tmp_path, (0, 47), (47, 120)))
    assert losses == []
    assert 47 * STREAM.samples % ROWS
    assert [copy.copied for copy in copies] == [47 * STREAM.samples // ROWS]
    assert list(STREAM.kept(path)) == list(range(120))
    assert all(result.ok for result in validate(path)), validate(path)


@pytest.mark.parametrize("position", ["payload", "checksum"])
def test_a_damaged_chunk_is_left_out_and_its_blocks_are_named(
    tmp_path: Path, copies: list[CountsCopy], position: str
) -> None:
    run_folder = live(tmp_path, (0, 200))
    (file,) = run_folder.live_files()
    with h5py.File(file, "r") as opened:
        chunk = opened["counts"].id.get_chunk_info_by_coord((5 * ROWS, 0))
    data = bytearray(file.read_bytes())
    data[chunk.byte_offset + (chunk.size // 2 if position == "payload" else chunk.size - 1)] ^= 0x55
    file.write_bytes(bytes(data))
    path, losses = finalising.finalise(run_folder)
    touched = [k for k in range(200) if k * STREAM.samples < 6 * ROWS and (k + 1) * STREAM.samples > 5 * ROWS]
    stored = [k for k in range(200) if k not in touched]
    first, stop = touched[0] * STREAM.samples, (touched[-1] + 1) * STREAM.samples
    losses_text = [
        f"segment 1: samples {k * STREAM.samples} to {(k + 1) * STREAM.samples - 1} are lost" for k in touched
    ]
    assert losses == losses_text
    # Neither it nor its neighbours, which share a block with it; what a good block shares with it is packed anew.
    lost_chunks = len(range(first // ROWS, -(-stop // ROWS)))
    assert copies[0].copied == 200 * STREAM.samples // ROWS - lost_chunks
    with h5py.File(path, "r") as opened:
        counts = opened["entry/samples/segment_0001/counts"][:]
    pool = STREAM.pool()
    for k in stored:
        assert np.array_equal(counts[k * STREAM.samples : (k + 1) * STREAM.samples], STREAM.counts(pool, k)), k
    assert not counts[first:stop].any()
