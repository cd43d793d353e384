"""After a crash: the run file that the crash did not leave time for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opsicm.errors import OpsicmError
from opsicm.record.finalise import finalise
from opsicm.record.reader import Run
from opsicm.record.run_folder import JOURNAL, RUN_FILE, RunFolder

State = Literal["recovered", "whole", "no run", "running", "failed"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of one path: `path` is the run file where there is one, `note` says what was lost or why not."""

    path: Path
    state: State
    note: str

    @property
    def opens(self) -> bool:
        """Whether nothing is left to be done here."""
        return self.state in {"recovered", "whole", "no run"}


def recover(paths: Iterable[Path], who: str) -> Iterator[Recovery]:
    """Make `run.nxs` in every run folder below `paths` that has none. `who` goes into the provenance.

    A path may be a run folder, its run file, or a folder of run folders. What is no run is named and left alone.
    """
    for path in paths:
        folders = list(_folders(path))
        if not folders:
            yield Recovery(path, "no run", "no run folder and no run file" if path.exists() else "does not exist")
        for folder in folders:
            yield _recover(folder, who)


def _folders(path: Path) -> Iterator[Path]:
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


def _recover(path: Path, who: str) -> Recovery:
    folder = RunFolder(path)
    lock = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Recovery(path, "running", "still being written; stop the run first, or wait for its writer to end")
        whole = folder.run_file.is_file()
        made, losses = finalise(folder, who)
        with Run(made) as run:
            hops = run.hops.sizes["hop"]
            said = f"{hops} hops, {len(run.segments())} segments of samples, {run.outcome}"
        note = "; ".join([said, *losses])
        return Recovery(made, "whole" if whole else "recovered", note)
    except (OpsicmError, OSError) as error:
        return Recovery(path, "failed", str(error))
    finally:
        os.close(lock)
