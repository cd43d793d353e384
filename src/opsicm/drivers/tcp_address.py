"""Where an instrument with a network socket is found, and connecting to it without waiting for the dead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from opsicm.core.errors import BadInput
from opsicm.instruments.link import TIMEOUT
from opsicm.instruments.registry import RoleSetup

Client = TypeVar("Client")


def tcp_address(setup: RoleSetup, port: int) -> tuple[str, int]:
    """(host, port) of `HOST` or `HOST:PORT` in the rig file; `port` is the maker's. `BadInput` for anything else."""
    host, colon, number = (setup.address or "").rpartition(":")
    if not colon:
        host, number = number, str(port)
    if not host or not number.isdecimal() or not 0 < int(number) < 1 << 16:
        limit = f"must be HOST:PORT; without the port it is {port}"
        where = ("roles", setup.role, "address")
        raise BadInput(setup.rig.rig.problem(where, setup.address or "", limit, f"write 192.168.0.10:{port}"))
    return host, int(number)


def connected_in_time(connect: Callable[[], Client], close: Callable[[Client], None]) -> Client:
    """What `connect` returns; `TimeoutError` where it has not returned within the time-out of a command.

    For clients that connect without a time-out: a controller whose cable was pulled would hold them, and the run, for
    the two minutes of the system's own. A connection that comes after all is closed. Trying the port beforehand would
    not do: a converter to a serial line takes one client, and hangs up on the next while it has not noticed that the
    first one is gone.
    """
    opened: Future[Client] = Future()

    def run() -> None:
        try:
            opened.set_result(connect())
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            opened.set_exception(error)

    def discard(late: Future[Client]) -> None:
        if late.exception() is None:
            close(late.result())

    # Not an executor: the interpreter waits for its threads when it ends, and so for the two minutes.
    threading.Thread(target=run, name="connecting", daemon=True).start()
    try:
        return opened.result(TIMEOUT)
    except TimeoutError:
        opened.add_done_callback(discard)
        raise
