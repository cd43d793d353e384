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

from opsicm.console.feed import Feed
from opsicm.console.outbox import Outbox
from opsicm.console.results_page import ResultsPage
from opsicm.console.sessions import VALID, AnotherSteers, Session, Sessions
from opsicm.console.wire import LONGEST_FROM_PAGE, Kind, from_page, message
from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.runner.commands import Command, from_line
from opsicm.runner.control_socket import send

LONGEST_BODY: Final = 8192  # [bytes]: a note has 4096 characters at most
ANSWERED_WITHIN: Final = 10.0  # [s]
CHECKED_WITHIN: Final = 300.0  # [s]: a setting is checked against the whole experiment
_HEARTBEAT: Final = 0.5  # [s]
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
    """What is served: a `feed`, to `sessions`, with commands to the run in `folder` (None: a stored run).

    `origins` are the addresses that the page may have, `cookie` the name of its cookie (`cookie_of`).
    """

    feed: Feed
    sessions: Sessions
    folder: Path | None
    origins: frozenset[str]
    cookie: str


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


def problem(status: int, title: str, error: OpsicmError | None = None) -> Response:
    """An answer that says what is wrong."""
    content: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if error is not None:
        content["detail"] = "; ".join(f"{one.thing}: {one.limit}; {one.remedy}" for one in error.problems)
        content["problems"] = [
            {"thing": one.thing, "value": one.value, "limit": one.limit, "remedy": one.remedy} for one in error.problems
        ]
    return JSONResponse(content, status, media_type="application/problem+json")


def console_app(site: Site) -> FastAPI:
    """The application."""
    routes = _Routes(site)
    results = ResultsPage(routes.served["results.html"][0], lambda: site.folder or getattr(site.feed, "path", None))

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        site.feed.start(asyncio.get_running_loop())
        yield
        site.feed.stop()
        results.stop()

    app = FastAPI(title="opsicm console", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(routes.guarded)
    app.get("/", response_model=None)(routes.page)
    app.get("/static/{name:path}", response_model=None)(routes.static)
    app.post("/api/command", response_model=None)(routes.command)
    app.post("/api/operator", response_model=None)(routes.operator)
    results.register(app)
    app.websocket("/ws")(routes.live)
    return app


class _Routes:
    """What each address answers."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.served = static_files()
        # Stops have threads of their own: they wait for nothing that others asked for.
        self._stops, self._commands = ThreadPoolExecutor(2, "stop"), ThreadPoolExecutor(4, "command")

    async def guarded(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = _refused(self._site, request) or await call_next(request)
        for name, value in _HEADERS.items():
            answer.headers[name] = value
        return answer

    async def page(self, request: Request) -> Response:
        if (token := request.query_params.get("token")) is not None:
            session = self._site.sessions.enter(token)
            if session is None:
                return problem(401, "Wrong token", _come_in())
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._site.cookie, session.key, max_age=VALID, httponly=True, samesite="strict", path="/")
            return answer
        if _session(self._site, request) is None:
            return problem(401, "Not logged in", _come_in())
        return await self.static("index.html")

    async def static(self, name: str) -> Response:
        if name not in self.served:
            return problem(404, "No such file")
        content, kind = self.served[name]
        return Response(content, media_type=kind)

    async def command(self, request: Request) -> Response:
        session = _session(self._site, request)
        assert session is not None, "guarded"
        try:
            wanted, _ = from_line(await _body(request))
        except _TooLarge:
            return _too_large()
        except BadInput as error:
            return problem(400, "No such command", error)
        if self._site.folder is None:
            stored = Problem("command", wanted.word, "the run is a stored one", "steer a run in progress")
            return problem(409, "Not a run in progress", BadInput(stored))
        stops = wanted.word == "stop"
        if not stops:
            try:
                self._site.sessions.take(session)
            except AnotherSteers as error:
                return problem(409, "Another steers", error)
        return await _sent(self._site.folder, wanted, session, self._stops if stops else self._commands)

    async def operator(self, request: Request) -> Response:
        session = _session(self._site, request)
        assert session is not None, "guarded"
        try:
            said = json.loads(await _body(request))
            take, name = bool(said["take"]), str(said.get("name", ""))
        except _TooLarge:
            return _too_large()
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

    async def live(self, socket: WebSocket) -> None:
        session = self._site.sessions.of(socket.cookies.get(self._site.cookie))
        if session is None or socket.headers.get("origin") not in self._site.origins:
            await socket.close()  # before it is accepted: the browser gets 403
            return
        await socket.accept()
        await _converse(self._site, session, socket)


# -- who may -------------------------------------------------------------------------------------------------------


def _refused(site: Site, request: Request) -> Response | None:
    """The refusal of a request that may not be answered; None for one that may."""
    if request.method not in ("GET", "HEAD", "POST"):
        return problem(405, "Not allowed")
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
        if length.isdecimal() and int(length) > LONGEST_BODY:
            return _too_large()
    return None


def _session(site: Site, request: Request) -> Session | None:
    return site.sessions.of(request.cookies.get(site.cookie))


def _come_in() -> BadInput:
    remedy = "open the whole address that opsicm console has printed, which ends in its token"
    return BadInput(Problem("this page", "", "is for those who have its address, for 12 hours", remedy))


class _TooLarge(Exception):
    pass


def _too_large() -> Response:
    limit = f"a request has at most {LONGEST_BODY} bytes"
    return problem(413, "Too large", BadInput(Problem("request", "", limit, "shorten the note")))


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise _TooLarge
    return body


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
    return JSONResponse({"accepted": accepted, "message": text, "command": command.word})


# -- the WebSocket -------------------------------------------------------------------------------------------------


def _people(site: Site, session: Session) -> dict[str, Any]:
    operator = site.sessions.operator
    return {
        "you": session.name,
        "operator": None if operator is None else operator.name,
        "yours": operator is session,
        "watching": site.sessions.watching,
        "stored": site.folder is None,
    }


async def _converse(site: Site, session: Session, socket: WebSocket) -> None:
    outbox = Outbox()
    site.sessions.opened(session)
    site.feed.join(outbox)
    tasks = [
        asyncio.create_task(work)
        for work in (_send(outbox, socket), _receive(site, outbox, socket), _beat(site, session, outbox))
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if isinstance(error := task.exception(), BadInput):
                with contextlib.suppress(RuntimeError):  # it may be closed already
                    await socket.close(1008, "malformed message")
            elif error is not None and not isinstance(error, WebSocketDisconnect):
                raise error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        site.feed.leave(outbox)
        site.sessions.closed(session)


async def _send(outbox: Outbox, socket: WebSocket) -> None:
    while True:
        for data in await outbox.next():
            await socket.send_bytes(data)


async def _receive(site: Site, outbox: Outbox, socket: WebSocket) -> None:
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
        site.feed.say(outbox, said)


async def _beat(site: Site, session: Session, outbox: Outbox) -> None:
    """Twice a second who is here, and how many frames this page has missed: a page that hears nothing says so."""
    while True:
        if site.sessions.of(session.key) is None:
            raise BadInput(Problem("session", session.name, "has expired", "open the printed address again"))
        people = {**_people(site, session), "dropped": outbox.dropped}
        outbox.put("people", message(Kind.PEOPLE, people))
        await asyncio.sleep(_HEARTBEAT)
