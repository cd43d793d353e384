"""What is known of a rig's instruments before they are connected: rates, ranges, latencies, noise.

Every driver derives its role's specification from the rig file alone, so `check` and the twin need not know which
driver plays a role.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    """`z_reach` and `xy_reach` [m] to either side of its zero; `lag` [s] behind a ramp; `height_noise` [m] rms."""

    z_reach: float
    xy_reach: float
    lag: float
    height_noise: float


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
        """[s] by which the sampled current lags behind the height command: scanner and filter."""
        return self.scanner.lag + 1.0 / (2.0 * math.pi * self.amplifier.filter_Hz)
