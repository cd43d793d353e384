"""The line to a PI controller: PI's own gateway interface over TCP, without three habits of PI's own socket.

`pipython`'s `PISocket` connects without a time-out, and keeps a core busy while it waits; where the controller has hung
up it empties its buffer for ever. PI's messages begin their time-out anew with each piece of an answer: here it is one
for the whole, and an answer has an end. Everything above the bytes is PI's.
"""

from __future__ import annotations

import socket
from typing import Final

from pipython.pidevice.interfaces.pigateway import PI_CONTROLLER_CODEPAGE, PIGateway

from opsicm.instruments.clock import stopwatch
from opsicm.instruments.link import TIMEOUT

_GLANCE: Final = 0.01  # [s] that one look for an answer waits; PI's messages look until their own time-out
_CHUNK: Final = 4096  # [bytes]
_LONGEST: Final = 1 << 16  # [bytes] of an answer


class GcsSocket(PIGateway):  # type: ignore[misc]  # pipython has no types
    """A gateway to `host`:`port`, connected when it is made; raises `OSError` where nobody takes the connection.

    `peer` is the numeric address that answered: a name that is looked up has no time-out.

    The methods are those of `pipython.pidevice.interfaces.pigateway.PIGateway`, and so are their names.
    """

    def __init__(self, host: str, port: int) -> None:
        self._name = f"{host}:{port}"
        self._timeout = round((TIMEOUT - 2.0 * _GLANCE) * 1e3)  # connecting anew has to fit in too
        self._socket = socket.create_connection((host, port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer: tuple[str, int] = self._socket.getpeername()[:2]
        self._waited, self._received = stopwatch(), 0
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
        """Send a command; from here on its answer has its time."""
        self._waited, self._received = stopwatch(), 0
        self._socket.settimeout(TIMEOUT)
        self._socket.sendall(msg.encode(PI_CONTROLLER_CODEPAGE))

    def read(self) -> str:
        """What has come, after a short look; raises `ConnectionResetError` where the controller has hung up.

        `TimeoutError` for an answer that has begun and does not end in time, `OSError` for one that is too long.
        """
        if self._received and self._waited() > self._timeout * 1e-3:
            raise TimeoutError(f"{self._name} does not end its answer within {self._timeout} ms")
        self._socket.settimeout(_GLANCE)
        try:
            received = self._socket.recv(_CHUNK)
        except TimeoutError:
            return ""
        if not received:
            raise ConnectionResetError(f"{self._name} has hung up")
        self._received += len(received)
        if self._received > _LONGEST:
            raise OSError(f"{self._name} sends an answer of more than {_LONGEST} bytes")
        return received.decode(PI_CONTROLLER_CODEPAGE, errors="ignore")

    def flush(self) -> None:
        """Nothing has come on a line that is new."""

    def close(self) -> None:
        """Close the line; again is the same as once."""
        self._open = False
        self._socket.close()

    unload = close
