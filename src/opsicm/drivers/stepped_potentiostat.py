"""A potentiostat made of an instrument that only holds a voltage or a current: the program runs in a thread here.

The thread begins each control at its nanosecond, takes a ramp in steps, reads the cell at least 20 times a second,
counts the charge, and ends a current at its cut-off. The instrument's own limits stand behind it: they hold when this
program does not.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from opsicm.core.errors import InstrumentLost, LimitCrossed, OpsicmError, OutsideDomain, Problem
from opsicm.core.facts import Quality
from opsicm.experiment.controls import (
    CellControl,
    ConstantCurrent,
    OpenCircuit,
    PotentialRamp,
    control_text,
    nominal_controls,
)
from opsicm.experiment.program import written_steps
from opsicm.experiment.setup import Envelope
from opsicm.instruments.clock import Clock, stopwatch
from opsicm.instruments.link import defect
from opsicm.instruments.registry import RoleSetup
from opsicm.instruments.roles import CellReading, Identity, RoleState

LONGEST_TICK: Final = 0.05  # [s] between two readings: a cut-off is judged at least 20 times a second
LARGEST_STEP: Final = 1e-3  # [V] of a ramp, as long as the instrument is read fast enough for it
_ASTRAY: Final = 0.05  # [V] off the potential that is asked for, and for so long [s]: no step and no lag is that large
_ASTRAY_FOR: Final = 0.5
_SILENT: Final = 1.0  # [s] without a reading: twice what a line may take to be noticed as lost
_WORDS: Final[Mapping[type[CellControl], str]] = {
    PotentialRamp: "potential",
    ConstantCurrent: "current",
    OpenCircuit: "open_circuit",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What the instrument shows: `potential` [V] of the specimen against its reference, `current` [A], < 0 lithiates.

    `limited`: it holds its own limit and not what it was asked for.
    """

    potential: float
    current: float
    limited: bool = False


class Source(Protocol):
    """An instrument that holds one potential or one current. One thread at a time calls it.

    Every method raises `InstrumentLost` where nobody answers.
    """

    @property
    def potential_step(self) -> float:
        """The smallest step [V] that it can make."""
        ...

    def hold_potential(self, volts: float) -> None:
        """Hold the specimen at `volts` [V] against its reference."""
        ...

    def hold_current(self, amperes: float) -> None:
        """Hold a current [A]; negative lithiates. Not called where the current range is 0."""
        ...

    def open(self) -> None:
        """No current, the potential still measured."""
        ...

    def disconnect(self) -> bool:
        """The cell off by the surest means that it has; whether the potential can still be measured."""
        ...

    def measure(self) -> Measured:
        """Potential and current now."""
        ...

    def identity(self) -> Identity:
        """Who answers."""
        ...

    def settings(self) -> Mapping[str, float | str]:
        """What it is set to, read back."""
        ...

    @property
    def lost(self) -> str:
        """Why its line is lost; empty while it is open."""
        ...

    def revive(self) -> bool:
        """Whether the line is open; one that is lost is tried once more."""
        ...

    def close(self) -> None:
        """Close the line."""
        ...


class SteppedPotentiostat:
    """Drives `source` through controls. `tick` [s] is the time between two readings, `current_range` [A] the largest
    current that it may be asked for, 0 where it holds none; the cell's `envelope` is kept here as well as in the run.

    A line that was lost and comes back finds the cell opened: nobody knows any more what belongs to this moment of the
    program, and a run that pauses has an open cell too.
    """

    def __init__(self, source: Source, clock: Clock, envelope: Envelope, tick: float, current_range: float) -> None:
        self._source, self._clock, self._envelope = source, clock, envelope
        self._tick, self._current_range = min(tick, LONGEST_TICK), current_range
        self._turn = threading.RLock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._control: CellControl = OpenCircuit()
        self._began_ns = 0
        self._held: float | None = None  # [V] asked of the source
        self._waiting: tuple[CellControl, int] | None = None
        self._cut_off = self._connected = False
        self._failure: OpsicmError | None = None
        self._limited, self._longest = False, 0.0
        self._astray_since: Callable[[], float] | None = None
        self._charge, self._current, self._counted_ns = 0.0, 0.0, 0
        self._reading = CellReading(0, math.nan, 0.0, 0.0, None, "open_circuit")
        self._since_reading = stopwatch()
        self._begin(OpenCircuit(), clock.now_ns())
        self._measure()
        self._thread = threading.Thread(target=self._run, name="stepped-potentiostat", daemon=True)
        self._thread.start()

    # -- the role ---------------------------------------------------------------------------------------------------

    def apply(self, control: CellControl, at_ns: int) -> None:
        """Apply `control` at `at_ns`; raises `OutsideDomain` for one that instrument or envelope do not allow."""
        self._refuse(control)
        with self._turn:
            self._raise_failure()
            self._begin_due()
            self._waiting = (control, at_ns)
        self._wake.set()

    def read(self) -> CellReading:
        """The last reading, at most a tick old; raises what the thread has met."""
        self._raise_failure()
        if self._connected and self._since_reading() > _SILENT:
            limit = f"no reading for more than {_SILENT:g} s"
            raise InstrumentLost("potentiostat", Problem("potentiostat", "silent", limit, "check its cable and power"))
        return self._reading

    def identity(self) -> Identity:
        """Who answers."""
        return self._source.identity()

    def state(self) -> RoleState:
        """Quality and settings, read back; looks anew at a line that was lost, and opens the cell if it is back."""
        now_ns = self._clock.now_ns()
        if self._source.lost and not self._source.revive():
            return RoleState(now_ns, Quality.MISSING, self._source.lost)
        with self._turn:
            try:
                came_back = isinstance(self._failure, InstrumentLost)
                if came_back:
                    self._open_after_loss()
                settings = {
                    **self._source.settings(),
                    "step_mV": 1e3 * self._step(),
                    "longest_reading_s": self._longest,
                }
            except InstrumentLost as error:
                return RoleState(now_ns, Quality.MISSING, str(error))
        if came_back:
            return RoleState(
                now_ns, Quality.SUSPECT, "it was lost: the cell is open now, the charge has a gap", settings
            )
        if self._failure is not None:
            return RoleState(now_ns, Quality.SUSPECT, str(self._failure), settings)
        if not self._connected:
            since = f"{self._reading.potential:.4f} V at {self._reading.t_ns * 1e-9:.1f} s was the last"
            return RoleState(
                now_ns, Quality.STALE, f"switched off by its relay, potential not measured; {since}", settings
            )
        if self._limited:
            return RoleState(now_ns, Quality.SATURATED, "it holds its own limit, not the program", settings)
        return RoleState(now_ns, settings=settings)

    def safe(self) -> None:
        """Open circuit by the instrument's surest means, whatever waits; a line that is lost is tried once more."""
        with self._turn:
            self._waiting = None
            if self._source.lost:
                self._source.revive()
            still_measured = self._source.disconnect()
            if isinstance(self._failure, InstrumentLost):
                self._failure = None  # the cell is known again: off
            self._count(self._current, self._clock.now_ns())
            self._control, self._held, self._current = OpenCircuit(), None, 0.0
            self._connected = still_measured
            self._reading = replace(
                self._reading, current=0.0, charge=self._charge, set_point=None, control="open_circuit"
            )

    def close(self) -> None:
        """End the thread, leave the cell open, close the line."""
        self._closing.set()
        self._wake.set()
        self._thread.join(5.0)
        with suppress(InstrumentLost):  # the watchdog's own channel is for that
            self.safe()
        self._source.close()

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._turn:
                    wait = self._take_turn()
            except OpsicmError as error:
                self._failure, self._waiting, wait = error, None, LONGEST_TICK
                if not isinstance(error, InstrumentLost):
                    with self._turn, suppress(InstrumentLost):
                        self._open_for_good()
            except Exception as error:  # noqa: BLE001 - a thread that ended in silence would leave an old reading
                self._failure, self._waiting, wait = defect("potentiostat", error), None, LONGEST_TICK
                with self._turn, suppress(Exception):  # the same defect may keep it from that, too
                    self._open_for_good()
            self._wake.wait(wait)
            self._wake.clear()

    def _take_turn(self) -> float:
        """Do what is due; the time [s] until the next turn."""
        turn = stopwatch()
        if self._failure is not None:
            return LONGEST_TICK
        self._begin_due()
        if (left := self._until_next()) < self._longest:
            # A reading would make the next control late. In quarters, for the clock may run faster than the wall's.
            return max(0.25 * left, 2e-4)
        if not self._connected:
            return min(left, LONGEST_TICK)
        self._step_ramp()
        self._measure()
        return max(min(self._until_next(), self._period() - turn()), 0.0)

    def _period(self) -> float:
        """[s] of a turn: so short that a ramp's step is small, if the instrument is read so fast."""
        slope = abs(self._control.slope) if isinstance(self._control, PotentialRamp) else 0.0
        return min(self._tick, max(LARGEST_STEP / slope, self._longest)) if slope else self._tick

    def _until_next(self) -> float:
        """[s] until the control that waits begins."""
        return math.inf if self._waiting is None else max(self._waiting[1] - self._clock.now_ns(), 0) * 1e-9

    def _begin_due(self) -> None:
        if self._waiting is not None and self._waiting[1] <= self._clock.now_ns():
            (control, at_ns), self._waiting = self._waiting, None
            self._begin(control, at_ns)

    def _begin(self, control: CellControl, at_ns: int) -> None:
        self._control, self._began_ns, self._held, self._cut_off = control, at_ns, None, False
        match control:
            case PotentialRamp():
                self._step_ramp()
            case ConstantCurrent(current=current):
                self._source.hold_current(current)
            case OpenCircuit():
                self._source.open()
        # What has flowed up to now is the previous control's; the next reading shows what flows since.
        now_ns = self._clock.now_ns()
        self._count(self._current, now_ns)
        self._current = control.current if isinstance(control, ConstantCurrent) else math.nan
        self._connected = True

    def _step_ramp(self) -> None:
        """Ask for the ramp's potential half a tick from now, so that the staircase lies about the ramp."""
        control = self._control
        if not isinstance(control, PotentialRamp):
            return
        middle = self._clock.now_ns() + round(0.5e9 * self._period()) if control.slope else self._began_ns
        volts = control.start + control.slope * (middle - self._began_ns) * 1e-9
        low, high = self._envelope.cell_V
        volts = min(max(volts, low), high)  # by half a step a ramp that ends at the envelope would pass it
        if self._held is None or abs(volts - self._held) >= self._source.potential_step:
            self._source.hold_potential(volts)
            self._held = volts

    def _measure(self) -> None:
        t_ns, measured = self._measured_and_counted()
        if self._opened(measured):
            self._current = 0.0
            t_ns, measured = self._measured_and_counted()
        self._reading = CellReading(
            t_ns,
            measured.potential,
            measured.current,
            self._charge,
            self._set_point(t_ns),
            _WORDS[type(self._control)],
            self._cut_off,
        )
        self._since_reading = stopwatch()

    def _measured_and_counted(self) -> tuple[int, Measured]:
        before_ns = self._clock.now_ns()
        measured = self._source.measure()
        after_ns = self._clock.now_ns()
        self._longest = min(max((after_ns - before_ns) * 1e-9, 0.9 * self._longest), LONGEST_TICK)
        t_ns = (before_ns + after_ns) // 2
        self._count(measured.current if math.isnan(self._current) else 0.5 * (self._current + measured.current), t_ns)
        self._current, self._limited = measured.current, measured.limited
        return t_ns, measured

    def _opened(self, measured: Measured) -> bool:
        """Whether the current's cut-off has opened the cell; raises `LimitCrossed` where the cell left the envelope."""
        control = self._control
        if isinstance(control, ConstantCurrent) and control.cut_off is not None and control.current:
            beyond = measured.potential - control.cut_off
            if beyond * control.current >= 0.0:
                self._source.open()
                self._control, self._cut_off, self._held = OpenCircuit(), True, None
                return True
        low, high = self._envelope.cell_V
        reach = self._envelope.cell_current
        # A ramp is allowed the noise of its reading at the envelope's edge; the run's own limits say what is too much.
        slack = max(LARGEST_STEP, 2.0 * self._source.potential_step) if isinstance(control, PotentialRamp) else 0.0
        inside = low - slack <= measured.potential <= high + slack
        # A current that the instrument's own limit holds scatters about it.
        inside = inside and (measured.limited or abs(measured.current) <= reach)
        if not isinstance(control, OpenCircuit) and not inside:
            value = f"{measured.potential:.4f} V and {measured.current * 1e3:.4g} mA under a {control_text(control)}"
            limit = f"the envelope is {low:g} … {high:g} V, {self._envelope.cell_mA:g} mA: the cell was opened"
            raise LimitCrossed(Problem("cell", value, limit, "widen the envelope only if the specimen allows it"))
        self._refuse_to_stray(measured)
        return False

    def _refuse_to_stray(self, measured: Measured) -> None:
        """Open a cell that does not stand where it is held, and is not held back by the instrument's own limit."""
        if self._held is None or measured.limited or abs(measured.potential - self._held) <= _ASTRAY:
            self._astray_since = None
            return
        self._astray_since = self._astray_since or stopwatch()
        if self._astray_since() > _ASTRAY_FOR:
            value, limit = f"{measured.potential:.4f} V", f"{self._held:.4f} V is held there: the cell was opened"
            remedy = "see whether the reference is connected, and specimen and counter the right way round"
            raise LimitCrossed(Problem("cell potential", value, limit, remedy))

    def _open_for_good(self) -> None:
        self._source.open()
        self._control, self._held, self._astray_since = OpenCircuit(), None, None

    def _count(self, current: float, t_ns: int) -> None:
        if t_ns > self._counted_ns and not math.isnan(current):
            self._charge += current * (t_ns - self._counted_ns) * 1e-9
        self._counted_ns = max(t_ns, self._counted_ns)

    def _set_point(self, t_ns: int) -> float | None:
        control = self._control
        if not isinstance(control, PotentialRamp):
            return None
        return control.start + control.slope * max(t_ns - self._began_ns, 0) * 1e-9

    def _step(self) -> float:
        """[V] of the present ramp's steps; 0 where nothing ramps."""
        slope = abs(self._control.slope) if isinstance(self._control, PotentialRamp) else 0.0
        return max(slope * max(self._period(), self._longest), self._source.potential_step) if slope else 0.0

    # -- refusals ---------------------------------------------------------------------------------------------------

    def _open_after_loss(self) -> None:
        self._source.open()
        self._control, self._held, self._waiting = OpenCircuit(), None, None
        self._counted_ns, self._current, self._connected = self._clock.now_ns(), math.nan, True
        self._failure = None
        self._measure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _refuse(self, control: CellControl) -> None:
        (low, high), reach = self._envelope.cell_V, min(self._current_range, self._envelope.cell_current)
        remedy = "change the step, or the envelope if the specimen allows it"
        match control:
            case PotentialRamp(ir_compensation=fraction) if fraction:
                limit = "the instrument compensates nothing"
                raise OutsideDomain(Problem("cell control", "iR compensation", limit, "delete ir_compensation_pct"))
            case PotentialRamp(start=start) if not low <= start <= high:
                limit = f"envelope.cell_V is {low:g} … {high:g} V"
                raise OutsideDomain(Problem("cell control", control_text(control), limit, remedy))
            case ConstantCurrent() if not self._current_range:
                limit = "the instrument holds no current"
                raise OutsideDomain(Problem("cell control", control_text(control), limit, "write hold or sweep"))
            case ConstantCurrent(current=current) if abs(current) > reach:
                limit = f"instrument and envelope.cell_mA allow {reach * 1e3:g} mA"
                raise OutsideDomain(Problem("cell control", control_text(control), limit, remedy))


def program_problems(
    setup: RoleSetup, instrument: str, drives_current: bool, current_range: float
) -> Iterator[Problem]:
    """What the experiment asks of the cell and `instrument` cannot do; `current_range` [A] is the largest it measures.

    Nobody compensates iR here: a voltage source that is corrected by its own reading a tick later oscillates before it
    helps. A driver raises these from `specify`, so that `check` says them before anything is connected.
    """
    for placed in written_steps("cell", setup.rig.experiment.cell):
        controls = [timed.control for timed in nominal_controls(placed.step).round]
        if any(isinstance(control, PotentialRamp) and control.ir_compensation for control in controls):
            remedy = "delete ir_compensation_pct there; the drop i R_u can be taken off afterwards"
            yield Problem(f"{placed.path} ir_compensation_pct", "", f"{instrument} has no iR compensation", remedy)
        if not drives_current and any(isinstance(control, ConstantCurrent) for control in controls):
            remedy = "write hold or sweep there, or take a potentiostat with a galvanostat"
            yield Problem(f"{placed.path}", placed.step.word, f"{instrument} cannot hold a current", remedy)
    envelope = setup.rig.experiment.envelope
    if envelope.cell_current > current_range:
        limit = f"{instrument} measures up to {current_range * 1e3:g} mA here; beyond that it holds no potential"
        remedy = f"write envelope: {{cell_mA: {current_range * 1e3:g}}}, or choose a larger range in the rig file"
        yield Problem("envelope.cell_mA", f"{envelope.cell_mA:g}", limit, remedy)
