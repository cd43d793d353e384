"""NI's own client: the tasks that a card needs, on this computer or on another one behind NI's gRPC device server.

Imported when a rig connects, because it imports `nidaqmx`. Every call over gRPC gets a deadline: the client has none of
its own, and a server that hangs would hang the run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import grpc
import nidaqmx
import numpy as np
from nidaqmx.constants import AcquisitionType, LineGrouping, ReadRelativeTo, TerminalConfiguration
from nidaqmx.error_codes import DAQmxErrors
from nidaqmx.errors import DaqError, DaqNotFoundError, DaqNotSupportedError
from nidaqmx.errors import Error as NiError
from nidaqmx.stream_readers import AnalogMultiChannelReader, DigitalSingleChannelReader
from nidaqmx.stream_writers import AnalogSingleChannelWriter, DigitalSingleChannelWriter
from nidaqmx.system import Device
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem
from opsicm.instruments.link import NOTICED, TIMEOUT
from opsicm.instruments.roles import Identity

FAILURES: Final = (NiError, grpc.RpcError, OSError)
_ELSEWHERE: Final = "or reach the card through NI's server on a computer that has it, address: grpc://HOST:31763/Dev1"
SOFTWARE: Final = {
    DaqNotFoundError: f"install NI-DAQmx, NI's driver software (ni.com/downloads), {_ELSEWHERE}",
    DaqNotSupportedError: f"install NI-DAQmx on a system that NI has made it for, {_ELSEWHERE}",
}
"""What the client, which pip installs, raises without NI's driver software, which pip does not."""
_BUFFER: Final = 2.0  # [s] of samples that the driver software keeps until they are read
_GRPC: Final = "grpc://"
# A channel of its own for every connection: one that failed waits longer and longer before it tries again.
_OPTIONS: Final = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
_OVERWRITTEN: Final = DAQmxErrors.SAMPLES_NO_LONGER_AVAILABLE
_RESERVED: Final = (DAQmxErrors.PAL_RESOURCE_RESERVED, DAQmxErrors.RESOURCE_ALREADY_RESERVED)
_UNKNOWN: Final = (DAQmxErrors.PHYSICAL_CHAN_DOES_NOT_EXIST, DAQmxErrors.INVALID_DEVICE_ID)


def device_of(address: str) -> str:
    """The device's name at the end of an address: `Dev1` of `Dev1` and of `grpc://127.0.0.1:31763/Dev1`."""
    return address.rpartition("/")[2]


def task_name(process: int, terminal: str) -> str:
    """The name under which the server keeps the task of a terminal of this driver in a process."""
    return f"opsicm-{process}-{terminal}".replace("/", "-")


class Session:
    """A line to the card's driver software: local, or a gRPC channel whose calls end after `deadline` [s]."""

    def __init__(self, address: str, deadline: float = TIMEOUT) -> None:
        self.device = device_of(address)
        self._channel: Any = None
        self._calls: Any = None
        self.deadline = _Deadline(deadline)
        if address.startswith(_GRPC):
            target = address.removeprefix(_GRPC).rpartition("/")[0]
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
            self._calls = grpc.intercept_channel(self._channel, self.deadline)

    def options(self, task: str = "") -> Any:
        """What the client's constructors take as `grpc_options`."""
        if self._calls is None:
            return None
        return nidaqmx.GrpcSessionOptions(self._calls, task)

    def task(self, terminal: str) -> nidaqmx.Task:
        """A new task; one that a lost connection of this process has left on the server is cleared first."""
        if self._calls is None:
            return nidaqmx.Task()
        task, new = self.joined(task_name(os.getpid(), terminal))
        if new:
            return task
        task.close()
        return self.joined(task_name(os.getpid(), terminal))[0]

    def joined(self, name: str) -> tuple[nidaqmx.Task, bool]:
        """(the server's task of this name, whether it is new): a task there belongs to nobody who has gone."""
        task = nidaqmx.Task(name, grpc_options=self.options(name))
        return task, bool(task._close_on_exit)  # what the server answered as `new_session_initialized`

    @property
    def local(self) -> bool:
        """Whether the card is this computer's."""
        return self._calls is None

    def identity(self) -> Identity:
        """What the card and its driver software say they are."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            device = Device(self.device, grpc_options=self.options())
            model, serial = device.product_type, f"{device.serial_num:X}"
        version = nidaqmx.system.System(grpc_options=self.options()).driver_version
        firmware = f"NI-DAQmx {version.major_version}.{version.minor_version}.{version.update_version}"
        return Identity(model, serial, firmware, f"nidaqmx {nidaqmx.__version__}")

    def output_range(self) -> tuple[float, float]:
        """(lowest, highest) voltage [V] of the card's analogue outputs."""
        ranges = Device(self.device, grpc_options=self.options()).ao_voltage_rngs
        return float(min(ranges)), float(max(ranges))

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()


class Acquisition:
    """All analogue inputs in one continuous task on the card's sample clock.

    `ranges` [V] are those of `inputs`, in order. A read waits for its samples; samples that were overwritten because
    nobody read them in time are counted, never passed over. `deadline` [s] is for each call until it samples.
    """

    def __init__(
        self,
        address: str,
        inputs: Sequence[str],
        ranges: Sequence[tuple[float, float]],
        rate: float,
        deadline: float = TIMEOUT,
    ) -> None:
        self._session = Session(address, deadline)
        self._count = len(inputs)
        self._next = 0
        try:
            self._task = self._session.task(f"{self._session.device}/ai")
            for name, (low, high) in zip(inputs, ranges, strict=True):
                self._task.ai_channels.add_ai_voltage_chan(
                    name, terminal_config=TerminalConfiguration.DEFAULT, min_val=low, max_val=high
                )
            self._task.timing.cfg_samp_clk_timing(
                rate, sample_mode=AcquisitionType.CONTINUOUS, samps_per_chan=int(_BUFFER * rate)
            )
            self._task.start()
        except DaqError as error:
            self._session.close()
            raise_understood(error, address)
            raise
        # Longer than for a command: who waits for samples notices by their age that none come, and a read given up
        # early is a hole in the record.
        self._session.deadline.seconds = NOTICED
        self._reader = AnalogMultiChannelReader(self._task.in_stream)
        self._reader.verify_array_shape = False  # else every read asks for the number of channels first

    def read(self, count: int) -> tuple[int, NDArray[np.float64]]:
        """(index of the first, [input, count] V) of the next `count` samples."""
        volts = np.empty((self._count, count))
        try:
            self._reader.read_many_sample(volts, count, TIMEOUT)
        except DaqError as error:
            if error.error_type is not _OVERWRITTEN:
                raise
            self._skip_overwritten(volts, count)
        first = self._next
        self._next += count
        return first, volts

    def available(self) -> int:
        """Samples that have been taken and not read."""
        return int(self._task.in_stream.avail_samp_per_chan)

    def _skip_overwritten(self, volts: NDArray[np.float64], count: int) -> None:
        # The newest samples instead, and then on from there; the position says how many were lost.
        stream = self._task.in_stream
        stream.relative_to, stream.offset = ReadRelativeTo.MOST_RECENT_SAMPLE, -count
        self._reader.read_many_sample(volts, count, TIMEOUT)
        stream.relative_to, stream.offset = ReadRelativeTo.CURRENT_READ_POSITION, 0
        self._next = int(stream.curr_read_pos) - count

    def close(self) -> None:
        """End the task."""
        self._session.deadline.seconds = TIMEOUT
        with suppress(*FAILURES):
            self._task.close()
        self._session.close()


class Outputs:
    """Analogue outputs and digital lines, each a task of its own, made when first used: all on demand.

    `deadline` [s] is for the first call, those that follow have a command's.
    """

    def __init__(self, address: str, deadline: float = TIMEOUT) -> None:
        self._address = address
        self.session = Session(address, deadline)
        self.range = self.session.output_range()  # [V]; the first contact, so that nobody there is noticed now
        self.session.deadline.seconds = TIMEOUT
        self._terminals: dict[str, tuple[nidaqmx.Task, Any]] = {}
        self._inputs: set[str] = set()

    def write(self, output: str, volts: float) -> None:
        """Put `volts` on an analogue output."""

        def made(task: nidaqmx.Task) -> Any:
            task.ao_channels.add_ao_voltage_chan(output)
            return AnalogSingleChannelWriter(task.out_stream, auto_start=True)

        self._with(output, made, lambda writer: writer.write_one_sample(volts, TIMEOUT))

    def set_line(self, line: str, high: bool) -> None:
        """Set a digital output."""
        if line in self._inputs:
            self._inputs.discard(line)
            self._forget(line)

        def made(task: nidaqmx.Task) -> Any:
            task.do_channels.add_do_chan(line, line_grouping=LineGrouping.CHAN_PER_LINE)
            return DigitalSingleChannelWriter(task.out_stream, auto_start=True)

        self._with(line, made, lambda writer: writer.write_one_sample_one_line(high, TIMEOUT))

    def line(self, line: str) -> bool:
        """A digital line, input or output, as it is now."""

        def made(task: nidaqmx.Task) -> Any:
            task.di_channels.add_di_chan(line, line_grouping=LineGrouping.CHAN_PER_LINE)
            self._inputs.add(line)
            return task

        def read(_: Any) -> bool:
            stream = self._terminals[line][0].in_stream
            return bool(DigitalSingleChannelReader(stream).read_one_sample_one_line(TIMEOUT))

        return bool(self._with(line, made, read))

    def close(self) -> None:
        """Release the terminals; outputs stay at what they were."""
        with suppress(*FAILURES):  # the first that fails ends it: each that hangs would take its deadline
            for task, _ in self._terminals.values():
                task.close()
        self.session.close()

    def _with(self, name: str, made: Callable[[nidaqmx.Task], Any], use: Callable[[Any], Any]) -> Any:
        """What `use` makes of a terminal, which `made` adds to a new task when it is used first."""
        try:
            if name not in self._terminals:
                task = self.session.task(name)
                self._terminals[name] = task, None
                self._terminals[name] = task, made(task)
            return use(self._terminals[name][1])
        except DaqError as error:
            with suppress(*FAILURES):
                self._forget(name)
            raise_understood(error, self._address, name)
            raise

    def _forget(self, name: str) -> None:
        self._terminals.pop(name)[0].close()


def write_beside(address: str, process: int, outputs: Mapping[str, float], lines: Mapping[str, bool]) -> None:
    """Set terminals that another process, the controlling one, may hold; raises what the client raises.

    On a gRPC server the tasks of that process are joined by their names, whether it lives, hangs or is gone. A card of
    this computer gives its terminals to one process at a time: they are free once that one has ended, and until then
    this fails as reserved (-50103).
    """
    session = Session(address)
    try:
        for output, volts in outputs.items():
            task, new = (nidaqmx.Task(), True) if session.local else session.joined(task_name(process, output))
            if new:
                task.ao_channels.add_ao_voltage_chan(output)
            AnalogSingleChannelWriter(task.out_stream, auto_start=True).write_one_sample(volts, TIMEOUT)
            if new:
                task.close()
        for line, high in lines.items():
            task, new = (nidaqmx.Task(), True) if session.local else session.joined(task_name(process, line))
            if new:
                task.do_channels.add_do_chan(line, line_grouping=LineGrouping.CHAN_PER_LINE)
            DigitalSingleChannelWriter(task.out_stream, auto_start=True).write_one_sample_one_line(high, TIMEOUT)
            if new:
                task.close()
    finally:
        session.close()


def raise_understood(error: DaqError, address: str, terminal: str = "") -> None:
    """`BadInput` with a remedy for an error that an operator can mend at once; nothing for another."""
    thing = f"NI card {address}" + (f", {terminal}" if terminal else "")
    if error.error_type in _RESERVED:
        limit = f"another program holds it (DAQmx {error.error_code})"
        remedy = (
            "close that program; where none runs, restart NI's gRPC device server: it keeps a killed program's tasks"
        )
        raise BadInput(Problem(thing, "reserved", limit, remedy)) from error
    if error.error_type in _UNKNOWN:
        limit = f"the card does not have it (DAQmx {error.error_code})"
        raise BadInput(Problem(thing, "unknown", limit, "compare the names with those of NI MAX")) from error


class _Deadline(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Gives every call its time-out, `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(timeout=self.seconds), request)
