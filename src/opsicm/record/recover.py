"""Recovers runs after a crash by making their run files, and lists the runs of a folder."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final, Literal

from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.record.journal import read_lines
from opsicm.record.log import read_header
from opsicm.record.reader import Run
from opsicm.record.run_folder import JOURNAL, RUN_FILE, RunFolder, started

State = Literal["recovered", "whole", "no run", "running", "failed"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result for one path: `path` is the run file where there is one, `note` states the losses or the reason."""

    path: Path
    state: State
    note: str

    @property
    def opens(self) -> bool:
        """Whether nothing remains to be recovered."""
        return self.state in {"recovered", "whole", "no run"}


def recover(paths: Iterable[Path], who: str) -> Iterator[Recovery]:
    """Make `run.nxs` in every run folder below `paths` that has none. `who` goes into the provenance.

    A path may be a run folder, its run file, or a folder of run folders. What is no run is named and left alone.
    """
    for path in paths:
        folders = list(_run_folders(path))
        if not folders:
            yield Recovery(path, "no run", "no run folder and no run file" if path.exists() else "does not exist")
        for folder in folders:
            yield _recover_folder(folder, who)


def _run_folders(path: Path) -> Iterator[Path]:
    if path.is_file():
        if path.name == RUN_FILE or (path.parent / JOURNAL).is_file():
            yield path.parent
    elif is_run_folder(path):
        yield path
    elif path.is_dir():
        yield from sorted(child for child in path.iterdir() if is_run_folder(child))


def is_run_folder(path: Path) -> bool:
    """Whether a run was begun in `path`."""
    return path.is_dir() and ((path / JOURNAL).is_file() or (path / RUN_FILE).is_file())


def in_use(path: Path) -> bool:
    """Whether the process that runs it, or its writer, still holds the folder `path`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _recover_folder(path: Path, who: str) -> Recovery:
    folder = RunFolder(path)
    lock = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Recovery(path, "running", "still being written; stop the run first, or wait for its writer to end")
        from opsicm.record.converter import run_file_of  # noqa: PLC0415  loads a compiler, which `runs` needs not

        already_whole = folder.run_file.is_file() and not (folder.logs() or folder.old_live_files())
        run_file, losses = run_file_of(folder, who)
        with Run(run_file) as run:
            hops = run.hops.sizes["hop"]
            summary = f"{hops} hops, {len(run.segments())} segments of samples, {run.outcome}"
        note = "; ".join([summary, *losses])
        return Recovery(run_file, "whole" if already_whole else "recovered", note)
    except (OpsicmError, OSError) as error:
        return Recovery(path, "failed", str(error))
    finally:
        os.close(lock)


# The catalogue of a folder of runs: an SQLite table beside them, which can always be rebuilt from their files. In WAL
# mode, so that a console may read while a run is added. A row whose files have changed since is read again.
CATALOGUE_FILE: Final = ".opsicm-runs.sqlite"
_COLUMNS: Final = (
    "folder TEXT PRIMARY KEY, title TEXT, started TEXT, outcome TEXT, "
    "duration REAL, hops INTEGER, bytes INTEGER, stamp INTEGER"
)


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One run: `outcome` is running, unfinished, unreadable, or how it ended; `duration` [s]; `stamp` of its files."""

    folder: str
    title: str
    started: str
    outcome: str
    duration: float
    hops: int
    bytes: int
    stamp: int


def run_catalogue(out: Path, rebuild: bool = False) -> list[CatalogueEntry]:
    """Every run in `out`, oldest first. The table is kept in `out` where that can be written, else in memory."""
    if not out.is_dir():
        raise BadInput(Problem("folder", str(out), "is not a folder", "give the folder that --out named", str(out)))
    runs = {path.name: path for path in sorted(out.iterdir()) if is_run_folder(path)}
    if (out / CATALOGUE_FILE).is_symlink():  # somebody's choice of another database of the user's
        return _updated_catalogue(Path(":memory:"), runs, rebuild)
    try:
        return _updated_catalogue(out / CATALOGUE_FILE, runs, rebuild)
    except sqlite3.OperationalError:  # no right to write there
        return _updated_catalogue(Path(":memory:"), runs, rebuild)
    except sqlite3.DatabaseError:  # damaged: rebuilt from the runs
        for suffix in ("", "-wal", "-shm"):
            (out / f"{CATALOGUE_FILE}{suffix}").unlink(missing_ok=True)
        return _updated_catalogue(out / CATALOGUE_FILE, runs, rebuild)


def _updated_catalogue(table: Path, runs: dict[str, Path], rebuild: bool) -> list[CatalogueEntry]:
    with closing(sqlite3.connect(table, timeout=10.0)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(f"CREATE TABLE IF NOT EXISTS runs ({_COLUMNS})")
        stored = {} if rebuild else {entry.folder: entry for entry in _stored_entries(database)}
        current = list(_current_entries(runs, stored))
        database.execute("DELETE FROM runs")
        # A folder whose name is no text cannot stand in the table, and is read every time.
        rows = [astuple(entry) for entry in current if _is_text(entry.folder + entry.title)]
        database.executemany(f"INSERT INTO runs VALUES ({','.join('?' * len(fields(CatalogueEntry)))})", rows)
    return sorted(current, key=lambda entry: (entry.started, entry.folder))


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _stored_entries(database: sqlite3.Connection) -> Iterator[CatalogueEntry]:
    """The rows of the table that are such; others, of a table that somebody made, are read again from their runs."""
    for row in database.execute("SELECT * FROM runs"):
        if [type(value) for value in row] == [str, str, str, str, float, int, int, int]:
            yield CatalogueEntry(*row)


def _current_entries(runs: dict[str, Path], stored: dict[str, CatalogueEntry]) -> Iterator[CatalogueEntry]:
    for name, path in runs.items():
        try:
            stamp = max((file.stat().st_mtime_ns for file in path.iterdir() if file.is_file()), default=0)
            entry = stored.get(name)
            current = entry is not None and entry.stamp == stamp and entry.outcome != "running"
            yield entry if entry is not None and current else _read_entry(path, stamp)
        except OSError as error:  # no right to read it; or it is being made, moved or deleted in this moment
            yield CatalogueEntry(name, str(error.strerror), started(name) or "", "unreadable", 0.0, 0, 0, 0)


def _read_entry(path: Path, stamp: int) -> CatalogueEntry:
    folder = RunFolder(path)
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    if not folder.run_file.is_file():
        header = read_header(folder)
        lines, _ = read_lines(folder.journal)
        return CatalogueEntry(
            path.name,
            path.name if header is None else header.title,
            started(path.name) or "",
            "running" if in_use(path) else "unfinished",
            0.0,
            sum('"kind": "hops"' in line for line in lines),
            size,
            stamp,
        )
    try:
        with Run(path) as run:
            last = run.facts[-1].t_ns if run.facts else 0
            return CatalogueEntry(
                path.name, run.title, run.started_utc, run.outcome, last * 1e-9, int(run.hops.sizes["hop"]), size, stamp
            )
    except OpsicmError as error:
        return CatalogueEntry(
            path.name, str(error.problems[0].limit), started(path.name) or "", "unreadable", 0.0, 0, size, stamp
        )
