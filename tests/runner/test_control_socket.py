"""control.sock: who may open it, what is heard, what is answered, and that nothing said there can hurt."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsicm.cli.execute import execute
from opsicm.cli.main import main
from opsicm.core.errors import BadInput
from opsicm.record.reader import Run
from opsicm.runner.commands import Command, StopSignal, from_line, from_words
from opsicm.runner.control_socket import NAME, ControlSocket, send
from tests.fixtures.laboratory import TEXT, Laboratory


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlSocket]:
    # Deeper than a socket's name may be long.
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    made = ControlSocket(folder, StopSignal(lambda: False))
    yield made
    made.close()
    assert not (folder / NAME).exists()


def folder_of(tmp_path: Path) -> Path:
    return tmp_path / ("d" * 100)


def asking(work: Callable[[], tuple[bool, str]]) -> tuple[threading.Thread, list[tuple[bool, str]]]:
    """A client of its own thread, and what it gets."""
    got: list[tuple[bool, str]] = []
    thread = threading.Thread(target=lambda: got.append(work()))
    thread.start()
    return thread, got


def test_only_its_owner_may_open_it(control: ControlSocket, tmp_path: Path) -> None:
    del control
    assert stat.S_IMODE((folder_of(tmp_path) / NAME).stat().st_mode) == 0o600


def test_a_command_arrives_with_its_sender_and_is_answered(control: ControlSocket, tmp_path: Path) -> None:
    command = Command("set", key="probe.setpoint_pct", value=2.5)
    thread, got = asking(lambda: send(folder_of(tmp_path), command, "command line", 60.0))
    while not control.waiting():
        pass
    (request,) = control.take()
    assert request.command == command
    assert request.sender["from"] == "command line"
    assert request.sender["pid"] == os.getpid()
    request.answer(False, "not now")
    thread.join()
    assert got == [(False, "not now")]
    assert not control.waiting()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"hello", "one JSON object a line"),
        (b"[1, 2]", "one JSON object a line"),
        (b'{"command": "explode"}', "the commands are pause-probe"),
        (b'{"command": ["stop"]}', "the commands are pause-probe"),
        (b'{"command": "note", "text": "  "}', "a note has a text"),
        (b'{"command": "set", "key": "cell.rate", "value": 1}', "what can be set is probe.setpoint_pct"),
        (b'{"command": "set", "key": "probe.setpoint_pct", "value": NaN}', "must be a number"),
        (b'{"command": "set", "key": "probe.setpoint_pct", "value": true}', "must be a number"),
        (b'{"command": "skip", "track": "rig"}', "of the probe or of the cell"),
        (b'{"command": "set", "key": "probe.setpoint_pct", "value": 1' + b"0" * 400 + b"}", "must be a number"),
        (b'{"command": "set", "key": "probe.setpoint_pct", "value": 1' + b"0" * 5000 + b"}", "one JSON object a line"),
        (b'{"command": "set", "key": "probe.setpoint_pct", "value": 1e999}', "must be a number"),
        (b'{"command": "set", "key": "\\ud800", "value": 1}', "what can be set is probe.setpoint_pct"),
        (b'{"command": "\\udfff"}', "the commands are pause-probe"),
        (b'{"command": "skip", "track": "\\ud800"}', "of the probe or of the cell"),
        (b'{"command": "note", "text": "\\ud800"}', "bytes that are no UTF-8 text"),
        (b'{"command": "note", "text": "' + b"a" * 5000 + b'"}', "at most 4096 characters"),
        (b"[" * 50_000, "one JSON object a line"),
        (b"\xff\xfe", "one JSON object a line"),
    ],
)
def test_what_is_no_command_is_refused_at_once(control: ControlSocket, tmp_path: Path, line: bytes, words: str) -> None:
    client = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder_of(tmp_path), os.O_RDONLY)
    client.connect(f"/proc/self/fd/{descriptor}/{NAME}")
    os.close(descriptor)
    client.sendall(line + b"\n")
    client.settimeout(0.0)
    heard = b""
    while b"\n" not in heard:
        assert not control.take()
        try:
            heard += client.recv(65536)
        except BlockingIOError:
            continue
    answer = json.loads(heard)
    assert answer["accepted"] is False
    assert words in answer["message"]
    client.close()


def test_a_request_at_the_end_of_the_run_is_answered_at_once(control: ControlSocket, tmp_path: Path) -> None:
    """Nobody has looked at the socket since: the run was busy with its last plan."""
    before = len(os.listdir("/proc/self/fd"))
    thread, got = asking(lambda: send(folder_of(tmp_path), Command("stop"), "test", 60.0))
    while len(os.listdir("/proc/self/fd")) == before:  # the client has not opened its end yet
        pass
    thread.join(0.2)
    control.close()
    thread.join(5.0)
    assert got in ([(False, "the run has ended")], [(False, "the run ended before it answered")])
    control.close()


def test_a_line_without_end_is_cut_off(control: ControlSocket, tmp_path: Path) -> None:
    client = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder_of(tmp_path), os.O_RDONLY)
    client.connect(f"/proc/self/fd/{descriptor}/{NAME}")
    os.close(descriptor)
    client.setblocking(False)
    sent = 0
    try:
        while sent < 1 << 20:
            assert not control.take()
            sent += client.send(b"x" * 4096)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    assert sent < 1 << 20
    client.close()


def test_a_folder_without_a_run_in_progress_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no run in progress answers there"):
        send(tmp_path, Command("stop"), "test", 60.0)
    assert main(["command", str(tmp_path), "stop"]) == 2
    assert main(["command", str(tmp_path / "none"), "stop"]) == 2


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("pause-probe", Command("pause-probe")),
        ("pause probe", Command("pause-probe")),
        ("resume cell", Command("resume-cell")),
        ("skip", Command("skip")),
        ("skip cell", Command("skip", track="cell")),
        ("note electrolyte looks cloudy", Command("note", text="electrolyte looks cloudy")),
        ("set probe.setpoint_pct=2.5", Command("set", key="probe.setpoint_pct", value=2.5)),
        ("set setpoint_pct=2.5", Command("set", key="probe.setpoint_pct", value=2.5)),
        ("set setpoint = 2.5 %", Command("set", key="probe.setpoint_pct", value=2.5)),
        ("set amplitude=4 um", Command("set", key="probe.amplitude_nm", value=4000.0)),
    ],
)
def test_a_command_line_survives_the_socket_unchanged(words: str, command: Command) -> None:
    assert from_words(words.split()) == command
    assert from_line(json.dumps(command.data()).encode()) == (command, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stop now", "stop takes nothing more"),
        ("pause", "pause is for one track; pause probe, or pause cell"),
        ("set probe.setpoint_pct", "set takes KEY=VALUE"),
        ("set probe.setpoint_pct=much", "must be a number"),
        ("set amplitude=4", "a length in nm; as set amplitude_nm=4, or set amplitude=4 nm"),
        ("set amplitude=4 s", "amplitude_nm is a length in nm; as set amplitude_nm=…, or set amplitude=… nm"),
        ("set height_um=4", "set height_um; what can be set is"),
        ("note", "a note has a text"),
        ("halt", "the commands are"),
        ("note caf\udce9", "write the note in UTF-8"),  # as a shell hands over a byte that is no UTF-8
    ],
)
def test_wrong_words_are_refused_with_the_right_ones(words: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        from_words(words.split())


def test_a_live_run_is_steered_from_another_process_and_the_file_says_who(
    laboratory: Laboratory, capfd: pytest.CaptureFixture[str]
) -> None:
    out = laboratory.folder / "out"
    codes: list[int] = []

    def steer() -> None:
        while not (found := list(out.glob(f"*/{NAME}"))):
            pass
        codes.append(main(["command", str(found[0].parent), "note", "looks", "cloudy"]))
        codes.append(main(["command", str(found[0].parent), "resume-probe"]))
        codes.append(main(["command", str(found[0].parent), "stop"]))

    thread = threading.Thread(target=steer)
    thread.start()
    # In real time: at full speed the run might be over before the command line has started.
    execution = execute(laboratory.experiment(TEXT), out, seed=1, speed=2.0)
    thread.join()
    assert codes == [0, 2, 0]
    said = capfd.readouterr()
    assert "noted" in said.out
    assert "refused: the probe is not paused" in said.err
    assert execution.ending.outcome == "interrupted"
    with Run(execution.path) as run:
        commands = [fact for fact in run.facts if fact.kind in ("command", "note")]
        assert [fact.kind for fact in commands] == ["note", "command", "command"]
        assert all(fact.data["sender"]["pid"] == os.getpid() for fact in commands)
    assert not list(out.glob(f"*/{NAME}"))
