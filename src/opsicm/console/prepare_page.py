"""The prepare page: an experiment is chosen, edited, checked and started. Only what was just checked is started."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from opsicm.console.answers import TooLarge, body_of, problem, too_large
from opsicm.console.checking import Checked, Checker
from opsicm.console.experiment_files import ExperimentFiles, NameTaken
from opsicm.console.sessions import AnotherSteers, Session
from opsicm.console.starting import Starter
from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.experiment.schema import json_schema

if TYPE_CHECKING:
    from opsicm.console.server import Site

LONGEST_EXPERIMENT: Final = 256 * 1024  # [bytes] of a request with the text of an experiment
WITH_EXPERIMENTS: Final = ("/api/check", "/api/start")
_SPEEDS: Final = ("1", "10", "max")  # of twins
_REMEMBERED: Final = 100  # last checks, of as many sessions


@dataclass(frozen=True, slots=True)
class Preparing:
    """What the prepare page works with; `first` is the file that it opens with, None for the first of the list."""

    files: ExperimentFiles
    checker: Checker
    starter: Starter
    first: str | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a page asks to check or to start."""

    text: str
    beside: str = ""
    name: str = "experiment.yaml"
    speed: str = ""
    confirmed: bool = False
    replace: bool = False


class PreparePage:
    """What the addresses of the prepare page answer."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._preparing = site.preparing
        self._schema: Response | None = None
        self._starting = asyncio.Lock()
        self._checking: set[str] = set()  # sessions
        self._checked: dict[str, tuple[str, Checked]] = {}  # session → (digest of what was checked, how it came out)

    def add_to(self, app: FastAPI) -> None:
        """Add its addresses."""
        for path, answer in (("files", self.files), ("file", self.file), ("schema", self.schema), ("plan", self.plan)):
            app.get(f"/api/{path}", response_model=None)(answer)
        app.post("/api/check", response_model=None)(self.check)
        app.post("/api/start", response_model=None)(self.start)

    async def files(self) -> Response:
        files = self._preparing.files
        listed, rigs = await asyncio.gather(asyncio.to_thread(files.listed), asyncio.to_thread(files.rigs))
        folder = str(files.folder.absolute())
        return JSONResponse({"files": listed, "rigs": rigs, "folder": folder, "first": self._preparing.first})

    async def file(self, name: str) -> Response:
        try:
            return JSONResponse({"name": name, "text": await asyncio.to_thread(self._preparing.files.read, name)})
        except BadInput as error:
            return problem(404, "No such file", error)

    async def schema(self) -> Response:
        if self._schema is None:
            self._schema = JSONResponse(await asyncio.to_thread(json_schema))
        return self._schema

    async def plan(self, request: Request, checked: str) -> Response:
        """The time line of what was `checked`, a message of `wire.py`; the last check of this session only."""
        digest, last = self._checked.get(self._site.session_of(request).key, ("", None))
        if last is None or digest != checked or not last.ok:
            return problem(404, "Nothing forecast")
        return Response(last.plan, media_type="application/octet-stream")

    async def check(self, request: Request) -> Response:
        session = self._site.session_of(request)
        asked = await _asked(request)
        if isinstance(asked, Response):
            return asked
        if session.key in self._checking:
            busy = Problem("check", "", "another one of yours is still going on", "wait for its answer")
            return problem(429, "One check at a time", BadInput(busy))
        self._checking.add(session.key)
        try:
            place = self._preparing.files.place(asked.name, asked.beside)
            seen_from = place.parent.relative_to(self._preparing.files.folder) / place.name
            checked = await self._preparing.checker.check(asked.text, str(seen_from))
        except BadInput as error:
            return problem(400, "No such place", error)
        finally:
            self._checking.discard(session.key)
        self._checked.pop(session.key, None)
        self._checked[session.key] = _digest(asked), checked
        while len(self._checked) > _REMEMBERED:
            del self._checked[next(iter(self._checked))]
        return JSONResponse({**checked.report, "checked": _digest(asked)})

    async def start(self, request: Request) -> Response:
        session = self._site.session_of(request)
        asked = await _asked(request)
        if isinstance(asked, Response):
            return asked
        try:
            self._site.sessions.take(session)
        except AnotherSteers as error:
            return problem(409, "Another steers", error)
        # A page that is closed meanwhile leaves a run that was started and is on show, and not half of one.
        return await asyncio.shield(asyncio.create_task(self._start(session, asked)))

    async def _start(self, session: Session, asked: _Asked) -> Response:
        async with self._starting:
            return await self._refused(session, asked) or await self._started(session, asked)

    async def _refused(self, session: Session, asked: _Asked) -> Response | None:
        running = await asyncio.to_thread(self._site.on_show.in_progress)
        if running or self._preparing.starter.busy:
            limit = f"{running[0].resolve().name if running else 'one that this console has started'} is in progress"
            remedy = "wait until it has ended, or stop it"
            return problem(409, "A run is in progress", OpsicmError(Problem("run", "", limit, remedy)))
        digest, checked = self._checked.get(session.key, ("", None))
        if checked is None or digest != _digest(asked) or not checked.ok:
            limit = "only what was just checked, without problems, is started"
            return problem(409, "Not checked", BadInput(Problem("experiment", "", limit, "check it, and start again")))
        instruments = checked.report["instruments"]
        if instruments and not asked.confirmed:
            limit = "instruments will move: " + " ".join(line.strip() for line in instruments)
            return problem(409, "Not confirmed", BadInput(Problem("rig", "", limit, "confirm it")))
        if not checked.report["real_time"] and asked.speed not in _SPEEDS:
            known = Problem("speed", ascii(asked.speed[:20]), f"is {', '.join(_SPEEDS)}", "choose one of these")
            return problem(400, "No such speed", BadInput(known))
        return None

    async def _started(self, session: Session, asked: _Asked) -> Response:
        files, starter, checked = self._preparing.files, self._preparing.starter, self._checked[session.key][1]
        speed = None if checked.report["real_time"] else asked.speed
        try:
            path = files.place(asked.name, asked.beside)
            await asyncio.to_thread(files.save, path, asked.text, asked.replace)
            folder = await asyncio.to_thread(starter.start, path, speed, f"console: {session.name}")
            shown = await self._site.on_show.show(folder)
        except NameTaken as error:
            return problem(409, "The name is taken", error)
        except BadInput as error:
            return problem(400, "Cannot be saved", error)
        except OpsicmError as error:
            return problem(422, "The run did not start", error)
        return JSONResponse({"run": shown.name, "saved": path.name})


def _digest(asked: _Asked) -> str:
    """What a check holds for: the text, and the folder that its relative paths are seen from."""
    return hashlib.sha256(f"{asked.beside}\n{asked.text}".encode()).hexdigest()


async def _asked(request: Request) -> _Asked | Response:
    """What a page asks; an answer for what it may not."""
    try:
        content = json.loads(await body_of(request, LONGEST_EXPERIMENT))
        content["text"].encode()
        if not all(isinstance(value, _KEYS[key]) for key, value in content.items()):
            raise TypeError
        return _Asked(**content)
    except TooLarge:
        return too_large(LONGEST_EXPERIMENT)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        limit = f"is one JSON object with {', '.join(_KEYS)}"
        return problem(400, "Malformed", BadInput(Problem("request", "", limit, "load the page anew")))


_KEYS: Final[dict[str, type]] = {
    "text": str,
    "beside": str,
    "name": str,
    "speed": str,
    "confirmed": bool,
    "replace": bool,
}
