"""A rig in another process: nothing that a controller sends may end it, nothing that it answers may hang a run."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from opsicm.core.errors import BadInput, LimitCrossed
from opsicm.emulators import messages
from opsicm.emulators.remote_rig import _Connection, _RemotePotentiostat, _RemoteScanner
from opsicm.emulators.safe_world import CALLS, SAFE
from tests.emulators.conftest import PATIENCE

pytestmark = pytest.mark.real_time


@contextmanager
def connection(folder: Path, name: str) -> Iterator[tuple[socket.socket, Callable[[], tuple[str, Any]]]]:
    """A connection to one of the world's sockets, and what reads the next answer from it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(folder / name))
        received = bytearray()

        def answer() -> tuple[str, Any]:
            while b"\n" not in received:
                received.extend(client.recv(1 << 16))
            line, _, rest = bytes(received).partition(b"\n")
            received[:] = rest
            kind, content = messages.decode(line)
            return kind, content

        yield client, answer


@pytest.mark.parametrize(
    "call",
    [
        b"hello",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'["amplifier"]',
        b'["amplifier", "read", [1, 2, 3]]',
        b'["amplifier", "no_such_method", []]',
        b'["amplifier", "__class__", []]',
        b'["potentiostat", "apply", [{"kind": "OpenCircuit"}, "soon"]]',
        b'["potentiostat", "apply", [{"kind": "os.system"}, 0]]',
        b'["hop_controller", "run", [null]]',
        b'["hop_controller", "world", []]',
        b'["amplifier", "command", [{"array": ["O", [1], ""]}]]',
        b'["clock", "wait_until", ["\\ud800"]]',
    ],
)
def test_a_malformed_call_is_refused_and_the_next_one_answered(world: Path, call: bytes) -> None:
    with connection(world, CALLS) as (client, answer):
        assert answer() == ("answer", None)
        client.sendall(call + b"\n")
        kind, refusal = answer()
        assert kind == "error"
        assert len(str(refusal)) < 1000
        client.sendall(messages.encode(("clock", "now_ns", ())))
        kind, now_ns = answer()
        assert kind == "answer"
        assert isinstance(now_ns, int)


def test_a_second_controller_is_refused_and_the_first_is_not_harmed(world: Path) -> None:
    with connection(world, CALLS) as (client, answer):
        assert answer() == ("answer", None)
        with pytest.raises(
            BadInput, match=rf"refuses this run; rig is in use by process {os.getpid()}; .*stop that run"
        ):
            _Connection(world)
        client.sendall(messages.encode(("clock", "now_ns", ())))
        assert answer()[0] == "answer"
    _Connection(world).loss("test", "closed", "")  # the remedy: its end


def test_a_safe_channel_confirms_only_what_is_safe(world: Path) -> None:
    with connection(world, SAFE) as (client, _):
        client.sendall(b"clock\n" + b"\xff\n")
        heard = b""
        while heard.count(b"\n") < 2:
            heard += client.recv(64)
        assert heard == b"not safe\nnot safe\n"
    hung_up = suppress(BrokenPipeError, ConnectionResetError)  # before all of it was sent
    with connection(world, SAFE) as (client, _), hung_up:
        client.sendall(b"x" * 100_000)
        assert client.recv(64) == b""


GREETING = messages.encode(("answer", None))


@contextmanager
def lying_rig(folder: Path, answers: bytes | None) -> Iterator[_Connection]:
    """A connection to a rig that answers its first call with these bytes and closes; without bytes, never."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / CALLS))
    server.listen(1)

    def serve() -> None:
        client, _ = server.accept()
        with client:
            client.sendall(GREETING)
            client.recv(1 << 16)
            if answers is None:
                client.recv(1)
            else:
                client.sendall(answers)

    thread = threading.Thread(target=serve)
    thread.start()
    connection = _Connection(folder)
    yield connection
    connection.loss("test", "closed", "")
    thread.join()
    server.close()


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (b"", "potentiostat.read is gone; the rig's process has ended"),
        (b'["answer", 1', "potentiostat.read is gone; the rig's process has ended"),
        (b"\x00\xff\n", "is no answer of a rig"),
        (b'["answer"]\n', "is no answer of a rig"),
        (b'["answer", {"kind": "CellReading"}]\n', "is no answer of a rig"),
        (b'["answer", 12]\n', "must be a CellReading"),
        (b'["answer", "\\ud800"]\n', "must be a CellReading"),
    ],
)
def test_garbage_breaks_the_connection_with_a_reason(tmp_path: Path, answers: bytes, told: str) -> None:
    with lying_rig(tmp_path, answers) as rig:
        with pytest.raises(LimitCrossed, match=told):
            _RemotePotentiostat(rig, "potentiostat").read()
        # What comes next would be taken for another call's answer: nothing is read from it any more.
        with pytest.raises(LimitCrossed, match=told):
            _RemoteScanner(rig, "scanner").safe()


def test_a_rig_that_does_not_answer_is_not_waited_for_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsicm.emulators.remote_rig._SAFE_TIMEOUT", 0.1)
    with lying_rig(tmp_path, None) as rig:
        for role in ("hop_controller", "scanner"):
            with pytest.raises(LimitCrossed, match=r"hop_controller.safe is unanswered; no answer in 0.1 s"):
                _RemoteScanner(rig, role).safe()
