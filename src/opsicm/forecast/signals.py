"""The signals of each probe step: the pipette current and the height while it runs, and the noise of both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_bounds import BaseProbeStep
from opsicm.experiment.probe_steps import ApproachingStep, HoppingStep, PipetteSweep
from opsicm.experiment.program import written_steps
from opsicm.forecast.cell import CellForecast
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.schedule import Window
from opsicm.instruments.bias_ramp import CURVATURE_ERROR, LONGEST_SETTLING, SETTLING_INTERVAL, SHORTEST_RAMP, ramp_error
from opsicm.physics.pipette.ion_current import conductance, pipette_current

Floats = NDArray[np.float64]

# -- How often noise, and not the surface, ends an approach.

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_REFERENCE_NODES, _REFERENCE_WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_DEVIATIONS: Final = np.linspace(-8.0, 37.0, 721)  # beyond 37 sigma the probability underflows


@dataclass(frozen=True, slots=True)
class FilteredNoise:
    """Noise of a current after a one-pole low-pass: `rms` [1] relative to the current, and the correlation `memory` [1]
    of successive samples, exp(-2 pi f dt).
    """

    rms: float
    memory: float

    @classmethod
    def filtered(cls, rms: float, filter_Hz: float, dt: float) -> FilteredNoise:
        """The noise after a filter of `filter_Hz`, sampled every `dt` [s]."""
        return cls(rms, math.exp(-2.0 * math.pi * filter_Hz * dt))

    def of_mean(self, samples: float) -> float:
        """The rms [1] of the mean of n samples in a row: rms² / n · (1 + 2 sum_k (1 - k/n) a^k), in closed form."""
        a, n = self.memory, samples
        if a >= 1.0:
            return self.rms
        terms = (1.0 + a) / (1.0 - a) - 2.0 * a * (1.0 - a**n) / (n * (1.0 - a) ** 2)
        return self.rms * math.sqrt(min(1.0, terms / n))


def false_stop_probability(
    setpoint: float, noise: FilteredNoise, shares: Floats, samples: float, reference_samples: float, drift: float = 0.0
) -> float:
    """P [1] that one approach stops although the surface has taken only `shares` of the current.

        P = E_r [1 - (1 - Q(u_0)) prod_k (1 - h(u_k))],   u_k = (s - share_k - drift_k - (1 - s) r) / rms

    `setpoint` s [1]; `shares` [1] at equal time steps along the part of the approach considered, which has `samples`
    samples; `drift` [1] by which the bulk current decreases linearly meanwhile. r is the error of the reference,
    normally distributed with the rms of the mean of `reference_samples` and constant during one approach. h(u) is the
    probability that a sample is below the threshold when the one before was not: the discrete Rice formula for noise
    of a first-order filter, whose memory is one sample. One independent trial per correlation time, which is right for
    means, gives six times too few stops here: what counts is how often the noise *crosses* the threshold.

    Assumes Gaussian noise and that survival depends on the previous sample only. Fails for noise of more than one pole
    or with 1/f. Source: S. O. Rice, Bell Syst. Tech. J. 1945, 24, 46, section 3.3, in discrete time.
    """
    if not noise.rms > 0.0:
        return float(np.any(shares + drift >= setpoint))
    r = noise.of_mean(reference_samples) * _REFERENCE_NODES
    weights = _REFERENCE_WEIGHTS / _REFERENCE_WEIGHTS.sum()
    drifted = drift * (np.arange(shares.size) + 0.5) / shares.size
    u = (setpoint - shares - drifted - (1.0 - setpoint) * r[:, None]) / noise.rms
    # The hazard costs an integral for each value: interpolated from a table, since u has 64 × 400 of them.
    hazard = np.interp(u, _DEVIATIONS, crossing_hazard(_DEVIATIONS, noise.memory), right=0.0)
    per_share = samples / shares.size
    log_survival = per_share * np.log1p(-np.minimum(hazard, 1.0 - 1e-12)).sum(axis=1) + np.log(ndtr(u[:, 0]))
    return float(np.clip(weights @ -np.expm1(log_survival), 0.0, 1.0))


def crossing_hazard(u: Floats, memory: float) -> Floats:
    """P(X_1 > u | X_0 <= u) [1] for standard normal X of correlation `memory` a: ν / Φ(u), shape of `u`.

        ν = ∫_u^∞ φ(x) Φ((u - a x) / sqrt(1 - a²)) dx

    A sample that is independent of the one before (a = 0) gives the upper tail Q(u).
    """
    spread = math.sqrt(max(1.0 - memory**2, 1e-12))
    # The interval that holds the integrand to double precision, whichever side of the mean u lies on.
    length = np.where(u > 0.0, 20.0 / (np.maximum(u, 0.0) + 2.0), 10.0 - u)
    x = u[:, None] + 0.5 * length[:, None] * (_NODES + 1.0)
    density = np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
    crossings = 0.5 * length * ((density * ndtr((u[:, None] - memory * x) / spread)) @ _WEIGHTS)
    return np.asarray(np.minimum(1.0, crossings / ndtr(u)))


# -- The signals of a step.

_ROUNDING: Final = 1e-9
_NO_BIAS: Final = 1e-3  # [V]
_NO_CURRENT: Final = 1e-15  # [A]
_HOPPING_CURVATURE: Final = CURVATURE_ERROR / (SETTLING_INTERVAL * SHORTEST_RAMP)  # [V/s²] the runner hops below it
TEN_HOPS: Final = 10
TEN_HOP_CRITERION: Final = 0.005
"""The paper's artefact check: over any ten hops in a row the bulk current changed by at most 0.5 %."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one step measures at one height [m] during the `seconds` that it runs.

    `low`, `high` [A] of the bulk pipette current and its `noise` [A] in one reading; `height_change` [m] of the surface
    and the `height_noise` [m] of one hop (None where nothing hops). The largest relative change of the bulk current is
    `drift_per_fall` [1] in one approach and `ten_hops` [1] in ten hops, which includes the lag of the bias.
    `unstable_share` [1] of the time ten hops change it by more than the paper's 0.5 %; `ten_hops_of_noise` [1] is the
    largest change that the noise of the reference currents alone produces in ten hops.
    """

    step: str
    word: str
    height: float
    seconds: float
    low: float
    high: float
    noise: float
    height_change: float | None = None
    height_noise: float | None = None
    drift_per_fall: float | None = None
    ten_hops: float | None = None
    unstable_share: float | None = None
    ten_hops_of_noise: float | None = None

    @property
    def swing(self) -> float:
        """Largest minus smallest bulk current [A]; 0 where they differ by rounding only."""
        difference = self.high - self.low
        return difference if difference > _ROUNDING * max(abs(self.low), abs(self.high)) else 0.0


@dataclass(frozen=True, slots=True)
class SlowApproach:
    """One approach of the step at `path` lasts `seconds`, in which the cell's potential leaves its slope by `error`
    [V] at `time` [s]: the bias follows the slope only.
    """

    path: str
    seconds: float
    error: float
    time: float


_SLOW: Final = 0.5  # [s] of an approach: shorter ones wait for a potential that bends


def slow_approaches(
    experiment: Experiment, cell: CellForecast, rig: RigNumbers, windows: Sequence[Window]
) -> tuple[SlowApproach, ...]:
    """For every step with a long approach, by how much the bias is off at its end, at the worst moment.

    The first approach of a step that hops begins at the start height, that of an engagement lasts over all its reach.
    Hops wait for a change of control; an engagement does not.
    """
    if not cell.time.size:
        return ()
    slope, _ = _curvature(cell)
    ends = np.zeros(cell.time.size)  # [s] of the control of each row
    for first, last in _control_slices(cell):
        ends[first:last] = cell.time[last - 1]
    slow: dict[str, SlowApproach] = {}
    for window in windows:
        step = window.step
        if not isinstance(step, ApproachingStep):
            continue
        hops = isinstance(step, HoppingStep)
        reach = min(experiment.envelope.approach, 0.9 * rig.z_reach)
        seconds = (max(rig.start_height, step.amplitude) if hops else reach) / step.fall_rate
        rows = np.flatnonzero((cell.time >= window.start) & (cell.time <= window.end + (0.0 if hops else seconds)))
        if hops:
            rows = rows[cell.time[rows] + seconds <= ends[rows]]
        if seconds < _SLOW or not rows.size:
            continue
        time = cell.time[rows]
        later = np.interp(time + seconds, cell.time, cell.potential)
        error = np.abs(later - cell.potential[rows] - slope[rows] * np.minimum(seconds, cell.end - time))
        worst = int(np.argmax(error))
        one = SlowApproach(window.path, seconds, float(error[worst]), float(time[worst]))
        if window.path not in slow or one.error > slow[window.path].error:
            slow[window.path] = one
    return tuple(slow.values())


def heights_of(experiment: Experiment, start_height: float) -> list[float]:
    """Every height [m] at which a step of the probe program measures the bulk current."""
    steps = (placed.step for placed in written_steps("probe", experiment.probe))
    return sorted({height for step in steps for height in step.heights(start_height)}) or [start_height]


def bulk_current(
    experiment: Experiment, cell: CellForecast, rig: RigNumbers, height: float, tip_potential: float | None = None
) -> Floats:
    """The pipette current [A] at `height` [m] for every row of the forecast, far from the surface.

    I = G(c_in, c(z)) (V_tip - ohmic drop - U ln(c_in/c_ref)), V_tip [V] being `tip_potential`, by default the
    experiment's bias.
    """
    column = int(np.argmin(np.abs(cell.heights[:-1] - height)))
    electrolyte = rig.cell.parameters.electrolyte
    inside = experiment.pipette.fill(electrolyte.concentration)
    G = conductance(rig.geometric_resistance, electrolyte.conductivity, inside, cell.concentration[:, column])
    return pipette_current(
        G,
        experiment.pipette.bias if tip_potential is None else tip_potential,
        cell.ohmic_drop[:, column],
        inside,
        cell.concentration[:, -1],
        rig.junction,
    )


def signals(
    experiment: Experiment, cell: CellForecast, rig: RigNumbers, windows: Sequence[Window]
) -> tuple[Signal, ...]:
    """The signals of every probe step, in the order of the file; one for each of a tower's three heights."""
    step_signals: list[Signal] = []
    for placed in written_steps("probe", experiment.probe):
        path, step = placed.path, placed.step
        step_windows = [window for window in windows if window.path == path]
        inside = np.zeros(cell.time.size, bool)
        for window in step_windows:
            # A row at the very start belongs to the control before.
            inside |= (cell.time > window.start) & (cell.time <= window.end)
        if not inside.any():
            continue
        seconds = sum(window.end - window.start for window in step_windows)
        for height in step.heights(rig.start_height):
            if isinstance(step, PipetteSweep):
                step_signals.append(_voltammogram(path, step, experiment, cell, rig, inside, seconds))
                continue
            current = bulk_current(experiment, cell, rig, height)
            step_signals.append(_signal(path, step, height, seconds, current, inside, experiment, cell, rig))
    return tuple(step_signals)


def _signal(
    path: str,
    step: BaseProbeStep,
    height: float,
    seconds: float,
    current: Floats,
    inside: NDArray[np.bool_],
    experiment: Experiment,
    cell: CellForecast,
    rig: RigNumbers,
) -> Signal:
    if not isinstance(step, HoppingStep):
        # The run reads nothing of a control before its first turn, which lasts the shortest ramp of the bias; a cell
        # that jumps to the start of a sweep passes most of its current in the first second.
        first = np.minimum(_row_periods(cell), SHORTEST_RAMP) * (1.0 - 1e-9)
        recorded = inside & (cell.time - cell.control_start >= first)
        inside = recorded if recorded.any() else inside
    low, high = float(current[inside].min()), float(current[inside].max())
    if not isinstance(step, HoppingStep):
        return Signal(path, step.word, height, seconds, low, high, reading_noise(rig))
    hopping = inside & may_hop(cell)
    hopping = hopping if hopping.any() else inside
    rate = _relative_rate(current, cell)[hopping]
    hop = experiment.hop_parameters(step)
    period, fall = rig.timing.period(hop), hop.fall_time
    ramp_error = bias_lag(cell)[hopping] / max(abs(experiment.pipette.bias), _NO_BIAS)
    ten_hops = _change_within(current, cell, TEN_HOPS * period)[hopping] + ramp_error
    expansion = cell.expansion[inside]
    noise = reference_noise(rig)
    typical = max(float(np.median(np.abs(current[inside]))), _NO_CURRENT)
    return Signal(
        path,
        step.word,
        height,
        seconds,
        low,
        high,
        noise,
        float(expansion.max() - expansion.min()),
        height_noise(step, typical, rig),
        float(rate.max()) * fall,
        float(ten_hops.max()),
        float(_shares(cell, hopping)[ten_hops > TEN_HOP_CRITERION].sum()),
        _ten_hops_of_noise(noise / typical, seconds / period),
    )


def _voltammogram(
    path: str,
    step: PipetteSweep,
    experiment: Experiment,
    cell: CellForecast,
    rig: RigNumbers,
    inside: NDArray[np.bool_],
    seconds: float,
) -> Signal:
    """The current between both vertices of the pipette's voltammogram; the noise is that of one sample."""
    ends = [bulk_current(experiment, cell, rig, step.height, volts)[inside] for volts in (step.from_V, step.to_V)]
    low, high = min(float(end.min()) for end in ends), max(float(end.max()) for end in ends)
    return Signal(path, step.word, step.height, seconds, low, high, rig.current_noise)


def reading_noise(rig: RigNumbers) -> float:
    """Noise [A] rms of one slow reading of the current: a mean of samples that the low-pass has correlated."""
    dt = rig.timing.dt_ns * 1e-9
    return FilteredNoise.filtered(rig.current_noise, rig.filter_Hz, dt).of_mean(round(rig.reading_time / dt))


def reference_noise(rig: RigNumbers) -> float:
    """Noise [A] rms of a hop's reference current: filtered samples averaged over the reference time."""
    dt = rig.timing.dt_ns * 1e-9
    return FilteredNoise.filtered(rig.current_noise, rig.filter_Hz, dt).of_mean(rig.timing.reference / dt)


def height_noise(step: HoppingStep, current: float, rig: RigNumbers) -> float:
    """Noise [m] rms of one height: the current's noise over its slope at the setpoint, combined with the scanner's."""
    distance = rig.curve.distance(np.array(1.0 - step.setpoint))
    slope = current * float(rig.curve.slope(distance))
    return math.hypot(rig.current_noise / slope, rig.height_noise) if slope > 0.0 else math.inf


def may_hop(cell: CellForecast) -> NDArray[np.bool_]:
    """Rows at which the runner hops: after a change of control it waits at the top while the slope is unsettled."""
    unsettled = np.abs(_curvature(cell)[1]) > _HOPPING_CURVATURE
    return ~unsettled | (cell.time - cell.control_start > LONGEST_SETTLING)


def bias_lag(cell: CellForecast) -> Floats:
    """[V] by which the bias is off its target at the end of a ramp, at every row, because the potential is curved."""
    slope, curvature = _curvature(cell)
    unsettled = np.abs(curvature) > _HOPPING_CURVATURE
    if unsettled.size:
        # Hopping begins between an unsettled row and the next one, where the curvature is just the largest allowed.
        begins = unsettled[:-1] & ~unsettled[1:] & (np.diff(cell.control_start) == 0.0)
        curvature[1:][begins] = _HOPPING_CURVATURE
    return np.array([ramp_error(bend, steepness) for bend, steepness in zip(curvature, slope, strict=True)])


def _curvature(cell: CellForecast) -> tuple[Floats, Floats]:
    """Slope [V/s] and curvature [V/s²] of the potential at every row, within the rows of its own control."""
    slope, curvature = np.zeros(cell.time.size), np.zeros(cell.time.size)
    for first, last in _control_slices(cell):
        if last - first < 3:
            continue
        time, potential = cell.time[first:last], cell.potential[first:last]
        first_derivative = np.diff(potential) / np.diff(time)
        second_derivative = np.diff(first_derivative) / (0.5 * (time[2:] - time[:-2]))
        slope[first:last] = np.concatenate([first_derivative[:1], first_derivative])
        curvature[first:last] = np.concatenate([second_derivative[:1], second_derivative[:1], second_derivative])
    return slope, curvature


def _control_slices(cell: CellForecast) -> list[tuple[int, int]]:
    """(first, one past the last) row of every control."""
    edges = [0, *(np.flatnonzero(np.diff(cell.control_start)) + 1).tolist(), cell.control_start.size]
    return list(itertools.pairwise(edges))


def _relative_rate(current: Floats, cell: CellForecast) -> Floats:
    """|dI/dt|/|I| [1/s] between rows of one control: the runner does not hop across a change of control."""
    rate = np.zeros(current.size)
    for first, last in _control_slices(cell):
        if last - first < 2:
            continue
        change = np.abs(np.diff(current[first:last])) / np.diff(cell.time[first:last])
        change /= np.maximum(np.abs(current[first + 1 : last]), _NO_CURRENT)
        rate[first:last] = np.concatenate([change[:1], change])
    return rate


def _change_within(current: Floats, cell: CellForecast, seconds: float) -> Floats:
    """|I(t + `seconds`) - I(t)|/|I(t)| [1] at every row, within the rows of its own control."""
    change = np.zeros(current.size)
    for first, last in _control_slices(cell):
        time, now = cell.time[first:last], current[first:last]
        later = np.interp(np.minimum(time + seconds, time[-1]), time, now) if time.size else now
        change[first:last] = np.abs(later - now) / np.maximum(np.abs(now), _NO_CURRENT)
    return change


def _row_periods(cell: CellForecast) -> Floats:
    """[s] between slow rows of the run, for every row of the forecast."""
    periods = np.zeros(cell.time.size)
    for interval in cell.intervals:
        periods[(cell.time > interval.start) & (cell.time <= interval.end)] = interval.row_period
    return periods


def _shares(cell: CellForecast, rows: NDArray[np.bool_]) -> Floats:
    """The share [1] of the total time of `rows` that each of them lasts: rows are not equally long."""
    durations = np.diff(cell.time, prepend=0.0)[rows]
    return np.asarray(durations / max(float(durations.sum()), 1e-9))


def _ten_hops_of_noise(noise: float, hops: float) -> float:
    """Largest change [1] by noise between two of ten successive references of `noise` [1]: √2 σ √(2 ln n), n `hops`."""
    return math.sqrt(2.0) * noise * math.sqrt(2.0 * math.log(max(hops, TEN_HOPS)))
