"""The live log: what is whole is read, what is torn, damaged or missing is passed over and named, never misread."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from opsicm.core.errors import UnreadableRun
from opsicm.record import log, packed_counts
from opsicm.record.log import Group, LogReader, LogWriter, read_header
from opsicm.record.run_folder import RunFolder
from tests.fixtures.logged import FIRST, Logged, damage, frame_places, hop_rows, killed_run, read_all
from tests.fixtures.recorded import BLOCKS, STREAM

_HEAD = 48  # bytes of a frame's header


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Twenty groups of a block, a hop and a slow row, in one file without end. Read only."""
    return killed_run(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def killed(kept: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(kept.path, tmp_path / kept.path.name))


def _counts(group: Group) -> NDArray[np.int16]:
    """The samples of a group as they lie in it."""
    parts = []
    for one in group.samples:
        rows = np.empty((one.rows, one.width), np.int16)
        packed_counts.unpack(one.packed, rows)
        parts.append(rows)
    return np.concatenate(parts)


def _hops(groups: list[Group]) -> list[int]:
    return [int(hop) for group in groups for rows in group.hops for hop in rows["hop"]]


def test_everything_written_is_read(kept: RunFolder) -> None:
    groups, reader = read_all(kept)
    assert (reader.losses, reader.ended, reader.header) == ([], False, STREAM.header())
    groups = groups[1:]  # the first holds the header
    assert len(groups) == BLOCKS
    pool = STREAM.pool()
    for k, group in enumerate(groups):
        block = STREAM.block(pool, k)
        np.testing.assert_array_equal(_counts(group), block.counts)
        (row,) = group.blocks[0]
        assert (row["segment"], row["first_sample"], row["samples"]) == (block.segment, block.first_sample, 5000)
        assert (row["t0_ns"], row["dt_ns"], row["quality"].tolist()) == (block.t0_ns, 10_000, [0, 0])
        np.testing.assert_array_equal(group.hops[0], hop_rows(block, k))
        assert group.readings[0]["pipette_current"].tolist() == [k * 1e-12]


def test_a_growing_log_is_read_as_it_grows(tmp_path: Path) -> None:
    logged, pool = Logged(tmp_path), STREAM.pool()
    reader = LogReader(logged.folder)
    assert len(list(reader.groups())) == 1
    assert reader.header == STREAM.header()
    for k in range(3):
        assert list(reader.groups()) == []
        logged.group([STREAM.block(pool, k)])
        (group,) = reader.groups()
        np.testing.assert_array_equal(_counts(group), STREAM.counts(pool, k))
    ended = [reader.ended]
    logged.end()
    list(reader.groups())
    assert [*ended, reader.ended] == [False, True]
    assert reader.losses == []
    reader.close()


@pytest.mark.parametrize("cut", [1, _HEAD - 1, _HEAD, _HEAD + 1, 300, 10_000])
def test_a_torn_tail_is_cut_off_and_named(killed: RunFolder, cut: int) -> None:
    """The last group is some 13 kB: samples, blocks, a hop, a slow row."""
    path = killed.path / FIRST
    places = frame_places(path)
    begin = next(at for kind, at, _ in reversed(places) if kind == log.SAMPLES)
    end = path.stat().st_size
    os.truncate(path, end - cut)
    reader = LogReader(killed)
    assert _hops(list(reader.groups())) == list(range(BLOCKS - 1))
    assert reader.losses == []  # as long as it may still grow
    assert list(reader.groups(final=True)) == []
    assert reader.losses == [f"{FIRST}: its last {end - cut - begin} bytes were not whole"]
    reader.close()


@pytest.mark.parametrize("cut", [1, 300, 10_000])
def test_a_writer_goes_on_where_another_was_torn_off(killed: RunFolder, cut: int) -> None:
    path = killed.path / FIRST
    os.truncate(path, path.stat().st_size - cut)
    follower = LogReader(killed)  # has seen part of what is cut off
    assert _hops(list(follower.groups())) == list(range(BLOCKS - 1))
    logged, pool = Logged(killed.path, run_folder=killed), STREAM.pool()
    assert logged.writer.serial == BLOCKS - 1
    for k in (BLOCKS - 1, BLOCKS):
        block = STREAM.block(pool, k)
        logged.group([block], [hop_rows(block, k)])
    logged.end()
    assert _hops(list(follower.groups())) == [BLOCKS - 1, BLOCKS]
    assert follower.ended
    assert follower.losses == []
    follower.close()
    groups, reader = read_all(killed)
    assert _hops(groups) == list(range(BLOCKS + 1))
    assert reader.losses == []


def test_a_tail_that_is_cut_off_while_it_is_read_is_no_loss(killed: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has a frame's header of the torn tail before it is cut off, and looks at its payload afterwards."""
    path = killed.path / FIRST
    os.truncate(path, path.stat().st_size - 1)
    reader = LogReader(killed)
    whole = list(reader.groups())
    plain, block = os.pread, STREAM.block(STREAM.pool(), BLOCKS - 1)

    def late(descriptor: int, n: int, at: int) -> bytes:
        if n == _HEAD and not changed and len(data := plain(descriptor, n, at)) == n:
            changed.append(at)
            logged = Logged(killed.path, run_folder=killed)
            for k in range(BLOCKS - 1, 100):
                logged.group([], [hop_rows(block, k)])
            return data
        return plain(descriptor, n, at)

    changed: list[int] = []
    monkeypatch.setattr(os, "pread", late)
    seen = _hops(list(reader.groups())) + _hops(list(reader.groups()))
    assert changed
    assert _hops(whole) + seen == list(range(100))
    assert reader.losses == []
    reader.close()


@pytest.mark.parametrize(
    ("kind", "word"),
    [(log.SAMPLES, "samples"), (log.BLOCKS, "blocks"), (log.HOPS, "hops"), (log.READINGS, "slow rows")],
)
def test_a_damaged_payload_is_passed_over_and_named(killed: RunFolder, kind: int, word: str) -> None:
    path = killed.path / FIRST
    numbers = [n for n, place in enumerate(frame_places(path)) if place[0] == kind]
    _, at, length = frame_places(path)[numbers[7]]
    damage(path, at + _HEAD + length // 2)
    groups, reader = read_all(killed)
    assert reader.losses == [f"{FIRST}: {word} in frame {numbers[7]} are damaged"]
    here = groups[1 + 7]
    found = [len(here.samples), len(here.blocks), len(here.hops), len(here.readings)]
    assert found == [int(one != kind) for one in (log.SAMPLES, log.BLOCKS, log.HOPS, log.READINGS)]
    assert len(groups) == 1 + BLOCKS


@pytest.mark.parametrize("byte", [0, 4, 6, 8, 16, 24, 32, 40, 47])
def test_behind_a_damaged_header_the_next_frame_is_found(killed: RunFolder, byte: int) -> None:
    path = killed.path / FIRST
    places = frame_places(path)
    k = [n for n, place in enumerate(places) if place[0] == log.HOPS][7]
    _, at, length = places[k]
    damage(path, at + byte, bit=3)
    groups, reader = read_all(killed)
    assert reader.losses == [f"{FIRST}: bytes {at} to {at + _HEAD + length - 1} are damaged"]
    assert _hops(groups) == [n for n in range(BLOCKS) if n != 7]
    assert sum(len(group.blocks) for group in groups) == sum(len(group.readings) for group in groups) == BLOCKS


def test_a_damaged_end_of_a_group_joins_it_to_the_next(killed: RunFolder) -> None:
    path = killed.path / FIRST
    places = frame_places(path)
    _, at, _ = [place for place in places if place[0] == log.READINGS][7]
    damage(path, at)
    groups, reader = read_all(killed)
    assert len(reader.losses) == 1
    assert _hops(groups) == list(range(BLOCKS))
    assert len(groups) == BLOCKS


def test_a_writer_finds_the_end_behind_a_damaged_header(killed: RunFolder) -> None:
    path = killed.path / FIRST
    _, at, _ = [place for place in frame_places(path) if place[0] == log.HOPS][7]
    damage(path, at)
    size = path.stat().st_size
    writer = LogWriter(killed)
    assert writer.serial == BLOCKS
    assert path.stat().st_size == size


def test_missing_frames_are_named(killed: RunFolder) -> None:
    path = killed.path / FIRST
    places = frame_places(path)
    first = [n for n, place in enumerate(places) if place[0] == log.SAMPLES][5]
    begin, end = places[first][1], places[first + 2][1]
    data = path.read_bytes()
    path.write_bytes(data[:begin] + data[end:])
    groups, reader = read_all(killed)
    assert reader.losses == [f"{FIRST}: frames {first} to {first + 1} are missing"]
    assert _hops(groups) == list(range(BLOCKS))
    assert sum(len(group.blocks) for group in groups) == BLOCKS - 1


def test_either_copy_of_the_header_is_enough(killed: RunFolder) -> None:
    path = killed.path / FIRST
    intact = path.read_bytes()
    for kind, at, length in frame_places(path)[:2]:
        assert kind == log.HEADER
        path.write_bytes(intact)
        damage(path, at + _HEAD + length // 2)
        assert read_header(killed) == STREAM.header()
        assert LogWriter(killed).header == STREAM.header()
    damage(path, frame_places(path)[0][1] + _HEAD + 9)
    assert read_header(killed) is None


def test_a_newer_log_is_refused_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LOG_VERSION", 3)
    run_folder = killed_run(tmp_path, blocks=1)
    monkeypatch.undo()
    with pytest.raises(UnreadableRun, match="log_version is 3; this version reads up to 2; update opsicm"):
        read_header(run_folder)


def test_slow_rows_of_a_log_of_version_1_are_read(tmp_path: Path) -> None:
    old = np.dtype([(n, log.READING_ROW[n]) for n in log.READING_ROW.names or () if not n.startswith("amplifier_")])
    rows = np.zeros(2, old)
    rows["t_ns"], rows["z"], rows["control"] = [5, 6], 1e-6, b"potential"
    run_folder = killed_run(tmp_path, blocks=1)
    writer = LogWriter(run_folder)
    writer.append([(log.OLD_READINGS, (rows.tobytes(),))], writer.serial + 1)
    *_, last = log.LogReader(run_folder).groups()
    (read,) = last.readings
    assert read["t_ns"].tolist() == [5, 6]
    assert read["control"].tolist() == [b"potential"] * 2
    assert np.isnan(read["amplifier_gain"]).all()
    assert read["amplifier_mode"].tolist() == [b""] * 2


# -- several files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The same in files of some 30 kB."""
    monkeypatch.setattr(log, "FILE_BYTES", 30_000)
    return killed_run(tmp_path)


def test_a_large_file_is_followed_by_the_next(in_files: RunFolder) -> None:
    assert [path.name for path in in_files.logs()[:2]] == [FIRST, "record-0002.log"]
    assert len(in_files.logs()) > 4
    assert all(path.stat().st_size < 60_000 for path in in_files.logs())
    groups, reader = read_all(in_files)
    assert _hops(groups) == list(range(BLOCKS))
    assert reader.losses == []
    (in_files.path / FIRST).unlink()
    assert read_header(in_files) == STREAM.header()  # every file begins with it


def test_a_missing_file_is_named(in_files: RunFolder) -> None:
    (in_files.path / "record-0002.log").unlink()
    (in_files.path / "record-0003.log").unlink()
    groups, reader = read_all(in_files)
    assert reader.losses[0] == "record-0002.log, record-0003.log missing"
    assert 0 < len(_hops(groups)) < BLOCKS


def test_a_follower_goes_on_into_the_next_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 30_000)
    logged, pool = Logged(tmp_path), STREAM.pool()
    reader = LogReader(logged.folder)
    list(reader.groups())
    for k in range(8):
        block = STREAM.block(pool, k)
        logged.group([block], [hop_rows(block, k)])
        logged.writer.sync()
        assert _hops(list(reader.groups())) == [k]
    assert len(logged.folder.logs()) > 2
    assert reader.losses == []
    reader.close()


@pytest.mark.parametrize("left", [0, 20, 500])
def test_killed_while_it_began_a_file(in_files: RunFolder, left: int) -> None:
    """A file that holds nothing whole is begun anew, under the numbers that come next."""
    last = in_files.logs()[-1]
    os.truncate(last, left)
    kept = _hops(read_all(in_files)[0])
    logged = Logged(in_files.path, run_folder=in_files)
    assert logged.header == STREAM.header()
    assert logged.writer.serial == len(kept)
    block = STREAM.block(STREAM.pool(), 99)
    logged.group([], [hop_rows(block, 99)])
    groups, reader = read_all(in_files)
    assert _hops(groups) == [*kept, 99]
    assert reader.losses == []


def test_a_folder_that_takes_no_new_file_is_written_on_in_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "FILE_BYTES", 30_000)
    logged, pool, plain = Logged(tmp_path), STREAM.pool(), os.open

    def refused(path: object, flags: int, *rest: int, **named: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return plain(path, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refused)
    for k in range(6):
        block = STREAM.block(pool, k)
        logged.group([block], [hop_rows(block, k)])
    monkeypatch.undo()
    assert len(logged.folder.logs()) == 1
    assert logged.folder.logs()[0].stat().st_size > 80_000
    groups, reader = read_all(logged.folder)
    assert (_hops(groups), reader.losses) == (list(range(6)), [])


# -- any log, any damage -----------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=4), min_size=1, max_size=12),
    st.integers(400, 3000),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_one_flipped_bit_is_named_and_changes_no_number(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], file_bytes: int, seed: int
) -> None:
    """Groups of any number of frames of any number of hops, in files of any length, one bit flipped anywhere."""
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "FILE_BYTES", file_bytes)
        logged, written, number = Logged(tmp_path_factory.mktemp("any")), [], 0
        for group in sizes:
            frames = []
            for size in group:
                rows = np.zeros(size, log.HOP_ROW)
                rows["hop"] = np.arange(number, number + size)
                rows["z_stop"] = np.sin(rows["hop"])
                rows["step"] = b"probe[0]"
                number += size
                written.append(rows)
                frames.append(log.rows_frame(log.HOPS, rows))
            if frames:
                logged.append(frames)
        logged.writer.sync()
    groups, reader = read_all(logged.folder)
    everything = np.concatenate([np.empty(0, log.HOP_ROW), *written])
    np.testing.assert_array_equal(_rows(groups), everything)
    assert reader.losses == []
    path = chance.choice(logged.folder.logs())
    damage(path, chance.randrange(path.stat().st_size), chance.randrange(8))
    groups, reader = read_all(logged.folder)
    rest = _rows(groups)
    # What is left is what was written under these numbers, in order.
    assert (np.diff(rest["hop"]) > 0).all()
    np.testing.assert_array_equal(rest, everything[rest["hop"]])
    assert reader.losses


def _rows(groups: list[Group]) -> NDArray[np.void]:
    return np.concatenate([np.empty(0, log.HOP_ROW), *(rows for group in groups for rows in group.hops)])
