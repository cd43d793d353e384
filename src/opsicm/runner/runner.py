"""The one loop that runs a cell program and a probe program on one clock.

Every turn it reads the cell, advances the cell's track, executes commands, advances the probe's track for at most a
second and records a slow row. Controls are handed to the potentiostat ahead of time with the nanosecond at which they
begin, so the probe never delays the cell. Every run ends in one way: probe up, cell at open circuit, end recorded.
"""

from __future__ import annotations

import itertools
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OpsicmError, Problem
from opsicm.core.facts import Kind
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, cell_actions, control_data, row_period
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.model import Experiment
from opsicm.experiment.patterns import Floats
from opsicm.experiment.probe_steps import landmarks
from opsicm.instruments.bias_ramp import LONGEST_SETTLING, SETTLING_INTERVAL
from opsicm.instruments.clock import WallClock, pause
from opsicm.instruments.roles import ENGAGEMENT, CellReading, Rig
from opsicm.instruments.wiring_check import Finding, refuse_failed
from opsicm.record.recorder import Recorder
from opsicm.runner.bias import BiasTracker
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.commands import Inbox
from opsicm.runner.events import CellEvents
from opsicm.runner.fact_log import FactLog
from opsicm.runner.limits import Limits
from opsicm.runner.lost_instruments import LostInstruments
from opsicm.runner.probe_context import ProbeContext, finite
from opsicm.runner.probe_track import ProbeTrack, Procedure
from opsicm.runner.procedures import Procedures
from opsicm.runner.resume import BEGINNING, Continuation
from opsicm.runner.steering import Revision, Steering
from opsicm.runner.survey import ImageRegistration
from opsicm.runner.watchdog import Unwatched, Watch

_TURN_NS: Final = 1_000_000_000
# Beside an instrument: that it is gone is noticed when it is next asked. Shorter still, and asking each of them how it
# is, 20 ms over the wires of a bench, would take more than a tenth of the time from the hops.
_SHORT_TURN_NS: Final = 250_000_000
# After a change of control the bias needs the new potential at once, then its slope. A new current first charges the
# double layer, whose slope lasts about 20 ms: the slope is taken between the readings at 22 and 42 ms.
_READINGS_AFTER_CHANGE_NS: Final = (2_000_000, 22_000_000, 42_000_000)
_BEGINS_WITHIN_NS: Final = 200_000_000  # a control without a lead: what a potentiostat needs to accept it
_SETTLING_INTERVAL_NS: Final = round(SETTLING_INTERVAL * 1e9)
_SETTLING_READINGS: Final = round(LONGEST_SETTLING / SETTLING_INTERVAL)
_CUT_OFF_AWAITED: Final = 3.0  # [s] before a cut-off: three turns, for a potential that falls ever faster
_AHEAD_NS: Final = 1_000_000  # by which a reading's stamp may be later than the run's clock


@dataclass(frozen=True, slots=True)
class Progress:
    """The run's time [ns], its total time [ns] (None when only a cut-off ends it), hops so far, and present steps.

    Of the cell `potential` [V], `cell_current` [A] and state of charge `soc`; of the tip its current far from the
    surface [A] and the share of the first one; None where there is none yet.
    """

    t_ns: int
    total_ns: int | None
    hops: int
    where: str = ""
    potential: float | None = None
    cell_current: float | None = None
    soc: float | None = None
    pipette_current: float | None = None
    pipette_share: float | None = None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended: completed, interrupted or fault, with the error that stopped it, and whether every instrument
    has confirmed that it is safe."""

    outcome: str
    error: OpsicmError | None = None
    safe: bool = True


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run needs besides its experiment.

    `capacity` [C] of the specimen turns C-rates into currents, `reversible` [C] between the program's cut-offs turns
    charge into SOC; None where the program has fewer than two cut-offs. `amplitude_maps` [m] go by the path of their
    step, `register` finds the shift between two images, `revision` checks a command that changes hop parameters.
    """

    capacity: float | None
    reversible: float | None
    register: ImageRegistration
    revision: Revision
    amplitude_maps: Mapping[str, Floats] = field(default_factory=dict)
    start: Continuation = BEGINNING
    swelling: Callable[[float], float] = lambda _: 0.0
    """Thickness [m] that the specimen is expected to have gained when a charge [C] has passed."""
    check_wiring: Callable[[], list[Finding]] | None = None
    """What is looked at before anything moves; None on a rig in which nothing can be wired wrongly."""


class StampWatch:
    """Notices a potentiostat whose readings do not become newer: a value that stands still looks like a steady one.

    `message` says so once no newer stamp has come for `longest_ns`, or for twice the time that lay between the last
    ones: what is read from a file that grows every ten seconds is not stale after two. The shorter of the last two
    intervals counts, so that one long gap does not make the next one pass for usual.
    """

    def __init__(self, longest_ns: int) -> None:
        self._longest_ns = longest_ns
        self._stamp_ns: int | None = None
        self._since_ns = 0
        self._intervals_ns: deque[int] = deque(maxlen=2)
        self.message = ""

    def take(self, now: int, stamp_ns: int) -> None:
        """Take note of the stamp of a reading that was asked for at `now`."""
        if self._stamp_ns is None or stamp_ns != self._stamp_ns:
            if self._stamp_ns is not None:
                self._intervals_ns.append(now - self._since_ns)
            self._stamp_ns, self._since_ns, self.message = stamp_ns, now, ""
        elif now - self._since_ns > max(self._longest_ns, 2 * min(self._intervals_ns, default=0)):
            self.message = f"no newer reading for {(now - self._since_ns) * 1e-9:.1f} s"


class Runner:
    """Executes one experiment on one rig. `watch` gets a heartbeat every turn, `say` what to read at once."""

    def __init__(
        self,
        experiment: Experiment,
        rig: Rig,
        recorder: Recorder,
        inbox: Inbox,
        run_context: RunContext,
        progress: Callable[[Progress], None] = lambda _: None,
        watch: Watch | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._experiment = experiment
        longest = experiment.longest_duration
        self._total = None if longest is None else round(longest * 1e9)
        self._rig = rig
        self._progress = progress
        self._watch = Unwatched() if watch is None else watch
        self._say = say
        self._start = run_context.start
        self._wiring = run_context.check_wiring
        self._facts = FactLog(recorder, rig.clock)
        limit = experiment.envelope.bias_residual
        self._bias = BiasTracker(rig.amplifier, rig.clock, experiment.pipette.bias, rig.grounding, limit)
        self._limits = Limits(experiment.envelope, rig.scanner.z_range)
        self._cell = self._cell_track(run_context)
        approach = experiment.envelope.approach
        self._context = ProbeContext(
            rig,
            recorder,
            self._facts,
            self._bias,
            self._limits,
            self._cell,
            approach,
            inbox.waiting,
            run_context.swelling,
        )
        procedures = Procedures(
            self._context, landmarks(experiment.probe), run_context.register, run_context.amplitude_maps
        )
        begun = (run_context.start.done, run_context.start.probe_ns)
        procedure_for = procedures.procedure_for
        self._probe = ProbeTrack(experiment.probe, procedure_for, self._fact_of_probe, run_context.start.probe, begun)
        self._events = CellEvents(experiment.probe)
        stands_still = isinstance(self._watch, Unwatched) and not (rig.real_time or isinstance(rig.clock, WallClock))
        self._turn_ns = _TURN_NS if stands_still else _SHORT_TURN_NS
        self._lost = LostInstruments(
            rig, self._watch, self._facts, self._cell, self._probe, self._context, self._bias, say
        )
        self._steering = Steering(
            inbox, self._cell, self._probe, self._context, self._facts, run_context.revision, stands_still, self._lost
        )
        self._row_ns = 0  # when the last slow row was recorded
        self._last_reading: tuple[int, CellReading] | None = None  # (when it was asked for, the reading)
        self._seen: CellReading | None = None  # the latest reading of the cell
        self._stamps = StampWatch(2 * self._turn_ns)
        self._clock_ahead_reported = False

    def run(self) -> RunOutcome:
        """Run to the end, to a stop or to a fault; the rig is safe and the record complete when this returns."""
        ending = RunOutcome("fault")
        data: dict[str, object] = {"title": self._experiment.title, **self._start.assumptions}
        with suppress(OpsicmError):  # a stage that is lost is so in the first turn too
            told = self._rig.coarse_stage.state().settings
            if frame := {key: told[key] for key in ENGAGEMENT if key in told}:
                data["coarse_stage"] = frame  # whoever runs next needs it
        self._facts.write("run_started", "run", "run", data)
        try:
            ending = self._loop()
        except OpsicmError as error:
            ending = self._fault(error)
        except Exception as error:  # noqa: BLE001 - a defect of ours is a fault like another: rig safe, file kept
            ending = self._fault(_unexpected(error))
        finally:
            ending = self._end(ending)
        return ending

    def _fault(self, error: OpsicmError) -> RunOutcome:
        self._facts.write("alarm", "run", self._probe.path, {"message": str(error)})
        return RunOutcome("fault", error)

    def _end(self, ending: RunOutcome) -> RunOutcome:
        """Probe up, cell open, end recorded; the end is recorded even where an instrument does not obey."""
        try:
            self._rig.safe()
            self._facts.write("applied", "cell", "end", {"control": control_data(OpenCircuit())})
        except Exception as error:  # noqa: BLE001 - whatever an instrument does, the others are made safe
            message = error if isinstance(error, OpsicmError) else _unexpected(error)
            ending = self._made_safe_from_outside(RunOutcome("fault", ending.error or message), message)
        finally:
            self._steering.close()
            self._lost.close()
            data = {"outcome": ending.outcome, "hops": self._context.hops}
            self._facts.write("run_ended", "run", "run", data)
        return ending

    def _made_safe_from_outside(self, ending: RunOutcome, error: OpsicmError) -> RunOutcome:
        """An instrument has not obeyed this process: the watchdog has connections of its own, and makes it safe."""
        self._facts.write("alarm", "run", self._probe.path, {"message": f"not known to be safe: {error}"})
        made_safe = self._watch.make_safe()
        if not made_safe:
            return _not_safe(ending, "no instrument has confirmed that it is safe")
        data = {"message": f"the watchdog was asked to make the rig safe: {_confirmed(made_safe)}", "safe": made_safe}
        self._facts.write("alarm", "run", self._probe.path, data)
        if not all(made_safe.values()):
            return _not_safe(ending, _confirmed(made_safe))
        self._facts.write("applied", "cell", "end", {"control": control_data(OpenCircuit())})
        return ending

    def _beat(self) -> None:
        for event in self._watch.beat():
            self._facts.write("alarm", "run", self._probe.path, {"message": event})
            self._say(event)

    def _loop(self) -> RunOutcome:
        try:
            self._check_wiring()
            self._first_row()
        except InstrumentLost as lost:  # nothing has moved yet: what is not there is a matter of the input
            raise BadInput(lost.problems) from lost
        while True:
            self._beat()
            try:
                ending = self._turn_without() if self._lost.absent else self._turn()
            except InstrumentLost as lost:
                self._last_reading = None
                self._lost.lose(lost, self._seen)
                ending = None
            if ending is not None:
                return ending

    def _check_wiring(self) -> None:
        """Step the bias and judge what the pipette makes of it, before anything moves; every finding is recorded."""
        if self._wiring is not None:
            refuse_failed(self._wiring(), self._note_finding)

    def _note_finding(self, finding: Finding) -> None:
        data = {"message": f"wiring, {finding.name}: {finding.sentence}", "ok": finding.ok, "proves": finding.proves}
        self._facts.write("quality", "run", "run", data)

    def _first_row(self) -> None:
        """The first row, before the first control: later currents are compared with it."""
        self._lost.check_states()
        reading = self._cell_reading()
        self._bias.update(reading)
        self._context.follow_swelling(reading.charge)
        self._context.record_reading(reading)

    def _turn(self) -> RunOutcome | None:
        """One turn of the loop; how the run ends, where it does."""
        now = self._rig.clock.now_ns()
        reading = self._checked_reading()
        self._lost.check_states(self._stamps.message)
        self._context.not_live = self._lost.not_live
        changed = self._cell.turn(now, reading)
        if self._cell.over:
            return self._completed()
        for path, step, why in self._events.occurred(now, reading, self._cell):
            self._probe.trigger(path, step, why)
        if changed:
            self._last_reading = None
            self._settle_bias()
        self._refuse_if_too_long(now)
        self._steering.turn()
        if self._steering.stopped:
            return RunOutcome("interrupted")
        self._probe_turn()
        self._record_row()
        self._progress(self._progress_now(reading))
        return None

    def _turn_without(self) -> RunOutcome | None:
        """A turn while an instrument is lost and both tracks are paused: read what answers, ask the lost one."""
        # Waits before anything else: whatever then fails, time has passed.
        try:
            now = self._rig.clock.now_ns()
            self._refuse_if_too_long(now)
            self._rig.clock.wait_until(now + self._turn_ns)
        except InstrumentLost:  # the clock is that of the lost instrument
            pause(self._turn_ns * 1e-9)
        self._lost.look()
        self._context.without_task = True
        self._last_reading = None
        reading = None if "potentiostat" in self._lost.absent else self._checked_reading()
        self._lost.check_states(self._stamps.message)
        self._context.not_live = self._lost.not_live
        if self._cell.over:
            return self._completed()
        self._steering.turn()
        if self._steering.stopped:
            return RunOutcome("interrupted")
        if reading is not None:
            if "amplifier" not in self._lost.absent:
                self._bias.update(reading)
            self._row_ns = self._rig.clock.now_ns()
            self._context.record_reading(reading)
        self._progress(self._progress_now(reading))
        return None

    def _checked_reading(self) -> CellReading:
        """The cell now, within the envelope."""
        reading = self._cell_reading()
        self._limits.check_cell(reading)
        self._context.follow_swelling(reading.charge)
        return reading

    def _completed(self) -> RunOutcome:
        for path in self._events.missed():
            self._facts.write("note", "probe", path, {"message": "what this step waits for never came"})
        return RunOutcome("completed")

    def _cell_reading(self) -> CellReading:
        """The potentiostat's reading, taken once at each instant of the clock."""
        now = self._rig.clock.now_ns()
        if self._last_reading is None or self._last_reading[0] != now:
            reading = self._read_cell()
            self._last_reading = (now, reading)
            self._check_stamp(now, reading.t_ns)
            self._stamps.take(now, reading.t_ns)
        return self._last_reading[1]

    def _read_cell(self) -> CellReading:
        """What the potentiostat answers; raises `InstrumentLost` where that is no number."""
        reading = self._rig.potentiostat.read()
        for what in ("potential", "current", "charge"):
            finite("potentiostat", what, getattr(reading, what))
        self._seen = reading
        return reading

    def _check_stamp(self, now: int, stamp: int) -> None:
        if stamp - now > _AHEAD_NS and not self._clock_ahead_reported:
            self._clock_ahead_reported = True
            message = "the potentiostat stamps its answers ahead of the run's clock: its clock runs fast"
            self._facts.write("quality", "cell", self._cell.path, {"message": message, "ahead_s": (stamp - now) * 1e-9})

    # -- cell -------------------------------------------------------------------------------------------------------

    def _cell_track(self, run_context: RunContext) -> CellTrack:
        actions = cell_actions(self._experiment.cell, self._experiment.specimen.area, run_context.capacity)
        start = run_context.start
        actions = itertools.islice(actions, start.action, None)
        first = next(actions, None)
        if first is not None:
            actions = itertools.chain([first.remainder(start.spent_ns, start.passed)], actions)
        return CellTrack(
            actions, self._rig.potentiostat, self._facts, run_context.reversible, start.action, start.spent_ns
        )

    def _settle_bias(self) -> None:
        """Wait at the top until the new potential and its slope are known: no approach starts with a wrong bias."""
        self._bias.control_changed(self._cell.control, self._cell.began_ns)
        procedure = self._due_procedure()
        late_ns = _BEGINS_WITHIN_NS if self._cell.handed_over_late else 0
        for after_ns in _READINGS_AFTER_CHANGE_NS:
            self._update_bias(procedure, self._cell.began_ns + late_ns + after_ns)
        # The potential after a current step is curved for a while, which a ramp cannot follow; and a late potentiostat
        # does not report the new control at once.
        for _ in range(_SETTLING_READINGS):
            if not self._bias.is_unsettled() and not self._bias.awaits_settled_reading():
                break
            self._update_bias(procedure, self._rig.clock.now_ns() + _SETTLING_INTERVAL_NS)

    def _update_bias(self, procedure: Procedure | None, at_ns: int) -> None:
        if procedure is None:
            self._rig.clock.wait_until(at_ns)
        else:
            procedure.wait(at_ns)
        self._bias.update(self._read_cell())
        self._context.read_current()

    # -- probe ------------------------------------------------------------------------------------------------------

    def _due_procedure(self) -> Procedure | None:
        return self._probe.due(self._rig.clock.now_ns(), self._cell.step)

    def _probe_turn(self) -> None:
        procedure = self._due_procedure()
        self._bias.update(self._cell_reading())
        now = self._rig.clock.now_ns()
        probe_ends = self._probe.ends_ns() if procedure is not None else None
        ends = (self._cell.changes_ns, self._events.due_ns(now), probe_ends)
        hops = procedure is not None and procedure.hop is not None
        longest_ns = self._turn_ns
        turn_ns = longest_ns if hops and self._requested_row_ns() is None else min(longest_ns, self._row_period_ns())
        due = self._row_ns + turn_ns if self._row_ns + turn_ns > now else now + turn_ns
        known = [end for end in ends if end is not None and end > now]
        self._context.ends_ns = min(known, default=None)
        until = min([due, *known])
        self._keep_clear(procedure)
        if procedure is not None and procedure.hop is not None and self._context.not_live:
            procedure.wait(until)  # at the top: with a current, a height or a bias that is not present it would crash
        elif procedure is not None and procedure.hop is not None and self._cut_off_is_near(procedure.hop):
            procedure.wait(min(until, now + _SETTLING_INTERVAL_NS))
        elif procedure is not None:
            procedure.advance(until)
        else:
            until = min(until, now + self._bias.ramp_duration_ns)
            if not self._context.wait_for_stage(until):
                self._rig.clock.wait_until(until)

    def _cut_off_is_near(self, hop: HopParameters) -> bool:
        """Whether a current may reach its cut-off during the next hops.

        The potential then jumps by the current's own drop, the pipette's bias with it, and a hop in flight would no
        longer see the surface. So the cut-off is awaited at the top.
        """
        control = self._cell.control
        if not isinstance(control, ConstantCurrent) or control.cut_off is None:
            return False
        return self._bias.time_to_cut_off(control.cut_off, control.current) < _CUT_OFF_AWAITED + 2.0 * hop.fall_time

    def _keep_clear(self, procedure: Procedure | None) -> None:
        """No pipette stands where the surface may come to: one without a task waits far up, one with a task is moved.

        A step that hops begins again from its start height; any other goes on from where a pipette waits.
        """
        self._context.without_task = procedure is None
        if procedure is None:
            self._context.withdraw()
        elif self._context.comes_too_near():
            if procedure.hop is not None:
                procedure.start()
            else:
                self._context.withdraw_from_rising_surface(self._probe.path)

    def _requested_row_ns(self) -> int | None:
        return self._cell.action.record_every_ns if self._cell.action is not None else None

    def _row_period_ns(self) -> int:
        """Between two slow rows where nothing hops: as the step requests, else a millivolt of a sweep."""
        requested = self._requested_row_ns()
        return round(row_period(self._cell.control) * 1e9) if requested is None else requested

    # -- record -----------------------------------------------------------------------------------------------------

    def _record_row(self) -> None:
        """Record a slow row after every turn; where the step requests a period, after that."""
        now, requested = self._rig.clock.now_ns(), self._requested_row_ns()
        if requested is not None and now - self._row_ns < requested:
            if isfinite(current := self._context.read_current()):
                self._context.check_current(current)
            return
        self._row_ns = now
        self._context.record_reading(self._cell_reading())

    def _fact_of_probe(self, kind: Kind, path: str, data: Mapping[str, object]) -> None:
        self._facts.write(kind, "probe", path, data)

    def _progress_now(self, reading: CellReading | None) -> Progress:
        """What is shown of the run; a value that is not a present one is shown as none."""
        blind = self._context.not_live
        current = None if "amplifier" in blind else self._context.far_current
        cell = None if "potentiostat" in blind else reading
        return Progress(
            self._rig.clock.now_ns(),
            self._total_ns(),
            self._context.hops,
            self._where(),
            None if cell is None else cell.potential,
            None if cell is None else cell.current,
            None if cell is None else self._cell.soc(cell.charge),
            current,
            None if current is None else self._limits.share_of_first(current),
        )

    def _total_ns(self) -> int | None:
        total = self._total
        return None if total is None else total - self._start.completed_ns + self._cell.paused_ns

    def _where(self) -> str:
        if lost := self._lost.text:
            return f"{self._cell.path} {self._probe.path} (paused: {lost})"
        paused = [name for name, track in (("cell", self._cell), ("probe", self._probe)) if track.paused]
        return f"{self._cell.path} {self._probe.path}" + (f" ({' and '.join(paused)} paused)" if paused else "")

    def _refuse_if_too_long(self, now: int) -> None:
        if now >= round(self._experiment.envelope.duration * 1e9):
            hours = f"{self._experiment.envelope.run_h:g}"
            limit, remedy = f"envelope.run_h is {hours}", "limit the duration of the cell's steps, or allow more"
            raise LimitCrossed(Problem("run", f"{hours} h long", limit, remedy))


def _unexpected(error: Exception) -> LimitCrossed:
    """An error that nobody foresaw, as a problem that says where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    value = f"{type(error).__name__}: {error}"
    limit = f"this is a defect of the program or of an instrument's driver, met in {where}"
    return LimitCrossed(Problem("the run", value, limit, "please report it with the run folder's journal"))


def _confirmed(made_safe: Mapping[str, bool]) -> str:
    return ", ".join(f"{role} {'is safe' if safe else 'has NOT confirmed it'}" for role, safe in made_safe.items())


def _not_safe(ending: RunOutcome, state: str) -> RunOutcome:
    remedy = "look at the rig now: pipette up and cell to open circuit, by hand"
    problem = Problem("rig", "not known to be safe", state, remedy)
    kind = BadInput if isinstance(ending.error, BadInput) else LimitCrossed
    return RunOutcome(ending.outcome, kind([*(ending.error.problems if ending.error else ()), problem]), False)
