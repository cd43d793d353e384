"""Predicting a run from its files: duration, file size, hops, signals and noise. Nothing is executed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from opsicm.core.errors import Problem
from opsicm.experiment.controls import turning_potentials
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import ApproachingStep, HoppingStep
from opsicm.experiment.program import written_steps
from opsicm.forecast.cell import CellForecast, EmptyStep, Floats, forecast
from opsicm.forecast.clearance import NearPass, near_passes
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.schedule import Window, file_bytes, schedule, typical_hop
from opsicm.forecast.signals import (
    FilteredNoise,
    Signal,
    SlowApproach,
    false_stop_probability,
    height_noise,
    heights_of,
    signals,
    slow_approaches,
)
from opsicm.forecast.surface_walk import Walk, walks
from opsicm.instruments.bias_ramp import LONGEST_RAMP
from opsicm.instruments.wiring import REFERENCE_FOLLOWS_CELL, command_span

_HEIGHTS_PER_FALL: Final = 400  # at which the noise of an approach is compared with the setpoint
_TIP_BIAS_MARGIN: Final = 0.05  # [V] for residuals of the bias: envelope.bias_mV stops a run that has more


@dataclass(frozen=True, slots=True)
class HopPrediction:
    """One hopping step: hops in all and in one image or pass, period [s], distance at the setpoint [m], overshoot [m].

    `height_noise` [m] of one hop; `noise_over_setpoint` and `drift_over_setpoint` [1], the noise of the current and its
    largest drift in one approach; `false_stop` [1] the probability that the two end one approach, and
    `false_stop_of_noise` that of noise alone; `seconds` [s] that the step runs, `occasions` how often it is started.
    """

    step: str
    hops: int
    per_image: int | None
    period: float
    stop_distance: float
    overshoot: float
    height_noise: float
    noise_over_setpoint: float
    drift_over_setpoint: float
    false_stop: float
    false_stop_of_noise: float
    seconds: float
    occasions: int


@dataclass(frozen=True, slots=True)
class Approach:
    """How an approach ends: `overshoot` [m] from the recorded stop to the lowest point, `late` [m] that it has fallen
    before the filtered current shows the setpoint, `stop_distance` [m] from the surface where the true one is there,
    and `noise_over_setpoint` [1] of the current.
    """

    overshoot: float
    late: float
    stop_distance: float
    noise_over_setpoint: float


def approach_of(step: ApproachingStep, far: float, rig: RigNumbers) -> Approach:
    """How an approach of `step` ends on this rig, with `far` [A] of current.

    From the stop on it falls by v·latency, and by what the scanner needs to turn; its lag behind the command is already
    in the height at the stop, which is a measured one.
    """
    drop = far * step.setpoint  # [A]; may underflow to 0
    return Approach(
        step.fall_rate * rig.timing.latency + rig.turning_distance(step.fall_rate, rig.timing.withdraw_rate),
        step.fall_rate * rig.filter_lag,
        float(rig.curve.distance(np.array(1.0 - step.setpoint))),
        rig.current_noise / drop if drop > 0.0 else math.inf,
    )


@dataclass(frozen=True, slots=True)
class Prediction:
    """The forecast of a run: `duration` [s] (None where only a cut-off that the forecast does not reach ends it),
    `samples` of a channel, `channels_in_full`, `file_bytes`, `far_current` [A], `command_span` [V], the ranges of the
    cell's potential [V] and current [A], predictions for each step, where the surface comes near a standing tip, what
    the hops meet on a surface that is known, the cell steps that do nothing, the one at which no specimen could follow,
    and approaches that last longer than the bias can follow. `note` says what was not forecast; `cell` is the whole
    forecast of the cell.
    """

    duration: float | None
    samples: int
    channels_in_full: int
    file_bytes: float
    far_current: float
    command_span: tuple[float, float]
    cell_potential: tuple[float, float]
    cell_current: tuple[float, float]
    hops: tuple[HopPrediction, ...]
    signals: tuple[Signal, ...]
    windows: tuple[Window, ...]
    near_passes: tuple[NearPass, ...]
    walks: tuple[Walk, ...]
    empty_steps: tuple[EmptyStep, ...]
    stopped: tuple[str, Problem] | None
    slow_approaches: tuple[SlowApproach, ...]
    note: str
    cell: CellForecast


def predict(
    experiment: Experiment, rig: RigNumbers, amplitude_maps: Mapping[str, Floats] = MappingProxyType({})
) -> Prediction:
    """Simulate the cell program, schedule the probe program over it, and predict the signals of every step.

    `amplitude_maps` [m] go by the path of their raster.

    Far current V_tip/R, height noise sigma_I/(dI/dz), overshoot v·latency and what the scanner needs to turn. Assumes a
    surface that moves little during one hop and the finite-element approach curve.
    """
    far = abs(experiment.pipette.bias) / rig.resistance
    cell = forecast(experiment, rig.cell, heights_of(experiment, rig.start_height))
    windows = schedule(experiment, cell, rig.timing, rig.start_height, amplitude_maps)
    step_signals = signals(experiment, cell, rig, windows)
    hops = tuple(
        _hop_prediction(
            placed.path,
            placed.step,
            typical_hop(experiment, placed.path, placed.step, amplitude_maps),
            windows,
            step_signals,
            rig,
            far,
        )
        for placed in written_steps("probe", experiment.probe)
        if isinstance(placed.step, HoppingStep)
    )
    sampled = sum(window.end - window.start for window in windows if window.step.sampled)
    samples = round(sampled * 1e9 / rig.timing.dt_ns)
    # Cut-offs and end currents shorten a complete forecast; for an incomplete one the steps' own bounds count.
    duration = experiment.longest_duration if cell.reason else cell.end
    return Prediction(
        duration,
        samples,
        rig.channels,
        file_bytes(cell, windows, sum(hop.hops for hop in hops), rig),
        far,
        program_command_span(experiment, cell, rig.grounding),
        _range(np.append(cell.potential, rig.cell.initial_potential)),
        _range(cell.current),
        hops,
        step_signals,
        tuple(windows),
        near_passes(experiment, cell, windows, rig, amplitude_maps),
        walks(experiment, windows, rig, amplitude_maps),
        cell.empty,
        cell.stopped,
        slow_approaches(experiment, cell, rig, windows),
        cell.reason,
        cell,
    )


def _range(values: Floats) -> tuple[float, float]:
    """Smallest and largest; zeros where nothing was forecast."""
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def program_command_span(experiment: Experiment, cell: CellForecast, grounding: str) -> tuple[float, float]:
    """(lowest, highest) command [V] over the whole program, for every potential of the pipette electrode.

    Covers the program's potentials and those of the forecast: iR compensation moves the actual potential beyond the
    program's, and under a current the specimen decides. Covers the whole envelope where the forecast ends early.
    """
    low, high = experiment.envelope.cell_V
    if not cell.reason and cell.potential.size:
        potentials = {*turning_potentials(experiment.cell), *_range(cell.potential)}
        low, high = min(potentials), max(potentials)
    electrode = {experiment.pipette.bias}
    for placed in written_steps("probe", experiment.probe):
        electrode.update(*placed.step.electrode_potentials.values())
    # V_cmd rises with the electrode's potential: the extreme ones give the extreme commands.
    return (
        command_span(min(electrode), low, high, grounding)[0],
        command_span(max(electrode), low, high, grounding)[1],
    )


@dataclass(frozen=True, slots=True)
class TipBias:
    """The largest potential [V] across the tip in a run, of either sign, and what makes it."""

    volts: float
    cause: str


def largest_tip_bias(experiment: Experiment, cell: CellForecast, rig: RigNumbers) -> TipBias:
    """The most that the program, or an amplifier at its command of 0, puts across the tip.

    Until the first command, and after a stop, the pipette electrode is at ground and the reference at -E: the
    specimen's own potential is across the tip. Later it is what the pipette electrode is told, and whatever E has
    changed by since the command followed it last; ohmic drop, junction and a loose reference come on top.
    """
    electrode, faults = {experiment.pipette.bias}, experiment.twin.faults
    for placed in written_steps("probe", experiment.probe):
        electrode.update(*placed.step.electrode_potentials.values())
    told, cause = max(map(abs, electrode)), "the largest potential of the pipette electrode"
    if REFERENCE_FOLLOWS_CELL[rig.grounding]:
        time, potential = np.append(0.0, cell.time), np.append(rig.cell.initial_potential, cell.potential)
        low, high = _range(potential)
        late = max((fault.parameters().get("latency_ms", 0.0) for fault in faults), default=0.0) * 1e-3
        change = _largest_change(time, potential, LONGEST_RAMP + late)
        if cell.reason:
            low, high = min(low, experiment.envelope.cell_V[0]), max(high, experiment.envelope.cell_V[1])
            change = high - low
        told, cause = told + change, f"{cause}, and {change:.2g} V by which the cell may be ahead of it"
        if max(abs(low), abs(high)) > told:
            told, cause = max(abs(low), abs(high)), "the specimen's potential, as long as the amplifier commands 0 V"
    inside = experiment.pipette.fill(rig.cell.parameters.electrolyte.concentration)
    others = _TIP_BIAS_MARGIN + sum(fault.parameters().get("amplitude_mV", 0.0) for fault in faults) * 1e-3
    if cell.time.size:
        others += float(np.abs(cell.ohmic_drop).max())
        others += float(np.abs(rig.junction * np.log(inside / cell.concentration[:, -1])).max())
    return TipBias(told + others, cause)


def _largest_change(time: Floats, potential: Floats, seconds: float) -> float:
    """Largest change of `potential` [V] between two instants at most `seconds` apart; linear between its rows."""
    apart = [np.interp(time + shift, time, potential) - potential for shift in (-seconds, seconds)]
    largest = float(np.max(np.abs(apart)))
    for rows in range(1, time.size):
        near = time[rows:] - time[:-rows] <= seconds
        if not near.any():
            break
        largest = max(largest, float(np.abs(potential[rows:] - potential[:-rows])[near].max()))
    return largest


def _hop_prediction(
    path: str,
    step: HoppingStep,
    hop: HopParameters,
    windows: Sequence[Window],
    step_signals: Sequence[Signal],
    rig: RigNumbers,
    far: float,
) -> HopPrediction:
    windows = [window for window in windows if window.path == path]
    period, seconds = rig.timing.period(hop), sum(window.end - window.start for window in windows)
    count = sum(int((window.end - window.start) / period + 1e-6) for window in windows)
    if step.count is not None:
        count = min(count, step.count * max(1, len(windows)))
    signal = next((signal for signal in step_signals if signal.step == path), None)
    drift = signal.drift_per_fall if signal is not None and signal.drift_per_fall is not None else 0.0
    approach = approach_of(step, far, rig)
    return HopPrediction(
        path,
        count,
        step.per_pass,
        period,
        approach.stop_distance,
        approach.overshoot,
        height_noise(step, far, rig),
        approach.noise_over_setpoint,
        drift / hop.setpoint,
        _false_stop(hop, rig, far, min(drift, hop.setpoint)),
        _false_stop(hop, rig, far, 0.0),
        seconds,
        len(windows),
    )


def _false_stop(hop: HopParameters, rig: RigNumbers, far: float, drift: float) -> float:
    """P [1] that an approach stops where the surface has caused less than half of the setpoint's drop."""
    if not far > 0.0:
        return 1.0
    dt = rig.timing.dt_ns * 1e-9
    stop, half = (float(rig.curve.distance(np.array(1.0 - share * hop.setpoint))) for share in (1.0, 0.5))
    length = max(hop.amplitude + stop - half, hop.fall_rate * dt)
    heights = half + length * (1.0 - (np.arange(_HEIGHTS_PER_FALL) + 0.5) / _HEIGHTS_PER_FALL)
    return false_stop_probability(
        hop.setpoint,
        FilteredNoise.filtered(rig.current_noise / far, rig.filter_Hz, dt),
        1.0 - rig.curve.relative_current(heights),
        length / hop.fall_rate / dt,
        rig.timing.reference / dt,
        drift,
    )
