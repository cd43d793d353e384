"""The emulated source-measure unit, asked by another author's client: PyMeasure's driver of the Model 2450."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pymeasure.instruments.keithley import Keithley2450

from opsicm.core.errors import BadInput
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry, serve
from opsicm.emulators.scpi_instrument import ScpiInstrument
from opsicm.experiment.controls import PotentialRamp
from opsicm.instruments.clock import pause
from opsicm.instruments.roles import Rig
from tests.fixtures.one_instrument import RESTS_AT, role_setup, wait_for, world_behind

pytestmark = pytest.mark.real_time

ENTRY = "{driver: scpi_smu, settings: {rest_V: 0.4, specimen_terminal: HI}}"
ADDRESS = "TCPIP::127.0.0.1::0::SOCKET"


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with world_behind() as world:
        yield world


@pytest.fixture
def served(world: PacedWorld) -> Iterator[ScpiInstrument]:
    setup = role_setup("potentiostat", ENTRY, ADDRESS)
    one = serve(world, Entry("scpi_smu", ADDRESS, {"potentiostat": setup.rig.rig.role("potentiostat")}, setup.rig.rig))
    assert isinstance(one, ScpiInstrument)
    yield one
    one.close()


def test_pymeasure_drives_the_twins_cell(served: ScpiInstrument, world: PacedWorld) -> None:
    keithley = Keithley2450(served.address, visa_library="@py", read_termination="\n", write_termination="\n")
    assert keithley.id == "KEITHLEY INSTRUMENTS,MODEL 2450,04567890,1.7.12b"
    keithley.apply_voltage(voltage_range=2, compliance_current=0.01)
    keithley.measure_current(nplc=0.1, current=0.01, auto_range=False)
    assert keithley.compliance_current == pytest.approx(0.01)
    assert keithley.source_mode == "voltage"
    keithley.source_voltage = RESTS_AT - 0.01
    keithley.enable_source()
    assert keithley.source_enabled
    wait_for(lambda: world.ask(lambda rig: rig.potentiostat.read()).control == "potential")
    current = keithley.current
    assert current < 0.0
    assert current == pytest.approx(world.ask(lambda rig: rig.potentiostat.read()).current, rel=0.5, abs=5e-6)
    keithley.apply_current(current_range=1e-3, compliance_voltage=5)
    keithley.measure_voltage(nplc=0.1, voltage=20, auto_range=False)
    keithley.source_current = 0.0
    assert not keithley.source_enabled  # the function has changed
    keithley.enable_source()
    wait_for(lambda: world.ask(lambda rig: rig.potentiostat.read()).control == "current")
    assert keithley.voltage == pytest.approx(RESTS_AT, abs=0.01)
    keithley.shutdown()
    wait_for(lambda: world.ask(lambda rig: rig.potentiostat.read()).control == "open_circuit")
    assert keithley.check_errors() == []
    keithley.adapter.close()


def test_errors_of_the_standard(served: ScpiInstrument) -> None:
    said = served.instrument.message
    assert said(":SOUR:VOLT:NONSENSE 1") is None
    assert said(":SYST:ERR?") == '-113,"Undefined header;1;2026/11/30 12:00:00.000"'
    assert said(":SOUR:VOLT:ILIM 5;:SYST:ERR?") is None  # what follows an error is not executed
    assert said("SYSTem:ERRor:NEXT?") == '-222,"Parameter data out of range;1;2026/11/30 12:00:00.000"'
    assert said(":SYST:ERR?") == '0,"No error;0;2026/11/30 12:00:00.000"'
    assert said(":SOURce1:VOLTage:LEVel:IMMediate:AMPLitude 0.125;:sour:volt?") == "1.250000E-01"
    assert said(":SOUR:VOLT 0.5;VOLT:RANG 20;:SOUR:VOLT:RANG?") == "2.000000E+01"
    assert said(":OUTP:SMOD HIMPedance;:OUTP:VOLT:SMOD?;:OUTP:CURR:SMOD?") == "HIMP;HIMP"
    assert said('SENS:FUNC "VOLT";FUNC?') == '"VOLT:DC"'


def test_the_cell_follows_within_its_short_steps(world: PacedWorld) -> None:
    """A control that comes at any moment begins within a few milliseconds of the world's time, not a tenth."""
    late = []
    for volts in (RESTS_AT - 0.005, RESTS_AT, RESTS_AT - 0.005):

        def tell(rig: Rig, volts: float = volts) -> int:
            rig.potentiostat.apply(PotentialRamp(volts), rig.clock.now_ns())
            return rig.clock.now_ns()

        def followed(volts: float = volts) -> bool:
            return world.ask(lambda rig: rig.potentiostat.read()).set_point == pytest.approx(volts)

        told = world.ask(tell)
        wait_for(followed)
        late.append(world.ask(lambda rig: rig.clock.now_ns()) - told)
    assert min(late) < 50_000_000  # 5 ms of a step, 20 ms of a slice, and the looking


def test_two_clients_at_once(served: ScpiInstrument) -> None:
    host, port = served.address.split("::")[1:3]
    answers = []
    with socket.create_connection((host, int(port))) as one, socket.create_connection((host, int(port))) as other:
        for client in (one, other, one):
            client.sendall(b":SOUR:VOLT:ILIM?\n")
            answers.append(client.recv(100))
    assert answers == [b"1.050000E-04\n"] * 3


def test_a_query_that_is_interrupted_loses_its_answer(served: ScpiInstrument) -> None:
    host, port = served.address.split("::")[1:3]
    served.faults.set("late", 0.1)
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b":SOUR:VOLT:ILIM?\n")
        pause(0.03)
        client.sendall(b":SYST:ERR?\n")
        assert client.recv(200) == b'-410,"Query interrupted;1;2026/11/30 12:00:00.000"\n'


def test_a_fault_that_the_protocol_cannot_show_is_refused(served: ScpiInstrument) -> None:
    with pytest.raises(BadInput, match="scpi_smu can show late, silent, busy"):
        served.faults.set("ticks")
