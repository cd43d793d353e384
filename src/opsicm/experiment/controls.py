"""What the steps of a cell program ask of a potentiostat: the one place that knows what a cell step means.

A step becomes rounds of timed controls: what is held, for how long, and what else ends it. Runner, forecast, checks,
state of charge and export read these, never the step. A new cell step is its model in `cell_steps`, its case in
`controls_of`, and its words in the docs.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, assert_never, overload

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.cell_steps import (
    CellRepeat,
    CellStep,
    ConstantCurrentStep,
    Gitt,
    Hold,
    Ladder,
    OpenCircuitStep,
    SingleCellStep,
    Sweep,
)
from opsicm.experiment.program import executed_steps, written_steps


@dataclass(frozen=True, slots=True)
class PotentialRamp:
    """E_set(t) = start + slope (t - t_applied) [V], with a fraction of i R_u compensated. slope 0 is a hold."""

    start: float
    slope: float = 0.0
    ir_compensation: float = 0.0


@dataclass(frozen=True, slots=True)
class ConstantCurrent:
    """A current [A], negative lithiates; goes to open circuit by itself at a cut-off potential [V]."""

    current: float
    lowest: float | None = None
    highest: float | None = None

    @property
    def cut_off(self) -> float | None:
        """The potential [V] at which it ends: the lowest of a lithiating current, the highest of a delithiating one."""
        return self.lowest if self.current < 0.0 else self.highest


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """No current."""


CellControl = PotentialRamp | ConstantCurrent | OpenCircuit


@dataclass(frozen=True, slots=True)
class TimedControl:
    """One control and what ends it: `duration_ns`, or None where time does not.

    `charge` [C] (a magnitude), `soc` [0 … 1], the control's own cut-off, and a current whose magnitude falls below
    `end_current` [A] may end it earlier. `end_potential` [V] is the program's potential at its end, None at open
    circuit. `rested_after_ns` after its beginning the specimen has rested (None: it does not rest), `level` [V] is that
    of a ladder; `cut_off_ends_step` says that a cut-off ends the whole step.
    """

    control: CellControl
    duration_ns: int | None
    charge: float | None = None
    soc: float | None = None
    end_current: float | None = None
    end_potential: float | None = None
    rested_after_ns: int | None = None
    level: float | None = None
    cut_off_ends_step: bool = False


@dataclass(frozen=True, slots=True)
class StepControls:
    """The controls of one round of a step, `rounds` times over; None: until a cut-off ends the step."""

    round: tuple[TimedControl, ...]
    rounds: int | None = 1

    @property
    def duration(self) -> float | None:
        """The longest that the step can last [s]; None when only cut-offs bound it."""
        durations = [timed.duration_ns for timed in self.round]
        known = [duration for duration in durations if duration is not None]
        return None if self.rounds is None or len(known) < len(durations) else self.rounds * sum(known) * 1e-9

    @property
    def potentials(self) -> tuple[float, ...]:
        """Potentials [V] between which it ramps, which it holds, or at which a cut-off ends it, in order."""
        ramps = [
            (timed.control.start, timed.end_potential)
            if isinstance(timed.control, PotentialRamp)
            else (timed.end_potential,)
            for timed in self.round
        ]
        return tuple(potential for ends in ramps for potential in ends if potential is not None)

    @property
    def potential_span(self) -> tuple[float, float] | None:
        """(lowest, highest) potential [V] of a step that controls it throughout; None where the specimen decides."""
        if not all(isinstance(timed.control, PotentialRamp) for timed in self.round):
            return None
        return min(self.potentials), max(self.potentials)

    @property
    def time_after_rest(self) -> float | None:
        """The shortest time [s] from the end of a rest to the end of its control; None without a rest."""
        remaining = [
            timed.duration_ns - timed.rested_after_ns
            for timed in self.round
            if timed.rested_after_ns is not None and timed.duration_ns is not None
        ]
        return min(remaining) * 1e-9 if remaining else None

    @property
    def controls_cell(self) -> bool:
        """Whether any of its controls is not open circuit."""
        return any(not isinstance(timed.control, OpenCircuit) for timed in self.round)


def controls_of(step: SingleCellStep, area: float, capacity: float | None) -> StepControls:
    """The controls of one step; `area` [m²] and `capacity` [C] turn densities and C-rates into amperes."""
    match step:
        case Sweep():  # conditioning is one
            compensation = step.ir_compensation
            return StepControls(
                tuple(
                    TimedControl(
                        PotentialRamp(start, (end - start) / duration, compensation), _ns(duration), end_potential=end
                    )
                    for start, end, duration in step.one_cycle()
                ),
                step.cycles,
            )
        case Ladder():
            return StepControls(
                tuple(
                    TimedControl(
                        PotentialRamp(level, 0.0, step.ir_compensation),
                        _ns(step.rest_s + step.hold_s),
                        end_potential=level,
                        rested_after_ns=_ns(step.rest_s),
                        level=level,
                    )
                    for level in step.levels()
                )
            )
        case Hold():
            level = step.potential_V
            fallen = None if step.until is None else step.until.current(area, capacity)
            held = PotentialRamp(level, 0.0, step.ir_compensation)
            return StepControls((TimedControl(held, _ns(step.for_s), end_current=fallen, end_potential=level),))
        case ConstantCurrentStep():
            until = step.until
            control = _current(step.current(area, capacity), until.potential_V)
            duration_ns, cut_off = _ns(until.for_s), until.potential_V
            return StepControls((TimedControl(control, duration_ns, until.charge, until.soc, end_potential=cut_off),))
        case Gitt():
            cut_off = None if step.until is None else step.until.potential_V
            control = _current(step.current(area, capacity), cut_off)
            ends = cut_off is not None
            pulse = TimedControl(control, _ns(step.pulse_s), end_potential=cut_off, cut_off_ends_step=ends)
            return StepControls((pulse, _rest(step.rest_s)), step.pulses)
        case OpenCircuitStep():  # rest is one
            return StepControls((_rest(step.for_s),))
        case _:
            assert_never(step)


def nominal_controls(step: SingleCellStep) -> StepControls:
    """The controls of a step for a specimen of 1 m² and 1 C, where only times and potentials matter."""
    return controls_of(step, 1.0, 1.0)


def _current(current: float, cut_off: float | None) -> ConstantCurrent:
    return ConstantCurrent(current, lowest=cut_off) if current < 0.0 else ConstantCurrent(current, highest=cut_off)


def _rest(seconds: float) -> TimedControl:
    return TimedControl(OpenCircuit(), _ns(seconds), rested_after_ns=0)


@overload
def _ns(seconds: float) -> int: ...
@overload
def _ns(seconds: float | None) -> int | None: ...
def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


SAME_LEVEL: Final = 2e-3  # [V]: an event's potential this near a level of a ladder means that level
_ROW_STEP: Final = 1e-3  # [V] between two slow rows of a ramp
_FINEST_ROW, _COARSEST_ROW = 0.1, 1.0  # [s]


def row_period(control: CellControl) -> float:
    """[s] between two slow rows while nothing hops and the step asks for none: a millivolt of a ramp."""
    slope = abs(control.slope) if isinstance(control, PotentialRamp) else 0.0
    return min(max(_ROW_STEP / slope, _FINEST_ROW), _COARSEST_ROW) if slope > 0.0 else _COARSEST_ROW


# -- A whole program.


@dataclass(frozen=True, slots=True)
class CellAction:
    """One timed control of a program: that of step number `step` with its `path`, executed `visit` times before.

    `delithiated_end` marks an action that ends at the delithiated cut-off, where the state of charge is 0;
    `record_every_ns` is the period of slow rows where the step requests one.
    """

    step: int
    path: str
    timed: TimedControl
    visit: int = 0
    delithiated_end: bool = False
    record_every_ns: int | None = None

    @property
    def control(self) -> CellControl:
        """The control itself."""
        return self.timed.control

    @property
    def duration_ns(self) -> int | None:
        """The longest that it lasts; None where time does not end it."""
        return self.timed.duration_ns

    @property
    def must_last(self) -> bool:
        """Whether its step is wrong where this action, the first of it, ends as soon as it begins.

        In a later round of a repeat a potential beside a time or a charge is a guard, which may be reached at once.
        """
        timed = self.timed
        return self.visit == 0 or (timed.duration_ns is None and timed.charge is None and timed.soc is None)

    def same_step(self, other: CellAction) -> bool:
        """Whether both belong to one execution of one step."""
        return (self.path, self.visit) == (other.path, other.visit)

    def remainder(self, elapsed_ns: int, passed: float) -> CellAction:
        """The rest of it after `elapsed_ns` and `passed` [C]: a ramp continues from the potential reached."""
        timed = self.timed
        control = timed.control
        if isinstance(control, PotentialRamp):
            control = replace(control, start=control.start + control.slope * elapsed_ns * 1e-9)
        rested_after_ns = timed.rested_after_ns
        left = replace(
            timed,
            control=control,
            duration_ns=None if timed.duration_ns is None else max(0, timed.duration_ns - elapsed_ns),
            charge=None if timed.charge is None else max(0.0, timed.charge - abs(passed)),
            rested_after_ns=None
            if rested_after_ns is None or rested_after_ns < elapsed_ns
            else rested_after_ns - elapsed_ns,
        )
        return replace(self, timed=left)


SHORTEST_CURRENT: Final = 0.2  # [s] a cut-off met sooner leaves the specimen as it was; a potentiostat tells it so late
SHORTEST_HOLD: Final = 1.2  # [s] the same of a hold that its current ends: a turn of the runner later
_MOST_ROUNDS: Final = 10_000  # of a pulse train that only its cut-off ends: with the paper's 420 s each, 49 days


def cell_actions(program: Sequence[CellStep], area: float, capacity: float | None) -> Iterator[CellAction]:
    """The controls of a whole cell program in order, repeats unrolled; arguments as `controls_of`."""
    _, highest = cut_offs(program) or (0.0, float("inf"))
    visits: Counter[str] = Counter()
    for placed in executed_steps("cell", program):
        path, step = placed.path, placed.step
        controls = controls_of(step, area, capacity)
        for _ in range(_MOST_ROUNDS if controls.rounds is None else controls.rounds):
            for timed in controls.round:
                lithiates = isinstance(timed.control, ConstantCurrent) and timed.control.current < 0.0
                at_top = timed.end_potential == highest and not lithiates
                yield CellAction(placed.number, path, timed, visits[path], at_top, _ns(step.record_every_s))
        visits[path] += 1


def program_duration(steps: Sequence[CellStep]) -> float | None:
    """The longest that steps can last one after the other [s]; None when one has no bound."""
    durations = [step_duration(step) for step in steps]
    known = [duration for duration in durations if duration is not None]
    return sum(known) if len(known) == len(durations) else None


def step_duration(step: CellStep) -> float | None:
    """The longest that a step can last [s], a repeat in all its rounds; None when only its cut-offs bound it."""
    if isinstance(step, CellRepeat):
        once = program_duration(step.steps)
        return None if once is None else step.times * once
    return nominal_controls(step).duration


def cut_offs(program: Sequence[CellStep]) -> tuple[float, float] | None:
    """(lithiated, delithiated) cut-off [V]: the lowest and the highest potential at which a step turns or ends.

    A state of charge is counted from the delithiated one, over the charge between both; None where a program has fewer
    than two such potentials, and no state of charge.
    """
    potentials = turning_potentials(program)
    return (min(potentials), max(potentials)) if len(potentials) > 1 else None


def turning_potentials(program: Sequence[CellStep]) -> set[float]:
    """Potentials [V] at which the steps of a program turn, stay or end by a cut-off."""
    steps = written_steps("cell", program)
    return {potential for placed in steps for potential in nominal_controls(placed.step).potentials}


# -- A control as data, as facts hold it.

_KINDS: Final[Mapping[str, tuple[type[CellControl], Mapping[str, str]]]] = {
    "ramp": (PotentialRamp, {"start_V": "start", "slope_V_s": "slope", "ir_compensation": "ir_compensation"}),
    "constant_current": (ConstantCurrent, {"current_A": "current", "lowest_V": "lowest", "highest_V": "highest"}),
    "open_circuit": (OpenCircuit, {}),
}
_OLD_FORM: Final = re.compile(r"(PotentialRamp|ConstantCurrent|OpenCircuit)\(([^()]*)\)")


def control_text(control: CellControl) -> str:
    """A control in words, for messages."""
    match control:
        case PotentialRamp():
            if control.slope == 0.0:
                return f"hold at {control.start:g} V"
            return f"ramp from {control.start:g} V at {control.slope * 1e3:g} mV/s"
        case ConstantCurrent():
            end = "" if control.cut_off is None else f" to {control.cut_off:g} V"
            return f"current of {control.current * 1e3:g} mA{end}"
        case OpenCircuit():
            return "open circuit"
        case _:
            assert_never(control)


def control_data(control: CellControl) -> dict[str, Any]:
    """A control as a fact holds it: `{"kind": "ramp", "start_V": 1.7, …}`."""
    for kind, (of, keys) in _KINDS.items():
        if type(control) is of:
            return {"kind": kind, **{key: getattr(control, name) for key, name in keys.items()}}
    raise AssertionError(control)


def control_from_data(data: Any) -> CellControl:
    """The control that a fact holds; also of version 0.1.0, which kept it as the text `PotentialRamp(start=1.7, …)`."""
    try:
        if isinstance(data, str):
            return _from_text(data)
        of, keys = _KINDS[data["kind"]]
        return of(**{name: data[key] for key, name in keys.items()})
    except (KeyError, TypeError, ValueError) as error:
        limit = f"must be one of {', '.join(_KINDS)} with its values"
        raise BadInput(Problem("cell control in the journal", str(data), limit, "the journal is damaged")) from error


def _from_text(text: str) -> CellControl:
    match = _OLD_FORM.fullmatch(text)
    if match is None:
        raise ValueError(text)
    of: type[CellControl] = next(of for of, _ in _KINDS.values() if of.__name__ == match[1])
    given = dict(part.split("=") for part in match[2].split(", ") if part)
    if not given.keys() <= {field.name for field in fields(of)}:
        raise ValueError(text)
    return of(**{name: ast.literal_eval(value) for name, value in given.items()})
