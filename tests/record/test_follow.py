"""A run in progress, read from the tail of its log: the arrays of the finished file, as far as they are."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from faults.stream import folder
from opsicm.core.errors import BadInput
from opsicm.core.facts import Fact
from opsicm.record import log, ring
from opsicm.record.follow import LiveRun
from opsicm.record.journal import Journal
from opsicm.record.reader import Run
from opsicm.record.run_folder import RunFolder
from opsicm.record.shared_recorder import SharedRecorder
from tests.fixtures.logged import FIRST, Logged, damage, frame_places, hop_rows, killed_run, made
from tests.fixtures.recorded import BLOCKS, STREAM, feed


def _equal(live: LiveRun, path: Path, keep: int = 1 << 24) -> None:
    with Run(path) as run:
        for name in ("hops", "cell", "slow"):
            assert getattr(live, name).identical(getattr(run, name)), name
        assert live.facts == run.facts
        assert live.segments() == {segment: run.length(segment) for segment in run.segments()}
        for segment, length in live.segments().items():
            first = max(0, length - keep)
            assert live.samples(segment, first, length).identical(run.samples(segment, first, length))
            assert live.samples(segment, length - 5, length + 5).identical(run.samples(segment, length - 5, length))
            assert live.samples(segment, 4_990, 5_010).identical(run.samples(segment, 4_990, 5_010))
        assert live.header is not None
        assert live.header.title == run.title


def test_a_run_in_progress_is_followed_to_its_end(tmp_path: Path) -> None:
    run_folder = folder(tmp_path)
    recorder = SharedRecorder(run_folder)
    recorder.open(STREAM.header())
    feed(recorder, ended=False)
    with LiveRun(run_folder.path) as live:
        waited = time.monotonic()
        while live.hops.sizes["hop"] < BLOCKS and time.monotonic() - waited < 20.0:
            time.sleep(0.02)
        lives = [live.live]
        assert live.segments() == {1: 8 * 5000, 2: 8 * 5000, 3: 4 * 5000}
        assert live.hops["step"].values[0] == "probe[0]"
        part = live.samples(2, 4_990, 5_010)
        expected = np.concatenate([STREAM.counts(STREAM.pool(), 8)[-10:], STREAM.counts(STREAM.pool(), 9)[:10]])
        np.testing.assert_array_equal(part["z"].values, expected[:, 1] * 1e-12)
        assert part["t_ns"].values[0] == (8 * 5000 + 4990) * 10_000
        assert live.samples(2, 4_990, 5_010).identical(part)  # looking again is looking at the same
        path = recorder.close()
        # The log is gone by now, but whoever has it open has read it.
        assert [*lives, live.live] == [True, False]
        _equal(live, path)


def test_it_grows_group_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 30_000)
    logged, pool = Logged(tmp_path), STREAM.pool()
    journal = Journal(logged.folder.journal)
    with LiveRun(logged.folder.path) as live:
        assert live.header == STREAM.header()
        assert live.segments() == {}
        assert (live.hops.sizes["hop"], live.slow.sizes["row"], live.facts) == (0, 0, ())
        assert not live.samples(1, 0, 10)
        for k in range(BLOCKS):
            block = STREAM.block(pool, k)
            logged.group([block], [hop_rows(block, k)], [ring.reading_row(STREAM.reading(k))])
            journal.write(STREAM.fact(k, k))
            assert live.segments()[block.segment] == block.first_sample + 5000
            assert live.hops["number"].values.tolist() == list(range(k + 1))
            assert live.slow["pipette_current"].values.tolist() == [n * 1e-12 for n in range(k + 1)]
            assert [fact.seq for fact in live.facts] == list(range(k + 1))
            there = live.samples(block.segment, block.first_sample, block.first_sample + 5000)
            np.testing.assert_array_equal(there["z"].values, block.counts[:, 1] * 1e-12)
        logged.end()
        journal.close()
        live.look()
        path, losses = made(logged.folder)
        assert losses == []
        _equal(live, path)


def test_only_the_last_samples_are_kept(tmp_path: Path) -> None:
    run_folder = killed_run(tmp_path)
    with LiveRun(run_folder.path, keep=12_000) as live:
        *older, last = live.segments()
        length = live.segments()[last]
        values = live.samples(last, 0, length)["z"].values
        blocks = [STREAM.counts(STREAM.pool(), k) for k in range(BLOCKS)]
        counts = np.concatenate(blocks)[-length:]
        kept = 15_000  # whole blocks of 5000
        np.testing.assert_array_equal(values[-kept:], counts[-kept:, 1] * 1e-12)
        assert np.isnan(values[:-kept]).all()
        assert older
        assert all(np.isnan(live.samples(segment, 0, 40_000)["z"].values).all() for segment in older)


def test_counts_are_those_of_the_file(tmp_path: Path) -> None:
    run_folder = killed_run(tmp_path)
    with LiveRun(run_folder.path) as live:
        read = live.counts(2, ("z", "pipette_current"), 4_990, 5_010)
        assert live.counts(2, ("z", "x"), 0, 10) is None, "x is no channel of this run"
    assert read is not None
    counts, channels, lost = read
    expected = np.concatenate([STREAM.counts(STREAM.pool(), 8)[-10:], STREAM.counts(STREAM.pool(), 9)[:10]])
    np.testing.assert_array_equal(counts, expected[:, [1, 0]])
    assert [channel.name for channel in channels] == ["z", "pipette_current"]
    assert lost.size == 0


def test_lost_samples_are_nan_as_in_the_file(tmp_path: Path) -> None:
    run_folder = killed_run(tmp_path)
    places = [place for place in frame_places(run_folder.path / FIRST) if place[0] == log.SAMPLES]
    damage(run_folder.path / FIRST, places[2][1] + 1000)
    with LiveRun(run_folder.path) as live:
        for _ in range(2):  # a follower looks twice before it takes what is damaged for lost
            live.look()
        assert np.flatnonzero(np.isnan(live.samples(1, 0, 40_000)["z"].values)).tolist() == list(range(10_000, 15_000))
        path, losses = made(run_folder)
        assert len(losses) == 2
        _equal(live, path)


def test_a_torn_line_of_the_journal_is_left_out(tmp_path: Path) -> None:
    run_folder = killed_run(tmp_path, blocks=3)
    with LiveRun(run_folder.path) as live, run_folder.journal.open("a", encoding="utf-8") as file:
        line = Fact(3, 0, "note", "run", "run", {}).line()
        file.write(line[:20])
        file.flush()
        assert len(live.facts) == 3
        file.write(line[20:] + "\n")
        file.flush()
        assert len(live.facts) == 4


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is not a run folder .* give the folder of a run in progress"):
        LiveRun(tmp_path)
    (tmp_path / "journal.jsonl").touch()
    with LiveRun(tmp_path) as live:  # begun, and not yet more
        assert live.header is None
        assert live.segments() == {}
        assert not live.live
    assert RunFolder(tmp_path).logs() == []
