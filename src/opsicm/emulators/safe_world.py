"""A world in a process of its own, which outlives the controlling process as real instruments would.

The rig's roles are called over one Unix socket; over another, any process may make a role safe at any moment, even
within a hop. That latches: nothing moves and nothing is applied until the process is restarted. Whatever advances the
world's clock must call `hold`, which paces it to real time and serves the sockets meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
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
_SAFE_ROLES: Final = ("amplifier", "potentiostat", "scanner", "coarse_stage", "hop_controller")
_MOVES: Final = frozenset({"run", "move_to", "apply", "command", "wait_until"})
_POLL_INTERVAL: Final = 0.02  # [s]
_LONGEST_CALL: Final = 1 << 26  # [bytes]
_LONGEST_ROLE: Final = 256  # [bytes]
_PEER: Final = struct.Struct("3i")
_OPENING_NS: Final = 200_000_000  # within which a cell that was told to open is open


class SafeWorld:
    """Serves a rig in `folder` to one controller at a time, and its safe channels to any process.

    `witness` is called with (role, ns of the machine's monotonic clock) for each role that has become safe.
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
        """Wait as long as the world's clock has advanced since the last call, divided by `speed`."""
        due = monotonic_ns() + (t_ns - self._held_ns) / self._speed
        self._held_ns = t_ns
        while not self._interrupted() and (left := due - monotonic_ns()) > 0:
            self._attend(min(left * 1e-9, _POLL_INTERVAL))

    def serve(self, rig: Rig) -> None:
        """Serve until the process is killed."""
        self._rig = rig
        while True:
            self._attend(_POLL_INTERVAL)
            if (end := self._received.find(b"\n")) >= 0:
                call = bytes(self._received[:end])
                del self._received[: end + 1]
                self._answer(call)

    def _attend(self, timeout: float) -> None:
        """Receive from every ready socket, safe channels before the controller."""
        sockets = [self._servers[SAFE], *self._watchers]
        if self._controller is not None:
            sockets.append(self._controller)
        # New controllers last: the one before them may have gone in the same moment.
        ready, _, _ = select.select([*sockets, self._servers[CALLS]], [], [], timeout)
        for each in ready:
            if each is self._servers[SAFE]:
                self._watchers[each.accept()[0]] = bytearray()
            elif each is self._servers[CALLS]:
                self._admit(each.accept()[0])
            elif each in self._watchers:
                self._serve_watcher(each)
            elif each is self._controller:
                self._serve_controller(each)

    def _admit(self, client: socket.socket) -> None:
        """Greet a new controller, or refuse it: two runs on one rig would drive one pipette."""
        refusal = None
        if self._controller is not None:
            value = f"in use by process {_process_of(self._controller)}"
            refusal = Problem("rig", value, "it serves one run at a time", "stop that run, or wait for its end")
        elif self.latched:
            refusal = _latched()
        greeting = ("answer", None) if refusal is None else ("error", [str(refusal)])
        with contextlib.suppress(OSError):
            client.sendall(messages.encode(greeting))
        if refusal is None:
            self._controller, self._received = client, bytearray()
        else:
            client.close()

    def _serve_controller(self, client: socket.socket) -> None:
        data = _received(client)
        self._received += data
        if not data or len(self._received) > _LONGEST_CALL:
            # The controller is gone, or sends what is no call; what it has started goes on.
            client.close()
            self._controller, self._received = None, bytearray()

    def _serve_watcher(self, client: socket.socket) -> None:
        data = _received(client)
        received = self._watchers[client]
        received += data
        if not data or (b"\n" not in received and len(received) > _LONGEST_ROLE):
            del self._watchers[client]
            client.close()
            return
        while (end := received.find(b"\n")) >= 0:
            role = bytes(received[:end]).decode(errors="replace")
            del received[: end + 1]
            try:
                safe = self._make_safe(role)
            except OpsicmError:
                safe = False
            with contextlib.suppress(OSError):
                client.sendall(b"safe\n" if safe else b"not safe\n")

    def _make_safe(self, role: str) -> bool:
        """Whether the role is safe now."""
        if role not in _SAFE_ROLES:
            return False
        self.latched = True
        getattr(self._rig, role).safe()
        if role == "potentiostat":
            self._rig.clock.wait_until(self._rig.clock.now_ns() + _OPENING_NS)
            if self._rig.potentiostat.read().control != "open_circuit":
                return False
        self._witness(role, monotonic_ns())
        return True

    def _interrupted(self) -> bool:
        # Called between two slices of a plan: a safe channel or a message of the controller ends it within the hop.
        self._attend(0.0)
        return self.latched or b"\n" in self._received

    def _answer(self, call: bytes) -> None:
        try:
            answer = messages.encode(("answer", self._called(*messages.decode(call))))
        except OpsicmError as error:
            answer = messages.encode(("error", [str(problem) for problem in error.problems]))
        except Exception as error:  # noqa: BLE001 - one malformed call may not end the instruments' process
            value = f"{call[:80]!r}: {type(error).__name__}"
            answer = messages.encode(("error", [str(Problem("call", value, "is none", "mend the controller"))]))
        if self._controller is not None:
            with contextlib.suppress(OSError):
                self._controller.setblocking(True)
                self._controller.sendall(answer)

    def _called(self, role: str, name: str, arguments: tuple[Any, ...]) -> Any:
        if role == "interrupt":
            return None
        if self.latched and name in _MOVES:
            raise OpsicmError(_latched())
        if role not in _ROLES or name.startswith("_"):
            limit = f"is none of the roles' methods; the roles are {', '.join(_ROLES)}"
            raise OpsicmError(Problem("call", f"{role}.{name}", limit, "mend the controller"))
        member = getattr(getattr(self._rig, role), name)
        if name == "run":
            return member(arguments[0], self._interrupted)
        return member(*arguments) if callable(member) else member


def _latched() -> Problem:
    return Problem("rig", "latched safe", "a watchdog has made it safe", "look at it, then start it anew")


def _process_of(client: socket.socket) -> int:
    return int(_PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0])


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 20)
    except OSError:
        return b""


def _server(folder: Path, name: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with short_path(folder) as path:
            server.bind(f"{path}/{name}")
    finally:
        os.umask(before)
    server.listen(8)
    return server


@contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """A path of `folder` short enough for a socket below it: Unix sockets allow 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
