"""The one loop: a cell program and a probe program on one clock.

Every turn: look at the cell, let its track act, carry out commands, let the probe's track act for at most a second,
keep everything. Controls are handed to the potentiostat ahead of time with the nanosecond at which they begin, so that
what the probe does never moves the cell's time line. Every exit goes the same way: probe up, cell open, end recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opsicm.core.errors import LimitCrossed, OpsicmError, Problem
from opsicm.core.facts import Kind
from opsicm.experiment.controls import OpenCircuit, cell_actions, control_data, row_period
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import landmarks
from opsicm.instruments.roles import CellReading, Rig
from opsicm.record.recorder import Recorder
from opsicm.runner.bias import BiasTracker
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.commands import Inbox
from opsicm.runner.events import CellEvents
from opsicm.runner.fact_log import FactLog
from opsicm.runner.limits import Limits
from opsicm.runner.patterns import Floats
from opsicm.runner.probe_context import ProbeContext
from opsicm.runner.probe_track import ProbeTrack, Procedure
from opsicm.runner.procedures import Procedures
from opsicm.runner.resume import BEGINNING, Continuation
from opsicm.runner.steering import Revision, Steering
from opsicm.runner.survey import Registration

_TURN_NS: Final = 1_000_000_000
# After a change of control the bias needs the new potential, and then its slope: readings at 2, 22 and 32 ms. A current
# switched on charges the double layer first; a slope taken at once would be that one's.
_SETTLED_NS: Final = (2_000_000, 22_000_000, 32_000_000)
_BENT_NS: Final = 20_000_000
_BENT_LOOKS: Final = 100  # 2 s: then hop all the same, with the residual recorded
_AHEAD_NS: Final = 1_000_000  # by which an answer may be stamped later than it came


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: [ns] now and [ns] in all (None when only a cut-off knows), hops so far, where it is."""

    t_ns: int
    total_ns: int | None
    hops: int
    where: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: completed, interrupted or fault, with the error that stopped it."""

    outcome: str
    error: OpsicmError | None = None


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run needs to be told besides its experiment.

    `capacity` [C] of the specimen turns C-rates into currents, `reversible` [C] between the program's cut-offs turns
    charge into SOC; None where the program has no two cut-offs. `amplitude_maps` [m] go by the path of their
    step, `register` finds the shift between two images, `revision` judges a command that changes how a step hops.
    """

    capacity: float | None
    reversible: float | None
    register: Registration
    revision: Revision
    amplitude_maps: Mapping[str, Floats] = field(default_factory=dict)
    start: Continuation = BEGINNING


class Runner:
    """Executes one experiment on one rig. `beat` is called every turn: whoever watches the run hears that it lives."""

    def __init__(
        self,
        experiment: Experiment,
        rig: Rig,
        recorder: Recorder,
        inbox: Inbox,
        run_context: RunContext,
        progress: Callable[[Progress], None] = lambda _: None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._experiment = experiment
        longest = experiment.longest_duration
        self._total = None if longest is None else round(longest * 1e9)
        self._rig = rig
        self._progress = progress
        self._beat = beat
        self._start = run_context.start
        self._facts = FactLog(recorder, rig.clock)
        limit = experiment.envelope.bias_residual
        self._bias = BiasTracker(rig.amplifier, rig.clock, experiment.pipette.bias, rig.grounding, limit)
        self._limits = Limits(experiment.envelope, rig.scanner.z_range)
        self._cell = self._cell_track(run_context)
        approach = experiment.envelope.approach
        self._context = ProbeContext(
            rig, recorder, self._facts, self._bias, self._limits, self._cell, approach, inbox.waiting
        )
        procedures = Procedures(
            self._context, landmarks(experiment.probe), run_context.register, run_context.amplitude_maps
        )
        begun = (run_context.start.done, run_context.start.probe_ns)
        procedure_for = procedures.procedure_for
        self._probe = ProbeTrack(experiment.probe, procedure_for, self._fact_of_probe, run_context.start.probe, begun)
        self._events = CellEvents(experiment.probe)
        self._steering = Steering(inbox, self._cell, self._probe, self._context, self._facts, run_context.revision)
        self._row_ns = 0
        self._read: tuple[int, CellReading] | None = None  # the last reading, and when it was asked for
        self._ahead = False  # the potentiostat's clock has been seen ahead

    def run(self) -> Ending:
        """Run to the end, to a stop or to a fault; the rig is safe and the record complete when this returns."""
        ending = Ending("fault")
        self._facts.write("run_started", "run", "run", {"title": self._experiment.title, **self._start.data()})
        try:
            ending = self._loop()
        except OpsicmError as error:
            ending = Ending("fault", error)
            self._facts.write("alarm", "run", self._probe.path, {"message": str(error)})
        finally:
            ending = self._end(ending)
        return ending

    def _end(self, ending: Ending) -> Ending:
        """Probe up, cell open, end recorded; where an instrument does not obey, the end is recorded all the same."""
        try:
            self._rig.safe()
            self._facts.write("applied", "cell", "end", {"control": control_data(OpenCircuit())})
        except OpsicmError as error:
            self._facts.write("alarm", "run", self._probe.path, {"message": f"not known to be safe: {error}"})
            ending = Ending("fault", ending.error or error)
        finally:
            data = {"outcome": ending.outcome, "hops": self._context.hops}
            self._facts.write("run_ended", "run", "run", data)
        return ending

    def _loop(self) -> Ending:
        # At rest, before anything is asked of the cell: what later readings compare with.
        reading = self._cell_reading()
        self._bias.follow(reading)
        self._context.keep_reading(reading)
        while True:
            self._beat()
            now = self._rig.clock.now_ns()
            reading = self._cell_reading()
            self._limits.cell(reading)
            changed = self._cell.turn(now, reading)
            if self._cell.over:
                return self._completed()
            for path, step, why in self._events.come(now, reading, self._cell):
                self._probe.trigger(path, step, why)
            if changed:
                self._read = None
                self._settle_bias()
            self._refuse_if_too_long(now)
            self._steering.turn()
            if self._steering.stopped:
                return Ending("interrupted")
            self._probe_turn()
            self._keep_row()
            self._progress(Progress(self._rig.clock.now_ns(), self._total_ns(), self._context.hops, self._where()))

    def _completed(self) -> Ending:
        for path in self._events.missed():
            self._facts.write("note", "probe", path, {"message": "the event that this step waits for never came"})
        return Ending("completed")

    def _cell_reading(self) -> CellReading:
        """What the potentiostat says, asked once at one instant."""
        now = self._rig.clock.now_ns()
        if self._read is None or self._read[0] != now:
            self._read = (now, self._rig.potentiostat.read())
            self._judge_stamp(now, self._read[1].t_ns)
        return self._read[1]

    def _judge_stamp(self, now: int, stamp: int) -> None:
        if stamp - now > _AHEAD_NS and not self._ahead:
            self._ahead = True
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
        """Wait at the top until the new potential and its slope are known; the pipette never falls on a wrong bias."""
        self._bias.control_changed(self._cell.control, self._cell.began_ns)
        procedure = self._present()
        for settled_ns in _SETTLED_NS:
            self._look(procedure, self._cell.began_ns + settled_ns)
        # A current that has just been switched on bends the potential for a while; a ramp cannot follow a bend. A late
        # potentiostat has not shown the new control yet.
        for _ in range(_BENT_LOOKS):
            if not self._bias.bends() and not self._bias.behind():
                break
            self._look(procedure, self._rig.clock.now_ns() + _BENT_NS)

    def _look(self, procedure: Procedure | None, at_ns: int) -> None:
        if procedure is None:
            self._rig.clock.wait_until(at_ns)
        else:
            procedure.wait(at_ns)
        self._bias.follow(self._rig.potentiostat.read())
        self._context.read_current()

    # -- probe ------------------------------------------------------------------------------------------------------

    def _present(self) -> Procedure | None:
        return self._probe.present(self._rig.clock.now_ns(), self._cell.step)

    def _probe_turn(self) -> None:
        procedure = self._present()
        self._bias.follow(self._cell_reading())
        now = self._rig.clock.now_ns()
        ends = (self._cell.changes_ns, self._probe.ends_ns() if procedure is not None else None)
        hops = procedure is not None and procedure.hop is not None
        turn_ns = _TURN_NS if hops and self._asked_row_ns() is None else min(_TURN_NS, self._row_period_ns())
        due = self._row_ns + turn_ns if self._row_ns + turn_ns > now else now + turn_ns
        until = min([due, *(end for end in ends if end is not None and end > now)])
        if procedure is not None:
            procedure.advance(until)
        elif not self._context.travels(until):
            self._rig.clock.wait_until(min(until, now + self._bias.trusted_ns))

    def _asked_row_ns(self) -> int | None:
        return self._cell.action.record_every_ns if self._cell.action is not None else None

    def _row_period_ns(self) -> int:
        """Between two slow rows where nothing hops: what the step asks for, else a millivolt of a sweep."""
        asked = self._asked_row_ns()
        return round(row_period(self._cell.control) * 1e9) if asked is None else asked

    # -- record -----------------------------------------------------------------------------------------------------

    def _keep_row(self) -> None:
        """A slow row after every turn; where the step asks for a period, when that has passed."""
        now, asked = self._rig.clock.now_ns(), self._asked_row_ns()
        if asked is not None and now - self._row_ns < asked:
            self._limits.reading(self._context.read_current(), self._bias.nominal)
            return
        self._row_ns = now
        self._context.keep_reading(self._cell_reading())

    def _fact_of_probe(self, kind: Kind, path: str, data: Mapping[str, object]) -> None:
        self._facts.write(kind, "probe", path, data)

    def _total_ns(self) -> int | None:
        total = self._total
        return None if total is None else total - self._start.gone_ns + self._cell.paused_ns

    def _where(self) -> str:
        paused = [name for name, track in (("cell", self._cell), ("probe", self._probe)) if track.paused]
        return f"{self._cell.path} {self._probe.path}" + (f" ({' and '.join(paused)} paused)" if paused else "")

    def _refuse_if_too_long(self, now: int) -> None:
        if now >= round(self._experiment.envelope.duration * 1e9):
            hours = f"{self._experiment.envelope.run_h:g}"
            limit, remedy = f"envelope.run_h is {hours}", "bound the cell's steps or allow more"
            raise LimitCrossed(Problem("run", f"{hours} h long", limit, remedy))
