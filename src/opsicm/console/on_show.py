"""The one run that every page shows, in progress or stored, or none; and the runs that it may be exchanged for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opsicm.console.feed import Feed, Plan
from opsicm.console.live_feed import LiveFeed
from opsicm.console.replay_feed import ReplayFeed
from opsicm.console.snapshot import StoredRun
from opsicm.core.errors import BadInput, Problem
from opsicm.instruments.clock import monotonic_ns
from opsicm.record.recover import in_use, is_run_folder, run_catalogue
from opsicm.record.run_folder import JOURNAL, RUN_FILE
from opsicm.runner.control_socket import NAME as CONTROL_SOCKET

_LOOK_NS: Final = 1_000_000_000  # between two looks at which runs are in progress


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
        self._known: list[Path] = []  # folders of runs that were on show in progress, wherever they are
        self._know(first)
        self._in_progress: list[Path] = []
        self._due_ns = -(1 << 62)
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
        self._know(shown)
        shown.feed.start(asyncio.get_running_loop())
        self._exchanged.set()
        self._exchanged = asyncio.Event()
        if before is not None:
            await before.feed.stop()
        return shown

    def _know(self, shown: Shown | None) -> None:
        if shown is not None and shown.folder is not None and shown.folder not in self._known:
            self._known.append(shown.folder)

    def chosen(self, name: str) -> Path:
        """The folder of the run called `name` below `out`, or of one that was on show in progress; raises `BadInput`
        for any other place."""
        known = next((folder for folder in self._known if folder.resolve().name == name), None)
        if known is not None and is_run_folder(known):
            return known
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

    def in_progress(self) -> list[Path]:
        """The folders of the runs that a process runs at this moment: that on show or once shown, then those below
        `out`, newest first. It reads files, and asks the runs nothing: one that compiles has few places for questions.
        """
        below = [socket.parent for socket in self.out.glob(f"*/{CONTROL_SOCKET}") if not socket.parent.is_symlink()]
        folders = {folder.resolve(): folder for folder in (*sorted(below), *self._known)}
        return [folder for folder in reversed(folders.values()) if _runs(folder)]

    def stopped_by(self, name: str) -> Path | None:
        """The folder of the run that a stop of `name` goes to. Without a name it is the run on show, and where that is
        not in progress the newest one that is; None where there is none. It reads files."""
        shown = self._present
        if not name and shown is not None and shown.folder is not None and _runs(shown.folder):
            return shown.folder  # at once: the other folders may be many
        running = self.in_progress()
        if name:
            return next((folder for folder in running if folder.resolve().name == name), None)
        fallback = None if shown is None else shown.folder  # it says itself that it has ended
        return max(running, key=lambda folder: folder.resolve().name, default=fallback)

    def leads_back(self, path: Path) -> bool:
        """Whether the run at `path` is in progress and the one on show is not. It reads files."""
        shown = self._present
        return _runs(path) and not (shown is not None and shown.folder is not None and _runs(shown.folder))

    async def look(self) -> None:
        """Look which runs are in progress, if the last look was a second ago."""
        if monotonic_ns() >= self._due_ns:
            self._due_ns = monotonic_ns() + _LOOK_NS
            self._in_progress = await asyncio.to_thread(self.in_progress)

    @property
    def others(self) -> list[str]:
        """The names of the runs that were in progress beside the one on show at the last look."""
        shown = None if self._present is None else self._present.folder
        present = None if shown is None else shown.resolve()
        return [folder.resolve().name for folder in self._in_progress if folder.resolve() != present]


def _runs(folder: Path) -> bool:
    """Whether a process runs the run in `folder` and takes commands."""
    try:
        return (folder / CONTROL_SOCKET).exists() and in_use(folder)
    except OSError:  # it has gone meanwhile
        return False
