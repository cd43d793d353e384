"""PI controllers by `pipython` over TCP, General Command Set 2.0: a piezo scanner, or a motorised coarse stage.

    scanner:
      driver: pi_gcs
      address: 192.168.0.30:50000
      settings: {up: 1, z_axis: "3", z_range_um: 20, xy_range_um: 100, analogue: true}
    coarse_stage:
      driver: pi_gcs
      address: 192.168.0.31:50000
      settings: {up: 1, travel_mm: 15}

The piezo of a hopping pipette follows the analogue output of the hop controller: text commands take a millisecond each.
With `analogue: true` this driver reads and withdraws, and moves nothing else. It never references an axis: that way
ends at a switch, and the pipette may be in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, Problem
from opsicm.core.facts import Quality
from opsicm.core.units import to_si
from opsicm.drivers.pi_controller import ANALOGUE_ACTIVE, CLIENT, MOVE_WITHOUT_SERVO, REMEDIES, PiController, number
from opsicm.drivers.safe_line import SafeLine, address_of_safe
from opsicm.drivers.tcp_address import tcp_address
from opsicm.drivers.vertical_axis import (
    MotorisedStage,
    MotorLimits,
    MotorState,
    StageOnSharedLine,
    VerticalAxisSettings,
    require_up,
    specify,
)
from opsicm.experiment.step_model import FileModel, Flag, Number, Text, Whole
from opsicm.instruments.clock import Clock, pause, stopwatch
from opsicm.instruments.link import TIMEOUT
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import Identity, RoleState
from opsicm.instruments.specification import CoarseStageSpecification, RigSpecification, ScannerSpecification

PORT: Final = 50000
_ANALOGUE_INPUT: Final = 0x06000500  # parameter "ADC Channel for Target" of PI's digital piezo controllers; 0: none
_LEVEL: Final = (1, "advanced")  # command level and its published password, to write that parameter
_RANGE_AGREES: Final = 0.02  # a controller's range is the stage's own, measured; a data sheet rounds it
_NO_LOWER: Final = 0.05  # [µm] of noise and offset of an analogue input
_AT_THE_TOP: Final = 0.02  # of the range: an axis that far from its end is withdrawn
_WITHDRAWN_WITHIN: Final = 0.15  # [s] a piezo takes milliseconds, the probe must be up within 200


class PiScannerSettings(FileModel):
    """What a rig file may say of a piezo scanner.

    `up` is the sign of the z axis' own position where the pipette rises; ranges are those of the data sheet, and the
    controller's must agree. `analogue` says that the hop controller drives z through the controller's analogue input;
    with the number of that input, `analogue_input`, a run that connects gives the axis back to it, if that does not
    lower the pipette. `lag_us` is the piezo's behind a ramp, `height_noise_nm` that of its sensor. `shared_line` says
    that the controller takes several clients.
    """

    display_name = "a PI scanner"
    up: Literal[-1, 1] | None = None
    x_axis: Text = "1"
    y_axis: Text = "2"
    z_axis: Text = "3"
    z_range_um: Annotated[Number, Field(gt=0, le=20_000)] | None = None
    xy_range_um: Annotated[Number, Field(gt=0, le=80_000)] | None = None
    analogue: Flag = False
    analogue_input: Annotated[Whole, Field(ge=1, le=32)] | None = None
    lag_us: Annotated[Number, Field(ge=0, le=2e5)] = 200.0
    height_noise_nm: Annotated[Number, Field(ge=0, le=300)] = 0.3
    shared_line: Flag = True


class PiStageSettings(VerticalAxisSettings):
    """What a rig file may say of a motorised PI stage, `axis` as the controller names it."""

    display_name = "a PI stage"
    axis: Text = "1"
    shared_line: Flag = True


# -- The scanner.


class PiScanner:
    """Three axes of a piezo controller; z counts from the middle of its range, upwards."""

    def __init__(self, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        settings: PiScannerSettings = setup.settings
        self._settings, self._clock = settings, clock
        self._up = require_up(setup, settings.up)
        self._reach = specification.scanner.z_reach, specification.scanner.xy_reach
        self._controller = PiController(setup.role, *tcp_address(setup, PORT))
        setup.rig.connections.callback(self._controller.close)
        low, high = self._checked_range(setup, settings.z_axis, settings.z_range_um, "z_range_um")
        for axis in (settings.x_axis, settings.y_axis):
            self._checked_range(setup, axis, settings.xy_range_um, "xy_range_um")
        self._middle = 0.5 * (low + high)  # [µm]
        self._top = high if self._up > 0 else low
        self._refuse_servo_off(setup)
        if settings.analogue and (refusal := self._given_back()) is not None:
            raise BadInput(setup.problem(*refusal))

    @property
    def z_range(self) -> tuple[float, float]:
        """(lowest, highest) z [m]."""
        return -self._reach[0], self._reach[0]

    @property
    def xy_range(self) -> tuple[float, float]:
        """(lowest, highest) x or y [m]."""
        return -self._reach[1], self._reach[1]

    def read_z(self) -> float:
        """Measured z [m], up positive."""
        axis = self._settings.z_axis
        position = self._controller.ask(lambda device: number(device.qPOS(axis)[axis]))
        return self._up * (position - self._middle) * 1e-6

    def identity(self) -> Identity:
        """The controller."""
        return self._controller.identity()

    def state(self) -> RoleState:
        """Suspect where the servo is off or at its end, or the analogue input is off that should drive it."""
        t_ns = self._clock.now_ns()
        if not self._controller.revive():
            return RoleState(t_ns, Quality.MISSING, self._controller.lost)
        axis = self._settings.z_axis

        def ask(device: Any) -> tuple[float, bool, bool, bool]:
            return (
                number(device.qPOS(axis)[axis]),
                device.qSVO(axis)[axis],
                device.qONT(axis)[axis],
                device.qOVF(axis)[axis],
            )

        try:
            position, servo, on_target, overflow = self._controller.ask(ask)
            channel = self._analogue_input() if self._settings.analogue else 0
        except InstrumentLost as error:
            return RoleState(t_ns, Quality.MISSING, str(error))
        z_um = self._up * (position - self._middle)
        trouble = [
            said
            for said, holds in (
                ("its servo is off", not servo),
                ("its amplifier is at the end of its range (overflow)", overflow),
                ("it is off its analogue input: it is not driven", self._settings.analogue and not channel),
            )
            if holds
        ]
        shown: dict[str, float | str] = {"z_um": z_um, "servo": float(servo), "on_target": float(on_target)}
        if self._settings.analogue:
            shown["analogue_input"] = float(channel)
        quality = Quality.SUSPECT if trouble else Quality.GOOD
        return RoleState(t_ns, quality, "; ".join(trouble), shown)

    def safe(self) -> None:
        """Withdraw to the top of the range, off the analogue input. To give it back is a jump to whatever the hop
        controller's output is then: only a run that connects does it, see `PiScannerSettings`.
        """
        axis, top, analogue = self._settings.z_axis, self._top, self._settings.analogue
        self._controller.ask(lambda device: _withdraw(device, axis, top, analogue))

    def rearm(self) -> None:
        """Give z back to the hop controller after `safe`: on purpose, as when an operator resumes. `LimitCrossed` where
        that would lower the pipette, or the rig file names no input.
        """
        if self._settings.analogue and (refusal := self._given_back()) is not None:
            _, _, limit, remedy = refusal
            raise LimitCrossed(Problem("scanner", "not driven", limit, remedy))

    @property
    def withdrawal(self) -> Mapping[str, Any]:
        """What a safe channel must know."""
        return {"axis": self._settings.z_axis, "top": self._top, "analogue": self._settings.analogue}

    def _checked_range(self, setup: RoleSetup, axis: str, stated: float | None, key: str) -> tuple[float, float]:
        low, high = self._controller.ask(
            lambda device: (number(device.qTMN(axis)[axis]), number(device.qTMX(axis)[axis]))
        )
        assert stated is not None
        if abs((high - low) / stated - 1.0) > _RANGE_AGREES:
            limit = f"axis {axis} of the controller goes from {low:g} to {high:g} µm"
            raise BadInput(setup.problem(key, stated, limit, "write the range of this stage, or name another axis"))
        return low, high

    def _given_back(self) -> tuple[str, object, str, str] | None:
        """None once the hop controller drives z; else what is wrong with that: key, value, limit, remedy."""
        wanted, found = self._settings.analogue_input, self._analogue_input()
        if found and wanted in (None, found):
            return None
        limit = f"the z axis is on analogue input {found}" if found else "the z axis is on no analogue input"
        if wanted is None or found:
            remedy = "write analogue_input: with its number, or connect it in PIMikroMove with the pipette far up"
            return "analogue", True, limit, remedy
        axis = self._settings.z_axis
        asked, here = self._controller.ask(
            lambda device: (number(device.qTSP(wanted)[wanted]), number(device.qPOS(axis)[axis]))
        )
        lower = self._up * (here - asked)
        if lower > _NO_LOWER:
            limit += f", and the hop controller's output there would lower the pipette by {lower:.3g} µm"
            remedy = "set the output of the hop controller to the top of its range, or start with the pipette far up"
            return "analogue_input", wanted, limit, remedy
        self._controller.ask(lambda device: _set_analogue_input(device, axis, wanted))
        return None

    def _refuse_servo_off(self, setup: RoleSetup) -> None:
        axis = self._settings.z_axis
        if not self._controller.ask(lambda device: device.qSVO(axis)[axis]):
            limit = "its servo is off: without it a position is neither held nor linear"
            raise BadInput(setup.problem("z_axis", axis, limit, "switch it on in PIMikroMove with the pipette far up"))

    def _analogue_input(self) -> int:
        axis = self._settings.z_axis
        return self._controller.ask(lambda device: int(device.qSPA(axis, _ANALOGUE_INPUT)[axis][_ANALOGUE_INPUT]))


class PiScannerOnSharedLine(PiScanner):
    """One whose controller takes a second client, which a watchdog opens for itself."""

    def __init__(self, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        super().__init__(setup, specification, clock)
        host, port = tcp_address(setup, PORT)
        settings = {"host": host, "port": port, "withdraw": self.withdrawal}
        self.safe_address = address_of_safe(__name__, settings, setup.role)


def _withdraw(device: Any, axis: str, top: float, analogue: bool) -> None:
    """To the position `top` [µm] of `axis`, whatever else drives it."""
    from pipython import GCSError

    if analogue:
        device.STP(noraise=True)  # takes the axes off their analogue inputs
    try:
        device.MOV(axis, top)
    except GCSError as error:
        if error.val == ANALOGUE_ACTIVE:  # a controller that stays on its input when it is stopped
            _set_analogue_input(device, axis, 0)
        elif error.val == MOVE_WITHOUT_SERVO:
            device.SVO(axis, True)  # it takes its present position for its target
        else:
            raise
        device.MOV(axis, top)


def _set_analogue_input(device: Any, axis: str, number: int) -> None:
    device.CCL(*_LEVEL)
    device.SPA(axis, _ANALOGUE_INPUT, number)


# -- The coarse stage.


class PiMotor:
    """One axis of a motor controller; see `vertical_axis.Motor`. Its positions are in millimetres."""

    def __init__(self, role: str, host: str, port: int, axis: str) -> None:
        self._controller = PiController(role, host, port)
        self._axis = axis
        self.name = f"axis {axis} of {self._controller.name}"
        self.revive, self.close, self.identity = (
            self._controller.revive,
            self._controller.close,
            self._controller.identity,
        )

    @property
    def lost(self) -> str:
        """Why the line is lost."""
        return self._controller.lost

    def state(self) -> MotorState:
        """Position, servo, reference."""
        axis = self._axis

        def ask(device: Any) -> MotorState:
            position = number(device.qPOS(axis)[axis]) * 1e-3
            servo, referenced, on_target = (query(axis)[axis] for query in (device.qSVO, device.qFRF, device.qONT))
            why = "" if referenced else "it is not referenced"
            why = why if servo else why or "its servo is off"
            forbids = None if not why else Problem(self.name, "", f"it must not move: {why}", self._remedy)
            shown = {"servo": float(servo), "referenced": float(referenced), "on_target": float(on_target)}
            return MotorState(position, forbids, why, shown)

        return self._controller.ask(ask)

    def limits(self) -> MotorLimits:
        """Travel, acceleration, deceleration."""
        axis = self._axis
        low, high, faster, slower = self._controller.ask(
            lambda device: [
                number(query(axis)[axis]) * 1e-3 for query in (device.qTMN, device.qTMX, device.qACC, device.qDEC)
            ]
        )
        return MotorLimits((low, high), (faster, slower))

    def position(self) -> float:
        """[m] from the axis' zero."""
        axis = self._axis
        return self._controller.ask(lambda device: number(device.qPOS(axis)[axis])) * 1e-3

    def begin(self, position: float, speed: float) -> tuple[float, float]:
        """Velocity, then target; refused by the controller, `LimitCrossed`."""

        def set_off(device: Any) -> None:
            device.VEL(self._axis, speed * 1e3)
            device.MOV(self._axis, position * 1e3)

        self._controller.ask(set_off)
        return position, speed

    def stop(self) -> None:
        """Halt this axis, smoothly. Not STP: it stops all axes, and takes a scanner on the same controller off its
        analogue input.
        """
        self._controller.ask(lambda device: device.HLT(self._axis, noraise=True))

    def halted(self) -> bool:
        """Halt, and whether it stands within the time that a halt takes."""
        self.stop()
        waited = stopwatch()
        while any(self._controller.ask(lambda device: device.IsMoving(self._axis)).values()):
            if waited() > TIMEOUT:
                return False
            pause(0.005)
        return True

    _remedy = REMEDIES[MOVE_WITHOUT_SERVO]


def safe_channel(settings: Mapping[str, Any]) -> SafeLine:
    """A second connection to the controller, opened at once; what it returns withdraws the scanner, or halts the stage.

    True once the scanner is at the top, or the stage stands. A controller that takes one client only refuses it when
    it is opened, before a run: write `shared_line: false`, and the watchdog does without.
    """
    host, port = settings["host"], settings["port"]
    if "halt" in settings:
        motor = PiMotor("coarse_stage", host, port, settings["halt"])
        return SafeLine(motor.halted, motor.revive, motor.close)
    controller = PiController("scanner", host, port)
    axis, top, analogue = (settings["withdraw"][key] for key in ("axis", "top", "analogue"))

    def withdraw() -> bool:
        controller.ask(lambda device: _withdraw(device, axis, top, analogue))
        low, high = controller.ask(lambda device: (device.qTMN(axis)[axis], device.qTMX(axis)[axis]))
        near, waited = _AT_THE_TOP * (high - low), stopwatch()
        while abs(controller.ask(lambda device: number(device.qPOS(axis)[axis])) - top) > near:
            if waited() > _WITHDRAWN_WITHIN:
                return False
            pause(0.002)
        return True

    return SafeLine(withdraw, controller.revive, controller.close)


# -- Registered.


def _specify_scanner(setup: RoleSetup) -> ScannerSpecification:
    settings: PiScannerSettings = setup.settings
    require_up(setup, settings.up)
    tcp_address(setup, PORT)
    z, xy = (_stated(setup, key, getattr(settings, key)) for key in ("z_range_um", "xy_range_um"))
    lag, noise = to_si("lag_us", settings.lag_us), to_si("height_noise_nm", settings.height_noise_nm)
    return ScannerSpecification(0.5 * z, 0.5 * xy, lag, noise)


def _stated(setup: RoleSetup, key: str, value: float | None) -> float:
    if value is None:
        limit = "is missing: the controller's range is compared with it"
        raise BadInput(setup.problem(key, "", limit, "take it from the stage's data sheet"))
    return to_si(key, value)


def _connect_scanner(setup: RoleSetup, specification: RigSpecification, clock: Clock) -> PiScanner:
    settings: PiScannerSettings = setup.settings
    return (PiScannerOnSharedLine if settings.shared_line else PiScanner)(setup, specification, clock)


def _specify_stage(setup: RoleSetup) -> CoarseStageSpecification:
    tcp_address(setup, PORT)
    return specify(setup)


def _connect_stage(setup: RoleSetup, specification: RigSpecification, clock: Clock) -> MotorisedStage:
    settings: PiStageSettings = setup.settings
    host, port = tcp_address(setup, PORT)
    motor = PiMotor(setup.role, host, port, settings.axis)
    setup.rig.connections.callback(motor.close)
    if not settings.shared_line:
        return MotorisedStage(motor, setup, specification, clock)
    channel = {"host": host, "port": port, "halt": settings.axis}
    return StageOnSharedLine(motor, setup, specification, clock, address_of_safe(__name__, channel, setup.role))


_VERIFIED: Final = "through pipython 2.11 against an emulator of GCS 2.0 over TCP; never with a controller"
DRIVERS: Final = (
    Driver(
        "pi_gcs",
        "scanner",
        "a PI piezo scanner, GCS 2.0",
        _connect_scanner,
        _specify_scanner,
        PiScannerSettings,
        client=CLIENT,
        extra="pi",
        verified=_VERIFIED,
    ),
    Driver(
        "pi_gcs",
        "coarse_stage",
        "a motorised PI stage, GCS 2.0",
        _connect_stage,
        _specify_stage,
        PiStageSettings,
        client=CLIENT,
        extra="pi",
        verified=_VERIFIED,
    ),
)
