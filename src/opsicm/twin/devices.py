"""Thin devices on the probe's side: each looks at the one world and adds what its own electronics would add."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.facts import Channel, Quality
from opsicm.instruments.roles import Identity, RoleState
from opsicm.physics.noise import gaussian, gaussian_block
from opsicm.physics.pipette.approach import relative_current
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.physics.slow_noise import SlowNoise
from opsicm.twin.fast_loop import Instrument
from opsicm.twin.specimen import Footprint
from opsicm.twin.trajectory import CellState, CellStates
from opsicm.twin.world import World

Floats = NDArray[np.float64]
FULL_SCALE: Final = 32767
_PLAYS: Final = 8
_DECADES: Final = (0.1, 1.0, 10.0, 100.0)  # [s]
_OUT_OF_RANGE: Final = 400.0  # radii; there a surface takes 3e-5 of the current, and need not be drawn
_READING_CHANNEL: Final = 15  # the amplifier's slow readings draw noise of their own
_NOISE_CHANNEL: Final[Mapping[str, int]] = {"cell_potential": 8, "cell_current": 9}  # of a segment's 16
_HOP_NOISE_CHANNEL: Final[Mapping[str, int]] = {"cell_potential": 10, "cell_current": 11}


@dataclass(slots=True)
class OpenLoopAxis:
    """One lateral axis of the piezo, without a sensor: hysteresis, creep and thermal drift on top of the command.

    `hysteresis` [1] is the share of the motion that goes through plays of up to half the `span` [m] and lags at a turn,
    `creep` [1] the share that comes in each decade of time from 0.1 to 100 s, `drift` [m/s]. The true position is
    command - hysteresis · (command - mean of the plays) + creep · (late part) + drift · t. Assumes that the axis
    rested at its zero. Sources: Prandtl–Ishlinskii operator (Kuhnen, Eur. J. Control 2003, 9, 407); logarithmic creep.
    """

    span: float
    hysteresis: float
    creep: float
    drift: float
    _plays: Floats = field(init=False)
    _late: Floats = field(init=False)
    _last: tuple[float, float] = field(init=False, default=(0.0, 0.0))  # command [m], time [s]

    def __post_init__(self) -> None:
        self._plays = np.zeros(_PLAYS)
        self._late = np.zeros(len(_DECADES))

    @property
    def ideal(self) -> bool:
        """Whether the axis goes exactly where it is commanded."""
        return self.hysteresis == 0.0 and self.creep == 0.0 and self.drift == 0.0

    def follow(self, commands: Floats, times: Floats) -> Floats:
        """True positions [m, n] at `commands` [m, n] given one after another at `times` [s, n]."""
        if self.ideal:
            return commands
        reach = 0.5 * self.span * (np.arange(_PLAYS) + 1.0) / _PLAYS
        true = np.empty(commands.size)
        for k, (command, time) in enumerate(zip(commands, times, strict=True)):
            before, since = self._last
            self._late += (before - self._late) * -np.expm1(-(time - since) / np.array(_DECADES))
            self._plays = np.clip(self._plays, command - reach, command + reach)
            self._last = (float(command), float(time))
            lag, late = self.hysteresis * (command - self._plays.mean()), (self._late - command).sum()
            true[k] = command - lag + self.creep * late + self.drift * time
        return true


class TwinClock:
    """Virtual time; `on_advance` is called with every new present, for pacing."""

    def __init__(self, world: World, on_advance: Callable[[int], None]) -> None:
        self._world = world
        self._on_advance = on_advance

    def now_ns(self) -> int:
        return self._world.now_ns

    def wait_until(self, t_ns: int) -> None:
        if t_ns > self._world.now_ns:
            self._world.advance_to(t_ns)
            self._on_advance(t_ns)


class TwinDevice:
    """What every device of a twin says of itself: it is one, and it is well."""

    _now_ns: Callable[[], int]

    def identity(self) -> Identity:
        return Identity(f"digital twin: {type(self).__name__.removeprefix('Twin')}")

    def state(self) -> RoleState:
        return RoleState(self._now_ns())


class Probe:
    """Where the pipette is and what the fast loop remembers: shared by scanner, amplifier and hop controller."""

    def __init__(
        self,
        world: World,
        instrument: Instrument,
        pipette: Pipette,
        seed: int,
        axes: tuple[OpenLoopAxis, OpenLoopAxis],
        dt: float,
        offset: float = 0.0,
        stray: float = 0.0,
        flicker: SlowNoise | None = None,
        wandering_offset: SlowNoise | None = None,
    ) -> None:
        self.world = world
        self.instrument = instrument
        self.pipette = pipette
        self.axes = axes
        self.dt = dt  # [s] of a sample
        self.offset = offset  # [A] of the amplifier
        self.stray = stray  # [F] at the amplifier's input, against ground
        self.flicker = flicker  # [1] of the pipette's current
        self.wandering_offset = wandering_offset  # [A] of the amplifier, on top of its offset
        self._intact_curve = approach_curve(pipette)
        self._curve = self._intact_curve
        self._broken_radius: float | None = None  # [m] aperture that a crash has left
        self.seed = seed
        self.z_command = 0.0
        self.z = 0.0
        self.reads = 0
        self._centre_ns: int | None = None
        self._footprint: tuple[object, Footprint] | None = None

    def lift_until(self, t_ns: int) -> None:
        """Piezo to mid-range or higher at once, and to mid-range at `t_ns`: so a coarse motion never begins below."""
        self.z = self.z_command = max(self.z, 0.0)
        self._centre_ns = t_ns
        self.follow()

    def stand(self, z: float, z_command: float) -> None:
        """Where others have brought the piezo [m]: what the coarse motion wanted of it is off."""
        self.z, self.z_command, self._centre_ns = z, z_command, None

    def follow(self) -> None:
        """Let the piezo go to mid-range if the coarse motion that it waited for is over."""
        if self._centre_ns is not None and self.world.now_ns >= self._centre_ns:
            self.z = self.z_command = 0.0
            self._centre_ns = None

    def footprint(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Footprint:
        """What lies under points x, y [m]; the last answer is kept, for most plans hop where the one before did."""
        specimen = self.world.specimen
        key = (specimen.version, x.tobytes(), y.tobytes())
        if self._footprint is None or self._footprint[0] != key:
            self._footprint = (key, specimen.footprint(x, y))
        return self._footprint[1]

    def curve(self, t_ns: int) -> NDArray[np.float64]:
        """The approach curve of the tip as it is, for the fast loop."""
        radius = self._broken_radius or self.world.faults.radius(t_ns)
        if radius is not None and radius != self._curve.pipette.radius:
            self._curve = approach_curve(replace(self.pipette, radius=max(radius, self.pipette.radius)))
        return self._curve.packed

    def check_contact(self, gap: float, t_ns: int) -> None:
        """Break the tip if it has touched, by the smallest gap [m] so far, while a fault makes that fatal."""
        if gap <= 0.0 and (radius := self.world.faults.breaks_at_touch(t_ns)) is not None:
            self._broken_radius = max(radius, self._broken_radius or 0.0)

    def far_current(self, state: CellState, t_ns: int) -> float:
        """Pipette current [A] far from the surface in `state`, of the tip as it is at `t_ns`, faults and all."""
        self.curve(t_ns)
        current = self.world.bulk_current(state) * self.world.faults.gain(t_ns) * self._intact_curve.far
        slow = 0.0 if self.flicker is None else self.flicker.once(1e-9 * t_ns)
        return float(current / self._curve.far * (1.0 + slow))

    def far_currents(self, states: CellStates, t_ns: Sequence[int]) -> Floats:
        """`far_current` in many states; faults as at `t_ns`, all of one tip."""
        self.curve(t_ns[0])
        gain = [self.world.faults.gain(t) for t in t_ns] if self.world.faults.each else 1.0
        currents = self.world.bulk_currents(states) * gain * self._intact_curve.far / self._curve.far
        return np.asarray(
            currents if self.flicker is None else currents * (1.0 + self.flicker.at(1e-9 * np.asarray(t_ns)))
        )

    def leaks(self, t_ns: Sequence[int]) -> Floats:
        """`leak` at many instants."""
        steady = np.full(len(t_ns), self.offset + self.stray * self.world.command_slope)
        if self.wandering_offset is not None:
            steady += self.wandering_offset.at(1e-9 * np.asarray(t_ns))
        return steady + ([self.world.faults.leak(t) for t in t_ns] if self.world.faults.each else 0.0)

    def leak(self, t_ns: int) -> float:
        """Current [A] that never passed the tip: offset and flicker, stray capacitance under a ramp, a stuck output."""
        slow = 0.0 if self.wandering_offset is None else self.wandering_offset.once(1e-9 * t_ns)
        steady = self.offset + self.stray * self.world.command_slope + slow
        return steady + self.world.faults.leak(t_ns)

    def capacitive_transient(self, now_ns: int) -> float:
        """What is left [A], behind the amplifier's low-pass, of the stray capacitance's charging by the last jump."""
        height, since_ns = self.world.last_jump
        gain, dt = self.instrument.filter_gain, self.dt
        if not (self.stray and height) or gain >= 1.0:
            return 0.0
        rate = -math.log1p(-gain) / dt
        return self.stray * height * rate * math.exp(-rate * (now_ns - since_ns) * 1e-9)

    def below(self, t_ns: int) -> float:
        """Height [m] of the surface under the aperture, a fault's z step included."""
        world = self.world
        footprint = self.footprint(np.array([world.x]), np.array([world.y]))
        return float(world.surface_now(footprint, t_ns)[0]) + world.faults.z_step(t_ns)

    def out_of_range(self, coarse: float) -> bool:
        """Whether a surface near height 0 is too far, with the coarse stage at `coarse` [m], to look for."""
        return coarse + self.z > _OUT_OF_RANGE * self.pipette.radius

    def true_current(self, state: CellState) -> float:
        """Pipette current [A] without noise, at the true distance from the surface."""
        self.follow()
        t_ns = state.t_ns
        distance = self.world.coarse_z(t_ns) + self.z - self.below(t_ns)
        through_tip = self.far_current(state, t_ns) * relative_current(distance, self.curve(t_ns))
        return through_tip + self.leak(t_ns)


class TwinAmplifier(TwinDevice):
    """Reads the current averaged over 10 ms of samples; adds its command, in steps of its converter (0: none)."""

    AVERAGED: Final = 1000

    def __init__(self, probe: Probe, command_range: tuple[float, float], current_range: float, step: float) -> None:
        self._probe = probe
        self._range = command_range
        self._current_range = current_range
        self._step = step
        self._now_ns = lambda: probe.world.now_ns

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
        if self._step > 0.0:
            volts = round(volts / self._step) * self._step
        self._probe.world.set_command(volts, slope)

    def read(self) -> tuple[float, float]:
        probe, world = self._probe, self._probe.world
        probe.reads += 1
        noise = probe.instrument.current_noise / math.sqrt(self.AVERAGED)
        noise *= gaussian(probe.seed, _READING_CHANNEL, probe.reads)
        current = probe.true_current(world.state_at(world.now_ns)) + noise
        return max(-self._current_range, min(self._current_range, float(current))), world.command(world.now_ns)

    def safe(self) -> None:
        self._probe.world.set_command(0.0, 0.0)


class TwinScanner(TwinDevice):
    """Piezo: range and position."""

    def __init__(self, probe: Probe, z_range: tuple[float, float], xy_range: tuple[float, float]) -> None:
        self._probe = probe
        self._z_range = z_range
        self._xy_range = xy_range
        self._now_ns = lambda: probe.world.now_ns

    @property
    def z_range(self) -> tuple[float, float]:
        return self._z_range

    @property
    def xy_range(self) -> tuple[float, float]:
        return self._xy_range

    @property
    def probe(self) -> Probe:
        """The probe that this scanner moves: for an emulated converter, whose outputs move it instead."""
        return self._probe

    def read_z(self) -> float:
        self._probe.follow()
        return self._probe.z

    def safe(self) -> None:
        self._probe.z = self._probe.z_command = self._z_range[1]


class TwinCoarseStage(TwinDevice):
    """Stepping motor: speed, backlash, steps (`CoarseMotion`). The piezo is drawn up before the motor turns."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._now_ns = lambda: probe.world.now_ns

    def safe(self) -> None:
        """Stand still, unless it is on its way up."""
        world = self._probe.world
        here = world.coarse.motor(world.now_ns)
        if world.coarse.target < here:
            world.move_coarse(here, None)

    def move_to(self, z: float, speed: float | None = None) -> int:
        if speed is not None and not 0.0 < speed < math.inf:
            limit = "a speed is above 0"
            raise OutsideDomain(Problem("coarse speed", f"{speed * 1e3:g} mm/s", limit, "give metres per second"))
        arrival = self.drive(z, speed)
        self._probe.lift_until(arrival)
        return arrival

    def drive(self, z: float, speed: float | None = None) -> int:
        """`move_to` of the motor alone, as of another maker's than the piezo's, which stays where it is."""
        return self._probe.world.move_coarse(z, speed)

    def position(self) -> float:
        """What the motor's step counter says."""
        world = self._probe.world
        return world.coarse.motor(world.now_ns)


@dataclass(frozen=True, slots=True)
class Monitors:
    """Channels beside the fast loop's own: what the other devices' outputs show on the same converter clock.

    They change little within a slice, so they are linear through each; only channels that the experiment keeps are
    made at all. `channels` in the order of their columns; `noise` [SI rms] by name.
    """

    channels: tuple[Channel, ...]
    noise: Mapping[str, float]
    seed: int

    @property
    def names(self) -> set[str]:
        """The channels that are wanted."""
        return {channel.name for channel in self.channels}

    def noise_of_hops(self, name: str, segment: int, first_hop: int, count: int) -> Floats:
        """Noise [SI, count] of what a hop's record says of channel `name`: one reading of the potentiostat per hop."""
        normal = np.zeros(count, np.float32)
        if noise := self.noise.get(name, 0.0):
            gaussian_block(self.seed, 16 * segment + _HOP_NOISE_CHANNEL[name], first_hop, normal)
        return noise * normal.astype(np.float64)

    def fill(
        self,
        counts: NDArray[np.int16],
        at: NDArray[np.float64],
        breakpoints: Mapping[str, NDArray[np.float64]],
        paths: Mapping[str, NDArray[np.float64]],
        segment: int,
        first_sample: int,
    ) -> NDArray[np.uint8]:
        """Fill `counts` [n, channel]; returns the quality of each.

        `breakpoints` gives a channel [SI] `at` samples from the first one, linear between; `paths` [n] at every sample.
        """
        n = counts.shape[0]
        quality = np.zeros(len(self.channels), np.uint8)
        for column, channel in enumerate(self.channels):
            name = channel.name
            values = paths[name] if name in paths else np.interp(np.arange(n), at, breakpoints[name])
            if noise := self.noise.get(name, 0.0):
                normal = np.empty(n, np.float32)
                gaussian_block(self.seed, 16 * segment + _NOISE_CHANNEL[name], first_sample, normal)
                values = values + noise * normal
            scaled = np.floor((values - channel.offset) / channel.scale + 0.5)
            if scaled.size and max(scaled.max(), -scaled.min()) >= FULL_SCALE:
                quality[column] = Quality.SATURATED
                scaled = np.clip(scaled, -FULL_SCALE - 1, FULL_SCALE)
            counts[:, column] = scaled
        return quality
