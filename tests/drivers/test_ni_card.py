"""The card through NI's own client, against the emulated server: voltages, scales, ranges, faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers import ni_session
from opsicm.drivers.ni_card import NiCard, card
from opsicm.drivers.ni_session import Acquisition
from opsicm.instruments.clock import pause, stopwatch
from opsicm.instruments.link import NOTICED
from tests.fixtures.ni_bench import RIG, Bench, ni_bench

pytestmark = pytest.mark.real_time

STEP = 20.0 / 65536  # [V] of the emulated converter, which is its noise as well
FOR_EVER = -1


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with ni_bench() as bench:
        yield bench


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    """The one card of this file, without faults and answering."""
    yield shared
    shared.server.faults.clear()
    wait_for(lambda: shared.card.state().quality == Quality.GOOD)


def wait_for(true: Callable[[], object], seconds: float = 3.0) -> float:
    """Seconds until `true()` holds."""
    watch = stopwatch()
    while not true():
        assert watch() < seconds, "in vain"
        pause(0.002)
    return watch()


def reads(of: NiCard, name: str, volts: float, within: float) -> None:
    """Assert that an input comes to read `volts` [V], the mean of 10 ms."""

    def near() -> bool:
        first = of.ring.end
        assert of.ring.wait_for(first + 1000, 2.0)
        mean = of.ring.between(first, first + 1000)[0][:, of.column(name)].mean()
        return bool(abs(mean - volts) <= within)

    wait_for(near)


def test_it_says_who_it_is(bench: Bench) -> None:
    identity = bench.card.identity()
    assert identity.model == "X series (emulated)"
    assert identity.serial == "511C0DE"
    assert identity.firmware == "NI-DAQmx 25.5.0"
    assert identity.client.startswith("nidaqmx 1.")


def test_roles_at_one_address_share_one_card(bench: Bench) -> None:
    assert card(bench.role("scanner")) is card(bench.role("hop_controller"))


def test_an_output_is_seen_at_the_input_that_it_is_wired_to(bench: Bench) -> None:
    for volts in (1.25, -2.5):
        bench.card.write("Dev1/ao7", volts)
        assert bench.circuit.voltage("Dev1/ao7") == volts
        assert bench.card.written("ao7") == volts
        reads(bench.card, "Dev1/ai7", volts, 4 * STEP)


def test_readings_are_the_wirings_with_sign_gain_and_offset_undone(bench: Bench) -> None:
    bench.card.write("ao0", 3.0)  # 1 µm/V; the sensor says 1 V for each µm, and 0 V at 0.5 µm
    reads(bench.card, "ai1", 2.5, 1e-3)
    reads(bench.card, "ai2", 1.2, 1e-3)  # the cell rests at 1.2 V
    bench.engage()
    pause(0.05)
    current = bench.world.ask(lambda rig: rig.amplifier.read()[0])
    assert 3e-9 < current < 4e-9
    reads(bench.card, "ai0", -current / 1e-9, 0.01)  # sign -1, 1 nA/V
    bench.card.write("ao0", 0.0)


def test_samples_have_the_times_of_their_indices(bench: Bench) -> None:
    samples = bench.card.latest(["ai0", "ai1"], 0.05)
    assert samples.volts.shape == (5000, 2)
    assert samples.dt_ns == 10_000
    end_ns = samples.t0_ns + 5000 * samples.dt_ns
    assert 0 <= bench.card.clock.now_ns() - end_ns < 60_000_000
    assert samples.t0_ns % samples.dt_ns == 0


def test_the_sample_clock_never_runs_backwards_and_keeps_the_worlds_time(bench: Bench) -> None:
    clock = bench.card.clock
    wait_for(lambda: clock.now_ns() > 400_000_000)
    before_world, before = bench.world.now_ns(), clock.now_ns()
    last = before
    for _ in range(300):
        now = clock.now_ns()
        assert now >= last
        last = now
        pause(0.001)
    clock.wait_until(before + 400_000_000)
    passed = (clock.now_ns() - before) * 1e-9
    assert passed == pytest.approx((bench.world.now_ns() - before_world) * 1e-9, abs=0.02)
    assert clock.pace is None or clock.pace == pytest.approx(1.0, abs=0.01)


def test_a_voltage_out_of_range_is_refused_before_it_is_written(bench: Bench) -> None:
    bench.card.write("ao7", 1.0)
    with pytest.raises(OutsideDomain, match=r"output Dev1/ao7 is 6 V; the rig file and the card allow -5 … 5 V"):
        bench.card.write("ao7", 6.0)
    with pytest.raises(OutsideDomain, match=r"-10 … 10 V"):
        bench.card.write("ao0", float("nan"))
    assert bench.circuit.voltage("Dev1/ao7") == 1.0


def test_a_ramp_goes_on_until_the_end_of_the_range(bench: Bench) -> None:
    bench.card.write("ao7", 0.0, slope=10.0)
    pause(0.2)
    on_the_way = bench.circuit.voltage("Dev1/ao7")
    assert 1.6 < on_the_way < 2.6
    wait_for(lambda: bench.circuit.voltage("Dev1/ao7") == 5.0)
    pause(0.02)
    assert bench.card.written("ao7") == 5.0
    bench.card.write("ao7", 0.0, slope=-1.0)
    pause(0.05)
    bench.card.write("ao7", 2.0)
    pause(0.03)
    assert bench.circuit.voltage("Dev1/ao7") == 2.0


def test_lines_are_set_and_read_back(bench: Bench) -> None:
    bench.card.set_line("Dev1/port0/line5", True)
    assert bench.circuit.line("Dev1/port0/line5")
    assert bench.card.line("port0/line5")
    assert not bench.card.line("port0/line6")  # an input
    bench.card.set_line("port0/line6", True)  # and now an output
    assert bench.card.line("port0/line6")


def test_a_terminal_that_the_card_does_not_have_is_said(bench: Bench) -> None:
    with pytest.raises(BadInput, match="Dev1/ao9 is unknown; the card does not have it"):
        bench.card.write("ao9", 0.0)
    with pytest.raises(BadInput, match="analogue input is Dev1/ai5; the card samples Dev1/ai0"):
        bench.card.latest(["ai5"], 0.01)


def test_a_second_client_is_told_that_the_card_is_reserved(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.card.ring.wait_for(1, 1.0)
    monkeypatch.setattr("os.getpid", lambda: 1)  # another process: its tasks have names of their own
    with pytest.raises(BadInput, match=r"reserved; another program holds it \(DAQmx -50103\)"):
        Acquisition(bench.server.address, ["Dev1/ai0"], [(-10.0, 10.0)], 1000.0)
    bench.card.write("ao7", 0.5)
    with pytest.raises(BadInput, match="-50103"):
        ni_session.Outputs(bench.server.address).write("Dev1/ao7", 1.0)
    assert bench.circuit.voltage("Dev1/ao7") == 0.5


def test_nobody_there_is_said_before_anything_moves(bench: Bench) -> None:
    text = bench.loaded.text.replace(bench.server.address, "grpc://127.0.0.1:9/Dev1")
    with pytest.raises(BadInput, match="nobody answers there"), ni_bench(text) as other:
        assert other.card


# -- Faults of the wire: each is taken, and each is seen.


def test_an_answer_that_fails_once_is_asked_for_again(bench: Bench) -> None:
    bench.server.faults.set("unavailable", times=2)
    bench.card.write("ao7", 0.25)
    assert bench.circuit.voltage("Dev1/ao7") == 0.25
    assert not bench.card.lost


@pytest.mark.parametrize(("kind", "value"), [("unavailable", 0.0), ("silent", 0.0), ("late", 0.6)])
def test_a_card_that_does_not_answer_is_lost_within_half_a_second_and_comes_back(
    bench: Bench, kind: str, value: float
) -> None:
    assert bench.card.ring.wait_for(1, 1.0)
    lost = bench.card.ring.lost
    bench.server.faults.set(kind, value, FOR_EVER)
    waited = wait_for(lambda: bench.card.state().quality == Quality.MISSING)
    assert waited < 3.0 * NOTICED  # twice is a busy machine's
    wait_for(lambda: bench.card.lost)
    watch = stopwatch()
    with pytest.raises(InstrumentLost):
        bench.card.write("ao7", 0.0)
    with pytest.raises(InstrumentLost, match="silent"):
        bench.card.latest(["ai0"], 0.01)
    assert watch() < 1.5 * NOTICED
    state = bench.card.state()
    assert state.quality == Quality.MISSING
    assert state.message
    end = bench.card.ring.end
    bench.server.faults.clear()
    wait_for(lambda: bench.card.state().quality == Quality.GOOD)
    assert bench.card.ring.wait_for(end + 1, 1.0)
    # What was not sampled meanwhile is a hole of its length, not joined up.
    assert bench.card.ring.lost - lost >= 2000
    wait_for(lambda: bench.card.age() < 0.1)
    volts, quality = bench.card.ring.between(end, bench.card.ring.end)
    assert np.isnan(volts[0]).all()
    assert (quality == Quality.MISSING).all()


def test_a_server_that_was_reset_gets_its_tasks_anew(bench: Bench) -> None:
    bench.card.write("ao7", 1.0)
    bench.server.faults.set("reset", times=1)
    bench.card.write("ao7", -1.0)
    assert bench.circuit.voltage("Dev1/ao7") == -1.0
    wait_for(lambda: bench.card.age() < 0.1)
    reads(bench.card, "ai7", -1.0, 4 * STEP)


@pytest.mark.parametrize(
    ("kind", "quality", "message"),
    [
        ("nan", Quality.SUSPECT, "Dev1/ai0 reads no number"),
        ("stuck", Quality.STALE, "repeats one value bit for bit"),
        ("overload", Quality.SATURATED, "Dev1/ai0 is at the end of its range"),
    ],
)
def test_samples_that_cannot_be_believed_are_flagged_within_two_periods(
    bench: Bench, kind: str, quality: Quality, message: str
) -> None:
    bench.server.faults.set(kind, times=FOR_EVER)
    waited = wait_for(lambda: bench.card.state(["ai0"]).quality == quality)
    assert waited < 0.25  # two periods of 10 ms, and a busy machine
    assert message in bench.card.state(["ai0"]).message


def test_an_input_whose_wire_has_come_off_reads_what_it_picks_up(bench: Bench) -> None:
    bench.engage()
    bench.server.faults.set("detached", times=FOR_EVER)
    reads(bench.card, "ai0", 0.0, 0.01)


def test_a_sample_clock_at_another_rate_is_noticed() -> None:
    with ni_bench() as bench:
        assert bench.card.ring.wait_for(20_000, 2.0)
        assert bench.card.state().quality == Quality.GOOD
        bench.server.faults.set("ticks", 1.25)
        wait_for(lambda: bench.card.state().quality == Quality.SUSPECT, 6.0)
        assert "sample clock runs at 1." in bench.card.state().message


def test_a_faster_world_keeps_its_own_time() -> None:
    with ni_bench(RIG + "emulation: {rig: twin/graphite}\n", speed=4.0) as bench:
        assert bench.card.ring.wait_for(200_000, 4.0)
        before, watch = bench.card.clock.now_ns(), stopwatch()
        bench.card.clock.wait_until(before + 800_000_000)
        assert 0.08 < watch() < 0.6
        wait_for(lambda: bench.card.clock.pace is not None)
        assert bench.card.clock.pace == pytest.approx(4.0, rel=0.05)
        wait_for(lambda: bench.card.state().quality == Quality.GOOD)


# -- Samples that nobody reads in time.


def test_overwritten_samples_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ni_session, "_BUFFER", 0.3)
    with ni_bench() as bench:
        acquisition = Acquisition(bench.server.address, ["Dev1/ai0", "Dev1/ai1"], [(-10.0, 10.0)] * 2, 10_000.0)
        first, volts = acquisition.read(100)
        assert (first, volts.shape) == (0, (2, 100))
        assert acquisition.read(50)[0] == 100
        pause(0.5)
        first, _ = acquisition.read(100)
        assert 4000 < first < 20_000
        assert acquisition.read(10)[0] == first + 100
        acquisition.close()
