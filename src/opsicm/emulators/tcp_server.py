"""A loopback server that gives each client a thread, for emulated instruments with a text protocol over TCP."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from opsicm.core.errors import BadInput, Problem
from opsicm.emulators.wire_faults import WireFaults
from opsicm.instruments.clock import pause

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: closing sends RST instead of FIN

_NOTICED: Final = 0.03  # [s]


def loopback_port(address: str) -> int:
    """The port of `127.0.0.1:PORT`; `BadInput` for an address that other machines could reach: nobody is asked who
    he is.
    """
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdecimal() or int(port) >= 1 << 16:
        limit = "an emulated instrument answers on this machine only"
        raise BadInput(Problem("address", repr(address), limit, "write 127.0.0.1:PORT"))
    return int(port)


def listening(address: str) -> socket.socket:
    """A socket that listens at `127.0.0.1:PORT`, port 0: any; `BadInput` for other addresses and for a port in use."""
    port = loopback_port(address)
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        limit = f"cannot be served ({error})"
        raise BadInput(Problem("address", address, limit, "end what serves it, or take another port")) from error


class TcpServer:
    """Serves `address` (`127.0.0.1:PORT`, port 0: any) to at most `clients` at a time; further ones are hung up on.

    `talk(client)` runs in a thread of its own until it returns or its client is gone.
    """

    def __init__(self, address: str, talk: Callable[[socket.socket], None], clients: int) -> None:
        self._talk, self._most = talk, clients
        self._lock = threading.Condition()
        self._clients: set[socket.socket] = set()
        self._server = listening(address)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, name=f"emulator {self.address}", daemon=True).start()

    @property
    def clients(self) -> int:
        """Clients connected now."""
        with self._lock:
            return len(self._clients)

    def send(self, client: socket.socket, answer: bytes, faults: WireFaults, garbage: bytes) -> bool:
        """Send an answer as the faults of the wire let it through; False when the client was hung up on."""
        if (late := faults.takes("late")) is not None:
            pause(late)
        if faults.takes("silent") is not None:
            return True
        if faults.takes("reset") is not None:
            self.hang_up(client)
            return False
        if faults.takes("partial") is not None:
            answer = answer[: len(answer) // 2]
        client.sendall(answer if faults.takes("garbage") is None else garbage)
        return True

    def hang_up(self, client: socket.socket) -> None:
        """Close a client's connection as a crash would, by a reset."""
        with suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.shutdown(socket.SHUT_RD)
        self._forget(client)

    def close(self) -> None:
        """Leave the wire: no new clients, and those of now are hung up on."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._server.close()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            self.hang_up(client)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                # One that has just gone is given the time to be noticed, as the queue of a real converter gives it.
                welcome = self._lock.wait_for(lambda: len(self._clients) < self._most, _NOTICED)
                if welcome:
                    self._clients.add(client)
            if welcome:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()
            else:
                client.close()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            self._talk(client)
        self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.discard(client)
            self._lock.notify()
        client.close()
