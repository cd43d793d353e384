"""A Zaber stage as coarse stage, by `zaber-motion` over TCP or a serial port (ASCII protocol, firmware 7).

    coarse_stage:
      driver: zaber
      address: 192.168.0.20:55550        # or /dev/ttyUSB0, COM3
      settings: {up: 1, step_nm: 47.625, travel_mm: 25.4}

Positions are asked in the stage's own microsteps: the client could convert them, but looks the model up in the maker's
data base on the internet first, and a glovebox has none. It never homes: that way ends at the switch, and the pipette
may be in between.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from opsicm.core.errors import BadInput, LimitCrossed, Problem
from opsicm.drivers.safe_line import SafeLine, address_of_safe
from opsicm.drivers.tcp_address import connected_in_time, tcp_address
from opsicm.drivers.vertical_axis import (
    MotorisedStage,
    MotorLimits,
    MotorState,
    StageOnSharedLine,
    VerticalAxisSettings,
    specify,
)
from opsicm.experiment.step_model import Flag, Number, Whole
from opsicm.instruments.clock import Clock
from opsicm.instruments.link import TIMEOUT, Link
from opsicm.instruments.registry import Driver, RoleSetup, installed
from opsicm.instruments.roles import Identity
from opsicm.instruments.specification import CoarseStageSpecification, RigSpecification

if TYPE_CHECKING:
    from zaber_motion.ascii import Axis

CLIENT: Final = "zaber-motion"
PORT: Final = 55550  # of a controller with a network socket, for its whole chain
# Zaber, ASCII Protocol Manual, settings maxspeed and accel: a speed of n is n/1.6384 microsteps a second, an
# acceleration of n is 10⁴·n/1.6384 microsteps a second squared.
_PER_SECOND: Final = 1.6384
_PER_SECOND_SQUARED: Final = 1.6384e-4
_PATIENCE: Final = 0.9 * TIMEOUT  # [s] for an answer: connecting anew has to fit in too
_HARMLESS: Final = frozenset({"NI", "NJ", "NR", "NT", "ND", "NU", "NB"})  # notes on what was asked for
_UNREFERENCED: Final = {"WR": "it has no reference position", "WH": "it was not homed since it was switched on"}
_FAULTS: Final = {
    "FS": "it has stalled and stopped",
    "FE": "it is at a limit switch",
    "FO": "its motor is off",
    "FD": "its motor is off",
    "FZ": "its peripheral is not the one that it was set up for",
    "FQ": "its encoder fails",
    "FV": "its supply is out of range",
    "FH": "its emergency stop is pressed",
}
_TROUBLES: Final = {
    "NC": "somebody turns its knob",
    "WS": "it has stalled and recovered",
    "WM": "it was pushed while it stood",
    "WT": "it is hot",
    "WV": "its supply is out of range",
    "WL": "a limit switch was met unexpectedly",
}


class ZaberSettings(VerticalAxisSettings):
    """What a rig file may say of a Zaber stage.

    `step_nm` is the size of a microstep, from the data sheet as `travel_mm` is: the two check one another.
    `shared_line` says that the address takes more than one client, as a controller's own network socket does and a
    converter from TCP to serial does not.
    """

    display_name = "a Zaber stage"
    step_nm: Annotated[Number, Field(gt=0, le=1e5)] | None = None
    device: Annotated[Whole, Field(ge=1, le=99)] = 1
    axis: Annotated[Whole, Field(ge=1, le=9)] = 1
    shared_line: Flag = False


@dataclass(frozen=True, slots=True)
class _Reach:
    """Where a stage is found: a serial port, or a (host, port)."""

    where: str | tuple[str, int]
    device: int
    axis: int

    def __str__(self) -> str:
        where = self.where if isinstance(self.where, str) else f"{self.where[0]}:{self.where[1]}"
        return f"Zaber stage at {where} device {self.device} axis {self.axis}"

    def open(self) -> Axis:
        """A connection of its own; raises what the client raises, or `TimeoutError` where nobody takes it."""
        from zaber_motion import MotionLibException
        from zaber_motion.ascii import Connection

        if isinstance(self.where, str):
            connection = Connection.open_serial_port(self.where, direct=True)
        else:
            host, port = self.where
            connection = connected_in_time(lambda: Connection.open_tcp(host, port), Connection.close)
        connection.default_request_timeout = round(_PATIENCE * 1e3)
        axis = connection.get_device(self.device).get_axis(self.axis)
        try:
            axis.is_busy()  # a converter takes a second client only to hang up, and one without a stage takes any
        except MotionLibException:
            connection.close()
            raise
        return axis


def _close(axis: Axis) -> None:
    axis.device.connection.close()


def _failures() -> tuple[type[Exception], ...]:
    from zaber_motion import MotionLibException

    return MotionLibException, OSError, _Unbelievable


class _Unbelievable(Exception):
    """An answer that is no number of microsteps; asked again as if there had been none."""


class ZaberMotor:
    """The motor of one axis; see `vertical_axis.Motor`."""

    def __init__(self, role: str, reach: _Reach, step: float) -> None:
        """`step` [m] of a microstep."""
        self.name, self._step = str(reach), step
        self._link: Link[Axis] = Link(role, self.name, reach.open, _close, _failures())
        self._link.open()
        self.revive, self.close = self._link.revive, self._link.close

    @property
    def lost(self) -> str:
        """Why the line is lost."""
        return self._link.lost

    def state(self) -> MotorState:
        """Flags and position."""
        flags, steps = self._link.ask(lambda axis: (axis.warnings.get_flags(), _number(axis.get_position())))
        shown = {"flags": " ".join(sorted(flags)) or "--"}
        return MotorState(steps * self._step, self._forbids(flags), _trouble(flags), shown)

    def limits(self) -> MotorLimits:
        """Its limits and accelerations."""
        names = ("limit.min", "limit.max", "motion.accelonly", "motion.decelonly")
        low, high, faster, slower = self._link.ask(lambda axis: [_number(axis.settings.get(name)) for name in names])
        ramp = self._step / _PER_SECOND_SQUARED
        return MotorLimits((low * self._step, high * self._step), (faster * ramp, slower * ramp))

    def position(self) -> float:
        """[m] from the stage's zero."""
        return self._link.ask(lambda axis: _number(axis.get_position())) * self._step

    def begin(self, position: float, speed: float) -> tuple[float, float]:
        """Rounded to whole microsteps and to the unit of its speed; refused by the stage, `LimitCrossed`."""
        steps, rate = round(position / self._step), max(1, round(speed / self._step * _PER_SECOND))
        self._link.ask(lambda axis: self._move(axis, steps, rate))
        return steps * self._step, rate / _PER_SECOND * self._step

    def stop(self) -> None:
        """Slow down to a halt."""
        self._link.ask(lambda axis: axis.stop(wait_until_idle=False))

    def halted(self) -> bool:
        """Stop, and whether it stands then."""

        def ask(axis: Axis) -> bool:
            axis.stop(wait_until_idle=True)
            return not axis.is_busy()

        return self._link.ask(ask)

    def identity(self) -> Identity:
        """Zaber's number of the model, serial number and firmware."""

        def ask(axis: Axis) -> Identity:
            model, serial, firmware = (
                axis.device.generic_command(f"get {setting}").data
                for setting in ("device.id", "system.serial", "version")
            )
            return Identity(f"Zaber device {model}", serial, firmware, f"{CLIENT} {installed(CLIENT) or 'unknown'}")

        return self._link.ask(ask)

    def _move(self, axis: Axis, steps: int, rate: int) -> None:
        from zaber_motion import CommandFailedException

        try:
            axis.move_absolute(steps, wait_until_idle=False, velocity=rate)
        except CommandFailedException as error:
            if error.details.response_data == "STATUSBUSY":  # asked again
                raise
            limit = f"it refuses to move to {steps} at {rate} ({error.details.response_data})"
            raise LimitCrossed(Problem(self.name, "", limit, "ask for a lower speed, or look at it")) from error

    def _forbids(self, flags: Collection[str]) -> Problem | None:
        for flag, why in _UNREFERENCED.items():
            if flag in flags:
                remedy = "take the pipette off, home it in Zaber Launcher, and engage anew"
                return Problem(self.name, flag, f"it must not move: {why}", remedy)
        for flag in sorted(flags):
            if flag.startswith("F"):
                why = _FAULTS.get(flag, "it reports a fault")
                remedy = "clear the cause and then the flag in Zaber Launcher"
                return Problem(self.name, flag, f"it must not move: {why}", remedy)
        return None


def _trouble(flags: Collection[str]) -> str:
    words = {**_UNREFERENCED, **_FAULTS, **_TROUBLES}
    return "; ".join(f"{words.get(flag, 'it says')} ({flag})" for flag in sorted(flags) if flag not in _HARMLESS)


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise _Unbelievable(f"it answers {value} where a number of microsteps belongs")
    return value


def safe_channel(settings: Mapping[str, Any]) -> SafeLine:
    """A second connection to the axis, opened at once; what it returns stops the stage and says whether it stands.

    Only for an address that takes two clients. Where it takes one, as that of a converter does, nobody else can stop a
    stage that is under way: then the scanner and the hop controller are what takes the pipette up, and the stage goes
    down only in engaging and towards where it has been.
    """
    where = settings["where"]
    reach = _Reach(where if isinstance(where, str) else (where[0], where[1]), settings["device"], settings["axis"])
    motor = ZaberMotor("coarse_stage", reach, 1.0)
    return SafeLine(motor.halted, motor.revive, motor.close)


def _reach(setup: RoleSetup) -> _Reach:
    settings: ZaberSettings = setup.settings
    address = setup.address or ""
    serial = address.startswith(("/", "COM"))
    return _Reach(address if serial else tcp_address(setup, PORT), settings.device, settings.axis)


def _specify(setup: RoleSetup) -> CoarseStageSpecification:
    settings: ZaberSettings = setup.settings
    if settings.step_nm is None:
        limit = "is missing: the size of a microstep"
        raise BadInput(setup.problem("step_nm", "", limit, "take it from the data sheet of exactly this stage"))
    _reach(setup)
    return specify(setup)


def _connect(setup: RoleSetup, specification: RigSpecification, clock: Clock) -> MotorisedStage:
    settings: ZaberSettings = setup.settings
    assert settings.step_nm is not None
    reach = _reach(setup)
    motor = ZaberMotor(setup.role, reach, settings.step_nm * 1e-9)
    setup.rig.connections.callback(motor.close)
    if not settings.shared_line:
        return MotorisedStage(motor, setup, specification, clock)
    where = {"where": reach.where, "device": reach.device, "axis": reach.axis}
    return StageOnSharedLine(motor, setup, specification, clock, address_of_safe(__name__, where, setup.role))


DRIVERS: Final = (
    Driver(
        "zaber",
        "coarse_stage",
        "a Zaber stage, ASCII protocol",
        _connect,
        _specify,
        ZaberSettings,
        client=CLIENT,
        extra="zaber",
        verified="through zaber-motion 10.3 against an emulator over TCP and a serial line; never with a stage",
    ),
)
