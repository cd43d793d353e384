"""IO Rodeo's Rodeostat: an open potentiostat that takes JSON lines over USB serial.

Commands: https://github.com/iorodeo/potentiostat, `software/python/potentiostat/docs/json.rst` and the firmware's
`ps_system_state.cpp`, both at 86e4708 (firmware FW0.1.0). It holds a potential; this driver makes sweeps of steps from
that. Its switches, from hardware V0.2 on, open the circuit with the reference still connected, so that the potential at
rest is read. It holds no current and compensates no iR: programs with either are refused.

With a resistor as cell its current is positive where its potential is, so anodic is positive, as here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain, Problem
from opsicm.core.units import to_si
from opsicm.drivers.stepped_potentiostat import Measured, SteppedPotentiostat, program_problems
from opsicm.experiment.step_model import FileModel, Number, Potential
from opsicm.instruments.clock import Clock, stopwatch
from opsicm.instruments.link import TIMEOUT, Link
from opsicm.instruments.registry import Driver, RoleSetup, installed
from opsicm.instruments.roles import Identity
from opsicm.instruments.specification import PotentiostatSpecification, RigSpecification

if TYPE_CHECKING:
    from serial import Serial

_CLIENT: Final = "pyserial"
_NAME: Final = "Rodeostat"
_BAUD: Final = 115_200
_STEPS: Final = 4095  # of the converters, which have 12 bits
_USB_PACKET: Final = 64  # a message of a whole number of packets is not delivered; the maker's client adds a blank
_HARDWARE: Final = "V0.2"
_LONGEST_ANSWER: Final = 4000  # bytes, the firmware's buffer


class SerialPotentiostatSettings(FileModel):
    """Ranges by the firmware's names: of the potential that it applies and reads, and of the current.

    `tick_ms` is the time between two readings, `rest_V` where the specimen stands before the run.
    """

    display_name = "the serial potentiostat"
    voltage_range: Literal["1V", "2V", "5V", "10V"] = "2V"
    current_range: Literal["1uA", "10uA", "100uA", "1000uA", "10000uA"] = "1000uA"
    tick_ms: Annotated[Number, Field(ge=5, le=50)] = 20.0
    rest_V: Potential

    @property
    def volts(self) -> float:
        """Full scale [V]."""
        return float(self.voltage_range.removesuffix("V"))

    @property
    def amperes(self) -> float:
        """Full scale [A]."""
        return float(self.current_range.removesuffix("uA")) * 1e-6


class _Unusable(Exception):
    """An answer that cannot be believed: asked again on a new line."""


class RodeostatSource:
    """The instrument on a serial port."""

    def __init__(self, port: str, settings: SerialPotentiostatSettings) -> None:
        import serial

        self._port, self._settings = port, settings
        self._connected: bool | None = None  # the counter electrode
        failures = (serial.SerialException, OSError, _Unusable)
        self._link: Link[Serial] = Link(
            "potentiostat", f"{_NAME} {port}", self._connect, lambda client: client.close(), failures
        )
        self._link.open()

    @property
    def potential_step(self) -> float:
        """[V] of one step of the converter."""
        return 2.0 * self._settings.volts / _STEPS

    def hold_potential(self, volts: float) -> None:
        def hold(client: Serial) -> None:
            held = _number(_ask(client, "setVolt", v=round(volts, 6)), "v")
            if abs(held - volts) > 1.5 * self.potential_step:
                held = _number(_ask(client, "getVolt"), "v")  # the answer may be a late one, to an earlier setVolt
            if abs(held - volts) > 1.5 * self.potential_step:
                # It is clipped to the range without a word: the answer is the only one who says so.
                limit = f"its {self._settings.voltage_range} range gives {held:g} V"
                problem = Problem("potential", f"{volts:g} V", limit, "choose a larger voltage_range in the rig file")
                raise OutsideDomain(problem)
            if self._connected is not True:
                _ask(client, "setCtrElectConnected", connected=True)
            self._connected = True

        self._link.ask(hold)

    def hold_current(self, amperes: float) -> None:
        raise AssertionError(amperes)  # its current range is 0: such a control is refused before

    def open(self) -> None:
        def disconnect(client: Serial) -> None:
            _ask(client, "setCtrElectConnected", connected=False)
            _ask(client, "setRefElectConnected", connected=True)
            _ask(client, "setWrkElectConnected", connected=True)
            self._connected = False

        self._link.ask(disconnect)

    def disconnect(self) -> bool:
        self.open()
        return True

    def measure(self) -> Measured:
        def measured(client: Serial) -> Measured:
            potential = _number(_ask(client, "getRefVolt"), "r")
            current = _number(_ask(client, "getCurr"), "i") * 1e-6
            return Measured(potential, current, abs(current) >= 0.999 * self._settings.amperes)

        return self._link.ask(measured)

    def identity(self) -> Identity:
        def asked(client: Serial) -> Identity:
            hardware = _text(_ask(client, "getVariant"), "variant")
            firmware = _text(_ask(client, "getVersion"), "version")
            number = _ask(client, "getDeviceId").get("deviceId", "")
            return Identity(f"IO Rodeo Rodeostat {hardware}", str(number), firmware, f"{_CLIENT} {installed(_CLIENT)}")

        return self._link.ask(asked)

    def settings(self) -> Mapping[str, float | str]:
        def read_back(client: Serial) -> dict[str, float | str]:
            return {
                "voltage_range": _text(_ask(client, "getVoltRange"), "voltRange"),
                "current_range": _text(_ask(client, "getCurrRange"), "currRange"),
                "set_V": _number(_ask(client, "getVolt"), "v"),
                "counter": "connected" if _ask(client, "getCtrElectConnected").get("connected") else "open",
            }

        return self._link.ask(read_back)

    @property
    def lost(self) -> str:
        return self._link.lost

    def revive(self) -> bool:
        return self._link.revive()

    def close(self) -> None:
        self._link.close()

    def _connect(self) -> Serial:
        import serial

        client = serial.Serial(self._port, _BAUD, timeout=TIMEOUT, write_timeout=TIMEOUT, exclusive=True)
        try:
            client.reset_input_buffer()
            self._require_switches(client)
            if self._connected is None:
                _ask(client, "stopTest")
                _ask(client, "setAllElectConnected", connected=False)
                _ask(client, "setVoltRange", voltRange=self._settings.voltage_range)
                _ask(client, "setRefElectVoltRange", voltRange=self._settings.voltage_range)
                _ask(client, "setCurrRange", currRange=self._settings.current_range)
                self._connected = False
            elif _text(_ask(client, "getVoltRange"), "voltRange") != self._settings.voltage_range:
                # After a reset it is in its 1 V range with all electrodes off (AnalogSubsystem::initialize).
                limit = "it has been unplugged or reset meanwhile, and has opened the cell"
                raise InstrumentLost("potentiostat", Problem(_NAME, "restarted", limit, "end the run, look, resume"))
        except BaseException:
            client.close()
            raise
        return client

    def _require_switches(self, client: Serial) -> None:
        try:
            version = _text(_ask(client, "getHardwareVersion"), "version")
        except _Refused:
            version = "V0.1"  # whose firmware does not know the question
        if version < _HARDWARE:
            limit = f"a circuit is opened by the switches of {_HARDWARE}"
            raise BadInput(Problem(f"hardware of the {_NAME}", version, limit, "take a newer one for unattended runs"))


class _Refused(_Unusable):
    """It has answered that it will not: `success` false."""


def _ask(client: Serial, command: str, **arguments: Any) -> dict[str, Any]:
    """What it answers to a command (json.rst): `{"success": true, "response": {"command": …}}`."""
    message = json.dumps({"command": command, **arguments}, separators=(",", ":")) + "\n"
    if len(message) % _USB_PACKET == 0:
        message = " " + message
    # A serial line has no sessions: what comes late, after its command was given up, would be taken for the answer to
    # the next one, and so on for ever. What is there already is old; what is still to come says what it answers.
    client.reset_input_buffer()
    client.write(message.encode("ascii"))
    waited = stopwatch()
    while True:
        response = _answer(client, command)
        if response.get("command") == command:
            return response
        if waited() > TIMEOUT:
            raise _Unusable(f"no answer to {command}, only to {str(response.get('command'))[:60]}")


def _answer(client: Serial, command: str) -> dict[str, Any]:
    """The next answer on the line, to this command or to an earlier one."""
    line = client.read_until(b"\n", _LONGEST_ANSWER)
    if not line.endswith(b"\n"):
        raise _Unusable(f"{line[:60]!r} in place of an answer to {command}" if line else f"no answer to {command}")
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise _Unusable(f"{line[:60]!r} in place of an answer to {command}") from None
    if not isinstance(answer, dict):
        raise _Unusable(f"{line[:60]!r} in place of an answer to {command}")
    if answer.get("success") is not True:
        raise _Refused(f"{command}: {answer.get('message', 'refused without a reason')}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise _Unusable(f"{line[:60]!r} in place of an answer to {command}")
    return response


def _number(response: Mapping[str, Any], key: str) -> float:
    value = response.get(key)
    if not isinstance(value, bool) and isinstance(value, int | float):
        with suppress(OverflowError):  # a whole number of more digits than a float has
            if math.isfinite(number := float(value)):
                return number
    raise _Unusable(f"{key} is {str(value)[:60]} in an answer to {response.get('command')}")


def _text(response: Mapping[str, Any], key: str) -> str:
    value = response.get(key)
    if not isinstance(value, str):
        raise _Unusable(f"{key} is {value!r} in an answer to {response.get('command')}")
    return value


def safe_channel(settings: Mapping[str, Any]) -> Callable[[], bool]:
    """What switches all electrodes off over the serial `port`.

    A serial line has no sessions: while the controlling program lives and reads, it may take the answer away, and this
    says false then although the instrument has obeyed. A watchdog asks again, and a dead program takes no answers.
    """
    import serial

    client = serial.Serial(str(settings["port"]), _BAUD, timeout=TIMEOUT, write_timeout=TIMEOUT)

    def make_safe() -> bool:
        client.reset_input_buffer()
        try:
            return _ask(client, "setAllElectConnected", connected=False).get("connected") is False
        except (_Unusable, serial.SerialException, OSError):
            return False

    return make_safe


def specify(setup: RoleSetup) -> PotentiostatSpecification:
    """What `check` asks; raises `BadInput` with every step that the instrument cannot take."""
    settings: SerialPotentiostatSettings = setup.settings
    problems = list(program_problems(setup, f"the {_NAME}", drives_current=False, current_range=settings.amperes))
    if setup.address is None:
        where = ("roles", setup.role, "address")
        problems.append(
            setup.rig.rig.problem(where, "", "is missing", "write address: /dev/ttyACM0, under Windows COM3")
        )
    reach = max(map(abs, setup.rig.experiment.envelope.cell_V))
    if reach > settings.volts:
        limit = f"envelope.cell_V reaches {reach:g} V"
        problems.append(setup.problem("voltage_range", settings.voltage_range, limit, "choose a larger range"))
    if problems:
        raise BadInput(problems)
    return PotentiostatSpecification(settings.rest_V)


def connect(setup: RoleSetup, _: RigSpecification, clock: Clock) -> SteppedPotentiostat:
    """The instrument, its ranges set, its cell at rest."""
    settings: SerialPotentiostatSettings = setup.settings
    assert setup.address is not None
    source = RodeostatSource(setup.address, settings)
    envelope = setup.rig.experiment.envelope
    device = SteppedPotentiostat(source, clock, envelope, to_si("tick_ms", settings.tick_ms), current_range=0.0)
    setup.rig.connections.callback(device.close)
    return device


DRIVERS: Final = (
    Driver(
        "serial_potentiostat",
        "potentiostat",
        "IO Rodeo's Rodeostat by JSON lines over USB serial: sweep, hold, open circuit; no constant current",
        connect,
        specify,
        SerialPotentiostatSettings,
        client=_CLIENT,
        extra="serial",
        verified="through pyserial against an emulator on a pty, written from the published firmware; on no instrument",
    ),
)
