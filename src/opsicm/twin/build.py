"""A twin from its rig file: the world, its devices, and the rig that the runner sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from opsicm.facts.channel import Channel, channel
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.rig import Rig
from opsicm.physics.cell import Cell
from opsicm.physics.cell_parameters import CellParameters
from opsicm.physics.noise import thermal_current_density
from opsicm.physics.pipette import Pipette, geometric_resistance
from opsicm.physics.surface import rough_surface
from opsicm.physics.tip_field import approach_curve
from opsicm.protocol.rig_file import LoadedRig
from opsicm.twin import settings as twin_settings
from opsicm.twin.devices import (
    Probe,
    TwinAmplifier,
    TwinClock,
    TwinCoarseStage,
    TwinPotentiostat,
    TwinScanner,
)
from opsicm.twin.hop_controller import TwinHopController
from opsicm.twin.hop_sense import Instrument
from opsicm.twin.world import Salt, Specimen, World

_FULL_SCALE: Final = 32767
_ONE_POLE: Final = math.pi / 2.0  # noise bandwidth of a one-pole low-pass over its corner frequency


def build_rig(
    loaded: LoadedRig,
    cell: Cell,
    pipette: Pipette,
    seed: int,
    on_advance: Callable[[int], None],
) -> Rig:
    """The twin of a rig file round `cell` and `pipette`; `seed` decides every random number.

    `on_advance` is told of every new present [ns]. Raises `BadInput` for a setting that no twin has.
    """
    numbers = numbers_of(loaded, cell.parameters, pipette)
    instrument = _instrument(numbers)
    electrolyte = cell.parameters.electrolyte
    # Filled with what the bath holds, as in the paper: E1, which varies the bath alone, brings a key of its own.
    salt = Salt(electrolyte.conductivity, electrolyte.concentration, electrolyte.diffusion_potential)
    world = World(cell, _specimen(loaded, seed), salt, geometric_resistance(pipette))
    world.coarse_z = numbers.start_height  # where the operator has left the pipette
    probe = Probe(world, instrument, approach_curve(pipette).packed, seed)
    channels = _channels(instrument, numbers.filter_Hz)
    return Rig(
        name=loaded.rig.title,
        clock=TwinClock(world, on_advance),
        amplifier=TwinAmplifier(probe, numbers.command_range),
        potentiostat=TwinPotentiostat(world),
        scanner=TwinScanner(probe, (-numbers.z_reach, numbers.z_reach), (-numbers.xy_reach, numbers.xy_reach)),
        coarse_stage=TwinCoarseStage(probe),
        hop_controller=TwinHopController(probe, numbers.timing, channels, numbers.start_height, on_advance),
    )


def initial_potential(loaded: LoadedRig) -> float:
    """[V vs Li/Li+] at which a twin's specimen rests before the run."""
    return twin_settings.settings(loaded, "roles.potentiostat.settings")["initial"]


def hop_timing(loaded: LoadedRig) -> tuple[HopTiming, float]:
    """(times of the twin's hop controller, start height [m]) from its rig file."""
    hop = twin_settings.settings(loaded, "roles.hop_controller.settings")
    limit = loaded.rig.limits.get("pipette_overload_nA", math.inf)
    # A clipped current looks like a steady one: the amplifier's own range is an overload too.
    current_range = twin_settings.settings(loaded, "roles.amplifier.settings")["range"]
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


def _specimen(loaded: LoadedRig, seed: int) -> Specimen:
    kind, said = twin_settings.surface(loaded)
    if kind == "flat":
        return Specimen(np.zeros((2, 2)), 1.0)
    heights = rough_surface(said["rq"], said["correlation"], said["size"], int(said["pixels"]), seed)
    return Specimen(heights, said["size"])


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


def numbers_of(loaded: LoadedRig, parameters: CellParameters, pipette: Pipette) -> Numbers:
    """The numbers of a twin's rig file; raises `BadInput` for a setting that no twin has."""
    amplifier = twin_settings.settings(loaded, "roles.amplifier.settings")
    scanner = twin_settings.settings(loaded, "roles.scanner.settings")
    noise = twin_settings.settings(loaded, "world.noise")
    timing, start_height = hop_timing(loaded)
    electrolyte = parameters.electrolyte
    kappa = float(electrolyte.conductivity(electrolyte.concentration))
    resistance = geometric_resistance(pipette) / kappa
    density = math.hypot(thermal_current_density(resistance, electrolyte.temperature), noise["amplifier"])
    reach = amplifier["output"] * loaded.rig.wiring.external_bias_mV_per_V * 1e-3
    return Numbers(
        timing=timing,
        current_noise=density * math.sqrt(_ONE_POLE * amplifier["filter"]),
        height_noise=noise["height"],
        filter_Hz=amplifier["filter"],
        scanner_lag=scanner["lag"],
        current_range=amplifier["range"],
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
        numbers.current_range / _FULL_SCALE,
        numbers.z_reach / _FULL_SCALE,
    )


def _channels(instrument: Instrument, filter_Hz: float) -> tuple[Channel, ...]:
    return (
        channel("pipette_current", instrument.current_scale, "amplifier", filter_Hz=filter_Hz),
        channel("z", instrument.height_scale, "scanner"),
    )
