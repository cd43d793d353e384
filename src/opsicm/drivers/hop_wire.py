"""The host's side of the hop protocol, version 1: `docs/reference/hop-protocol.md`, byte by byte.

A `HopLine` is one connection. Its thread reads all that the device sends, and sends the heart-beats: a host that plans
its next hops, or compiles, is alive, and the device must not withdraw for it; one that is killed or stopped is not.
"""

from __future__ import annotations

import math
import queue
import select
import socket
import struct
import threading
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import HOP_DTYPE, Channel, SampleBlock, channel
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.link import NOTICED, TIMEOUT
from opsicm.instruments.roles import HopPlan

HELLO, ARM, PLAN, ABORT, WITHDRAW, BEAT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ACK, WELCOME, TIME, ERROR = 0x80, 0x81, 0x86, 0x8F
BLOCK, RECORDS, END = 0xC1, 0xC2, 0xC3
CONTROLLER, SAFE_CLIENT = 1, 2
BUSY = 10
STATES: Final = ("idle", "armed", "running", "latched safe")
REASONS: Final = (
    "nothing",
    "completed",
    "aborted",
    "overload",
    "it had heard nothing for too long",
    "its line broke",
    "a safe client has withdrawn it",
    "withdrawn",
    "a fault of its own",
)
RUNNING, LATCHED = 2, 3
SILENCE, LINE = 4, 5

_MAGIC: Final = b"HOPC"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<4sBBHIII")
_LONGEST: Final = 1 << 20
_WELCOME: Final = struct.Struct("<4B2H3I13d")
_ACK: Final = struct.Struct("<4Bd")
_TIME: Final = struct.Struct("<QqQd2BH")
_BLOCK: Final = struct.Struct("<Iiqq I2H")
_END: Final = struct.Struct("<2BH2Iq")
_HOP: Final = np.dtype([("x", "<f8"), ("y", "<f8"), ("amplitude", "<f8"), ("line", "<i4"), ("pixel", "<i4")])
_RECORD: Final = HOP_DTYPE.newbyteorder("<")  # the same fields in the same order; a test holds it to the specification
_SENT: Final = 2  # times on one line; a late answer is then in time, and a new line is still tried within `NOTICED`
_BEATS: Final = 5  # in the silence that the device allows
_WINDOW: Final = 64  # exchanges of times that are kept
_RECENT: Final = 8  # of them, the best of which says the offset
_SETTLED_NS: Final = 2_000_000_000  # of exchanges before their slope is believed more than what the device states
_DRIFT: Final = 1e-3  # [1] by which a device's clock may be off; quartz is off by 1e-4 at most
_SLACK_NS: Final = 2_000_000  # of a tick counter against the clock of the same device


class NotThis(OSError):
    """What arrived is not the protocol."""


class Refused(Exception):
    """The device understands and refuses, with a code of the specification and its own words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the device states of itself. `speed` is that of its time against the host's: 1 for hardware."""

    state: int
    silence: float
    grace: float
    most_hops: int
    speed: float
    timing: HopTiming
    start_height: float
    z_range: tuple[float, float]
    xy_range: tuple[float, float]
    fastest: float
    largest_amplitude: float
    model: str
    serial: str
    firmware: str
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """The device's clock [ns], sample counter and height [m]; `host_ns` is the middle of the exchange, `trip_ns` its
    length.
    """

    host_ns: int
    trip_ns: int
    device_ns: int
    ticks: int
    z: float
    state: int
    reason: int


@dataclass(frozen=True, slots=True)
class End:
    """How a plan ended: reason, and how many hops and blocks the device has sent."""

    reason: int
    hops: int
    blocks: int


Arrived = SampleBlock | NDArray[Any] | End | OSError
"""What a plan brings: a block, records, its end, or why nothing more can come."""


class TimeMap:
    """The device's clock against the host's: offset and rate from the exchanges that took the shortest time.

    An exchange knows the device's time at its middle to half its length. The rate is what the device states until two
    seconds of exchanges are there; then it is the slope between the best of the older and of the newer half. The map
    outlives a connection: a device that has been restarted meanwhile counts anew, and that shows. `wrong` says why the
    device's time cannot be believed, and stays; it is empty while it can.
    """

    def __init__(self) -> None:
        self.wrong = ""
        self.rate = 1.0
        self._exchanges: deque[DeviceTime] = deque(maxlen=_WINDOW)
        self._anchor: DeviceTime | None = None

    def add(self, time: DeviceTime, speed: float, dt_ns: int) -> None:
        """One more exchange with a device that states this speed and sample period."""
        self.wrong = self.wrong or self._contradiction(time, speed, dt_ns)
        self._exchanges.append(time)
        each = list(self._exchanges)
        self.rate = _slope(each) or speed
        self._anchor = _best(each[-_RECENT:])  # replaced as a whole: another thread reads it

    def device_ns(self, host_ns: int) -> int:
        """The device's time at a time of the host's monotonic clock."""
        anchor = self._anchor
        assert anchor is not None
        return anchor.device_ns + round((host_ns - anchor.host_ns) * self.rate)

    def _contradiction(self, time: DeviceTime, speed: float, dt_ns: int) -> str:
        """Its counter against its clock, and its clock against the host's."""
        counted = time.ticks * dt_ns
        if abs(counted - time.device_ns) > _SLACK_NS + _DRIFT * abs(time.device_ns):
            return (
                f"it has counted {time.ticks} samples of {dt_ns} ns, and its clock says {time.device_ns * 1e-9:.6f} s"
            )
        if not self._exchanges:
            return ""
        first = _best(list(self._exchanges))
        host, device = (time.host_ns - first.host_ns) * speed, time.device_ns - first.device_ns
        uncertain = 0.5 * (time.trip_ns + first.trip_ns) * speed + _DRIFT * abs(host) + _SLACK_NS
        if abs(device - host) > uncertain:
            return f"its clock has gone on by {device * 1e-9:.6f} s in {host * 1e-9:.6f} s"
        return ""


def _best(exchanges: list[DeviceTime]) -> DeviceTime:
    return min(exchanges, key=lambda each: each.trip_ns)


def _slope(exchanges: list[DeviceTime]) -> float | None:
    older, newer = _best(exchanges[: len(exchanges) // 2 or 1]), _best(exchanges[len(exchanges) // 2 :])
    if newer.host_ns - older.host_ns < _SETTLED_NS:
        return None
    return (newer.device_ns - older.device_ns) / (newer.host_ns - older.host_ns)


class HopLine:
    """One connection to a hop controller; raises `OSError` where the line fails, `Refused` where the device does.

    `peer` is the numeric address that answered: a name that is looked up has no time-out, and is not looked up twice.
    `time` is kept by whoever connects, over all connections of a session; `patience` [s] is for the greeting.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client: int,
        session: int,
        silence: float,
        name: str,
        time: TimeMap,
        patience: float = TIMEOUT,
    ) -> None:
        self._socket = socket.create_connection((host, port), patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer: tuple[str, int] = self._socket.getpeername()[:2]
        self._sending = threading.Lock()
        self._answers: dict[tuple[int, int], queue.SimpleQueue[tuple[int, bytes] | OSError]] = {}
        self._received = bytearray()
        self.arrived: queue.SimpleQueue[tuple[int, Arrived]] = queue.SimpleQueue()
        """What plans bring, each with the sequence of its plan."""
        self.last_time: DeviceTime | None = None
        self.heard_ns = monotonic_ns()
        self._beat_sequence = 0
        self._failure: OSError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._read, name="hop-line", daemon=True)
        try:
            hello = struct.pack(
                "<4BQHB", _VERSION, _VERSION, client, 0, session, round(silence * 1e3), len(name.encode())
            )
            self.welcome = _welcome(self._greeting(hello + name.encode(), patience))
        except (OSError, Refused):
            self._socket.close()
            raise
        self._time = time
        self._beat_ns = round(self.welcome.silence / _BEATS * 1e9) if client == CONTROLLER else 0
        self._thread.start()

    # -- asked by the role

    def request(self, kind: int, sequence: int, payload: bytes = b"") -> bytes:
        """The payload of the answer to a command, which is sent `_SENT` times before this line is given up."""
        if self._failure is not None:
            raise self._failure
        answer: queue.SimpleQueue[tuple[int, bytes] | OSError] = queue.SimpleQueue()
        self._answers[kind == BEAT, sequence] = answer
        try:
            for _ in range(_SENT):
                self._send(kind, sequence, payload)
                with suppress(queue.Empty):
                    got = answer.get(timeout=TIMEOUT)
                    if isinstance(got, OSError):
                        raise got
                    return _accepted(*got)
        finally:
            self._answers.pop((kind == BEAT, sequence), None)
        raise TimeoutError(f"no answer in {_SENT * TIMEOUT:g} s")

    def exchange(self) -> DeviceTime:
        """The device's time now."""
        self.request(BEAT, self._beat_number(), struct.pack("<Q", monotonic_ns()))
        assert self.last_time is not None
        return self.last_time

    def close(self) -> None:
        """Close the connection; the device withdraws unless the session comes back."""
        self._closing = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(NOTICED)
        self._socket.close()

    # -- the line

    def _send(self, kind: int, sequence: int, payload: bytes) -> None:
        covered = struct.pack("<BBHII", _VERSION, kind, 0, sequence, len(payload))
        with self._sending:
            self._socket.sendall(
                _MAGIC + covered + struct.pack("<I", zlib.crc32(payload, zlib.crc32(covered))) + payload
            )

    def _beat_number(self) -> int:
        self._beat_sequence = (self._beat_sequence + 1) & 0xFFFFFFFF
        return self._beat_sequence

    def _greeting(self, hello: bytes, patience: float) -> bytes:
        self._socket.settimeout(patience)
        waited = stopwatch()
        self._send(HELLO, 0, hello)
        while waited() < patience:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the device has closed the line")
            for kind, _, payload in self._frames(data):
                self._socket.settimeout(NOTICED)
                return _accepted(kind, payload)
        raise TimeoutError("no greeting")

    def _read(self) -> None:
        """Until the line ends: take what arrives, beat in time."""
        beat_ns = monotonic_ns()
        try:
            while not self._closing:
                wait = NOTICED
                if self._beat_ns:
                    if (left := beat_ns - monotonic_ns()) <= 0:
                        self._send(BEAT, self._beat_number(), struct.pack("<Q", monotonic_ns()))
                        beat_ns, left = monotonic_ns() + self._beat_ns, self._beat_ns
                    if monotonic_ns() - self.heard_ns > NOTICED * 1e9 + self._beat_ns:
                        raise TimeoutError(f"nothing heard for {NOTICED:g} s")
                    wait = left * 1e-9
                if not select.select([self._socket], [], [], wait)[0]:
                    continue
                data = self._socket.recv(1 << 18)
                if not data:
                    raise ConnectionResetError("the device has closed the line")
                self.heard_ns = monotonic_ns()
                for frame in self._frames(data):
                    self._take(*frame)
        except (OSError, ValueError) as error:  # ValueError: the socket was closed under `select`
            self._fail(error if isinstance(error, OSError) else ConnectionResetError(str(error)))

    def _fail(self, error: OSError) -> None:
        self._failure = error
        for answer in list(self._answers.values()):
            answer.put(error)
        self.arrived.put((0, error))
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _frames(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Every frame that is whole. A host does not resynchronise: a device that garbles a line needs a new one."""
        self._received += data
        frames, at, received = [], 0, self._received
        while len(received) - at >= _HEADER.size:
            magic, version, kind, _, sequence, length, crc = _HEADER.unpack_from(received, at)
            if magic != _MAGIC or version != _VERSION or length > _LONGEST:
                raise NotThis(f"what arrives is no frame: {bytes(received[at : at + 8]).hex(' ')} …")
            end = at + _HEADER.size + length
            if len(received) < end:
                break
            payload = bytes(received[at + _HEADER.size : end])
            if zlib.crc32(payload, zlib.crc32(bytes(received[at + 4 : at + _HEADER.size - 4]))) != crc:
                raise NotThis(f"a frame of type 0x{kind:02x} whose checksum is wrong")
            frames.append((kind, sequence, payload))
            at = end
        del received[:at]
        return frames

    def _take(self, kind: int, sequence: int, payload: bytes) -> None:
        try:
            if kind == BLOCK:
                self.arrived.put((sequence, _block(payload, self.welcome)))
            elif kind == RECORDS:
                self.arrived.put((sequence, _records(payload)))
            elif kind == END:
                reason, _, _, hops, blocks, _ = _END.unpack(payload)
                self.arrived.put((sequence, End(reason, hops, blocks)))
            else:
                if kind == TIME:
                    self.last_time = _time_of(payload)
                    self._time.add(self.last_time, self.welcome.speed, self.welcome.timing.dt_ns)
                if (answer := self._answers.get((kind == TIME, sequence))) is not None:
                    answer.put((kind, payload))
        except (struct.error, ValueError, LookupError) as error:
            raise NotThis(f"a frame of type 0x{kind:02x} that cannot be read: {error}") from error


def plan_payload(plan: HopPlan, until_ns: int, rise_to: float = math.nan) -> bytes:
    """The payload of PLAN; `until_ns` on the device's clock; a plan without hops withdraws to `rise_to` [m] first."""
    p = plan.parameters
    numbers = (plan.tip_potential, p.fall_rate, p.setpoint, p.approach, p.amplitude, rise_to)
    hops = np.zeros(plan.x.size, _HOP)
    for name in ("x", "y", "amplitude", "line", "pixel"):
        hops[name] = getattr(plan, name)
    return struct.pack("<iqq6dI", plan.segment, plan.first_hop, until_ns, *numbers, plan.x.size) + hops.tobytes()


def acknowledged(payload: bytes) -> tuple[int, int, bool, float]:
    """(state, reason, whether the command had been executed before, height [m]) of an ACK."""
    state, reason, repeated, _, z = _ACK.unpack(payload)
    return state, reason, bool(repeated), z


def _accepted(kind: int, payload: bytes) -> bytes:
    if kind != ERROR:
        return payload
    code, n = struct.unpack_from("<HH", payload)
    text = payload[4 : 4 + n].decode(errors="replace")
    if code == BUSY:
        raise TimeoutError(f"it says that it is busy ({text})")
    raise Refused(code, text)


def _time_of(payload: bytes) -> DeviceTime:
    sent_ns, device_ns, ticks, z, state, reason, _ = _TIME.unpack(payload)
    now_ns = monotonic_ns()
    return DeviceTime((sent_ns + now_ns) // 2, now_ns - sent_ns, device_ns, ticks, z, state, reason)


def _block(payload: bytes, welcome: Welcome) -> SampleBlock:
    _, segment, first, t0_ns, rows, columns, _ = _BLOCK.unpack_from(payload)
    if columns != len(welcome.channels):
        raise ValueError(f"{columns} channels where it has stated {len(welcome.channels)}")
    quality = np.frombuffer(payload, np.uint8, columns, _BLOCK.size).copy()
    counts = (
        np.frombuffer(payload, "<i2", rows * columns, _BLOCK.size + columns).astype(np.int16).reshape(rows, columns)
    )
    return SampleBlock(segment, first, t0_ns, welcome.timing.dt_ns, counts, quality)


def _records(payload: bytes) -> NDArray[Any]:
    (n,) = struct.unpack_from("<I", payload)
    return np.frombuffer(payload, _RECORD, n, 4).astype(HOP_DTYPE)


def _welcome(payload: bytes) -> Welcome:
    try:
        return _read_welcome(payload)
    except (struct.error, ValueError, LookupError) as error:
        raise NotThis(f"a greeting that cannot be read: {error}") from error


def _read_welcome(payload: bytes) -> Welcome:
    version, state, n, _, silence, grace, dt_ns, most_hops, _, *numbers = _WELCOME.unpack_from(payload)
    speed, settle, reference, withdraw, latency, overload, start, z0, z1, xy0, xy1, fastest, largest = numbers
    if (
        version != _VERSION
        or not all(map(math.isfinite, numbers))
        or not (speed > 0.0 and dt_ns > 0 and withdraw > 0.0)
    ):
        raise ValueError(f"version {version}, a sample every {dt_ns} ns, numbers {numbers}")
    at = _WELCOME.size

    def text() -> str:
        nonlocal at
        length = payload[at]
        at += 1 + length
        return payload[at - length : at].decode()

    model, serial, firmware = text(), text(), text()
    channels = []
    for _ in range(n):
        scale, offset, filter_Hz = struct.unpack_from("<3d", payload, at)
        at += 24
        name, source = text(), text()
        channels.append(channel(name, scale, source, offset, filter_Hz or None))
    return Welcome(
        state,
        silence * 1e-3,
        grace * 1e-3,
        most_hops,
        speed,
        HopTiming(settle, reference, withdraw, latency, overload, dt_ns),
        start,
        (z0, z1),
        (xy0, xy1),
        fastest,
        largest,
        model,
        serial,
        firmware,
        tuple(channels),
    )
