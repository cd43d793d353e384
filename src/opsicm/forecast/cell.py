"""The cell program simulated with the cell's physics: a second of computing for a day of cycling.

The cell model and its parameters are the twin's, so on the twin the forecast is exact within its time step; on a real
rig it is a prediction. Nothing else of the twin is used: no devices, no noise, no surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OpsicmError, OutsideDomain, Problem
from opsicm.experiment.controls import (
    SHORTEST_CURRENT,
    SHORTEST_HOLD,
    CellAction,
    ConstantCurrent,
    PotentialRamp,
    cell_actions,
    cut_offs,
    row_period,
)
from opsicm.experiment.model import Experiment
from opsicm.forecast.rig_numbers import CellNumbers
from opsicm.physics.cell.cell import Cell
from opsicm.physics.cell.trace import Trace

Floats = NDArray[np.float64]
_ROWS: Final = 240  # of one ramp: 0.4 % of a sweep each
_SHORT_ROWS: Final = 40  # of one pulse, rest or level
_CHUNK: Final = 60  # rows of a current between two checks of its cut-off
_MOST_ROWS: Final = 60_000
_CURRENT_ROW: Final = 1.0 / 600.0  # of the capacity, between two rows of a constant current
_FIRST_ROW: Final = 0.05  # [s]: a hop or two
_HOLD_ROW: Final = 0.01  # of the age of a hold that a current ends: its duration is known to the same 1 %
_HOLD_SETTLED: Final = 0.2  # [s] for the double layer to charge; the runner ignores the current for as long
_INSTANT: Final = 1e-7  # [s] lost to rounding when a row is added to 10 000 h
_NEVER: Final = 1e9  # [s]
_MARGIN: Final = 1.2  # by which check is stricter than the run about a step that does nothing


@dataclass(frozen=True, slots=True)
class Interval:
    """One execution of one step: its number in the program, its path, when it begins and ends [s].

    `row_period` [s] of its slow rows while nothing hops; `on_levels` for a ladder, whose potentials are held, not
    passed.
    """

    index: int
    path: str
    start: float
    end: float
    row_period: float
    on_levels: bool


@dataclass(frozen=True, slots=True)
class EmptyStep:
    """A step that ends as soon as it begins, at `time` [s], by its own `until`.

    `ends` says by what: a `potential` that the specimen, at `potential` [V], is already beyond; a `drop`, a potential
    that the current's own ohmic and kinetic drop reaches; a `soc`; or a `current` that the hold, at `current` [A], is
    already below. `limit` is the value of that end in SI.
    """

    path: str
    number: int
    visit: int
    time: float
    ends: Literal["potential", "drop", "soc", "current"]
    limit: float
    potential: float
    current: float


@dataclass(frozen=True, eq=False)
class CellForecast:
    """Rows in time, shapes [n] or [n, heights]; `intervals` in order; `rests` and `levels` are events.

    `rests` are the times [s] at which a rest is complete, `levels` the (time [s], potential [V]) of ladder levels then.
    `soc` is NaN before the first delithiated cut-off. `reason` says why the forecast ends early; empty otherwise.
    `stopped` is that reason where no specimen could follow the program any further, with the path of the step.
    """

    time: Floats
    potential: Floats
    current: Floats
    charge: Floats
    expansion: Floats
    soc: Floats
    heights: Floats
    ohmic_drop: Floats
    concentration: Floats
    intervals: tuple[Interval, ...]
    rests: tuple[float, ...]
    levels: tuple[tuple[float, float], ...]
    reason: str
    control_start: Floats
    """[s] when the control of a row began: no derivative may be taken across a change of control."""
    stopped: tuple[str, Problem] | None = None
    empty: tuple[EmptyStep, ...] = ()
    """Steps that end as soon as they begin, each once."""

    @property
    def end(self) -> float:
        """When the last simulated step ends [s]."""
        return self.intervals[-1].end if self.intervals else 0.0

    def span_of(self, index: int) -> tuple[float, float] | None:
        """When step `index` of the program begins and ends [s]; None when the forecast does not reach it."""
        of_step = [interval for interval in self.intervals if interval.index == index]
        return (of_step[0].start, of_step[-1].end) if of_step else None


def forecast(experiment: Experiment, numbers: CellNumbers, heights: Sequence[float]) -> CellForecast:
    """Simulate the cell program of `experiment`, with the bath at `heights` [m] and, last, at the reference."""
    reference = numbers.parameters.reference_salt_height
    playback = _CellPlayback(experiment, numbers, [*heights, reference])
    reason = ""
    try:
        playback.play()
    except OpsicmError as error:  # no cell could follow the program any further: the forecast ends there
        reason, playback.stopped = str(error), (playback.path, error.problems[0])
    return playback.result(reason)


class _CellPlayback:
    def __init__(self, experiment: Experiment, numbers: CellNumbers, heights: list[float]) -> None:
        self._program = experiment.cell
        self._area = numbers.parameters.area
        self._longest = experiment.envelope.duration
        self._heights = np.array(heights)
        self._cell = Cell(numbers.parameters, initial_potential=numbers.initial_potential, terms=numbers.terms)
        self._reversible = self._reversible_capacity(cut_offs(experiment.cell))
        self._soc_zero: float | None = None
        self._traces: list[Trace] = []
        self._socs: list[Floats] = []
        self._control_starts: list[Floats] = []
        self._control_start = 0.0
        self._rows = 0
        self._intervals: list[Interval] = []
        self._rests: list[float] = []
        self._levels: list[tuple[float, float]] = []
        self._empty: dict[str, EmptyStep] = {}
        self.path = ""  # of the present step
        self.stopped: tuple[str, Problem] | None = None

    def _reversible_capacity(self, limits: tuple[float, float] | None) -> float | None:
        """[C] between the program's cut-offs; None without two of them, or with one beyond the open-circuit curve."""
        if limits is None:
            return None
        try:
            lithiated, delithiated = map(self._cell.parameters.material.stoichiometry_at, limits)
        except OutsideDomain:
            return None
        return float(self._cell.capacity * (lithiated - delithiated))

    def play(self) -> None:
        actions = cell_actions(self._program, self._area, self._cell.capacity)
        action = next(actions, None)
        while action is not None and self._rows <= _MOST_ROWS and self._cell.time < self._longest:
            start, first, ended = self._cell.time, action, False
            self.path = first.path
            while action is not None and action.same_step(first):
                # The pulse that reaches the cut-off ends a pulse train: the step's remaining actions are skipped.
                if not ended and self._rows <= _MOST_ROWS and self._cell.time < self._longest:
                    ended = self._play_action(action, action is first) and action.timed.cut_off_ends_step
                elif not ended:
                    break
                action = next(actions, None)
            requested_ns = first.record_every_ns
            period = row_period(first.control) if requested_ns is None else requested_ns * 1e-9
            levels = first.timed.level is not None
            self._intervals.append(Interval(first.step, first.path, start, self._cell.time, period, levels))

    def _play_action(self, action: CellAction, first: bool) -> bool:
        """Simulate one action; whether a cut-off has ended it."""
        began, potential = self._cell.time, self._cell.potential
        reached = self._play_control(action)
        if first and action.must_last and action.path not in self._empty:
            empty = self._empty_step(action, reached, began, potential)
            if empty is not None:
                self._empty[action.path] = empty
        return reached

    def _empty_step(self, action: CellAction, reached: bool, began: float, potential: float) -> EmptyStep | None:
        """Whether an action that `began` [s] at `potential` [V] has left the specimen as it was."""
        timed, control, lasted = action.timed, action.control, self._cell.time - began
        step = partial(EmptyStep, action.path, action.step, action.visit, began)
        if isinstance(control, ConstantCurrent):
            cut_off = control.cut_off
            if reached and cut_off is not None and lasted <= SHORTEST_CURRENT * _MARGIN:
                beyond = (potential - cut_off) * control.current >= 0.0
                return step("potential" if beyond else "drop", cut_off, potential, control.current)
            if timed.soc is not None and lasted == 0.0:
                return step("soc", timed.soc, potential, control.current)
        elif timed.end_current is not None and lasted <= SHORTEST_HOLD * _MARGIN:
            ended_by_time = timed.duration_ns is not None and timed.duration_ns * 1e-9 - lasted <= _INSTANT
            if not ended_by_time:
                return step("current", timed.end_current, potential, self._cell.current)
        return None

    def _play_control(self, action: CellAction) -> bool:
        timed, control = action.timed, action.control
        seconds = _NEVER if timed.duration_ns is None else timed.duration_ns * 1e-9
        if timed.rested_after_ns is not None:
            self._rests.append(self._cell.time + timed.rested_after_ns * 1e-9)
        if timed.level is not None:
            self._levels.append((self._rests[-1], timed.level))
        if isinstance(control, ConstantCurrent):
            if not self._apply_current(control, self._longest_current(action, seconds)):
                return False
        elif isinstance(control, PotentialRamp):
            self._cell.set_potential(control.start, control.slope, control.ir_compensation)
            if timed.end_current is not None:
                self._hold_until_current(timed.end_current, seconds)
            else:
                self._record_evenly(seconds, _ROWS if timed.level is None else _SHORT_ROWS)
        else:
            self._cell.set_open_circuit()
            self._record_evenly(seconds, _SHORT_ROWS)
        if action.delithiated_end:
            self._soc_zero = self._cell.charge
        return isinstance(control, ConstantCurrent)

    def _record_evenly(self, seconds: float, rows: int) -> None:
        self._record(seconds / rows, rows, self._record_settling(seconds / rows))

    def _hold_until_current(self, end_current: float, seconds: float) -> None:
        """Simulate a hold that a current ends, in rows that grow with its age, so that its end is known to one row."""
        began = self._control_start = self._cell.time
        limit = min(seconds, self._longest - began)
        self._record(min(_HOLD_SETTLED, limit), 1)
        while abs(self._cell.current) >= end_current:
            age = self._cell.time - began
            if limit - age <= _INSTANT:
                break
            self._record(min(max(_HOLD_ROW * age, _HOLD_SETTLED), limit - age), 1)

    def _longest_current(self, action: CellAction, seconds: float) -> float:
        """How long [s] a current may flow until its time, its charge or its state of charge ends it."""
        timed, control = action.timed, action.control
        assert isinstance(control, ConstantCurrent)
        if timed.charge is not None:
            seconds = min(seconds, timed.charge / abs(control.current))
        if timed.soc is not None and self._soc_zero is not None and self._reversible is not None:
            excess = self._cell.charge - self._soc_zero + timed.soc * self._reversible
            # A state of charge that lies behind ends the current at once, as one reached does.
            leads_there = excess * control.current < 0.0
            seconds = min(seconds, abs(excess / control.current)) if leads_there else 0.0
        return seconds

    def _apply_current(self, control: ConstantCurrent, duration: float) -> bool:
        """Simulate a current; whether it reached its cut-off, or was beyond it before."""
        current, cut_off = control.current, control.cut_off
        bounds = (
            -np.inf if control.lowest is None else control.lowest,
            np.inf if control.highest is None else control.highest,
        )
        already = cut_off is not None and (self._cell.potential - cut_off) * current >= 0.0
        self._cell.set_current(current, cut_offs=bounds)
        self._control_start = self._cell.time
        dt = min(_CURRENT_ROW * self._cell.capacity / abs(current), duration / _SHORT_ROWS)
        until = self._cell.time + duration
        end = min(until * (1.0 - 1e-12), self._longest)
        # The ohmic drop alone may reach the cut-off at once: `set_current` then ends the current.
        while not self._cell.reached_cut_off and not already and self._cell.time < end:
            age, left = self._cell.time - self._control_start, until - self._cell.time
            if age < dt:
                self._record(min(max(age, _FIRST_ROW), dt, left), 1)
            elif left > _CHUNK * dt:
                self._record(dt, _CHUNK)
            else:
                rows = max(1, round(left / dt))
                self._record(left / rows, rows)
        return already or self._cell.reached_cut_off

    def _record_settling(self, dt: float) -> int:
        """Record the first `dt` [s] of a control in rows that double in length; returns the rows of `dt` they replace.

        Just after a change of control the potential is most curved, and there the pipette's bias lags.
        """
        self._control_start = self._cell.time
        while (left := dt - (age := self._cell.time - self._control_start)) > max(1e-9 * dt, _INSTANT):
            self._record(min(max(age, _FIRST_ROW), left), 1)
        return 1

    def _record(self, dt: float, count: int, done: int = 0) -> None:
        if count <= done:
            return
        trace = self._cell.record(dt, count - done, self._heights)
        self._traces.append(trace)
        self._rows += trace.time.size
        soc = np.full(trace.time.size, np.nan)
        if self._soc_zero is not None and self._reversible is not None:
            soc = -(trace.charge - self._soc_zero) / self._reversible
        self._socs.append(soc)
        self._control_starts.append(np.full(trace.time.size, self._control_start))

    def result(self, reason: str) -> CellForecast:
        joined: dict[str, Any] = {
            field.name: np.concatenate([getattr(trace, field.name) for trace in self._traces])
            if self._traces
            else np.zeros((0, self._heights.size) if field.name in ("ohmic_drop", "concentration") else 0)
            for field in fields(Trace)
            if field.name != "heights"
        }
        if not reason and self._rows > _MOST_ROWS:
            reason = f"only the first {self._cell.time:.0f} s of the cell program were simulated"
        elif not reason and self._cell.time >= self._longest:
            reason = "envelope.run_h ends the run before the cell program does"
        return CellForecast(
            time=joined["time"],
            potential=joined["potential"],
            current=joined["current"],
            charge=joined["charge"],
            expansion=joined["expansion"],
            soc=np.concatenate(self._socs) if self._socs else np.zeros(0),
            heights=self._heights,
            ohmic_drop=joined["ohmic_drop"],
            concentration=joined["concentration"],
            intervals=tuple(self._intervals),
            rests=tuple(self._rests),
            levels=tuple(self._levels),
            reason=reason,
            control_start=np.concatenate(self._control_starts) if self._control_starts else np.zeros(0),
            stopped=self.stopped,
            empty=tuple(self._empty.values()),
        )
