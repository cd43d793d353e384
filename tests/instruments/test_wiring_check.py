"""The wiring check on a circuit of resistors: what each wrong sign, scale and ground looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from opsicm.core.errors import InstrumentLost, LimitCrossed, Problem
from opsicm.experiment.controls import CellControl, OpenCircuit, PotentialRamp
from opsicm.instruments.roles import CellReading
from opsicm.instruments.wiring_check import (
    CELL_STEP,
    Finding,
    bias_reach,
    bias_steps,
    checked,
    potential_step,
    refuse_failed,
)

RESISTANCE = 2e8


class Clock:
    def __init__(self) -> None:
        self.t_ns = 0

    def now_ns(self) -> int:
        return self.t_ns

    def wait_until(self, t_ns: int) -> None:
        self.t_ns = max(self.t_ns, t_ns)


@dataclass
class Circuit:
    """A pipette of `ohms` in a bath whose reference is at -`follows`·`cell` [V] against ground; how it is wired.

    Written from the circuit, not from the sign table: the wire is at the command, current flows from it to the
    reference, and each of the signs turns one thing round.
    """

    cell: float = 1.2
    ohms: float = RESISTANCE
    follows: float = 1.0
    command_sign: float = 1.0
    command_scale: float = 1.0
    current_sign: float = 1.0
    gain: float = 1.0
    cell_sign: float = 1.0
    input_sign: float = 1.0
    reach: float = 2.0
    blocked: bool = False

    def __post_init__(self) -> None:
        self.asked = 0.0
        self.commands: list[float] = []
        self.controls: list[str] = []
        self.cell_current = 0.0
        self.set_point: float | None = None

    # the amplifier
    @property
    def command_range(self) -> tuple[float, float]:
        return -self.reach, self.reach

    def command(self, volts: float, slope: float = 0.0) -> None:  # noqa: ARG002 - the check never ramps
        self.asked = volts
        self.commands.append(volts)

    def read_current(self) -> float:
        wire = self.command_sign * self.command_scale * self.asked
        through = 0.0 if self.blocked else (wire + self.follows * self.cell) / self.ohms
        return self.current_sign * self.gain * through


class Amplifier(Circuit):
    def read(self) -> tuple[float, float]:
        return self.read_current(), self.asked


class Potentiostat:
    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit

    def read(self) -> CellReading:
        c = self.circuit
        return CellReading(2**62, c.cell_sign * c.cell, c.cell_current, 0.0, c.set_point, "")

    def apply(self, control: CellControl, at_ns: int) -> None:  # noqa: ARG002 - at once
        c = self.circuit
        c.controls.append(type(control).__name__)
        if isinstance(control, PotentialRamp):
            rest, c.cell, c.set_point = 1.2, c.input_sign * control.start, control.start
            c.cell_current = (c.cell - rest) * 1e-3
        elif isinstance(control, OpenCircuit):
            c.cell_current, c.set_point = 0.0, None

    def safe(self) -> None:
        self.circuit.controls.append("safe")


def found(circuit: Amplifier, grounding: str = "common", grounded: bool = True) -> dict[str, Finding]:
    potentiostat, amplifier, clock = Potentiostat(circuit), circuit, Clock()
    findings = bias_steps(amplifier, potentiostat, clock, grounding, RESISTANCE, 0.0, grounded)  # type: ignore[arg-type]
    assert not circuit.commands or circuit.commands[-1] == 0.0
    assert max(map(abs, circuit.commands), default=0.0) <= 0.05
    assert circuit.controls == []
    assert all("no motion, no cell switched on" in finding.moves for finding in findings)
    return {finding.name: finding for finding in findings}


def test_a_rig_wired_as_it_is_written_passes() -> None:
    findings = found(Amplifier())
    assert [(name, finding.ok) for name, finding in findings.items()] == [
        ("bias", True),
        ("bias sign", True),
        ("bias size", True),
        ("reference", True),
    ]
    assert findings["bias size"].sentence == "the pipette shows 200 MΩ, 200 MΩ by its geometry"
    refuse_failed(list(findings.values()))


@pytest.mark.parametrize(
    ("circuit", "fails", "sentence"),
    [
        (Amplifier(command_sign=-1.0), "bias sign", "a more positive command made a more NEGATIVE current"),
        (Amplifier(current_sign=-1.0), "bias sign", "one of the two is inverted"),
        (Amplifier(command_sign=-1.0, current_sign=-1.0), "reference", "the polarity of one of them is inverted"),
        (Amplifier(cell_sign=-1.0), "reference", "the cell reads -1200 mV: the polarity of one of them is inverted"),
        (Amplifier(command_scale=0.2), "bias size", "currents or commands are 5 times too small"),
        (Amplifier(command_scale=5.0), "bias size", "currents or commands are 5 times too large"),
        (
            Amplifier(gain=10.0),
            "bias size",
            "the pipette shows 20 MΩ, 200 MΩ by its geometry: currents or commands are 10",
        ),
        (Amplifier(gain=0.1), "bias size", "currents or commands are 10 times too small"),
        (Amplifier(follows=0.0), "reference", "the reference does not follow the cell"),
        (Amplifier(follows=0.4), "reference", "the reference is not where either of them says"),
        (Amplifier(blocked=True), "bias", "it does not answer"),
        (Amplifier(ohms=1e10), "bias", "it does not answer"),
    ],
)
def test_what_is_wrong_is_found_before_anything_moves(circuit: Amplifier, fails: str, sentence: str) -> None:
    findings = found(circuit)
    assert findings[fails].ok is False
    assert sentence in findings[fails].sentence
    assert findings[fails].remedy
    with pytest.raises(LimitCrossed, match=rf"wiring, {fails}"):
        refuse_failed(list(findings.values()))


def test_two_electrodes_have_their_reference_at_ground() -> None:
    assert found(Amplifier(follows=0.0), "two_electrode")["reference"].ok
    assert found(Amplifier(), "two_electrode")["reference"].ok is False


def test_what_cannot_be_told_is_not_called_wrong() -> None:
    assert found(Amplifier(cell=0.1))["reference"].ok is None
    assert found(Amplifier(cell_sign=math.nan))["reference"].ok is None
    assert found(Amplifier(follows=0.0), grounded=False)["reference"].ok is None
    assert found(Amplifier(reach=0.02))["bias"].ok is None
    refuse_failed(list(found(Amplifier(cell=0.1)).values()))


def stepped(circuit: Amplifier) -> list[Finding]:
    findings = potential_step(circuit, Potentiostat(circuit), Clock(), "common")  # type: ignore[arg-type]
    assert circuit.controls[-2:] == ["OpenCircuit", "safe"], "open again, whatever happened"
    return findings


def test_a_step_of_the_potential_moves_cell_and_reference() -> None:
    findings = stepped(Amplifier())
    assert [(finding.name, finding.ok) for finding in findings] == [
        ("potential", True),
        ("cell current", True),
        ("reference step", True),
    ]
    assert findings[0].sentence == "a set point 5 mV higher moved the potential by 5.0 mV"
    assert findings[2].sentence.startswith(f"it changed the pipette current by {CELL_STEP / RESISTANCE * 1e12:.3g} pA")


def test_an_inverted_input_moves_the_potential_the_other_way() -> None:
    circuit = Amplifier(input_sign=-1.0)
    (potential,) = stepped(circuit)
    assert potential.ok is False
    assert potential.sentence == "asked to stay at 1.200 V, the cell went to -1.200 V and was opened again"
    assert circuit.controls.count("PotentialRamp") == 1, "no second try"


def test_twenty_millivolts_per_volt_cannot_track_a_sweep() -> None:
    finding = bias_reach((-0.2, 0.2), 0.02, 0.7, (0.0, 1.7), "common")
    assert finding.ok is False
    assert finding.sentence == (
        "the command reaches -0.2 … 0.2 V (10 V times 20 mV/V), and 0.7 V at the pipette over a cell of 0 … 1.7 V "
        "needs -1 … 0.7 V: it follows a cell of 0.5 … 0.9 V only"
    )
    wide = bias_reach((-1.0, 1.0), 0.1, 0.7, (0.0, 1.7), "common")
    assert wide.ok
    assert wide.sentence.startswith("the command reaches -1 … 1 V (10 V times 100 mV/V): enough for")
    assert bias_reach((-0.2, 0.2), 0.02, 0.1, (0.0, 1.7), "two_electrode").ok, "two electrodes follow no cell"


def test_a_loss_during_the_check_is_a_finding_for_the_operator() -> None:
    def lost() -> list[Finding]:
        raise InstrumentLost("amplifier", Problem("card", "silent", "no samples come", "check its cable"))

    (finding,) = checked(lost)
    assert (finding.ok, finding.remedy) == (False, "check its cable")


def test_a_current_beside_its_noise_has_no_sign() -> None:
    circuit = Amplifier()
    potentiostat = Potentiostat(circuit)
    read, noise = potentiostat.read, np.random.default_rng(1)

    def noisy() -> CellReading:
        reading = read()
        return replace(reading, current=reading.current + 1e-3 * float(noise.normal()))

    potentiostat.read = noisy  # type: ignore[method-assign]
    findings = {f.name: f for f in potential_step(circuit, potentiostat, Clock(), "common")}  # type: ignore[arg-type]
    assert findings["cell current"].ok is None
    assert "to tell its sign; a dummy cell tells it" in findings["cell current"].sentence
    assert findings["reference step"].ok is True
