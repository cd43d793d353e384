"""The run folder: made within a second of a clean check, before anything compiles or moves."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from opsicm.errors import BadInput, Problem

RUN_FILE = "run.nxs"
LIVE_FILE = "segment-{:04d}.h5"
HEADER = "header.json"
JOURNAL = "journal.jsonl"
EXPERIMENT = "experiment.yaml"
RIG = "rig.yaml"
LONGEST_SLUG = 48


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one execution lives."""

    path: Path

    @property
    def run_file(self) -> Path:
        return self.path / RUN_FILE

    @property
    def unfinished_file(self) -> Path:
        """The run file while it is being made."""
        return self.path / f"{RUN_FILE}.part"

    @property
    def header(self) -> Path:
        """What is known before anything happens, for the writer and for whoever recovers."""
        return self.path / HEADER

    def live_files(self) -> list[Path]:
        """The live files in the order in which they were begun."""
        found = [path for path in self.path.glob("segment-*.h5") if path.stem[8:].isdigit()]
        return sorted(found, key=number_of)

    def next_live_file(self) -> Path:
        """A name that no live file has yet."""
        files = self.live_files()
        return self.path / LIVE_FILE.format(number_of(files[-1]) + 1 if files else 1)

    def sync(self) -> None:
        """The names in this folder are on the disk."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL


def number_of(live_file: Path) -> int:
    """Which of the live files of its folder it is, from 1."""
    return int(live_file.stem[8:])


def started(folder_name: str) -> str | None:
    """When a run began, from the name that `create` gave its folder; None where somebody has given it another."""
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
