"""The emulated PI controller by its bytes: GCS 2.0 as the maker's manuals print it and the maker's client sends it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from opsicm.emulators.gcs_controller import GcsController, Motor, scanner_axes
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry, serve
from opsicm.experiment.rig_file import Role, RoleName
from opsicm.instruments.clock import pause
from tests.fixtures.emulated_role import paced_world, rig_with, true_height

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with paced_world(4.0) as world:
        yield world


@pytest.fixture
def controller(world: PacedWorld) -> Iterator[GcsController]:
    controller = GcsController("127.0.0.1:0", {**scanner_axes(world, analogue=True), "4": Motor(world, 1)})
    yield controller
    controller.close()


@pytest.fixture
def line(controller: GcsController) -> Iterator[socket.socket]:
    with connection(controller) as line:
        yield line


def connection(controller: GcsController) -> socket.socket:
    host, port = controller.address.split(":")
    return socket.create_connection((host, int(port)), 2.0)


def asked(line: socket.socket, query: bytes) -> str:
    """The answer: its lines end in a space and a line feed, the last one in a line feed."""
    line.sendall(query)
    received = b""
    while not received.endswith(b"\n") or received.endswith(b" \n"):
        chunk = line.recv(1024)
        assert chunk, "hung up"
        received += chunk
    return received.decode("cp1252")


def error_after(line: socket.socket, command: bytes) -> int:
    line.sendall(command)
    return int(asked(line, b"ERR?\n"))


def test_an_answer_of_several_axes_has_several_lines(line: socket.socket) -> None:
    assert asked(line, b"TMX?\n") == ("1=8.000000000e+01 \n2=8.000000000e+01 \n3=2.000000000e+01 \n4=1.500000000e+01\n")
    assert asked(line, b"TMN? 3 1\n") == "3=0.000000000e+00 \n1=0.000000000e+00\n"
    assert asked(line, b"SVO? 3\n") == "3=1\n"


def test_an_error_is_told_once_and_by_err_only(line: socket.socket) -> None:
    assert error_after(line, b"MOV 3 21\n") == 7, "position out of limits"
    assert error_after(line, b"") == 0
    assert error_after(line, b"MOV 9 1\n") == 15, "no such axis"
    assert error_after(line, b"XYZ 1\n") == 2, "unknown command"
    assert error_after(line, b"MOV 3 five\n") == 1, "syntax"
    assert error_after(line, b"VEL 4 9\n") == 8, "velocity out of limits"
    assert error_after(line, b"VEL? 3\n") == 2, "and no answer to the query"


def test_single_characters_need_no_line_feed(line: socket.socket, world: PacedWorld) -> None:
    assert asked(line, b"\x05") == "0\n"
    assert asked(line, b"\x07") == "\xb1\n"
    assert error_after(line, b"VEL 4 0.2\nMOV 4 7.55\n") == 0
    assert asked(line, b"\x05") == "8\n", "the fourth axis moves"
    assert asked(line, b"ONT? 4\n") == "4=0\n"
    assert error_after(line, b"\x18") == 10, "stopped"
    assert asked(line, b"\x05") == "0\n"
    height = true_height(world)
    pause(0.03)
    assert true_height(world) == height


def test_an_axis_on_its_analogue_input_takes_no_target(line: socket.socket, world: PacedWorld) -> None:
    assert asked(line, b"SPA? 3 100664576\n") == "3 0x06000500=4\n"
    assert error_after(line, b"MOV 3 20\n") == 72
    assert error_after(line, b"SPA 3 0x06000500 0\n") == 60, "protected: command level 1"
    assert error_after(line, b"CCL 1 guess\n") == 60
    assert error_after(line, b"CCL 1 advanced\nSPA 3 0x06000500 0\n") == 0
    assert error_after(line, b"MOV 3 20\n") == 0
    assert world.ask(lambda rig: rig.scanner.read_z()) == pytest.approx(10e-6, abs=1e-9)
    assert asked(line, b"POS? 3\n") == "3=2.000000000e+01\n"


def test_a_stop_takes_all_axes_off_their_inputs(line: socket.socket, controller: GcsController) -> None:
    assert error_after(line, b"STP\n") == 10
    assert controller.axes["3"].analogue == 0


def test_a_stage_without_reference_does_not_move(line: socket.socket, controller: GcsController) -> None:
    controller.axes["4"].referenced = False
    assert asked(line, b"FRF? 4\n") == "4=0\n"
    assert error_after(line, b"MOV 4 7.6\n") == 5


def test_each_of_its_faults_is_on_the_wire(line: socket.socket, controller: GcsController) -> None:
    controller.faults.set("busy")
    assert error_after(line, b"POS? 3\n") == 63
    controller.faults.set("nan")
    assert asked(line, b"POS? 3\n") == "3=nan\n"
    controller.faults.set("overload")
    assert asked(line, b"OVF? 3\n") == "3=1\n"
    controller.faults.set("garbage")
    assert "=?" in asked(line, b"POS? 3\n")
    controller.faults.set("partial")
    line.sendall(b"TMX? 3\n")
    pause(0.05)
    assert line.recv(64) == b"3=2.00000"
    controller.faults.set("reset")
    line.sendall(b"POS? 3\n")
    with pytest.raises(ConnectionResetError):
        line.recv(1)


def test_several_clients_share_one_error(controller: GcsController, line: socket.socket) -> None:
    with connection(controller) as second:
        assert error_after(second, b"HLT 4\n") == 10
        second.sendall(b"HLT 4\n")
        pause(0.03)
        assert error_after(line, b"") == 10


def test_it_is_served_for_both_roles_of_one_address(world: PacedWorld) -> None:
    rig = rig_with("scanner", "pi_gcs", "127.0.0.1:0", {"z_axis": "Z", "analogue": True})
    stage = rig_with("coarse_stage", "pi_gcs", "127.0.0.1:0", {"axis": "4", "up": -1}).role("coarse_stage")
    roles: dict[RoleName, Role] = {"scanner": rig.role("scanner"), "coarse_stage": stage}
    served = serve(world, Entry("pi_gcs", "127.0.0.1:0", roles, rig))
    assert isinstance(served, GcsController)
    assert sorted(served.axes) == ["1", "2", "4", "Z"]
    assert served.axes["Z"].analogue == 4
    served.close()
