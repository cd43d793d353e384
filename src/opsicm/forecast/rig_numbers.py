"""The numbers that a prediction needs: of the rig's instruments, the pipette in its bath, and the cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.experiment.model import Experiment
from opsicm.experiment.rig_file import Wiring
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.specification import RigSpecification
from opsicm.physics.cell.cell import Terms
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.noise import pipette_current_noise
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance
from opsicm.physics.pipette.ion_current import junction_potential, resistance
from opsicm.physics.pipette.rectification import GlassCharge
from opsicm.physics.pipette.tip_field import ApproachCurve, approach_curve

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CellNumbers:
    """The cell on the rig: its parameters and terms, and its rest potential [V] before the run."""

    parameters: CellParameters
    terms: Terms
    initial_potential: float


Relief = Callable[[Floats, Floats], Floats]
"""(x, y) [m] → heights [m] of the surface as the tip reads it, above where the operator has engaged."""


@dataclass(frozen=True, slots=True)
class RigNumbers:
    """The numbers of a rig in SI units: hop timing, amplifier, scanner and pipette.

    `current_noise` [A] rms after the filter of `filter_Hz`, `reading_time` [s] that a slow reading averages,
    `filter_lag` [s] by which the sampled current is late, `command_range` [V], `current_range` [A] at which the
    amplifier clips or the rig's overload limit stops a hop, `z_reach` [m] of the scanner below and above its zero,
    `xy_reach` [m], the `turning_distance` that it needs (`ScannerSpecification`), `start_height` [m], `resistance`
    [Ohm] of the pipette far from the surface and its `geometric_resistance` R·kappa [1/m], its approach `curve`,
    `channels` sampled in full and `channels_kept` in full or decimated, `grounding` of the rig's wiring, `junction` U
    [V] of its electrodes in the reversal potential U ln(c_in/c_ref), and, of a twin, the `relief` of the surface, known
    before the run, and the charged `glass` of the tip, if it is charged.
    """

    timing: HopTiming
    current_noise: float
    filter_Hz: float
    reading_time: float
    height_noise: float
    filter_lag: float
    command_range: tuple[float, float]
    current_range: float
    z_reach: float
    xy_reach: float
    turning_distance: Callable[[float, float], float]
    start_height: float
    resistance: float
    geometric_resistance: float
    curve: ApproachCurve
    channels: int
    channels_kept: int
    grounding: str
    junction: float
    cell: CellNumbers
    relief: Relief | None = None
    glass: GlassCharge | None = None


def rig_numbers(
    rig: RigSpecification,
    wiring: Wiring,
    experiment: Experiment,
    parameters: CellParameters,
    pipette: Pipette,
    relief: Relief | None = None,
    glass: GlassCharge | None = None,
) -> RigNumbers:
    """The numbers for `experiment` with this `pipette` on a rig of these instruments, over a cell of `parameters`."""
    amplifier, scanner, timing = rig.amplifier, rig.scanner, rig.hop_controller.timing
    bath, terms = parameters.electrolyte, experiment.twin.terms
    far = resistance(geometric_resistance(pipette), bath, experiment.pipette.fill(bath.concentration))
    policies = experiment.record.model_dump().values()
    return RigNumbers(
        timing=timing,
        current_noise=pipette_current_noise(amplifier.noise_density, far, bath.temperature, amplifier.filter_Hz),
        filter_Hz=amplifier.filter_Hz,
        reading_time=amplifier.reading_time,
        height_noise=scanner.height_noise,
        filter_lag=rig.filter_lag,
        command_range=amplifier.command_range,
        current_range=min(amplifier.current_range, timing.overload),
        z_reach=scanner.z_reach,
        xy_reach=scanner.xy_reach,
        turning_distance=scanner.turning_distance,
        start_height=rig.hop_controller.start_height,
        resistance=far,
        geometric_resistance=geometric_resistance(pipette),
        curve=approach_curve(pipette),
        channels=sum(policy == "full" for policy in policies),
        channels_kept=sum(policy != "off" for policy in policies),
        grounding=wiring.grounding,
        junction=float(
            junction_potential(math.e, 1.0, bath.temperature, bath.transference, bath.tdf, wiring.electrodes)
        ),
        relief=relief,
        glass=glass,
        cell=CellNumbers(parameters, Terms(**terms.model_dump()), rig.potentiostat.rest_potential),
    )
