"""What a run will take and how well it will see, from the file alone: nothing is run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from opsicm.instruments.hop import HopTiming
from opsicm.instruments.wiring import command_span
from opsicm.physics.tip_field import ApproachCurve
from opsicm.protocol.cell_program import Hold, Sweep, cell_step_duration
from opsicm.protocol.experiment import Experiment
from opsicm.protocol.probe_program import Hop, Line

_KEPT: Final = 0.55  # of int16 samples after bitshuffle-lz4: measured on the twin, 16 bit over ±10 nA and ±10 µm


@dataclass(frozen=True, slots=True)
class RigNumbers:
    """What the prediction needs of a rig, SI: hop timing, amplifier, scanner and pipette.

    `current_noise` [A] rms after the filter, `lag` [s] of filter and scanner together, `command_range` [V],
    `current_range` [A] at which the amplifier clips or the rig's overload limit stops a hop,
    `z_reach` [m] of the scanner below and above its zero, `xy_reach` [m], `start_height` [m], `resistance` [Ohm] of the
    pipette far from the surface, its approach `curve`, `channels` sampled in full.
    """

    timing: HopTiming
    current_noise: float
    height_noise: float
    lag: float
    command_range: tuple[float, float]
    current_range: float
    z_reach: float
    xy_reach: float
    start_height: float
    resistance: float
    curve: ApproachCurve
    channels: int


@dataclass(frozen=True, slots=True)
class HopPrediction:
    """One hopping step: count, period [s], distance at the setpoint [m], overshoot [m], noise of a height [m]."""

    step: str
    hops: int | None
    period: float
    stop_distance: float
    overshoot: float
    height_noise: float
    noise_over_setpoint: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Duration [s] (None: only a cut-off knows), samples, file size [bytes], far current [A], command span [V]."""

    duration: float | None
    samples: int | None
    file_bytes: float | None
    far_current: float
    command_span: tuple[float, float]
    hops: tuple[HopPrediction, ...]


def predict(experiment: Experiment, rig: RigNumbers) -> Prediction:
    """Durations from the programs, far current V_tip/R, height noise sigma_I/(dI/dz), overshoot v·(latency + lag).

    Assumes a surface at rest, the finite-element approach curve, and no cell current; the span of the command
    is that of the program's potentials, or of the envelope where the cell is not potential-controlled throughout.
    """
    far = abs(experiment.pipette.bias) / rig.resistance
    hops = tuple(
        _hopping(f"probe[{k}]", step, experiment, rig, far)
        for k, step in enumerate(experiment.probe)
        if isinstance(step, Hop | Line)
    )
    rate = 1e9 / rig.timing.dt_ns
    seconds = [None if h.hops is None else h.hops * h.period for h in hops]
    known = [s for s in seconds if s is not None]
    samples = round(sum(known) * rate) if len(known) == len(seconds) else None
    return Prediction(
        experiment.longest_duration,
        samples,
        None if samples is None else samples * rig.channels * 2 * _KEPT,
        far,
        _span(experiment),
        hops,
    )


def _span(experiment: Experiment) -> tuple[float, float]:
    low, high = experiment.envelope.cell_V
    controlled = [step for step in experiment.cell if isinstance(step, Sweep | Hold)]
    # iR compensation moves the actual potential beyond the program's, by an amount that only the run knows.
    if len(controlled) == len(experiment.cell) and not any(step.ir_compensation > 0.0 for step in controlled):
        potentials = [potential for step in controlled for leg in step.legs() for potential in leg[:2]]
        low, high = min(potentials), max(potentials)
    return command_span(experiment.pipette.bias, low, high)


def _hopping(path: str, step: Hop | Line, experiment: Experiment, rig: RigNumbers, far: float) -> HopPrediction:
    at_stop = rig.curve.distance(np.array(1.0 - step.setpoint))
    distance, slope = float(at_stop), far * float(rig.curve.slope(at_stop))
    period = rig.timing.duration(step.amplitude, step.fall_rate)
    noise = math.hypot(rig.current_noise / slope, rig.height_noise) if slope > 0.0 else math.inf
    duration = _duration(step, experiment)
    count = step.hops if isinstance(step, Hop) else None if step.passes is None else step.passes * step.pixels
    if duration is not None:
        fits = int(duration / period)
        count = fits if count is None else min(count, fits)
    overshoot = step.fall_rate * (rig.timing.latency + rig.lag)
    share = rig.current_noise / (far * step.setpoint) if far > 0.0 else math.inf
    return HopPrediction(path, count, period, distance, overshoot, noise, share)


def _duration(step: Hop | Line, experiment: Experiment) -> float | None:
    if step.for_s is not None:
        return step.for_s
    if step.during_index is not None:
        return cell_step_duration(experiment.cell[step.during_index])
    return experiment.longest_duration
