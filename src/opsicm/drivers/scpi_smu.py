"""A source-measure unit as potentiostat: Keithley 2450, and others with its commands, by SCPI through pyvisa.

Commands: Keithley, Model 2450 Reference Manual, 2450-901-01 Rev. B, section 6 (the page stands beside each). It must
speak the SCPI command set (`*LANG SCPI`), neither TSP nor that of the 2400.

**Wiring.** Remote sense makes it a three-electrode potentiostat: FORCE carries the current between specimen and
counter electrode, SENSE sees specimen and reference. `specimen_terminal: LO` puts the specimen at FORCE LO and SENSE
LO, the counter at FORCE HI, the reference at SENSE HI: the specimen can then be grounded, as `grounding: common` needs,
and E = -V, I = -I of the instrument. `HI` is the other way round, E = V; the instrument then floats.

**Open circuit** has two forms. With the output off in its high-impedance state the relay is open, nothing flows, and
nothing is measured: remote sense works with the output on only (6-58). So at rest it sources 0 A in a range of 100 nA,
whose offset is of the order of 0.1 nA, and measures E. `safe` opens the relay.

It has no iR compensation.
"""

from __future__ import annotations

import math
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, Problem
from opsicm.core.units import to_si
from opsicm.drivers.stepped_potentiostat import Measured, SteppedPotentiostat, program_problems
from opsicm.experiment.setup import Envelope
from opsicm.experiment.step_model import FileModel, Number, Potential
from opsicm.instruments.clock import Clock, stopwatch
from opsicm.instruments.link import TIMEOUT, Link
from opsicm.instruments.registry import Driver, RoleSetup, installed
from opsicm.instruments.roles import Identity
from opsicm.instruments.specification import PotentiostatSpecification, RigSpecification

if TYPE_CHECKING:
    from pyvisa.resources import MessageBasedResource

_CLIENT: Final = "pyvisa"
_NAME: Final = "source-measure unit"
_REST_RANGE: Final = 1e-7  # [A] of the source at rest: its offset is below a C-rate of any specimen under a pipette
_VOLTS_AT_REST: Final = 20.0  # [V] a fresh cell may stand beyond the envelope, and must not be pulled into it
_OVERFLOW: Final = 9e37  # SCPI's numbers for overflow and for none are 9.9e37 and 9.91e37
_FINEST: Final = 5e-5  # [V]: the source's resolution in its 2 V range
Backend = Literal["@py", "@ivi", "@sim"]
"""pyvisa's name of the library to load. Any other would load a file or a module: a rig file is data and may not."""


class SmuSettings(FileModel):
    """`specimen_terminal` is where the specimen is connected; `nplc` the integration time of a reading in periods of
    the mains, `tick_ms` the time between two readings, `rest_V` where the specimen stands before the run.
    """

    display_name = "the source-measure unit"
    specimen_terminal: Literal["LO", "HI"] = "LO"
    current_range_mA: Annotated[Number, Field(gt=0, le=1000)] = 100.0
    nplc: Annotated[Number, Field(ge=0.01, le=1)] = 0.1
    tick_ms: Annotated[Number, Field(ge=5, le=50)] = 20.0
    rest_V: Potential
    backend: Backend = "@py"

    @property
    def current_range(self) -> float:
        """[A]"""
        return to_si("current_range_mA", self.current_range_mA)


class _Unusable(Exception):
    """An answer that cannot be believed: asked again on a new line."""


class SmuSource:
    """The instrument behind one VISA resource, `address`; `backend` in place of the settings' is for no rig file."""

    potential_step = _FINEST

    def __init__(self, address: str, settings: SmuSettings, envelope: Envelope, backend: str | None = None) -> None:
        import pyvisa

        self._backend = settings.backend if backend is None else backend
        self._address, self._settings, self._envelope = address, settings, envelope
        self._sign = -1.0 if settings.specimen_terminal == "LO" else 1.0
        self._function, self._limit = "", math.inf  # of the other quantity: [A] of a voltage source, [V] of a current's
        self._amperes = min(settings.current_range, envelope.cell_current)
        self._configured = False
        self._stamp = math.nan
        failures = (pyvisa.errors.VisaIOError, pyvisa.errors.InvalidSession, OSError, UnicodeDecodeError, _Unusable)
        self._link: Link[MessageBasedResource] = Link(
            "potentiostat", f"{_NAME} {address}", self._connect, lambda client: client.close(), failures
        )
        self._link.open()

    # -- what it can do ---------------------------------------------------------------------------------------------

    def hold_potential(self, volts: float) -> None:
        self._source("VOLT", self._sign * volts, self._amperes)

    def hold_current(self, amperes: float) -> None:
        limit = max(map(abs, self._envelope.cell_V))  # of both signs: it has no other
        self._source("CURR", self._sign * amperes, limit, self._settings.current_range)

    def open(self) -> None:
        if self._function == "CURR":
            self._set(":SOUR:CURR 0")  # at once, in the range of the current that flowed
        self._source("CURR", 0.0, _VOLTS_AT_REST, _REST_RANGE)

    def disconnect(self) -> bool:
        self._set(":OUTP OFF")  # 6-34; the relay opens, by :OUTP:SMOD HIMP
        self._function = ""
        return False

    def measure(self) -> Measured:
        return self._link.ask(self._read)

    def identity(self) -> Identity:
        maker, model, serial, firmware = _words(self._link.ask(lambda client: client.query("*IDN?")))
        return Identity(f"{maker} {model}".strip(), serial, firmware, f"{_CLIENT} {installed(_CLIENT)}")

    def settings(self) -> Mapping[str, float | str]:
        def read_back(client: MessageBasedResource) -> dict[str, float | str]:
            return {
                "output": "on" if _is_on(client.query(":OUTP?")) else "off",
                "source": client.query(":SOUR:FUNC?").strip(),
                "current_limit_A": _number(client.query(":SOUR:VOLT:ILIM?")),
                "voltage_limit_V": _number(client.query(":SOUR:CURR:VLIM?")),
                "off_state": client.query(":OUTP:VOLT:SMOD?").strip(),
                "sense": "4-wire" if _is_on(client.query(":SENS:CURR:RSEN?")) else "2-wire",
            }

        return self._link.ask(read_back)

    @property
    def lost(self) -> str:
        return self._link.lost

    def revive(self) -> bool:
        return self._link.revive()

    def close(self) -> None:
        self._link.close()

    # -- the line ---------------------------------------------------------------------------------------------------

    def _connect(self) -> MessageBasedResource:
        client = open_resource(self._address, self._backend)
        language = client.query("*LANG?").strip()
        if language != "SCPI":
            limit = "this driver speaks SCPI"
            remedy = "choose SCPI in the instrument's menu System, Settings, Command Set, and restart it"
            raise BadInput(Problem("command set of the source-measure unit", language, limit, remedy))
        client.write("*CLS")  # what a line before this one has left in the queue of errors
        if not self._configured:
            self._configure(client)
        elif not client.query(":OUTP:VOLT:SMOD?").strip().upper().startswith("HIMP"):
            limit = "it has been switched off meanwhile: its limits are the maker's, its output is off"
            problem = Problem("source-measure unit", "restarted", limit, "end the run, look at the cell, resume")
            raise InstrumentLost("potentiostat", problem)
        return client

    def _configure(self, client: MessageBasedResource) -> None:
        """Limits, ranges and sense before the output is ever on. *RST switches it off (B-9)."""
        volts = max(map(abs, self._envelope.cell_V))
        amperes = self._settings.current_range
        for command in (
            "*RST",
            ":OUTP:VOLT:SMOD HIMP",  # 6-31: the relay opens when the output is off
            ":OUTP:CURR:SMOD HIMP",
            ":SENS:CURR:RSEN ON",  # 6-58: remote sense
            ":SENS:VOLT:RSEN ON",
            f":SENS:CURR:NPLC {self._settings.nplc:g}",
            f":SENS:VOLT:NPLC {self._settings.nplc:g}",
            f":SOUR:VOLT:RANG {volts:.6g}",  # 6-74
            f":SENS:CURR:RANG {amperes:.6g}",
            f":SENS:VOLT:RANG {_VOLTS_AT_REST:g}",
            f":SOUR:VOLT:ILIM {self._amperes:.6g}",
            ":SOUR:VOLT:READ:BACK ON",  # 6-77: a reading holds what the source does, not what it was asked
            ":SOUR:CURR:READ:BACK ON",
            ":SOUR:VOLT:DEL 0",
            ":SOUR:CURR:DEL 0",
        ):
            _command(client, command)
        self._configured = True

    def _set(self, *commands: str) -> None:
        def send(client: MessageBasedResource) -> None:
            for command in commands:
                _command(client, command)

        self._link.ask(send)

    def _source(self, function: str, value: float, limit: float, current_range: float | None = None) -> None:
        """Source a voltage or a current. To change over, the output is off for some milliseconds: a true open cell."""
        level, limits = f":SOUR:{function} {value:.9g}", []
        if current_range is not None:
            limits = [f":SOUR:CURR:RANG {current_range:.6g}", f":SOUR:CURR:VLIM {limit:.6g}"]
        self._limit = limit
        if self._function == function:
            # Into a smaller range the level comes first, into a larger one the range.
            self._set(*([level, *limits] if value == 0.0 else [*limits, level]))
            return
        sensed = "CURR" if function == "VOLT" else "VOLT"
        off = (":OUTP OFF", f":SOUR:FUNC {function}", f':SENS:FUNC "{sensed}"')  # 6-34, 6-72
        self._set(*off, *limits, level, ":OUTP ON")
        self._function = function

    def _read(self, client: MessageBasedResource) -> Measured:
        # 6-6: what the source does, what is sensed, and when by the instrument's own clock.
        answer = client.query(':READ? "defbuffer1", SOUR, READ, REL')
        numbers = [_number(word) for word in answer.split(",")]
        if len(numbers) != 3:
            raise _Unusable(f"{answer[:60]!r} in place of three numbers")
        source, sensed, stamp = numbers
        if stamp == self._stamp:
            raise _Unusable(f"the reading of {stamp:g} s for the second time")
        self._stamp = stamp
        volts, amperes = (source, sensed) if self._function == "VOLT" else (sensed, source)
        limited = abs(sensed) >= 0.999 * self._limit
        return Measured(self._sign * volts, self._sign * amperes, limited)


def open_resource(address: str, backend: str) -> MessageBasedResource:
    """A VISA resource with this package's time-out and line ends; `BadInput` where pyvisa cannot reach its kind."""
    import pyvisa

    options: dict[str, Any] = {"open_timeout": round(1e3 * TIMEOUT)}
    try:
        client: Any = pyvisa.ResourceManager(backend).open_resource(address, **options)
    except ValueError as error:  # no such backend, or one without the library for USB or GPIB
        said = str(error).partition("\n")[0]
        remedy = "write the address as `pyvisa-shell list` shows it; `pyvisa-info` says what pyvisa lacks"
        raise BadInput(Problem("VISA resource", f"{address} through {backend}", said, remedy)) from error
    client.timeout = 1e3 * TIMEOUT
    client.read_termination = client.write_termination = "\n"
    _send_at_once(client)
    if client.interface_type == pyvisa.constants.InterfaceType.asrl:
        try:
            _leave_old_answers(client)
        except BaseException:
            client.close()
            raise
    opened: MessageBasedResource = client
    return opened


def _leave_old_answers(client: Any) -> None:
    """Read what a serial line still brings of earlier questions, up to an answer that is surely to this one.

    A network's line is a new one, USB and GPIB number or clear their messages; a serial line has no sessions, and a
    late answer would be taken for the next one's, and so on for ever. `*ESE` keeps a number (IEEE 488.2, 10.10): one
    that was drawn now comes back for this question only. The register acts on nothing here, and is put back to 0.
    """
    token = 100 + secrets.randbelow(156)
    waited, answers = stopwatch(), list[str]()
    client.write(f"*ESE {token}")
    client.write("*ESE?")
    while True:
        answers.append(client.read().strip())
        if answers[-1] == str(token):
            break
        if waited() > TIMEOUT:
            raise _Unusable(f"{answers[-1][:60]!r} in place of {token}, which it was told to keep")
    client.write("*ESE 0")


def _send_at_once(client: Any) -> None:
    """Switch off Nagle's algorithm: a command and the question after it are small packets, the second held for 40 ms.

    VISA has it off by default. pyvisa-py 0.8 says so and leaves it on, and its attribute has no working setter.
    """
    session = getattr(client.visalib, "sessions", {}).get(client.session)
    line = getattr(session, "interface", None)
    if isinstance(line, socket.socket):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _command(client: MessageBasedResource, command: str) -> None:
    """Send a command and look what the instrument thinks of it."""
    client.write(command)
    answer = client.query(":SYST:ERR?")
    code, _, text = answer.partition(",")
    try:
        number = int(code)
    except ValueError:
        raise _Unusable(f"{answer[:60]!r} in place of an error number") from None
    if number:
        raise _Unusable(f"{command}: error {number}, {text.strip()}")


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise _Unusable(f"{word[:60]!r} in place of a number") from None
    if not abs(value) < _OVERFLOW:  # NaN too
        raise _Unusable(f"{word.strip()} in place of a number that is one")
    return value


def _is_on(word: str) -> bool:
    if word.strip() not in {"0", "1", "OFF", "ON"}:
        raise _Unusable(f"{word[:60]!r} in place of on or off")
    return word.strip() in {"1", "ON"}


def _words(identity: str) -> list[str]:
    words = [word.strip() for word in identity.split(",")]
    return [*words, "", "", "", ""][:4]


def safe_channel(settings: Mapping[str, Any]) -> Callable[[], bool]:
    """What opens the output relay over a VISA session of its own: `resource` and, if not pyvisa-py, `backend`.

    An instrument that takes one raw socket only needs another way in for it: USB, GPIB, or VXI-11
    (`TCPIP::host::INSTR`). Raises `BadInput` for a backend that a rig file may not name.
    """
    import pyvisa

    address, backend = str(settings["resource"]), str(settings.get("backend", "@py"))
    if backend not in get_args(Backend):
        limit = f"must be one of {', '.join(get_args(Backend))}: pyvisa would load it"
        raise BadInput(
            Problem("backend of the safe channel", backend, limit, "write @py, or @ivi for the maker's VISA")
        )
    sessions = [open_resource(address, backend)]

    def make_safe() -> bool:
        try:
            if not sessions:
                sessions.append(open_resource(address, backend))
            sessions[0].write(":OUTP OFF")
            return not _is_on(sessions[0].query(":OUTP?"))
        except (pyvisa.errors.VisaIOError, OSError, UnicodeDecodeError, _Unusable, BadInput):
            # On a new session next time: an answer that comes late would be taken for that to a later question.
            with suppress(pyvisa.errors.VisaIOError, OSError):
                sessions.pop().close()
            return False

    return make_safe


def specify(setup: RoleSetup) -> PotentiostatSpecification:
    """What `check` asks; raises `BadInput` with every step that the instrument cannot take."""
    settings: SmuSettings = setup.settings
    problems = list(program_problems(setup, f"a {_NAME}", drives_current=True, current_range=settings.current_range))
    if setup.address is None:
        where = ("roles", setup.role, "address")
        remedy = "write address: TCPIP::192.168.0.5::5025::SOCKET, or what `pyvisa-shell list` shows"
        problems.append(setup.rig.rig.problem(where, "", "is missing and pyvisa needs it", remedy))
    if problems:
        raise BadInput(problems)
    return PotentiostatSpecification(settings.rest_V)


def connect(setup: RoleSetup, _: RigSpecification, clock: Clock) -> SteppedPotentiostat:
    """The instrument, configured, its cell at rest."""
    settings: SmuSettings = setup.settings
    envelope = setup.rig.experiment.envelope
    assert setup.address is not None
    source = SmuSource(setup.address, settings, envelope)
    tick = to_si("tick_ms", settings.tick_ms)
    device = SteppedPotentiostat(source, clock, envelope, tick, settings.current_range)
    setup.rig.connections.callback(device.close)
    return device


DRIVERS: Final = (
    Driver(
        "scpi_smu",
        "potentiostat",
        "a source-measure unit of the Keithley 2450 family: sweep, hold, constant current, open circuit",
        connect,
        specify,
        SmuSettings,
        client=_CLIENT,
        extra="visa",
        verified="through pyvisa and pyvisa-py against an emulator written from the manual; on no instrument",
    ),
)
