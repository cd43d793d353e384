"""The emulated device server as NI's own client sees it, without a driver of ours: calls, codes, samples."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import nidaqmx
import numpy as np
import pytest
from nidaqmx.constants import AcquisitionType, LineGrouping
from nidaqmx.error_codes import DAQmxErrors
from nidaqmx.errors import DaqError, RpcError
from nidaqmx.stream_readers import AnalogMultiChannelReader
from nidaqmx.stream_writers import DigitalSingleChannelWriter
from nidaqmx.system import Device, System

from opsicm.core.errors import BadInput
from opsicm.emulators.ni_grpc_server import serve
from opsicm.emulators.registry import Entry
from opsicm.instruments.clock import pause, stopwatch
from tests.fixtures.ni_bench import Bench, ni_bench

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ni_bench() as bench:
        yield bench


@pytest.fixture
def options(bench: Bench) -> Iterator[nidaqmx.GrpcSessionOptions]:
    target = bench.server.address.removeprefix("grpc://").removesuffix("/Dev1")
    with grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield nidaqmx.GrpcSessionOptions(channel, "")
    bench.server.faults.clear()


def sampled(options: nidaqmx.GrpcSessionOptions, inputs: str, rate: float, buffer: int = 100_000) -> nidaqmx.Task:
    """A running task of continuous samples."""
    task = nidaqmx.Task(grpc_options=options)
    task.ai_channels.add_ai_voltage_chan(inputs)
    task.timing.cfg_samp_clk_timing(rate, sample_mode=AcquisitionType.CONTINUOUS, samps_per_chan=buffer)
    task.start()
    return task


def test_the_device_and_its_driver_software_say_who_they_are(options: nidaqmx.GrpcSessionOptions) -> None:
    device = Device("Dev1", grpc_options=options)
    assert (device.product_type, device.serial_num) == ("X series (emulated)", 0x0511C0DE)
    assert device.ao_voltage_rngs == [-10.0, 10.0]
    assert device.ai_max_multi_chan_rate == 1e6
    assert device.self_cal_last_date_and_time.year == 2026
    version = System(grpc_options=options).driver_version
    assert (version.major_version, version.minor_version) == (25, 5)
    with pytest.raises(DaqError) as error:
        assert Device("Dev2", grpc_options=options).product_type
    assert error.value.error_type is DAQmxErrors.INVALID_DEVICE_ID


def test_samples_come_at_the_rate_and_in_order(bench: Bench, options: nidaqmx.GrpcSessionOptions) -> None:
    bench.circuit.echoes["Dev1/ai7"] = "Dev1/ao7"
    with nidaqmx.Task(grpc_options=options) as output, sampled(options, "Dev1/ai2,Dev1/ai7", 50_000.0) as task:
        output.ao_channels.add_ao_voltage_chan("Dev1/ao7")
        output.write(2.5)
        volts = np.empty((2, 10_000))
        watch = stopwatch()
        assert AnalogMultiChannelReader(task.in_stream).read_many_sample(volts, 10_000, 1.0) == 10_000
        assert 0.1 < watch() < 0.5
        assert volts[0].mean() == pytest.approx(1.2, abs=1e-3)
        assert volts[1, 5000:].mean() == pytest.approx(2.5, abs=1e-4)
        assert volts[1, 5000:].std() == pytest.approx(20 / 65536, rel=0.05)
        assert task.in_stream.curr_read_pos == 10_000
        pause(0.02)
        assert 1000 <= task.in_stream.avail_samp_per_chan < 20_000


def test_a_read_that_asks_too_early_is_told_so(options: nidaqmx.GrpcSessionOptions) -> None:
    with sampled(options, "Dev1/ai0", 1000.0) as task:
        with pytest.raises(DaqError) as error:
            task.read(500, timeout=0.01)
        assert error.value.error_type is DAQmxErrors.SAMPLES_NOT_YET_AVAILABLE


def test_samples_that_nobody_read_are_overwritten(options: nidaqmx.GrpcSessionOptions) -> None:
    with sampled(options, "Dev1/ai0", 10_000.0, buffer=200) as task:
        pause(0.05)
        with pytest.raises(DaqError) as error:
            task.read(100, timeout=0.5)
        assert error.value.error_type is DAQmxErrors.SAMPLES_NO_LONGER_AVAILABLE


def test_terminals_belong_to_the_task_that_reserved_them(bench: Bench, options: nidaqmx.GrpcSessionOptions) -> None:
    with nidaqmx.Task(grpc_options=options) as first, nidaqmx.Task(grpc_options=options) as second:
        for task in (first, second):
            task.ao_channels.add_ao_voltage_chan("Dev1/ao6")
        first.write(1.0)
        with pytest.raises(DaqError, match="reserved") as error:
            second.write(2.0)
        assert error.value.error_type is DAQmxErrors.PAL_RESOURCE_RESERVED
        assert error.value.error_code == -50103
    with nidaqmx.Task(grpc_options=options) as third:
        third.ao_channels.add_ao_voltage_chan("Dev1/ao6")
        third.write(-1.0)
    assert bench.circuit.voltage("Dev1/ao6") == -1.0
    with sampled(options, "Dev1/ai0", 1000.0), pytest.raises(DaqError, match="reserved"):
        sampled(options, "Dev1/ai1", 1000.0)  # there is one converter


@pytest.mark.parametrize(
    ("channel", "code"),
    [("Dev1/ao8", DAQmxErrors.PHYSICAL_CHAN_DOES_NOT_EXIST), ("Dev2/ao0", DAQmxErrors.PHYSICAL_CHAN_DOES_NOT_EXIST)],
)
def test_a_channel_that_is_none_is_refused(
    options: nidaqmx.GrpcSessionOptions, channel: str, code: DAQmxErrors
) -> None:
    with nidaqmx.Task(grpc_options=options) as task, pytest.raises(DaqError) as error:
        task.ao_channels.add_ao_voltage_chan(channel)
    assert error.value.error_type is code


def test_a_voltage_beyond_the_converter_is_refused(bench: Bench, options: nidaqmx.GrpcSessionOptions) -> None:
    with nidaqmx.Task(grpc_options=options) as task:
        task.ao_channels.add_ao_voltage_chan("Dev1/ao5")
        task.write(3.0)
        with pytest.raises(DaqError) as error:
            task.write(10.5)
    assert error.value.error_type is DAQmxErrors.INVALID_AO_DATA_WRITE
    assert bench.circuit.voltage("Dev1/ao5") == 3.0


def test_lines_are_written_and_read(bench: Bench, options: nidaqmx.GrpcSessionOptions) -> None:
    with nidaqmx.Task(grpc_options=options) as task:
        task.do_channels.add_do_chan("Dev1/port0/line7", line_grouping=LineGrouping.CHAN_PER_LINE)
        writer = DigitalSingleChannelWriter(task.out_stream)
        writer.write_one_sample_one_line(True)
        assert bench.circuit.line("Dev1/port0/line7")
        assert nidaqmx.stream_readers.DigitalSingleChannelReader(task.in_stream).read_one_sample_one_line()


def test_a_task_that_is_gone_is_invalid(bench: Bench, options: nidaqmx.GrpcSessionOptions) -> None:
    task = sampled(options, "Dev1/ai0", 1000.0)
    bench.server.faults.set("reset")
    with pytest.raises(RpcError, match="UNAVAILABLE"):
        task.read(1)
    with pytest.raises(DaqError) as error:
        task.start()
    assert error.value.error_type is DAQmxErrors.INVALID_TASK
    task.close()


def test_a_server_that_restarts_is_unavailable(bench: Bench, options: nidaqmx.GrpcSessionOptions) -> None:
    bench.server.faults.set("unavailable", times=-1)
    with pytest.raises(RpcError, match="UNAVAILABLE"):
        nidaqmx.Task(grpc_options=options)


def test_a_fault_that_its_protocol_cannot_show_is_refused(bench: Bench) -> None:
    with pytest.raises(BadInput, match="can show unavailable, late"):
        bench.server.faults.set("partial")


def test_drivers_that_share_a_card_get_one_server(bench: Bench) -> None:
    entry = Entry("nidaqmx", "grpc://127.0.0.1:0/Dev3", {}, bench.loaded)
    first, second = (serve(bench.world, replaced) for replaced in (entry, entry))
    try:
        assert second.address == first.address
        assert second.faults is first.faults
        second.close()
        with grpc.insecure_channel(first.address[7:].rpartition("/")[0]) as channel:
            assert Device("Dev3", grpc_options=nidaqmx.GrpcSessionOptions(channel, "")).serial_num == 0x0511C0DE
    finally:
        first.close()
