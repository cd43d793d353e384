"""The one run that every page shows, in progress or stored, or none; and the runs that it may be exchanged for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsicm.console.feed import Feed, Plan
from opsicm.console.live_feed import LiveFeed
from opsicm.console.replay_feed import ReplayFeed
from opsicm.console.snapshot import StoredRun
from opsicm.core.errors import BadInput, Problem
from opsicm.record.recover import is_run_folder, run_catalogue
from opsicm.record.run_folder import JOURNAL, RUN_FILE
from opsicm.runner.control_socket import ask_status


@dataclass(frozen=True, slots=True)
class Shown:
    """A run on show: its `path` (a folder in progress, or the run file), its `feed`, and the `folder` to which commands
    go, None for a stored run."""

    path: Path
    feed: Feed
    folder: Path | None

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return (self.path if self.folder is not None else self.path.parent).resolve().name


def opened(path: Path, plan_of: Callable[[Path], Plan]) -> Shown:
    """The run at `path`, a folder or a run file; raises `OpsicmError` for what cannot be shown.

    `plan_of` makes the forecast's time line of the run in a folder.
    """
    folder = path if path.is_dir() else path.parent
    if (folder / JOURNAL).is_file() and not (folder / RUN_FILE).is_file() and path.suffix != ".nxs":
        return Shown(folder, LiveFeed(folder, plan_of(folder)), folder)
    stored = StoredRun(path)
    return Shown(stored.path, ReplayFeed(stored, plan_of(stored.path.parent)), None)


class OnShow:
    """What all pages show. Used from the event loop alone.

    `out` is the folder of the runs that can be chosen from; `plan_of` makes the forecast's time line of the run in a
    folder; `first` is what is on show from the start.
    """

    def __init__(self, out: Path, plan_of: Callable[[Path], Plan], first: Shown | None = None) -> None:
        self.out = out
        self._plan_of = plan_of
        self._present = first
        self._exchanged = asyncio.Event()

    @property
    def present(self) -> Shown | None:
        """The run on show."""
        return self._present

    @property
    def exchanged(self) -> asyncio.Event:
        """Is set when another run takes the place of the present one."""
        return self._exchanged

    def start(self) -> None:
        """Begin to feed the pages."""
        if self._present is not None:
            self._present.feed.start(asyncio.get_running_loop())

    async def stop(self) -> None:
        """End it."""
        if self._present is not None:
            await self._present.feed.stop()

    async def show(self, path: Path) -> Shown:
        """Put the run at `path` on show in place of the present one; raises `OpsicmError`, and keeps that, where it
        cannot be read."""
        shown = await asyncio.to_thread(opened, path, self._plan_of)
        before, self._present = self._present, shown
        shown.feed.start(asyncio.get_running_loop())
        self._exchanged.set()
        self._exchanged = asyncio.Event()
        if before is not None:
            await before.feed.stop()
        return shown

    def chosen(self, name: str) -> Path:
        """The folder of the run called `name` below `out`; raises `BadInput` for any other place."""
        path = self.out / name
        is_name = name not in ("", ".", "..") and "/" not in name and "\0" not in name
        if not (is_name and not path.is_symlink() and is_run_folder(path)):
            limit = f"is no run below {self.out}"
            raise BadInput(Problem("run", ascii(name[:80]), limit, "choose one of the list"))
        return path

    def listed(self) -> list[dict[str, Any]]:
        """The runs below `out`, newest first, with their state. It reads files: call it in a thread."""
        if not self.out.is_dir():
            return []
        return [
            {
                "name": entry.folder,
                "title": entry.title,
                "started": entry.started,
                "state": entry.outcome,
                "duration_s": entry.duration,
                "hops": entry.hops,
                "bytes": entry.bytes,
            }
            for entry in reversed(run_catalogue(self.out))
        ]

    def in_progress(self) -> str | None:
        """The name of a run below `out`, or on show, that a process runs at this moment. It reads files."""
        shown = self._present
        folders = [shown.folder] if shown is not None and shown.folder is not None else []
        folders += [self.out / run["name"] for run in self.listed() if run["state"] == "running"]
        return next((folder.name for folder in folders if ask_status(folder, 0.5) is not None), None)
