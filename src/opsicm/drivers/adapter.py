"""Any instrument that PyMeasure or QCoDeS knows, as a potentiostat or a coarse stage: the rig file says which is what.

    potentiostat:
      driver: adapter
      address: GPIB0::24::INSTR
      settings:
        instrument: pymeasure.instruments.keithley.Keithley2400
        potential_mode: source_mode=voltage, source_enabled=True
        current_mode: source_mode=current, source_enabled=True
        open: source_mode=current, source_current=0, source_enabled=True
        disconnect: source_enabled=False
        apply_potential: source_voltage
        apply_current: source_current
        read_potential: voltage
        read_current: current
        current_range_mA: 10
        rest_V: 3.1

A name is a property, a method or a parameter of the instrument, `a.b` one of its channel `a`, none with an underscore
at its start; a list of actions is `name` or `name=value`, separated by commas. `options` are those of a line alone
(`OPTIONS`): an instrument's own may name a library to load. Nobody has tried any of it, and no client of this kind is
fast enough to hop: it plays neither scanner nor hop controller. An instrument that hangs is noticed within the time-out
of its framework, which may be ten seconds.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from opsicm.core.errors import BadInput, Problem
from opsicm.core.units import to_si
from opsicm.drivers.stepped_potentiostat import Measured, SteppedPotentiostat, program_problems
from opsicm.drivers.vertical_axis import MotorisedStage, MotorLimits, MotorState, VerticalAxisSettings, specify
from opsicm.experiment.step_model import FileModel, Flag, Number, Potential, Text
from opsicm.instruments.clock import Clock
from opsicm.instruments.link import Link
from opsicm.instruments.registry import Driver, RoleSetup, installed
from opsicm.instruments.roles import Identity
from opsicm.instruments.specification import CoarseStageSpecification, PotentiostatSpecification, RigSpecification

PACKAGES: Final = ("pymeasure", "qcodes", "qcodes_contrib_drivers")
"""Where an instrument may come from: a rig file is data, and names no function of any other package."""
BASES: Final = ("pymeasure.instruments.instrument.Instrument", "qcodes.instrument.instrument_base.InstrumentBase")
"""What an instrument is in these packages; their other classes read files and start programs."""
OPTIONS: Final = (
    *("timeout", "read_termination", "write_termination", "terminator", "send_end", "query_delay", "chunk_size"),
    *("baud_rate", "data_bits", "parity", "stop_bits", "flow_control", "device_clear"),
)
"""What may be said of the line. `visa_library`, `visalib`, `dll_path` and the like would load code."""
_NOTE: Final[Mapping[str, str]] = {"unverified": "through a mapping of names that nobody but its rig file knows"}
_ACTIONS: Final = ("prepare", "potential_mode", "current_mode", "open", "disconnect", "stop")  # settings of that form
_NO_NUMBER: Final = 1e30  # SCPI's numbers for overflow and for none are 9.9e37 and 9.91e37
_NAME: Final = r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*$"
Name = Annotated[str, Field(pattern=_NAME, max_length=200)]


class AdapterPotentiostatSettings(FileModel):
    """Which instrument, and which of its names do what; `options` are what it is made with, as `timeout=125`, and
    `prepare` what is done then. `current_sign` is -1 where its positive current lithiates; `measures_disconnected` says
    that it measures the potential of a cell that it is disconnected from.
    """

    display_name = "an adapted potentiostat"
    instrument: Name
    options: Text | None = None
    prepare: Text | None = None
    potential_mode: Text
    current_mode: Text | None = None
    open: Text
    disconnect: Text
    measures_disconnected: Flag = False
    apply_potential: Name
    apply_current: Name | None = None
    read_potential: Name
    read_current: Name
    potential_sign: Literal[-1, 1] = 1
    current_sign: Literal[-1, 1] = 1
    current_range_mA: Annotated[Number, Field(gt=0, le=10_000)]
    step_mV: Annotated[Number, Field(gt=0, le=10)] = 1.0
    tick_ms: Annotated[Number, Field(ge=5, le=50)] = 50.0
    rest_V: Potential


class AdapterStageSettings(VerticalAxisSettings):
    """Which instrument, and which of its names do what; `unit_mm` is the unit of its positions, `from_mm` where its
    travel begins. Without `set_speed` it moves at `speed_mm_s`, whatever is asked for.
    """

    display_name = "an adapted stage"
    instrument: Name
    options: Text | None = None
    prepare: Text | None = None
    move: Name
    stop: Text
    read_position: Name
    set_speed: Name | None = None
    unit_mm: Annotated[Number, Field(gt=0, le=1000)] = 1.0
    from_mm: Annotated[Number, Field(ge=-5000, le=5000)] = 0.0


class Adapted:
    """An instrument by its names. Whatever its client raises counts as a line that has failed: nobody knows which."""

    def __init__(self, setup: RoleSetup) -> None:
        self._settings = setup.settings
        self.name = f"{self._settings.instrument} at {setup.address}"
        self._address = setup.address or ""
        self._link: Link[Any] = Link(setup.role, self.name, self._open, _close, (Exception,))
        self._link.open()
        self.revive, self.close = self._link.revive, self._link.close

    @property
    def lost(self) -> str:
        """Why the line is lost."""
        return self._link.lost

    def do(self, actions: str | None) -> None:
        """Do each of `name` or `name=value`."""
        self._link.ask(lambda instrument: _do(instrument, actions))

    def use(self, name: str, *value: float) -> Any:
        """Give `name` a value, or ask for its own."""
        return self._link.ask(lambda instrument: _use(instrument, name, *value))

    def number(self, name: str) -> float:
        """A value that is a number; asked again where it is none."""
        return self._link.ask(lambda instrument: _number(_use(instrument, name)))

    def identity(self) -> Identity:
        """The class of the instrument and its package."""
        package, _, model = self._settings.instrument.partition(".")
        return Identity(model.rpartition(".")[2], client=f"{package} {installed(package) or 'unknown'}")

    def _open(self) -> Any:
        made = _class_of(self._settings.instrument)
        # QCoDeS makes an instrument by (name, address), PyMeasure by (adapter, name="…").
        named = next(iter(inspect.signature(made).parameters), "") == "name"
        options = dict(_actions(self._settings.options))
        arguments = ("opsicm", self._address) if named else (self._address,)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyMeasure's, to those who maintain its classes
            instrument = made(*arguments, **options)
        _do(instrument, self._settings.prepare)
        return instrument


class AdaptedSource(Adapted):
    """See `stepped_potentiostat.Source`."""

    _mode: str | None = None

    @property
    def potential_step(self) -> float:
        return to_si("step_mV", self._settings.step_mV)

    def hold_potential(self, volts: float) -> None:
        self.use(self._settings.apply_potential, self._settings.potential_sign * volts)
        self._change_to(self._settings.potential_mode)

    def hold_current(self, amperes: float) -> None:
        self.use(self._settings.apply_current, self._settings.current_sign * amperes)
        self._change_to(self._settings.current_mode)

    def open(self) -> None:
        self._mode = None
        self.do(self._settings.open)

    def disconnect(self) -> bool:
        self._mode = None
        self.do(self._settings.disconnect)
        return bool(self._settings.measures_disconnected)

    def _change_to(self, mode: str | None) -> None:
        """The level comes first: an output that is switched on with the last one would apply that."""
        if mode != self._mode:
            self.do(mode)
        self._mode = mode

    def measure(self) -> Measured:
        return Measured(
            self._settings.potential_sign * self.number(self._settings.read_potential),
            self._settings.current_sign * self.number(self._settings.read_current),
        )

    def settings(self) -> Mapping[str, float | str]:
        return _NOTE


class AdaptedMotor(Adapted):
    """See `vertical_axis.Motor`. Limits are those of the rig file, and it reaches its speed at once."""

    def state(self) -> MotorState:
        return MotorState(self.position(), settings=_NOTE)

    def limits(self) -> MotorLimits:
        low = to_si("from_mm", self._settings.from_mm)
        return MotorLimits((low, low + to_si("travel_mm", self._settings.travel_mm)), (0.0, 0.0))

    def position(self) -> float:
        return self.number(self._settings.read_position) * self._unit

    def begin(self, position: float, speed: float) -> tuple[float, float]:
        if self._settings.set_speed is None:
            speed = to_si("speed_mm_s", self._settings.speed_mm_s)
        else:
            self.use(self._settings.set_speed, speed / self._unit)
        self.use(self._settings.move, position / self._unit)
        return position, speed

    def stop(self) -> None:
        self.do(self._settings.stop)

    @property
    def _unit(self) -> float:
        return to_si("unit_mm", self._settings.unit_mm)


def _class_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _close(instrument: Any) -> None:
    close = getattr(instrument, "close", None) or instrument.adapter.close  # QCoDeS, PyMeasure
    close()


def _do(instrument: Any, actions: str | None) -> None:
    for name, value in _actions(actions):
        _use(instrument, name, *([] if value is None else [value]))


def _actions(text: str | None) -> Iterator[tuple[str, Any]]:
    """(name, value) of `name=value`, (name, None) of `name`."""
    for action in (text or "").split(","):
        name, given, value = (part.strip() for part in action.partition("="))
        if name:
            yield name, _value(value) if given else None


def _use(instrument: Any, name: str, *value: Any) -> Any:
    *channels, last = name.split(".")
    for channel in channels:
        instrument = getattr(instrument, channel)
    # A property is looked at from outside first: to read it would ask the instrument.
    if isinstance(inspect.getattr_static(instrument, last, None), property):
        return setattr(instrument, last, *value) if value else getattr(instrument, last)
    return getattr(instrument, last)(*value)


def _value(text: str) -> Any:
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text.replace("\\n", "\n").replace("\\r", "\r")  # of a line's end


def _number(value: Any) -> float:
    number = float(value)
    if not abs(number) < _NO_NUMBER:
        raise ValueError(f"{value} where a number belongs")
    return number


# -- Registered.


def _checked(setup: RoleSetup) -> Any:
    """The settings; `BadInput` for an instrument of another package, or one that is not there."""
    path, where = setup.settings.instrument, "instrument"
    if path.partition(".")[0] not in PACKAGES:
        limit = f"must be a class of {' or '.join(PACKAGES)}"
        raise BadInput(setup.problem(where, path, limit, "write a driver for any other: docs/explanations/drivers.md"))
    try:
        made = _class_of(path)
    except (ImportError, AttributeError, ValueError) as error:
        limit = f"cannot be imported ({error})"
        raise BadInput(setup.problem(where, path, limit, "install the package, or mend the name")) from error
    if not inspect.isclass(made):
        raise BadInput(setup.problem(where, path, "is no class", "name the class of the instrument"))
    bases = {f"{base.__module__}.{base.__qualname__}" for base in made.__mro__}
    if made.__module__.partition(".")[0] not in PACKAGES or bases.isdisjoint(BASES):
        limit = f"is {made.__module__}.{made.__qualname__}, which is no instrument of {' or '.join(PACKAGES)}"
        raise BadInput(setup.problem(where, path, limit, "name the class of the instrument"))
    if problems := list(_bad_names(setup)):
        raise BadInput(problems)
    return setup.settings


def _bad_names(setup: RoleSetup) -> Iterator[Problem]:
    """What a rig file may not name: options beyond those of a line, and what is private to Python or a package."""
    for name, _ in _actions(setup.settings.options):
        if name not in OPTIONS:
            limit = f"must be one of {', '.join(OPTIONS)}: any other may load a library"
            yield setup.problem("options", name, limit, "leave it out, or write a driver")
    for key in _ACTIONS:
        for name, _ in _actions(getattr(setup.settings, key, None)):
            if re.fullmatch(_NAME, name) is None:
                limit = "must be words of letters, digits and _, the first a letter, with dots between"
                yield setup.problem(key, name, limit, "name a property or a method that the instrument shows")


def _specify_potentiostat(setup: RoleSetup) -> PotentiostatSpecification:
    settings = _checked(setup)
    drives_current = settings.apply_current is not None and settings.current_mode is not None
    reach = to_si("current_range_mA", settings.current_range_mA)
    problems = list(program_problems(setup, "an adapted instrument", drives_current, reach))
    if problems:
        raise BadInput(problems)
    return PotentiostatSpecification(settings.rest_V)


def _connect_potentiostat(setup: RoleSetup, _: RigSpecification, clock: Clock) -> SteppedPotentiostat:
    settings = setup.settings
    tick, reach = to_si("tick_ms", settings.tick_ms), to_si("current_range_mA", settings.current_range_mA)
    device = SteppedPotentiostat(AdaptedSource(setup), clock, setup.rig.experiment.envelope, tick, reach)
    setup.rig.connections.callback(device.close)
    return device


def _specify_stage(setup: RoleSetup) -> CoarseStageSpecification:
    _checked(setup)
    return specify(setup)


def _connect_stage(setup: RoleSetup, specification: RigSpecification, clock: Clock) -> MotorisedStage:
    motor = AdaptedMotor(setup)
    setup.rig.connections.callback(motor.close)
    return MotorisedStage(motor, setup, specification, clock)


DRIVERS: Final = (
    Driver(
        "adapter",
        "potentiostat",
        "an instrument of PyMeasure or QCoDeS, by a mapping of its names",
        _connect_potentiostat,
        _specify_potentiostat,
        AdapterPotentiostatSettings,
    ),
    Driver(
        "adapter",
        "coarse_stage",
        "a stage of PyMeasure or QCoDeS, by a mapping of its names",
        _connect_stage,
        _specify_stage,
        AdapterStageSettings,
    ),
)
