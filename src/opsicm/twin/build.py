"""A twin from its rig file: the world, its devices, and the rig that the runner sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from opsicm.core.facts import Channel, channel
from opsicm.experiment.rig_file import LoadedRig
from opsicm.experiment.twin_settings import Fault
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.roles import Rig
from opsicm.physics.cell.cell import Cell
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.noise import thermal_current_density
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance
from opsicm.physics.pipette.ion_current import conductance, junction_potential
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
from opsicm.twin.far_pipette import FarPipette
from opsicm.twin.fast_loop import Instrument
from opsicm.twin.faults import scripted
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.potentiostat import Readout, TwinPotentiostat
from opsicm.twin.specimen import specimen_of
from opsicm.twin.world import World

_ONE_POLE: Final = math.pi / 2.0  # noise bandwidth of a one-pole low-pass over its corner frequency


def build_rig(
    loaded: LoadedRig,
    cell: Cell,
    pipette: Pipette,
    fill: float,
    seed: int,
    on_advance: Callable[[int], None],
    channels: Collection[str] = (),
    faults: Sequence[Fault] = (),
    specimen_seed: int | None = None,
) -> Rig:
    """The twin of a rig file round `cell` and `pipette`; `seed` decides every random number, `specimen_seed` those of
    the specimen where there is one.

    `fill` [mol/m³] is the salt in the pipette, `on_advance` is told of every new present [ns], `channels` are those to
    sample (pipette current and z are sampled whatever it says), `faults` what goes wrong when. Raises `BadInput` for a
    setting that no twin has.
    """
    numbers = numbers_of(loaded, cell.parameters, pipette, fill)
    instrument = _instrument(numbers)
    coarse = twin_settings.settings(loaded, "roles.coarse_stage.settings")
    scanner = twin_settings.settings(loaded, "roles.scanner.settings")
    amplifier = twin_settings.settings(loaded, "roles.amplifier.settings")
    potentiostat = twin_settings.settings(loaded, "roles.potentiostat.settings")
    readout = Readout(**{name: value for name, value in potentiostat.items() if name != "initial"})
    # The start height is where the operator has left the pipette.
    travel = CoarseMotion(numbers.start_height, coarse["speed"], coarse["backlash"], coarse["step"])
    world = World(
        cell,
        specimen_of(loaded, cell, pipette, seed if specimen_seed is None else specimen_seed),
        _far(pipette, loaded, cell.parameters, fill),
        travel,
        loaded.rig.wiring.grounding,
        scripted(faults, seed),
        scanner["drift_z"],
    )
    axes = tuple(
        OpenLoopAxis(2.0 * numbers.xy_reach, scanner["hysteresis"], scanner["creep"], scanner[f"drift_{axis}"])
        for axis in "xy"
    )
    dt = numbers.timing.dt_ns * 1e-9
    probe = Probe(world, instrument, pipette, seed, (axes[0], axes[1]), dt, amplifier["offset"], amplifier["stray"])
    noise = {"cell_potential": readout.potential_noise, "cell_current": readout.current_noise}
    monitors = Monitors(_monitored(readout, numbers, channels), noise, seed)
    return Rig(
        name=loaded.rig.title,
        clock=TwinClock(world, on_advance),
        amplifier=TwinAmplifier(probe, numbers.command_range, numbers.current_range, amplifier["command_step"]),
        potentiostat=TwinPotentiostat(world, readout, seed),
        scanner=TwinScanner(probe, (-numbers.z_reach, numbers.z_reach), (-numbers.xy_reach, numbers.xy_reach)),
        coarse_stage=TwinCoarseStage(probe),
        hop_controller=TwinHopController(
            probe, numbers.timing, _channels(instrument, numbers, channels), monitors, numbers.start_height, on_advance
        ),
        grounding=loaded.rig.wiring.grounding,
    )


def _current_range(amplifier: dict[str, float]) -> float:
    """[A] at which the amplifier saturates: its range, or its output over the headstage's feedback resistor."""
    headstage = amplifier["headstage"]
    return min(amplifier["range"], amplifier["output"] / headstage) if headstage > 0.0 else amplifier["range"]


def _far(pipette: Pipette, loaded: LoadedRig, parameters: CellParameters, fill: float) -> FarPipette:
    e, electrodes = parameters.electrolyte, loaded.rig.wiring.electrodes
    junction = float(junction_potential(math.e, 1.0, e.temperature, e.transference, e.tdf, electrodes))
    return FarPipette(geometric_resistance(pipette), e.kappa_table, fill, junction)


def _monitored(readout: Readout, numbers: Numbers, wanted: Collection[str]) -> tuple[Channel, ...]:
    """The wanted channels that are not the fast loop's, each over the range of what it shows."""
    known = {
        "pipette_bias": (max(map(abs, numbers.command_range)), "amplifier"),
        "cell_potential": (readout.potential_range, "potentiostat"),
        "cell_current": (readout.current_range, "potentiostat"),
        "x": (numbers.xy_reach, "scanner"),
        "y": (numbers.xy_reach, "scanner"),
    }
    return tuple(channel(name, reach / FULL_SCALE, source) for name, (reach, source) in known.items() if name in wanted)


def initial_potential(loaded: LoadedRig) -> float:
    """[V vs Li/Li+] at which a twin's specimen rests before the run."""
    return twin_settings.settings(loaded, "roles.potentiostat.settings")["initial"]


def hop_timing(loaded: LoadedRig) -> tuple[HopTiming, float]:
    """(times of the twin's hop controller, start height [m]) from its rig file."""
    hop = twin_settings.settings(loaded, "roles.hop_controller.settings")
    limit = loaded.rig.limits.get("pipette_overload_nA", math.inf)
    # A clipped current looks like a steady one: the amplifier's own range is an overload too.
    current_range = _current_range(twin_settings.settings(loaded, "roles.amplifier.settings"))
    overload = min(limit if isinstance(limit, float) else max(map(abs, limit)), 0.99 * current_range * 1e9)
    timing = HopTiming(
        hop["settle"],
        hop["reference"],
        hop["withdraw"],
        loaded.rig.latency,
        overload * 1e-9,
        round(1e9 / loaded.rig.clock.rate),
    )
    return timing, hop["start_height"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A twin's electronics in SI: what the fast loop is built from, and what can be predicted of it.

    `current_noise` [A] rms after the filter, `lag` [s] of filter and scanner together, `command_range` [V], `z_reach`,
    `xy_reach` and `start_height` [m], `resistance` [Ohm] of the pipette far from the surface.
    """

    timing: HopTiming
    current_noise: float
    height_noise: float
    filter_Hz: float
    scanner_lag: float
    resonance: float
    damping: float
    current_range: float
    command_range: tuple[float, float]
    z_reach: float
    xy_reach: float
    start_height: float
    resistance: float

    @property
    def lag(self) -> float:
        """[s] by which the sampled current lags behind the command: scanner and filter."""
        return self.scanner_lag + 1.0 / (2.0 * math.pi * self.filter_Hz)


def numbers_of(loaded: LoadedRig, parameters: CellParameters, pipette: Pipette, fill: float) -> Numbers:
    """The numbers of a twin's rig file; raises `BadInput` for a setting that no twin has."""
    amplifier = twin_settings.settings(loaded, "roles.amplifier.settings")
    scanner = twin_settings.settings(loaded, "roles.scanner.settings")
    noise = twin_settings.settings(loaded, "world.noise")
    timing, start_height = hop_timing(loaded)
    electrolyte = parameters.electrolyte
    bath = electrolyte.concentration
    resistance = 1.0 / float(conductance(geometric_resistance(pipette), electrolyte.conductivity, fill, bath))
    own, headstage = noise["amplifier"], amplifier["headstage"]
    if headstage > 0.0:
        own = math.hypot(own, thermal_current_density(headstage, electrolyte.temperature))
    density = math.hypot(thermal_current_density(resistance, electrolyte.temperature), own)
    # A scanner with a resonance follows a ramp 2D/w late.
    resonance = 2.0 * math.pi * scanner["resonance"]
    reach = amplifier["output"] * loaded.rig.wiring.external_bias_mV_per_V * 1e-3
    return Numbers(
        timing=timing,
        current_noise=density * math.sqrt(_ONE_POLE * amplifier["filter"]),
        height_noise=noise["height"],
        filter_Hz=amplifier["filter"],
        scanner_lag=2.0 * scanner["damping"] / resonance if resonance > 0.0 else scanner["lag"],
        resonance=resonance,
        damping=scanner["damping"],
        current_range=_current_range(amplifier),
        command_range=(-reach, reach),
        z_reach=scanner["z_range"] / 2.0,
        xy_reach=scanner["xy_range"] / 2.0,
        start_height=start_height,
        resistance=resistance,
    )


def _instrument(numbers: Numbers) -> Instrument:
    dt = numbers.timing.dt_ns * 1e-9
    gain = 1.0 - math.exp(-2.0 * math.pi * numbers.filter_Hz * dt)
    return Instrument(
        1.0 - math.exp(-dt / numbers.scanner_lag) if numbers.scanner_lag > 0.0 else 1.0,
        gain,
        # A one-pole low-pass leaves gain/(2 - gain) of the variance of white samples.
        numbers.current_noise / math.sqrt(gain / (2.0 - gain)),
        numbers.height_noise,
        numbers.z_reach,
        numbers.current_range / FULL_SCALE,
        numbers.z_reach / FULL_SCALE,
        numbers.resonance * dt,
        numbers.damping,
    )


def _channels(instrument: Instrument, numbers: Numbers, wanted: Collection[str]) -> tuple[Channel, ...]:
    """The fast loop's own channels."""
    own = [
        channel("pipette_current", instrument.current_scale, "amplifier", filter_Hz=numbers.filter_Hz),
        channel("z", instrument.height_scale, "scanner"),
    ]
    if "z_command" in wanted:
        own.append(channel("z_command", instrument.height_scale, "hop controller"))
    return tuple(own)
