"""The run folder: made within a second of a clean check, before anything compiles or moves."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, LimitCrossed, Problem

RUN_FILE = "run.nxs"
LOG_FILE = "record-{:04d}.log"
OLD_LIVE_FILE = "segment-{:04d}.h5"
OLD_HEADER = "header.json"
JOURNAL = "journal.jsonl"
EXPERIMENT = "experiment.yaml"
RIG = "rig.yaml"
LONGEST_SLUG = 48


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def run_file(self) -> Path:
        return self.path / RUN_FILE

    @property
    def unfinished_file(self) -> Path:
        """The run file while it is being made."""
        return self.path / f"{RUN_FILE}.part"

    def logs(self) -> list[Path]:
        """The files of the live log, in order."""
        return _numbered(self.path, LOG_FILE)

    def old_live_files(self) -> list[Path]:
        """What version 0.1.0 recorded into, in order: HDF5 files."""
        return _numbered(self.path, OLD_LIVE_FILE)

    def sync(self) -> None:
        """Bring the names in this folder to the disk."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL


def _numbered(folder: Path, name: str) -> list[Path]:
    """Files called as the pattern `name` says, by their number."""
    pattern = re.compile(re.escape(name).replace(re.escape("{:04d}"), r"\d{4,}"))
    return sorted((path for path in folder.iterdir() if pattern.fullmatch(path.name)), key=number_of)


def number_of(file: Path) -> int:
    """Which of the files of its kind it is, from 1."""
    return int(file.stem.rsplit("-", 1)[1])


def started(folder_name: str) -> str | None:
    """The start of a run, from the name that `create` gave its folder; None where the folder was renamed."""
    stamp = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z_", folder_name)
    return stamp and "{}-{}-{}T{}:{}:{}.000+00:00".format(*stamp.groups())


def slug(title: str) -> str:
    """A title as part of a folder's name: lower-case letters, digits and dashes, at most `LONGEST_SLUG`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:LONGEST_SLUG].strip("-") or "run"


def create(out: Path, title: str, started: datetime, experiment_text: str, rig_text: str) -> RunFolder:
    """Make `out/<UTC>_<slug>/` with the experiment, the rig and an empty journal; raises `BadInput` if it cannot."""
    name = f"{started:%Y%m%dT%H%M%SZ}_{slug(title)}"
    path = out / name
    try:
        out.mkdir(parents=True, exist_ok=True)
        for attempt in range(2, 1000):
            try:
                path.mkdir()
                break
            except FileExistsError:  # a second run within the same second
                path = out / f"{name}-{attempt}"
        (path / EXPERIMENT).write_text(experiment_text, encoding="utf-8")
        (path / RIG).write_text(rig_text, encoding="utf-8")
        (path / JOURNAL).touch()
    except OSError as error:
        problem = Problem(
            "output folder", str(out), f"cannot be written ({error.strerror})", "choose another with --out", str(out)
        )
        raise BadInput(problem) from error
    return RunFolder(path)


_LEAST: Final = 64e6  # [bytes]: the smallest run with its header, tables and report
_STOP_SHARE: Final = 0.05
_STOP_MOST: Final = 5e9  # [bytes]: a twentieth of a large disk would stop a run that has days of room


def free(folder: Path) -> tuple[int, int]:
    """(bytes that may still be written, bytes in all) of the file system that holds `folder` or its nearest parent."""
    while not folder.exists():
        folder = folder.parent
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize


def stop_below(total: int) -> float:
    """Free bytes below which a run stops: 5 % of the file system, 5 GB at most."""
    return min(_STOP_SHARE * total, _STOP_MOST)


def refuse_if_short(folder: Path, estimate: float | None) -> None:
    """Raise `BadInput` unless `folder` can be written and holds twice the estimated run file, and a margin.

    Twice, because the finished file is made beside the live ones, which go only when it is whole.
    """
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        limit = f"{parent} is not a folder that may be written"
        raise BadInput(Problem("output folder", str(folder), limit, "choose another with --out", str(folder)))
    available, total = free(parent)
    needed = 2.0 * max(estimate or 0.0, _LEAST / 2) + stop_below(total)
    if available < needed:
        limit = f"twice the estimated run and the reserve need {needed * 1e-6:.0f} MB"
        remedy = "free some space or choose another disk with --out"
        raise BadInput(Problem("free space", f"{available * 1e-6:.0f} MB", limit, remedy, str(folder)))


def stop_if_short(folder: Path) -> None:
    """Raise `LimitCrossed` when the disk is nearly full, while everything can still be closed cleanly."""
    available, total = free(folder)
    if available < stop_below(total):
        limit = f"a run stops below {stop_below(total) * 1e-6:.0f} MB, to close its file cleanly"
        raise LimitCrossed(Problem("free space", f"{available * 1e-6:.0f} MB", limit, "free some space and run again"))
