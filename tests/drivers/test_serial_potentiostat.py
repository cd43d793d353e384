"""The Rodeostat through pyserial, on a pseudo-terminal with the twin's cell at its electrodes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers.serial_potentiostat import _ask, _number, _Unusable, safe_channel, specify
from opsicm.emulators.paced_world import PacedWorld
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.clock import pause, stopwatch
from tests.fixtures.one_instrument import (
    EXPERIMENT,
    RESTS_AT,
    OnTheWire,
    on_the_wire,
    role_setup,
    wait_for,
    world_behind,
)

pytestmark = pytest.mark.real_time

ENTRY: Final = "{driver: serial_potentiostat, settings: {rest_V: 0.4, current_range: 1000uA}}"
SMALL: Final = EXPERIMENT.replace("cell_mA: 20", "cell_mA: 1")
STEP_V: Final = 4.0 / 4095  # of its converter in the 2 V range
STEP_A: Final = 2e-3 / 4095


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with world_behind() as world:
        yield world


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, world: PacedWorld) -> Iterator[OnTheWire]:
    port = tmp_path_factory.mktemp("dev") / "ttyACM0"
    with on_the_wire("potentiostat", ENTRY, str(port), SMALL, world) as one:
        yield one


@pytest.fixture
def pstat(bench: OnTheWire) -> Iterator[OnTheWire]:
    wait_for(lambda: bench.device.state().quality is not Quality.MISSING)  # else a lost one fails every later test
    asked_ns = bench.clock.now_ns()
    bench.device.apply(OpenCircuit(), asked_ns)
    wait_for(lambda: bench.device.read().control == "open_circuit" and bench.device.read().t_ns > asked_ns + 50_000_000)
    yield bench
    bench.served.faults.clear()


def test_it_says_who_it_is_and_what_it_is_set_to(pstat: OnTheWire) -> None:
    identity = pstat.device.identity()
    assert identity.model == "IO Rodeo Rodeostat 10V_10MilliAmpV0.2"
    assert (identity.serial, identity.firmware) == ("7", "FW0.1.0")
    assert identity.client.startswith("pyserial 3.")
    state = pstat.device.state()
    assert state.quality is Quality.GOOD
    assert {key: state.settings[key] for key in ("voltage_range", "current_range", "counter")} == {
        "voltage_range": "2V",
        "current_range": "1000uA",
        "counter": "open",
    }


def test_the_potential_is_read_with_the_circuit_open(pstat: OnTheWire) -> None:
    reading = pstat.device.read()
    assert reading.potential == pytest.approx(pstat.true().potential, abs=2 * STEP_V)
    assert abs(reading.current) < 2 * STEP_A
    assert pstat.true().control == "open_circuit"


def test_a_sweep_in_steps_of_the_converter(pstat: OnTheWire) -> None:
    begins, before, counted = pstat.clock.now_ns() + 200_000_000, pstat.true().charge, pstat.device.read().charge
    pstat.device.apply(PotentialRamp(RESTS_AT, -0.1), begins)
    wait_for(lambda: pstat.device.read().set_point is not None)
    assert pstat.device.state().settings["counter"] == "connected"
    rows = []
    while pstat.clock.now_ns() < begins + 700_000_000:
        rows.append(pstat.device.read())
        pause(0.01)
    gap = max(later.t_ns - row.t_ns for row, later in pairwise(rows)) * 1e-9
    off = sorted(abs(row.potential - (RESTS_AT - 0.1 * (row.t_ns - begins) * 1e-9)) for row in rows)
    assert off[len(off) // 2] < 3 * STEP_V
    assert off[-1] < 0.1 * (0.04 + gap) + 2 * STEP_V
    assert rows[-1].current < -1e-5
    true = pstat.true().charge - before
    # Read one after the other, at some 60 µA, and both ends of a step late.
    later = (pstat.clock.now_ns() - rows[-1].t_ns) * 1e-9
    assert rows[-1].charge - counted == pytest.approx(true, rel=0.1, abs=6e-5 * (0.03 + gap + later))


def test_a_current_is_refused_before_the_run_and_during_it(pstat: OnTheWire) -> None:
    asked = SMALL.replace(
        "  - open_circuit: {for_s: 1}",
        "  - constant_current: {current_mA: -0.1, until: {potential_V: 0.1}}\n  - hold: {potential_V: 0.1, for_s: 5}",
    )
    with pytest.raises(BadInput) as refused:
        specify(role_setup("potentiostat", ENTRY, "/dev/ttyACM0", asked))
    assert str(refused.value) == (
        "cell[0] is constant_current; the Rodeostat cannot hold a current; write hold or sweep there, or take a "
        "potentiostat with a galvanostat"
    )
    with pytest.raises(OutsideDomain, match=r"current of -0.01 mA; the instrument holds no current; write hold or"):
        pstat.device.apply(ConstantCurrent(-1e-5), pstat.clock.now_ns())


def test_ranges_are_compared_with_the_envelope() -> None:
    entry = ENTRY.replace("rest_V", "voltage_range: 1V, rest_V")
    with pytest.raises(BadInput) as refused:
        specify(role_setup("potentiostat", entry, None, EXPERIMENT))
    said = [str(problem) for problem in refused.value.problems]
    assert any("envelope.cell_mA is 20; the Rodeostat measures up to 1 mA here" in one for one in said)
    assert any("address; is missing" in one for one in said)
    assert any("voltage_range is '1V'; envelope.cell_V reaches 1.5 V; choose a larger range" in one for one in said)


@pytest.mark.parametrize(("kind", "value"), [("late", 0.2), ("silent", 0), ("partial", 0), ("garbage", 0), ("nan", 0)])
def test_a_fault_that_passes_is_asked_again(pstat: OnTheWire, kind: str, value: float) -> None:
    pstat.served.faults.set(kind, value)
    seen = pstat.device.read().t_ns
    wait_for(lambda: not pstat.served.faults._set)  # shown
    wait_for(lambda: pstat.device.read().t_ns > seen + 300_000_000)
    assert pstat.device.read().potential == pytest.approx(pstat.true().potential, abs=2 * STEP_V)
    assert pstat.device.state().quality is Quality.GOOD


@pytest.mark.parametrize("kind", ["silent", "garbage", "nan"])
def test_a_fault_that_stays_loses_the_instrument(pstat: OnTheWire, kind: str) -> None:
    waited = stopwatch()
    pstat.served.faults.set(kind, times=-1)
    with pytest.raises(InstrumentLost, match=r"Rodeostat .*ttyACM0 lost"):
        wait_for(lambda: pstat.device.read() is None)
    assert waited() < 0.75
    assert pstat.device.state().quality is Quality.MISSING
    pstat.served.faults.clear()
    wait_for(lambda: pstat.device.state().quality is not Quality.MISSING)
    assert pstat.device.read().control == "open_circuit"


def test_a_lost_reference_opens_the_cell(pstat: OnTheWire) -> None:
    pstat.device.apply(PotentialRamp(RESTS_AT), pstat.clock.now_ns())
    wait_for(lambda: pstat.device.read().control == "potential")
    pstat.served.faults.set("detached", times=-1)
    with pytest.raises(LimitCrossed, match=r"cell is 2.0000 V .*the envelope is -0.05 … 1.5 V"):
        wait_for(lambda: pstat.device.read() is None)
    wait_for(lambda: pstat.true().control == "open_circuit")


def test_a_stuck_reading_is_found_when_the_program_has_moved_on(tmp_path: Path, world: PacedWorld) -> None:
    with on_the_wire("potentiostat", ENTRY, str(tmp_path / "tty"), SMALL, world) as one:
        one.device.apply(PotentialRamp(RESTS_AT, -0.2), one.clock.now_ns())
        wait_for(lambda: one.device.read().control == "potential")
        one.served.faults.set("stuck", times=-1)
        with pytest.raises(LimitCrossed, match="is held there: the cell was opened; see whether the reference is conn"):
            wait_for(lambda: one.device.read() is None)
        wait_for(lambda: one.true().control == "open_circuit")


def test_a_reset_is_noticed(tmp_path: Path, world: PacedWorld) -> None:
    with on_the_wire("potentiostat", ENTRY, str(tmp_path / "tty"), SMALL, world) as one:
        one.device.apply(PotentialRamp(RESTS_AT), one.clock.now_ns())
        wait_for(lambda: one.device.read().control == "potential")
        one.served.faults.set("reset")
        with pytest.raises(InstrumentLost, match="Rodeostat is restarted; it has been unplugged or reset meanwhile"):
            wait_for(lambda: one.device.read() is None)


def test_another_process_may_open_the_cell(tmp_path: Path, world: PacedWorld) -> None:
    with on_the_wire("potentiostat", ENTRY, str(tmp_path / "tty"), SMALL, world) as one:
        one.device.apply(PotentialRamp(RESTS_AT - 0.01), one.clock.now_ns())
        wait_for(lambda: one.device.read().control == "potential")
        make_safe = safe_channel({"port": one.served.address})
        wait_for(make_safe)
        wait_for(lambda: one.true().control == "open_circuit")
        one.device.safe()
        wait_for(lambda: one.device.state().settings.get("counter") == "open")


@pytest.mark.parametrize("said", ["1" + "0" * 400, "1e999", "[" * 3000, "true", '"1"'])
def test_numbers_and_brackets_without_end_are_no_answers(said: str) -> None:
    line = f'{{"success": true, "response": {{"command": "getVolt", "v": {said}}}}}\n'.encode()
    with pytest.raises(_Unusable):
        _number(_ask(_line(line), "getVolt"), "v")


def test_an_answer_to_an_earlier_command_is_not_taken_for_this_ones() -> None:
    late = b'{"success":true,"response":{"command":"getCurr","i":3.0}}\r\n'
    wanted = b'{"success":true,"response":{"command":"getRefVolt","r":0.25}}\r\n'
    assert _ask(_line(late, late, wanted), "getRefVolt")["r"] == 0.25
    with pytest.raises(_Unusable, match="no answer to getRefVolt"):
        _ask(_line(late, late, b""), "getRefVolt")


def _line(*answers: bytes) -> Any:
    """A serial client that receives these, the last one over and over."""
    left = list(answers)
    return SimpleNamespace(
        reset_input_buffer=lambda: None,
        write=lambda _: None,
        read_until=lambda *_: left.pop(0) if len(left) > 1 else left[0],
    )
