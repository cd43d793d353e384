"""What a run will take and what it will show, from the file alone: nothing is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from opsicm.experiment.controls import turning_potentials
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import Hopping
from opsicm.experiment.program import written
from opsicm.forecast.cell import CellForecast, Floats, forecast
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.schedule import Rise, Window, file_bytes, schedule, unwatched_rises
from opsicm.forecast.signals import Noise, Signal, false_stop_probability, height_noise, heights_of, signals
from opsicm.instruments.wiring import command_span

_LOOKED_AT: Final = 400  # heights of a fall


@dataclass(frozen=True, slots=True)
class HopPrediction:
    """One hopping step: hops in all and in one image or pass, period [s], distance at the setpoint [m], overshoot [m].

    `height_noise` [m] of one hop; `noise_over_setpoint` [1]; `false_stop` [1] the probability that one fall ends by
    noise, drift included; `seconds` [s] of its time, `occasions` how often it is started.
    """

    step: str
    hops: int
    per_image: int | None
    period: float
    stop_distance: float
    overshoot: float
    height_noise: float
    noise_over_setpoint: float
    false_stop: float
    seconds: float
    occasions: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """Duration [s] (None: only a cut-off that the forecast does not reach), samples of a channel and how many channels
    are kept in full, file size [bytes], far current
    [A], command span [V], what each hopping step does and what each step sees, how far the surface rises under a tip
    that nothing moves; `note` says what was not forecast.
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
    rises: tuple[Rise, ...]
    note: str


def predict(experiment: Experiment, rig: RigNumbers) -> Prediction:
    """Play the cell program through with the cell's physics, lay the probe program over it, and look.

    Far current V_tip/R, height noise sigma_I/(dI/dz), overshoot v·(latency + lag). Assumes a surface that moves little
    during one hop and the finite-element approach curve.
    """
    far = abs(experiment.pipette.bias) / rig.resistance
    cell = forecast(experiment, rig.cell, heights_of(experiment, rig.start_height))
    windows = schedule(experiment, cell, rig.timing, rig.start_height)
    seen = signals(experiment, cell, rig, windows)
    steps = [(placed.path, placed.step) for placed in written("probe", experiment.probe)]
    hops = tuple(
        _hopping(path, step, experiment.hop_parameters(step), windows, seen, rig, far)
        for path, step in steps
        if isinstance(step, Hopping)
    )
    sampled = sum(window.end - window.start for window in windows if window.step.sampled)
    samples = round(sampled * 1e9 / rig.timing.dt_ns)
    # What a cut-off may end lasts as long as the forecast found; what was not forecast to its end, as its bounds say.
    duration = experiment.longest_duration if cell.reason else cell.end
    return Prediction(
        duration,
        samples,
        rig.channels,
        file_bytes(cell, windows, sum(hop.hops for hop in hops), rig),
        far,
        span(experiment, cell, rig.grounding),
        _range(cell.potential),
        _range(cell.current),
        hops,
        seen,
        tuple(windows),
        unwatched_rises(cell, windows),
        cell.reason,
    )


def _range(values: Floats) -> tuple[float, float]:
    """Smallest and largest; zeros where nothing was forecast."""
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def span(experiment: Experiment, cell: CellForecast, grounding: str) -> tuple[float, float]:
    """(lowest, highest) command [V] over the whole program, at every potential that the wire is told to take.

    Over the program's potentials and those that the forecast finds: iR compensation moves the actual potential beyond
    the program's, and a current decides where its own goes. Over the whole envelope where the forecast ends early.
    """
    low, high = experiment.envelope.cell_V
    if not cell.reason and cell.potential.size:
        told = turning_potentials(experiment.cell)
        low, high = (float(end({*told, float(end(cell.potential))})) for end in (min, max))
    electrode = {experiment.pipette.bias}
    for placed in written("probe", experiment.probe):
        electrode.update(*placed.step.electrode_potentials.values())
    spans = [command_span(level, low, high, grounding) for level in electrode]
    return min(first for first, _ in spans), max(last for _, last in spans)


def _hopping(
    path: str,
    step: Hopping,
    hop: HopParameters,
    windows: Sequence[Window],
    seen: Sequence[Signal],
    rig: RigNumbers,
    far: float,
) -> HopPrediction:
    own = [window for window in windows if window.path == path]
    period, seconds = rig.timing.period(hop), sum(window.end - window.start for window in own)
    count = sum(int((window.end - window.start) / period + 1e-6) for window in own)
    if step.count is not None:
        count = min(count, step.count * max(1, len(own)))
    signal = next((signal for signal in seen if signal.step == path), None)
    drift = signal.drift_per_fall if signal is not None and signal.drift_per_fall is not None else 0.0
    drop = far * hop.setpoint  # [A]; 0 too where the product of two tiny numbers is
    share = rig.current_noise / drop if drop > 0.0 else math.inf
    return HopPrediction(
        path,
        count,
        step.per_pass,
        period,
        float(rig.curve.distance(np.array(1.0 - hop.setpoint))),
        hop.fall_rate * (rig.timing.latency + rig.lag),
        height_noise(step, far, rig),
        share,
        _false_stop(hop, rig, far, min(drift, hop.setpoint)),
        seconds,
        len(own),
    )


def _false_stop(hop: HopParameters, rig: RigNumbers, far: float, drift: float) -> float:
    """P [1] that a fall stops where the surface has taken less than half of the setpoint."""
    if not far > 0.0:
        return 1.0
    dt = rig.timing.dt_ns * 1e-9
    stop, half = (float(rig.curve.distance(np.array(1.0 - part * hop.setpoint))) for part in (1.0, 0.5))
    way = max(hop.amplitude + stop - half, hop.fall_rate * dt)
    heights = half + way * (1.0 - (np.arange(_LOOKED_AT) + 0.5) / _LOOKED_AT)
    return false_stop_probability(
        hop.setpoint,
        Noise.filtered(rig.current_noise / far, rig.filter_Hz, dt),
        1.0 - rig.curve.relative_current(heights),
        way / hop.fall_rate / dt,
        rig.timing.reference / dt,
        drift,
    )
