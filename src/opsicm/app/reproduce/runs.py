"""Making the runs: one after the other, resumable, each kept under the hash of all that decides it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsicm.app.execute import execute
from opsicm.app.reproduce.cases import Case
from opsicm.errors import OpsicmError
from opsicm.run.runner import Progress

_DONE: Final = "done.json"


@dataclass(frozen=True, slots=True)
class Made:
    """A case and its run file; `path` None where there is none, and the `reason`."""

    case: Case
    path: Path | None
    reason: str = ""


def make(
    cases: Iterable[Case],
    folder: Path,
    stop: Callable[[], bool],
    progress: Callable[[Case], Callable[[Progress], None]],
) -> Iterator[Made]:
    """Make the run of every case that `folder` does not hold already; stops between and within runs when asked.

    A run that fails is a `Made` with its reason, and the next one is made all the same. One that was interrupted is
    not kept: it is made again when asked for again.
    """
    for case in cases:
        if stop():
            return
        place = folder / case.key
        done = finished(place)
        if done is not None:
            yield Made(case, done)
            continue
        shutil.rmtree(place, ignore_errors=True)
        try:
            execution = execute(case.loaded, place, None, case.seed, None, stop, progress(case))
        except OpsicmError as error:
            yield Made(case, None, str(error))
            continue
        if execution.ending.outcome == "interrupted":
            return
        if execution.ending.error is not None:
            yield Made(case, None, str(execution.ending.error))
            continue
        _keep(place, execution.path)
        yield Made(case, execution.path)


def finished(place: Path) -> Path | None:
    """The run file that a case has left at `place`, if its run had come to its end."""
    try:
        said = json.loads((place / _DONE).read_text(encoding="utf-8"))
        path = place / str(said["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if path.is_file() else None


def _keep(place: Path, path: Path) -> None:
    # Written beside and moved, so that a half-written word never says that a run is there.
    new = place / (_DONE + ".new")
    new.write_text(json.dumps({"run": path.relative_to(place).as_posix()}), encoding="utf-8")
    os.replace(new, place / _DONE)
