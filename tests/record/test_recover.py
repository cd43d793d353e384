"""Recovering: what a crash left, at any stage, becomes a file that opens plainly."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest

from faults.stream import folder
from opsicm.cli.main import main
from opsicm.core.errors import UnreadableRun
from opsicm.core.facts import Fact
from opsicm.record import finalise as finalising
from opsicm.record import run_folder as disk_space
from opsicm.record.live_file import LiveFile
from opsicm.record.reader import Run
from opsicm.record.recover import recover
from opsicm.record.run_folder import RunFolder
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.record.validate import validate
from tests.fixtures.recorded import BLOCKS, STREAM, feed


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a kill leaves it: live files copied while the run is going on."""
    run_folder = folder(tmp_path_factory.mktemp("killed"))
    recorder = SharedRecorder(run_folder)
    recorder.open(STREAM.header())
    feed(recorder, ended=False)
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.02)
    copy = run_folder.path.parent / "copy"
    shutil.copytree(run_folder.path, copy)
    recorder.close()
    return copy


def test_a_killed_run_is_recovered_completely(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    assert sorted(path.name for path in run_folder.glob("*.h5")) == [f"segment-000{k}.h5" for k in (1, 2, 3)]
    with pytest.raises(UnreadableRun, match="opsicm recover"):
        Run(run_folder)
    (done,) = recover([run_folder], "somebody")
    assert done.state == "recovered"
    assert list(STREAM.kept(done.path)) == list(range(BLOCKS))
    assert all(result.ok for result in validate(done.path)), validate(done.path)
    with Run(run_folder) as run:
        assert run.outcome == "unfinished"
        assert run.provenance["recovered"] == "somebody"
    assert not list(run_folder.glob("*.h5"))
    (again,) = recover([run_folder / "run.nxs"], "somebody else")
    assert again.state == "whole"


def test_several_paths_some_of_them_not_runs(killed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(killed, out / "a")
    shutil.copytree(killed, out / "b")
    (out / "not a run").mkdir()
    stray = tmp_path / "stray.txt"
    stray.write_text("x")
    done = list(recover([out, stray, tmp_path / "missing"], "me"))
    assert [one.state for one in done] == ["recovered", "recovered", "no run", "no run"]
    assert done[-1].note == "does not exist"


@pytest.mark.parametrize("left", ["folder", "header", "empty live file", "cut live file"])
def test_killed_before_the_first_flush(killed: Path, tmp_path: Path, left: str) -> None:
    run_folder = folder(tmp_path)
    if left != "folder":
        shutil.copy(killed / "header.json", run_folder.header)
    if left == "empty live file":
        LiveFile(run_folder.next_live_file(), STREAM.header(), 1).close()
    elif left == "cut live file":
        (run_folder.path / "segment-0001.h5").write_bytes((killed / "segment-0001.h5").read_bytes()[:300])
    (done,) = recover([run_folder.path], "me")
    assert done.state == "recovered"
    with Run(done.path) as run:
        assert run.hops.sizes["hop"] == 0
        assert run.segments() == []
        assert run.title == (run_folder.path.name if left == "folder" else "fault")
        assert run.started_utc.startswith("2026-01-02T03:04:05")
        assert ("segment-0001.h5" in run.provenance["losses"]) == (left == "cut live file")
    assert all(result.ok for result in validate(done.path)), validate(done.path)


def test_a_kill_while_finalising_costs_nothing(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder = RunFolder(shutil.copytree(killed, tmp_path / "run"))
    # Killed after the rename, before the live files went: doing it again only tidies.
    monkeypatch.setattr(finalising, "_tidy", lambda _: None)
    finalising.finalise(run_folder)
    assert run_folder.live_files()
    monkeypatch.undo()
    run_folder.unfinished_file.write_bytes(b"half a file")
    finalising.finalise(run_folder)
    assert not run_folder.live_files()
    assert not run_folder.unfinished_file.exists()
    assert list(STREAM.kept(run_folder.run_file)) == list(range(BLOCKS))


def test_no_room_for_the_run_file_leaves_the_live_files(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder = RunFolder(shutil.copytree(killed, tmp_path / "run"))
    monkeypatch.setattr(disk_space, "free", lambda _: (1_000_000, 10**9))
    (done,) = recover([run_folder.path], "me")
    assert done.state == "failed"
    assert "free space" in done.note
    assert len(run_folder.live_files()) == 3


def test_a_damaged_chunk_is_a_named_loss_and_reads_as_nan(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    live = run_folder / "segment-0001.h5"
    with h5py.File(live, "r", swmr=True, libver="latest") as file:
        at = file["counts"].id.get_chunk_info_by_coord((0, 0)).byte_offset
    with live.open("r+b") as file:
        file.seek(at + 50)
        file.write(b"\xff" * 20)
    (done,) = recover([run_folder], "me")
    assert done.state == "recovered"
    assert "segment 1: samples 0 to 4999 are lost" in done.note
    checks = {result.check: result for result in validate(done.path)}
    assert not checks["samples"].ok
    with Run(done.path) as run:
        values = run.samples(1, 0, 6 * 5000)["z"].values
        lost = np.isnan(values)
        assert lost[:5000].all()
        assert run.samples(1, 35_000, 40_000)["z"].notnull().all()
        counts = STREAM.pool()
        for k in range(6):
            intact = values[k * 5000 : (k + 1) * 5000]
            assert lost[k * 5000] or (intact == STREAM.counts(counts, k)[:, 1] * 1e-12).all()


def test_a_torn_journal_keeps_its_whole_lines(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    journal = run_folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    (done,) = recover([run_folder], "me")
    assert "journal: 1 torn lines" in done.note
    with Run(done.path) as run:
        assert len(run.facts) == BLOCKS


@pytest.mark.parametrize("renamed", [False, True])
def test_a_run_whose_file_was_removed_is_not_made_again(killed: Path, tmp_path: Path, renamed: bool) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "20260102T030405Z_fault")
    tell_hops(run_folder, 0, BLOCKS - 1)
    list(recover([run_folder], "me"))
    (run_folder / "run.nxs").unlink()
    if renamed:
        run_folder = run_folder.rename(tmp_path / "my best run")
    before = sorted(path.name for path in run_folder.iterdir())
    (done,) = recover([run_folder], "me")
    assert done.state == "failed"
    assert not done.opens
    assert f"{BLOCKS} hops that the journal names are in no file here" in done.note
    assert "put it back from a copy" in done.note
    assert "experiment.yaml, rig.yaml, journal.jsonl" in done.note
    assert sorted(path.name for path in run_folder.iterdir()) == before
    assert main(["recover", str(run_folder)]) != 0


def test_a_removed_live_file_is_a_named_loss(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    tell_hops(run_folder, 0, BLOCKS - 1)
    (run_folder / "segment-0002.h5").unlink()
    (done,) = recover([run_folder], "me")
    assert done.state == "recovered"
    with Run(done.path) as run:
        stored = run.hops.sizes["hop"]
        assert 0 < stored < BLOCKS
        losses = run.provenance["losses"]
    assert "segment-0002.h5 missing" in losses
    assert f"{BLOCKS - stored} hops that the journal names were not recorded" in losses
    assert losses in done.note


def test_killed_before_its_header_in_a_folder_that_was_renamed(tmp_path: Path) -> None:
    run_folder = folder(tmp_path).path.rename(tmp_path / "renamed")
    (done,) = recover([run_folder], "me")
    assert done.state == "recovered"
    assert "start_time: the folder was renamed, so it is when experiment.yaml was written" in done.note
    with Run(done.path) as run:
        written = (run_folder / "experiment.yaml").stat().st_mtime
        assert abs(datetime.fromisoformat(run.started_utc).timestamp() - written) < 1e-3
    assert all(result.ok for result in validate(done.path)), validate(done.path)


def tell_hops(run_folder: Path, first: int, last: int) -> None:
    """As the runner journals hops."""
    fact = Fact(99, 10**9, "hops", "probe", "probe[0]", {"range": [first, last]})
    with (run_folder / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write(fact.line() + "\n")
