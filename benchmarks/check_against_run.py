"""Compares what `check` predicts for an experiment with its run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.cli.check import checked_run
from opsicm.cli.rigs import load_rig
from opsicm.core.facts import Outcome
from opsicm.experiment.file import read_experiment
from opsicm.forecast.prediction import Prediction
from opsicm.forecast.signals import TEN_HOPS, Signal
from opsicm.instruments.bias_ramp import CURVATURE_ERROR
from opsicm.record.reader import Run
from opsicm.record.run_folder import EXPERIMENT
from opsicm.results.probe_intervals import ProbeInterval, probe_intervals
from opsicm.twin.settings import noise as rig_noise

Floats = NDArray[np.float64]
SIGNAL_SHARE: Final = 0.20
"""Share by which a predicted signal may differ: a goal, never edited, as are the next two."""
DURATION_SHARE: Final = 0.02
FILE_SIZE_SHARE: Final = 0.10
_NOISE: Final = 10.0  # times the noise: a swing below its noise cannot be compared
_BIAS_TOLERANCE: Final = (
    CURVATURE_ERROR  # [V] of bias residual within which a current is the signal; the residual itself is recorded
)
_HEIGHT_TOLERANCE: Final = 0.02  # of a tower's way, within which its rows count as at one of the heights


@dataclass(frozen=True, slots=True)
class Comparison:
    """One quantity in SI, `predicted` and `measured`, with the `share` by which they may differ and the `noise` [same
    unit] allowed beside it. `at_most`: the prediction is an upper bound."""

    step: str
    quantity: str
    unit: str
    predicted: float
    measured: float
    share: float
    noise: float = 0.0
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether they differ by no more than allowed; an upper bound may exceed the measurement by any amount."""
        if self.at_most and self.predicted >= self.measured:
            return True
        return abs(self.predicted - self.measured) <= self.share * abs(self.measured) + self.noise


def comparisons(run: Run) -> Iterator[Comparison]:
    """Every prediction of `check` for the experiment in a run's folder that the run can be compared with."""
    folder = run.path.parent
    experiment = read_experiment(folder / EXPERIMENT)
    prediction = checked_run(experiment, str(folder), None)
    last = max(fact.t_ns for fact in run.facts) * 1e-9
    yield Comparison("", "duration", "s", prediction.duration or float("inf"), last, DURATION_SHARE)
    size = float(run.path.stat().st_size)
    yield Comparison("", "file size", "B", prediction.file_bytes, size, FILE_SIZE_SHARE)
    slow = rig_noise(load_rig(experiment, None))
    # What the prediction does not know: the walk of the pipette over the run, and its flicker from 1/run to 5 Hz.
    drift = math.hypot(
        slow["pipette_wander"] * math.sqrt(last / 60.0), slow["pipette_flicker"] * math.sqrt(math.log(5.0 * last))
    )
    yield from _steps(prediction, run, drift)


def _steps(prediction: Prediction, run: Run, drift: float) -> Iterator[Comparison]:
    every, bias = probe_intervals(run), float(run.parameters["pipette"]["bias_V"])
    for hop in prediction.hops:
        count = int(np.count_nonzero(run.hops["step"].values == hop.step))
        yield Comparison(hop.step, "hops", "1", float(hop.hops), float(count), DURATION_SHARE)
    for signal in prediction.signals:
        intervals = [interval for interval in every if interval.path == signal.step]
        if signal.ten_hops is not None:
            yield from _hopping(signal, run, bias, drift)
        elif intervals:
            current = _sampled_current(run) if signal.word == "pipette_sweep" else _slow_current(signal, run, intervals)
            if current.size:
                name = f"swing at {signal.height * 1e6:g} µm"
                yield _swing(signal, name, float(np.ptp(current)), bias, drift)


def _swing(signal: Signal, name: str, measured: float, bias: float, drift: float) -> Comparison:
    """`drift` [1]: by how much of itself the current wanders beside what the prediction knows."""
    largest = max(abs(signal.low), abs(signal.high))
    bias_error = 2.0 * _BIAS_TOLERANCE / abs(bias) * largest if bias else 0.0
    noise = _NOISE * math.hypot(signal.noise, drift * largest) + bias_error
    return Comparison(signal.step, name, "A", signal.swing, measured, SIGNAL_SHARE, noise)


def _hopping(signal: Signal, run: Run, bias: float, drift: float) -> Iterator[Comparison]:
    hops = run.hops
    in_contact = (hops["step"].values == signal.step) & (hops["outcome"].values == Outcome.CONTACT)
    current = hops["i_ref"].values[in_contact]
    if current.size < TEN_HOPS:
        return
    steady = np.abs(hops["bias_residual"].values[in_contact]) <= _BIAS_TOLERANCE
    if steady.any():
        yield _swing(signal, "swing while hopping", float(np.ptp(current[steady])), bias, drift)
    change = _height_change(
        hops["z_stop"].values[in_contact] + _coarse_height(run, hops["t_ns"].values[in_contact]), hops, in_contact
    )
    if change is not None and signal.height_change is not None and signal.height_noise is not None:
        noise = _NOISE * signal.height_noise
        yield Comparison(signal.step, "swelling", "m", signal.height_change, change, SIGNAL_SHARE, noise)
    windows = np.lib.stride_tricks.sliding_window_view(current, TEN_HOPS)
    segment = hops["segment"].values[in_contact]
    same_segment = segment[TEN_HOPS - 1 :] == segment[: 1 - TEN_HOPS]
    worst = float((np.ptp(windows, axis=1) / np.abs(windows.mean(axis=1)))[same_segment].max(initial=0.0))
    of_noise = signal.ten_hops_of_noise or 0.0
    predicted = max((signal.ten_hops or 0.0) + 0.6 * of_noise, of_noise)
    yield Comparison(signal.step, "ten hops", "1", predicted, worst, SIGNAL_SHARE, of_noise, at_most=True)


def _coarse_height(run: Run, t_ns: NDArray[np.int64]) -> Floats:
    height: Floats = np.interp(t_ns, run.slow["t_ns"].values, run.slow["coarse_z"].values)
    return height


def _height_change(height: Floats, hops: xr.Dataset, in_contact: NDArray[np.bool_]) -> float | None:
    """Range of the height [m] at one point, averaged over ten hops; over a line or area, of the mean of each pass."""
    line, pixel = (hops[key].values[in_contact] for key in ("line", "pixel"))
    points = {(int(a), int(b)) for a, b in zip(line, pixel, strict=True)}
    if len(points) == 1 or (line.max() < 0):
        return float(np.ptp(np.convolve(height, np.ones(TEN_HOPS) / TEN_HOPS, "valid")))
    passes = height.size // len(points)
    if passes < 2:  # one image: its heights are the specimen's
        return None
    return float(np.ptp(height[: passes * len(points)].reshape(passes, -1).mean(axis=1)))


def _slow_current(signal: Signal, run: Run, intervals: list[ProbeInterval]) -> Floats:
    """Pipette current [A] of the slow rows while a step is at a height, or while a tower passes it."""
    slow = run.slow
    t, height = slow["t_ns"].values, slow["coarse_z"].values
    inside = np.zeros(t.size, bool)
    for interval in intervals:
        inside |= (t > interval.start_ns) & (t <= interval.stop_ns)
    tolerance = (
        1e-6 if signal.word == "park" else _HEIGHT_TOLERANCE * float(np.ptp(height[inside])) if inside.any() else 0.0
    )
    inside &= np.abs(slow["bias_residual"].values) <= _BIAS_TOLERANCE
    reached = inside & (np.abs(height - signal.height) <= tolerance + 0.01 * signal.height)
    return np.asarray(slow["pipette_current"].values[reached], np.float64)


def _sampled_current(run: Run) -> Floats:
    """Ends of the decimated stream of the pipette current [A] in the segments in which nothing hops."""
    hopped = set(run.hops["segment"].values.tolist())
    extremes: list[Floats] = []
    for segment in run.segments():
        if segment not in hopped:
            current = run.decimated(segment).sel(channel="pipette_current")
            extremes += [current["minimum"].values, current["maximum"].values]
    return np.concatenate(extremes) if extremes else np.zeros(0)
