"""What `check` says of an experiment beside what its run then showed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.cli.check import refuse
from opsicm.core.facts import Outcome
from opsicm.experiment.file import read_experiment
from opsicm.forecast.prediction import Prediction
from opsicm.forecast.signals import TEN_HOPS, Signal
from opsicm.instruments.bias_ramp import CURVATURE_ERROR
from opsicm.record.reader import Run
from opsicm.record.run_folder import EXPERIMENT
from opsicm.results.probe_intervals import ProbeInterval, probe_intervals

Floats = NDArray[np.float64]
SIGNAL: Final = 0.20
"""Share by which a signal may differ: a goal, never edited, as are the next two."""
DURATION: Final = 0.02
FILE_SIZE: Final = 0.10
_NOISE: Final = 10.0  # of the noise: where a swing is smaller than its noise there is nothing to agree about
_ON_AIM: Final = (
    CURVATURE_ERROR  # [V] of bias residual within which a current is the signal; the residual itself is recorded
)
_AT_HEIGHT: Final = 0.02  # of a tower's way, within which its rows count as at one of the heights


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure in SI: what was `said` and what was `found`, the `share` by which they may differ and, where noise
    decides, by how much beside that. `at_most`: a bound was said."""

    step: str
    quantity: str
    unit: str
    said: float
    found: float
    share: float
    noise: float = 0.0
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether they differ by no more than they may; what was said to be the most may be more than was found."""
        if self.at_most and self.said >= self.found:
            return True
        return abs(self.said - self.found) <= self.share * abs(self.found) + self.noise


def compared(run: Run) -> Iterator[Compared]:
    """Everything that `check` says of the experiment in a run's folder and that the run can tell."""
    folder = run.path.parent
    prediction = refuse(read_experiment(folder / EXPERIMENT), str(folder), None)
    last = max(fact.t_ns for fact in run.facts) * 1e-9
    yield Compared("", "duration", "s", prediction.duration or float("inf"), last, DURATION)
    size = float(run.path.stat().st_size)
    yield Compared("", "file size", "B", prediction.file_bytes, size, FILE_SIZE)
    yield from _steps(prediction, run)


def _steps(prediction: Prediction, run: Run) -> Iterator[Compared]:
    every, bias = probe_intervals(run), float(run.parameters["pipette"]["bias_V"])
    for hop in prediction.hops:
        made = int(np.count_nonzero(run.hops["step"].values == hop.step))
        yield Compared(hop.step, "hops", "1", float(hop.hops), float(made), DURATION)
    for signal in prediction.signals:
        own = [interval for interval in every if interval.path == signal.step]
        if signal.ten_hops is not None:
            yield from _hopping(signal, run, bias)
        elif own:
            current = _sampled(run) if signal.word == "pipette_sweep" else _rows(signal, run, own)
            if current.size:
                name = f"swing at {signal.height * 1e6:g} µm"
                yield _swing(signal, name, float(np.ptp(current)), bias)


def _swing(signal: Signal, name: str, found: float, bias: float) -> Compared:
    off_aim = 2.0 * _ON_AIM / abs(bias) * max(abs(signal.low), abs(signal.high)) if bias else 0.0
    return Compared(signal.step, name, "A", signal.swing, found, SIGNAL, _NOISE * signal.noise + off_aim)


def _hopping(signal: Signal, run: Run, bias: float) -> Iterator[Compared]:
    hops = run.hops
    met = (hops["step"].values == signal.step) & (hops["outcome"].values == Outcome.CONTACT)
    current = hops["i_ref"].values[met]
    if current.size < TEN_HOPS:
        return
    steady = np.abs(hops["bias_residual"].values[met]) <= _ON_AIM
    if steady.any():
        yield _swing(signal, "swing while hopping", float(np.ptp(current[steady])), bias)
    rise = _rise(hops["z_stop"].values[met] + _coarse(run, hops["t_ns"].values[met]), hops, met)
    if rise is not None and signal.height_change is not None and signal.height_noise is not None:
        noise = _NOISE * signal.height_noise
        yield Compared(signal.step, "swelling", "m", signal.height_change, rise, SIGNAL, noise)
    windows = np.lib.stride_tricks.sliding_window_view(current, TEN_HOPS)
    segment = hops["segment"].values[met]
    together = segment[TEN_HOPS - 1 :] == segment[: 1 - TEN_HOPS]
    worst = float((np.ptp(windows, axis=1) / np.abs(windows.mean(axis=1)))[together].max(initial=0.0))
    of_noise = signal.ten_hops_of_noise or 0.0
    said = max((signal.ten_hops or 0.0) + 0.6 * of_noise, of_noise)
    yield Compared(signal.step, "ten hops", "1", said, worst, SIGNAL, of_noise, at_most=True)


def _coarse(run: Run, t_ns: NDArray[np.int64]) -> Floats:
    height: Floats = np.interp(t_ns, run.slow["t_ns"].values, run.slow["coarse_z"].values)
    return height


def _rise(height: Floats, hops: xr.Dataset, met: NDArray[np.bool_]) -> float | None:
    """Largest less smallest height [m] at one place, ten hops averaged; over a line or area of the mean of a pass."""
    line, pixel = (hops[key].values[met] for key in ("line", "pixel"))
    places = {(int(a), int(b)) for a, b in zip(line, pixel, strict=True)}
    if len(places) == 1 or (line.max() < 0):
        return float(np.ptp(np.convolve(height, np.ones(TEN_HOPS) / TEN_HOPS, "valid")))
    passes = height.size // len(places)
    if passes < 2:  # one image: its heights are the specimen's
        return None
    return float(np.ptp(height[: passes * len(places)].reshape(passes, -1).mean(axis=1)))


def _rows(signal: Signal, run: Run, own: list[ProbeInterval]) -> Floats:
    """The slow rows' pipette current [A] while a step stands at a height; a tower's while it passes by."""
    slow = run.slow
    t, height = slow["t_ns"].values, slow["coarse_z"].values
    inside = np.zeros(t.size, bool)
    for interval in own:
        inside |= (t > interval.start_ns) & (t <= interval.stop_ns)
    room = 1e-6 if signal.word == "park" else _AT_HEIGHT * float(np.ptp(height[inside])) if inside.any() else 0.0
    inside &= np.abs(slow["bias_residual"].values) <= _ON_AIM
    reached = inside & (np.abs(height - signal.height) <= room + 0.01 * signal.height)
    return np.asarray(slow["pipette_current"].values[reached], np.float64)


def _sampled(run: Run) -> Floats:
    """Ends of the decimated stream of the pipette current [A] in the segments in which nothing hops."""
    hopped = set(run.hops["segment"].values.tolist())
    found: list[Floats] = []
    for segment in run.segments():
        if segment not in hopped:
            current = run.decimated(segment).sel(channel="pipette_current")
            found += [current["minimum"].values, current["maximum"].values]
    return np.concatenate(found) if found else np.zeros(0)
