"""An emulated PI controller with the twin behind it: three piezo axes for the scanner, one motor for the coarse stage.

Protocol: General Command Set 2.0, as in Physik Instrumente, *E-727 User Manual* E727T0005, chapter "GCS Commands" and
"Using the Analog Input", and *E-861 User Manual* PZ205E, chapter "GCS Commands" (syntax, single-character commands,
error codes); error numbers as in `pipython.pidevice.gcserror` 2.11; and what `pipython` sends, which was logged here.

Left out: referencing (opsicm never references), wave generators, recorders, macros. The twin's pipette is moved by its
hop controller, so z takes two targets here: the upper end of its range, where the twin's scanner withdraws, and where
it is. The twin's hop controller is not held back while the analogue input is off. Its roles tell no x and y: those axes
stand in the middle.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from opsicm.emulators.paced_world import PacedWorld, carriage
from opsicm.emulators.registry import Entry
from opsicm.emulators.tcp_server import TcpServer
from opsicm.emulators.wire_faults import WireFaults

FAULTS: Final = ("late", "silent", "busy", "partial", "reset", "garbage", "nan", "stuck", "overload")
_GARBAGE: Final = b"\x7f?=?=?\n"
# pipython.pidevice.gcserror, all of the controller: E1_…PARAM_SYNTAX and so on.
SYNTAX, UNKNOWN, NO_SERVO_OR_REFERENCE, LIMITS, VELOCITY, STOPPED, NO_AXIS = 1, 2, 5, 7, 8, 10, 15
NOT_FOR_STAGE, UNKNOWN_PARAMETER, PROTECTED, INITIALISING, ANALOGUE = 34, 54, 60, 63, 72
# E-727 manual, "Use as Control Value Generation Source": the parameter of an axis that names its analogue input, 0 for
# none, writable at command level 1.
ADC_CHANNEL_FOR_TARGET: Final = 0x06000500
PASSWORD: Final = "advanced"  # E-727 manual, command CCL
_SINGLE: Final = {5: "#5", 7: "#7", 24: "#24"}  # single-character commands have no line feed
_LONGEST: Final = 4096  # [bytes]


class _Axis(ABC):
    """One axis: its limits in its own unit, servo, reference, error of a command (0: none)."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.servo = self.referenced = True
        self.overflow = False
        self.analogue = 0

    @abstractmethod
    def position(self) -> float: ...

    @abstractmethod
    def move(self, target: float) -> int: ...

    def halt(self) -> None:  # noqa: B027 - a piezo has nothing to halt
        ...

    def moving(self) -> bool:
        return False


class PiezoZ(_Axis):
    """The piezo that the hop controller drives: 0 … 20 µm, its middle the twin's zero.

    `output` [µm] is what the hop controller's output asks for; None: where the twin's pipette is.
    """

    def __init__(self, world: PacedWorld, up: int) -> None:
        low, high = world.ask(lambda rig: rig.scanner.z_range)
        super().__init__(0.0, (high - low) * 1e6)
        self._world, self._up, self._zero = world, up, low if up > 0 else high
        self.output: float | None = None

    def position(self) -> float:
        return self._up * (self._world.ask(lambda rig: rig.scanner.read_z()) - self._zero) * 1e6

    def asked(self) -> float:
        return self.position() if self.output is None else self.output

    def move(self, target: float) -> int:
        if self.analogue:
            return ANALOGUE
        if target == (self.high if self._up > 0 else self.low):
            self._world.ask(lambda rig: rig.scanner.safe())
            return 0
        return 0 if abs(target - self.position()) < 1e-3 else NOT_FOR_STAGE


class PiezoXy(_Axis):
    """x or y, in the middle of its range."""

    def __init__(self, world: PacedWorld) -> None:
        low, high = world.ask(lambda rig: rig.scanner.xy_range)
        super().__init__(0.0, (high - low) * 1e6)

    def position(self) -> float:
        return 0.5 * (self.low + self.high)

    def move(self, target: float) -> int:
        return 0 if target == self.position() else NOT_FOR_STAGE


class Motor(_Axis):
    """A stage with a DC motor, 15 mm of travel (M-111.1DG), the pipette at 7.5 mm when the world begins.

    `arrival_ns` of the world's time is when the present or last motion ends.
    """

    ACCELERATION: Final = 4.0  # [mm/s²] up and down

    def __init__(self, world: PacedWorld, up: int) -> None:
        super().__init__(0.0, 15.0)
        self._world, self._up = world, up
        self._start = world.ask(lambda rig: rig.coarse_stage.position())
        self.arrival_ns = 0
        self.velocity = 1.0  # [mm/s]

    def position(self) -> float:
        height = self._world.ask(lambda rig: rig.coarse_stage.position())
        return 7.5 + self._up * (height - self._start) * 1e3

    def move(self, target: float) -> int:
        """The twin's motor knows no acceleration: it goes at the mean speed, so that it arrives when a real one would.

        PZ205E, VEL, ACC and DEC: a trapezium of velocity, or its triangle where the way is too short.
        """
        if not (self.servo and self.referenced):
            return NO_SERVO_OR_REFERENCE
        distance, rate = abs(target - self.position()), self.velocity
        if distance > rate * rate / self.ACCELERATION:
            seconds = distance / rate + rate / self.ACCELERATION
        else:
            seconds = 2.0 * (distance / self.ACCELERATION) ** 0.5
        height = self._start + self._up * (target - 7.5) * 1e-3
        mean = distance * 1e-3 / seconds if seconds > 0.0 else None
        self.arrival_ns = self._world.ask(lambda rig: carriage(rig).drive(height, mean))
        return 0

    def halt(self) -> None:
        self.arrival_ns = self._world.ask(lambda rig: carriage(rig).drive(rig.coarse_stage.position()))

    def moving(self) -> bool:
        return self._world.ask(lambda rig: rig.clock.now_ns()) < self.arrival_ns


class GcsController:
    """One controller with `axes` by name. `stop_disconnects`: whether STP takes axes off their analogue inputs."""

    def __init__(self, address: str, axes: dict[str, _Axis], clients: int = 4) -> None:
        self.axes = axes
        self.stop_disconnects = True
        self.error = 0
        self.log: list[str] = []
        self._level = 0
        self._stuck: dict[str, float] = {}
        self.faults = WireFaults("a PI controller", FAULTS)
        self._server = TcpServer(address, self._talk, clients)
        self.address = self._server.address

    def close(self) -> None:
        """Leave the wire."""
        self._server.close()

    # -- the wire ---------------------------------------------------------------------------------------------------

    def _talk(self, client: socket.socket) -> None:
        received = b""
        while chunk := client.recv(_LONGEST):
            received += chunk
            while received:
                if received[0] in _SINGLE:
                    command, received = _SINGLE[received[0]], received[1:]
                else:
                    line, feed, rest = received.partition(b"\n")
                    if not feed:
                        break
                    command, received = line.decode("cp1252").strip(), rest
                answer = self._answer(command)
                if answer is not None and not self._server.send(client, answer.encode("cp1252"), self.faults, _GARBAGE):
                    return
            if len(received) > _LONGEST:
                return

    def _answer(self, command: str) -> str | None:
        """What is sent; None for a command, and for a query with an error, which is told by ERR? only."""
        self.log.append(command)
        if not command:
            return None
        word, *arguments = command.split()
        if word == "ERR?":
            error, self.error = self.error, 0
            return f"{error}\n"
        if self.faults.takes("busy") is not None:
            self.error = INITIALISING
            return None
        try:
            return self._do(word.upper(), arguments)
        except _RefusedError as refusal:
            self.error = refusal.number
            return None

    # -- commands and queries ---------------------------------------------------------------------------------------

    def _do(self, word: str, arguments: list[str]) -> str | None:
        match word:
            case "*IDN?":
                return "(c)2015-2019 Physik Instrumente (PI) GmbH & Co. KG, E-727.3CDA, 116000000, 13.21.00.09\n"
            case "CSV?":
                return "2.0\n"
            case "SAI?":
                return _lines(list(self.axes))
            case "#5":  # the sum of 2^k of the moving axes, in hexadecimal
                return f"{sum(axis.moving() << k for k, axis in enumerate(self.axes.values())):x}\n"
            case "#7":  # 177: ready
                return "\xb1\n"
            case "STP" | "#24":
                self._stop()
                return None
            case "HLT":
                for name in arguments or self.axes:
                    self._axis(name).halt()
                self.error = STOPPED
                return None
            case "CCL":
                if arguments[1:] != [PASSWORD]:
                    raise _RefusedError(PROTECTED)
                self._level = int(arguments[0])
                return None
            case "HPA?":  # one line of the list, the only one of its parameters that is here
                entry = "\t1\t1\tINT\tmotorcontroller\tADC Channel for Target"
                return _lines(["#Possible parameters are:", f"0x{ADC_CHANNEL_FOR_TARGET:x}={entry}", "end of help"])
            case "TSP?":  # E-727 manual, TSP?: an analogue input, scaled to µm
                return _lines([f"{name}={self._driven().asked():.9e}" for name in arguments])
            case "SPA?" | "SPA":
                return self._parameter(word, arguments)
            case _ if word.endswith("?"):
                return self._query(word, arguments or list(self.axes))
            case _:
                self._set(word, arguments)
                return None

    def _query(self, word: str, names: list[str]) -> str:
        queries: dict[str, Callable[[str, _Axis], str]] = {
            "POS?": lambda name, axis: f"{self._position(name, axis):.9e}",
            "TMN?": lambda _, axis: f"{axis.low:.9e}",
            "TMX?": lambda _, axis: f"{axis.high:.9e}",
            "SVO?": lambda _, axis: f"{axis.servo:d}",
            "FRF?": lambda _, axis: f"{axis.referenced:d}",
            "ONT?": lambda _, axis: f"{not axis.moving():d}",
            "OVF?": lambda _, axis: f"{axis.overflow or self.faults.takes('overload') is not None:d}",
            "VEL?": lambda _, axis: f"{_motor(axis).velocity:.9e}",
            "ACC?": lambda _, axis: f"{_motor(axis).ACCELERATION:.9e}",
            "DEC?": lambda _, axis: f"{_motor(axis).ACCELERATION:.9e}",
        }
        if word not in queries:
            raise _RefusedError(UNKNOWN)
        return _lines([f"{name}={queries[word](name, self._axis(name))}" for name in names])

    def _position(self, name: str, axis: _Axis) -> float:
        if self.faults.takes("nan") is not None:
            return float("nan")
        if self.faults.takes("stuck") is None:
            self._stuck.pop(name, None)
            return axis.position()
        return self._stuck.setdefault(name, axis.position())

    def _set(self, word: str, arguments: list[str]) -> None:
        if word not in ("MOV", "VEL", "SVO"):
            raise _RefusedError(UNKNOWN)
        if not arguments or len(arguments) % 2:
            raise _RefusedError(SYNTAX)
        pairs = [(self._axis(name), _value(text)) for name, text in zip(arguments[::2], arguments[1::2], strict=True)]
        for axis, value in pairs:
            if word == "SVO":
                axis.servo = value != 0.0
            elif word == "VEL":
                if not 0.0 <= value <= 2.0:  # [mm/s] M-111: 1.5, rounded up for its controller
                    raise _RefusedError(VELOCITY)
                _motor(axis).velocity = value
            else:
                self._move(axis, value)

    @staticmethod
    def _move(axis: _Axis, target: float) -> None:
        if not axis.low <= target <= axis.high:
            raise _RefusedError(LIMITS)
        if not axis.servo:
            raise _RefusedError(NO_SERVO_OR_REFERENCE)
        if (error := axis.move(target)) != 0:
            raise _RefusedError(error)

    def _stop(self) -> None:
        """pipython, STP and StopAll: "Analog input is unconnected from the axes"; error 10 is set."""
        for axis in self.axes.values():
            axis.halt()
            if self.stop_disconnects:
                axis.analogue = 0
        self.error = STOPPED

    def _parameter(self, word: str, arguments: list[str]) -> str | None:
        """Logged: b"SPA? 3 100664576\\n", answered as in the E-727 manual: "1 0x06000500=7"."""
        name, number, *value = arguments
        axis = self._axis(name)
        if int(number, 0) != ADC_CHANNEL_FOR_TARGET:
            raise _RefusedError(UNKNOWN_PARAMETER)
        if word == "SPA?":
            return f"{name} 0x{ADC_CHANNEL_FOR_TARGET:08x}={axis.analogue}\n"
        if not self._level:
            raise _RefusedError(PROTECTED)
        axis.analogue = int(value[0])
        return None

    def _driven(self) -> PiezoZ:
        for axis in self.axes.values():
            if isinstance(axis, PiezoZ):
                return axis
        raise _RefusedError(UNKNOWN)

    def _axis(self, name: str) -> _Axis:
        if name not in self.axes:
            raise _RefusedError(NO_AXIS)
        return self.axes[name]


class _RefusedError(Exception):
    """A command or query that the controller does not carry out; the number is what ERR? then says."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _motor(axis: _Axis) -> Motor:
    if not isinstance(axis, Motor):
        raise _RefusedError(UNKNOWN)
    return axis


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _RefusedError(SYNTAX) from None


def _lines(lines: list[str]) -> str:
    """E-727 manual, "Answers": the lines of one answer end in a space and a line feed, the last in a line feed."""
    return " \n".join(lines) + "\n"


def scanner_axes(world: PacedWorld, up: int = 1, analogue: bool = False) -> dict[str, _Axis]:
    """x, y and z of a piezo controller as 1, 2 and 3; z on analogue input 4 where the hop controller drives it."""
    z = PiezoZ(world, up)
    z.analogue = 4 if analogue else 0
    return {"1": PiezoXy(world), "2": PiezoXy(world), "3": z}


def serve(world: PacedWorld, entry: Entry) -> GcsController:
    """Put the controller of a rig file on the wire, with the axes and the mounting that the file names."""
    axes: dict[str, _Axis] = {}
    if "scanner" in entry.roles:
        settings = entry.roles["scanner"].settings
        made = scanner_axes(world, _up(settings.get("up")), bool(settings.get("analogue")))
        for key, name in (("x_axis", "1"), ("y_axis", "2"), ("z_axis", "3")):
            axes[str(settings.get(key, name))] = made[name]
    if "coarse_stage" in entry.roles:
        settings = entry.roles["coarse_stage"].settings
        axes[str(settings.get("axis", "1"))] = Motor(world, _up(settings.get("up")))
    return GcsController(entry.address, axes)


def _up(setting: object) -> int:
    return -1 if setting == -1 else 1
