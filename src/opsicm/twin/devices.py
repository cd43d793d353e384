"""Thin devices: each looks at the one world and adds what its own electronics would add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.errors import OutsideDomain, Problem
from opsicm.instruments.cell_control import CellControl, CellReading
from opsicm.physics.approach import relative_current
from opsicm.physics.noise import gaussian
from opsicm.twin.hop_sense import Instrument
from opsicm.twin.world import CellMoment, World

_READING_CHANNEL: Final = 15  # the amplifier's slow readings draw noise of their own


class TwinClock:
    """Virtual time; `on_advance` is told of every new now, for pacing."""

    def __init__(self, world: World, on_advance: Callable[[int], None]) -> None:
        self._world = world
        self._on_advance = on_advance

    def now_ns(self) -> int:
        return self._world.now_ns

    def wait_until(self, t_ns: int) -> None:
        if t_ns > self._world.now_ns:
            self._world.advance_to(t_ns)
            self._on_advance(t_ns)


class Probe:
    """Where the pipette is and what the fast loop remembers: shared by scanner, amplifier and hop controller."""

    def __init__(self, world: World, instrument: Instrument, curve: NDArray[np.float64], seed: int) -> None:
        self.world = world
        self.instrument = instrument
        self.curve = curve
        self.seed = seed
        self.z_command = 0.0
        self.z = 0.0
        self.reads = 0

    def distance(self, moment: CellMoment) -> float:
        """True distance [m] from the aperture to the surface below it."""
        world = self.world
        below = float(world.surface_height(np.array([world.x]), np.array([world.y]))[0])
        return world.coarse_z + self.z - below - world.swelling(moment)

    def true_current(self, moment: CellMoment) -> float:
        """Pipette current [A] without noise."""
        bulk = self.world.bulk_current(moment)
        return bulk * relative_current(self.distance(moment), self.curve)


class TwinAmplifier:
    """Reads the current averaged over 10 ms of samples; adds its command."""

    _AVERAGED: Final = 1000

    def __init__(self, probe: Probe, command_range: tuple[float, float]) -> None:
        self._probe = probe
        self._range = command_range

    @property
    def command_range(self) -> tuple[float, float]:
        return self._range

    def command(self, volts: float, slope: float = 0.0) -> None:
        low, high = self._range
        if not low <= volts <= high:
            raise OutsideDomain(
                Problem(
                    "amplifier command",
                    f"{volts:.3f} V",
                    f"the command input reaches {low:g} … {high:g} V",
                    "use a wider external-bias gain or a smaller potential range",
                )
            )
        self._probe.world.set_command(volts, slope)

    def read(self) -> tuple[float, float]:
        probe, world = self._probe, self._probe.world
        probe.reads += 1
        noise = probe.instrument.current_noise / np.sqrt(self._AVERAGED)
        noise *= gaussian(probe.seed, _READING_CHANNEL, probe.reads)
        current = probe.true_current(world.moment(world.now_ns)) + noise
        return float(current), world.command(world.now_ns)

    def safe(self) -> None:
        self._probe.world.set_command(0.0, 0.0)


class TwinPotentiostat:
    """The world's cell, as a potentiostat without noise shows it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def apply(self, control: CellControl, at_ns: int) -> None:
        self._world.schedule(control, at_ns)

    def read(self) -> CellReading:
        return self._world.reading()

    def safe(self) -> None:
        self._world.open_now()


class TwinScanner:
    """Piezo: range and position."""

    def __init__(self, probe: Probe, z_range: tuple[float, float], xy_range: tuple[float, float]) -> None:
        self._probe = probe
        self._z_range = z_range
        self._xy_range = xy_range

    @property
    def z_range(self) -> tuple[float, float]:
        return self._z_range

    @property
    def xy_range(self) -> tuple[float, float]:
        return self._xy_range

    def read_z(self) -> float:
        return self._probe.z

    def safe(self) -> None:
        self._probe.z = self._probe.z_command = self._z_range[1]


class TwinCoarseStage:
    """Stepping motor: at once and exact in this first form."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def move_to(self, z: float, speed: float | None = None) -> int:  # noqa: ARG002 - at once
        self._probe.world.coarse_z = z
        self._probe.z = self._probe.z_command = 0.0
        return self._probe.world.now_ns

    def position(self) -> float:
        return self._probe.world.coarse_z
