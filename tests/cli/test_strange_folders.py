"""Folders that somebody else has made: a list of runs, a report and a picture touch nothing outside of them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from opsicm.cli.main import main
from opsicm.record.reader import Run
from opsicm.record.recover import CATALOGUE_FILE, run_catalogue

RUN_STARTED = '{"seq": 0, "t_ns": 0, "kind": "run_started", "track": "run", "step": "run", "data": {}}\n'


@pytest.fixture
def runs_folder(run_path: Path, tmp_path: Path) -> Path:
    """A folder with one good run."""
    shutil.copytree(run_path if run_path.is_dir() else run_path.parent, tmp_path / "runs" / "good")
    return tmp_path / "runs"


def test_one_damaged_run_hides_no_other(runs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, header in enumerate([b"{", b"[]", b"null", b'{"title": 3}', b"\xff\xfe", b'{"channels": [{"x": 1}]}']):
        folder = runs_folder / f"damaged{k}"
        folder.mkdir()
        (folder / "journal.jsonl").write_text(RUN_STARTED)
        (folder / "header.json").write_bytes(header)
    assert main(["runs", str(runs_folder)]) == 0
    assert capsys.readouterr().out.count("unfinished") == 6
    nameless = Path(os.fsdecode(os.fsencode(runs_folder) + b"/no\xfftext"))
    nameless.mkdir()
    (nameless / "journal.jsonl").write_bytes(b"[1]\nnull\n{}\n")
    (runs_folder / "empty").mkdir()
    (runs_folder / "empty" / "run.nxs").touch()
    for _ in range(2):  # read, then from the table
        entries = run_catalogue(runs_folder)
        assert len(entries) == 9
        assert [entry.outcome for entry in entries if entry.folder == "good"] == ["completed"]


def test_a_table_that_somebody_made_changes_nothing(runs_folder: Path, tmp_path: Path) -> None:
    (good,) = run_catalogue(runs_folder)
    precious = tmp_path / "precious.sqlite"
    with sqlite3.connect(precious) as database:
        database.execute("CREATE TABLE runs (a TEXT, b TEXT)")
        database.execute("INSERT INTO runs VALUES ('mine', 'too')")
    table = runs_folder / CATALOGUE_FILE
    for path in runs_folder.glob(f"{CATALOGUE_FILE}*"):
        path.unlink()
    table.symlink_to(precious)
    before = precious.read_bytes()
    assert run_catalogue(runs_folder) == [good]
    assert precious.read_bytes() == before
    table.unlink()
    shutil.copy(precious, table)  # of another form
    assert run_catalogue(runs_folder) == [good]
    table.unlink()
    with sqlite3.connect(table) as database:  # of the same form, with other contents
        columns = "folder, title, started, outcome, duration, hops, bytes, stamp"
        database.execute(f"CREATE TABLE runs ({columns})")
        row = ("good", 1, 2, "completed", "long", None, b"x", good.stamp)
        database.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?,?)", row)
    assert run_catalogue(runs_folder) == [good]


def test_a_report_leaves_alone_what_is_not_ours(
    short_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, precious = tmp_path / "good", tmp_path / "thesis.html"
    shutil.copytree(short_run.path.parent, good, ignore=shutil.ignore_patterns("report.html"))
    precious.write_text("mine")
    report = good / "report.html"
    report.symlink_to(precious)
    assert main(["report", str(good)]) == 2
    assert "is a symbolic link to" in capsys.readouterr().err
    assert precious.read_text() == "mine"
    report.unlink()
    report.write_text("mine too")
    assert main(["report", str(good)]) == 2
    assert "has not written; move it away, or choose another path with -o" in capsys.readouterr().err
    assert report.read_text() == "mine too"
    report.rename(good / "mine.html")  # the remedy
    assert main(["report", str(good)]) == 0
    assert main(["report", str(good)]) == 0  # its own is replaced
