"""NI's gRPC device server with one emulated card: the calls of NI-DAQmx that tasks for voltages and lines make.

Protocol: the servicer of the vendor's own published stubs, `nidaqmx._stubs.nidaqmx_pb2_grpc.NiDAQmxServicer`
(nidaqmx.proto of github.com/ni/grpc-device). Which calls and which attributes: `nidaqmx/_grpc_interpreter.py` and the
property files of the client, named beside each. How errors travel: status UNKNOWN with the DAQmx code in the trailing
metadata `ni-error`, read in `GrpcStubInterpreter._handle_rpc_error`; a read that fails answers its code in `status`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

import grpc
import numpy as np
from nidaqmx._stubs import nidaqmx_pb2 as messages
from nidaqmx._stubs import nidaqmx_pb2_grpc as service
from numpy.typing import NDArray

from opsicm.emulators.analogue_circuit import RANGE, AnalogueCircuit, device_of
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.emulators.tcp_server import loopback_port
from opsicm.emulators.wire_faults import WireFaults
from opsicm.instruments.clock import pause

# Codes and their words: nidaqmx/error_codes.py, and the help file of NI-DAQmx.
_RESERVED: Final = -50103
_INVALID_TASK: Final = -200088
_INVALID_ATTRIBUTE: Final = -200077
_NO_SUCH_CHANNEL: Final = -200170
_NO_SUCH_DEVICE: Final = -200220
_NO_LONGER_AVAILABLE: Final = -200279
_NOT_YET_AVAILABLE: Final = -200284
_INVALID_WRITE: Final = -200561
_WORDS: Final = {
    _RESERVED: "The specified resource is reserved. The operation could not be completed as specified.",
    _INVALID_TASK: "Task specified is invalid or does not exist.",
    _INVALID_ATTRIBUTE: "Requested value is not a supported value for this property.",
    _NO_SUCH_CHANNEL: "Physical channel specified does not exist on this device.",
    _NO_SUCH_DEVICE: "Device identifier is invalid.",
    _NO_LONGER_AVAILABLE: "The application is not able to keep up with the hardware acquisition.",
    _NOT_YET_AVAILABLE: "Some or all of the samples requested have not yet been acquired.",
    _INVALID_WRITE: "Attempted writing analog data that is too large or too small.",
}
# Attributes by their numbers in nidaqmx/system/device.py, system/system.py, task/_task.py and task/_in_stream.py.
_VERSION: Final = {0x1272: 25, 0x1923: 5, 0x2F22: 0}
_DEVICE_TEXT: Final = {0x0631: "X series (emulated)"}
_DEVICE_NUMBER: Final = {0x0632: 0x0511C0DE}
_DEVICE_REAL: Final = {0x298D: 1.0e6, 0x298C: 2.0e6}
_RANGES: Final = {0x2990, 0x299B}
_IS_SIMULATED: Final = 0x22CA
_TASK_NAME, _TASK_CHANNELS, _TASK_CHANNEL_COUNT = 0x1276, 0x1273, 0x2181
_AVAILABLE, _TO_READ, _POSITION, _ACQUIRED = 0x1223, 0x31E8, 0x1221, 0x192A
_READ_CHANNELS: Final = 0x217B
_RELATIVE_TO, _OFFSET = 0x190A, 0x190B
_MOST_RECENT, _CURRENT_POSITION = 10428, 10425  # constants.py: ReadRelativeTo
_BUFFER: Final = 0x186C
_GROUPED_BY_CHANNEL: Final = 0  # constants.py: FillMode
_CONTINUOUS: Final = 10123  # constants.py: AcquisitionType
# Kind of task → the terminals' name and how many there are, and the client's number of it (constants.py: ChannelType).
_TERMINALS: Final = {"ai": ("ai", 32), "ao": ("ao", 8), "do": ("port0/line", 32), "di": ("port0/line", 32)}
_CHANNEL_TYPES: Final = {"ai": 10100, "ao": 10102, "di": 10151, "do": 10153}
_CHANNEL_TYPE, _MEASUREMENT, _VOLTAGE = 0x187F, 0x0695, 10322
_NAMES_TO_READ, _BOOLEANS_TO_READ, _BOOLEANS_TO_WRITE = 0x1823, 0x217C, 0x217F
_ARRAY_TAG: Final = bytes([messages.ReadAnalogF64Response.DESCRIPTOR.fields_by_name["read_array"].number << 3 | 2])
_LONGEST_WAIT: Final = 10.0  # [s]
_LOOK: Final = 0.05  # [s] between two looks whether the client still waits for its samples
FAULTS: Final = ("unavailable", "late", "silent", "reset", "nan", "stuck", "overload", "detached", "ticks")


class _Refused(Exception):
    """A call that ends with a DAQmx status code."""

    def __init__(self, code: int) -> None:
        self.code = code


@dataclass(slots=True)
class _Task:
    """One DAQmx task: its channels by kind, its clock, and how far it has been read."""

    name: str
    kind: str = ""
    channels: list[str] = field(default_factory=list)
    rate: float = 0.0  # [Hz], 0: on demand
    buffer: int = 0  # samples of a channel
    started_ns: int | None = None  # world's time of the first sample
    position: int = 0
    relative_to: int = _CURRENT_POSITION
    offset: int = 0
    reserved: bool = False
    pace: float = 1.0  # of its clock, in units of the rate that was asked for
    stuck: NDArray[np.float64] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class NiGrpcServer:
    """The server and its card. `address` is what a rig file writes; faults as `WireFaults` words them."""

    def __init__(self, world: PacedWorld, circuit: AnalogueCircuit, device: str, host: str) -> None:
        self._world, self.circuit, self._device = world, circuit, device
        self.faults = WireFaults(f"NI card {device}", FAULTS)
        self._tasks: dict[str, _Task] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(16, "ni-server"),
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        service.add_NiDAQmxServicer_to_server(_Guarded(self), self._server)
        port = self._server.add_insecure_port(host)
        self.address = f"grpc://{host.rpartition(':')[0]}:{port}/{device}"
        self._server.start()
        self._idle = threading.Thread(target=self._follow_outputs, name="ni-outputs", daemon=True)
        self._idle.start()

    def close(self) -> None:
        """Leave the wire."""
        self._closed.set()
        self._server.stop(0.2).wait()
        self._idle.join()

    # -- System and device ------------------------------------------------------------------------------------------

    def GetSystemInfoAttributeUInt32(self, request: Any, _: Any) -> Any:
        return messages.GetSystemInfoAttributeUInt32Response(value=_known(_VERSION, request.attribute_raw))

    def GetDeviceAttributeString(self, request: Any, _: Any) -> Any:
        self._require_device(request.device_name)
        return messages.GetDeviceAttributeStringResponse(value=_known(_DEVICE_TEXT, request.attribute_raw))

    def GetDeviceAttributeUInt32(self, request: Any, _: Any) -> Any:
        self._require_device(request.device_name)
        return messages.GetDeviceAttributeUInt32Response(value=_known(_DEVICE_NUMBER, request.attribute_raw))

    def GetDeviceAttributeDouble(self, request: Any, _: Any) -> Any:
        self._require_device(request.device_name)
        return messages.GetDeviceAttributeDoubleResponse(value=_known(_DEVICE_REAL, request.attribute_raw))

    def GetDeviceAttributeDoubleArray(self, request: Any, _: Any) -> Any:
        self._require_device(request.device_name)
        if request.attribute_raw not in _RANGES:
            raise _Refused(_INVALID_ATTRIBUTE)
        return messages.GetDeviceAttributeDoubleArrayResponse(value=[-RANGE, RANGE])

    def GetDeviceAttributeBool(self, request: Any, _: Any) -> Any:
        self._require_device(request.device_name)
        if request.attribute_raw != _IS_SIMULATED:
            raise _Refused(_INVALID_ATTRIBUTE)
        return messages.GetDeviceAttributeBoolResponse(value=False)

    def GetSelfCalLastDateAndTime(self, request: Any, _: Any) -> Any:
        self._require_device(request.device_name)
        return messages.GetSelfCalLastDateAndTimeResponse(year=2026, month=11, day=2, hour=9, minute=30)

    def GetErrorString(self, request: Any, _: Any) -> Any:
        return messages.GetErrorStringResponse(error_string=_WORDS.get(request.error_code, ""))

    def ResetDevice(self, request: Any, _: Any) -> Any:
        self._require_device(request.device_name)
        with self._lock:
            self._tasks.clear()
        return messages.ResetDeviceResponse()

    # -- Tasks ------------------------------------------------------------------------------------------------------

    def CreateTask(self, request: Any, _: Any) -> Any:
        with self._lock:
            name = request.session_name or f"_unnamedTask<{next(self._numbers):X}>"
            new = name not in self._tasks
            if new:
                self._tasks[name] = _Task(name)
        response = messages.CreateTaskResponse(new_session_initialized=new)
        response.task.name = name
        return response

    def ClearTask(self, request: Any, _: Any) -> Any:
        with self._lock:
            self._tasks.pop(request.task.name, None)
        return messages.ClearTaskResponse()

    def StartTask(self, request: Any, _: Any) -> Any:
        self._start(self._task(request))
        return messages.StartTaskResponse()

    def StopTask(self, request: Any, _: Any) -> Any:
        task = self._task(request)
        task.started_ns, task.reserved = None, False
        return messages.StopTaskResponse()

    def TaskControl(self, request: Any, _: Any) -> Any:
        self._reserve(self._task(request))
        return messages.TaskControlResponse()

    def GetTaskAttributeString(self, request: Any, _: Any) -> Any:
        task = self._task(request)
        known = {_TASK_NAME: task.name, _TASK_CHANNELS: ", ".join(task.channels)}
        return messages.GetTaskAttributeStringResponse(value=_known(known, request.attribute_raw))

    def GetTaskAttributeUInt32(self, request: Any, _: Any) -> Any:
        known = {_TASK_CHANNEL_COUNT: len(self._task(request).channels)}
        return messages.GetTaskAttributeUInt32Response(value=_known(known, request.attribute_raw))

    def CreateAIVoltageChan(self, request: Any, _: Any) -> Any:
        self._add(request, "ai", request.physical_channel)
        return messages.CreateAIVoltageChanResponse()

    def CreateAOVoltageChan(self, request: Any, _: Any) -> Any:
        self._add(request, "ao", request.physical_channel)
        return messages.CreateAOVoltageChanResponse()

    def CreateDOChan(self, request: Any, _: Any) -> Any:
        self._add(request, "do", request.lines)
        return messages.CreateDOChanResponse()

    def CreateDIChan(self, request: Any, _: Any) -> Any:
        self._add(request, "di", request.lines)
        return messages.CreateDIChanResponse()

    def CfgSampClkTiming(self, request: Any, _: Any) -> Any:
        task = self._task(request)
        if request.rate * len(task.channels) > 16e6 or request.sample_mode_raw != _CONTINUOUS:
            raise _Refused(_INVALID_ATTRIBUTE)
        task.rate, task.buffer = request.rate, request.samps_per_chan
        return messages.CfgSampClkTimingResponse()

    def SetBufferAttributeUInt32(self, request: Any, _: Any) -> Any:
        if request.attribute_raw != _BUFFER:
            raise _Refused(_INVALID_ATTRIBUTE)
        self._task(request).buffer = request.value
        return messages.SetBufferAttributeUInt32Response()

    # -- Reading ----------------------------------------------------------------------------------------------------

    def GetReadAttributeUInt32(self, request: Any, _: Any) -> Any:
        task = self._task(request)
        available = self._acquired(task) - task.position
        known = {_AVAILABLE: available, _TO_READ: available, _READ_CHANNELS: len(task.channels), _BOOLEANS_TO_READ: 1}
        return messages.GetReadAttributeUInt32Response(value=_known(known, request.attribute_raw))

    def GetReadAttributeUInt64(self, request: Any, _: Any) -> Any:
        task = self._task(request)
        known = {_POSITION: task.position, _ACQUIRED: self._acquired(task)}
        return messages.GetReadAttributeUInt64Response(value=_known(known, request.attribute_raw))

    def GetReadAttributeString(self, request: Any, _: Any) -> Any:
        known = {_NAMES_TO_READ: ", ".join(self._task(request).channels)}
        return messages.GetReadAttributeStringResponse(value=_known(known, request.attribute_raw))

    def GetWriteAttributeUInt32(self, request: Any, _: Any) -> Any:
        self._task(request)
        return messages.GetWriteAttributeUInt32Response(value=_known({_BOOLEANS_TO_WRITE: 1}, request.attribute_raw))

    def GetChanAttributeInt32(self, request: Any, _: Any) -> Any:
        known = {_CHANNEL_TYPE: _CHANNEL_TYPES[self._task(request).kind], _MEASUREMENT: _VOLTAGE}
        return messages.GetChanAttributeInt32Response(value_raw=_known(known, request.attribute_raw))

    def SetReadAttributeInt32(self, request: Any, _: Any) -> Any:
        task = self._task(request)
        if request.attribute_raw == _RELATIVE_TO:
            task.relative_to = request.value_raw or request.value
        elif request.attribute_raw == _OFFSET:
            task.offset = request.value_raw or request.value
        else:
            raise _Refused(_INVALID_ATTRIBUTE)
        return messages.SetReadAttributeInt32Response()

    def ReadAnalogF64(self, request: Any, context: Any) -> Any:
        task = self._task(request)
        if task.kind != "ai":
            raise _Refused(_INVALID_TASK)
        n = request.num_samps_per_chan
        # A client that has given up leaves its call here: it must neither keep one of the threads that all calls share
        # nor take the samples of the one that comes after it.
        while not task.lock.acquire(timeout=_LOOK):
            if not context.is_active():
                raise _Refused(_NOT_YET_AVAILABLE)
        try:
            if task.started_ns is None:
                self._start(task)
            try:
                volts = self._read(task, n, min(request.timeout, _LONGEST_WAIT), context.is_active)
            except _Refused as refused:
                return messages.ReadAnalogF64Response(status=refused.code)
        finally:
            task.lock.release()
        if request.fill_mode_raw != _GROUPED_BY_CHANNEL:
            volts = np.ascontiguousarray(volts.T)
        # Packed doubles are their bytes (protobuf encoding, "packed repeated fields"): a list of them would take longer
        # than the samples to come.
        raw = volts.astype("<f8", copy=False).tobytes()
        response = messages.ReadAnalogF64Response.FromString(_ARRAY_TAG + _varint(len(raw)) + raw)
        response.samps_per_chan_read = n
        return response

    def _read(self, task: _Task, n: int, timeout: float, wanted: Callable[[], bool]) -> NDArray[np.float64]:
        if task.relative_to == _MOST_RECENT:
            task.position = max(0, self._acquired(task) + task.offset)
        left = timeout
        while (short := task.position + n - self._acquired(task)) > 0:
            wait = short / (task.rate * task.pace) / self._world.speed if task.rate else 0.0
            if not wanted() or left <= 0.0:
                raise _Refused(_NOT_YET_AVAILABLE)
            wait = min(max(wait, 2e-5), left, _LOOK)
            pause(wait)
            left -= wait
        if self._acquired(task) - task.position > task.buffer > 0:
            raise _Refused(_NO_LONGER_AVAILABLE)
        dt_ns = 1e9 / (task.rate * task.pace)
        assert task.started_ns is not None
        first_ns = task.started_ns + round(task.position * dt_ns)
        volts = self.circuit.sample(first_ns, n, dt_ns, task.channels)
        task.position += n
        return self._with_faults(task, volts)

    def _with_faults(self, task: _Task, volts: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a converter, a cable or an amplifier at its end make of the first channel."""
        if (factor := self.faults.takes("ticks")) is not None:
            acquired = self._acquired(task)
            task.pace *= factor  # from now on; what was sampled before was right
            task.started_ns = self._world.now_ns() - round(acquired / (task.rate * task.pace) * 1e9)
        if self.faults.takes("nan") is not None:
            volts[0] = np.nan
        if self.faults.takes("overload") is not None:
            volts[0] = RANGE
        if self.faults.takes("detached") is not None:
            volts[0] = 1e-3 * np.sin(np.arange(volts.shape[1]) * 0.01)  # what an open input picks up
        if self.faults.takes("stuck") is not None:
            task.stuck = volts[:, -1:] if task.stuck is None else task.stuck
            volts[:] = task.stuck
        else:
            task.stuck = None
        return volts

    # -- Writing ----------------------------------------------------------------------------------------------------

    def WriteAnalogScalarF64(self, request: Any, _: Any) -> Any:
        self._write(request, [request.value])
        return messages.WriteAnalogScalarF64Response()

    def WriteAnalogF64(self, request: Any, _: Any) -> Any:
        if request.num_samps_per_chan != 1:
            raise _Refused(_INVALID_ATTRIBUTE)
        self._write(request, list(request.write_array))
        return messages.WriteAnalogF64Response(samps_per_chan_written=1)

    def WriteDigitalLines(self, request: Any, _: Any) -> Any:
        task = self._writable(request, ("do",))
        for line, level in zip(task.channels, request.write_array, strict=True):
            self.circuit.set_line(line, bool(level))
        return messages.WriteDigitalLinesResponse(samps_per_chan_written=1)

    def ReadDigitalLines(self, request: Any, _: Any) -> Any:
        task = self._writable(request, ("do", "di"))
        levels = bytes(self.circuit.line(line) for line in task.channels)
        return messages.ReadDigitalLinesResponse(read_array=levels, samps_per_chan_read=1, num_bytes_per_samp=1)

    def _write(self, request: Any, values: list[float]) -> None:
        task = self._writable(request, ("ao",))
        for channel, volts in zip(task.channels, values, strict=True):
            if not abs(volts) <= RANGE:
                raise _Refused(_INVALID_WRITE)
            self.circuit.write(channel, volts)

    def _writable(self, request: Any, kinds: tuple[str, ...]) -> _Task:
        task = self._task(request)
        if task.kind not in kinds:
            raise _Refused(_INVALID_TASK)
        self._reserve(task)
        return task

    # -- What they share --------------------------------------------------------------------------------------------

    def _require_device(self, name: str) -> None:
        if name != self._device:
            raise _Refused(_NO_SUCH_DEVICE)

    def _task(self, request: Any) -> _Task:
        with self._lock:
            if request.task.name not in self._tasks:
                raise _Refused(_INVALID_TASK)
            return self._tasks[request.task.name]

    def _add(self, request: Any, kind: str, names: str) -> None:
        task = self._task(request)
        terminal, count = _TERMINALS[kind]
        known = {f"{self._device}/{terminal}{k}" for k in range(count)}
        wanted = [name.strip() for name in names.split(",")]
        if not known.issuperset(wanted):
            raise _Refused(_NO_SUCH_CHANNEL)
        task.kind = kind
        task.channels += wanted

    def _reserve(self, task: _Task) -> None:
        """Terminals belong to the task that reserved them first; the converter's clock to one task at a time."""
        with self._lock:
            if task.reserved:
                return
            for other in self._tasks.values():
                if other is not task and other.reserved:
                    shared = set(other.channels) & set(task.channels)
                    if shared or (task.kind == "ai" == other.kind):
                        raise _Refused(_RESERVED)
            task.reserved = True

    def _start(self, task: _Task) -> None:
        self._reserve(task)
        if task.started_ns is None:
            task.started_ns, task.position = self._world.now_ns(), 0

    def _acquired(self, task: _Task) -> int:
        if task.started_ns is None or not task.rate:
            return task.position
        return int((self._world.now_ns() - task.started_ns) * 1e-9 * task.rate * task.pace)

    def _follow_outputs(self) -> None:
        """Outputs act although nobody samples."""
        while not self._closed.wait(0.02):
            with self._lock:
                sampling = any(task.started_ns is not None and task.kind == "ai" for task in self._tasks.values())
            if not sampling:
                self.circuit.catch_up()

    def disturb(self, context: grpc.ServicerContext) -> None:
        """Faults of the wire and of the server, before a call is answered."""
        if self.faults.takes("unavailable") is not None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "server is being restarted")
        if (late := self.faults.takes("late")) is not None:
            pause(late)
        if self.faults.takes("silent") is not None:
            while context.is_active() and not self._closed.wait(0.01):  # until the client gives up
                pass
        if self.faults.takes("reset") is not None:
            with self._lock:
                self._tasks.clear()
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset by peer")


class _Guarded(service.NiDAQmxServicer):  # type: ignore[misc]
    """Every call of the service: faults first, then the answer, a refusal as the client expects it."""

    def __init__(self, server: NiGrpcServer) -> None:
        for name in vars(service.NiDAQmxServicer):
            if not name.startswith("_") and name in vars(NiGrpcServer):
                setattr(self, name, _guarded(server, getattr(server, name)))


def _guarded(server: NiGrpcServer, answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(request: Any, context: Any) -> Any:
        server.disturb(context)
        try:
            return answer(request, context)
        except _Refused as refused:
            _abort(context, refused.code)

    return call


def _abort(context: Any, code: int) -> NoReturn:
    context.set_trailing_metadata((("ni-error", str(code)),))
    context.abort(grpc.StatusCode.UNKNOWN, _WORDS[code])
    raise AssertionError("abort returns never")


def _known(values: dict[int, Any], attribute: int) -> Any:
    if attribute not in values:
        raise _Refused(_INVALID_ATTRIBUTE)
    return values[attribute]


def _varint(number: int) -> bytes:
    return bytes(_sevens(number))


def _sevens(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


class _Behind:
    """The same card once more: what another driver of the rig file has at its terminals."""

    def __init__(self, server: NiGrpcServer) -> None:
        self.address, self.faults = server.address, server.faults

    def close(self) -> None:
        """Nothing: the card is closed by whom it was served for."""


_SERVED: Final[WeakKeyDictionary[PacedWorld, dict[str, NiGrpcServer]]] = WeakKeyDictionary()


def serve(world: PacedWorld, entry: Entry) -> NiGrpcServer | _Behind:
    """The card of a rig file, `grpc://127.0.0.1:PORT/Dev1`, on the wire: once, whatever drivers share it."""
    cards = _SERVED.setdefault(world, {})
    if entry.address in cards:
        return _Behind(cards[entry.address])
    device = device_of(entry.address)
    port = loopback_port(entry.address.removeprefix("grpc://").removesuffix(f"/{device}"))
    cards[entry.address] = NiGrpcServer(world, AnalogueCircuit(world, entry.rig, device), device, f"127.0.0.1:{port}")
    return cards[entry.address]
