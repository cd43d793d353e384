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
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, Problem
from opsicm.core.facts import Quality
from opsicm.drivers.tcp_address import connected_in_time, tcp_address
from opsicm.drivers.vertical_axis import (
    VerticalAxis,
    VerticalAxisSettings,
    address_of_safe,
    require_speed,
    require_travel,
    specify,
    travel_time,
)
from opsicm.experiment.step_model import Flag, Number, Whole
from opsicm.instruments.clock import Clock
from opsicm.instruments.link import TIMEOUT, Link
from opsicm.instruments.registry import Driver, RoleSetup, installed
from opsicm.instruments.roles import Identity, RoleState
from opsicm.instruments.specification import CoarseStageSpecification, RigSpecification

if TYPE_CHECKING:
    from zaber_motion.ascii import Axis

CLIENT: Final = "zaber-motion"
PORT: Final = 55550  # of a controller with a network socket, for its whole chain
# Zaber, ASCII Protocol Manual, settings maxspeed and accel: a speed of n is n/1.6384 microsteps a second, an
# acceleration of n is 10⁴·n/1.6384 microsteps a second squared.
_PER_SECOND: Final = 1.6384
_PER_SECOND_SQUARED: Final = 1.6384e-4
_ARRIVED_WITHIN: Final = 1e-6  # [m] a stage at rest may stand off its target: above the step of any of Zaber's stages
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

    `step_nm` is the size of a microstep and `travel_mm` the travel, both from the data sheet: they check one another.
    `shared_line` says that the address takes more than one client, as a controller's own network socket does and a
    converter from TCP to serial does not.
    """

    display_name = "a Zaber stage"
    step_nm: Annotated[Number, Field(gt=0, le=1e5)] | None = None
    travel_mm: Annotated[Number, Field(gt=0, le=5000)] | None = None
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
        connection.default_request_timeout = round(TIMEOUT * 1e3)
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


class ZaberStage:
    """The coarse stage of one axis. The first connection is where the operator has engaged, unless the file says."""

    def __init__(self, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        settings: ZaberSettings = setup.settings
        assert settings.step_nm is not None
        self._step = settings.step_nm * 1e-9
        self._speed = specification.coarse_stage.speed
        self._clock = clock
        self._reach = _reach(setup)
        self._link: Link[Axis] = Link(setup.role, str(self._reach), self._reach.open, _close, _failures())
        self._target: float | None = None  # [m] height
        self._arrival_ns = 0
        self._link.open()
        setup.rig.connections.callback(self._link.close)
        low, high = self._travel()
        require_travel(setup, settings.travel_mm, high - low, "step_nm")
        self._axis = VerticalAxis.of("Zaber stage", settings, specification, self._position())

    def move_to(self, z: float, speed: float | None = None) -> int:
        """Drive to `z` [m] above the surface; see `roles.CoarseStage`.

        Raises `OutsideDomain` beyond the bounds of the rig file or of the stage, and `LimitCrossed` where it has lost
        its reference or stands in a fault. Sent again while it is under way it goes on, and arrives as promised or
        earlier: the time is counted from rest.
        """
        rate = require_speed(self._speed if speed is None else speed)
        # Rounded as the stage does it, so that the time is that of the motion which it makes.
        steps = round(self._axis.position(z, self._travel()) / self._step)
        native_rate = max(1, round(rate / self._step * _PER_SECOND))
        self._refuse(self._link.ask(_flags))
        here = self._position()
        faster, slower = self._accelerations()
        self._link.ask(lambda axis: _move(axis, steps, native_rate))
        rate = native_rate / _PER_SECOND * self._step
        duration = travel_time(steps * self._step - here, rate, faster, slower)
        self._target = z
        self._arrival_ns = self._clock.now_ns() + round(duration * 1e9)
        return self._arrival_ns

    def position(self) -> float:
        """Coarse height [m] of the scanner's zero, asked of the stage."""
        return self._axis.height(self._position())

    def identity(self) -> Identity:
        """Zaber's number of the model, serial number and firmware."""

        def ask(axis: Axis) -> Identity:
            model, serial, firmware = (
                axis.device.generic_command(f"get {setting}").data
                for setting in ("device.id", "system.serial", "version")
            )
            return Identity(f"Zaber device {model}", serial, firmware, f"{CLIENT} {installed(CLIENT) or 'unknown'}")

        return self._link.ask(ask)

    def state(self) -> RoleState:
        """Suspect where a flag says so, or where it stands elsewhere than it should have arrived."""
        t_ns = self._clock.now_ns()
        if not self._link.revive():
            return RoleState(t_ns, Quality.MISSING, self._link.lost)
        try:
            flags = self._link.ask(_flags)
            position = self._position()
        except InstrumentLost as error:
            return RoleState(t_ns, Quality.MISSING, str(error))
        trouble = _trouble(flags)
        height, target = self._axis.height(position), self._target
        if not trouble and target is not None and t_ns > self._arrival_ns and abs(height - target) > _ARRIVED_WITHIN:
            trouble = f"it stands at {height * 1e6:.4g} µm and should have arrived at {target * 1e6:.4g} µm"
        settings = {**self._axis.told(position), "flags": " ".join(sorted(flags)) or "--"}
        return RoleState(t_ns, Quality.SUSPECT if trouble else Quality.GOOD, trouble, settings)

    def safe(self) -> None:
        """Stand still; on its way up it goes on."""
        if self._target is not None and self._clock.now_ns() < self._arrival_ns and self.position() < self._target:
            return
        self._link.ask(lambda axis: axis.stop(wait_until_idle=False))
        self._target = None

    def _position(self) -> float:
        return self._link.ask(lambda axis: _number(axis.get_position())) * self._step

    def _travel(self) -> tuple[float, float]:
        low, high = self._link.ask(
            lambda axis: (_number(axis.settings.get("limit.min")), _number(axis.settings.get("limit.max")))
        )
        return low * self._step, high * self._step

    def _accelerations(self) -> tuple[float, float]:
        """[m/s²] speeding up and slowing down, 0 where that takes no time."""

        def ask(axis: Axis) -> tuple[float, float]:
            names = ("motion.accelonly", "motion.decelonly")
            faster, slower = (_number(axis.settings.get(name)) for name in names)
            return faster, slower

        faster, slower = self._link.ask(ask)
        return faster / _PER_SECOND_SQUARED * self._step, slower / _PER_SECOND_SQUARED * self._step

    def _refuse(self, flags: Collection[str]) -> None:
        for flag, why in _UNREFERENCED.items():
            if flag in flags:
                remedy = "take the pipette off, home it in Zaber Launcher, and engage anew"
                raise LimitCrossed(Problem(f"{self._reach}", f"{flag}", f"it must not move: {why}", remedy))
        for flag in sorted(flags):
            if flag.startswith("F"):
                why = _FAULTS.get(flag, "it reports a fault")
                remedy = "clear the cause and then the flag in Zaber Launcher"
                raise LimitCrossed(Problem(f"{self._reach}", f"{flag}", f"it must not move: {why}", remedy))


class SharedZaberStage(ZaberStage):
    """One whose address takes a second client, which a watchdog opens for itself."""

    @property
    def safe_address(self) -> str:
        """The safe channel of this axis."""
        where = self._reach.where
        settings = {"where": where, "device": self._reach.device, "axis": self._reach.axis}
        return address_of_safe(__name__, settings, "coarse_stage")


def safe_channel(settings: Mapping[str, Any]) -> Callable[[], bool]:
    """A second connection to the axis, opened at once; what it returns stops the stage and says whether it stands.

    Only for an address that takes two clients. Where it takes one, as that of a converter does, nobody else can stop a
    stage that is under way: then the scanner and the hop controller are what takes the pipette up, and the stage goes
    down only in engaging and towards where it has been.
    """
    where = settings["where"]
    reach = _Reach(where if isinstance(where, str) else (where[0], where[1]), settings["device"], settings["axis"])
    link: Link[Axis] = Link("coarse_stage", str(reach), reach.open, _close, _failures())
    link.open()

    def stop() -> bool:
        try:
            link.revive()
            link.ask(lambda axis: axis.stop(wait_until_idle=True))
            return not link.ask(lambda axis: axis.is_busy())
        except InstrumentLost:
            return False

    return stop


def _reach(setup: RoleSetup) -> _Reach:
    settings: ZaberSettings = setup.settings
    address = setup.address or ""
    serial = address.startswith(("/", "COM"))
    return _Reach(address if serial else tcp_address(setup, PORT), settings.device, settings.axis)


def _flags(axis: Axis) -> set[str]:
    return axis.warnings.get_flags()


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise _Unbelievable(f"it answers {value} where a number of microsteps belongs")
    return value


def _move(axis: Axis, position: int, rate: int) -> None:
    from zaber_motion import CommandFailedException

    try:
        axis.move_absolute(position, wait_until_idle=False, velocity=rate)
    except CommandFailedException as error:
        if error.details.response_data == "STATUSBUSY":  # asked again
            raise
        limit = f"the stage refuses to move to {position} at {rate} ({error.details.response_data})"
        raise LimitCrossed(Problem("Zaber stage", "", limit, "ask for a lower speed, or look at it")) from error


def _trouble(flags: Collection[str]) -> str:
    words = {**_UNREFERENCED, **_FAULTS, **_TROUBLES}
    said = [f"{words.get(flag, 'it reports it')} ({flag})" for flag in sorted(flags) if flag not in _HARMLESS]
    return "; ".join(said)


def _specify(setup: RoleSetup) -> CoarseStageSpecification:
    settings: ZaberSettings = setup.settings
    if settings.step_nm is None:
        limit = "is missing: the size of a microstep"
        raise BadInput(setup.problem("step_nm", "", limit, "take it from the data sheet of exactly this stage"))
    _reach(setup)
    return specify(setup)


def _connect(setup: RoleSetup, specification: RigSpecification, clock: Clock) -> ZaberStage:
    settings: ZaberSettings = setup.settings
    return (SharedZaberStage if settings.shared_line else ZaberStage)(setup, specification, clock)


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
        verified="through zaber-motion 10.3 against an emulator of the ASCII protocol over TCP; never with a stage",
    ),
)
