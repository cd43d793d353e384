"""What each probe step will see: the pipette current and the height over its time, and how far noise hides them."""

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
from opsicm.experiment.probe_bounds import ProbeAction
from opsicm.experiment.probe_steps import Hopping, PipetteSweep
from opsicm.experiment.program import written
from opsicm.forecast.cell import CellForecast
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.schedule import Window
from opsicm.instruments.bias_ramp import BEND, LOOK, SHORTEST, lag
from opsicm.physics.pipette.ion_current import conductance, pipette_current

# -- How often a fall ends by noise and not by the surface.


Floats = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_REFERENCE_NODES, _REFERENCE_WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_DEVIATIONS: Final = np.linspace(-8.0, 37.0, 721)  # beyond, double precision knows no chance


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of a current behind a one-pole low-pass: `rms` [1] relative to the current, `memory` [1] from one sample to
    the next, exp(-2 pi f dt)."""

    rms: float
    memory: float

    @classmethod
    def filtered(cls, rms: float, filter_Hz: float, dt: float) -> Noise:
        """Behind a filter of `filter_Hz`, sampled every `dt` [s]."""
        return cls(rms, math.exp(-2.0 * math.pi * filter_Hz * dt))

    def of_mean(self, samples: float) -> float:
        """The rms [1] of the mean of n samples in a row: rms² / n · (1 + 2 sum_k (1 - k/n) a^k), in closed form."""
        a, n = self.memory, samples
        if a >= 1.0:
            return self.rms
        terms = (1.0 + a) / (1.0 - a) - 2.0 * a * (1.0 - a**n) / (n * (1.0 - a) ** 2)
        return self.rms * math.sqrt(min(1.0, terms / n))


def false_stop_probability(
    setpoint: float, noise: Noise, shares: Floats, samples: float, reference_samples: float, drift: float = 0.0
) -> float:
    """P [1] that one fall stops while the surface has taken only `shares` of the current.

        P = E_r [1 - (1 - Q(u_0)) prod_k (1 - h(u_k))],   u_k = (s - share_k - drift_k - (1 - s) r) / rms

    `setpoint` s [1]; `shares` [1] at equal steps of time along the part of the fall that is looked at, of `samples` in
    all; `drift` [1] by which the current itself falls meanwhile, straight. r is the error of the reference, normal,
    with the rms of the mean of `reference_samples`, and one and the same for a whole fall. h(u) is the chance that a
    sample is the first below the threshold when the one before was not: for a first-order filter's noise, which
    remembers one sample, the threshold's discrete Rice formula. An independent look every correlation time, which
    serves for means, counts six times too few here: what matters is how often noise *comes* to the threshold.

    Assumes Gaussian noise and survival that remembers one sample. Fails for noise of more than one pole or with 1/f.
    Source: S. O. Rice, Bell Syst. Tech. J. 1945, 24, 46, section 3.3, in discrete time.
    """
    if not noise.rms > 0.0:
        return float(np.any(shares + drift >= setpoint))
    r = noise.of_mean(reference_samples) * _REFERENCE_NODES
    weights = _REFERENCE_WEIGHTS / _REFERENCE_WEIGHTS.sum()
    falls = drift * (np.arange(shares.size) + 0.5) / shares.size
    u = (setpoint - shares - falls - (1.0 - setpoint) * r[:, None]) / noise.rms
    table = crossing_hazard(_DEVIATIONS, noise.memory)
    hazard = np.interp(u, _DEVIATIONS, table, right=0.0)
    survives = samples / shares.size * np.log1p(-np.minimum(hazard, 1.0 - 1e-12)).sum(axis=1) + np.log(ndtr(u[:, 0]))
    return float(np.clip(weights @ -np.expm1(survives), 0.0, 1.0))


def crossing_hazard(u: Floats, memory: float) -> Floats:
    """P(X_1 > u | X_0 <= u) [1] for standard normal X of correlation `memory` a: ν / Φ(u), shape of `u`.

        ν = ∫_u^∞ φ(x) Φ((u - a x) / sqrt(1 - a²)) dx

    A look that is independent of the one before (a = 0) has the upper tail Q(u) itself.
    """
    spread = math.sqrt(max(1.0 - memory**2, 1e-12))
    length = np.where(u > 0.0, 20.0 / (np.maximum(u, 0.0) + 2.0), 10.0 - u)
    x = u[:, None] + 0.5 * length[:, None] * (_NODES + 1.0)
    density = np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
    crossings = 0.5 * length * ((density * ndtr((u[:, None] - memory * x) / spread)) @ _WEIGHTS)
    return np.asarray(np.minimum(1.0, crossings / ndtr(u)))


_ROUNDING: Final = 1e-9
_NO_BIAS: Final = 1e-3  # [V]
_NO_CURRENT: Final = 1e-15  # [A]
_WAITS_AT_MOST: Final = 2.0  # [s] for a potential that bends; then the runner hops all the same
TEN_HOPS: Final = 10
TEN_HOP_CRITERION: Final = 0.005
"""The paper's artefact check: over any ten hops in a row the bulk current changed by at most 0.5 %."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one step sees at one height [m] over `seconds` [s] of its time.

    `low`, `high` [A] of the bulk pipette current and its `noise` [A] in one reading; `height_change` [m] of the
    surface and the `height_noise` [m] of one hop (None where nothing hops); `drift_per_fall` and `ten_hops` [1] are the
    largest relative changes of the bulk current in one fall and in ten hops, the lag of the bias counted in the latter,
    `restless` the share of the time in which ten hops change it by more than the paper's 0.5 %, `ten_hops_of_noise` [1]
    what the noise of the references alone makes of ten hops at worst.
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
    restless: float | None = None
    ten_hops_of_noise: float | None = None

    @property
    def swing(self) -> float:
        """Largest less smallest bulk current [A]; 0 where they differ by rounding only."""
        difference = self.high - self.low
        return difference if difference > _ROUNDING * max(abs(self.low), abs(self.high)) else 0.0


def heights_of(experiment: Experiment, start_height: float) -> list[float]:
    """Every height [m] at which a step of the probe program looks at the bulk current."""
    steps = (placed.step for placed in written("probe", experiment.probe))
    return sorted({height for step in steps for height in step.heights(start_height)}) or [start_height]


def bulk_current(
    experiment: Experiment, cell: CellForecast, rig: RigNumbers, height: float, wire: float | None = None
) -> Floats:
    """The pipette current [A] at `height` [m] for every row of the forecast, far from the surface.

    I = G(c_in, c(z)) (V_tip - ohmic drop - U ln(c_in/c_ref)), V_tip the `wire`'s potential [V], the experiment's bias
    where none is given.
    """
    column = int(np.argmin(np.abs(cell.heights[:-1] - height)))
    electrolyte = rig.cell.parameters.electrolyte
    inside = experiment.pipette.fill(electrolyte.concentration)
    G = conductance(rig.geometric_resistance, electrolyte.conductivity, inside, cell.concentration[:, column])
    return pipette_current(
        G,
        experiment.pipette.bias if wire is None else wire,
        cell.ohmic_drop[:, column],
        inside,
        cell.concentration[:, -1],
        rig.junction,
    )


def signals(
    experiment: Experiment, cell: CellForecast, rig: RigNumbers, windows: Sequence[Window]
) -> tuple[Signal, ...]:
    """What every step of the probe program sees, in the order of the file; one for each of a tower's three heights."""
    found: list[Signal] = []
    for placed in written("probe", experiment.probe):
        path, step = placed.path, placed.step
        own = [window for window in windows if window.path == path]
        inside = np.zeros(cell.time.size, bool)
        for window in own:
            # A row at the very beginning is the last one of the control before.
            inside |= (cell.time > window.start) & (cell.time <= window.end)
        if not inside.any():
            continue
        seconds = sum(window.end - window.start for window in own)
        for height in step.heights(rig.start_height):
            if isinstance(step, PipetteSweep):
                found.append(_voltammogram(path, step, experiment, cell, rig, inside, seconds))
                continue
            current = bulk_current(experiment, cell, rig, height)
            found.append(_signal(path, step, height, seconds, current, inside, experiment, cell, rig))
    return tuple(found)


def _signal(
    path: str,
    step: ProbeAction,
    height: float,
    seconds: float,
    current: Floats,
    inside: NDArray[np.bool_],
    experiment: Experiment,
    cell: CellForecast,
    rig: RigNumbers,
) -> Signal:
    if not isinstance(step, Hopping):
        # What comes and goes before the first slow row under a control is not seen.
        shown = inside & (cell.time - cell.part >= _row_periods(cell) * (1.0 - 1e-9))
        inside = shown if shown.any() else inside
    low, high = float(current[inside].min()), float(current[inside].max())
    if not isinstance(step, Hopping):
        return Signal(path, step.word, height, seconds, low, high, reading_noise(rig))
    hopping = inside & may_hop(cell)
    hopping = hopping if hopping.any() else inside
    rate = _relative_rate(current, cell)[hopping]
    hop = experiment.hop_parameters(step)
    period, fall = rig.timing.period(hop), hop.fall_time
    lag = bias_lag(cell)[hopping] / max(abs(experiment.pipette.bias), _NO_BIAS)
    ten_hops = _change_within(current, cell, TEN_HOPS * period)[hopping] + lag
    rise = cell.expansion[inside]
    noise = reference_noise(rig)
    level = max(float(np.median(np.abs(current[inside]))), _NO_CURRENT)
    return Signal(
        path,
        step.word,
        height,
        seconds,
        low,
        high,
        noise,
        float(rise.max() - rise.min()),
        height_noise(step, level, rig),
        float(rate.max()) * fall,
        float(ten_hops.max()),
        float(_shares(cell, hopping)[ten_hops > TEN_HOP_CRITERION].sum()),
        _ten_hops_of_noise(noise / level, seconds / period),
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
    """From one end of the wire's ramp to the other; the noise is that of one sample."""
    ends = [bulk_current(experiment, cell, rig, step.height, wire)[inside] for wire in (step.from_V, step.to_V)]
    low, high = min(float(end.min()) for end in ends), max(float(end.max()) for end in ends)
    return Signal(path, step.word, step.height, seconds, low, high, rig.current_noise)


def reading_noise(rig: RigNumbers) -> float:
    """rms [A] of one slow reading of the current: a mean of samples that the low-pass has made alike."""
    dt = rig.timing.dt_ns * 1e-9
    return Noise.filtered(rig.current_noise, rig.filter_Hz, dt).of_mean(round(rig.reading_time / dt))


def reference_noise(rig: RigNumbers) -> float:
    """Noise [A] of a hop's reference current: filtered samples averaged for the reference time."""
    dt = rig.timing.dt_ns * 1e-9
    return Noise.filtered(rig.current_noise, rig.filter_Hz, dt).of_mean(rig.timing.reference / dt)


def height_noise(step: Hopping, current: float, rig: RigNumbers) -> float:
    """Noise [m] of one height: that of the current over its slope at the setpoint, and the scanner's own."""
    distance = rig.curve.distance(np.array(1.0 - step.setpoint))
    slope = current * float(rig.curve.slope(distance))
    return math.hypot(rig.current_noise / slope, rig.height_noise) if slope > 0.0 else math.inf


def may_hop(cell: CellForecast) -> NDArray[np.bool_]:
    """Rows at which the runner hops: after a change of control it waits at the top while the potential bends."""
    bends = np.abs(_curvature(cell)[1]) * LOOK * SHORTEST > BEND
    return ~bends | (cell.time - cell.part > _WAITS_AT_MOST)


def bias_lag(cell: CellForecast) -> Floats:
    """[V] by which the wire misses its aim at the end of a ramp, at every row: the potential bends under the ramp."""
    slope, curvature = _curvature(cell)
    most = BEND / (LOOK * SHORTEST)
    # Between two rows the curvature falls through what the runner hops at: it begins with just that.
    bends = np.abs(curvature) > most
    begins = np.concatenate([[False], bends[:-1] & ~bends[1:] & (np.diff(cell.part) == 0.0)]) if bends.size else bends
    curvature = np.where(begins, most, curvature)
    return np.array([lag(bend, steep) for bend, steep in zip(curvature, slope, strict=True)])


def _curvature(cell: CellForecast) -> tuple[Floats, Floats]:
    """Slope [V/s] and curvature [V/s²] of the potential at every row, within the rows of its own control."""
    slope, curvature = np.zeros(cell.time.size), np.zeros(cell.time.size)
    for first, last in _parts(cell):
        if last - first < 3:
            continue
        time, potential = cell.time[first:last], cell.potential[first:last]
        steep = np.diff(potential) / np.diff(time)
        bend = np.diff(steep) / (0.5 * (time[2:] - time[:-2]))
        slope[first:last] = np.concatenate([steep[:1], steep])
        curvature[first:last] = np.concatenate([bend[:1], bend[:1], bend])
    return slope, curvature


def _parts(cell: CellForecast) -> list[tuple[int, int]]:
    """(first, one past the last) row of every control."""
    edges = [0, *(np.flatnonzero(np.diff(cell.part)) + 1).tolist(), cell.part.size]
    return list(itertools.pairwise(edges))


def _relative_rate(current: Floats, cell: CellForecast) -> Floats:
    """|dI/dt|/|I| [1/s] between rows of one control: the runner does not hop across a change of control."""
    rate = np.zeros(current.size)
    for first, last in _parts(cell):
        if last - first < 2:
            continue
        change = np.abs(np.diff(current[first:last])) / np.diff(cell.time[first:last])
        change /= np.maximum(np.abs(current[first + 1 : last]), _NO_CURRENT)
        rate[first:last] = np.concatenate([change[:1], change])
    return rate


def _change_within(current: Floats, cell: CellForecast, seconds: float) -> Floats:
    """|I(t + `seconds`) - I(t)|/|I(t)| [1] at every row, within the rows of its own control."""
    change = np.zeros(current.size)
    for first, last in _parts(cell):
        time, own = cell.time[first:last], current[first:last]
        later = np.interp(np.minimum(time + seconds, time[-1]), time, own) if time.size else own
        change[first:last] = np.abs(later - own) / np.maximum(np.abs(own), _NO_CURRENT)
    return change


def _row_periods(cell: CellForecast) -> Floats:
    """[s] between the slow rows of the step that every row of the forecast belongs to."""
    periods = np.zeros(cell.time.size)
    for interval in cell.intervals:
        periods[(cell.time > interval.start) & (cell.time <= interval.end)] = interval.row_period
    return periods


def _shares(cell: CellForecast, rows: NDArray[np.bool_]) -> Floats:
    """The share [1] of the time of `rows` that each of them stands for: rows are not equally long."""
    lasts = np.diff(cell.time, prepend=0.0)[rows]
    return np.asarray(lasts / max(float(lasts.sum()), 1e-9))


def _ten_hops_of_noise(noise: float, hops: float) -> float:
    """Largest difference [1] within ten references of `noise` [1] each, over `hops` of them: √2 σ √(2 ln n)."""
    return math.sqrt(2.0) * noise * math.sqrt(2.0 * math.log(max(hops, TEN_HOPS)))
