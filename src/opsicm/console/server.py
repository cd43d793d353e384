"""The console's server: the page, the WebSocket and the commands, for those who may come in.

Nothing is served but the files of `static/`, which are read once; every answer forbids scripts and connections that are
not the page's own; a request that changes something must come from the page itself, by its `Origin`. Errors are problem
details (RFC 9457) with the thing, its value, the limit and the remedy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, RedirectResponse

from opsicm.console.answers import TooLarge, body_of, problem, too_large
from opsicm.console.feed import Feed
from opsicm.console.on_show import OnShow
from opsicm.console.outbox import Outbox
from opsicm.console.prepare_page import LONGEST_EXPERIMENT, WITH_EXPERIMENTS, PreparePage, Preparing
from opsicm.console.results_page import ResultsPage
from opsicm.console.sessions import VALID, AnotherSteers, Session, Sessions
from opsicm.console.wire import LONGEST_FROM_PAGE, Kind, Message, from_page, message
from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.runner.commands import Command, from_line
from opsicm.runner.control_socket import send

LONGEST_BODY: Final = 8192  # [bytes]: a note has 4096 characters at most
ANSWERED_WITHIN: Final = 10.0  # [s]
CHECKED_WITHIN: Final = 300.0  # [s]: a setting is checked against the whole experiment
_HEARTBEAT: Final = 0.5  # [s]
_TAKES_WITHIN: Final = 30.0  # [s]: a frame of a replay at the other end of a slow line
_TAKES_FAREWELL: Final = 1.0  # [s]
EXCHANGED: Final = 4001  # closes the WebSocket of a page when another run takes the place of the one that it shows
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the first address holds the token
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", "": "text/plain"}


@dataclass(frozen=True, slots=True)
class Site:
    """What is served: the run `on_show`, and what the next one is prepared with, to `sessions`.

    `origins` are the addresses that the page may have, `cookie` the name of its cookie (`cookie_of`).
    """

    on_show: OnShow
    preparing: Preparing
    sessions: Sessions
    origins: frozenset[str]
    cookie: str

    def session_of(self, request: Request) -> Session:
        """Whose request it is; it was let through."""
        session = self.sessions.of(request.cookies.get(self.cookie))
        assert session is not None, "guarded"
        return session


def origins_of(host: str, port: int) -> frozenset[str]:
    """The addresses of a page that is served on `host` and `port`."""
    names = {host, "127.0.0.1", "localhost"} if host in ("127.0.0.1", "localhost") else {host}
    return frozenset(f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in names)


def static_files() -> dict[str, tuple[bytes, str]]:
    """Every file of the page by its path: (bytes, type)."""
    served: dict[str, tuple[bytes, str]] = {}
    root = files("opsicm.console").joinpath("static")
    for folder, prefix in ((root, ""), (root.joinpath("vendor"), "vendor/")):
        for file in folder.iterdir():
            if file.is_file():
                suffix = Path(file.name).suffix
                served[prefix + file.name] = file.read_bytes(), f"{_TYPES[suffix]}; charset=utf-8"
    return served


def console_app(site: Site) -> FastAPI:
    """The application."""
    routes = _Routes(site)
    results = ResultsPage(lambda: None if site.on_show.present is None else site.on_show.present.path)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        site.on_show.start()
        yield
        await site.on_show.stop()
        results.stop()

    app = FastAPI(title="opsicm console", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(routes.guarded)
    app.get("/", response_model=None)(routes.page)
    app.get("/static/{name:path}", response_model=None)(routes.static)
    app.post("/api/command", response_model=None)(routes.command)
    app.post("/api/operator", response_model=None)(routes.operator)
    app.get("/api/runs", response_model=None)(routes.runs)
    app.post("/api/show", response_model=None)(routes.show)
    app.websocket("/ws")(routes.live)
    app.get("/prepare", response_model=None)(routes.prepare)
    app.get("/results", response_model=None)(routes.results)
    PreparePage(site).add_to(app)
    results.add_to(app)
    return app


class _Routes:
    """What each address answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._served = static_files()
        # Stops have threads of their own: they wait for nothing that others asked for.
        self._stops, self._commands = ThreadPoolExecutor(2, "stop"), ThreadPoolExecutor(4, "command")

    async def guarded(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = _refused(self._site, request) or await call_next(request)
        for name, value in _HEADERS.items():
            answer.headers[name] = value
        return answer

    async def page(self, request: Request) -> Response:
        """The run on show; the prepare page where there is none."""
        if (token := request.query_params.get("token")) is not None:
            session = self._site.sessions.enter(token)
            if session is None:
                return problem(401, "Wrong token", _come_in())
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._site.cookie, session.key, max_age=VALID, httponly=True, samesite="strict", path="/")
            return answer
        if _session(self._site, request) is None:
            return problem(401, "Not logged in", _come_in())
        if self._site.on_show.present is None:
            return RedirectResponse("/prepare", 303)
        return await self.static("index.html")

    async def prepare(self) -> Response:
        return await self.static("prepare.html")

    async def results(self) -> Response:
        return await self.static("results.html")

    async def static(self, name: str) -> Response:
        if name not in self._served:
            return problem(404, "No such file")
        content, kind = self._served[name]
        return Response(content, media_type=kind)

    async def command(self, request: Request) -> Response:
        session = self._site.session_of(request)
        try:
            line = await body_of(request, LONGEST_BODY)
            wanted, _ = from_line(line)
        except TooLarge:
            return too_large(LONGEST_BODY)
        except BadInput as error:
            return problem(400, "No such command", error)
        if wanted.word == "stop":
            return await self._stop(session, wanted, str(json.loads(line).get("run", "")))
        shown = self._site.on_show.present
        if shown is None or shown.folder is None:
            limit = "no run is on show" if shown is None else "the run is a stored one"
            stored = Problem("command", wanted.word, limit, "steer a run in progress")
            return problem(409, "Not a run in progress", BadInput(stored))
        try:
            self._site.sessions.take(session)
        except AnotherSteers as error:
            return problem(409, "Another steers", error)
        return await _sent(shown.folder, wanted, session, self._commands)

    async def _stop(self, session: Session, command: Command, name: str) -> Response:
        """Whatever is on show, and whoever steers: who sees a tip in danger stops the run in progress."""
        loop = asyncio.get_running_loop()
        folder = await loop.run_in_executor(self._stops, self._site.on_show.stopped_by, name)
        if folder is None:
            limit = "no run of this name is in progress" if name else "no run is in progress"
            nothing = Problem("stop", ascii(name[:80]) if name else "", limit, "look at the list of runs")
            return problem(409, "Not a run in progress", BadInput(nothing))
        return await _sent(folder, command, session, self._stops)

    async def operator(self, request: Request) -> Response:
        session = self._site.session_of(request)
        try:
            said = json.loads(await body_of(request, LONGEST_BODY))
            take, name = bool(said["take"]), str(said.get("name", ""))
        except TooLarge:
            return too_large(LONGEST_BODY)
        except (ValueError, TypeError, KeyError, RecursionError):
            malformed = Problem("operator", "", "is {take: true or false, name: text}", "load the page anew")
            return problem(400, "Malformed", BadInput(malformed))
        try:
            if take:
                self._site.sessions.take(session, name)
            else:
                self._site.sessions.release(session)
        except AnotherSteers as error:
            return problem(409, "Another steers", error)
        return JSONResponse(_people(self._site, session))

    async def runs(self) -> Response:
        shown = self._site.on_show.present
        runs = await asyncio.to_thread(self._site.on_show.listed)
        return JSONResponse({"runs": runs, "on_show": None if shown is None else shown.name})

    async def show(self, request: Request) -> Response:
        session = self._site.session_of(request)
        try:
            name = json.loads(await body_of(request, LONGEST_BODY))["run"]
            if not isinstance(name, str):
                raise TypeError
        except TooLarge:
            return too_large(LONGEST_BODY)
        except (ValueError, TypeError, KeyError, RecursionError):
            malformed = Problem("show", "", "is {run: name of a run}", "load the page anew")
            return problem(400, "Malformed", BadInput(malformed))
        on_show = self._site.on_show
        try:
            path = on_show.chosen(name)
            # Back from what is over to what goes on is for everybody, as a stop is.
            back = await asyncio.to_thread(on_show.leads_back, path)
            if not back:
                self._site.sessions.take(session)
            shown = await on_show.show(path)
        except AnotherSteers as error:
            return problem(409, "Another steers", error)
        except OpsicmError as error:
            return problem(404, "No such run", error)
        return JSONResponse({"run": shown.name, "live": shown.folder is not None})

    async def live(self, socket: WebSocket) -> None:
        session = self._site.sessions.of(socket.cookies.get(self._site.cookie))
        if session is None or socket.headers.get("origin") not in self._site.origins:
            await socket.close()  # before it is accepted: the browser gets 403
            return
        await socket.accept()
        shown = self._site.on_show.present
        bare = shown is None or "people" in socket.query_params
        await _converse(self._site, session, socket, None if shown is None or bare else shown.feed)


# -- who may -------------------------------------------------------------------------------------------------------


def _refused(site: Site, request: Request) -> Response | None:
    """The refusal of a request that may not be answered; None for one that may."""
    if request.method not in ("GET", "HEAD", "POST"):
        return problem(405, "Not allowed")
    if f"http://{request.headers.get('host', '')}" not in site.origins:
        # A name of somebody else's that leads to this machine would make his page and this one the same origin.
        host = ascii(request.headers.get("host", ""))[:80]
        foreign = Problem("Host", host, "is not this console", "open the address that it has printed")
        return problem(421, "Wrong host", BadInput(foreign))
    if request.url.path == "/" and request.method == "GET":
        return None  # it lets in, or says how to come in
    if _session(site, request) is None:
        return problem(401, "Not logged in", _come_in())
    if request.method == "POST":
        if request.headers.get("origin") not in site.origins:
            origin = ascii(request.headers.get("origin", ""))[:80]
            forged = Problem("Origin", origin, "is not this page", "use the page")
            return problem(403, "Wrong origin", BadInput(forged))
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return problem(415, "Not JSON")
        length = request.headers.get("content-length", "")
        most = LONGEST_EXPERIMENT if request.url.path in WITH_EXPERIMENTS else LONGEST_BODY
        if length.isdecimal() and int(length) > most:
            return too_large(most)
    return None


def _session(site: Site, request: Request) -> Session | None:
    return site.sessions.of(request.cookies.get(site.cookie))


def _come_in() -> BadInput:
    remedy = "open the whole address that opsicm console has printed, which ends in its token"
    return BadInput(Problem("this page", "", "is for those who have its address, for 12 hours", remedy))


# -- commands ------------------------------------------------------------------------------------------------------


async def _sent(folder: Path, command: Command, session: Session, threads: ThreadPoolExecutor) -> Response:
    patience = CHECKED_WITHIN if command.word == "set" else ANSWERED_WITHIN
    sender = f"console: {session.name}"
    try:
        accepted, text = await asyncio.get_running_loop().run_in_executor(
            threads, send, folder, command, sender, patience
        )
    except BadInput as error:
        return problem(410, "The run has ended or is gone", error)
    except OpsicmError as error:
        return problem(504, "The run did not answer", error)
    return JSONResponse({"accepted": accepted, "message": text, "command": command.word, "run": folder.resolve().name})


# -- the WebSocket -------------------------------------------------------------------------------------------------


def _people(site: Site, session: Session) -> dict[str, Any]:
    operator, shown = site.sessions.operator, site.on_show.present
    return {
        "you": session.name,
        "operator": None if operator is None else operator.name,
        "yours": operator is session,
        "watching": site.sessions.watching,
        "stored": shown is not None and shown.folder is None,
        "run": None if shown is None else shown.name,
        "others": site.on_show.others,
    }


async def _converse(site: Site, session: Session, socket: WebSocket, feed: Feed | None) -> None:
    """Send a page what `feed` has for it until either goes; without a feed, who is here and what is on show."""
    outbox = Outbox()
    exchanged = site.on_show.exchanged
    site.sessions.opened(session)
    outbox.put("people", _people_message(site, session, outbox))  # a page knows at once whether it may steer
    if feed is not None:
        feed.join(outbox)
    works = [_send(outbox, socket), _receive(feed, outbox, socket), _beat(site, session, outbox)]
    tasks = [asyncio.create_task(work) for work in works]
    if feed is not None:
        tasks.append(asyncio.create_task(_until(exchanged)))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            error = task.exception()
            if error is None or isinstance(error, BadInput):
                code, reason = (EXCHANGED, "another run is on show") if error is None else (1008, "malformed message")
                # It may be closed already, or take a farewell no more than what was sent before.
                with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
                    async with asyncio.timeout(_TAKES_FAREWELL):
                        await socket.close(code, reason)
            elif not isinstance(error, WebSocketDisconnect):
                raise error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if feed is not None:
            feed.leave(outbox)
        site.sessions.closed(session)


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _send(outbox: Outbox, socket: WebSocket) -> None:
    """Raises `BadInput` for a page that takes nothing any more: what waits for it must not grow for ever."""
    while True:
        for data in await outbox.next():
            try:
                async with asyncio.timeout(_TAKES_WITHIN):
                    await socket.send_bytes(data)
            except TimeoutError as error:
                limit = f"has taken nothing for {_TAKES_WITHIN:g} s"
                raise BadInput(Problem("page", "", limit, "load the page anew")) from error


async def _receive(feed: Feed | None, outbox: Outbox, socket: WebSocket) -> None:
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1000))
        text = received.get("text")
        if text is None or len(text) > LONGEST_FROM_PAGE:
            raise BadInput(Problem("message of a page", "", "is no short text", "load the page anew"))
        said = from_page(text)
        if said.drawn is not None:
            outbox.drawn(said.drawn)
        if feed is not None:
            feed.say(outbox, said)


async def _beat(site: Site, session: Session, outbox: Outbox) -> None:
    """Twice a second who is here, and how many frames this page has missed: a page that hears nothing says so."""
    while True:
        if site.sessions.of(session.key) is None:
            raise BadInput(Problem("session", session.name, "has expired", "open the printed address again"))
        await site.on_show.look()
        outbox.put("people", _people_message(site, session, outbox))
        await asyncio.sleep(_HEARTBEAT)


def _people_message(site: Site, session: Session, outbox: Outbox) -> Message:
    return message(Kind.PEOPLE, {**_people(site, session), "dropped": outbox.dropped})
