"""The reference server of the hop protocol, version 1: what `docs/reference/hop-protocol.md` says, byte by byte.

Behind it stands the pure hop step in the twin's compiled loop; it may be read beside the specification.
It serves one controller at a time and any number of safe clients. It knows the specification and no driver.
"""

from __future__ import annotations

import math
import queue
import random
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OpsicmError
from opsicm.core.facts import Channel, Outcome, Quality, SampleBlock
from opsicm.emulators.hop_frames import (
    ACK,
    BEAT,
    BLOCK,
    END,
    ERROR,
    HELLO,
    RECORD,
    RECORDS,
    SAFE_CLIENT,
    TIME,
    VERSION,
    WELCOME,
    Frames,
    Kind,
    Reason,
    Refusal,
    State,
    channel_of,
    frame,
    plan_of,
    text_of,
)
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.emulators.tcp_server import listening
from opsicm.emulators.wire_faults import WireFaults
from opsicm.instruments.clock import monotonic_ns, pause
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.roles import HopPlan, PlanOutcome, Rig
from opsicm.twin.hop_controller import OnBlock, TwinHopController

# -- What this device states of itself.

_SILENCE_MS: Final = (200, 5000)  # the shortest and longest silence that a controller may ask for
_GRACE_MS: Final = 250  # for the same session to come back after its line broke
_MOST_HOPS: Final = 8192
_BLOCK_BYTES: Final = 1 << 18  # of counts in one frame
_IDLE_NS: Final = 2_000_000_000  # of the world's time that sampling goes on after a plan
_REMEMBERED: Final = 32  # replies, for commands that are repeated
_MOST_QUEUED: Final = 64 << 20  # [bytes] to a client that does not read: blocks beyond are lost, as their index shows
_TICK: Final = 0.02  # [s] between two looks at the silence of the controller
_PEER_TIMEOUT: Final = 1.0  # [s] within which a frame that has begun must be whole


Answer = TypeVar("Answer")


class HopWorld(Protocol):
    """What a server needs of what it drives; `PacedWorld` is one."""

    speed: float

    def ask(self, what: Callable[[Rig], Answer]) -> Answer: ...
    def hop(self, plan: HopPlan, stop: Callable[[], bool], on_block: OnBlock | None = None) -> PlanOutcome: ...
    def rest(self) -> None: ...
    def now_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Device:
    """What WELCOME says. Ranges and heights [m], rates [m/s]."""

    timing: HopTiming
    start_height: float
    channels: tuple[Channel, ...]
    z_range: tuple[float, float]
    xy_range: tuple[float, float]
    fastest: float = 1e-3
    largest_amplitude: float = 2e-5
    model: str = "opsicm reference server"
    serial: str = "0"
    firmware: str = "1"


class _Refused(Exception):
    def __init__(self, code: Refusal, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class _Line:
    """One client: a thread that reads, one that writes, so that whoever has something to send never waits."""

    def __init__(self, client: socket.socket, serve: Callable[[_Line, int, int, bytes], None]) -> None:
        self._socket = client
        self.peer = "{}:{}".format(*client.getpeername()[:2])
        self.name, self.session, self.safe_client, self.greeted = "", 0, False, False
        self.closed = threading.Event()
        self.muted = False
        self._serve = serve
        self._queued = 0
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        client.settimeout(_PEER_TIMEOUT)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for work in (self._read, self._write):
            threading.Thread(target=work, name="hop-server-line", daemon=True).start()

    def send(self, data: bytes, may_be_lost: bool = False) -> bool:
        """Whether it was queued: samples for a client that does not read are lost, nothing else is."""
        if self.muted or (may_be_lost and self._queued > _MOST_QUEUED):
            return False
        self._queued += len(data)
        self._queue.put(data)
        return True

    def close(self, reset: bool = False) -> None:
        """Close once what is queued has been sent; `reset`: at once, as a device that loses its power."""
        if reset:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._socket.close()
            self.closed.set()
        self._queue.put(None)

    def _read(self) -> None:
        frames = Frames()
        with suppress(OSError, ValueError):
            while not self.closed.is_set():
                try:
                    data = self._socket.recv(1 << 16)
                except TimeoutError:
                    if frames.waiting:
                        break  # half a frame and no more: the other half would be taken for the next one
                    continue
                if not data:
                    break
                for kind, sequence, payload in frames.feed(data):
                    self._serve(self, kind, sequence, payload)
        self.closed.set()
        self._queue.put(None)

    def _write(self) -> None:
        with suppress(OSError):
            while (data := self._queue.get()) is not None:
                self._queued -= len(data)
                self._socket.sendall(data)
        self.closed.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class HopServer:
    """Serves `world` at `address`, `127.0.0.1:PORT`; afterwards it says the port, where it was 0."""

    def __init__(self, world: HopWorld, device: Device, address: str = "127.0.0.1:0") -> None:
        self._world, self._device = world, device
        kinds = "late silent busy partial reset garbage nan stuck unavailable latched ticks overload"
        self.faults = WireFaults("the hop controller", kinds.split())
        self._lock = threading.RLock()
        self._state, self._reason = State.IDLE, Reason.NONE
        self._controller: _Line | None = None
        self._lines: list[_Line] = []
        self._heard_ns, self._lost_ns = monotonic_ns(), 0
        self._silence_ms = _SILENCE_MS[1]
        self._replies: OrderedDict[int, bytes] = OrderedDict()
        self._newest = 0
        self._stop = threading.Event()
        self._stream: _Stream | None = None
        self._end_reason = Reason.COMPLETED
        self._last_time: tuple[int, float] | None = None
        self.plans = 0
        """How many plans have been run: a repeated one is not."""
        self.greeted = 0
        """How many times a controller has been greeted, on a line of its own each time."""
        self._closing = threading.Event()
        self._listener = listening(address)
        self._listener.settimeout(_TICK)
        self.address = "{}:{}".format(*self._listener.getsockname()[:2])
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._accept, self._listen_for_silence)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def state(self) -> State:
        """The device's state now."""
        return self._state

    def close(self) -> None:
        """Leave the wire."""
        self._closing.set()
        self._stop.set()
        self._world.rest()
        for thread in self._threads:
            thread.join(2.0)
        self._listener.close()
        for line in self._lines:
            line.close(reset=True)

    # -- who is there

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client = self._listener.accept()[0]
            except TimeoutError:
                continue
            except OSError:
                return
            if self.faults.takes("unavailable") is not None:
                client.close()
                continue
            self._lines = [line for line in self._lines if not line.closed.is_set()]
            self._lines.append(_Line(client, self._receive))

    def _listen_for_silence(self) -> None:
        """Withdraw and latch when the controller says nothing, or its line is gone and it does not come back."""
        while not self._closing.is_set():
            pause(_TICK)
            with self._lock:
                if self._controller is None or self._state in (State.IDLE, State.LATCHED):
                    continue
                now_ns = monotonic_ns()
                if self._controller.closed.is_set():
                    self._lost_ns = self._lost_ns or now_ns
                    self._end_plan(Reason.LINE)
                    if now_ns - self._lost_ns > _GRACE_MS * 1_000_000:
                        self._latch(Reason.LINE)
                elif now_ns - self._heard_ns > self._silence_ms * 1_000_000:
                    self._latch(Reason.SILENCE)

    def _latch(self, reason: Reason) -> None:
        self._withdraw(reason)
        self._state, self._reason = State.LATCHED, reason

    def _end_plan(self, reason: Reason) -> None:
        if self._state is State.RUNNING and not self._stop.is_set():
            self._end_reason = reason
            self._stop.set()

    def _withdraw(self, reason: Reason) -> float:
        """Up at once, whatever runs; the height [m] then."""
        self._end_plan(reason)
        if self._stream is not None:
            self._stream.rest()

        def up(rig: Rig) -> float:
            rig.hop_controller.safe()
            return rig.scanner.read_z()

        return self._world.ask(up)

    # -- commands

    def _receive(self, line: _Line, kind: int, sequence: int, payload: bytes) -> None:
        with self._lock:
            try:
                self._obey(line, kind, sequence, payload)
            except _Refused as refused:
                self._refuse(line, sequence, refused)
            except OpsicmError as error:  # before ValueError, which a value out of bounds is too
                self._refuse(line, sequence, _Refused(Refusal.LIMIT, str(error)))
            except (struct.error, ValueError) as error:
                self._refuse(line, sequence, _Refused(Refusal.MALFORMED, f"type 0x{kind:02x}: {error}"))

    def _refuse(self, line: _Line, sequence: int, refused: _Refused) -> None:
        text = refused.text.encode()[:1000].decode(errors="ignore").encode()
        line.send(frame(Kind.ERROR, sequence, ERROR.pack(refused.code, len(text)) + text))
        if not line.greeted:
            line.close()

    def _obey(self, line: _Line, kind: int, sequence: int, payload: bytes) -> None:
        if kind == Kind.HELLO:
            self._greet(line, sequence, payload)
            return
        if not line.greeted:
            raise _Refused(Refusal.NOT_ALLOWED, "say HELLO first")
        if line is self._controller:
            self._heard_ns = monotonic_ns()
        elif not line.safe_client:
            raise _Refused(Refusal.NOT_ALLOWED, "this session has been taken over by another line")
        if kind == Kind.BEAT:
            (echo,) = BEAT.unpack(payload)
            self._answer(line, Kind.TIME, sequence, self._time(echo))
        elif kind == Kind.WITHDRAW:
            self._obey_withdraw(line, sequence)
        elif line.safe_client:
            raise _Refused(Refusal.NOT_ALLOWED, "a safe client may withdraw and ask the time, nothing else")
        elif (reply := self._replies.get(sequence)) is not None:
            # Repeated: executed the first time. Byte 2 of an ACK says so.
            self._send(line, reply)
        elif sequence <= self._newest:
            raise _Refused(Refusal.OLD, f"sequence {sequence} after {self._newest}")
        else:
            self._obey_new(line, kind, sequence, payload)

    def _obey_new(self, line: _Line, kind: int, sequence: int, payload: bytes) -> None:
        if self.faults.takes("busy") is not None:
            raise _Refused(Refusal.BUSY, "busy; ask again")
        if kind == Kind.ARM:
            (armed,) = struct.unpack("<B", payload)
            if self._state is State.RUNNING:
                raise _Refused(Refusal.RUNNING, "a plan is running")
            self._state, self._reason = (State.ARMED if armed else State.IDLE), Reason.NONE
            self._acknowledge(line, sequence)
        elif kind == Kind.ABORT:
            self._end_plan(Reason.ABORTED)
            self._acknowledge(line, sequence)
        elif kind == Kind.PLAN:
            plan, dwell_height = plan_of(payload)
            self._check(plan, dwell_height)
            latched = self.faults.takes("latched") is not None
            if not latched:
                self._state = State.RUNNING
            self._acknowledge(line, sequence)
            if not latched:
                self._start(line, sequence, plan, dwell_height)
        else:
            raise _Refused(Refusal.UNKNOWN, f"type 0x{kind:02x} is unknown")

    def _greet(self, line: _Line, sequence: int, payload: bytes) -> None:
        lowest, highest, client, _, session, silence_ms, n = HELLO.unpack_from(payload)
        name = payload[HELLO.size : HELLO.size + n]
        if len(name) != n or client not in (1, SAFE_CLIENT):
            raise ValueError("a HELLO with an unknown client, or too short")
        if not lowest <= VERSION <= highest:
            raise _Refused(Refusal.VERSION, f"speaks version {VERSION}, not {lowest} to {highest}")
        line.name, line.session, line.safe_client = name.decode(), session, client == SAFE_CLIENT
        if not line.safe_client:
            self._admit(line, silence_ms)
        line.greeted = True
        self._answer(line, Kind.WELCOME, sequence, self._welcome())

    def _admit(self, line: _Line, silence_ms: int) -> None:
        """Take a controller: the first, one whose predecessor is gone, or the same session on a new line."""
        before = self._controller
        if before is not None and before.session != line.session:
            if not before.closed.is_set():
                raise _Refused(Refusal.IN_USE, f"in use by {before.name} at {before.peer}")
            if self._state in (State.ARMED, State.RUNNING):
                raise _Refused(Refusal.IN_USE, f"{before.name} has gone and may come back within {_GRACE_MS} ms")
        if before is None or before.session != line.session:
            self._replies.clear()
            self._newest = 0
        else:
            self._end_plan(Reason.LINE)  # what it has streamed to the line before may not have arrived
            before.close(reset=True)
        self._controller, self._heard_ns, self._lost_ns = line, monotonic_ns(), 0
        self.greeted += 1
        self._silence_ms = min(max(silence_ms, _SILENCE_MS[0]), _SILENCE_MS[1])

    def _welcome(self) -> bytes:
        device, timing = self._device, self._device.timing
        head = WELCOME.pack(
            VERSION,
            self._state,
            len(device.channels),
            0,
            self._silence_ms,
            _GRACE_MS,
            timing.dt_ns,
            _MOST_HOPS,
            _BLOCK_BYTES,
            self._world.speed,
            timing.settle,
            timing.reference,
            timing.withdraw_rate,
            timing.latency,
            timing.overload,
            device.start_height,
            *device.z_range,
            *device.xy_range,
            device.fastest,
            device.largest_amplitude,
        )
        texts = b"".join(map(text_of, (device.model, device.serial, device.firmware)))
        return head + texts + b"".join(map(channel_of, device.channels))

    def _obey_withdraw(self, line: _Line, sequence: int) -> None:
        """At any time, by anybody. By a safe client it latches: whoever needs it has reason not to trust the rest."""
        reason = Reason.SAFE_CLIENT if line.safe_client else Reason.WITHDRAWN
        z = self._withdraw(reason)
        if line.safe_client:
            self._state, self._reason = State.LATCHED, reason
        self._answer(line, Kind.ACK, sequence, ACK.pack(self._state, self._reason, 0, 0, z))

    def _acknowledge(self, line: _Line, sequence: int) -> None:
        z = self._height()
        self._newest = sequence
        self._replies[sequence] = frame(Kind.ACK, sequence, ACK.pack(self._state, self._reason, 1, 0, z))
        while len(self._replies) > _REMEMBERED:
            self._replies.popitem(last=False)
        self._answer(line, Kind.ACK, sequence, ACK.pack(self._state, self._reason, 0, 0, z))

    def _check(self, plan: HopPlan, dwell_height: float) -> None:
        device, p = self._device, plan.parameters
        if self._state is State.LATCHED:
            raise _Refused(Refusal.LATCHED, f"latched safe: {self._reason.name.lower()}; ARM takes the latch away")
        if self._state is State.RUNNING:
            raise _Refused(Refusal.RUNNING, "a plan is running")
        if self._state is State.IDLE:
            raise _Refused(Refusal.NOT_ARMED, "not armed")
        low, high = device.xy_range
        inside = np.all((plan.x >= low) & (plan.x <= high) & (plan.y >= low) & (plan.y <= high))
        largest = max(p.amplitude, float(plan.amplitude.max(initial=0.0)))
        depth = device.z_range[1] - device.z_range[0]
        for what, holds in (
            ("a position is outside the range", inside),
            (f"at most {_MOST_HOPS} hops", plan.x.size <= _MOST_HOPS),
            (f"fall rate at most {device.fastest:g} m/s", p.fall_rate <= device.fastest),
            (f"amplitude at most {device.largest_amplitude:g} m", largest <= device.largest_amplitude),
            (f"approach at most {depth:g} m, the range of z", p.approach <= depth),
            ("a tip potential is finite", math.isfinite(plan.tip_potential)),
            ("only a plan without hops has a dwell height", math.isnan(dwell_height) or not plan.x.size),
            ("a dwell height is within the range of z", not dwell_height > device.z_range[1]),
        ):
            if not holds:
                raise _Refused(Refusal.LIMIT, what)

    # -- a plan

    def _start(self, line: _Line, sequence: int, plan: HopPlan, dwell_height: float) -> None:
        self._stop.clear()
        self._end_reason = Reason.COMPLETED
        self.plans += 1
        overload = self.faults.takes("overload") is not None
        self._stream = stream = _Stream(line, sequence, self._device, self.faults, overload, self._world.rest)
        work = (stream, plan, dwell_height)
        threading.Thread(target=self._run, args=work, name="hop-server-plan", daemon=True).start()

    def _run(self, stream: _Stream, plan: HopPlan, dwell_height: float) -> None:
        def rise(rig: Rig) -> None:
            assert isinstance(rig.hop_controller, TwinHopController)
            rig.hop_controller.rise_to(dwell_height)

        def stop() -> bool:
            return self._stop.is_set() or stream.overloaded

        try:
            if not math.isnan(dwell_height):
                self._world.ask(rise)
            outcome = self._world.hop(plan, stop, stream.block)
            stream.rest_of(outcome.hops)
        except OpsicmError:
            self._end_reason = Reason.FAULT
        with self._lock:
            reason = Reason.OVERLOAD if stream.overloaded else self._end_reason
            if reason is Reason.FAULT:
                self._latch(reason)
            elif self._state is State.RUNNING:
                self._state = State.ARMED
            stream.end(reason, self._state)

    # -- answers, and what goes wrong with them

    def _height(self) -> float:
        """Measured z [m]; while a plan runs that of the last sample: a beat does not wait for the next piece."""
        if self._state is State.RUNNING and self._stream is not None and self._stream.z is not None:
            return self._stream.z
        return self._world.ask(lambda rig: rig.scanner.read_z())

    def _time(self, echo: int) -> bytes:
        now_ns, z = self._world.now_ns(), self._height()
        if self.faults.takes("stuck") is not None and self._last_time is not None:
            now_ns, z = self._last_time
        self._last_time = (now_ns, z)
        ticks = now_ns // self._device.timing.dt_ns
        if (factor := self.faults.takes("ticks")) is not None:
            ticks = round(ticks * factor) if factor else ticks & 0xFFFF
        if self.faults.takes("nan") is not None:
            z = math.nan
        return TIME.pack(echo, now_ns, ticks, z, self._state, self._reason, 0)

    def _answer(self, line: _Line, kind: Kind, sequence: int, payload: bytes) -> None:
        self._send(line, frame(kind, sequence, payload))

    def _send(self, line: _Line, data: bytes) -> None:
        if line.safe_client:  # faults are those of the controller's line
            line.send(data)
        elif self.faults.takes("reset") is not None:
            line.close(reset=True)
        elif self.faults.takes("partial") is not None:
            line.send(data[: len(data) // 2])
            line.muted = True
        elif self.faults.takes("garbage") is not None:
            line.send(random.Random(1).randbytes(len(data)))
        elif (late := self.faults.takes("late")) is not None:
            threading.Timer(late, line.send, (data,)).start()
        elif self.faults.takes("silent") is None:
            line.send(data)


class _Stream:
    """What a plan sends while it runs. `overloaded`: its input has been at the end of its range."""

    def __init__(
        self, line: _Line, sequence: int, device: Device, faults: WireFaults, overload: bool, rest: Callable[[], None]
    ) -> None:
        self._line, self._sequence, self._device, self._faults = line, sequence, device, faults
        self._overload, self._world_rest = overload, rest
        self.overloaded = False
        self._ended = self._resting = False
        self.z: float | None = None
        self._z_column = next((k for k, channel in enumerate(device.channels) if channel.name == "z"), None)
        self._blocks = self._hops = self._next_sample = 0
        self._ended_ns: int | None = None

    def rest(self) -> None:
        """Sample no more after the plan: a withdrawal ends the segment."""
        self._resting = True
        self._world_rest()

    def block(self, block: SampleBlock, records: NDArray[Any]) -> None:
        """One block in frames of at most `_BLOCK_BYTES`, and the records that are ready."""
        if self._ended and self._ended_ns is None:
            self._ended_ns = block.t0_ns
        if self._resting or (self._ended_ns is not None and block.t0_ns - self._ended_ns > _IDLE_NS):
            self._world_rest()
            return
        if self._overload and not self._ended:
            block, self.overloaded = self._clipped(block), True
        rows = max(1, _BLOCK_BYTES // (2 * block.counts.shape[1]))
        for k in range(0, block.counts.shape[0], rows):
            counts = np.ascontiguousarray(block.counts[k : k + rows], "<i2")
            t0_ns = block.t0_ns + k * block.dt_ns
            head = BLOCK.pack(self._blocks, block.segment, block.first_sample + k, t0_ns, *counts.shape, 0)
            self._send(Kind.BLOCK, head + block.quality.tobytes() + counts.tobytes(), may_be_lost=True)
            self._blocks += 1
        self._next_sample = block.first_sample + block.counts.shape[0]
        if self._z_column is not None and block.counts.size:
            self.z = float(self._device.channels[self._z_column].si(block.counts[-1, self._z_column]))
        self._records(records)

    def rest_of(self, hops: NDArray[Any]) -> None:
        """The records that have not been sent."""
        self._records(hops[self._hops :])

    def end(self, reason: Reason, state: State) -> None:
        """END, after everything else."""
        self._ended = True
        self._send(Kind.END, END.pack(reason, state, 0, self._hops, self._blocks, self._next_sample))

    def _records(self, records: NDArray[Any]) -> None:
        if not records.size:
            return
        packed = np.zeros(records.size, RECORD)
        for name in RECORD.names or ():
            packed[name] = records[name]
        if self._overload:
            packed["outcome"] = Outcome.OVERLOAD
        if self._faults.takes("nan") is not None:
            packed["z_stop"] = math.nan
        self._hops += records.size
        self._send(Kind.RECORDS, RECORDS.pack(records.size) + packed.tobytes())

    def _clipped(self, block: SampleBlock) -> SampleBlock:
        column = next(k for k, channel in enumerate(self._device.channels) if channel.name == "pipette_current")
        counts, quality = block.counts.copy(), block.quality.copy()
        counts[:, column], quality[column] = np.iinfo(np.int16).max, Quality.SATURATED
        return replace(block, counts=counts, quality=quality)

    def _send(self, kind: Kind, payload: bytes, may_be_lost: bool = False) -> None:
        self._line.send(frame(kind, self._sequence, payload), may_be_lost)


def serve(world: PacedWorld, entry: Entry) -> HopServer:
    """The hop controller of a rig file on the wire; its settings' `max_fall_nm_per_ms` is its own limit."""
    settings = entry.roles["hop_controller"].settings

    def device(rig: Rig) -> Device:
        controller = rig.hop_controller
        fastest = float(settings.get("max_fall_nm_per_ms", 1000.0)) * 1e-6
        ranges = (rig.scanner.z_range, rig.scanner.xy_range)
        return Device(controller.timing, controller.start_height, controller.channels, *ranges, fastest)

    return HopServer(world, world.ask(device), entry.address.removeprefix("tcp://"))
