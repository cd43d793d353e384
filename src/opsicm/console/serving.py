"""Runs the server of a console in this process, on a socket that is bound before its address is printed."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn

from opsicm.console.server import Site, console_app
from opsicm.console.wire import LONGEST_FROM_PAGE
from opsicm.core.errors import BadInput, Problem

_ANY: Final = ("", "0.0.0.0", "::")


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
        limit_concurrency=200,
    )
    return uvicorn.Server(config)
