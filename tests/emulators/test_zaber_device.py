"""The emulated Zaber stage by its bytes: what the maker's manual prints and the maker's client was seen to send."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from opsicm.core.errors import BadInput
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry, entries_of, serve
from opsicm.emulators.zaber_device import LIMIT_MAX, STEP, ZaberDevice
from opsicm.instruments.clock import pause
from tests.fixtures.emulated_role import paced_world, rig_with, true_height

pytestmark = pytest.mark.real_time

START = LIMIT_MAX // 2


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with paced_world(4.0) as world:
        yield world


@pytest.fixture
def device(world: PacedWorld) -> Iterator[ZaberDevice]:
    device = ZaberDevice(world, "127.0.0.1:0")
    yield device
    device.close()


@pytest.fixture
def line(device: ZaberDevice) -> Iterator[socket.socket]:
    with connection(device) as line:
        yield line


def connection(device: ZaberDevice) -> socket.socket:
    host, port = device.address.split(":")
    return socket.create_connection((host, int(port)), 2.0)


def said(line: socket.socket, command: bytes) -> str:
    line.sendall(command)
    received = b""
    while not received.endswith(b"\r\n"):
        chunk = line.recv(256)
        assert chunk, "hung up"
        received += chunk
    return received.decode("latin-1").strip()


def without_checksum(reply: str) -> str:
    body, _, checksum = reply.rpartition(":")
    assert (sum(body[1:].encode()) + int(checksum, 16)) % 256 == 0, "bytes and checksum sum up to 0"
    return body


def test_a_command_is_answered_as_the_manual_prints_it(line: socket.socket) -> None:
    assert without_checksum(said(line, b"/\n")) == "@01 0 OK IDLE -- 0"
    assert without_checksum(said(line, b"/1 1 get pos\r\n")) == f"@01 1 OK IDLE -- {START}"
    assert without_checksum(said(line, b"/1 1 nonsense\n")) == "@01 1 RJ IDLE -- BADCOMMAND"
    assert without_checksum(said(line, b"/1 1 move abs 600000\n")) == "@01 1 RJ IDLE -- BADDATA"


def test_a_message_number_and_a_checksum_are_taken_as_the_client_sends_them(line: socket.socket) -> None:
    assert without_checksum(said(line, b"/1 1 02 get limit.max:E9\n")) == f"@01 1 02 OK IDLE -- {LIMIT_MAX}"
    assert without_checksum(said(line, b"/1 1 06 warnings:6F\n")) == "@01 1 06 OK IDLE -- 00"
    line.sendall(b"/1 1 02 get limit.max:E8\n/2 1 get pos\nget pos\n")  # wrong, of another device, no command: ignored
    assert without_checksum(said(line, b"/1 1 09 stop\n")) == "@01 1 09 OK IDLE -- 0"


def test_a_motion_is_busy_until_it_ends_where_it_should(
    line: socket.socket, device: ZaberDevice, world: PacedWorld
) -> None:
    height = true_height(world)
    steps = round(100e-6 / STEP)
    reply = said(line, f"/1 1 move abs {START + steps} 17202\n".encode())  # 0.5 mm/s
    assert without_checksum(reply) == "@01 1 OK BUSY -- 0"
    while world.now_ns() < device.arrival_ns:
        pause(0.005)
    pause(0.02)
    assert without_checksum(said(line, b"/1 1 get pos\n")) == f"@01 1 OK IDLE -- {START + steps}"
    assert true_height(world) == pytest.approx(height + steps * STEP, abs=1e-9)


def test_flags_are_shown_with_every_reply(line: socket.socket, device: ZaberDevice) -> None:
    device.flags |= {"WR", "FS"}
    assert without_checksum(said(line, b"/1 1 warnings\n")) == "@01 1 OK IDLE FS 02 FS WR"
    assert without_checksum(said(line, b"/1 1 move abs 0\n")) == "@01 1 RJ IDLE FS DRIVERDISABLED"


def test_each_of_its_faults_is_on_the_wire(line: socket.socket, device: ZaberDevice) -> None:
    device.faults.set("busy")
    assert without_checksum(said(line, b"/1 1 get pos\n")).endswith("RJ IDLE -- STATUSBUSY")
    device.faults.set("nan")
    assert without_checksum(said(line, b"/1 1 get pos\n")).endswith("OK IDLE -- NA")
    device.faults.set("garbage")
    assert not said(line, b"/1 1 get pos\n").startswith("@01")
    device.faults.set("partial")
    line.sendall(b"/1 1 get pos\n")
    pause(0.05)
    half = line.recv(256)
    assert half.startswith(b"@01 1 OK IDLE")
    assert b":" not in half
    device.faults.set("silent")
    line.sendall(b"/1 1 get pos\n")
    line.settimeout(0.05)
    with pytest.raises(TimeoutError):
        line.recv(1)
    line.settimeout(2.0)
    device.faults.set("reset")
    line.sendall(b"/1 1 get pos\n")
    with pytest.raises(ConnectionResetError):
        line.recv(1)
    with pytest.raises(BadInput, match="a Zaber stage can show late, silent"):
        device.faults.set("latched")


def test_a_second_client_is_hung_up_on(line: socket.socket, device: ZaberDevice) -> None:
    assert said(line, b"/\n")
    with connection(device) as second:
        assert second.recv(1) == b""
    assert said(line, b"/\n")


def test_it_is_served_for_the_driver_of_its_name(world: PacedWorld) -> None:
    rig = rig_with("coarse_stage", "zaber", "127.0.0.1:0", {"up": -1, "shared_line": True})
    with pytest.raises(BadInput, match="has no emulator"):
        entries_of(rig)  # the other roles are twins
    served = serve(world, Entry("zaber", "127.0.0.1:0", {"coarse_stage": rig.role("coarse_stage")}, rig))
    assert isinstance(served, ZaberDevice)
    with connection(served) as first, connection(served) as second:
        assert said(first, b"/\n") == said(second, b"/\n")
    served.close()
