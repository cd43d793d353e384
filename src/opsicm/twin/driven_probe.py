"""The twin's probe driven from outside: scanner and amplifier follow voltages that somebody else writes.

The twin's own hop controller moves the pipette sample by sample in its compiled loop. Behind emulated analogue outputs
there is no such loop: heights and commands come when a program writes them, and what the electronics show of the true
world is sampled at whatever rate the converter runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from opsicm.physics.pipette import approach
from opsicm.twin.circuit import nodes
from opsicm.twin.devices import FULL_SCALE, Probe

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Truth:
    """What holds at one instant and changes little until the next: linear between."""

    conductance: float  # [S]
    electrode: float  # [V] pipette electrode against reference less what opposes it, at no command
    leak: float  # [A] without the stray capacitance
    gain: float  # [1] of a fault, and of another tip
    surface: float  # [m]
    carriage: float  # [m]


class DrivenProbe:
    """Samples the probe of a twin while others drive it. `closest_gap` [m] is the smallest true distance so far.

    The scanner lags by a first-order low-pass; a resonance of the twin's scanner is taken as the lag it has behind a
    ramp. The amplifier's low-pass is one pole, its noise white before it, as in the twin's own loop.
    """

    def __init__(self, probe: Probe, seed: int) -> None:
        self._probe = probe
        self._noise = np.random.default_rng(seed)
        self._before: _Truth | None = None
        self._z = probe.z  # [m]: where the outputs have brought it, whatever else moves the twin's own
        self._filtered = 0.0  # [A]
        self._bias = 0.0  # [V] at the last sample
        instrument = probe.instrument
        if instrument.resonance > 0.0:
            lag = 2.0 * instrument.damping / instrument.resonance * probe.dt
        else:
            lag = -probe.dt / math.log1p(-instrument.scanner_gain) if instrument.scanner_gain < 1.0 else 0.0
        self._lag = lag  # [s]
        self._filter_lag = -probe.dt / math.log1p(-instrument.filter_gain) if instrument.filter_gain < 1.0 else 0.0
        gain = instrument.filter_gain
        self._filtered_noise = instrument.current_noise * math.sqrt(gain / (2.0 - gain))  # [A rms]
        self.closest_gap = math.inf

    def sample(
        self, z_command: Floats, bias: Floats, x: float, y: float, dt: float, drives: bool = True
    ) -> tuple[Floats, Floats]:
        """(pipette current [A], measured z [m]) at samples `dt` [s] apart of which the last is now.

        `z_command` [m, n] and the amplifier's command `bias` [V, n] hold at each sample; `x`, `y` [m] are where the
        lateral axes stand now. Where another controller drives the piezo (`drives` false) it is left where that has
        brought it.
        """
        probe, instrument, n = self._probe, self._probe.instrument, z_command.size
        world = probe.world
        if bias[-1] != world.command(world.now_ns):
            world.set_command(float(bias[-1]), 0.0)
        if drives:
            world.x, world.y = x, y
        now = self._truth()
        before, self._before = self._before or now, now
        share = np.arange(1, n + 1) / n

        def between(name: str) -> Floats:
            first = getattr(before, name)
            return np.asarray(first + (getattr(now, name) - first) * share)

        commands = np.clip(z_command, -instrument.z_reach, instrument.z_reach)
        z = _low_pass(commands, self._z, self._lag, dt) if drives else np.full(n, probe.z)
        gap = between("carriage") + z - between("surface")
        relative = approach.over(approach.relative_current, gap, probe.curve(world.now_ns))
        current = between("conductance") * (bias + between("electrode")) * between("gain") * relative
        current += between("leak") + probe.stray * np.diff(bias, prepend=self._bias) / dt
        gain = 1.0 - math.exp(-dt / self._filter_lag) if self._filter_lag > 0.0 else 1.0
        white = self._filtered_noise / math.sqrt(gain / (2.0 - gain))
        current += white * self._noise.standard_normal(n, np.float32)
        current = _low_pass(current, self._filtered if self._filtered else float(current[0]), self._filter_lag, dt)
        self._filtered, self._bias = float(current[-1]), float(bias[-1])
        self._z = float(z[-1])
        if drives:
            probe.stand(self._z, float(commands[-1]))
        nearest = float(gap.min())
        probe.check_contact(nearest, world.now_ns)
        self.closest_gap = min(self.closest_gap, nearest)
        reach = FULL_SCALE * instrument.current_scale
        measured = z + instrument.height_noise * self._noise.standard_normal(n, np.float32)
        return np.clip(current, -reach, reach), measured

    def _truth(self) -> _Truth:
        probe, world = self._probe, self._probe.world
        t_ns = world.now_ns
        state = world.state_at(t_ns)
        electrode = nodes(state.potential, 0.0, world.grounding).electrode_against_reference - state.reference_error
        driving = electrode + world.command(t_ns) - state.offset
        far = probe.far_current(state, t_ns)
        through = state.conductance * driving
        leak = probe.leak(t_ns) - probe.stray * world.command_slope
        gain = far / through if through else 1.0
        return _Truth(state.conductance, electrode - state.offset, leak, gain, probe.below(t_ns), world.coarse_z(t_ns))


def _low_pass(values: Floats, before: float, lag: float, dt: float) -> Floats:
    """A one-pole low-pass of `lag` [s] over samples `dt` [s] apart, which stood at `before`."""
    if lag <= 0.0:
        return values
    keep = math.exp(-dt / lag)
    filtered, _ = lfilter([1.0 - keep], [1.0, -keep], values, zi=[keep * before])
    return np.asarray(filtered)
