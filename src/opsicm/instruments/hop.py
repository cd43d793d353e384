"""The hop: a pure, compiled step (state, sample) -> (state, command) for one sample at a time.

The same function is the twin's controller, a software-timed driver's controller and the reference for a hardware one.
The phases of a hop: *settle* at the top, average the *reference* current, approach (*fall*) until the current has
dropped by the setpoint, overshoot for the controller's *latency*, withdraw (*rise*) by the amplitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.core.facts import Outcome
from opsicm.experiment.hop_parameters import HopParameters

SETTLE: Final = 0
REFERENCE: Final = 1
FALL: Final = 2
LATENCY: Final = 3
RISE: Final = 4

COLLAPSE: Final = 5.0  # times the setpoint, by which a reference may be lower than the one before it

LOST_AFTER: Final = 10  # hops in a row without contact: the surface is lost, not merely rough

NO_EVENT: Final = 0
FALL_BEGINS: Final = 1
STOP_DECIDED: Final = 2
TOP_REACHED: Final = 3

_CONTACT: Final = int(Outcome.CONTACT)
_NO_CONTACT: Final = int(Outcome.NO_CONTACT)
_BELOW_AT_START: Final = int(Outcome.BELOW_AT_START)
_OVERLOAD: Final = int(Outcome.OVERLOAD)


class HopSettings(NamedTuple):
    """The settings of the step, in samples and metres per sample."""

    setpoint: float  # relative drop of the current that ends the approach, 0.02
    fall_step: float  # [m/sample] of the approach
    rise_step: float  # [m/sample] of the withdrawal
    amplitude: float  # [m] withdrawn above the height of the stop
    approach: float  # [m] longest approach; without contact within it the outcome is NO_CONTACT
    settle: int  # samples of waiting at the top, for the scanner's lag
    reference: int  # samples averaged for the reference current
    latency: int  # samples from the crossing of the setpoint to the reversal of the command
    overload: float  # [A] magnitude above which the pipette is withdrawn at once


class HopState(NamedTuple):
    """The state of a hop between two samples. Heights are measured ones unless called commands."""

    phase: int
    spent: int  # samples spent in this phase
    z_command: float
    z_top: float  # command at which the present approach started
    z_target: float  # command at which the present withdrawal ends
    reference_sum: float
    i_ref: float
    i_stop: float
    z_stop: float
    z_min: float
    i_far: float  # reference current of the previous hop, 0 before the first
    outcome: int


def start(z_command: float) -> HopState:
    """The state of a controller whose pipette stands at `z_command` [m], about to settle for its first hop."""
    return HopState(SETTLE, 0, z_command, z_command, z_command, 0.0, 0.0, 0.0, z_command, z_command, 0.0, _NO_CONTACT)


@compiled
def step(state: HopState, settings: HopSettings, current: float, z: float) -> tuple[HopState, int]:
    """Take one sample, pipette current [A] and measured height [m]; return the new state and an event.

    The new state's `z_command` is the command for the next sample. Contact is the first sample with
    current/i_ref <= 1 - setpoint: relative, so that the sign of the bias does not matter. An approach whose first
    sample is already below the threshold ends as BELOW_AT_START and withdraws by a full amplitude above its top; so
    does a hop whose reference has collapsed against the previous one: the pipette is then in a hollow or beside a
    slope. Assumes that the pipette follows z_command monotonically; fails (as NO_CONTACT) if the pipette is farther
    from the specimen than `approach`.
    """
    phase, count, z_command = state.phase, state.spent + 1, state.z_command
    z_top, z_target = state.z_top, state.z_target
    reference_sum, i_ref, i_stop = state.reference_sum, state.i_ref, state.i_stop
    z_stop, z_min, i_far, outcome = state.z_stop, state.z_min, state.i_far, state.outcome
    event = NO_EVENT
    z_min = min(z_min, z)

    if phase == SETTLE:
        if count >= settings.settle:
            phase, count, reference_sum = REFERENCE, 0, 0.0
    elif phase == REFERENCE:
        reference_sum += current
        if count >= settings.reference:
            i_ref = reference_sum / count
            phase, count, z_top, z_min, event = FALL, 0, z_command, z, FALL_BEGINS
            # A reference that has collapsed since the last hop was measured in a hollow or beside a slope. The
            # previous one is used in its place, against which the approach ends at its first sample.
            if i_ref * i_far < (1.0 - COLLAPSE * settings.setpoint) * i_far * i_far:
                i_ref, i_far = i_far, i_ref
            else:
                i_far = i_ref
    elif phase == FALL:
        overload = abs(current) > settings.overload
        # current * i_ref keeps the comparison right for a negative bias, without a division per sample.
        below = current * i_ref <= (1.0 - settings.setpoint) * i_ref * i_ref
        if overload or below:
            i_stop, z_stop, event = current, z, STOP_DECIDED
            z_target = z + settings.amplitude
            if overload:
                outcome = _OVERLOAD
            elif count == 1:
                outcome, z_target = _BELOW_AT_START, z_top + settings.amplitude
            else:
                outcome = _CONTACT
            phase, count = LATENCY, 0
        elif z_top - z_command >= settings.approach:
            i_stop, z_stop, event, outcome, z_target = current, z, STOP_DECIDED, _NO_CONTACT, z_top
            phase, count = LATENCY, 0
        else:
            # From the top, not from the last command: a long approach then accumulates no rounding error, and its
            # commands are known in advance, which the twin's fast loop relies on.
            z_command = z_top - count * settings.fall_step
    # Not `elif`: with a latency of zero samples the stop and the first step of the withdrawal share one sample.
    if phase == LATENCY:
        if count >= settings.latency:
            phase, count = RISE, 0
        else:
            z_command -= settings.fall_step
    if phase == RISE:
        z_command = min(z_command + settings.rise_step, z_target)
        if z_command >= z_target:
            phase, count, event = SETTLE, 0, TOP_REACHED
    return (
        HopState(phase, count, z_command, z_top, z_target, reference_sum, i_ref, i_stop, z_stop, z_min, i_far, outcome),
        event,
    )


@compiled
def step_block(
    state: HopState, settings: HopSettings, current: NDArray[np.float64], z: NDArray[np.float64], first: int
) -> tuple[HopState, int, int]:
    """Step over samples [A, m] from `first` on up to the first event: (state, samples taken, event)."""
    event = NO_EVENT
    k = first
    while k < current.size and event == NO_EVENT:
        state, event = step(state, settings, current[k], z[k])
        k += 1
    return state, k, event


@dataclass(frozen=True, slots=True)
class HopTiming:
    """The part of a hop that the controller decides and not the experiment; meanings as in `HopSettings`."""

    settle: float  # [s]
    reference: float  # [s]
    withdraw_rate: float  # [m/s]
    latency: float  # [s]
    overload: float  # [A]
    dt_ns: int  # sample period

    def settings(self, hop: HopParameters) -> HopSettings:
        """The step's settings for hops with these parameters."""
        dt = self.dt_ns * 1e-9
        return HopSettings(
            hop.setpoint,
            hop.fall_rate * dt,
            self.withdraw_rate * dt,
            hop.amplitude,
            hop.approach,
            max(1, round(self.settle / dt)),
            max(1, round(self.reference / dt)),
            round(self.latency / dt),
            self.overload,
        )

    def duration(self, hop: HopParameters) -> float:
        """Time of a hop [s] over a surface at rest: settle + reference + approach + latency + withdrawal."""
        withdrawal = (hop.amplitude + hop.fall_rate * self.latency) / self.withdraw_rate
        return self.settle + self.reference + hop.fall_time + self.latency + withdrawal

    def period(self, hop: HopParameters) -> float:
        """Time from one hop to the next [s], with the bias levels at the top."""
        return self.duration(hop) + (0.0 if hop.bias_levels is None else hop.bias_levels.duration)
