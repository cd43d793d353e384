"""The specification's tables against both codecs; any bytes against both ends; the server as a raw client meets it."""

from __future__ import annotations

import queue
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.hop_protocol import CHANNELS, ReadyWorld, device, ready_pieces
from opsicm.core.facts import HOP_DTYPE
from opsicm.drivers import hop_wire
from opsicm.emulators import hop_frames
from opsicm.emulators.hop_frames import Frames, Kind, Reason, Refusal, State, frame
from opsicm.emulators.hop_server import HopServer
from opsicm.instruments.clock import pause, stopwatch
from tests.fixtures.rig_contract import plan

pytestmark = pytest.mark.real_time

PAGE = (Path(__file__).parents[2] / "docs/reference/hop-protocol.md").read_text(encoding="utf-8")
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i32": 4, "i64": 8, "f64": 8, "4 bytes": 4}


def section(title: str) -> str:
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def fixed(title: str) -> list[tuple[int, str, str]]:
    """(offset, type, field) of the numbers at a fixed place."""
    return [(int(row[0]), row[1], row[2]) for row in rows(title) if row[0] and row[1] in SIZES]


def example(k: int) -> bytes:
    """A frame of the example, from its magic to the next one."""
    text = " ".join(line.strip() for line in section("Example").splitlines() if line.startswith("    "))
    return b"HOPC" + bytes.fromhex(text).split(b"HOPC")[1 + k]


# -- the page and both codecs


@pytest.mark.parametrize("title", ["HELLO", "WELCOME", "PLAN", "ACK", "BEAT", "TIME", "ERROR", "BLOCK", "END", "Frame"])
def test_the_tables_are_the_servers_bytes(title: str) -> None:
    fields = fixed(title)
    at = 0
    for offset, kind, _ in fields:
        assert offset == at
        at += SIZES[kind]
    layout = hop_frames.HEADER if title == "Frame" else getattr(hop_frames, title)
    extra = {"HELLO": 1}.get(title, 0)  # the length of the name is a text's first byte
    assert layout.size == at + extra
    letters = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i", "i64": "q", "f64": "d", "4 bytes": "4s"}
    plain = "<" + "".join(letters[kind] for _, kind, _ in fields) + "B" * extra
    assert [kind for kind, _ in _expanded(layout.format)] == [kind for kind, _ in _expanded(plain)]


def _expanded(layout: str) -> list[tuple[str, int]]:
    parts = re.findall(r"(\d*)([a-zA-Z])", layout)
    return [(kind, k) for count, kind in parts for k in range(1 if kind == "s" else int(count or 1))]


def test_the_record_is_the_servers_and_the_drivers_and_the_run_files() -> None:
    fields = fixed("RECORDS")
    assert [name for *_, name in fields] == list(HOP_DTYPE.names or ())
    for dtype in (hop_frames.RECORD, hop_wire._RECORD):
        assert dtype.itemsize == 145
        offsets = {name: field[1] for name, field in (dtype.fields or {}).items()}
        assert offsets == {name: at for at, _, name in fields}
        for _, kind, name in fields:
            assert dtype[name].str == _little(kind)


def _little(kind: str) -> str:
    size = SIZES[kind]
    return ("|" if size == 1 else "<") + kind[0] + str(size)


def test_types_refusals_reasons_and_states_are_the_pages() -> None:
    assert {int(row[0], 16): row[1] for row in rows("Messages")} == {kind.value: kind.name for kind in Kind}
    assert {int(row[0]): row[1] for row in rows("Refusals")} == {one.value: one.name for one in Refusal}
    assert {int(row[0]): row[1] for row in rows("Reasons")} == {one.value: one.name for one in Reason}
    said = dict(re.findall(r"(\d) (IDLE|ARMED|RUNNING|LATCHED)", section("States")))
    assert {int(code): name for code, name in said.items()} == {one.value: one.name for one in State}
    assert len(hop_wire.REASONS) == len(Reason)
    assert len(hop_wire.STATES) == len(State)
    for kind in (
        "HELLO",
        "ARM",
        "PLAN",
        "ABORT",
        "WITHDRAW",
        "BEAT",
        "ACK",
        "WELCOME",
        "TIME",
        "ERROR",
        "BLOCK",
        "END",
    ):
        assert getattr(hop_wire, kind) == Kind[kind]


def test_the_example_is_what_the_server_reads_and_writes() -> None:
    received = list(Frames().feed(b"".join(example(k) for k in range(5))))
    assert [(kind, sequence) for kind, sequence, _ in received] == [
        (Kind.ARM, 1),
        (Kind.ACK, 1),
        (Kind.PLAN, 2),
        (Kind.BEAT, 7),
        (Kind.TIME, 7),
    ]
    assert example(1) == frame(Kind.ACK, 1, hop_frames.ACK.pack(State.ARMED, Reason.NONE, 0, 0, 2.5e-6))
    times = (1_000_000_000, 500_000_000, 50_000, 2.5e-6, State.ARMED, Reason.NONE, 0)
    assert example(4) == frame(Kind.TIME, 7, hop_frames.TIME.pack(*times))
    hops, dwell_height = hop_frames.plan_of(received[2][2])
    assert (hops.x.tolist(), hops.pixel.tolist(), hops.until_ns) == ([1e-6], [3], 2**62)
    assert (hops.parameters.fall_rate, hops.parameters.setpoint, hops.tip_potential) == (3e-5, 0.02, 0.7)
    assert np.isnan(dwell_height)


def test_the_example_is_what_the_driver_writes_and_reads() -> None:
    one = replace(plan(1), x=np.array([1e-6]), pixel=np.array([3], np.int32))
    assert example(2)[20:] == hop_wire.plan_payload(one, 2**62)
    assert hop_wire.acknowledged(example(1)[20:]) == (1, 0, False, 2.5e-6)
    time = hop_wire._time_of(example(4)[20:])
    assert (time.device_ns, time.ticks, time.z, time.state) == (500_000_000, 50_000, 2.5e-6, 1)


# -- any bytes


class Bare(hop_wire.HopLine):
    """A line without a socket."""

    def __init__(self) -> None:
        self._received = bytearray()


@given(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=400), st.lists(st.integers(1, 60)))
def test_frames_survive_any_cuts(kind: int, sequence: int, payload: bytes, cuts: list[int]) -> None:
    data = b"\x00HOHOPC" + frame(kind, sequence, payload) * 2
    server, taken, at = Frames(), [], 0
    for cut in [*cuts, len(data)]:
        taken += list(server.feed(data[at : at + cut]))
        at += cut
    assert taken == [(kind, sequence, payload)] * 2
    assert server.skipped == 7
    line, got, at = Bare(), [], 7
    for cut in [*cuts, len(data)]:
        got += line._frames(data[at : at + cut])
        at += cut
    assert got == taken


@given(st.binary(max_size=600))
def test_any_bytes_are_skipped_by_the_device_and_refused_by_the_host(data: bytes) -> None:
    assert list(Frames().feed(data)) == []
    with suppress(hop_wire.NotThis):
        assert Bare()._frames(data) == []


@given(st.integers(0, 40), st.integers(0, 7))
def test_one_wrong_bit_is_no_frame(byte: int, bit: int) -> None:
    data = bytearray(frame(Kind.BEAT, 3, bytes(range(21))))
    data[byte] ^= 1 << bit
    after = frame(Kind.ARM, 4, b"\x01")
    taken = list(Frames().feed(bytes(data) + after + bytes(1 << 20)[: 1 << 16]))
    assert (Kind.BEAT, 3, bytes(range(21))) not in taken


def test_endless_garbage_is_given_up() -> None:
    with pytest.raises(ValueError, match="bytes that are no frame"):
        list(Frames().feed(bytes(70_000)))


@pytest.fixture(scope="module")
def server() -> Iterator[HopServer]:
    one = HopServer(ReadyWorld(ready_pieces(4, 10)), device())
    yield one
    one.close()


class Raw:
    """A client of the server that sends what a test says."""

    def __init__(
        self, server: HopServer, client: int = 1, session: int = 1, versions: tuple[int, int] = (1, 1)
    ) -> None:
        host, _, port = server.address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 2.0)
        self._frames, self._waiting = Frames(), list[tuple[int, int, bytes]]()
        self.greeting = self.ask(Kind.HELLO, 0, hop_frames.HELLO.pack(*versions, client, 0, session, 1000, 4) + b"test")

    def ask(self, kind: int, sequence: int, payload: bytes = b"") -> tuple[int, int, bytes]:
        self.socket.sendall(frame(kind, sequence, payload))
        return self.next()

    def next(self) -> tuple[int, int, bytes]:
        while not self._waiting:
            data = self.socket.recv(1 << 16)
            if not data:
                return (0, 0, b"closed")
            self._waiting += self._frames.feed(data)
        return self._waiting.pop(0)

    def refused(self, kind: int, sequence: int, payload: bytes = b"") -> tuple[Refusal, str]:
        got, _, answer = self.ask(kind, sequence, payload)
        assert got == Kind.ERROR
        return Refusal(struct.unpack_from("<H", answer)[0]), answer[4:].decode()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def gone(server: HopServer) -> None:
    """Wait until the last controller may be followed by another."""
    waited = stopwatch()
    while server._controller is not None and not server._controller.closed.is_set() and waited() < 2.0:
        pause(0.005)
    server._state = State.IDLE


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=120)), max_size=6), st.booleans())
def test_no_message_ends_the_server(server: HopServer, messages: list[tuple[int, bytes]], greeted: bool) -> None:
    gone(server)
    with Raw(server) as client:
        if not greeted:
            client.socket.sendall(b"".join(payload for _, payload in messages))
        for k, (kind, payload) in enumerate(messages):
            client.socket.sendall(frame(kind, 100 + k, payload))
        answer = client.next() if messages and greeted else (Kind.ERROR, 0, b"")
        assert answer[0] in set(Kind)
    gone(server)
    with Raw(server) as client:
        assert client.greeting[0] == Kind.WELCOME


@given(st.integers(0x80, 0xFF), st.integers(0, 99), st.binary(max_size=300))
def test_no_message_ends_the_driver_otherwise_than_as_no_protocol(kind: int, sequence: int, payload: bytes) -> None:
    line = Bare()
    line.arrived = queue.SimpleQueue()
    line._answers, line._time = {}, hop_wire.TimeMap()
    numbers = [1.0, 4e-3, 4e-3, 4e-4, 3e-4, 1e-8, 3e-6, -1e-5, 1e-5, -4e-5, 4e-5, 1e-3, 2e-5]
    head = hop_frames.WELCOME.pack(1, 0, 2, 0, 1000, 250, 10_000, 8192, 1 << 18, *numbers)
    texts = b"".join(map(hop_frames.text_of, ("m", "s", "f"))) + b"".join(map(hop_frames.channel_of, CHANNELS))
    line.welcome = hop_wire._welcome(head + texts)
    with suppress(hop_wire.NotThis):
        line._take(kind, sequence, payload)
    with pytest.raises(hop_wire.NotThis, match="a greeting that cannot be read"):
        hop_wire._welcome(payload[:100])


# -- what the server refuses, and what it does only once


def test_versions_are_agreed_on_or_refused(server: HopServer) -> None:
    gone(server)
    with Raw(server, versions=(1, 9)) as client:
        assert client.greeting[0] == Kind.WELCOME
        assert client.greeting[2][0] == 1
    with Raw(server, client=2, versions=(2, 9)) as client:
        assert client.greeting[2][4:] == b"speaks version 1, not 2 to 9"
        assert client.next()[2] == b"closed"


def test_commands_in_the_wrong_state_are_refused(server: HopServer) -> None:
    gone(server)
    with Raw(server, session=5) as client:
        hops = hop_wire.plan_payload(plan(2), 2**62)
        assert client.refused(Kind.PLAN, 1, hops)[0] == Refusal.NOT_ARMED
        assert client.refused(0x33, 2) == (Refusal.UNKNOWN, "type 0x33 is unknown")
        assert client.refused(Kind.PLAN, 3, hops[:-1])[0] == Refusal.MALFORMED
        assert client.ask(Kind.ARM, 4, b"\x01")[0] == Kind.ACK
        assert client.refused(Kind.ABORT, 3)[0] == Refusal.OLD
        far = replace(plan(1), x=np.array([1.0]))
        assert client.refused(Kind.PLAN, 5, hop_wire.plan_payload(far, 0))[0] == Refusal.LIMIT
        none = plan(1)
        none.amplitude[0] = np.nan
        refused, text = client.refused(Kind.PLAN, 6, hop_wire.plan_payload(none, 0))
        assert refused == Refusal.LIMIT
        assert "hop amplitude is nan" in text
        with Raw(server, client=2, session=0) as safe:
            assert safe.refused(Kind.ARM, 1, b"\x01") == (
                Refusal.NOT_ALLOWED,
                "a safe client may withdraw and ask the time, nothing else",
            )


def test_a_repeated_plan_is_answered_and_not_run(server: HopServer) -> None:
    gone(server)
    hops, before = hop_wire.plan_payload(plan(3), 2**62), server.plans
    with Raw(server, session=6) as client:
        client.ask(Kind.ARM, 1, b"\x01")
        kind, _, answer = client.ask(Kind.PLAN, 2, hops)
        assert (kind, answer[2]) == (Kind.ACK, 0)
        while client.next()[0] != Kind.END:
            pass
        kind, _, answer = client.ask(Kind.PLAN, 2, hops)
        assert (kind, answer[2]) == (Kind.ACK, 1)
    with Raw(server, session=6) as again:  # on a new line of the same session too
        assert again.ask(Kind.PLAN, 2, hops)[2][2] == 1
    assert server.plans == before + 1


def test_a_frame_that_is_never_whole_closes_the_line(server: HopServer) -> None:
    gone(server)
    with Raw(server, session=7) as client:
        client.socket.sendall(frame(Kind.ARM, 1, b"\x01")[:-1])
        waited = stopwatch()
        assert client.next()[2] == b"closed"
        assert 0.5 < waited() < 2.0
