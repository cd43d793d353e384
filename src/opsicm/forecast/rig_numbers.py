"""What a prediction needs to know of a rig and of the cell on it."""

from __future__ import annotations

from dataclasses import dataclass

from opsicm.instruments.hop import HopTiming
from opsicm.physics.cell.cell import Terms
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.pipette.tip_field import ApproachCurve


@dataclass(frozen=True, slots=True)
class CellNumbers:
    """The cell on the rig: its parameters and terms, the potential [V] at which it rests before the run."""

    parameters: CellParameters
    terms: Terms
    initial_potential: float


@dataclass(frozen=True, slots=True)
class RigNumbers:
    """What the prediction needs of a rig, SI: hop timing, amplifier, scanner and pipette.

    `current_noise` [A] rms after the filter of `filter_Hz`, `reading_noise` [A] rms of one slow reading, `lag` [s] of
    filter and scanner together, `command_range` [V], `current_range` [A] at which the amplifier clips or the rig's
    overload limit stops a hop, `z_reach` [m] of the scanner below and above its zero, `xy_reach` [m], `start_height`
    [m], `resistance` [Ohm] of the pipette far from the surface and its `geometric_resistance` R·kappa [1/m], its
    approach `curve`, `channels` sampled in full and `channels_kept` in full or decimated, `grounding` of the rig's
    wiring, `junction` U [V] of its electrodes in the reversal potential U ln(c_in/c_ref).
    """

    timing: HopTiming
    current_noise: float
    filter_Hz: float
    reading_noise: float
    height_noise: float
    lag: float
    command_range: tuple[float, float]
    current_range: float
    z_reach: float
    xy_reach: float
    start_height: float
    resistance: float
    geometric_resistance: float
    curve: ApproachCurve
    channels: int
    channels_kept: int
    grounding: str
    junction: float
    cell: CellNumbers
