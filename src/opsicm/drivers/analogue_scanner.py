"""A scanner on a card's analogue outputs: volts to the piezo's amplifier, and its sensor's monitor where it has one.

    scanner:
      driver: nidaqmx
      address: Dev1                       # or grpc://127.0.0.1:31763/Dev1
      settings: {z_output: Dev1/ao0, z_um_per_V: 2, x_output: Dev1/ao2, y_output: Dev1/ao3, xy_um_per_V: 10}

`z_zero_V` and `xy_zero_V` are where the middle of the travel is: 5 for an amplifier that takes 0 … 10 V. A negative
`z_um_per_V` is a piezo that draws the pipette up with falling voltage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain, Problem
from opsicm.core.units import to_si
from opsicm.drivers.ni_card import NiCard, card, file_range, terminal
from opsicm.experiment.rig_file import LoadedRig
from opsicm.experiment.step_model import FileModel, Number, Text
from opsicm.experiment.validation import validated
from opsicm.instruments.clock import Clock, pause
from opsicm.instruments.registry import RoleSetup
from opsicm.instruments.roles import Identity, RoleState
from opsicm.instruments.specification import RigSpecification, ScannerSpecification

Floats = NDArray[np.float64]
_AVERAGED: Final = 0.005  # [s] of one reading of the sensor
_TURN: Final = 0.002  # [s] between two steps of a withdrawal
_Factor = Annotated[Number, Field(ge=-1000, le=1000)]


class AnalogueScannerSettings(FileModel):
    """Outputs and what a volt does there; travel, where it is less than the outputs reach; lag and sensor noise.

    `withdraw_line` is a digital line whose high level draws the pipette up whatever the outputs say: for the watchdog.
    """

    display_name = "a scanner on analogue outputs"
    z_output: Text | None = None
    x_output: Text | None = None
    y_output: Text | None = None
    z_um_per_V: _Factor | None = None
    xy_um_per_V: _Factor | None = None
    z_zero_V: Annotated[Number, Field(ge=-10, le=10)] = 0.0
    xy_zero_V: Annotated[Number, Field(ge=-10, le=10)] = 0.0
    z_range_um: Annotated[Number, Field(gt=0, le=20_000)] | None = None
    xy_range_um: Annotated[Number, Field(gt=0, le=80_000)] | None = None
    lag_us: Annotated[Number, Field(ge=0, le=2e5)] = 200.0
    height_noise_nm: Annotated[Number, Field(ge=0, le=300)] = 0.3
    withdraw_nm_per_ms: Annotated[Number, Field(ge=0.4, le=4e5)] = 400.0
    withdraw_line: Text | None = None


def specify_scanner(setup: RoleSetup) -> ScannerSpecification:
    """Reach, lag and noise; `BadInput` where the rig file says too little of the outputs."""
    settings: AnalogueScannerSettings = setup.settings
    needed = {"z_output": "write the card's output that drives z, as z_output: Dev1/ao0"}
    needed["z_um_per_V"] = "write by how much one volt moves z, negative where it lowers the pipette"
    if settings.x_output is not None or settings.y_output is not None:
        needed["xy_um_per_V"] = "write by how much one volt moves x and y"
    problems = [
        setup.problem(key, "", "is missing", remedy) for key, remedy in needed.items() if getattr(settings, key) is None
    ]
    problems += [
        setup.problem(key, 0, "must not be zero", needed[key])
        for key in ("z_um_per_V", "xy_um_per_V")
        if key in needed and getattr(settings, key) == 0.0
    ]
    if not any(one.name == "z" and one.input is not None for one in setup.rig.rig.rig.channels):
        # An output keeps what the last program has left on it, and nobody can ask it: taken for 0 V, a way up may be
        # one down by the whole travel.
        limit = "has no channel z with an input: without a sensor nobody knows where the piezo stands before it moves"
        remedy = "add to channels: {name: z, role: scanner, input: Dev1/ai1, gain: …, offset: …}"
        problems.append(setup.rig.rig.problem(("channels",), "", limit, remedy))
    if problems:
        raise BadInput(problems)
    z, xy = (_reach(setup.rig.rig, settings, axis) for axis in ("z", "xy"))
    return ScannerSpecification(
        z, xy, to_si("lag_us", settings.lag_us), to_si("height_noise_nm", settings.height_noise_nm)
    )


def _reach(loaded: LoadedRig, settings: AnalogueScannerSettings, axis: str) -> float:
    """[m] to either side of the zero: what the outputs reach, or the travel that the rig file states."""
    outputs = [settings.z_output] if axis == "z" else [settings.x_output, settings.y_output]
    ranges = [file_range(loaded, name) for name in outputs if name is not None]
    if not ranges:
        return 0.0
    zero: float = getattr(settings, f"{axis}_zero_V")
    reach = min(min(high - zero, zero - low) for low, high in ranges) * _factor(settings, axis)
    travel: float | None = getattr(settings, f"{axis}_range_um")
    return abs(reach) if travel is None else min(abs(reach), 0.5 * to_si("travel_um", travel))


def _factor(settings: AnalogueScannerSettings, axis: str) -> float:
    """[m/V] of an axis."""
    factor: float | None = getattr(settings, f"{axis}_um_per_V")
    return to_si("factor_um_per_V", 1.0 if factor is None else factor)


def axes_of(setup: RoleSetup, specification: ScannerSpecification, clock: Clock) -> Axes:
    """The axes that scanner and hop controller of one card share; `BadInput` where the scanner is another driver's."""
    loaded = setup.rig.rig
    scanner = loaded.role("scanner")
    if scanner.address != setup.address or "z_output" not in scanner.settings:
        limit = "writes the scanner's z by itself, and the scanner is not on its card"
        remedy = "give the scanner driver: nidaqmx and this address, or take a hop controller that has its own outputs"
        raise BadInput(loaded.problem(("roles", "hop_controller", "driver"), setup.address, limit, remedy))
    settings = validated(loaded.document.below(("roles", "scanner", "settings")), AnalogueScannerSettings)
    return setup.rig.shared(("axes", setup.address), lambda: Axes(card(setup), loaded, settings, specification, clock))


class Axes:
    """x, y, z [m] of a scanner as voltages of a card. z is clamped to its range, x and y are refused beyond theirs."""

    def __init__(
        self,
        on: NiCard,
        loaded: LoadedRig,
        settings: AnalogueScannerSettings,
        specification: ScannerSpecification,
        clock: Clock,
    ) -> None:
        assert settings.z_output is not None
        self.card, self._clock = on, clock
        self.centre_ns: int | None = None
        self.arrived: Callable[[], bool] = lambda: True
        self.z_reach, self.xy_reach = specification.z_reach, specification.xy_reach
        self.withdraw_rate = to_si("withdraw_nm_per_ms", settings.withdraw_nm_per_ms)
        self._outputs = {
            axis: terminal(name, on.device)
            for axis, name in (("z", settings.z_output), ("x", settings.x_output), ("y", settings.y_output))
            if name is not None
        }
        z, xy = (_factor(settings, axis) for axis in ("z", "xy"))
        self._factors = {"z": z, "x": xy, "y": xy}
        self._zeros = {"z": settings.z_zero_V, "x": settings.xy_zero_V, "y": settings.xy_zero_V}
        self.withdraw_line = settings.withdraw_line
        self.sensor = next((one for one in loaded.rig.channels if one.name == "z" and one.input is not None), None)

    def volts(self, axis: str, value: float) -> float:
        """[V] on the output of an axis that is at `value` [m]."""
        return value / self._factors[axis] + self._zeros[axis]

    def output(self, axis: str) -> str | None:
        """The card's output of an axis, None where it has none."""
        return self._outputs.get(axis)

    def metres(self, axis: str, volts: Floats) -> Floats:
        """What an axis is commanded to [m] by `volts` [V] on its output."""
        return np.asarray(self._factors[axis] * (volts - self._zeros[axis]))

    @property
    def z(self) -> float:
        """The command [m] as it is written; before the first, what the sensor says, or where 0 V is."""
        output = self._outputs["z"]
        if not self.card.has_written(output) and self.sensor is not None:
            return self.read_z()
        return self._commanded(output)

    def read_z(self) -> float:
        """[m] of the sensor, averaged over 5 ms; the command where there is none."""
        if self.sensor is None or self.sensor.input is None:
            return self._commanded(self._outputs["z"])
        volts = float(np.nanmean(self.card.latest([self.sensor.input], _AVERAGED).volts))
        return self.sensor.sign * self.sensor.gain * volts + self.sensor.offset

    def written_z(self) -> float | None:
        """The command [m] as it is written; None before the first, when nobody can say what is there."""
        output = self._outputs["z"]
        return self._commanded(output) if self.card.has_written(output) else None

    def _commanded(self, output: str) -> float:
        return self._factors["z"] * (self.card.written(output) - self._zeros["z"])

    def centre_if_due(self) -> None:
        """To the middle of the travel once the coarse motion waited for has ended, as slowly as a withdrawal."""
        if self.centre_ns is None or self._clock.now_ns() < self.centre_ns or not self.arrived():
            return
        self.centre_ns = None
        now = self.z
        while now > 0.0:
            now = max(now - self.withdraw_rate * _TURN, 0.0)
            self.write_z(now)
            if now > 0.0:
                pause(_TURN)
        self.withdraw(0.0)

    def write_z(self, z: float) -> None:
        """Command z [m], no farther than it reaches."""
        self._write("z", min(max(z, -self.z_reach), self.z_reach))

    def require_xy(self, x: Floats, y: Floats) -> None:
        """`OutsideDomain` for points [m] that the scanner does not reach, before anything moves."""
        for axis, values in (("x", x), ("y", y)):
            farthest = float(np.abs(values).max(initial=0.0))
            if farthest > self.xy_reach * (1.0 + 1e-9):
                limit = f"reaches ±{self.xy_reach * 1e6:.4g} µm"
                limit = limit if axis in self._outputs else f"has no {axis}_output"
                remedy = "scan a smaller area, or name the outputs of x and y"
                raise OutsideDomain(Problem(f"scanner {axis}", f"{farthest * 1e6:.4g} µm", limit, remedy))

    def write_xy(self, x: float, y: float) -> None:
        """Command x, y [m], where they have outputs."""
        for axis, value in (("x", x), ("y", y)):
            if axis in self._outputs:
                self._write(axis, value)

    def _write(self, axis: str, value: float) -> None:
        output, volts = self._outputs[axis], self.volts(axis, value)
        if not self.card.has_written(output) or self.card.written(output) != volts:
            low, high = self.card.output_range(output)
            self.card.write(output, min(max(volts, low), high))

    def withdraw(self, z: float) -> None:
        """Go up to z [m], never down, in small steps at the rate of withdrawals; returns when it is there."""
        now = self.z
        if math.isnan(now):  # a sensor that says nothing: up at once rather than not at all
            self.write_z(z)
        while now < z:
            now = min(now + self.withdraw_rate * _TURN, z)
            self.write_z(now)
            if now < z:
                pause(_TURN)


class AnalogueScanner:
    """The role."""

    def __init__(self, setup: RoleSetup, rig: RigSpecification, clock: Clock) -> None:
        self._card = card(setup, clock)
        self.axes = axes_of(setup, rig.scanner, clock)

    @property
    def z_range(self) -> tuple[float, float]:
        return -self.axes.z_reach, self.axes.z_reach

    @property
    def xy_range(self) -> tuple[float, float]:
        return -self.axes.xy_reach, self.axes.xy_reach

    def read_z(self) -> float:
        self.axes.centre_if_due()
        return self.axes.read_z()

    def draw_up(self) -> None:
        """Up to the middle of the travel, for a coarse motion that is about to begin."""
        self.axes.centre_ns = None
        self.axes.withdraw(0.0)

    def centre_at(self, t_ns: int, arrived: Callable[[], bool]) -> None:
        """To the middle of the travel once the coarse motion has ended: a motor that has stalled has not."""
        self.axes.centre_ns, self.axes.arrived = t_ns, arrived

    @property
    def safe_address(self) -> str:
        """The watchdog's way to draw the pipette up: z to its top, or `withdraw_line` where it cannot be set."""
        axes = self.axes
        top = axes.volts("z", axes.z_reach)
        instead = {} if axes.withdraw_line is None else {axes.withdraw_line: True}
        output = axes.output("z")
        assert output is not None
        return self._card.safe_address("scanner", {output: top}, instead=instead)

    def identity(self) -> Identity:
        return self._card.identity()

    def state(self) -> RoleState:
        sensor = self.axes.sensor
        state = self._card.state([] if sensor is None or sensor.input is None else [sensor.input])
        if (z := self.axes.written_z()) is None:
            return state
        return replace(state, settings={**state.settings, "z_command_m": z})

    def safe(self) -> None:
        """Withdraw to the top at the rate of withdrawals, from wherever it stands."""
        self.axes.centre_ns = None
        try:
            self.axes.withdraw(self.axes.z_reach)
        except InstrumentLost:
            # The sensor may be lost and the output not: without knowing where it stands, up at once.
            self.axes.write_z(self.axes.z_reach)
