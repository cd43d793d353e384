"""From a log to `run.nxs`: all that is in the log, in any cut; what is not is lost by name; whatever is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faults.stream import Stream
from opsicm.core.errors import UnreadableRun
from opsicm.core.facts import Fact, Policy, SampleBlock
from opsicm.record import converter, log, packed_counts, stored_chunks, text_seal
from opsicm.record import run_folder as disk_space
from opsicm.record.journal import Journal
from opsicm.record.reader import Run
from opsicm.record.run_folder import RunFolder
from opsicm.record.validate import validate
from tests.fixtures.logged import FIRST, Logged, damage, frame_places, hop_rows, killed_run, made
from tests.fixtures.recorded import BLOCKS, STREAM

_HEAD = 48  # bytes of a frame's header


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Twenty groups of a block, a hop and a slow row, in files of some 30 kB, without end. Read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "FILE_BYTES", 30_000)
        return killed_run(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def killed(kept: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(kept.path, tmp_path / kept.path.name))


def _is_whole(run_folder: RunFolder) -> None:
    """`run.nxs` alone, with everything in it."""
    assert sorted(path.name for path in run_folder.path.iterdir()) == [
        "experiment.yaml",
        "journal.jsonl",
        "rig.yaml",
        "run.nxs",
    ]
    assert list(STREAM.kept(run_folder.run_file)) == list(range(BLOCKS))
    with Run(run_folder.path) as run:
        assert run.hops["number"].values.tolist() == list(range(BLOCKS))
        assert run.slow.sizes["row"] == len(run.facts) == BLOCKS


def test_everything_in_the_log_is_in_the_file(killed: RunFolder) -> None:
    path, losses = made(killed)
    assert (path, losses) == (killed.run_file, [])
    _is_whole(killed)
    assert [result for result in validate(path) if not result.ok] == []
    with Run(path) as run:
        assert run.provenance["losses"] == "none"
        assert "recovered" not in run.provenance
        assert run.outcome == "unfinished"
        for k in (0, 7, 8, 19):
            hop = run.hops.isel(hop=k)
            assert int(hop["t_ns"]) == k * 50_000_000 + 3_000_000
            assert float(hop["z_stop"]) == k * 1e-9
        np.testing.assert_array_equal(run.slow["pipette_current"].values, np.arange(BLOCKS) * 1e-12)
        assert [fact.data["block"] for fact in run.facts] == list(range(BLOCKS))


# -- any cut, any loss -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Lengths of the blocks of one group, and what becomes of it: it is whole, its samples are damaged, or all of it
    has gone."""

    lengths: list[int]
    fate: str


_LENGTHS = st.one_of(st.integers(1, 700), st.sampled_from([128, 256, 512, 1024]))
_CUTS = st.builds(
    Cut, st.lists(_LENGTHS, min_size=1, max_size=5), st.sampled_from(["whole", "whole", "whole", "samples", "gone"])
)
_POLICIES = st.lists(st.sampled_from(["full", "decimated", "off"]), min_size=1, max_size=4)


@given(st.lists(st.lists(_CUTS, min_size=1, max_size=6), min_size=1, max_size=3), _POLICIES)
@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_any_cut_and_any_loss(
    tmp_path_factory: pytest.TempPathFactory, segments: list[list[Cut]], policies: list[Policy]
) -> None:
    """Segments of groups of blocks of any length, recorded by any policies: each sample is as it was, or lost."""
    stream = Stream(channels=len(policies))
    header = stream.header()
    channels = tuple(replace(one, policy=policy) for one, policy in zip(header.channels, policies, strict=True))
    full = [k for k, policy in enumerate(policies) if policy == "full"]
    short = [k for k, policy in enumerate(policies) if policy == "decimated"]
    random = np.random.default_rng(len(policies))
    content: dict[int, tuple[NDArray[np.int16], NDArray[np.bool_], list[tuple[int, int]]]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_counts, "ELEMENTS", 1024)  # chunks of 256 … 1024 samples
        logged = Logged(tmp_path_factory.mktemp("cut"), replace(header, channels=channels))
        for segment, cuts in enumerate(segments, 1):
            counts, lost, blocks, at = np.empty((0, len(policies)), np.int16), np.empty(0, bool), [], 0
            for cut in cuts:
                group = []
                for n in cut.lengths:
                    part = random.integers(-32768, 32767, (n, len(policies)), np.int16, endpoint=True)
                    group.append(SampleBlock(segment, at, at * 10_000, 10_000, part, np.zeros(len(policies), np.uint8)))
                    counts, at = np.concatenate([counts, part]), at + n
                frames = logged.frames(group)
                gone = cut.fate == "gone"
                if not gone:
                    blocks += [(block.first_sample, block.counts.shape[0]) for block in group]
                    logged.append([frame for frame in frames if cut.fate == "whole" or frame[0] != log.SAMPLES])
                is_lost = gone or (cut.fate == "samples" and bool(full))
                lost = np.append(lost, np.full(at - lost.size, is_lost))
            if blocks:
                end = sum(blocks[-1])  # nobody knows of what came after the last block
                content[segment] = counts[:end], lost[:end], blocks
        path, losses = made(logged.folder)
    with Run(path) as run:
        assert run.segments() == sorted(content)
        for segment, (counts, lost, blocks) in content.items():
            _is_as_recorded(run, segment, counts, lost, blocks, full, short)
        assert run.provenance["losses"] == ("; ".join(losses) or "none")
    assert bool(losses) == any(lost.any() for _, lost, _ in content.values())
    wrong = [result.check for result in validate(path) if not result.ok]
    assert wrong == (["samples"] if losses else [])


def _is_as_recorded(
    run: Run,
    segment: int,
    counts: NDArray[np.int16],
    lost: NDArray[np.bool_],
    blocks: list[tuple[int, int]],
    full: list[int],
    short: list[int],
) -> None:
    names = [channel.name for channel in Stream(channels=8).header().channels]
    samples = run.samples(segment)
    assert list(samples) == [names[k] for k in full]
    for k in full:
        values = samples[names[k]].values
        np.testing.assert_array_equal(np.isnan(values), lost)
        np.testing.assert_array_equal(values[~lost], (counts[:, k] * 1e-12)[~lost])
    with h5py.File(run.path) as file:
        group = file[f"entry/samples/segment_{segment:04d}"]
        table, ranges = group["blocks"][:], group["lost"][:]
    said = np.zeros(lost.size, bool)
    for a, b in ranges:
        assert not said[a:b].any()
        said[a:b] = True
    np.testing.assert_array_equal(said, lost)
    assert table[:, :3].tolist() == [[first, n, first * 10_000] for first, n in blocks]
    expected = [3 * bool(lost[first : first + n].any()) for first, n in blocks]
    assert (table[:, 3:] == np.array(expected)[:, None]).all()
    if full or short:
        stream = run.decimated(segment)
        rows = [(a, min(a + 128, first + n)) for first, n in blocks for a in range(first, first + n, 128)]
        rows = [(a, b) for a, b in rows if not lost[a:b].any()]
        assert stream["first_sample"].values.tolist() == [a for a, _ in rows]
        assert stream["samples"].values.tolist() == [b - a for a, b in rows]
        for k in (*full, *short):
            there = stream.sel(channel=names[k])
            for name in ("min", "max", "mean"):
                plain = [getattr(counts[a:b, k], name)() * 1e-12 for a, b in rows]
                found = there["mean" if name == "mean" else f"{name}imum"].values
                # float32 of a mean of counts: half a unit in the last place of 24 bits
                np.testing.assert_allclose(found, plain, rtol=1e-7, atol=0)


def test_groups_that_a_damaged_end_has_joined(tmp_path: Path) -> None:
    """Blocks of two segments and a hole between two of them, all in one group."""
    logged, pool, stream = Logged(tmp_path), STREAM.pool(), STREAM
    frames = [logged.frames([stream.block(pool, k)]) for k in (5, 7, 8, 9)]
    logged.group([stream.block(pool, k) for k in range(5)])
    logged.append([frame for group in frames for frame in group])
    path, losses = made(logged.folder)
    assert losses == ["segment 1: samples 30000 to 34999 are lost"]
    with Run(path) as run:
        assert (run.length(1), run.length(2)) == (40_000, 10_000)
        for k in (0, 4, 5, 7, 8, 9):
            segment, first = divmod(k * 5000, 40_000)
            values = run.samples(segment + 1, first, first + 5000)["z"].values
            np.testing.assert_array_equal(values, stream.counts(pool, k)[:, 1] * 1e-12)
        assert run.samples(1, 30_000, 35_000)["z"].isnull().all()


def test_a_damaged_frame_loses_what_it_held(killed: RunFolder) -> None:
    path = killed.path / FIRST
    _, at, length = next(place for place in frame_places(path) if place[0] == log.SAMPLES)
    damage(path, at + _HEAD + length // 2)
    file, losses = made(killed)
    assert losses[0] == f"{FIRST}: samples in frame 2 are damaged"
    assert losses[1:] == ["segment 1: samples 0 to 4999 are lost"]
    with Run(file) as run:
        assert run.provenance["losses"] == "; ".join(losses)
        assert run.samples(1, 0, 5000)["z"].isnull().all()
        np.testing.assert_array_equal(
            run.samples(1, 5000, 10_000)["z"].values, STREAM.counts(STREAM.pool(), 1)[:, 1] * 1e-12
        )
    with h5py.File(file) as raw:
        assert raw["entry/samples/segment_0001/blocks"][:3, 3:].tolist() == [[3, 3], [0, 0], [0, 0]]


def test_a_whole_chunk_is_copied_as_it_came(tmp_path: Path) -> None:
    """Of one long block: what the log holds of it and what the file holds are the same bytes."""
    stream = Stream(channels=2, samples=150_000)
    logged = Logged(tmp_path, stream.header())
    frames = logged.frames([stream.block(stream.pool(), 0)])
    packed = [parts[1] for kind, parts in frames if kind == log.SAMPLES]
    logged.append(frames)
    path, _ = made(logged.folder)
    with h5py.File(path) as file:
        counts = file["entry/samples/segment_0001/counts"]
        assert counts.chunks == (65536, 2)
        for k in range(2):
            _, chunk = counts.id.read_direct_chunk((k * 65536, 0))
            assert packed_counts.packed_part(memoryview(chunk)) == packed[k]


# -- hops, facts -------------------------------------------------------------------------------------------------------


def test_hops_that_come_before_their_samples(tmp_path: Path) -> None:
    logged, pool = Logged(tmp_path), STREAM.pool()
    blocks = [STREAM.block(pool, k) for k in range(4)]
    logged.group(blocks[:1], [hop_rows(blocks[0], 0), hop_rows(blocks[1], 1)])
    logged.group([], [hop_rows(blocks[2], 2)])
    logged.group(blocks[1:3])
    logged.group([], [hop_rows(blocks[3], 3)])  # whose samples never come
    path, losses = made(logged.folder)
    assert losses == ["1 hops whose samples did not reach the disk"]
    with Run(path) as run:
        assert run.hops["number"].values.tolist() == [0, 1, 2]
        assert run.trace(2).sizes["sample"] == 3991


@pytest.mark.parametrize("policy", ["decimated", "off"])
def test_hops_without_samples_in_full_wait_for_none(tmp_path: Path, policy: Policy) -> None:
    header = STREAM.header()
    channels = tuple(replace(channel, policy=policy) for channel in header.channels)
    logged = Logged(tmp_path, replace(header, channels=channels))
    logged.group([], [hop_rows(STREAM.block(STREAM.pool(), 0), 0)])
    path, losses = made(logged.folder)
    assert losses == []
    with Run(path) as run:
        assert run.hops.sizes["hop"] == 1


@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_very_long_line_of_the_journal(tmp_path: Path, at: int) -> None:
    logged = Logged(tmp_path)
    journal = Journal(logged.folder.journal)
    facts = [Fact(k, k, "note", "run", "run", {"said": "µ" * (100_000 if k == at else k)}) for k in range(10)]
    for fact in facts:
        journal.write(fact)
    journal.close()
    path, losses = made(logged.folder)
    assert losses == []
    with Run(path) as run:
        assert list(run.facts) == facts
    assert all(result.ok for result in validate(path)), validate(path)


# -- what is in the way ------------------------------------------------------------------------------------------------


def test_a_run_file_of_somebody_else_is_put_aside(killed: RunFolder, tmp_path: Path) -> None:
    other = killed_run(tmp_path / "other", blocks=1)
    foreign = made(other)[0].read_bytes()
    killed.run_file.write_bytes(foreign)
    (killed.path / "run.nxs.found-1").write_bytes(b"an older one")
    made(killed)
    assert (killed.path / "run.nxs.found-2").read_bytes() == foreign
    assert (killed.path / "run.nxs.found-1").read_bytes() == b"an older one"
    assert list(STREAM.kept(killed.run_file)) == list(range(BLOCKS))


@pytest.mark.parametrize("target", ["notes.txt", "nowhere"])
def test_links_in_the_way_are_not_followed(killed: RunFolder, tmp_path: Path, target: str) -> None:
    """Neither from the name under which the file is made, nor from its own: what they lead to stays as it was."""
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    killed.unfinished_file.symlink_to(tmp_path / target)
    killed.run_file.symlink_to(tmp_path / target)
    made(killed)
    assert notes.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert not killed.run_file.is_symlink()
    assert (killed.path / "run.nxs.found-1").is_symlink()
    assert list(STREAM.kept(killed.run_file)) == list(range(BLOCKS))


def test_without_room_nothing_is_changed(killed: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.stat().st_size for path in killed.path.iterdir()}
    monkeypatch.setattr(disk_space, "free", lambda _: (1_000_000, 10**9))
    with pytest.raises(UnreadableRun, match=r"free space is 1 MB; the run file needs 4 MB .* opsicm recover"):
        made(killed)
    assert {path.name: path.stat().st_size for path in killed.path.iterdir()} == before
    monkeypatch.undo()
    made(killed)
    _is_whole(killed)


# -- killed, damaged on the way ----------------------------------------------------------------------------------------


class _Killed(BaseException):
    """As a kill: nobody catches it."""


# (where, what, how often it goes well, whether it is killed before it does it or after)
_STEPS: list[tuple[Any, str, int, bool]] = [
    (converter._RunFile, "add", 11, True),
    (converter._RunFile, "finish", 0, False),
    (text_seal, "seal", 0, True),
    (text_seal, "seal", 0, False),
    (Path, "rename", 0, True),
    (Path, "rename", 0, False),
    (Path, "unlink", 1, False),  # of the log's first file: the first one is that of what is unfinished
    (Path, "unlink", 4, False),
    (converter, "_tidy", 0, False),
]


@pytest.mark.parametrize(("place", "name", "times", "before"), _STEPS)
def test_killed_at_any_step_it_begins_again(
    killed: RunFolder, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, times: int, before: bool
) -> None:
    """Killed before or after a step: what was recorded is there when it is done again, from the log or in the file."""
    assert len(killed.logs()) > 5
    plain, calls = getattr(place, name), iter(range(1000))

    def dies(*arguments: Any, **named: Any) -> Any:
        last = next(calls) == times
        if last and before:
            raise _Killed
        answer = plain(*arguments, **named)
        if last:
            raise _Killed
        return answer

    monkeypatch.setattr(place, name, dies)
    with pytest.raises(_Killed):
        made(killed)
    monkeypatch.undo()
    made(killed)
    _is_whole(killed)
    assert made(killed) == (killed.run_file, [])


def test_what_reads_back_otherwise_than_written_is_not_kept(killed: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or a memory that changes a chunk on its way into the file: the log stays."""
    plain = stored_chunks.stored

    def changed(packed: bytes, rows: int, width: int) -> bytes:
        data = bytearray(plain(packed, rows, width))
        data[len(data) // 2] ^= 4
        return bytes(data)

    monkeypatch.setattr(converter, "stored", changed)
    with pytest.raises(OSError, match="samples from 0 of segment 1 read back otherwise than written"):
        made(killed)
    assert not killed.run_file.exists()
    monkeypatch.undo()
    made(killed)
    _is_whole(killed)


@pytest.mark.parametrize("part", ["hops/hop", "slow/t_ns", "journal", "samples/segment_0002/counts"])
def test_a_file_that_lacks_something_is_not_kept(killed: RunFolder, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    plain = converter._verify

    def shortened(path: Path, made_file: Any) -> None:
        with h5py.File(path, "r+") as file:
            item = file["entry"][part]
            item.resize(max(0, item.shape[0] - (item.chunks[0] if part.endswith("counts") else 1)), axis=0)
        plain(path, made_file)

    monkeypatch.setattr(converter, "_verify", shortened)
    with pytest.raises(OSError, match=f"{part} of the run file do not hold what was written"):
        made(killed)
    assert killed.logs()
    assert not killed.run_file.exists()


# -- its process -------------------------------------------------------------------------------------------------------


def _follow(run_folder: RunFolder) -> tuple[int, dict[str, Any]]:
    """The converter's process on a folder whose log is complete, as the recorder says by closing what wakes it."""
    descriptor = os.open(run_folder.path, os.O_RDONLY)
    command = [sys.executable, "-P", "-m", "opsicm.record.converter", str(descriptor)]
    environment = {**os.environ, "PYTHONPATH": str(Path(converter.__file__).parents[2])}
    done = subprocess.run(
        command, pass_fds=[descriptor], env=environment, input=b"", capture_output=True, check=False, timeout=60
    )
    os.close(descriptor)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def _ended(run_folder: RunFolder) -> None:
    Logged(run_folder.path, run_folder=run_folder).end()


def test_the_process_follows_to_the_end(killed: RunFolder) -> None:
    _ended(killed)
    assert _follow(killed) == (0, {"losses": []})
    _is_whole(killed)


def test_the_process_does_not_wait_for_an_end_that_is_damaged(killed: RunFolder) -> None:
    _ended(killed)
    last = killed.logs()[-1]
    kind, at, _ = frame_places(last)[-1]
    assert kind == log.END
    damage(last, at)
    code, answer = _follow(killed)
    assert code == 0
    assert answer["losses"] == [f"{last.name}: its last 48 bytes were not whole"]
    assert list(STREAM.kept(killed.run_file)) == list(range(BLOCKS))


@pytest.mark.parametrize("left", [0, 1])
def test_the_process_has_nothing_to_do_where_one_was_killed_while_it_tidied(killed: RunFolder, left: int) -> None:
    _ended(killed)
    logs = {path.name: path.read_bytes() for path in killed.logs()[-left:]} if left else {}
    made(killed)
    for name, data in logs.items():
        (killed.path / name).write_bytes(data)
    assert _follow(killed) == (0, {"losses": []})
    _is_whole(killed)


def test_the_process_says_why_there_is_no_file(tmp_path: Path) -> None:
    logged = Logged(tmp_path)
    path = logged.folder.path / FIRST
    for kind, at, length in frame_places(path)[:2]:
        assert kind == log.HEADER
        damage(path, at + _HEAD + length // 2)
    logged.group([STREAM.block(STREAM.pool(), 0)])
    logged.end()
    code, answer = _follow(logged.folder)
    assert code == 0
    assert "stop the run; opsicm recover" in answer["error"]
    assert not logged.folder.run_file.exists()
