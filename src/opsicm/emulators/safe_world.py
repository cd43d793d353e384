"""A world in a process of its own: what stays behind when the controlling process dies.

The rig's roles are called over one Unix socket; over another one anybody may make a role safe, at any moment, within
the hop in flight. That latches: nothing moves and nothing is applied until the process is started anew. Whatever lets
the world's time pass must call `hold`, which makes it real time and attends to the sockets meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from opsicm.core.errors import OpsicmError, Problem
from opsicm.emulators import messages
from opsicm.instruments.clock import monotonic_ns
from opsicm.instruments.roles import Rig

CALLS: Final = "world.sock"
SAFE: Final = "safe.sock"
_ROLES: Final = ("clock", "amplifier", "potentiostat", "scanner", "coarse_stage", "hop_controller")
_MOVES: Final = frozenset({"run", "move_to", "apply", "command", "wait_until"})
_IDLE: Final = 0.02  # [s]
_OPENING_NS: Final = 200_000_000  # within which a cell that was told to open is open


class SafeWorld:
    """Serves a rig in `folder` to one controller at a time, and its safe channels to anybody.

    `witness` is called with (role, ns of the machine's monotonic clock) of each role that has become safe.
    """

    def __init__(self, folder: Path, witness: Callable[[str, int], None], speed: float) -> None:
        self._witness = witness
        self._speed = speed
        self._held_ns = 0
        self._servers = {name: _server(folder, name) for name in (CALLS, SAFE)}
        self._controller: socket.socket | None = None
        self._received = bytearray()
        self._watchers: dict[socket.socket, bytearray] = {}
        self.latched = False

    def hold(self, t_ns: int) -> None:
        """Let as much real time pass as the world's has since the last call, `speed` times as fast."""
        due = monotonic_ns() + (t_ns - self._held_ns) / self._speed
        self._held_ns = t_ns
        while not self._interrupted() and (left := due - monotonic_ns()) > 0:
            self._attend(min(left * 1e-9, _IDLE))

    def serve(self, rig: Rig) -> None:
        """For ever: until the process is ended."""
        self._rig = rig
        while True:
            self._attend(_IDLE)
            if (end := self._received.find(b"\n")) >= 0:
                call = bytes(self._received[:end])
                del self._received[: end + 1]
                self._answer(call)

    def _attend(self, patience: float) -> None:
        """Take what has come, safe channels first."""
        sockets = [*self._servers.values(), *self._watchers]
        if self._controller is not None:
            sockets.append(self._controller)
        ready, _, _ = select.select(sockets, [], [], patience)
        for each in ready:
            if each is self._servers[SAFE]:
                self._watchers[each.accept()[0]] = bytearray()
            elif each is self._servers[CALLS]:
                self._controller, self._received = each.accept()[0], bytearray()
            elif each in self._watchers:
                self._serve_watcher(each)
            else:
                self._serve_controller(each)

    def _serve_controller(self, client: socket.socket) -> None:
        data = _received(client)
        if data:
            self._received += data
        else:  # the controller is gone; what it has set in motion goes on
            client.close()
            self._controller, self._received = None, bytearray()

    def _serve_watcher(self, client: socket.socket) -> None:
        data = _received(client)
        if not data:
            del self._watchers[client]
            client.close()
            return
        received = self._watchers[client]
        received += data
        while (end := received.find(b"\n")) >= 0:
            role = bytes(received[:end]).decode(errors="replace")
            del received[: end + 1]
            self._make_safe(role)
            with contextlib.suppress(OSError):
                client.sendall(b"safe\n")

    def _make_safe(self, role: str) -> None:
        if role not in _ROLES[1:] or role == "coarse_stage":
            return
        self.latched = True
        getattr(self._rig, role).safe()
        if role == "potentiostat":
            self._rig.clock.wait_until(self._rig.clock.now_ns() + _OPENING_NS)
            if self._rig.potentiostat.read().control != "open_circuit":
                return
        self._witness(role, monotonic_ns())

    def _interrupted(self) -> bool:
        # Between two slices of a plan: a safe channel, or a word of the controller, ends it with the hop in flight.
        self._attend(0.0)
        return self.latched or b"\n" in self._received

    def _answer(self, call: bytes) -> None:
        try:
            answer = ("answer", self._called(*messages.decode(call)))
        except OpsicmError as error:
            answer = ("error", [str(problem) for problem in error.problems])
        if self._controller is not None:
            with contextlib.suppress(OSError):
                self._controller.setblocking(True)
                self._controller.sendall(messages.encode(answer))

    def _called(self, role: str, name: str, arguments: tuple[Any, ...]) -> Any:
        if role == "interrupt":
            return None
        if self.latched and name in _MOVES:
            raise OpsicmError(
                Problem("rig", "latched safe", "a watchdog has made it safe", "look at it, then start it anew")
            )
        if role not in _ROLES:
            raise OpsicmError(Problem("role", role, f"is none of {', '.join(_ROLES)}", "mend the controller"))
        member = getattr(getattr(self._rig, role), name)
        if name == "run":
            return member(arguments[0], self._interrupted)
        return member(*arguments) if callable(member) else member


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 20)
    except OSError:
        return b""


def _server(folder: Path, name: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with short(folder) as path:
            server.bind(f"{path}/{name}")
    finally:
        os.umask(before)
    server.listen(8)
    return server


@contextmanager
def short(folder: Path) -> Iterator[str]:
    """A name for `folder` that leaves room for a socket's in the 107 bytes that it may have."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
