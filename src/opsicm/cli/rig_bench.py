"""A rig under check: what its file says, what is known of it, and those of its devices that answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from opsicm.cli.emulated_rig import standing_experiment
from opsicm.cli.rig import install_command
from opsicm.cli.rig_findings import RIG, UNTRIED, Finding, of_error
from opsicm.cli.rigs import REGISTRY, rig_setup, specimen_parameters
from opsicm.cli.verification import how_verified, verified_on_hardware
from opsicm.cli.wiring import is_instrument
from opsicm.core.errors import BadInput, OpsicmError
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.rig_file import LoadedRig, RoleName
from opsicm.instruments.clock import Clock, WallClock, pause
from opsicm.instruments.registry import ROLES, RigSetup, installed
from opsicm.instruments.roles import Rig
from opsicm.instruments.specification import RigSpecification
from opsicm.physics.pipette.geometry import geometric_resistance
from opsicm.physics.pipette.ion_current import junction_potential, resistance
from opsicm.twin.build import followed, twin_of

_SAFE_ORDER: Final[tuple[RoleName, ...]] = ("hop_controller", "scanner", "coarse_stage", "potentiostat", "amplifier")


@dataclass(frozen=True)
class Bench:
    """A rig under check; `roles` are those to be looked at, `experiment` is None where none was given.

    `touched` are the roles that a trial has moved or switched: those that an interruption makes safe.
    """

    loaded: LoadedRig
    experiment: LoadedExperiment | None
    roles: tuple[RoleName, ...]
    setup: RigSetup
    specification: RigSpecification
    clock: Clock
    devices: dict[RoleName, Any] = field(default_factory=dict)
    touched: set[RoleName] = field(default_factory=set)

    @property
    def grounding(self) -> str:
        """That of the rig file."""
        return self.loaded.rig.wiring.grounding

    @property
    def far_resistance(self) -> float:
        """Resistance [Ohm] of the pipette far from the surface, from its shape and the electrolyte."""
        return resistance(geometric_resistance(self.setup.pipette), self.setup.specimen.electrolyte, self.setup.fill)

    @property
    def reversal(self) -> float:
        """[V] of the pipette electrode against the reference at which no current flows: of two solutions, else 0."""
        bath, kind = self.setup.specimen.electrolyte, self.loaded.rig.wiring.electrodes
        return float(
            junction_potential(self.setup.fill, bath.concentration, bath.temperature, bath.transference, bath.tdf, kind)
        )

    @property
    def open_cell_grounded(self) -> bool:
        """Whether the pipette's current tells where the reference is while the cell is open.

        Not where one of amplifier and potentiostat is an instrument and the other a twin: they share no electrode.
        """
        of_one_kind = is_instrument(self.loaded, "amplifier") == is_instrument(self.loaded, "potentiostat")
        return self.loaded.rig.wiring.open_cell_grounded and of_one_kind

    def wait(self, seconds: float) -> None:
        """Let the rig's time pass."""
        self.clock.wait_until(self.clock.now_ns() + round(seconds * 1e9))

    def touch(self, role: RoleName) -> Any:
        """The device of a role, which from now on is made safe when the check is interrupted."""
        self.touched.add(role)
        return self.devices[role]

    def make_safe(self) -> tuple[list[RoleName], list[Finding]]:
        """What was moved or switched, in the order of every exit path: probe up, then cell open, then bias zero.

        Returns the roles that are safe, and what is to be said of those that could not be made so: a lost one keeps
        none of the next from it.
        """
        safe: list[RoleName] = []
        not_safe: list[Finding] = []
        for role in _SAFE_ORDER:
            if role in self.touched:
                try:
                    self.devices[role].safe()
                    safe.append(role)
                except (OpsicmError, OSError) as error:
                    text = f"NOT KNOWN TO BE SAFE: {error}"
                    not_safe.append(Finding("made safe", role, "fault", text, "go to the instrument, now"))
        return safe, not_safe


class _Waited:
    """Lets the wall clock pass by as much as a twin's time is advanced beside an instrument.

    Not a run's pacer, which lets simulated time catch up with the wall: between the steps of a check only the
    instruments' time passes, and who then waits for one of them must really wait.
    """

    def __init__(self) -> None:
        self._until_ns = 0

    def hold(self, t_ns: int) -> None:
        """Wait for what has been advanced since the last call."""
        pause(max(0, t_ns - self._until_ns) * 1e-9)
        self._until_ns = t_ns


def drivers_of(loaded: LoadedRig, role: RoleName) -> Iterator[Finding]:
    """Whether a role has a driver and the driver its client, and where it was tried."""
    try:
        driver = REGISTRY.find(loaded, role, loaded.role(role).driver)
    except BadInput as error:
        yield from of_error("drivers", role, error)
        return
    version = installed(driver.client) if driver.client else None
    if driver.client and version is None:
        text = f"{driver.name} needs {driver.client}, which is not installed"
        yield Finding("drivers", role, "missing", text, f"{install_command(driver)}, then check again")
        return
    client = f", through {driver.client} {version}" if driver.client else ""
    yield Finding("drivers", role, "ok", f"{driver.name}{client}")
    if driver.real_time and not verified_on_hardware(driver):
        yield Finding("drivers", role, "remark", f"{UNTRIED}: {how_verified(driver)}")


def bench_of(
    loaded: LoadedRig, experiment: LoadedExperiment | None, roles: tuple[RoleName, ...], open_things: ExitStack
) -> Bench:
    """The bench, nothing connected yet; `BadInput` where the rig file cannot be used."""
    standing = standing_experiment(loaded) if experiment is None else experiment
    waited = _Waited()
    parameters = specimen_parameters(standing, loaded).values
    setup = rig_setup(
        standing,
        loaded,
        parameters,
        on_advance=waited.hold if REGISTRY.real_time(loaded) else lambda _: None,
        connections=open_things,
    )
    specification = REGISTRY.specification(setup)
    try:
        clock = REGISTRY.clock(setup, specification)
    except OpsicmError:
        clock = WallClock()  # the role that keeps it does not answer, which its connection says
    return Bench(loaded, experiment, roles, setup, specification, clock)


def file_problems(loaded: LoadedRig, experiment: LoadedExperiment | None) -> Iterator[Finding]:
    """What is wrong with the rig file, each problem for its role."""
    step = "settings of the file"
    standing = standing_experiment(loaded) if experiment is None else experiment
    try:
        setup = rig_setup(standing, loaded, specimen_parameters(standing, loaded).values)
    except BadInput as error:
        yield from of_error(step, RIG, error)
        return
    for role in ROLES:
        try:
            REGISTRY.role_specification(setup, role)
        except BadInput as error:
            yield from of_error(step, role, error)


def connect(bench: Bench, role: RoleName) -> Iterator[Finding]:
    """Connect one role."""
    bench.devices[role] = REGISTRY.connect_role(bench.setup, bench.specification, bench.clock, role)
    address = bench.loaded.role(role).address
    yield Finding("connection", role, "ok", f"answers at {address}" if address else "connected")


def let_the_twin_follow(bench: Bench) -> None:
    """The twin of a mixed rig is told what the instruments are told, as in a run."""
    if bench.loaded.rig.world is None or len(bench.devices) < len(ROLES):
        return
    rig = Rig(clock=bench.clock, grounding=bench.grounding, **bench.devices)
    rig = followed(rig, twin_of(bench.setup, bench.specification))
    bench.devices.update({role: getattr(rig, role) for role in ROLES})
