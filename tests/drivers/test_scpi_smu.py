"""The source-measure unit through pyvisa: against the emulator with the twin's cell, and against others' scripts."""

from __future__ import annotations

import importlib.util
import os
import pty
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from opsicm.cli.execute import execute
from opsicm.cli.rigs import load_rig, prepare, rig_numbers
from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers.scpi_smu import (
    SmuSettings,
    SmuSource,
    _leave_old_answers,
    _Unusable,
    open_resource,
    safe_channel,
    specify,
)
from opsicm.emulators.registry import Entry, serve
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.rig_file import rig_from_text
from opsicm.experiment.setup import Envelope
from opsicm.instruments.clock import pause, stopwatch
from opsicm.instruments.roles import CellReading
from opsicm.record.reader import Run
from tests.fixtures.laboratory import Laboratory
from tests.fixtures.one_instrument import (
    BEHIND,
    EXPERIMENT,
    RESTS_AT,
    OnTheWire,
    on_the_wire,
    role_setup,
    wait_for,
    world_behind,
)

pytestmark = pytest.mark.real_time

ENTRY: Final = "{driver: scpi_smu, settings: {rest_V: 0.4}}"
ADDRESS: Final = "TCPIP::127.0.0.1::0::SOCKET"
NOISE: Final = 3e-6  # [A]: three sigma of the twin's potentiostat
FINEST: Final = 5e-5  # [V]


@pytest.fixture(scope="module")
def bench() -> Iterator[OnTheWire]:
    with on_the_wire("potentiostat", ENTRY, ADDRESS) as one:
        yield one


@pytest.fixture
def smu(bench: OnTheWire) -> Iterator[OnTheWire]:
    """At rest, near `RESTS_AT`."""
    read, now_ns = bench.device.read, bench.clock.now_ns
    bench.device.apply(PotentialRamp(RESTS_AT), now_ns())
    wait_for(lambda: read().control == "potential" and abs(read().potential - RESTS_AT) < 2e-3, 10.0)
    wait_for(lambda: abs(read().current) < 5e-5, 10.0)
    bench.device.apply(OpenCircuit(), now_ns())
    wait_for(lambda: read().control == "open_circuit")
    yield bench
    bench.served.faults.clear()


def at(smu: OnTheWire, seconds: float) -> int:
    return smu.clock.now_ns() + round(seconds * 1e9)


def test_it_says_who_it_is_and_what_it_is_set_to(smu: OnTheWire) -> None:
    identity = smu.device.identity()
    assert identity.model == "KEITHLEY INSTRUMENTS MODEL 2450"
    assert (identity.serial, identity.firmware) == ("04567890", "1.7.12b")
    assert identity.client.startswith("pyvisa 1.")
    state = smu.device.state()
    assert state.quality is Quality.GOOD
    assert state.settings["sense"] == "4-wire"
    assert state.settings["off_state"] == "HIMP"
    assert state.settings["current_limit_A"] == pytest.approx(0.02)  # the envelope's, the range being larger


def test_open_circuit_is_read_with_the_output_on(smu: OnTheWire) -> None:
    reading = smu.device.read()
    assert reading.control == "open_circuit"
    assert reading.set_point is None
    assert reading.potential == pytest.approx(smu.true().potential, abs=5e-4)
    assert abs(reading.current) < NOISE
    assert smu.device.state().settings["source"] == "CURR"


def test_a_ramp_begins_at_its_nanosecond_in_steps_below_a_millivolt(smu: OnTheWire) -> None:
    begins = at(smu, 0.25)
    smu.device.apply(PotentialRamp(RESTS_AT, -0.1), begins)
    rows = rows_until(smu, begins + 600_000_000)
    ramp = [row for row in rows if row.set_point is not None]
    assert ramp[0].t_ns >= begins
    gap = longest_gap(rows)
    assert ramp[0].t_ns - begins < 1e9 * (0.02 + gap)
    off = [row.potential - (RESTS_AT - 0.1 * (row.t_ns - begins) * 1e-9) for row in ramp]
    # 0.1 V/s: a step of a millivolt every 10 ms, and the twin's world takes what it is told up to 25 ms late.
    assert np.max(np.abs(off)) < 0.1 * (0.035 + gap)
    assert np.median(np.abs(off)) < 2e-3
    state = smu.device.state().settings
    assert float(state["step_mV"]) <= max(1.05, 100.0 * float(state["longest_reading_s"]))


def test_a_short_voltammogram_is_the_twins_own() -> None:
    """Charge and peak of 0.40 → 0.25 V, against a twin that is swept without steps and without a wire."""
    slope, turn = 0.15, 0.25
    half = (RESTS_AT - turn) / slope
    with on_the_wire("potentiostat", ENTRY, ADDRESS) as smu:  # its specimen is as it was when it came
        began, before = at(smu, 0.1), smu.device.read().charge
        smu.device.apply(PotentialRamp(RESTS_AT, -slope), began)
        rows = rows_until(smu, began + round(half * 1e9))
    own = _swept(slope, turn, half)
    own_charge = np.interp(rows[-1].t_ns - began, own[:, 0], own[:, 3])
    own_peak = np.interp(rows[-1].t_ns - began, own[:, 0], own[:, 2])
    # On a quiet machine 0.4 % and 1 %. Where the thread has waited for its turn, it was late by that: current and
    # charge grow as t and t².
    late = longest_gap(rows) / half
    assert rows[-1].charge - before == pytest.approx(own_charge, rel=0.02 + 2.0 * late)
    assert min(row.current for row in rows) == pytest.approx(own_peak, rel=0.03 + 1.5 * late, abs=NOISE)
    off = [row.potential - row.set_point for row in rows if row.set_point is not None]
    assert abs(np.median(off)) < 1e-3  # the staircase lies about the ramp


def rows_until(smu: OnTheWire, t_ns: int) -> list[CellReading]:
    """Every reading of the device up to a time."""
    rows = [smu.device.read()]
    while smu.clock.now_ns() < t_ns:
        if smu.device.read().t_ns != rows[-1].t_ns:
            rows.append(smu.device.read())
        pause(0.002)
    return rows


def longest_gap(rows: list[CellReading]) -> float:
    """[s] between two readings."""
    return float(np.max(np.diff([row.t_ns for row in rows]))) * 1e-9


def _swept(slope: float, turn: float, half: float) -> Any:
    """(t [ns], E, I, Q) of the twin alone on its own clock, in rows of 10 ms."""
    rig = prepare(experiment_from_text(EXPERIMENT), rig_from_text(BEHIND), 1, lambda _: None).rig
    rows = []
    rig.potentiostat.apply(PotentialRamp(RESTS_AT, -slope), 0)
    for k in range(round(200 * half)):
        if k == round(100 * half) - 50:
            rig.potentiostat.apply(PotentialRamp(turn, slope), round(half * 1e9))
        rig.clock.wait_until(k * 10_000_000)
        reading = rig.potentiostat.read()
        rows.append((reading.t_ns, reading.potential, reading.current, reading.charge))
    return np.array(rows)


def test_a_current_ends_at_its_cut_off_within_one_reading() -> None:
    with on_the_wire("potentiostat", ENTRY, ADDRESS) as smu:
        begins = at(smu, 0.1)
        smu.device.apply(ConstantCurrent(-3e-5, lowest=0.37), begins)
        rows = [smu.device.read()]
        while not rows[-1].cut_off:
            if smu.device.read().t_ns != rows[-1].t_ns:
                rows.append(smu.device.read())
            pause(0.001)
        wait_for(lambda: abs(smu.device.read().current) < NOISE)
        assert smu.device.read().control == "open_circuit"
        charge, counted = smu.true().charge, smu.device.read().charge
    flowing, gap = [row for row in rows if row.control == "current"], longest_gap(rows)
    assert len(flowing) >= 2
    assert [row.current for row in flowing[1:]] == pytest.approx([-3e-5] * (len(flowing) - 1), abs=NOISE)
    assert flowing[0].t_ns - begins < 1e9 * (0.03 + gap)
    assert flowing[-1].potential > 0.37  # so the reading that opened the cell was the first at the cut-off
    assert counted == pytest.approx(charge, abs=3e-5 * (0.03 + gap))


def test_charge_is_counted(smu: OnTheWire) -> None:
    begins, before, counted = at(smu, 0.1), smu.true().charge, smu.device.read().charge
    smu.device.apply(ConstantCurrent(-5e-5), begins)
    wait_for(lambda: smu.device.read().control == "current")
    smu.device.apply(OpenCircuit(), begins + 600_000_000)
    wait_for(lambda: smu.device.read().control == "open_circuit" and smu.clock.now_ns() > begins + 650_000_000)
    late = 0.02 + float(smu.device.state().settings["longest_reading_s"])
    assert smu.device.read().charge - counted == pytest.approx(smu.true().charge - before, rel=0.02 + 3.0 * late)
    assert smu.device.read().charge - counted == pytest.approx(-3e-5, rel=0.15)


def test_what_the_envelope_forbids_is_refused_and_interrupted() -> None:
    narrow = EXPERIMENT.replace("cell_V: [-0.05, 1.5], cell_mA: 20", "cell_V: [0.35, 0.45], cell_mA: 0.5")
    with on_the_wire("potentiostat", ENTRY, ADDRESS, narrow) as one:
        with pytest.raises(OutsideDomain, match=r"hold at 0.3 V; envelope.cell_V is 0.35 … 0.45 V"):
            one.device.apply(PotentialRamp(0.3), 0)
        with pytest.raises(OutsideDomain, match=r"current of -1 mA; instrument and envelope.cell_mA allow 0.5 mA"):
            one.device.apply(ConstantCurrent(-1e-3), 0)
        with pytest.raises(OutsideDomain, match="iR compensation; the instrument compensates nothing"):
            one.device.apply(PotentialRamp(0.4, 0.0, 0.9), 0)
        one.device.apply(ConstantCurrent(-2e-4), one.clock.now_ns())
        with pytest.raises(LimitCrossed, match=r"under a current of -0.2 mA; the envelope is 0.35 … 0.45 V"):
            wait_for(lambda: one.device.read() is None)
        wait_for(lambda: abs(one.true().current) < NOISE)
        assert one.device.state().quality is Quality.SUSPECT
        assert "the cell was opened" in one.device.state().message


def test_a_current_limit_holds_in_the_instrument() -> None:
    """A jump by 0.2 V charges the double layer; the instrument gives 0.3 mA and no more, and says so."""
    tight = EXPERIMENT.replace("cell_mA: 20", "cell_mA: 0.3")
    with on_the_wire("potentiostat", ENTRY.replace("rest_V", "tick_ms: 5, rest_V"), ADDRESS, tight) as one:
        assert one.device.state().settings["current_limit_A"] == pytest.approx(3e-4)
        one.device.apply(PotentialRamp(0.1), one.clock.now_ns())
        seen: dict[Quality, str] = {}

        def saturated() -> bool:
            state = one.device.state()
            seen[state.quality] = state.message
            return Quality.SATURATED in seen

        wait_for(saturated)
        assert seen[Quality.SATURATED] == "it holds its own limit, not the program"


def test_a_program_is_refused_before_the_run() -> None:
    asked = EXPERIMENT.replace(
        "  - open_circuit: {for_s: 1}",
        "  - sweep: {from_V: 0.4, to_V: 0.2, rate_mV_s: 1, ir_compensation_pct: 90}\n  - open_circuit: {for_s: 1}",
    )
    setup = role_setup("potentiostat", ENTRY.replace("rest_V", "current_range_mA: 10, rest_V"), ADDRESS, asked)
    with pytest.raises(BadInput) as refused:
        specify(setup)
    assert [str(problem) for problem in refused.value.problems] == [
        "cell[0] ir_compensation_pct; a source-measure unit has no iR compensation; delete ir_compensation_pct there; "
        "the drop i R_u can be taken off afterwards",
        "envelope.cell_mA is 20; a source-measure unit measures up to 10 mA here; beyond that it holds no potential; "
        "write envelope: {cell_mA: 10}, or choose a larger range in the rig file",
    ]
    with pytest.raises(BadInput, match="address; is missing and pyvisa needs it"):
        specify(role_setup("potentiostat", ENTRY, None))


def test_a_setting_that_is_needed_is_asked_for_by_name(laboratory: Laboratory) -> None:
    rig = BEHIND.replace(f"driver: twin\n    settings: {{initial_V: {RESTS_AT}}}", "driver: scpi_smu")
    experiment = laboratory.experiment(EXPERIMENT, rig)
    with pytest.raises(BadInput) as refused:
        rig_numbers(experiment, load_rig(experiment, None))
    wanted = "roles.potentiostat.settings.rest_V; is missing and the source-measure unit needs it; add rest_V: 1.7"
    assert wanted in str(refused.value)


def test_an_experiment_runs_through_it(laboratory: Laboratory) -> None:
    """A hold with hops, the cell on a wire and the probe a twin's."""
    with world_behind() as world:
        setup = role_setup("potentiostat", ENTRY, ADDRESS)
        served = serve(
            world, Entry("scpi_smu", ADDRESS, {"potentiostat": setup.rig.rig.role("potentiostat")}, setup.rig.rig)
        )
        entry = f"{{driver: scpi_smu, address: '{served.address}', settings: {{rest_V: {RESTS_AT}}}}}"
        rig = BEHIND.replace(f"\n    driver: twin\n    settings: {{initial_V: {RESTS_AT}}}", f" {entry}")
        hold = "hold: {potential_V: 0.39, for_s: 2}"
        probe = "probe:\n  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0}\nenvelope"
        text = EXPERIMENT.replace("open_circuit: {for_s: 1}", hold).replace("envelope", probe)
        execution = execute(laboratory.experiment(text, rig), laboratory.folder / "out", seed=1)
        served.close()
    assert execution.ending.outcome == "completed"
    run = Run(execution.path)
    assert float(run.cell["potential"].min()) == pytest.approx(0.39, abs=2e-3)
    assert np.all(run.hops["outcome"] == 0)
    assert np.max(np.abs(run.hops["bias_residual"])) < 0.02
    assert run.facts[-1].data["outcome"] == "completed"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("late", 0.3), ("silent", 0), ("partial", 0), ("reset", 0), ("garbage", 0), ("nan", 0), ("busy", 0), ("stuck", 0)],
)
def test_a_fault_that_passes_is_asked_again(smu: OnTheWire, kind: str, value: float) -> None:
    smu.served.faults.set(kind, value)
    wait_for(lambda: smu.served.faults.takes(kind) is None)  # it was shown; or taken here, then the next line counts
    smu.served.faults.set(kind, value)
    seen = smu.device.read().t_ns
    wait_for(lambda: smu.device.read().t_ns > seen + 100_000_000)
    assert not smu.served.faults._set  # shown
    assert smu.device.read().potential == pytest.approx(smu.true().potential, abs=1e-3)
    assert smu.device.state().quality is Quality.GOOD


@pytest.mark.parametrize("kind", ["silent", "garbage", "nan", "stuck"])
def test_a_fault_that_stays_loses_the_instrument_and_reviving_opens_the_cell(smu: OnTheWire, kind: str) -> None:
    smu.device.apply(PotentialRamp(RESTS_AT - 0.02), smu.clock.now_ns())
    wait_for(lambda: smu.device.read().control == "potential")
    waited = stopwatch()
    smu.served.faults.set(kind, times=-1)

    def lost() -> bool:
        try:
            smu.device.read()
        except InstrumentLost:
            return True
        return False

    wait_for(lost)
    assert waited() < 0.75  # half a second, and the attempt under way at its end
    with pytest.raises(InstrumentLost, match=r"source-measure unit TCPIP::127.0.0.1::\d+::SOCKET lost"):
        smu.device.apply(OpenCircuit(), smu.clock.now_ns())
    smu.served.faults.clear()
    if kind == "silent":  # the order of every exit path: it does not wait for somebody to look
        smu.device.safe()
        wait_for(lambda: smu.true().control == "open_circuit")
        assert smu.device.state().quality is Quality.STALE
        return
    state = smu.device.state()
    assert (state.quality, state.message) == (
        Quality.SUSPECT,
        "it was lost: the cell is open now, the charge has a gap",
    )
    assert smu.device.read().control == "open_circuit"
    assert smu.device.state().quality is Quality.GOOD


def test_a_restart_is_noticed_for_its_limits_are_gone(smu: OnTheWire) -> None:
    smu.served.instrument.power_cycle()
    smu.served.faults.set("reset")
    with pytest.raises(InstrumentLost, match="restarted; it has been switched off meanwhile"):
        wait_for(lambda: smu.device.read() is None)
    for name in ("OUTP:VOLT:SMOD", "OUTP:CURR:SMOD"):
        smu.served.instrument.values[name] = "HIMP"  # somebody has looked at it
    assert wait_for(lambda: smu.device.state().quality is not Quality.MISSING) < 1.0


def test_another_session_opens_the_cell_and_a_reading_is_none_then(smu: OnTheWire) -> None:
    smu.device.apply(ConstantCurrent(-2e-5), smu.clock.now_ns())
    wait_for(lambda: smu.device.read().control == "current")
    make_safe = safe_channel({"resource": smu.served.address})
    wait_for(make_safe)
    wait_for(lambda: smu.true().control == "open_circuit")
    smu.served.faults.set("garbage")
    assert any(make_safe() for _ in range(5))
    smu.device.safe()
    reading = smu.device.read()
    assert (reading.control, reading.current) == ("open_circuit", 0.0)
    state = smu.device.state()
    assert state.quality is Quality.STALE
    assert "potential not measured" in state.message
    assert state.settings["output"] == "off"
    smu.device.apply(OpenCircuit(), smu.clock.now_ns())
    wait_for(lambda: smu.device.state().quality is Quality.GOOD)


def test_a_specimen_at_the_other_terminal_shows_the_other_sign(smu: OnTheWire) -> None:
    smu.served.instrument.circuit.sign = 1.0
    wait_for(lambda: smu.device.read().potential < 0.0)
    assert smu.device.read().potential == pytest.approx(-smu.true().potential, abs=1e-3)
    smu.served.instrument.circuit.sign = -1.0
    wait_for(lambda: smu.device.read().potential > 0.0)


def test_nobody_there() -> None:
    with pytest.raises(BadInput, match=r"TCPIP::127.0.0.1::9::SOCKET; nobody answers there"):
        SmuSource("TCPIP::127.0.0.1::9::SOCKET", SmuSettings(rest_V=0.4), Envelope())
    with pytest.raises(BadInput, match="No package named pyvisa_nonsense"):
        SmuSource(ADDRESS, SmuSettings(rest_V=0.4), Envelope(), "@nonsense")


@pytest.mark.parametrize("backend", ["/tmp/theirs.so", "/tmp/theirs.yaml@sim", "@theirs"])
def test_a_rig_file_names_no_library_that_pyvisa_would_load(backend: str) -> None:
    with pytest.raises(ValidationError, match=r"backend\s+Input should be '@py', '@ivi' or '@sim'"):
        SmuSettings.model_validate({"rest_V": 0.4, "backend": backend})
    with pytest.raises(BadInput, match=r"backend of the safe channel .* must be one of @py, @ivi, @sim"):
        safe_channel({"resource": ADDRESS, "backend": backend})


# -- Scripts by other authors: QCoDeS' pyvisa-sim file of the Model 2450, played by pyvisa-sim.

_QCODES = importlib.util.find_spec("qcodes")
SCRIPT: Final = Path(_QCODES.submodule_search_locations[0] if _QCODES is not None else "", "instrument/sims") / (  # type: ignore[index]
    "Keithley_2450.yaml"
)
NOT_IN_SCRIPT: Final = (
    *("*CLS", "*RST"),
    *(f":OUTP:{function}:SMOD HIMP" for function in ("VOLT", "CURR")),
    *(f":SENS:{function}:RSEN ON" for function in ("CURR", "VOLT")),
    *(f":SENS:{function}:NPLC 0.1" for function in ("CURR", "VOLT")),
    *(":SENS:CURR:RANG 0.1", ":SENS:VOLT:RANG 20", ":SOUR:VOLT:RANG 2", ":SOUR:VOLT:ILIM 0.02"),
    *(f":SOUR:{function}:READ:BACK ON" for function in ("VOLT", "CURR")),
    *(f":SOUR:{function}:DEL 0" for function in ("VOLT", "CURR")),
    ":SOUR:VOLT -0.4",
)
"""The commands of this driver that the script does not know: they are added to it here, without an answer."""


def test_the_wrong_command_set_of_the_third_party_script_is_refused() -> None:
    with pytest.raises(BadInput, match="command set of the source-measure unit is SCPI2400; this driver speaks SCPI"):
        SmuSource("GPIB0::1::INSTR", SmuSettings(rest_V=0.4), Envelope(), f"{SCRIPT}@sim")


def test_the_third_party_script_takes_the_common_commands(tmp_path: Path) -> None:
    script = yaml.safe_load(SCRIPT.read_text(encoding="utf-8"))
    device = script["devices"]["device 1"]
    known = {dialogue["q"] for dialogue in device["dialogues"]}
    properties = [part["setter"]["q"] for part in device["properties"].values()]
    assert not known & set(NOT_IN_SCRIPT)
    assert {":OUTP {}", ":SOUR:FUNC {}", ":SENS:FUNC {}"} <= set(properties)
    device["dialogues"] += [{"q": command} for command in NOT_IN_SCRIPT]
    device["dialogues"] += [
        {"q": ":SYST:ERR?", "r": '0,"No error;0;0 0"'},
        {"q": ':READ? "defbuffer1", SOUR, READ, REL', "r": "-4.000000E-01,2.500000E-05,1.000000E+00"},
    ]
    path = tmp_path / "script.yaml"
    path.write_text(yaml.safe_dump(script), encoding="utf-8")
    source = SmuSource("GPIB0::2::INSTR", SmuSettings(rest_V=0.4), Envelope(), f"{path}@sim")
    assert source.identity().model == "QCoDeS correct mode"
    source.hold_potential(0.4)
    measured = source.measure()
    assert (measured.potential, measured.current) == (0.4, -2.5e-5)  # the specimen is at LO
    said = source._link.ask(lambda client: [client.query(f"{name}?").strip() for name in (":SOUR:FUNC", ":OUTP")])
    assert said == ["VOLT", "ON"]
    source.close()


# -- A serial line, which has no sessions.


def test_a_late_answer_on_a_serial_line_is_left_behind() -> None:
    """The answer to a question that was given up comes after the line was opened anew; pyvisa's own serial session."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    kept = "0"

    def instrument() -> None:
        nonlocal kept
        os.write(ours, b"0.4211\n")  # late
        pending = b""
        while True:
            pending += os.read(ours, 256)
            while b"\n" in pending:
                line, _, pending = pending.partition(b"\n")
                match line.decode().strip().split(" "):
                    case ["*ESE", number]:
                        kept = number
                    case ["*ESE?"]:
                        os.write(ours, f"{kept}\n".encode())
                    case ["*LANG?"]:
                        os.write(ours, b"SCPI\n")
                    case ["end"]:
                        return

    thread = threading.Thread(target=instrument, daemon=True)
    thread.start()
    client = open_resource(f"ASRL{os.ttyname(theirs)}::INSTR", "@py")
    try:
        assert client.query("*LANG?").strip() == "SCPI"
        assert kept == "0"
    finally:
        client.write("end")
        thread.join(5.0)
        client.close()
        os.close(ours)
        os.close(theirs)


def test_an_instrument_that_keeps_no_number_is_asked_no_more() -> None:
    class Deaf:
        def write(self, _: str) -> None: ...

        def read(self) -> str:
            return "7\n"

    with pytest.raises(_Unusable, match=r"'7' in place of \d+, which it was told to keep"):
        _leave_old_answers(Deaf())
