"""A driver for a coarse stage that takes lines of text over TCP, as another package would write it.

    coarse_stage: {driver: text_stage, address: "127.0.0.1:4000", settings: {up: 1}}

The stage answers `*IDN?` with maker, model, serial number and firmware, `POS?` with its position [nm], and
`MOVE position speed` [nm, nm/s] and `STOP` with OK.
"""

from __future__ import annotations

import socket
from typing import Annotated, Literal

from pydantic import Field

from opsicm.core.errors import InstrumentLost, OutsideDomain, Problem
from opsicm.core.facts import Quality
from opsicm.experiment.step_model import FileModel, Number
from opsicm.instruments.clock import Clock
from opsicm.instruments.link import TIMEOUT, Link
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import Identity, RoleState
from opsicm.instruments.specification import CoarseStageSpecification, RigSpecification


class StageSettings(FileModel):
    """What a rig file says: which sign of the stage's own position is up, its speed, how far up it may go."""

    display_name = "the text stage"
    up: Literal[-1, 1]
    speed_mm_s: Annotated[Number, Field(gt=0, le=5)] = 0.5
    highest_um: Annotated[Number, Field(gt=0, le=20_000)] = 5000.0


class _Line:
    """The client: one question, one line of answer. A vendor's package would be imported here instead."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT)
        self._lines = self._socket.makefile("r", encoding="ascii")

    def ask(self, question: str) -> str:
        self._socket.sendall(f"{question}\n".encode("ascii"))
        answer = self._lines.readline()
        if not answer.endswith("\n"):
            raise ConnectionError("the line was closed within an answer")
        return answer.strip()

    def close(self) -> None:
        self._socket.close()


class TextStage:
    """The device. At connection it stands where the operator has engaged: `start_height` above the surface."""

    def __init__(self, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        settings: StageSettings = setup.settings
        address = setup.address or "127.0.0.1:4000"
        self._clock, self._up = clock, settings.up
        self._speed, self._highest = specification.coarse_stage.speed, settings.highest_um * 1e-6
        failures = (OSError, ValueError)  # of the line, and of an answer that is no number
        self._link = Link("coarse_stage", address, lambda: _Line(address), _Line.close, failures)
        self._link.open()
        setup.rig.connections.callback(self._link.close)
        self._engaged, self._start = self._own(), specification.hop_controller.start_height

    def move_to(self, z: float, speed: float | None = None) -> int:
        if z > self._highest:
            limit, remedy = f"the stage may go to {self._highest * 1e6:g} µm", "move less, or raise highest_um"
            raise OutsideDomain(Problem("coarse stage", f"{z * 1e6:g} µm", limit, remedy))
        far, rate = abs(z - self.position()), speed or self._speed
        target = round(self._engaged + self._up * (z - self._start) * 1e9)
        self._link.ask(lambda line: line.ask(f"MOVE {target} {rate * 1e9:.0f}"))
        return self._clock.now_ns() + round(far / rate * 1e9)

    def position(self) -> float:
        return self._start + self._up * (self._own() - self._engaged) * 1e-9

    def identity(self) -> Identity:
        maker, model, serial, firmware = self._link.ask(lambda line: line.ask("*IDN?")).split(",")
        return Identity(f"{maker} {model}", serial, firmware)

    def state(self) -> RoleState:
        try:
            if self._link.revive():
                return RoleState(self._clock.now_ns(), settings={"position_nm": self._own()})
        except InstrumentLost:
            pass  # it has just been lost: the link says why
        return RoleState(self._clock.now_ns(), Quality.MISSING, self._link.lost)

    def safe(self) -> None:
        self._link.ask(lambda line: line.ask("STOP"))

    def _own(self) -> float:
        return self._link.ask(lambda line: float(line.ask("POS?")))


def specify(setup: RoleSetup) -> CoarseStageSpecification:
    """What `opsicm check` asks, from the rig file alone."""
    return CoarseStageSpecification(speed=setup.settings.speed_mm_s * 1e-3)


DRIVER = Driver(
    "text_stage",
    "coarse_stage",
    "a stage that takes lines of text, an example",
    TextStage,
    specify,
    StageSettings,
    verified="against docs/examples/text_stage_device.py only, never on hardware",
)
