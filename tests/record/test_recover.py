"""Recovering: what a crash left, at any stage, becomes a file that opens plainly."""

from __future__ import annotations

import fcntl
import os
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from faults.stream import folder
from opsicm.cli.main import main
from opsicm.core.errors import UnreadableRun
from opsicm.core.facts import Fact
from opsicm.record import log
from opsicm.record import run_folder as disk_space
from opsicm.record.log import LogWriter
from opsicm.record.reader import Run
from opsicm.record.recover import in_use, recover
from opsicm.record.run_folder import RunFolder
from opsicm.record.validate import validate
from tests.fixtures.logged import FIRST, damage, frame_places, killed_run
from tests.fixtures.recorded import BLOCKS, STREAM


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a kill of all processes leaves it: a log in several files, without an end. Read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "FILE_BYTES", 100_000)
        return killed_run(tmp_path_factory.mktemp("killed")).path


def test_a_killed_run_is_recovered_completely(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    assert sorted(path.name for path in run_folder.glob("record-*")) == [f"record-000{k}.log" for k in (1, 2, 3)]
    with pytest.raises(UnreadableRun, match="opsicm recover"):
        Run(run_folder)
    (done,) = recover([run_folder], "somebody")
    assert done.state == "recovered"
    assert list(STREAM.kept(done.path)) == list(range(BLOCKS))
    assert all(result.ok for result in validate(done.path)), validate(done.path)
    with Run(run_folder) as run:
        assert run.outcome == "unfinished"
        assert run.provenance["recovered"] == "somebody"
    assert not list(run_folder.glob("record-*"))
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


@pytest.mark.parametrize("left", ["folder", "empty log", "cut log", "header"])
def test_killed_before_anything_came(killed: Path, tmp_path: Path, left: str) -> None:
    run_folder = folder(tmp_path)
    if left == "header":
        LogWriter.begin(run_folder, STREAM.header())
    elif left != "folder":
        (run_folder.path / FIRST).write_bytes((killed / FIRST).read_bytes()[: 300 if left == "cut log" else 0])
    (done,) = recover([run_folder.path], "me")
    assert done.state == "recovered"
    with Run(done.path) as run:
        assert run.hops.sizes["hop"] == 0
        assert run.segments() == []
        assert run.title == ("fault" if left == "header" else run_folder.path.name)
        assert run.started_utc.startswith("2026-01-02T03:04:05")
        assert (FIRST in run.provenance["losses"]) == (left == "cut log")
    assert all(result.ok for result in validate(done.path)), validate(done.path)
    assert not list(run_folder.path.glob("record-*"))


def test_no_room_for_the_run_file_leaves_the_log(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folder = RunFolder(shutil.copytree(killed, tmp_path / "run"))
    monkeypatch.setattr(disk_space, "free", lambda _: (1_000_000, 10**9))
    (done,) = recover([run_folder.path], "me")
    assert done.state == "failed"
    assert "free space" in done.note
    assert len(run_folder.logs()) == 3


def test_a_run_that_lives_is_not_recovered(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    holder = os.open(run_folder, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        held = in_use(run_folder)
        (done,) = recover([run_folder], "me")
    finally:
        os.close(holder)
    assert held
    assert (done.state, done.opens) == ("running", False)
    assert done.note == "still being written; stop the run first, or wait for its writer to end"
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before
    assert not in_use(run_folder)
    (done,) = recover([run_folder], "me")
    assert done.state == "recovered"


def test_a_damaged_frame_is_a_named_loss_and_reads_as_nan(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    frame, at = next((k, at) for k, (kind, at, _) in enumerate(frame_places(run_folder / FIRST)) if kind == log.SAMPLES)
    damage(run_folder / FIRST, at + 150)
    (done,) = recover([run_folder], "me")
    assert done.state == "recovered"
    assert f"{FIRST}: samples in frame {frame} are damaged; segment 1: samples 0 to 4999 are lost" in done.note
    checks = {result.check: result for result in validate(done.path)}
    assert not checks["samples"].ok
    with Run(done.path) as run:
        values = run.samples(1)["z"].values
        assert np.isnan(values[:5000]).all()
        pool = STREAM.pool()
        expected = np.concatenate([STREAM.counts(pool, k)[:, 1] for k in range(1, 8)])
        np.testing.assert_array_equal(values[5000:], expected * 1e-12)


def test_a_torn_journal_keeps_its_whole_lines(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    journal = run_folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    (done,) = recover([run_folder], "me")
    assert "journal: 1 torn lines" in done.note
    with Run(done.path) as run:
        assert [fact.seq for fact in run.facts] == list(range(BLOCKS - 1))


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


def test_a_removed_file_of_the_log_is_a_named_loss(killed: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(killed, tmp_path / "run")
    tell_hops(run_folder, 0, BLOCKS - 1)
    (run_folder / "record-0002.log").unlink()
    (done,) = recover([run_folder], "me")
    assert done.state == "recovered"
    with Run(done.path) as run:
        stored = run.hops.sizes["hop"]
        assert 0 < stored < BLOCKS
        losses = run.provenance["losses"]
    assert "record-0002.log missing" in losses
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
