"""The line to a PI controller: PI's own gateway interface over TCP, without the two habits of PI's own socket.

`pipython`'s `PISocket` connects without a time-out, and keeps a core busy while it waits; where the controller has hung
up it empties its buffer for ever. Everything above the bytes is PI's.
"""

from __future__ import annotations

import socket
from typing import Final

from pipython.pidevice.interfaces.pigateway import PI_CONTROLLER_CODEPAGE, PIGateway

from opsicm.instruments.link import TIMEOUT

_GLANCE: Final = 0.01  # [s] that one look for an answer waits; PI's messages look until their own time-out
_CHUNK: Final = 4096  # [bytes]


class GcsSocket(PIGateway):  # type: ignore[misc]  # pipython has no types
    """A gateway to `host`:`port`, connected when it is made; raises `OSError` where nobody takes the connection.

    The methods are those of `pipython.pidevice.interfaces.pigateway.PIGateway`, and so are their names.
    """

    def __init__(self, host: str, port: int) -> None:
        self._name = f"{host}:{port}"
        self._timeout = round((TIMEOUT - 2.0 * _GLANCE) * 1e3)  # connecting anew has to fit in too
        self._socket = socket.create_connection((host, port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open = True

    def __str__(self) -> str:
        return f"GcsSocket({self._name})"

    @property
    def timeout(self) -> int:
        """[ms] for an answer."""
        return self._timeout

    def settimeout(self, value: int) -> None:
        """Set the time-out of an answer [ms]."""
        self._timeout = value

    @property
    def connected(self) -> bool:
        """Whether it was not closed."""
        return self._open

    @property
    def connectionid(self) -> int:
        """PI's number of a connection: there is one."""
        return 0

    def send(self, msg: str) -> None:
        """Send a command."""
        self._socket.settimeout(TIMEOUT)
        self._socket.sendall(msg.encode(PI_CONTROLLER_CODEPAGE))

    def read(self) -> str:
        """What has come, after a short look; raises `ConnectionResetError` where the controller has hung up."""
        self._socket.settimeout(_GLANCE)
        try:
            received = self._socket.recv(_CHUNK)
        except TimeoutError:
            return ""
        if not received:
            raise ConnectionResetError(f"{self._name} has hung up")
        return received.decode(PI_CONTROLLER_CODEPAGE, errors="ignore")

    def flush(self) -> None:
        """Nothing has come on a line that is new."""

    def close(self) -> None:
        """Close the line; again is the same as once."""
        self._open = False
        self._socket.close()

    unload = close
