"""When each probe step runs beside the cell program, and how large the run file becomes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

import numpy as np

from opsicm.experiment.controls import SAME_LEVEL
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_bounds import AwaitedEvents, BaseProbeStep
from opsicm.experiment.probe_steps import (
    Engage,
    ExchangeTip,
    HoppingStep,
    Park,
    PipetteSweep,
    ReturnTo,
    SingleProbeStep,
    Tower,
    Zero,
    landmarks,
)
from opsicm.experiment.program import executed_steps, written_steps
from opsicm.forecast.cell import CellForecast, Floats
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.instruments.hop import HopTiming

_MOST_WINDOWS: Final = 20_000
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Window:
    """One uninterrupted period of a probe step [s]; `whole` when the step then has all the time that it needs."""

    path: str
    step: BaseProbeStep
    start: float
    end: float
    whole: bool = True


def natural_duration(
    path: str,
    step: SingleProbeStep,
    experiment: Experiment,
    timing: HopTiming,
    start_height: float,
    amplitude_maps: Mapping[str, Floats],
) -> float | None:
    """[s] to the own end of the step at `path`; None where a bound or the end of the cell program ends it.

    An engagement is counted as a single approach from `start_height`, where the operator has left the pipette.
    """
    if step.time_bound is not None:
        return step.time_bound
    match step:
        case HoppingStep():
            hop = typical_hop(experiment, path, step, amplitude_maps)
            return None if step.count is None else step.count * timing.period(hop)
        case Tower():
            return None if step.trips is None else step.trips * step.trip_duration
        case PipetteSweep():
            return sum(duration for _, _, duration in step.legs())
        case Engage():
            return start_height / step.fall_rate
        case ReturnTo():
            landmark = landmarks(experiment.probe)[step.name]
            return natural_duration(path, landmark, experiment, timing, start_height, amplitude_maps)
        case Park() | Zero():
            return None
        case ExchangeTip():
            return 0.0
        case _:
            assert_never(step)


def typical_hop(
    experiment: Experiment, path: str, step: HoppingStep, amplitude_maps: Mapping[str, Floats]
) -> HopParameters:
    """The hop parameters of a step, with the mean amplitude of its map: a hop's duration is linear in the amplitude."""
    hop, amplitudes = experiment.hop_parameters(step), amplitude_maps.get(path)
    return hop if amplitudes is None else replace(hop, amplitude=float(np.mean(amplitudes)))


def schedule(
    experiment: Experiment,
    cell: CellForecast,
    timing: HopTiming,
    start_height: float,
    amplitude_maps: Mapping[str, Floats],
) -> list[Window]:
    """Every window of every probe step in the order of time.

    Steps without `at` follow one another; at each event the running step is suspended while the steps that wait for the
    event run. `amplitude_maps` [m] go by the path of their raster. Assumes that moves between heights take no time.
    """
    waiting: list[Window] = []
    for placed in written_steps("probe", experiment.probe):
        path, step = placed.path, placed.step
        if step.deferred:
            length = natural_duration(path, step, experiment, timing, start_height, amplitude_maps) or 0.0
            times = repetitions(step, cell) if step.at is None else events(step.at, cell)
            waiting += [Window(path, step, t, t + length) for t in times]
    taken = _one_after_another(sorted(waiting, key=lambda window: window.start), cell)
    sequence = _sequence(experiment, cell, timing, start_height, taken, amplitude_maps)
    return sorted([*taken, *sequence], key=lambda w: w.start)


def events(at: AwaitedEvents, cell: CellForecast) -> list[float]:
    """Times [s] of the events that a step waits for."""
    if at.after_each is not None:
        return sorted(cell.rests)
    if at.soc_pct is not None:
        return sorted(t for value in at.soc for t in _crossings(cell, cell.soc, value))
    held = [t for t, level in cell.levels if any(abs(level - value) < SAME_LEVEL for value in at.potential_V or ())]
    on_ladder = [(i.start, i.end) for i in cell.intervals if i.on_levels]
    passed = [
        t
        for value in at.potential_V or ()
        for t in _crossings(cell, cell.potential, value)
        if not any(start < t <= end for start, end in on_ladder)
    ]
    return sorted([*held, *passed])


def repetitions(step: BaseProbeStep, cell: CellForecast) -> list[float]:
    """Times [s] at which a step with `every_min` begins: when its cell step does, and after each interval."""
    span = (0.0, cell.end) if step.during_index is None else cell.span_of(step.during_index)
    if span is None or step.interval is None:
        return []
    count = math.ceil((span[1] - span[0]) / step.interval * (1.0 - 1e-12))
    return [span[0] + k * step.interval for k in range(min(count, _MOST_WINDOWS))]


def _crossings(cell: CellForecast, values: np.ndarray, level: float) -> list[float]:
    if values.size < 2:
        return []
    above = np.where(np.isnan(values), -1, values >= level).astype(int)
    at = np.flatnonzero((above[1:] != above[:-1]) & (above[1:] >= 0) & (above[:-1] >= 0)) + 1
    return [float(t) for t in cell.time[at]]


def _one_after_another(wanted: list[Window], cell: CellForecast) -> list[Window]:
    """Windows that would overlap are put one after the other; the end of the cell program, or of the step that a window
    accompanies, ends it.
    """
    separate: list[Window] = []
    free = 0.0
    for window in wanted[:_MOST_WINDOWS]:
        start = max(window.start, free)
        stop = start + window.end - window.start
        during = None if window.step.during_index is None else cell.span_of(window.step.during_index)
        end = cell.end if during is None else during[1]
        if start < end:
            separate.append(Window(window.path, window.step, start, min(stop, end), stop <= end * (1.0 + 1e-9)))
        free = min(stop, end)
    return separate


def _sequence(
    experiment: Experiment,
    cell: CellForecast,
    timing: HopTiming,
    start_height: float,
    taken: list[Window],
    amplitude_maps: Mapping[str, Floats],
) -> Iterator[Window]:
    now = 0.0
    for placed in executed_steps("probe", experiment.probe):
        path, step = placed.path, placed.step
        if step.deferred or now >= cell.end:
            continue
        limit = cell.end
        if step.during_index is not None:
            span = cell.span_of(step.during_index)
            if span is None or span[1] <= now:
                continue
            now, limit = max(now, span[0]), span[1]
        length = natural_duration(path, step, experiment, timing, start_height, amplitude_maps)
        start, now = now, limit
        for first, last in _free(start, limit, taken):
            if length is None:
                yield Window(path, step, first, last)
                continue
            lasts = min(last - first, length)
            length -= lasts
            yield Window(path, step, first, first + lasts, length <= 1e-9)
            if length <= 1e-9:
                now = first + lasts
                break
        if step.during_index is not None and not step.ends_by_itself:
            now = limit


def _free(start: float, end: float, taken: list[Window]) -> Iterator[Span]:
    """The spans between `start` and `end` that no window in `taken` (in order) covers."""
    for window in taken:
        if window.end <= start or window.start >= end:
            continue
        if window.start > start:
            yield start, window.start
        start = window.end
    if start < end:
        yield start, end


# -- The size of the run file. Bytes, measured part by part in finished files of the short experiments on the twin.


# Of whole runs: 178.0 MB of E9's short form for 179 forecast (30 nm/ms), 34.1 MB of E7's for 33.8 (50 nm/ms).
_KEPT: Final = 0.370  # of int16 samples as Blosc2 packs them, at 30 nm/ms and at 4.4 converter steps of noise
_KEPT_PER_OCTAVE: Final = 0.037  # more for twice the fall rate: another bit of the height changes from block to block
_USUAL_FALL: Final = 30e-6  # [m/s]
_DECIMATED: Final = (
    4.7  # per channel and row of the decimated stream (E6: 4.72 in short, 4.63 in full): smallest, largest and mean
)
_DECIMATED_ROWS: Final = 781.0  # per second at 100 kS/s
_STREAM: Final = 140.0  # per second of sampling: the list of blocks, the journal's hop plans
_HOP: Final = 68.0  # a hop's record and its point in the default plot
_ROW: Final = 55.7  # a slow row with all its columns
_ROW_TRAVELLING: Final = 64.7  # a slow row while the coarse stage moves: fewer repeated values to compress
_ROW_HOPPING: Final = 75.7  # a slow row while hopping: every height differs
_HEAD: Final = 74.2e3  # a file without samples: groups, attributes, texts, among them the parameter set
_SEGMENT: Final = 16e3  # the groups and attributes of one segment
_INDEX: Final = 1e-3  # of the samples: the index of their chunks


def file_bytes(cell: CellForecast, windows: Sequence[Window], hops: int, rig: RigNumbers) -> float:
    """Bytes of the finished run file: samples in full and decimated, hop records, slow rows, headers.

    The compression was measured with the twin's noise; the data of a noisier amplifier compress less.
    """
    total = _HEAD + hops * _HOP + _rows(cell, windows)
    for window in windows:
        if not window.step.sampled:
            continue
        seconds = window.end - window.start
        fall = window.step.fall_rate if isinstance(window.step, HoppingStep) else _USUAL_FALL
        kept = min(1.0, max(0.1, _KEPT + _KEPT_PER_OCTAVE * math.log2(fall / _USUAL_FALL)))
        full = seconds * 1e9 / rig.timing.dt_ns * rig.channels * 2.0 * kept
        decimated = seconds * _DECIMATED_ROWS * (rig.channels_kept - rig.channels) * _DECIMATED
        total += full * (1.0 + _INDEX) + decimated + seconds * _STREAM + _SEGMENT
    return total


def _rows(cell: CellForecast, windows: Sequence[Window]) -> float:
    """Bytes of the slow rows of the whole run."""
    rows = 0.0
    for interval in cell.intervals:
        # While hopping a row is recorded after every plan, of at most a second; a tower has its own row period.
        hopping = _overlap(interval.start, interval.end, windows, HoppingStep)
        towers = _overlap(interval.start, interval.end, windows, Tower)
        rows += (interval.end - interval.start - hopping - towers) / interval.row_period * _ROW
        rows += hopping * _ROW_HOPPING
        periods = [window.step.record_every_s for window in windows if isinstance(window.step, Tower)]
        rows += towers / min([interval.row_period, *periods]) * _ROW_TRAVELLING
    return rows


def _overlap(start: float, end: float, windows: Sequence[Window], kind: type) -> float:
    """[s] between `start` and `end` in which a step of a `kind` runs."""
    spans = (min(end, window.end) - max(start, window.start) for window in windows if isinstance(window.step, kind))
    return sum(span for span in spans if span > 0.0)
