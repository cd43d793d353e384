"""What each probe step will see: the pipette current and the height over its time, and how far noise hides them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.physics.ion_current import conductance, pipette_current
from opsicm.preflight.cell_forecast import CellForecast
from opsicm.preflight.rig_numbers import RigNumbers
from opsicm.preflight.schedule import Window, hop_period
from opsicm.protocol.experiment import Experiment
from opsicm.protocol.probe_program import Hopping, Park, PipetteSweep, ProbeAction, Tower, probe_sequence

Floats = NDArray[np.float64]
_ROUNDING: Final = 1e-9
TEN_HOPS: Final = 10
TEN_HOP_CRITERION: Final = 0.005
"""The paper's artefact check: over any ten hops in a row the bulk current changed by at most 0.5 %."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one step sees at one height [m] over `seconds` [s] of its time.

    `low`, `high` [A] of the bulk pipette current and its `noise` [A] in one reading; `height_change` [m] of the
    surface and the `height_noise` [m] of one hop (None where nothing hops); `drift_per_fall` and `ten_hops` [1] are the
    largest relative changes of the bulk current in one fall and in ten hops, `restless` the share of the time in which
    ten hops change it by more than the paper's 0.5 %.
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

    @property
    def swing(self) -> float:
        """Largest less smallest bulk current [A]; 0 where they differ by rounding only."""
        difference = self.high - self.low
        return difference if difference > _ROUNDING * max(abs(self.low), abs(self.high)) else 0.0


def heights_of(experiment: Experiment, start_height: float) -> list[float]:
    """Every height [m] at which a step of the probe program looks at the bulk current."""
    found = {height for _, step in probe_sequence(experiment.probe) for height in step_heights(step, start_height)}
    return sorted(found) or [start_height]


def step_heights(step: ProbeAction, start_height: float) -> tuple[float, ...]:
    """Heights [m] of one step; a hopping one stands `start_height` above the surface between its falls."""
    match step:
        case Park() | PipetteSweep():
            return (step.height,)
        case Tower():
            return (step.low, 0.5 * (step.low + step.high), step.high)
        case Hopping():
            return (start_height,)
        case _:
            return ()


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
    for path, step in dict(probe_sequence(experiment.probe)).items():
        own = [window for window in windows if window.path == path]
        inside = np.zeros(cell.time.size, bool)
        for window in own:
            inside |= (cell.time >= window.start) & (cell.time <= window.end)
        if not inside.any():
            continue
        seconds = sum(window.end - window.start for window in own)
        for height in step_heights(step, rig.start_height):
            if isinstance(step, PipetteSweep):
                found.append(_voltammogram(path, step, experiment, cell, rig, inside, seconds))
                continue
            current = bulk_current(experiment, cell, rig, height)
            found.append(_signal(path, step, height, seconds, current, inside, cell, rig))
    return tuple(found)


def _signal(
    path: str,
    step: ProbeAction,
    height: float,
    seconds: float,
    current: Floats,
    inside: NDArray[np.bool_],
    cell: CellForecast,
    rig: RigNumbers,
) -> Signal:
    low, high = float(current[inside].min()), float(current[inside].max())
    if not isinstance(step, Hopping):
        return Signal(path, step.word, height, seconds, low, high, rig.reading_noise)
    rate = _relative_rate(current, cell.time)[inside]
    period, fall = hop_period(step, rig.timing), step.amplitude / step.fall_rate
    ten_hops = TEN_HOPS * period * rate
    rise = cell.expansion[inside]
    return Signal(
        path,
        step.word,
        height,
        seconds,
        low,
        high,
        reference_noise(rig),
        float(rise.max() - rise.min()),
        height_noise(step, float(np.median(np.abs(current[inside]))), rig),
        float(rate.max()) * fall,
        float(ten_hops.max()),
        float((ten_hops > TEN_HOP_CRITERION).mean()),
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


def reference_noise(rig: RigNumbers) -> float:
    """Noise [A] of a hop's reference current: filtered samples averaged for the reference time."""
    correlation = 2.0 / (2.0 * math.pi * rig.filter_Hz)
    return rig.current_noise * math.sqrt(min(1.0, correlation / rig.timing.reference))


def height_noise(step: Hopping, current: float, rig: RigNumbers) -> float:
    """Noise [m] of one height: that of the current over its slope at the setpoint, and the scanner's own."""
    distance = rig.curve.distance(np.array(1.0 - step.setpoint))
    slope = current * float(rig.curve.slope(distance))
    return math.hypot(rig.current_noise / slope, rig.height_noise) if slope > 0.0 else math.inf


def _relative_rate(current: Floats, time: Floats) -> Floats:
    """|dI/dt|/|I| [1/s] between rows; a step at a change of control is spread over the row in which it falls."""
    if current.size < 2:
        return np.zeros(current.size)
    rate = np.abs(np.diff(current)) / np.maximum(np.diff(time), 1e-9) / np.maximum(np.abs(current[1:]), 1e-15)
    return np.concatenate([rate[:1], rate])
