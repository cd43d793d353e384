"""The loopback server under emulated instruments."""

from __future__ import annotations

import socket
from unittest.mock import MagicMock

import pytest

from opsicm.core.errors import BadInput
from opsicm.emulators.registry import Entry, serve
from opsicm.emulators.tcp_server import TcpServer

pytestmark = pytest.mark.real_time


def echo(client: socket.socket) -> None:
    while data := client.recv(64):
        client.sendall(data)


def connect(server: TcpServer) -> socket.socket:
    host, _, port = server.address.partition(":")
    return socket.create_connection((host, int(port)), 2.0)


def test_as_many_clients_as_it_takes_and_the_next_when_one_has_gone() -> None:
    server = TcpServer("127.0.0.1:0", echo, clients=2)
    with connect(server) as first, connect(server) as second:
        for client in (first, second):
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        assert server.clients == 2
        with connect(server) as third:
            assert third.recv(1) == b""
    with connect(server) as next_one:
        next_one.sendall(b"y")
        assert next_one.recv(1) == b"y"
    server.close()


def test_closing_it_resets_its_clients_and_frees_the_port() -> None:
    server = TcpServer("127.0.0.1:0", echo, clients=1)
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    again = TcpServer(server.address, echo, clients=1)
    with pytest.raises(BadInput, match="cannot be served"):
        TcpServer(again.address, echo, clients=1)
    again.close()


@pytest.mark.parametrize(
    ("driver", "address"),
    [
        ("hop_box", "tcp://0.0.0.0:0"),
        ("openspm", "tcp://:0"),
        ("nidaqmx", "grpc://0.0.0.0:0/Dev1"),
        ("nidaqmx", "grpc://[::]:0/Dev1"),
    ],
)
def test_every_emulator_serves_this_machine_only(driver: str, address: str) -> None:
    world, rig = MagicMock(), MagicMock()
    with pytest.raises(BadInput, match="on this machine only"):
        serve(world, Entry(driver, address, rig, rig))


@pytest.mark.parametrize("address", ["192.168.0.1:5000", "127.0.0.1", "127.0.0.1:fast", "127.0.0.1:99999"])
def test_it_serves_this_machine_only(address: str) -> None:
    with pytest.raises(BadInput, match="on this machine only"):
        TcpServer(address, echo, clients=1)
