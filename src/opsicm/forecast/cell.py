"""The cell program played through with the cell's physics: a second of computing for a day of cycling.

The model is the twin's, with the same parameters, so on the twin the forecast is exact but for its rows; on a real rig
it is a prediction. Nothing of the twin is run: no devices, no noise, no surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OpsicmError, OutsideDomain
from opsicm.experiment.controls import CellAction, ConstantCurrent, PotentialRamp, cell_actions, cut_offs, row_period
from opsicm.experiment.model import Experiment
from opsicm.forecast.rig_numbers import CellNumbers
from opsicm.physics.cell.cell import Cell
from opsicm.physics.cell.trace import Trace

Floats = NDArray[np.float64]
_ROWS: Final = 240  # in one straight piece: 0.4 % of a sweep
_SHORT_ROWS: Final = 40  # in one pulse, rest or level
_CHUNK: Final = 60
_MOST_ROWS: Final = 60_000
_CURRENT_ROW: Final = 1.0 / 600.0  # of the capacity passes between two rows of a constant current
_FIRST_ROW: Final = 0.05  # [s]: a hop or two
_FALL_ROW: Final = 0.01  # of the age of a hold that a current ends: its duration is known as well
_FALL_SETTLED: Final = 0.2  # [s] in which the double layer is charged, as the runner waits
_INSTANT: Final = 1e-7  # [s] that the sum of 10 000 h and a row may swallow
_NEVER: Final = 1e9


@dataclass(frozen=True, slots=True)
class Interval:
    """One execution of one step: its number in the program, its path, when it began and ended [s].

    `row_period` [s]: of its slow rows while nothing hops; `on_levels`: a ladder's, whose potentials are not passed.
    """

    index: int
    path: str
    start: float
    end: float
    row_period: float
    on_levels: bool


@dataclass(frozen=True, eq=False)
class CellForecast:
    """Rows in time, shapes [n] or [n, heights]; `intervals` in order; `rests` and `levels` are events.

    `levels` are (time [s], potential [V]) of ladder levels whose rest has passed. `soc` is NaN before the first
    delithiated cut-off. `reason` says why the forecast ends early, empty when it does not.
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
    part: Floats
    """[s] when the control began under which a row stands: rows of two controls do not belong together."""

    @property
    def end(self) -> float:
        """When the last step that was played ends [s]."""
        return self.intervals[-1].end if self.intervals else 0.0

    def span_of(self, index: int) -> tuple[float, float] | None:
        """When step `index` of the program begins and ends [s]; None when it was not reached."""
        of_step = [interval for interval in self.intervals if interval.index == index]
        return (of_step[0].start, of_step[-1].end) if of_step else None


def forecast(experiment: Experiment, numbers: CellNumbers, heights: Sequence[float]) -> CellForecast:
    """Play the cell program of `experiment`; keep what is seen at `heights` [m] and, last, at the reference."""
    reference = numbers.parameters.reference_height
    player = _Player(experiment, numbers, [*heights, reference])
    reason = ""
    try:
        player.play()
    except OpsicmError as error:  # the model's cell stops where no cell could follow; the run would be told by its own
        reason = str(error)
    return player.result(reason)


class _Player:
    def __init__(self, experiment: Experiment, numbers: CellNumbers, heights: list[float]) -> None:
        self._program = experiment.cell
        self._area = numbers.parameters.area
        self._longest = experiment.envelope.duration
        self._heights = np.array(heights)
        self._cell = Cell(numbers.parameters, initial_potential=numbers.initial_potential, terms=numbers.terms)
        turns: tuple[float, float] | tuple[None, None] = cut_offs(experiment.cell) or (None, None)
        self._low: float | None = turns[0]
        self._high: float | None = turns[1]
        self._reversible = self._reversible_capacity()
        self._soc_zero: float | None = None
        self._traces: list[Trace] = []
        self._socs: list[Floats] = []
        self._parts: list[Floats] = []
        self._part = 0.0
        self._rows = 0
        self._intervals: list[Interval] = []
        self._rests: list[float] = []
        self._levels: list[tuple[float, float]] = []

    def _reversible_capacity(self) -> float | None:
        if self._low is None or self._high is None:
            return None
        try:
            material = self._cell.parameters.material
            span = material.stoichiometry_at(self._low) - material.stoichiometry_at(self._high)
        except OutsideDomain:  # a cut-off beyond the open-circuit curve: no state of charge
            return None
        return float(self._cell.capacity * span)

    def play(self) -> None:
        actions = cell_actions(self._program, self._area, self._cell.capacity)
        action = next(actions, None)
        while action is not None and self._rows <= _MOST_ROWS and self._cell.time < self._longest:
            start, first, ended = self._cell.time, action, False
            while action is not None and action.same_step(first):
                # A pulse train leaves its step with the pulse that reached the cut-off.
                if not ended and self._rows <= _MOST_ROWS and self._cell.time < self._longest:
                    ended = self._play(action) and action.timed.cut_off_ends_step
                elif not ended:
                    break
                action = next(actions, None)
            asked = first.record_every_ns
            period = row_period(first.control) if asked is None else asked * 1e-9
            levels = first.timed.level is not None
            self._intervals.append(Interval(first.step, first.path, start, self._cell.time, period, levels))

    def _play(self, action: CellAction) -> bool:
        """Whether a cut-off has ended it."""
        timed, control = action.timed, action.control
        seconds = _NEVER if timed.duration_ns is None else timed.duration_ns * 1e-9
        if timed.rested_ns is not None:
            self._rests.append(self._cell.time + timed.rested_ns * 1e-9)
        if timed.level is not None:
            self._levels.append((self._rests[-1], timed.level))
        if isinstance(control, ConstantCurrent):
            if not self._drive(control, self._until_charge(action, seconds)):
                return False
        elif isinstance(control, PotentialRamp):
            self._cell.set_potential(control.start, control.slope, control.ir_compensation)
            if timed.fallen_current is not None:
                self._fall(timed.fallen_current, seconds)
            else:
                self._spread(seconds, _ROWS if timed.level is None else _SHORT_ROWS)
        else:
            self._cell.set_open_circuit()
            self._spread(seconds, _SHORT_ROWS)
        if action.delithiated_end:
            self._soc_zero = self._cell.charge
        return isinstance(control, ConstantCurrent)

    def _spread(self, seconds: float, rows: int) -> None:
        self._record(seconds / rows, rows, self._settle(seconds / rows))

    def _fall(self, fallen: float, seconds: float) -> None:
        """A hold that a current ends, in rows that grow with its age: its end is then known to a row."""
        self._part = self._cell.time
        began, left = self._cell.time, min(seconds, self._longest - self._cell.time)
        self._record(min(_FALL_SETTLED, left), 1)
        while abs(self._cell.current) >= fallen and (more := left - (passed := self._cell.time - began)) > _INSTANT:
            self._record(min(max(_FALL_ROW * passed, _FALL_SETTLED), more), 1)

    def _until_charge(self, action: CellAction, seconds: float) -> float:
        """How long [s] a current may flow: its time, its charge, or to its state of charge where it leads there."""
        timed, control = action.timed, action.control
        assert isinstance(control, ConstantCurrent)
        if timed.charge is not None:
            seconds = min(seconds, timed.charge / abs(control.current))
        if timed.soc is not None and self._soc_zero is not None and self._reversible is not None:
            passed = self._cell.charge - self._soc_zero + timed.soc * self._reversible
            if passed * control.current < 0.0:
                seconds = min(seconds, abs(passed / control.current))
        return seconds

    def _drive(self, control: ConstantCurrent, duration: float) -> bool:
        """Whether the cut-off was reached, or had been passed before."""
        current, cut_off = control.current, control.cut_off
        bounds = (
            -np.inf if control.lowest is None else control.lowest,
            np.inf if control.highest is None else control.highest,
        )
        already = cut_off is not None and (self._cell.potential - cut_off) * current >= 0.0
        self._cell.set_current(current, cut_offs=bounds)
        self._part = self._cell.time
        dt = min(_CURRENT_ROW * self._cell.capacity / abs(current), duration / _SHORT_ROWS)
        until = self._cell.time + duration
        end = min(until * (1.0 - 1e-12), self._longest)
        # The step over the bath's resistance may carry the potential across at once: the cell then ends by itself.
        while not self._cell.reached_cut_off and not already and self._cell.time < end:
            age, left = self._cell.time - self._part, until - self._cell.time
            if age < dt:
                self._record(min(max(age, _FIRST_ROW), dt, left), 1)
            elif left > _CHUNK * dt:
                self._record(dt, _CHUNK)
            else:
                rows = max(1, round(left / dt))
                self._record(left / rows, rows)
        return already or self._cell.reached_cut_off

    def _settle(self, dt: float) -> int:
        """Rows that double in length, from the first moment of a control on, in the place of the first ones of `dt`.

        The potential bends most just after a change of control, and the pipette's bias lags where it bends. Returns how
        many rows of `dt` they stand for.
        """
        self._part = self._cell.time
        while (left := dt - (age := self._cell.time - self._part)) > max(1e-9 * dt, _INSTANT):
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
        self._parts.append(np.full(trace.time.size, self._part))

    def result(self, reason: str) -> CellForecast:
        joined: dict[str, Any] = {
            field.name: np.concatenate([getattr(trace, field.name) for trace in self._traces])
            if self._traces
            else np.zeros((0, self._heights.size) if field.name in ("ohmic_drop", "concentration") else 0)
            for field in fields(Trace)
            if field.name != "heights"
        }
        if not reason and self._rows > _MOST_ROWS:
            reason = f"only the first {self._cell.time:.0f} s of the cell program were played through"
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
            part=np.concatenate(self._parts) if self._parts else np.zeros(0),
        )
