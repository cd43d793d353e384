"""What is known of a rig's instruments before they are connected: rates, ranges, latencies, noise.

Every driver derives its role's specification from the rig file alone, so `check` and the twin need not know which
driver plays a role.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.instruments.hop import HopTiming


@dataclass(frozen=True, slots=True)
class AmplifierSpecification:
    """`noise_density` [A/√Hz] of amplifier and headstage without a pipette, white; `filter_Hz` of the one-pole
    low-pass; `reading_time` [s] that one slow reading averages; `command_range` [V] lowest and highest; `current_range`
    [A] at which it clips.
    """

    noise_density: float
    filter_Hz: float
    reading_time: float
    command_range: tuple[float, float]
    current_range: float


@dataclass(frozen=True, slots=True)
class PotentiostatSpecification:
    """`rest_potential` [V vs Li/Li+] of the specimen before the run."""

    rest_potential: float


@dataclass(frozen=True, slots=True)
class ScannerSpecification:
    """`z_reach` and `xy_reach` [m] to either side of its zero; `lag` [s] behind a ramp; `height_noise` [m] rms.

    `damping` [1] of the critical one where the lag is known to be that of a resonance, infinite where it is that of one
    pole, None where nobody knows.
    """

    z_reach: float
    xy_reach: float
    lag: float
    height_noise: float
    damping: float | None = None

    def turning_distance(self, fall_rate: float, withdraw_rate: float) -> float:
        """How far [m] the pipette still falls once its command turns from `fall_rate` to `withdraw_rate` [m/s] up.

            largest of v t - (v + w) int_0^t s dt',   s(t) the scanner's response to a unit step

        Most of the lag is not fallen: at the turn the pipette stands v·lag above its command, and a faster withdrawal
        pulls it up again within that. One pole leaves v·lag - w·lag·ln(1 + v/w). Where the kind of the lag is unknown
        it may be a dead time, which is fallen in full: v·lag. Assumes a steady fall before the turn.
        """
        if self.damping is None or self.lag <= 0.0:
            return fall_rate * self.lag
        if math.isinf(self.damping):
            return fall_rate * self.lag - withdraw_rate * self.lag * math.log1p(fall_rate / withdraw_rate)
        frequency = 2.0 * self.damping / self.lag  # [rad/s]: a resonance follows a ramp 2D/w late
        # Ten times the slowest of its times, by when the response has reached any share that matters.
        time = np.linspace(0.0, 10.0 * max(1.0, 2.0 * self.damping) / frequency, 4001)
        response = _step_response(frequency, self.damping, time)
        pulled = np.concatenate(([0.0], np.cumsum(0.5 * (response[1:] + response[:-1]) * np.diff(time))))
        return float(np.max(fall_rate * time - (fall_rate + withdraw_rate) * pulled))


def _step_response(frequency: float, damping: float, time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a resonance of `frequency` [rad/s] and `damping` [1] of the critical one, at `time` [s]."""
    first, second = np.roots([1.0, 2.0 * damping, 1.0]).astype(complex) * frequency
    if abs(first - second) < 1e-6 * frequency:
        return np.asarray(1.0 - (1.0 + frequency * time) * np.exp(-frequency * time))
    response = 1.0 - (second * np.exp(first * time) - first * np.exp(second * time)) / (second - first)
    return np.asarray(response.real)


@dataclass(frozen=True, slots=True)
class CoarseStageSpecification:
    """`speed` [m/s] of a motion without a speed of its own."""

    speed: float


@dataclass(frozen=True, slots=True)
class HopControllerSpecification:
    """`timing` of a hop; `start_height` [m] above the mean surface from which a step's first approach begins."""

    timing: HopTiming
    start_height: float


RoleSpecification = (
    AmplifierSpecification
    | PotentiostatSpecification
    | ScannerSpecification
    | CoarseStageSpecification
    | HopControllerSpecification
)


@dataclass(frozen=True, slots=True)
class RigSpecification:
    """The specifications of the five roles."""

    amplifier: AmplifierSpecification
    potentiostat: PotentiostatSpecification
    scanner: ScannerSpecification
    coarse_stage: CoarseStageSpecification
    hop_controller: HopControllerSpecification

    @property
    def lag(self) -> float:
        """[s] by which the sampled current lags behind the height command at most: scanner and filter."""
        return self.scanner.lag + self.filter_lag

    @property
    def filter_lag(self) -> float:
        """[s] by which the sampled current is late behind one that falls steadily."""
        return 1.0 / (2.0 * math.pi * self.amplifier.filter_Hz)
