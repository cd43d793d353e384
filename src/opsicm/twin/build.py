"""The twin's drivers: one world for all of a rig's roles, its devices, and what they state of themselves.

A role may be played by an instrument instead. The world then does what that instrument is told, too (`followed`), so
that the simulated cell, pipette and stage stay where the real ones are; a reading is the instrument's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.constants import VACUUM_PERMITTIVITY
from opsicm.core.errors import BadInput
from opsicm.core.facts import Channel, channel
from opsicm.core.units import to_si
from opsicm.experiment.controls import CellControl
from opsicm.experiment.rig_file import TWIN, RoleName
from opsicm.experiment.step_model import FileModel
from opsicm.instruments.clock import Clock
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.registry import Driver, RigSetup, RoleSetup
from opsicm.instruments.roles import Amplifier, CellReading, CoarseStage, Identity, Potentiostat, Rig, RoleState
from opsicm.instruments.specification import (
    AmplifierSpecification,
    CoarseStageSpecification,
    HopControllerSpecification,
    PotentiostatSpecification,
    RigSpecification,
    RoleSpecification,
    ScannerSpecification,
)
from opsicm.physics.cell.cell import Cell, Terms
from opsicm.physics.noise import pipette_current_noise, thermal_current_density
from opsicm.physics.pipette.electroosmosis import electroosmotic_peclet
from opsicm.physics.pipette.geometry import geometric_resistance
from opsicm.physics.pipette.ion_current import junction_potential, resistance
from opsicm.physics.pipette.memory import tip_memory
from opsicm.physics.pipette.rectification import GlassCharge
from opsicm.physics.slow_noise import ReferenceDrift, SlowNoise, random_walk_level
from opsicm.twin import settings as twin_settings
from opsicm.twin.coarse_motion import CoarseMotion
from opsicm.twin.devices import (
    FULL_SCALE,
    Monitors,
    OpenLoopAxis,
    Probe,
    TwinAmplifier,
    TwinClock,
    TwinCoarseStage,
    TwinScanner,
)
from opsicm.twin.far_pipette import INSTANT, FarPipette
from opsicm.twin.fast_loop import Instrument
from opsicm.twin.faults import scripted
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.potentiostat import Readout, TwinPotentiostat
from opsicm.twin.specimen import Specimen, specimen_of
from opsicm.twin.world import LONGEST_STEP, World, replay_controls

_MINUTE: Final = 60.0  # [s] within which the noise of a rig file wanders
_STEPS_OF_SLICE: Final = 0.25  # of a piece that is taken at once: the cell follows its potentiostat four times as fast

Floats = NDArray[np.float64]

# -- Specifications, from the rig file.


def _amplifier(setup: RoleSetup) -> AmplifierSpecification:
    amplifier, rig = twin_settings.in_si(setup.settings), setup.rig.rig
    density, headstage, current_range = (
        twin_settings.noise(rig)["amplifier"],
        amplifier["headstage"],
        amplifier["range"],
    )
    if headstage > 0.0:  # the feedback resistor adds its own noise, and its output ends at a current
        temperature = setup.rig.specimen.electrolyte.temperature
        density = math.hypot(density, thermal_current_density(headstage, temperature))
        current_range = min(current_range, amplifier["output"] / headstage)
    reach = amplifier["output"] * rig.rig.wiring.external_bias
    reading_time = TwinAmplifier.AVERAGED / rig.rig.clock.rate
    return AmplifierSpecification(density, amplifier["filter"], reading_time, (-reach, reach), current_range)


def _potentiostat(setup: RoleSetup) -> PotentiostatSpecification:
    return PotentiostatSpecification(setup.settings.initial_V)


def _scanner(setup: RoleSetup) -> ScannerSpecification:
    scanner = twin_settings.in_si(setup.settings)
    resonance = 2.0 * math.pi * scanner["resonance"]
    # A scanner with a resonance follows a ramp 2D/w late.
    lag = 2.0 * scanner["damping"] / resonance if resonance > 0.0 else scanner["lag"]
    height_noise = twin_settings.noise(setup.rig.rig)["height"]
    damping = scanner["damping"] if resonance > 0.0 else math.inf
    return ScannerSpecification(scanner["z_range"] / 2.0, scanner["xy_range"] / 2.0, lag, height_noise, damping)


def _coarse_stage(setup: RoleSetup) -> CoarseStageSpecification:
    return CoarseStageSpecification(twin_settings.in_si(setup.settings)["speed"])


def _hop_controller(setup: RoleSetup) -> HopControllerSpecification:
    hop, rig = twin_settings.in_si(setup.settings), setup.rig.rig.rig
    dt_ns = round(1e9 / rig.clock.rate)
    timing = HopTiming(hop["settle"], hop["reference"], hop["withdraw"], rig.latency, rig.limits.overload, dt_ns)
    return HopControllerSpecification(timing, hop["start_height"])


def _in_its_world(specify: Callable[[RoleSetup], RoleSpecification]) -> Callable[[RoleSetup], RoleSpecification]:
    """`specify` once the world that the role shares is known to be sound, and its channels to be in SI."""

    def specified(setup: RoleSetup) -> RoleSpecification:
        rig, problems = setup.rig.rig, []
        for k, one in enumerate(rig.rig.channels):
            for key, usual in (("gain", 1.0), ("offset", 0.0), ("sign", 1)):
                if one.role == setup.role and (value := getattr(one, key)) != usual:
                    # Refused, for a factor passed over is a wrong number.
                    limit = f"a twin's channels come in SI as they are; {key} is {usual:g}"
                    problems.append(rig.problem(("channels", k, key), value, limit, "leave it out"))
        if problems:
            raise BadInput(problems)
        twin_settings.surface(rig)
        return specify(setup)

    return specified


# -- The world and its devices.


def twin_of(setup: RigSetup, specification: RigSpecification) -> Rig:
    """The twin of every role, in the one world of this rig."""
    return setup.shared(TWIN, lambda: _built(setup, specification))


class Relief:
    """The specimen's surface before the run, made when first asked for: (x, y) [m] → heights [m] as the tip reads them.

    What the run's own specimen would be: of the same seed, at rest at the same potential.
    """

    def __init__(self, setup: RigSetup, specification: RigSpecification) -> None:
        self._setup = setup
        self._rest_potential = specification.potentiostat.rest_potential
        self._specimen: Specimen | None = None

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Heights [m, n] at points x, y [m, n]; 0 is where the operator has engaged."""
        if self._specimen is None:
            setup = self._setup
            cell = Cell(setup.specimen, initial_potential=self._rest_potential)
            self._specimen = specimen_of(setup.rig, cell, setup.pipette, _specimen_seed(setup))
        return self._specimen.footprint(x, y).height


def _specimen_seed(setup: RigSetup) -> int:
    own = setup.experiment.twin.specimen_seed
    return setup.seed if own is None else own


def _built(setup: RigSetup, specification: RigSpecification) -> Rig:
    amplifier, scanner, hop = specification.amplifier, specification.scanner, specification.hop_controller
    settings = {role: _settings(setup, role, model) for role, model in _SETTINGS.items()}
    seed, faults = setup.seed, setup.experiment.twin.faults
    terms = Terms(**setup.experiment.twin.terms.model_dump())
    cell = Cell(setup.specimen, initial_potential=specification.potentiostat.rest_potential, terms=terms)
    stage, slow = settings["coarse_stage"], twin_settings.noise(setup.rig)
    reference = _reference(slow, seed)
    for controls in setup.history:
        ended_ns = replay_controls(cell, controls, reference)
        # A reference does not wait for a run that is resumed.
        reference = reference and replace(reference, before_ns=reference.before_ns + ended_ns)
    readout = Readout(**{name: value for name, value in settings["potentiostat"].items() if name != "initial"})
    world = World(
        cell,
        specimen_of(setup.rig, cell, setup.pipette, _specimen_seed(setup)),
        _far(setup),
        # The start height is where the operator has left the pipette.
        CoarseMotion(hop.start_height, specification.coarse_stage.speed, stage["backlash"], stage["step"]),
        setup.rig.rig.wiring.grounding,
        scripted(faults, seed),
        settings["scanner"]["drift_z"],
        # Instruments on a wire set the cell at any moment, and a staircase does so every 10 ms.
        LONGEST_STEP if setup.slice_ns is None else min(LONGEST_STEP, _STEPS_OF_SLICE * setup.slice_ns * 1e-9),
        _slow(0.0, slow["height_wander"], seed, 2),
        reference,
    )
    x, y = (
        OpenLoopAxis(
            2.0 * scanner.xy_reach,
            settings["scanner"]["hysteresis"],
            settings["scanner"]["creep"],
            settings["scanner"][f"drift_{axis}"],
        )
        for axis in "xy"
    )
    instrument = _instrument(setup, specification, settings["scanner"])
    dt = hop.timing.dt_ns * 1e-9
    probe = Probe(
        world,
        instrument,
        setup.pipette,
        seed,
        (x, y),
        dt,
        settings["amplifier"]["offset"],
        settings["amplifier"]["stray"],
        _slow(slow["pipette_flicker"], slow["pipette_wander"], seed, 0),
        _slow(slow["amplifier_flicker"], 0.0, seed, 1),
    )
    kept = {name for name, policy in setup.experiment.record.model_dump().items() if policy != "off"}
    noise = {"cell_potential": readout.potential_noise, "cell_current": readout.current_noise}
    monitors = Monitors(_monitored(readout, specification, kept), noise, seed)
    channels = _channels(instrument, amplifier.filter_Hz, kept)
    step = settings["amplifier"]["command_step"]
    return Rig(
        clock=TwinClock(world, setup.on_advance),
        amplifier=TwinAmplifier(probe, amplifier.command_range, amplifier.current_range, step),
        potentiostat=TwinPotentiostat(world, readout, seed),
        scanner=TwinScanner(probe, (-scanner.z_reach, scanner.z_reach), (-scanner.xy_reach, scanner.xy_reach)),
        coarse_stage=TwinCoarseStage(probe),
        hop_controller=TwinHopController(
            probe, hop.timing, channels, monitors, hop.start_height, setup.on_advance, setup.slice_ns
        ),
        grounding=setup.rig.rig.wiring.grounding,
    )


def _settings(setup: RigSetup, role: RoleName, model: type[FileModel]) -> dict[str, float]:
    """The twin's settings of a role in SI; the usual ones where an instrument plays it."""
    played = setup.rig.role(role)
    return twin_settings.in_si(model(**(played.settings if played.driver == TWIN else {})))


def _slow(flicker: float, wander: float, seed: int, number: int) -> SlowNoise | None:
    """Flicker [unit/√Hz at 1 Hz] and a walk that goes `wander` [unit rms] within a minute; None without either."""
    return SlowNoise(flicker, random_walk_level(wander, _MINUTE), seed, number) if flicker or wander else None


def _reference(slow: dict[str, float], seed: int) -> ReferenceDrift | None:
    walk = _slow(0.0, slow["reference_wander"], seed, 3)
    return ReferenceDrift(slow["reference_drift"], walk) if walk or slow["reference_drift"] else None


def _far(setup: RigSetup) -> FarPipette:
    e, electrodes = setup.specimen.electrolyte, setup.rig.rig.wiring.electrodes
    junction = float(junction_potential(math.e, 1.0, e.temperature, e.transference, e.tdf, electrodes))
    tip, pipette = twin_settings.tip(setup.rig), setup.pipette
    return FarPipette(
        geometric_resistance(pipette),
        e.kappa_table,
        setup.fill,
        junction,
        tip_memory(pipette, _diffusivity(setup)) if tip.memory else INSTANT,
        glass_of(setup),
    )


def _diffusivity(setup: RigSetup) -> float:
    bath = setup.specimen.electrolyte
    return float(bath.diffusivity_table[round(bath.concentration)])


def glass_of(setup: RigSetup) -> GlassCharge | None:
    """The charged wall of the pipette on a rig with a twin; None where its file gives it neither zeta nor charge."""
    e, tip = setup.specimen.electrolyte, twin_settings.tip(setup.rig)
    zeta, charge = to_si("zeta_mV", tip.zeta_mV), to_si("charge_mC_m2", tip.charge_mC_m2)
    if not zeta and not charge:
        return None
    permittivity = tip.relative_permittivity * VACUUM_PERMITTIVITY
    flow = float(electroosmotic_peclet(1.0, zeta, permittivity, setup.specimen.viscosity, _diffusivity(setup)))
    return GlassCharge(setup.pipette, zeta, flow, charge, e.transference, e.temperature)


def _instrument(setup: RigSetup, specification: RigSpecification, settings: dict[str, float]) -> Instrument:
    """The fast loop's electronics; `settings` are the twin scanner's."""
    amplifier, scanner, dt = (
        specification.amplifier,
        specification.scanner,
        specification.hop_controller.timing.dt_ns * 1e-9,
    )
    electrolyte = setup.specimen.electrolyte
    far = resistance(geometric_resistance(setup.pipette), electrolyte, setup.fill)
    current_noise = pipette_current_noise(amplifier.noise_density, far, electrolyte.temperature, amplifier.filter_Hz)
    gain = 1.0 - math.exp(-2.0 * math.pi * amplifier.filter_Hz * dt)
    return Instrument(
        1.0 - math.exp(-dt / scanner.lag) if scanner.lag > 0.0 else 1.0,
        gain,
        # A one-pole low-pass leaves gain/(2 - gain) of the variance of white samples.
        current_noise / math.sqrt(gain / (2.0 - gain)),
        scanner.height_noise,
        scanner.z_reach,
        amplifier.current_range / FULL_SCALE,
        scanner.z_reach / FULL_SCALE,
        2.0 * math.pi * settings["resonance"] * dt,
        settings["damping"],
    )


def _channels(instrument: Instrument, filter_Hz: float, wanted: Collection[str]) -> tuple[Channel, ...]:
    """The fast loop's own channels: current and z always, the command where it is wanted."""
    channels = [
        channel("pipette_current", instrument.current_scale, "amplifier", filter_Hz=filter_Hz),
        channel("z", instrument.height_scale, "scanner"),
    ]
    if "z_command" in wanted:
        channels.append(channel("z_command", instrument.height_scale, "hop controller"))
    return tuple(channels)


def _monitored(readout: Readout, specification: RigSpecification, wanted: Collection[str]) -> tuple[Channel, ...]:
    """The wanted channels that are not the fast loop's, each over the range of what it shows."""
    xy_reach = specification.scanner.xy_reach
    known = {
        "pipette_bias": (max(map(abs, specification.amplifier.command_range)), "amplifier"),
        "cell_potential": (readout.potential_range, "potentiostat"),
        "cell_current": (readout.current_range, "potentiostat"),
        "x": (xy_reach, "scanner"),
        "y": (xy_reach, "scanner"),
    }
    return tuple(channel(name, reach / FULL_SCALE, source) for name, (reach, source) in known.items() if name in wanted)


# -- A rig of twin and instruments: the world does what the instruments are told.


class _Followed:
    """The instrument speaks for itself; the twin follows it in silence."""

    _instrument: Amplifier | Potentiostat | CoarseStage
    _twin: Amplifier | Potentiostat | CoarseStage

    def identity(self) -> Identity:
        return self._instrument.identity()

    def state(self) -> RoleState:
        return self._instrument.state()

    def safe(self) -> None:
        try:
            self._instrument.safe()
        finally:
            self._twin.safe()


class _FollowedAmplifier(_Followed):
    _instrument: Amplifier
    _twin: Amplifier

    def __init__(self, instrument: Amplifier, twin: Amplifier) -> None:
        self._instrument, self._twin = instrument, twin

    @property
    def command_range(self) -> tuple[float, float]:
        return self._instrument.command_range

    def command(self, volts: float, slope: float = 0.0) -> None:
        self._instrument.command(volts, slope)
        self._twin.command(volts, slope)

    def read(self) -> tuple[float, float]:
        return self._instrument.read()


class _FollowedPotentiostat(_Followed):
    _instrument: Potentiostat
    _twin: Potentiostat

    def __init__(self, instrument: Potentiostat, twin: Potentiostat) -> None:
        self._instrument, self._twin = instrument, twin

    def apply(self, control: CellControl, at_ns: int) -> None:
        self._instrument.apply(control, at_ns)
        self._twin.apply(control, at_ns)

    def read(self) -> CellReading:
        return self._instrument.read()


class _FollowedCoarseStage(_Followed):
    _instrument: CoarseStage
    _twin: CoarseStage

    def __init__(self, instrument: CoarseStage, twin: CoarseStage) -> None:
        self._instrument, self._twin = instrument, twin

    def move_to(self, z: float, speed: float | None = None) -> int:
        # Whoever is slower: a hop must find both there.
        return max(self._instrument.move_to(z, speed), self._twin.move_to(z, speed))

    def position(self) -> float:
        return self._instrument.position()


def followed(rig: Rig, twin: Rig) -> Rig:
    """`rig` with its world doing what its instruments are told: one that is not `twin`'s own is followed by `twin`'s.

    A foreign scanner or hop controller has no follower: where the pipette is within the piezo's range is then known to
    the instrument alone, and a simulated amplifier reads the current of a pipette that stays where it is.
    """
    amplifier, potentiostat, coarse_stage = rig.amplifier, rig.potentiostat, rig.coarse_stage
    if amplifier is not twin.amplifier:
        amplifier = _FollowedAmplifier(amplifier, twin.amplifier)
    if potentiostat is not twin.potentiostat:
        potentiostat = _FollowedPotentiostat(potentiostat, twin.potentiostat)
    if coarse_stage is not twin.coarse_stage:
        coarse_stage = _FollowedCoarseStage(coarse_stage, twin.coarse_stage)
    return replace(rig, amplifier=amplifier, potentiostat=potentiostat, coarse_stage=coarse_stage)


_SETTINGS: Final[dict[RoleName, type[FileModel]]] = {
    "amplifier": twin_settings.AmplifierSettings,
    "potentiostat": twin_settings.PotentiostatSettings,
    "scanner": twin_settings.ScannerSettings,
    "coarse_stage": twin_settings.CoarseStageSettings,
    "hop_controller": twin_settings.HopControllerSettings,
}


def _driver(role: RoleName, specify: Callable[[RoleSetup], RoleSpecification]) -> Driver:
    def connect(setup: RoleSetup, specification: RigSpecification, _: Clock) -> Any:
        return getattr(twin_of(setup.rig, specification), role)

    def clock(setup: RoleSetup, specification: RigSpecification) -> Clock:
        return twin_of(setup.rig, specification).clock

    return Driver(
        TWIN,
        role,
        "the digital twin, in the world of the rig file",
        connect,
        _in_its_world(specify),
        _SETTINGS[role],
        clock=clock,
        real_time=False,
    )


DRIVERS: Final = (
    _driver("amplifier", _amplifier),
    _driver("potentiostat", _potentiostat),
    _driver("scanner", _scanner),
    _driver("coarse_stage", _coarse_stage),
    _driver("hop_controller", _hop_controller),
)
