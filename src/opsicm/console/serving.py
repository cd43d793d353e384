"""Runs the server of a console in this process, on a socket that is bound before its address is printed."""

from __future__ import annotations

import asyncio
import socket
from itertools import count
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from opsicm.console.prepare_page import Preparing
from opsicm.console.server import Site, console_app
from opsicm.console.wire import LONGEST_FROM_PAGE
from opsicm.core.errors import BadInput, Problem

_ANY: Final = ("", "0.0.0.0", "::")
_IDLE: Final = 200  # connections that ask for nothing


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port` (0: a free one); raises `BadInput` where that cannot be."""
    if host in _ANY:
        limit = "names every address of this machine, so that no request could be told from a forged one"
        raise BadInput(Problem("--host", host, limit, "name the one address under which the page is opened"))
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(Problem("--port", f"{host}:{port}", f"cannot be used ({reason})", "choose another")) from error


class _Connection(H11Protocol):
    """A connection. Of those that ask for nothing the oldest gives way to a new one beyond `_IDLE`.

    A server that refuses the new one instead is locked by strangers who open connections and say nothing, and a stop
    comes on a new one. A page's own connection that is taken away is opened again by the browser; sockets of pages and
    what is being answered are never taken.
    """

    _made: Final = count()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.number = next(self._made)
        idle = [one for one in self.connections if isinstance(one, _Connection) and one.is_idle()]
        if len(idle) > _IDLE:
            min(idle, key=lambda one: one.number).transport.abort()

    def is_idle(self) -> bool:
        """Whether no request of it is being answered."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self.transport.is_closing()


class _Server(uvicorn.Server):
    """A server that gives up, before it ends, what a page waits for: else it would be torn off with a traceback."""

    def __init__(self, config: uvicorn.Config, preparing: Preparing) -> None:
        super().__init__(config)
        self._preparing = preparing

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._preparing.starter.stop()
        await self._preparing.checker.stop()
        await super().shutdown(sockets)


def server_of(site: Site) -> uvicorn.Server:
    """A server for the site, with its limits on messages; it is run on a socket by `run(sockets=[...])`."""
    config = uvicorn.Config(
        console_app(site),
        ws="websockets-sansio",
        ws_max_size=LONGEST_FROM_PAGE,
        # Between two processes of one machine compressing costs more than it saves.
        ws_per_message_deflate=False,
        access_log=False,  # its lines would hold the token
        log_level="warning",
        timeout_graceful_shutdown=1,  # else it waits for open pages
        server_header=False,
        date_header=False,
        http=_Connection,
    )
    return _Server(config, site.preparing)
