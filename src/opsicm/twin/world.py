"""The world: what is true. One cell, one pipette, one surface, one time; the devices only look at it.

The cell is integrated in steps of at most 0.1 s or 1 mV; between two steps everything is read by linear
interpolation, so that a sample at any nanosecond has one value however the runner asks for it. What the probe does
never changes those steps: the height of a moving pipette is resolved between them (`PipetteTrajectory`).

As long as its control stays the cell's trajectory can be known ahead: many steps are taken at once (a
`TrajectorySegment`), and those that have not begun are discarded when a new control comes after all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.experiment.controls import CellControl, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.roles import CellReading
from opsicm.physics.cell.cell import Cell, CellStopped
from opsicm.physics.cell.trace import Trace
from opsicm.physics.pipette.memory import lags_along
from opsicm.physics.slow_noise import Line, ReferenceDrift, SlowNoise
from opsicm.twin.circuit import COMMON, nodes
from opsicm.twin.coarse_motion import NEVER, CoarseMotion
from opsicm.twin.far_pipette import FarPipette
from opsicm.twin.faults import Faults
from opsicm.twin.specimen import Footprint, RisingSurface, Specimen
from opsicm.twin.trajectory import (
    CellState,
    CellStates,
    PastSegment,
    PipetteTrajectory,
    ReadingHistory,
    TrajectorySegment,
)

LONGEST_STEP: Final = 0.1  # [s] contracts: while hopping
_LARGEST_STEP: Final = 1e-3  # [V]
_AFTER_A_CHANGE: Final = 1e-3  # [s] a control that has just changed is resolved this finely once
_LONGEST_TRAVEL: Final = (
    25e-6  # [m] that the coarse stage may travel in a step: the bath's layers are some 100 µm thick
)
_REPLAYED_NS: Final = 1_000_000  # into a control of a run that is replayed: so that it has begun
_SAME_ERROR: Final = 1e-12  # [V] within which two straight pieces of the reference's drift meet
_JUMP: Final = 1e-3  # [V] of the command, below which its settling in the tip is not resolved
_SETTLING: Final = tuple(np.geomspace(1e-4, 0.1, 19).tolist())  # [s] after a jump
_MOST_STEPS: Final = 64  # taken at once
AHEAD_NS: Final = 4_000_000_000  # taken beyond what is asked for: steps at once cost less, and can be taken back
_CONTROL_NAME: Final = {PotentialRamp: "potential", ConstantCurrent: "current", OpenCircuit: "open_circuit"}


class World:
    """Cell, pipette, specimen and time.

    `drift` [m/s] is by what everything that holds the pipette creeps up, `wander` [m] what comes on top of that. What
    the potentiostat regulates against is off by `reference` and by a loose contact: its readings stay on the set point
    and the specimen does not. A control that comes in a step of the cell begins at its end: `longest_step` [s] is how
    late that may be.
    """

    def __init__(
        self,
        cell: Cell,
        specimen: Specimen,
        pipette: FarPipette,
        coarse: CoarseMotion,
        grounding: str = COMMON,
        faults: Faults | None = None,
        drift: float = 0.0,
        longest_step: float = LONGEST_STEP,
        wander: SlowNoise | None = None,
        reference: ReferenceDrift | None = None,
    ) -> None:
        self.cell = cell
        self._longest_step = longest_step
        self.pipette = pipette
        self.specimen = specimen
        self.coarse = coarse
        self.grounding = grounding
        self.faults = faults or Faults()
        self.drift = drift
        self.wander = wander
        self._reference = reference
        self._drift = Line(0.0, 0.0, 0, 0)  # the reference's piece that was last asked for: none yet
        self._reference_error = self._reference_line(0)
        self.x = 0.0
        self.y = 0.0
        self.now_ns = 0
        self.control: CellControl = OpenCircuit()
        self._skew = 0.0  # by which the present control runs fast
        self.cut_off = False
        self._waiting: tuple[CellControl, int] | None = None
        self._command = (0.0, 0.0, 0)
        self._control_changed = True  # since the segment's last state
        self._commanded_step = (0.0, 0)  # [V] and [ns] of the command's last jump
        self._past = ReadingHistory()
        cell.set_open_circuit()
        salt, offset = self._pipette_at([self.coarse.carriage(0)])
        pipette_trajectory = pipette.trajectory((0,), salt, offset, np.zeros(pipette.memory.time.size))
        self._segment = TrajectorySegment((0,), (self._cell_state(0),), specimen.displacement[None], pipette_trajectory)
        self._shown_control = self._shown_now()
        self._before_ahead = self._snapshot()
        relaxations = pipette.memory.time.size if pipette.glass is not None else 0
        self._bias_lags = np.zeros(relaxations)  # [V] at the last command, which came at [ns] and left across the tip:
        self._bias_known = (0, float(self._across(self.state_at(0), 0.0)))

    # -- what devices ask -------------------------------------------------------------------------------------------

    def state_at(self, t_ns: int) -> CellState:
        """The cell at `t_ns`, which must lie in the present segment."""
        return self._segment.state_at(t_ns)

    def states_at(self, t_ns: NDArray[np.int64]) -> CellStates:
        """The cell at many instants, which must lie in the present segment."""
        return self._segment.states_at(t_ns)

    def command(self, t_ns: int) -> float:
        """The amplifier's command [V] at `t_ns`."""
        volts, slope, since = self._command
        return volts + slope * (t_ns - since) * 1e-9

    def set_command(self, volts: float, slope: float) -> None:
        """Command `volts` [V] now, ramping by `slope` [V/s]."""
        jump = volts - self.command(self.now_ns)
        if self._bias_lags.size:
            across = self._across(self.state_at(self.now_ns), self.command(self.now_ns))
            # The tip shows nothing yet of a jump.
            self._bias_lags = self._bias_lags_at(np.array([self.now_ns]), np.array([across]))[0] + jump
            self._bias_known = (self.now_ns, across + jump)
        self._commanded_step = (jump, self.now_ns)
        self._command = (volts, slope, self.now_ns)

    @property
    def command_slope(self) -> float:
        """[V/s] of the command."""
        return self._command[1]

    @property
    def last_jump(self) -> tuple[float, int]:
        """(height [V], instant [ns]) of the command's last jump."""
        return self._commanded_step

    def bulk_current(self, state: CellState) -> float:
        """Current [A] of a sound pipette far from the surface, with the command of that instant."""
        across = self._across(state, self.command(state.t_ns))
        if self.pipette.glass is None:
            return float(state.conductance * across)
        many = CellStates(*(np.array([value]) for value in state))
        return float(self._through(many, np.array([across]))[0])

    def commands(self, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """`command` at many instants."""
        volts, slope, since = self._command
        return np.asarray(volts + slope * (t_ns - since) * 1e-9)

    def bulk_currents(self, states: CellStates) -> NDArray[np.float64]:
        """`bulk_current` at many instants."""
        return self._through(states, self._across(states, self.commands(states.t_ns)))

    def _across(self, state: Any, command: Any) -> Any:
        """Potential [V] that drives the pipette current, at one instant or at many."""
        # The solution stands higher against the reference by its error, whoever is ground.
        circuit = nodes(state.potential, command, self.grounding)
        return circuit.electrode_against_reference - state.reference_error - state.offset

    def _through(self, states: CellStates, across: NDArray[np.float64]) -> NDArray[np.float64]:
        late = self.pipette.memory.lag(self._bias_lags_at(states.t_ns, across)) if self._bias_lags.size else 0.0
        return self.pipette.current(states.conductance, states.salt, across, late)

    def _bias_lags_at(self, t_ns: NDArray[np.int64], across: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lags [V, n × k] of what flow and charge in the tip go by, behind the potential `across` it at `t_ns` [n].

        Linear since the last command: between two of these the cell's potential hardly bends.
        """
        since, before = self._bias_known
        elapsed = np.maximum(t_ns - since, 1)[:, None] * 1e-9
        time = self.pipette.memory.time
        kept = np.exp(-elapsed / time)
        return self._bias_lags * kept + (across - before)[:, None] / elapsed * time * (1.0 - kept)

    def apparent_electrode_potentials(self, states: CellStates) -> NDArray[np.float64]:
        """The pipette electrode against lithium at the reference [V], as far as the instruments can tell."""
        return nodes(states.potential, self.commands(states.t_ns), self.grounding).electrode_against_reference

    @property
    def electrode_follows_cell(self) -> float:
        """By how much the pipette electrode against the reference moves with the cell's potential [1]: 1 or 0."""
        return nodes(1.0, 0.0, self.grounding).electrode_against_reference

    def surface_now(self, footprint: Footprint, t_ns: int) -> NDArray[np.float64]:
        """`surfaces` [m, n] at one instant."""
        return np.asarray(self.surfaces(footprint, np.array([t_ns]))[0])

    def surfaces(self, footprint: Footprint, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Heights [m, times × n] under a footprint at instants that must lie in the present segment."""
        return self._segment.heights_at(footprint, t_ns)

    def coarse_z(self, t_ns: int) -> float:
        """True height [m] of the scanner's zero at `t_ns`: the carriage of the coarse stage, and thermal drift."""
        height = self.coarse.carriage(t_ns) + self.drift * t_ns * 1e-9
        return height if self.wander is None else height + self.wander.once(1e-9 * t_ns)

    def coarse_heights(self, t_ns: Sequence[int]) -> NDArray[np.float64]:
        """`coarse_z` at many instants."""
        heights = np.array([self.coarse.carriage(t) + self.drift * t * 1e-9 for t in t_ns])
        return heights if self.wander is None else heights + self.wander.at(1e-9 * np.asarray(t_ns))

    def move_coarse(self, target: float, speed: float | None) -> int:
        """Begin to drive the coarse stage to `target` [m]; returns when it will be there [ns]."""
        self._discard_ahead()
        now, end = self.now_ns, self._segment.end
        left, lags = self._segment.state_at(now), self._lags_at(now)
        arrival = self.coarse.begin(target, speed, now)
        # The cell's step under way is kept, and only its end is still known at other heights: what the pipette read at
        # the height that it leaves fades out until then.
        times = self._pipette_breakpoints(now, end)
        salt, offset = self._pipette_at([self.coarse.carriage(t) for t in times])
        fade = (end - np.array(times)) / (end - now) if end > now else np.zeros(len(times))
        outside = left.salt + self.pipette.memory.lag(lags) if lags.size else left.salt
        salt, offset = salt + fade * (outside - salt[0]), offset + fade * (left.offset - offset[0])
        self._segment = replace(self._segment, pipette=self.pipette.trajectory(times, salt, offset, lags))
        return arrival

    def schedule(self, control: CellControl, at_ns: int) -> None:
        """Let the cell hold `control` from `at_ns` on."""
        self._discard_ahead()
        # The step under way cannot be discarded: a control that comes too late for it begins at its end.
        self._waiting = (control, max(at_ns, self._segment.end))

    def open_now(self) -> None:
        """Open circuit at once, whatever waits: the safe state of a cell."""
        self.schedule(OpenCircuit(), self.now_ns)

    def reading(self, age: float = 0.0) -> CellReading:
        """What a perfect potentiostat shows now, or showed `age` [s] ago."""
        t_ns = max(0, self.now_ns - round(age * 1e9))
        segment, control, cut_off = self._segment, *self._shown_control
        if t_ns < segment.begin:
            segment, control, cut_off = self._past.at(t_ns)
        elif t_ns >= segment.end:
            control, cut_off = self._shown_now()
        state = segment.state_at(max(t_ns, segment.begin))
        set_point = None if math.isnan(state.set_point) else state.set_point
        stamp = self.faults.stamp(state.t_ns)
        return CellReading(stamp, state.potential, state.current, state.charge, set_point, control, cut_off)

    def _shown_now(self) -> tuple[str, bool]:
        return "open_circuit" if self.cut_off else _CONTROL_NAME[type(self.control)], self.cut_off

    # -- time -------------------------------------------------------------------------------------------------------

    def advance_to(self, t_ns: int) -> None:
        """Move time to `t_ns`; the cell goes along in its own steps."""
        while self._segment.end < t_ns:
            self._extend(t_ns + AHEAD_NS)
        self.now_ns = t_ns

    def breakpoints(self, until_ns: int) -> list[int]:
        """The instants [ns] after the present one between which everything is linear, as far as that is known.

        At least one. Where no step holds the present moment, steps are taken up to about `until_ns`. A fault's edge is
        the last: what comes after it may depend on what the probe does until then.
        """
        # More than once where a control waits between the segment's end and the next sample, at which the present is.
        while self._segment.end <= self.now_ns:
            self._extend(until_ns)
        edge = self.faults.next_edge(self.now_ns)
        ahead = [t for t in self._segment.pipette.t_ns if self.now_ns < t < edge]
        if self._bias_lags.size and abs(self._commanded_step[0]) > _JUMP:
            # A charged tip settles to another bias within milliseconds and over seconds: linear in short pieces only.
            after = (self._commanded_step[1] + round(1e9 * since) for since in _SETTLING)
            ahead = sorted({*ahead, *(t for t in after if self.now_ns < t < min(edge, self._segment.end))})
        return [*ahead, edge] if edge <= self._segment.end else ahead

    def _extend(self, until_ns: int) -> None:
        """The next segment: steps from where the last one ended up to `until_ns`, never past a waiting control."""
        begin = self._segment.end
        self._past.append(PastSegment(self._segment, *self._shown_control))
        if self._waiting is not None and self._waiting[1] <= begin:
            self._change_control()
            step_ns, steps = round(_AFTER_A_CHANGE * 1e9), 1
        else:
            step_ns = round(self._step_length() * 1e9)
            steps = min(-((begin - until_ns) // step_ns), _MOST_STEPS)
        if (error := self._reference_line(begin)) != self._reference_error:
            self._reference_moved(error)
        last = NEVER if self._waiting is None else max(self._waiting[1], begin + 1)
        edge = min(self.faults.next_edge(begin), error.until_ns)
        steps = min(steps, (min(last, edge) - begin) // step_ns)
        self._shown_control = self._shown_now()
        before = self._cell_state(begin) if self._control_changed else self._segment.states[-1]
        self._control_changed = False
        if steps > 1 and not self.coarse.moving(begin) and self._steps(step_ns, steps, before):
            return
        end = min(begin + step_ns, last)
        if self._reference_line(end - 1) != error:
            end = min(end, edge)
        self._step(end, before)

    def _step(self, end: int, before: tuple[float, ...]) -> None:
        """One step, in which the pipette may travel."""
        begin = self._segment.end
        times = self._pipette_breakpoints(begin, end)
        heights = [self.coarse.carriage(t) for t in times]
        first = self._pipette_at(heights)
        trace = self._record(end - begin, 1, heights)
        displacement = self.specimen.advance((end - begin) * 1e-9, trace)
        last = self.pipette.salt_and_offset(trace.concentration[0], trace.ohmic_drop[0])
        share = (np.array(times) - begin) / (end - begin)
        salt, offset = (a + share * (b - a) for a, b in zip(first, last, strict=True))
        pipette = self.pipette.trajectory(times, salt, offset, self._lags_at(begin))
        self._append_steps((begin, end), before, trace, displacement, pipette)
        self._watch_cut_off()

    def _steps(self, step_ns: int, steps: int, before: tuple[float, ...]) -> bool:
        """Steps at one height of the pipette, as many as nothing happens in; False, and none, if that is none."""
        begin = self._segment.end
        height = [self.coarse.carriage(begin)]
        first = self._pipette_at(height)
        self._before_ahead = self._snapshot()
        try:
            trace = self._record(step_ns, steps, height)
            quiet = self._quiet_steps(trace, self._reference_errors([begin + k * step_ns for k in range(1, steps + 1)]))
        except CellStopped:
            quiet = 0
        if not quiet:
            self.cell.go_back(self._before_ahead[0])
            return False
        displacement = self.specimen.advance(step_ns * 1e-9, trace if quiet == steps else trace.first(quiet))
        taken = len(displacement)
        if taken < steps:
            self.cell.go_back(self._before_ahead[0])
            trace = self._record(step_ns, taken, height)
        times = tuple(begin + k * step_ns for k in range(taken + 1))
        later = self.pipette.salt_and_offset(trace.concentration.T, trace.ohmic_drop.T)
        salt, offset = (np.concatenate(ends) for ends in zip(first, later, strict=True))
        pipette = self.pipette.trajectory(times, salt, offset, self._lags_at(begin))
        self._append_steps(times, before, trace, displacement, pipette)
        return True

    def _record(self, step_ns: int, steps: int, heights: list[float]) -> Trace:
        return self.cell.record(step_ns * 1e-9, steps, [*heights, self.cell.parameters.reference_salt_height])

    def _append_steps(
        self,
        times: tuple[int, ...],
        before: tuple[float, ...],
        trace: Trace,
        displacement: NDArray[np.float64],
        pipette: PipetteTrajectory,
    ) -> None:
        error = self._reference_errors(times[1:])
        controlled = isinstance(self.control, PotentialRamp)
        set_points = self.cell.set_point_at(trace.time) + error if controlled else np.full(trace.time.size, math.nan)
        columns = (trace.potential + error, trace.current, trace.charge, set_points, trace.expansion, error)
        states = (before, *(tuple(row) for row in np.array(columns).T.tolist()))
        displacement = np.concatenate((self._segment.displacement[-1:], displacement))
        self._segment = TrajectorySegment(times, states, displacement, pipette)

    def _snapshot(self) -> tuple[Any, Any]:
        return self.cell.keep(), self.specimen.keep()

    def _discard_ahead(self) -> None:
        """Forget the steps that have not begun: a new control is about to be set, or the pipette to leave."""
        segment = self._segment
        steps = segment.step_of(self.now_ns) + 1
        if steps >= len(segment.t_ns) - 1:
            return
        self.cell.go_back(self._before_ahead[0])
        self.specimen.go_back(self._before_ahead[1])
        step_ns = segment.t_ns[1] - segment.t_ns[0]
        self.specimen.advance(step_ns * 1e-9, self._record(step_ns, steps, []))
        self._segment = segment.first(steps)

    def _quiet_steps(self, trace: Trace, error: NDArray[np.float64]) -> int:
        """Steps before the one at whose end a cut-off is met, the reference off by `error` [V]; all if none is."""
        met = np.flatnonzero(self._beyond_cut_off(trace.potential + error))
        return int(met[0]) if met.size else trace.time.size

    def _pipette_breakpoints(self, begin: int, end: int) -> tuple[int, ...]:
        """Instants from `begin` to `end` between which the pipette's height is linear in time, and changes little."""
        stops = [begin]
        while stops[-1] < end and self.coarse.moving(stops[-1]):
            leap = round(_LONGEST_TRAVEL / self.coarse.rate() * 1e9) + 1
            stops.append(min(end, stops[-1] + leap, self.coarse.next_breakpoint(stops[-1])))
        if stops[-1] < end:
            stops.append(end)
        return tuple(stops)

    def _reference_line(self, t_ns: int) -> Line:
        """The reference's error [V] from `t_ns` on: drift, and a contact that stays as it is until it jumps."""
        contact = self.faults.reference_error(t_ns)
        if self._reference is None:
            return Line(contact, 0.0, 0, NEVER)
        if not self._drift.since_ns <= t_ns < self._drift.until_ns:
            self._drift = self._reference.line(t_ns)
        return self._drift._replace(value=self._drift.value + contact) if contact else self._drift

    def _reference_errors(self, t_ns: Sequence[int]) -> NDArray[np.float64]:
        line = self._reference_error
        return line.value + line.slope * (np.asarray(t_ns) - line.since_ns) * 1e-9

    def _reference_moved(self, error: Line) -> None:
        """The reference's contact has jumped, or its drift has turned: a controlled potential is another one now."""
        now = self._segment.end
        program, drift = self.cell.set_point + self._reference_error.at(now), error.at(now)
        self._control_changed |= abs(drift - self._reference_error.at(now)) > _SAME_ERROR
        self._reference_error = error
        if isinstance(self.control, PotentialRamp):
            slope = self.control.slope * (1.0 + self._skew) - error.slope
            self.cell.set_potential(program - drift, slope, self.control.ir_compensation)

    def _step_length(self) -> float:
        slope = abs(self.control.slope) if isinstance(self.control, PotentialRamp) else 0.0
        longest = self._longest_step
        return longest if slope * longest <= _LARGEST_STEP else _LARGEST_STEP / slope

    def _change_control(self) -> None:
        assert self._waiting is not None
        self.control, self._waiting = self._waiting[0], None
        self.cut_off = False
        self._control_changed = True
        if isinstance(self.control, PotentialRamp):
            self._skew = self.faults.skew(self._segment.end)
            error, program = self._reference_error, self.control.slope * (1.0 + self._skew)
            start = self.control.start - error.at(self._segment.end)
            self.cell.set_potential(start, program - error.slope, self.control.ir_compensation)
        elif isinstance(self.control, ConstantCurrent):
            self.cell.set_current(self.control.current)
        else:
            self.cell.set_open_circuit()

    def _watch_cut_off(self) -> None:
        if self._beyond_cut_off(np.array(self._segment.states[-1][:1]))[0]:
            self.cut_off = self._control_changed = True
            self.cell.set_open_circuit()

    def _beyond_cut_off(self, potential: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each shown potential [V, n] ends the present current."""
        control = self.control
        if not isinstance(control, ConstantCurrent) or self.cut_off:
            return np.zeros(potential.size, bool)
        if control.current < 0.0:
            return potential <= (-math.inf if control.lowest is None else control.lowest)
        if control.current > 0.0:
            return potential >= (math.inf if control.highest is None else control.highest)
        return np.zeros(potential.size, bool)

    def _cell_state(self, t_ns: int) -> tuple[float, ...]:
        cell = self.cell
        error = self._reference_error.at(t_ns)
        set_point = cell.set_point + error if isinstance(self.control, PotentialRamp) else math.nan
        return cell.potential + error, cell.current, cell.charge, set_point, cell.expansion, error

    def _lags_at(self, t_ns: int) -> NDArray[np.float64]:
        """Lags [k] of the tip's memory at `t_ns` of the present segment."""
        pipette = self._segment.pipette
        # Where the stage was told to move at a sample past the last step's end, the trajectory begins there, up to a
        # sample after the step that follows: in so short a time no lag changes.
        k = max(0, int(np.searchsorted(pipette.t_ns, t_ns, side="right")) - 1)
        if not pipette.lags.shape[1] or t_ns <= pipette.t_ns[k]:
            return np.asarray(pipette.lags[k])
        end = min(k + 1, len(pipette.t_ns) - 1)
        outside = np.array(pipette.salt) + self.pipette.memory.lag(pipette.lags)
        share = (t_ns - pipette.t_ns[k]) / (pipette.t_ns[end] - pipette.t_ns[k]) if end > k else 0.0
        between = np.array([outside[k], outside[k] + share * (outside[end] - outside[k])])
        times = np.array([pipette.t_ns[k], t_ns])
        return np.asarray(lags_along(times, between, pipette.lags[k], self.pipette.memory.time)[-1])

    def _pipette_at(self, heights: list[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(salt [mol/m³], opposing potentials [V]) outside the pipette now, at heights [m] above the mean surface.

        The height is the coarse one: over the few micrometres of a hop the bath changes by less than the noise.
        """
        return self.pipette.salt_and_offset(*self.cell.bath_at([*heights, self.cell.parameters.reference_salt_height]))


def replay_controls(
    cell: Cell, history: Sequence[tuple[int, CellControl]], reference: ReferenceDrift | None = None
) -> int:
    """Take `cell` through every (nanosecond, control) of a run, without a probe; the last one is where the run ended.

    Returns the run's end [ns]; `reference` is what its potentiostat regulated against.

    The same world with the same steps as in the run, so the state is the one that it ended in, but for where a control
    ended early: the journal knows that to the turn of the loop, up to 0.1 s late.
    """
    electrolyte = cell.parameters.electrolyte
    pipette = FarPipette(1.0, electrolyte.kappa_table, electrolyte.concentration, 0.0)
    specimen = RisingSurface(np.zeros((2, 2)), 1.0, 1.0, cell)
    world = World(cell, specimen, pipette, CoarseMotion(0.0, 1.0), reference=reference)
    for at_ns, control in history:
        world.schedule(control, at_ns)
        world.advance_to(max(at_ns, world.now_ns) + _REPLAYED_NS)
    return world.now_ns
