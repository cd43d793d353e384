"""control.sock: commands to a run in progress, as JSON lines over a Unix socket that only its owner may open.

Never blocks and needs no thread: the loop polls it between plans, and the fast loop asks `waiting()` between slices.
The kernel tells which user and process sent a command; the name that the sender gives itself is recorded beside that.
Who only asks for the status is answered at once: that is no command, ends no plan of hops and leaves no fact.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.instruments.clock import monotonic_ns
from opsicm.runner.commands import Command, Inbox, Request, from_line

NAME: Final = "control.sock"
_STATUS: Final = b'{"ask": "status"}'
_POLL_INTERVAL_NS: Final = 5_000_000  # at least, between two system calls: a slice of hops may last microseconds
_LONGEST_LINE: Final = 1 << 16
_CLIENTS: Final = 16
_PEER: Final = struct.Struct("3i")


class ControlSocket:
    """An `Inbox`: requests from the socket in `folder`, and those from `signals` (Ctrl-C).

    `status` is called for everyone who asks for it, within a hop: it must cost microseconds.
    """

    def __init__(self, folder: Path, signals: Inbox, status: Callable[[], Mapping[str, Any]] = dict) -> None:
        self._signals = signals
        self._status = status
        self._path = folder / NAME
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            with _short(folder) as short:
                self._server.bind(short)
        finally:
            os.umask(before)
        self._server.listen(_CLIENTS)
        self._clients: dict[socket.socket, bytearray] = {}
        self._requests: list[Request] = []
        self._polled_ns = 0

    def waiting(self) -> bool:
        if self._requests or self._signals.waiting():
            return True
        now = monotonic_ns()
        if now - self._polled_ns < _POLL_INTERVAL_NS:
            return False
        self._poll()
        # Timed from its end: a slow poll must not make the next one follow at once.
        self._polled_ns = monotonic_ns()
        return bool(self._requests)

    def take(self) -> Sequence[Request]:
        self._poll()
        taken, self._requests = [*self._signals.take(), *self._requests], []
        return taken

    def close(self) -> None:
        """Answer every waiting request that the run has ended, then remove the socket. May be called twice."""
        if self._server.fileno() >= 0:
            self._poll()
        for request in self._requests:
            request.answer(False, "the run has ended")
        self._requests = []
        for client in list(self._clients):
            self._drop(client)
        self._server.close()
        with contextlib.suppress(OSError):  # the folder may be renamed or gone: the run has ended all the same
            self._path.unlink()

    def _poll(self) -> None:
        # Nobody waits; or no descriptor is left for who does: neither is a reason to end a run.
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                client.setblocking(False)
                if len(self._clients) >= _CLIENTS:
                    _send(client, False, f"{_CLIENTS} others are connected: try again")
                    client.close()
                    continue
                self._clients[client] = bytearray()
        for client in list(self._clients):
            self._read(client)

    def _read(self, client: socket.socket) -> None:
        received = self._clients[client]
        try:
            data = client.recv(_LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        received += data
        while (end := received.find(b"\n")) >= 0:
            line = bytes(received[:end])
            del received[: end + 1]
            self._receive(client, line)
        if len(received) >= _LONGEST_LINE:
            _send(client, False, f"a command is one line of at most {_LONGEST_LINE} bytes")
            self._drop(client)

    def _receive(self, client: socket.socket, line: bytes) -> None:
        if line == _STATUS:
            _send(client, True, json.dumps(self._status()))
            return
        try:
            command, name = from_line(line)
        except BadInput as error:
            _send(client, False, str(error))
            return
        self._requests.append(
            Request(command, _sender(client, name), lambda accepted, message: _send(client, accepted, message))
        )

    def _drop(self, client: socket.socket) -> None:
        del self._clients[client]
        client.close()


def send(folder: Path, command: Command, name: str, patience: float) -> tuple[bool, str]:
    """Send one command to the run in progress in `folder` and return its answer (accepted, message).

    Raises `BadInput` where no run is in progress there, `OpsicmError` where it does not answer within `patience` [s].
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(patience)
    with client:
        try:
            with _short(folder) as short:
                client.connect(short)
        except OSError as error:
            limit = f"no run in progress answers there ({error.strerror})"
            raise BadInput(Problem("run", str(folder), limit, "name the folder of a run in progress")) from error
        received = b""
        try:
            client.sendall(json.dumps({**command.data(), "from": name}).encode() + b"\n")
            while b"\n" not in received and (data := client.recv(_LONGEST_LINE)):
                received += data
        except TimeoutError as error:
            limit = f"did not answer within {patience:g} s"
            raise OpsicmError(Problem("run", str(folder), limit, "check whether it is still running")) from error
        except OSError:
            received = b""
    try:
        answer: dict[str, Any] = json.loads(received)
        return bool(answer["accepted"]), str(answer["message"])
    except (ValueError, TypeError, KeyError):
        return False, "the run ended before it answered"


def ask_status(folder: Path, patience: float = 2.0) -> dict[str, Any] | None:
    """The status of the run in progress in `folder`; None where none is there.

    Empty where its process is there but has not answered within `patience` [s], as while it compiles.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(patience)
    received = b""
    with client:
        try:
            with _short(folder) as short:
                client.connect(short)
            client.sendall(_STATUS + b"\n")
            while b"\n" not in received and (data := client.recv(_LONGEST_LINE)):
                received += data
            status = json.loads(json.loads(received)["message"])
        except TimeoutError:
            return {}
        except (OSError, OpsicmError, ValueError, KeyError, TypeError):
            return None
    return status if isinstance(status, dict) else None


def process_of(folder: Path) -> int | None:
    """The number of the process that runs the run in `folder`, by the kernel; None where none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            with _short(folder) as short:
                client.connect(short)
        except (OSError, BadInput):
            return None
        pid, _, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(pid)


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    # The kernel allows a socket's path 107 bytes; a run folder's may be longer, so it goes through a descriptor.
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BadInput(Problem("run", str(folder), "is no run folder", "name the folder of a run")) from error
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def _sender(client: socket.socket, name: str) -> dict[str, Any]:
    pid, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return {"from": name or "socket", "user": user, "pid": pid}


def _send(client: socket.socket, accepted: bool, message: str) -> None:
    answer = json.dumps({"accepted": accepted, "message": message}).encode() + b"\n"
    with contextlib.suppress(OSError):  # a client that has gone away is no reason to stop a run
        client.send(answer)
