"""Where an instrument with a network socket is found, and whether it is there at all."""

from __future__ import annotations

import socket

from opsicm.core.errors import BadInput
from opsicm.instruments.link import TIMEOUT
from opsicm.instruments.registry import RoleSetup


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


def require_reachable(host: str, port: int) -> None:
    """`OSError` where nobody takes a connection within the time-out of a command.

    For clients that connect without a time-out: a controller whose cable was pulled would hold them, and the run, for
    the two minutes of the system's own. Costs a connection that is closed at once, where only one is taken too.
    """
    socket.create_connection((host, port), TIMEOUT).close()
