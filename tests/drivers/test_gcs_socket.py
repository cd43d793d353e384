"""PI's gateway over TCP: it waits without spinning, and a controller that has hung up is noticed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from opsicm.drivers.gcs_socket import GcsSocket
from opsicm.instruments.clock import stopwatch

pytestmark = pytest.mark.real_time


@pytest.fixture
def ends() -> Iterator[tuple[GcsSocket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = GcsSocket("127.0.0.1", server.getsockname()[1])
        far, _ = server.accept()
        with far:
            yield line, far
        line.close()


def test_what_is_sent_arrives_in_pis_code_page_and_what_comes_is_read(ends: tuple[GcsSocket, socket.socket]) -> None:
    line, far = ends
    line.send("MOV 3 1µ\n")
    assert far.recv(64) == b"MOV 3 1\xb5\n"
    far.sendall(b"\xb1\n")
    assert line.read() == "±\n"
    assert line.connected
    assert line.connectionid == 0
    assert str(line).startswith("GcsSocket(127.0.0.1:")


def test_nothing_comes_as_nothing_and_takes_a_moment(ends: tuple[GcsSocket, socket.socket]) -> None:
    line, _ = ends
    waited = stopwatch()
    assert line.read() == ""
    assert waited() >= 0.009, "it has waited, not spun"


def test_a_controller_that_hangs_up_is_noticed_at_once(ends: tuple[GcsSocket, socket.socket]) -> None:
    line, far = ends
    far.close()
    with pytest.raises(ConnectionResetError, match="has hung up"):
        line.read()
    line.flush()
    line.close()
    line.close()
    assert not line.connected


def test_an_answer_that_does_not_end_is_given_up_in_time(ends: tuple[GcsSocket, socket.socket]) -> None:
    line, far = ends
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.01):
            far.sendall(b"1")

    def read() -> None:
        while waited() < 2.0:
            line.read()

    line.send("POS?\n")
    threading.Thread(target=drip, daemon=True).start()
    waited = stopwatch()
    with pytest.raises(TimeoutError, match="does not end its answer within"):
        read()
    ended.set()
    assert waited() < 0.3


def test_an_answer_without_end_is_given_up_for_its_length(ends: tuple[GcsSocket, socket.socket]) -> None:
    line, far = ends

    def read() -> None:
        for _ in range(1000):
            line.read()

    line.settimeout(10_000)
    line.send("HLP?\n")
    threading.Thread(target=far.sendall, args=(b"a" * 70_000,), daemon=True).start()
    with pytest.raises(OSError, match="more than 65536 bytes"):
        read()


def test_it_keeps_the_numeric_address_of_a_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = GcsSocket("localhost", server.getsockname()[1])
        assert line.peer == server.getsockname()
        line.close()


def test_nobody_there_is_an_error_of_the_system() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        GcsSocket("127.0.0.1", port)
