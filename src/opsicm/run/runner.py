"""The one loop: a cell program and a probe program on one clock.

Every turn: look at the cell, let its track act, let the probe's track act for at most a second, keep everything.
Controls are handed to the potentiostat ahead of time with the nanosecond at which they begin, so that what the probe
does never moves the cell's time line. Every exit goes the same way: probe up, cell open, end recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opsicm.errors import LimitCrossed, OpsicmError, Problem
from opsicm.facts.fact import Fact, Kind, Track
from opsicm.facts.hop import Outcome
from opsicm.instruments.cell_control import CellReading, OpenCircuit, PotentialRamp
from opsicm.instruments.rig import Rig
from opsicm.instruments.roles import HopPlan
from opsicm.physics.drift import drift_per_fall, restless
from opsicm.protocol.experiment import Experiment
from opsicm.protocol.probe_program import Hop, Line, Park, ProbeAction
from opsicm.record.recorder import Reading, Recorder
from opsicm.run.bias import BiasTracker
from opsicm.run.cell_track import CellAction, cell_actions
from opsicm.run.limits import Limits
from opsicm.run.probe_track import ProbeTrack

_TURN_NS: Final = 1_000_000_000
_HAND_OVER_NS: Final = 1_500_000_000  # how far ahead the potentiostat gets its next control: more than any turn
# After a change of control the bias needs the new potential, and then its slope: readings at 2, 22 and 32 ms. A current
# switched on charges the double layer first; a slope taken at once would be that one's.
_SETTLED_NS: Final = (2_000_000, 22_000_000, 32_000_000)
_BENT_NS: Final = 20_000_000
_BENT_LOOKS: Final = 100  # 2 s: then hop all the same, with the residual recorded
_REST_NS: Final = 50_000_000  # a look at the bulk current while it is too restless to hop
_FINEST_ROW: Final = 0.1  # [s]
_ROW_STEP: Final = 1e-3  # [V] between two slow rows of a sweep, while the pipette is parked


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: [ns] now and [ns] in all (None when only a cut-off knows), hops so far."""

    t_ns: int
    total_ns: int | None
    hops: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: completed, interrupted or fault, with the error that stopped it."""

    outcome: str
    error: OpsicmError | None = None


class Runner:
    """Executes one experiment on one rig.

    `capacity` [C] of the specimen turns C-rates into currents, `reversible` [C] between the program's cut-offs turns
    charge into SOC; None where the program has no two cut-offs.
    """

    def __init__(
        self,
        experiment: Experiment,
        rig: Rig,
        recorder: Recorder,
        capacity: float | None,
        reversible: float | None,
        stop: Callable[[], bool],
        progress: Callable[[Progress], None],
    ) -> None:
        self._experiment = experiment
        self._rig = rig
        self._recorder = recorder
        self._reversible = reversible
        self._stop = stop
        self._progress = progress
        timing = rig.hop_controller.timing
        bias = experiment.pipette.bias
        self._bias = BiasTracker(rig.amplifier, bias)
        self._limits = Limits(experiment.envelope, rig.scanner.z_range)
        self._probe = ProbeTrack(experiment.probe, timing, experiment.envelope.approach, bias)
        self._actions = cell_actions(experiment.cell, experiment.specimen.area, capacity)
        self._action: CellAction | None = None
        self._next: CellAction | None = None
        self._began_ns = 0
        self._began_charge = 0.0
        self._handed_over: int | None = None
        self._soc_zero: float | None = None
        self._surface = 0.0  # [m] height of the last contact; before the first, where the operator has engaged
        self._currents: list[tuple[int, float]] = []
        self._waiting = False
        self._arrives_ns = 0  # when the coarse stage will stand still
        self._seq = 0

    def run(self) -> Ending:
        """Run to the end, to a stop or to a fault; the rig is safe and the record complete when this returns."""
        ending = Ending("fault")
        self._fact("run_started", "run", "run", {"title": self._experiment.title})
        try:
            ending = self._loop()
        except OpsicmError as error:
            ending = Ending("fault", error)
            self._fact("alarm", "run", self._probe.path, {"message": str(error)})
        finally:
            self._rig.safe()
            self._fact("applied", "cell", "end", {"control": repr(OpenCircuit())})
            data = {"outcome": ending.outcome, "hops": self._probe.hops}
            self._fact("run_ended", "run", "run", data)
        return ending

    def _loop(self) -> Ending:
        # At rest, before anything is asked of the cell: what later readings compare with.
        self._bias.follow(self._rig.potentiostat.read())
        self._keep_reading()
        total = self._experiment.longest_duration
        total_ns = None if total is None else round(total * 1e9)
        self._next = next(self._actions, None)
        while True:
            now = self._rig.clock.now_ns()
            reading = self._rig.potentiostat.read()
            self._limits.cell(reading)
            if self._cell_turn(now, reading):
                return Ending("completed")
            if now >= round(self._experiment.envelope.duration * 1e9):
                hours = f"{self._experiment.envelope.run_h:g}"
                raise LimitCrossed(
                    Problem(
                        "run", f"{hours} h long", f"envelope.run_h is {hours}", "bound the cell's steps or allow more"
                    )
                )
            if self._stop():
                self._fact("command", "run", "run", {"command": "stop"})
                return Ending("interrupted")
            self._probe_turn(now)
            self._keep_reading()
            self._progress(Progress(self._rig.clock.now_ns(), total_ns, self._probe.hops))

    # -- cell -------------------------------------------------------------------------------------------------------

    def _cell_turn(self, now: int, reading: CellReading) -> bool:
        """Let the cell's track act; True when the program is over."""
        if self._action is None or (self._over_early(reading) and self._handed_over is None):
            self._hand_over(now)
        elif (end := self._end_ns()) is not None and self._handed_over is None and end - now <= _HAND_OVER_NS:
            self._hand_over(end)
        if self._handed_over is not None and now >= self._handed_over:
            return self._take_over(self._handed_over, reading)
        return False

    def _end_ns(self) -> int | None:
        if self._action is None or self._action.duration_ns is None:
            return None
        return self._began_ns + self._action.duration_ns

    def _over_early(self, reading: CellReading) -> bool:
        charge = self._action.charge if self._action is not None else None
        return reading.cut_off or (charge is not None and abs(reading.charge - self._began_charge) >= charge)

    def _hand_over(self, at_ns: int) -> None:
        """Give the potentiostat what comes next, to begin at `at_ns`; the intent is on disk before that."""
        control = self._next.control if self._next is not None else OpenCircuit()
        path = self._next.path if self._next is not None else "end"
        self._fact("intent", "cell", path, {"control": repr(control), "at_ns": at_ns})
        self._rig.potentiostat.apply(control, at_ns)
        self._handed_over = at_ns

    def _take_over(self, at_ns: int, reading: CellReading) -> bool:
        """The control handed over has begun."""
        old, new = self._action, self._next
        self._handed_over = None
        if old is not None and old.delithiated_end:
            self._soc_zero = reading.charge
        if old is not None and (new is None or new.step != old.step):
            self._fact("step_ended", "cell", old.path, {})
        if new is None:
            return True
        if old is None or new.step != old.step:
            self._fact("step_started", "cell", new.path, {})
        self._fact("applied", "cell", new.path, {"control": repr(new.control), "at_ns": at_ns})
        self._action, self._next = new, next(self._actions, None)
        self._began_ns, self._began_charge = at_ns, reading.charge
        self._bias.control_changed(new.control)
        self._settle_bias(at_ns)
        return False

    def _settle_bias(self, at_ns: int) -> None:
        """Wait at the top until the new potential and its slope are known; the pipette never falls on a wrong bias."""
        step = self._present_step()
        for settled_ns in _SETTLED_NS:
            self._pass_time(step, at_ns + settled_ns)
            self._bias.follow(self._rig.potentiostat.read())
            self._notice(self._rig.amplifier.read()[0])
        # A current that has just been switched on bends the potential for a while; a ramp cannot follow a bend.
        for _ in range(_BENT_LOOKS):
            if not self._bias.bends():
                break
            self._pass_time(step, self._rig.clock.now_ns() + _BENT_NS)
            self._bias.follow(self._rig.potentiostat.read())
            self._notice(self._rig.amplifier.read()[0])

    def _pass_time(self, step: ProbeAction | None, until_ns: int) -> None:
        """Let time pass with the pipette at the top, sampling if the step samples."""
        if isinstance(step, Hop | Line):
            self._run_plan(self._probe.dwell(step, until_ns))
        else:
            self._rig.clock.wait_until(until_ns)

    # -- probe ------------------------------------------------------------------------------------------------------

    def _present_step(self) -> ProbeAction | None:
        cell_step = self._action.step if self._action is not None else -1
        before = self._probe.path
        step, events = self._probe.due(self._rig.clock.now_ns(), cell_step)
        for kind, path in events:
            self._fact("step_started" if kind == "step_started" else "step_ended", "probe", path, {})
        if step is not None and (events or before != self._probe.path):
            clearance = step.height if isinstance(step, Park) else self._rig.hop_controller.start_height
            self._arrives_ns = self._rig.coarse_stage.move_to(self._surface + clearance)
        return step

    def _probe_turn(self, now: int) -> None:
        step = self._present_step()
        self._bias.follow(self._rig.potentiostat.read())
        ends = (self._end_ns(), self._probe.ends_ns(step) if step is not None else None)
        until = min([now + _TURN_NS, *(end for end in ends if end is not None and end > now)])
        if now < self._arrives_ns:
            self._rig.clock.wait_until(min(until, self._arrives_ns))
        elif isinstance(step, Hop | Line):
            self._run_plan(
                self._probe.dwell(step, min(until, now + _REST_NS))
                if self._restless(step)
                else self._probe.plan(step, now, until, self._bias.trusted_ns)
            )
        else:
            self._rig.clock.wait_until(min(until, now + min(self._row_period_ns(), self._bias.trusted_ns)))

    def _notice(self, current: float) -> None:
        """Remember the last two bulk currents and when they were read."""
        now = self._rig.clock.now_ns()
        earlier = [seen for seen in self._currents if seen[0] < now]  # two looks at one instant tell no drift
        self._currents = [*earlier[-1:], (now, current)]

    def _restless(self, step: Hop | Line) -> bool:
        """Whether the cell moves the bulk current so fast that a fall would stop for it and not for the surface."""
        if len(self._currents) < 2 or self._currents[0][0] == self._currents[1][0]:
            return False
        (t0, before), (t1, after) = self._currents
        drift = drift_per_fall(before, after, (t1 - t0) * 1e-9, step.amplitude / step.fall_rate)
        waits = restless(drift, step.setpoint)
        if waits != self._waiting:
            self._waiting = waits
            what = "waiting at the top" if waits else "hopping again"
            data = {"message": what, "drift_per_fall": drift, "setpoint": step.setpoint}
            self._fact("quality", "probe", self._probe.path, data)
        return waits

    def _row_period_ns(self) -> int:
        control = self._action.control if self._action is not None else None
        slope = abs(control.slope) if isinstance(control, PotentialRamp) else 0.0
        period = _ROW_STEP / slope if slope > 0.0 else 1.0
        return round(min(max(period, _FINEST_ROW), 1.0) * 1e9)

    def _run_plan(self, plan: HopPlan) -> None:
        outcome = self._rig.hop_controller.run(plan, self._stop)
        for block in outcome.blocks:
            self._recorder.block(block)
        if not outcome.hops.size:
            return
        self._recorder.hops(plan.step, outcome.hops)
        self._probe.finished(outcome.hops.size)
        span = [int(outcome.hops["hop"][0]), int(outcome.hops["hop"][-1])]
        self._fact("hops", "probe", plan.step, {"range": span})
        self._limits.hops(outcome.hops)
        met = outcome.hops[outcome.hops["outcome"] == Outcome.CONTACT]
        if met.size:
            self._surface = self._rig.coarse_stage.position() + float(met["z_stop"][-1])

    # -- record -----------------------------------------------------------------------------------------------------

    def _keep_reading(self) -> None:
        cell = self._rig.potentiostat.read()
        current, command = self._rig.amplifier.read()
        self._limits.far(current)
        self._notice(current)
        soc = None
        if self._reversible is not None and self._soc_zero is not None:
            soc = -(cell.charge - self._soc_zero) / self._reversible
        residual = self._bias.residual(command, cell.potential)
        z, coarse_z = self._rig.scanner.read_z(), self._rig.coarse_stage.position()
        self._recorder.reading(
            Reading(
                t_ns=cell.t_ns,
                potential=cell.potential,
                current=cell.current,
                charge=cell.charge,
                set_point=cell.set_point,
                control=cell.control,
                soc=soc,
                pipette_current=current,
                pipette_bias=command,
                bias_residual=residual,
                z=z,
                coarse_z=coarse_z,
            )
        )

    def _fact(self, kind: Kind, track: Track, step: str, data: Mapping[str, Any]) -> None:
        self._recorder.fact(Fact(self._seq, self._rig.clock.now_ns(), kind, track, step, data))
        self._seq += 1
