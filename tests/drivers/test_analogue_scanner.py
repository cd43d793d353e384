"""The scanner on a card's outputs, through NI's client against the emulated card: the suite of every scanner, units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers.analogue_scanner import AnalogueScanner
from opsicm.drivers.nidaqmx import safe_channel
from opsicm.instruments.clock import Clock, pause, stopwatch
from opsicm.runner.watchdog import Channel
from tests.fixtures.ni_bench import RIG, Bench, ni_bench
from tests.fixtures.role_contracts import ScannerContract

pytestmark = pytest.mark.real_time

SCANNER = "{z_output: Dev1/ao0, z_um_per_V: 1.0, x_output: Dev1/ao2, y_output: Dev1/ao3, xy_um_per_V: 4.0}"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ni_bench() as bench:
        yield bench


@pytest.fixture
def scanner(bench: Bench) -> AnalogueScanner:
    device: AnalogueScanner = bench.connect("scanner")
    bench.card.write("ao0", 0.0)
    return device


class TestContract(ScannerContract):
    """What every scanner does."""

    @pytest.fixture
    def device(self, scanner: AnalogueScanner) -> AnalogueScanner:
        return scanner

    @pytest.fixture
    def clock(self, bench: Bench) -> Clock:
        return bench.card.clock


def rig(settings: str) -> str:
    assert SCANNER in RIG
    return RIG.replace(SCANNER, settings)


def test_ranges_are_what_the_outputs_reach(scanner: AnalogueScanner) -> None:
    assert scanner.z_range == pytest.approx((-10e-6, 10e-6))
    assert scanner.xy_range == pytest.approx((-40e-6, 40e-6))


def test_the_true_piezo_goes_where_the_driver_says(bench: Bench, scanner: AnalogueScanner) -> None:
    scanner.axes.write_z(-2.5e-6)
    scanner.axes.write_xy(8e-6, -4e-6)
    pause(0.05)
    z, x, y = bench.world.ask(
        lambda rig: (rig.scanner.probe.z, rig.scanner.probe.world.x, rig.scanner.probe.world.y)  # type: ignore[attr-defined]
    )
    assert (z, x, y) == pytest.approx((-2.5e-6, 8e-6, -4e-6), abs=1e-9)
    assert scanner.read_z() == pytest.approx(-2.5e-6, abs=2e-9)
    assert bench.circuit.voltage("Dev1/ao2") == pytest.approx(2.0)


def test_z_ends_at_its_range_and_x_beyond_it_is_refused(bench: Bench, scanner: AnalogueScanner) -> None:
    scanner.axes.write_z(50e-6)
    assert bench.circuit.voltage("Dev1/ao0") == 10.0
    with pytest.raises(OutsideDomain, match=r"scanner x is 41 µm; reaches ±40 µm; scan a smaller area"):
        scanner.axes.require_xy(np.array([0.0, -41e-6]), np.zeros(2))


def test_a_lost_card_is_said_and_not_raised(bench: Bench, scanner: AnalogueScanner) -> None:
    assert scanner.state().settings["z_command_m"] == pytest.approx(0.0)
    bench.server.faults.set("unavailable", times=-1)
    watch = stopwatch()
    while scanner.state().quality != Quality.MISSING:
        assert watch() < 3.0
    assert scanner.state().message
    with pytest.raises(InstrumentLost):
        scanner.read_z()
    bench.server.faults.clear()
    while scanner.state().quality != Quality.GOOD:
        assert watch() < 6.0
    while abs(scanner.read_z()) > 3e-9:
        assert watch() < 9.0


def test_a_withdrawal_goes_up_at_its_rate(bench: Bench, scanner: AnalogueScanner) -> None:
    before = bench.card.clock.now_ns()
    scanner.safe()
    seconds = (bench.card.clock.now_ns() - before) * 1e-9
    assert 10e-6 / 4e-4 - 3e-3 <= seconds < 0.5  # 10 µm at 400 nm/ms, and a busy machine
    assert bench.circuit.voltage("Dev1/ao0") == 10.0


def test_a_piezo_that_takes_0_to_10_V_and_falls_with_rising_voltage() -> None:
    text = rig("{z_output: Dev1/ao0, z_um_per_V: -2.0, z_zero_V: 5}").replace("ao7_V: [-5, 5]", "ao0_V: [0, 10]")
    text = text.replace("settings: {latency_output: Dev1/ao7, latency_input: Dev1/ai7, turn_ms: 2}", "settings: {}")
    with ni_bench(text) as bench:
        scanner = bench.connect("scanner")
        assert scanner.z_range == pytest.approx((-10e-6, 10e-6))
        scanner.axes.write_z(4e-6)
        assert bench.circuit.voltage("Dev1/ao0") == pytest.approx(3.0)
        pause(0.05)
        assert scanner.read_z() == pytest.approx(4e-6, abs=3e-9)
        assert bench.world.ask(lambda rig: rig.scanner.read_z()) == pytest.approx(4e-6, abs=1e-9)
        scanner.safe()
        assert bench.circuit.voltage("Dev1/ao0") == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{}", "z_output"),
        ("{z_output: Dev1/ao0, z_um_per_V: 0}", "z_um_per_V is 0; must not be zero"),
        ("{z_output: Dev1/ao0, z_um_per_V: 1, x_output: Dev1/ao2}", "xy_um_per_V"),
    ],
)
def test_a_rig_file_that_says_too_little_is_refused(settings: str, message: str) -> None:
    with pytest.raises(BadInput, match=message), ni_bench(rig(settings)):
        pass


# -- The watchdog's own way.


def channel_of(scanner: AnalogueScanner) -> Channel:
    return Channel(scanner.safe_address)


def test_the_watchdog_draws_the_pipette_up_while_the_controller_holds_the_card(
    bench: Bench, scanner: AnalogueScanner
) -> None:
    scanner.axes.write_z(-3e-6)
    place, _, role = scanner.safe_address.rpartition("#")
    assert role == "scanner"
    assert place.startswith("driver:opsicm.drivers.nidaqmx:safe_channel {")
    channel = channel_of(scanner)
    channel.begin()
    assert channel.over(2.0)
    assert channel.report()["safe"]
    assert bench.circuit.voltage("Dev1/ao0") == 10.0


def test_a_watchdog_without_a_card_is_told_so_when_it_opens() -> None:
    settings = {"address": "grpc://127.0.0.1:9/Dev1", "process": 1, "outputs": {"Dev1/ao0": 10.0}}
    with pytest.raises(Exception, match="Failed to connect"):
        safe_channel(settings)


def test_where_the_output_is_anothers_a_line_withdraws(bench: Bench, scanner: AnalogueScanner) -> None:
    scanner.axes.write_z(-3e-6)
    # Another process number: as on this computer's card, which gives an output to one process.
    settings = {"address": bench.server.address, "process": 1, "outputs": {"Dev1/ao0": 10.0}}
    assert not safe_channel(settings)()
    assert bench.circuit.voltage("Dev1/ao0") == pytest.approx(-3.0)
    assert safe_channel({**settings, "instead": {"Dev1/port0/line9": True}})()
    assert bench.circuit.line("Dev1/port0/line9")
