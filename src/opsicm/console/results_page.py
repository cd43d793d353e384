"""The page of a stored run: its report with figures that can be zoomed and read, and its exports to download.

The run is analysed once, by a process of its own, which leaves files in a temporary folder; the server sends those, and
the run file, piece by piece from the disk. They are kept until another run is on show or the console ends.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse

from opsicm.console.answers import problem
from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.core.output_file import as_utf8
from opsicm.record.run_folder import JOURNAL, RUN_FILE

_GENTLE: Final = 5  # niceness of the process: a run in progress on this machine comes first
_CONTENT: Final = "content.json"
_ANSWERS_WITHIN: Final = 0.3  # [s]: the page then shows what the analysis is doing
_PART: Final = re.compile(r"figure-\d+\.view|(figure|table)-\d+\.csv")
_TYPES: Final = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".zip": "application/zip",
    ".nxs": "application/x-hdf5",
    ".nc": "application/x-netcdf",
    ".tif": "image/tiff",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".parquet": "application/vnd.apache.parquet",
}


class _Gone(OpsicmError):
    """The run file has vanished."""


class _InProgress(OpsicmError):
    """The run has no file yet."""


# -- the process that analyses --------------------------------------------------------------------------------------


class AnalysisProcess:
    """Runs `stored_results` in a process that is started when it is needed. One job at a time, the others wait.

    `progress` says what it is doing. It ends with the console, however that ends: its pipe is then closed.
    """

    def __init__(self) -> None:
        self.progress = ""
        self._thread = ThreadPoolExecutor(1, "results")
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    async def ask(self, job: str, *arguments: object) -> Any:
        """What `job` answers; raises `OpsicmError` with what it raised, or that the process has ended."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, job, arguments)

    def _ask(self, job: str, arguments: tuple[object, ...]) -> Any:
        try:
            pipe = self._running()
            pipe.send((job, arguments))
            while True:
                kind, content = pipe.recv()
                if kind == "progress":
                    self.progress = content
                elif kind == "done":
                    return content
                else:
                    raise OpsicmError(content)
        except (EOFError, OSError) as error:
            raise OpsicmError(self._ended()) from error
        finally:
            self.progress = ""

    def _running(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self.progress = "starting the analysis"
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            # Ctrl-C is for the console, which ends the process; that inherits what the thread which starts it blocks.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._process = process
            theirs.close()  # so that its end is noticed here
        return self._pipe

    def _ended(self) -> Problem:
        code = None
        if self._process is not None:
            self._process.join(5.0)
            code = self._process.exitcode
        self._process = self._pipe = None
        limit = f"ended before it was done (exit code {code})"
        remedy = "load the page anew; if it ends again, memory may be short: opsicm report RUN in a terminal says more"
        return Problem("the analysis", "", limit, remedy)

    def interrupt(self) -> None:
        """End what it is doing; what waits is done by another process."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self.interrupt()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _work(pipe: Connection) -> None:
    """Do what comes over `pipe` until it is closed: the life of the process."""
    os.nice(_GENTLE)
    try:
        while True:
            job, arguments = pipe.recv()
            pipe.send(_outcome(job, arguments, lambda words: pipe.send(("progress", words))))
    except (EOFError, OSError):
        return


def _outcome(job: str, arguments: tuple[Any, ...], progress: Callable[[str], None]) -> tuple[str, Any]:
    try:
        from opsicm.console import stored_results  # noqa: PLC0415 - the server does without matplotlib

        jobs: dict[str, Callable[..., Path | None]] = {
            "prepare": stored_results.prepare,
            "export": stored_results.export,
        }
        return "done", jobs[job](*arguments, progress)
    except OpsicmError as error:
        return "failed", error.problems
    except OSError as error:
        limit = f"cannot be written or read ({error.strerror or error})"
        remedy = f"free space in {gettempdir()}, or start the console with TMPDIR set to a folder with space"
        return "failed", (Problem(job, str(error.filename or ""), limit, remedy),)
    except Exception as error:  # noqa: BLE001 - whatever it is, the page must not wait for ever
        limit = f"failed ({type(error).__name__}: {error})"
        return "failed", (Problem(job, "", limit, "try opsicm report RUN in a terminal, and report what it prints"),)


# -- what was made of the run on show -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Made:
    """What was made of the run file at `path`, in `folder`: its page's `content` and `exports`, by their name."""

    path: Path
    mark: tuple[int, int, int]
    folder: TemporaryDirectory[str]
    tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """How what is downloaded is called: as the run's folder."""
        return as_utf8(self.path.resolve().parent.name) or "run"


class ResultsPage:
    """The addresses of the page; `on_show` returns what the console shows: a run's folder, its file, or None."""

    def __init__(self, on_show: Callable[[], Path | None]) -> None:
        self._on_show = on_show
        self._process = AnalysisProcess()
        self._made: _Made | None = None

    def add_to(self, app: FastAPI) -> None:
        """Let `app` answer the page's addresses."""
        app.get("/api/results", response_model=None)(self.content)
        app.get("/api/results/{name}", response_model=None)(self.part)
        app.post("/api/export/{name}", response_model=None)(self.make)
        app.get("/api/export/{name}", response_model=None)(self.download)

    def stop(self) -> None:
        """End the analysis and remove what was made."""
        self._process.stop()
        self._forget()

    # -- addresses

    async def content(self) -> Response:
        """The report's texts and what can be downloaded, as JSON; 202 with what the analysis is doing: ask again."""
        try:
            made = self._current()
            task = self._task(made, _CONTENT, "prepare", made.path, Path(made.folder.name))
            if not task.done():
                await asyncio.wait([task], timeout=_ANSWERS_WITHIN)
            if not task.done():
                return JSONResponse({"progress": self._process.progress or "waiting"}, 202)
            await self._result(made, _CONTENT, task)
        except OpsicmError as error:
            return _refusal(error)
        return FileResponse(Path(made.folder.name) / _CONTENT, media_type="application/json")

    async def part(self, name: str) -> Response:
        """A figure as a message of the wire, or the data of a figure or table as .csv."""
        try:
            made = self._current()
            if _CONTENT not in made.tasks or not made.tasks[_CONTENT].done() or not _PART.fullmatch(name):
                return problem(404, "No such figure or table", _load_anew(name))
            path = Path(made.folder.name) / name
            if not path.is_file():
                return problem(404, "No such figure or table", _load_anew(name))
        except OpsicmError as error:
            return _refusal(error)
        if path.suffix == ".csv":
            return _file(path, f"{made.stem}_{name}")
        return FileResponse(path, media_type="application/octet-stream")

    async def make(self, name: str) -> Response:
        """Make an export; says how many bytes it has and what it is called."""
        try:
            path, title = await self._exported(name)
        except OpsicmError as error:
            return _refusal(error)
        return JSONResponse({"name": name, "file": title, "bytes": path.stat().st_size})

    async def download(self, name: str) -> Response:
        """An export, from the disk piece by piece; it is made first where it was not."""
        try:
            return _file(*await self._exported(name))
        except OpsicmError as error:
            return _refusal(error)

    # -- what they have in common

    def _current(self) -> _Made:
        """What was made of the run on show; nothing yet where it, or its file, is another one than before."""
        path = self._on_show()
        if path is None:
            raise _InProgress(Problem("run", "", "none is on show", "open one, or start an experiment"))
        file = path / RUN_FILE if path.is_dir() else path
        try:
            found = file.stat()
        except OSError as error:
            raise _missing(path, file, error) from error
        mark = found.st_ino, found.st_mtime_ns, found.st_size
        if self._made is None or (self._made.path, self._made.mark) != (file, mark):
            self._forget()
            self._made = _Made(file, mark, TemporaryDirectory(prefix="opsicm-console-"))
        return self._made

    def _forget(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            if any(not task.done() for task in made.tasks.values()):
                self._process.interrupt()
            for task in made.tasks.values():
                task.cancel()
            made.folder.cleanup()

    def _task(self, made: _Made, name: str, job: str, *arguments: object) -> asyncio.Task[Any]:
        """The one task that makes this, however many ask for it."""
        if name not in made.tasks:
            made.tasks[name] = task = asyncio.create_task(self._process.ask(job, *arguments))
            # Who asked for it may have gone; a failure that nobody hears of is none to log.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return made.tasks[name]

    async def _result(self, made: _Made, name: str, task: asyncio.Task[Any]) -> Any:
        """What the task returns; what has failed is tried again when it is asked for again."""
        try:
            # One who goes away must not end the work that others wait for.
            return await asyncio.shield(task)
        except OpsicmError:
            if made.tasks.get(name) is task:
                del made.tasks[name]
            raise
        except asyncio.CancelledError:
            if made is self._made:
                raise
            raise OpsicmError(Problem("run", made.stem, "is no longer on show", "load the page anew")) from None

    async def _exported(self, name: str) -> tuple[Path, str]:
        """(file, what it is called for the visitor) of an export."""
        made = self._current()
        if name == RUN_FILE:
            return made.path, f"{made.stem}.nxs"
        task = self._task(made, name, "export", made.path, name, Path(made.folder.name))
        path: Path = await self._result(made, name, task)
        return path, f"{made.stem}_{path.name}"


def _file(path: Path, title: str) -> Response:
    """A file to be saved as `title`, whose characters are escaped in the header."""
    return FileResponse(path, filename=title, media_type=_TYPES.get(path.suffix, "application/octet-stream"))


def _load_anew(name: str) -> BadInput:
    return BadInput(Problem("part", ascii(name[:60]), "is none of the run on show", "load the page anew"))


def _missing(path: Path, file: Path, error: OSError) -> OpsicmError:
    if path.is_dir() and (path / JOURNAL).is_file():
        limit = "has no run file yet: it is in progress, or was interrupted"
        remedy = f"wait for its end, or stop it; after a crash opsicm recover {path} makes the file"
        return _InProgress(Problem("run", path.name, limit, remedy))
    limit = f"is no longer there ({error.strerror})"
    return _Gone(Problem("run file", str(file), limit, "put it back, or open another run"))


def _refusal(error: OpsicmError) -> Response:
    match error:
        case _Gone():
            return problem(410, "The run file has vanished", error)
        case _InProgress():
            return problem(409, "There is no finished run", error)
        case _:
            return problem(422, "This cannot be made of the run", error)
