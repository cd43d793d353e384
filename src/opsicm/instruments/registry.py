"""The registry of drivers, by the name that a rig file writes after `driver:`; other packages add theirs.

A package offers its drivers in its metadata, under the name that rig files use:

    [project.entry-points."opsicm.drivers"]
    acme = "acme_opsicm:DRIVER"        # a `Driver`, or a tuple of them where one name plays several roles
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, InstrumentLost, OpsicmError, Problem
from opsicm.experiment.controls import CellControl
from opsicm.experiment.model import Experiment
from opsicm.experiment.rig_file import LoadedRig, Role, RoleName
from opsicm.experiment.step_model import FileModel
from opsicm.experiment.validation import validated
from opsicm.instruments.clock import Clock, WallClock
from opsicm.instruments.lifted_stage import Liftable, LiftedStage
from opsicm.instruments.roles import Amplifier, CoarseStage, HopController, Potentiostat, Rig, SafeChannel, Scanner
from opsicm.instruments.specification import (
    AmplifierSpecification,
    CoarseStageSpecification,
    HopControllerSpecification,
    PotentiostatSpecification,
    RigSpecification,
    RoleSpecification,
    ScannerSpecification,
)
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve

GROUP: Final = "opsicm.drivers"
ROLES: Final[tuple[RoleName, ...]] = get_args(RoleName)
_SPECIFICATIONS: Final[Mapping[RoleName, type[RoleSpecification]]] = {
    "amplifier": AmplifierSpecification,
    "potentiostat": PotentiostatSpecification,
    "scanner": ScannerSpecification,
    "coarse_stage": CoarseStageSpecification,
    "hop_controller": HopControllerSpecification,
}
_DEVICES: Final[Mapping[RoleName, type[Any]]] = {
    "amplifier": Amplifier,
    "potentiostat": Potentiostat,
    "scanner": Scanner,
    "coarse_stage": CoarseStage,
    "hop_controller": HopController,
}
_SAFE_ORDER: Final[tuple[RoleName, ...]] = ("hop_controller", "scanner", "coarse_stage", "potentiostat", "amplifier")
_CLIPPING: Final = 0.99  # of the amplifier's range counts as an overload: a clipped current looks like a steady one
Shared = TypeVar("Shared")


class NoSettings(FileModel):
    """The settings of a driver that has none."""

    display_name = "this driver"


CellRows = Callable[[bytes, Path, str | None], tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]
"""Reads (t [s], E [V], I [A]) from the text of another program's file; the third argument says what its columns are."""


def _no_cell_rows(_: bytes, path: Path, __: str | None) -> NoReturn:
    raise BadInput(Problem("file of the cell", str(path), "nobody reads such files here", "start it by opsicm run"))


@dataclass(frozen=True, slots=True)
class RigSetup:
    """What is known of a run before any instrument is connected.

    `on_advance` is called with every new time [ns] of a simulated clock; `history` is what earlier runs did to the
    specimen, as (nanosecond, control); `slice_ns` is the longest piece that a twin takes at once where others act on
    its world meanwhile; `cell_rows` reads other programs' files, for drivers stand below those who know their formats;
    `connections` are closed with the run.
    """

    rig: LoadedRig
    experiment: Experiment
    specimen: CellParameters
    pipette: Pipette
    seed: int = 0
    on_advance: Callable[[int], None] = lambda _: None
    history: Sequence[Sequence[tuple[int, CellControl]]] = ()
    slice_ns: int | None = None
    cell_rows: CellRows = _no_cell_rows
    connections: ExitStack = field(default_factory=ExitStack)
    _shared: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def fill(self) -> float:
        """Salt in the pipette [mol/m³]."""
        return self.experiment.pipette.fill(self.specimen.electrolyte.concentration)

    def stop_distance(self, setpoint: float) -> float:
        """Distance [m] of the tip from a surface at which the current has dropped by `setpoint` [1].

        What a hop controller may overshoot by at most; of the finite-element approach curve, as the forecast has it.
        """
        return float(approach_curve(self.pipette).distance(np.array(1.0 - setpoint)))

    def shared(self, key: Hashable, connect: Callable[[], Shared]) -> Shared:
        """A connection that several roles of one rig share, as to a controller with several axes; made only once."""
        if key not in self._shared:
            self._shared[key] = connect()
        connection: Shared = self._shared[key]
        return connection


@dataclass(frozen=True, slots=True)
class RoleSetup:
    """What a driver receives: its role, its address and checked settings in the rig file, and the setup of the rig."""

    role: RoleName
    address: str | None
    settings: Any
    """An instance of the driver's settings model."""
    rig: RigSetup

    def problem(self, key: str, value: object, limit: str, remedy: str) -> Problem:
        """A problem with one of the settings, with its line in the rig file."""
        return self.rig.rig.problem(("roles", self.role, "settings", key), value, limit, remedy)


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver for one role.

    `specify` returns the role's specification from the rig file, without a connection; it is None for a driver that
    only stands in for the instruments of a rig file, as a stored run does. `connect` returns the device, which has the
    methods of its role in `instruments.roles`; it receives the specification and the clock of the whole rig, and
    registers what must be closed in `setup.rig.connections`. `settings` is the model of the settings in the rig file,
    `client` the package to install, imported in `connect` at the earliest, and `extra` that of `pip install
    opsicm[extra]` which brings it. A device that simulates time brings a `clock`; one that follows any clock sets
    `real_time` False. An instrument with `real_time` True may bring a `clock` too, that of its samples: it is the run's
    where the rig file's `clock.master` is its role. `verified` says how it was tried: against what, never merely that.
    """

    name: str
    role: RoleName
    summary: str
    connect: Callable[[RoleSetup, RigSpecification, Clock], Any]
    specify: Callable[[RoleSetup], RoleSpecification] | None = None
    settings: type[FileModel] = NoSettings
    client: str = ""
    clock: Callable[[RoleSetup, RigSpecification], Clock] | None = None
    real_time: bool = True
    extra: str = ""
    verified: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered name: its package and its drivers, or why they cannot be loaded."""

    name: str
    package: str
    drivers: tuple[Driver, ...]
    failure: str = ""


class Registry:
    """The drivers of `built_in`, name → `module:attribute`, and those of installed packages, which cannot replace one
    that is built in.
    """

    def __init__(self, built_in: Mapping[str, str]) -> None:
        self._built_in = {name: EntryPoint(name, value, GROUP) for name, value in built_in.items()}

    def is_built_in(self, name: str) -> bool:
        """Whether a driver comes with this package."""
        return name in self._built_in

    def registrations(self) -> Iterator[Registration]:
        """Every registered name with its drivers."""
        others = [entry for entry in entry_points(group=GROUP) if entry.name not in self._built_in]
        for entry in (*self._built_in.values(), *others):
            try:
                yield Registration(entry.name, _package(entry), _loaded(entry))
            except OpsicmError as error:
                yield Registration(entry.name, _package(entry), (), error.problems[0].limit)

    def find(self, loaded: LoadedRig, role: RoleName, name: str) -> Driver:
        """The driver of this name for a role; `BadInput` names the ones that are registered."""
        where = ("roles", role, "driver")
        # Built-in drivers first: reading the metadata of all packages takes longer than a turn of a run's loop may.
        built_in = self._built_in.get(name)
        entries = [built_in] if built_in is not None else list(entry_points(group=GROUP, name=name))
        if not entries:
            known = ", ".join(sorted({*self._built_in, *entry_points(group=GROUP).names}))
            limit = f"no driver of this name is registered; registered are {known}"
            remedy = f"write one of these, or install a package that offers it in its entry points {GROUP}"
            raise BadInput(loaded.problem(where, name, limit, remedy))
        if len(entries) > 1:
            packages = " and ".join(_package(entry) for entry in entries)
            raise BadInput(loaded.problem(where, name, f"is offered by {packages}", "uninstall one of them"))
        drivers = {driver.role: driver for driver in _loaded(entries[0])}
        if role not in drivers:
            raise BadInput(loaded.problem(where, name, f"plays {', '.join(drivers)} only", "name another driver"))
        return drivers[role]

    def specification(self, setup: RigSetup) -> RigSpecification:
        """The specifications of the rig file's drivers; `BadInput` with every problem of their settings."""
        specifications: dict[str, Any] = {}
        problems: list[Problem] = []
        for role in ROLES:
            try:
                specifications[role] = self.role_specification(setup, role)
            except BadInput as error:
                problems += [problem for problem in error.problems if problem not in problems]
        if problems:
            raise BadInput(problems)
        rig = RigSpecification(**specifications)
        timing = rig.hop_controller.timing
        timing = replace(timing, overload=min(timing.overload, _CLIPPING * rig.amplifier.current_range))
        rest = setup.experiment.specimen.rest_V
        potentiostat = rig.potentiostat if rest is None else PotentiostatSpecification(rest)
        hop_controller = replace(rig.hop_controller, timing=timing)
        return replace(rig, hop_controller=hop_controller, potentiostat=potentiostat)

    def role_specification(self, setup: RigSetup, role: RoleName) -> RoleSpecification:
        """The specification of one role; `BadInput` with every problem of its settings."""
        entry = setup.rig.role(role)
        driver = self.find(setup.rig, role, entry.driver)
        if driver.specify is None:
            limit = "stands in for the instruments of a rig file and states no ranges of its own"
            raise BadInput(setup.rig.problem(("roles", role, "driver"), driver.name, limit, driver.summary))
        specification = driver.specify(_role_setup(setup, driver, entry))
        _require_type(driver, specification, _SPECIFICATIONS[role])
        return specification

    def connect(self, setup: RigSetup, specification: RigSpecification, stand_in: Role | None = None) -> Rig:
        """Connect the rig role by role; `stand_in` plays them all in place of the rig file's drivers."""
        clock = self.clock(setup, specification, stand_in)
        devices = {role: self.connect_role(setup, specification, clock, role, stand_in) for role in ROLES}
        safe = (devices[role] for role in _SAFE_ORDER)
        addresses = tuple(device.safe_address for device in safe if isinstance(device, SafeChannel))
        real_time = self.real_time(setup.rig, stand_in)
        of_stage = self.find(setup.rig, "coarse_stage", (stand_in or setup.rig.role("coarse_stage")).driver)
        if of_stage.real_time:
            stage, scanner, controller = (devices[role] for role in ("coarse_stage", "scanner", "hop_controller"))
            lift = next((each for each in (scanner, controller) if isinstance(each, Liftable)), None)
            devices["coarse_stage"] = LiftedStage(stage, scanner, lift)
        grounding = setup.rig.rig.wiring.grounding
        return Rig(clock=clock, grounding=grounding, safe_addresses=addresses, real_time=real_time, **devices)

    def clock(self, setup: RigSetup, specification: RigSpecification, stand_in: Role | None = None) -> Clock:
        """The clock of the run: a simulating driver's, else that of the role `clock.master`, else the wall clock."""
        roles = {role: stand_in or setup.rig.role(role) for role in ROLES}
        drivers = {role: self.find(setup.rig, role, entry.driver) for role, entry in roles.items()}
        setups = {role: _role_setup(setup, drivers[role], roles[role]) for role in ROLES}
        return _clock(setup, specification, drivers, setups)

    def connect_role(
        self,
        setup: RigSetup,
        specification: RigSpecification,
        clock: Clock,
        role: RoleName,
        stand_in: Role | None = None,
    ) -> Any:
        """The connected device of one role, which has its methods; `BadInput` where it does not answer."""
        entry = stand_in or setup.rig.role(role)
        driver = self.find(setup.rig, role, entry.driver)
        try:
            device = driver.connect(_role_setup(setup, driver, entry), specification, clock)
        except InstrumentLost as lost:  # nothing has moved yet
            raise BadInput(lost.problems) from lost
        _require_type(driver, device, _DEVICES[role])
        return device

    def real_time(self, loaded: LoadedRig, stand_in: Role | None = None) -> bool:
        """Whether the rig can run at the pace of the wall clock only."""
        return any(self.find(loaded, role, (stand_in or loaded.role(role)).driver).real_time for role in ROLES)


def _loaded(entry: EntryPoint) -> tuple[Driver, ...]:
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as error:
        limit = f"the driver cannot be loaded from {entry.value} ({error})"
        raise BadInput(Problem("driver", entry.name, limit, f"update or uninstall {_package(entry)}")) from error
    drivers = (loaded,) if isinstance(loaded, Driver) else tuple(loaded)
    if not all(isinstance(driver, Driver) for driver in drivers):
        limit = f"{entry.value} is neither an opsicm Driver nor a sequence of them"
        raise BadInput(Problem("driver", entry.name, limit, f"update or uninstall {_package(entry)}"))
    return drivers


def _package(entry: EntryPoint) -> str:
    return "opsicm" if entry.dist is None else entry.dist.name


def installed(client: str) -> str | None:
    """The version of a client package; None where it is not installed."""
    try:
        return version(client)
    except PackageNotFoundError:
        return None


def _role_setup(setup: RigSetup, driver: Driver, entry: Role) -> RoleSetup:
    settings = setup.rig.document.below(("roles", driver.role, "settings"))
    if not entry.settings:  # as of a driver that stands in for the one of the file, whose settings are not its own
        settings = replace(settings, data={})
    return RoleSetup(driver.role, entry.address, validated(settings, driver.settings), setup)


def _clock(
    setup: RigSetup,
    specification: RigSpecification,
    drivers: Mapping[RoleName, Driver],
    setups: Mapping[RoleName, RoleSetup],
) -> Clock:
    simulating = {d.name: d for d in drivers.values() if d.clock is not None and not d.real_time}
    if len(simulating) > 1:
        limit = f"the drivers {' and '.join(simulating)} each bring a clock of their own"
        raise BadInput(setup.rig.problem(("roles",), "", limit, "let one of them play all of these roles"))
    for driver in simulating.values():
        assert driver.clock is not None
        return driver.clock(setups[driver.role], specification)
    for role, driver in drivers.items():
        if role == setup.rig.rig.clock.master and driver.clock is not None:
            return driver.clock(setups[role], specification)
    return WallClock()


def _require_type(driver: Driver, returned: object, expected: type[Any]) -> None:
    """Refuse a device that lacks a method of its role; one that forwards its methods to another device has them."""
    wanted = [name for name in vars(expected) if not name.startswith("_")]
    # The type is asked first: asking a device for a property might make it measure.
    missing = [name for name in wanted if not hasattr(type(returned), name) and not hasattr(returned, name)]
    if missing:
        lacks = f"it lacks {', '.join(missing)}"
        limit = f"its driver gives {type(returned).__name__}, which is no {expected.__name__}: {lacks}"
        raise BadInput(Problem(driver.role, driver.name, limit, "report it to the authors of the driver"))
