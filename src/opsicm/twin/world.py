"""The world: what is true. One cell, one pipette, one surface, one time; the devices only look at it.

The cell is integrated in steps of at most 0.1 s or 1 mV; between two steps everything is read by linear
interpolation, so that a sample at any nanosecond has one value however the runner asks for it. What the probe does
never changes those steps: the height of a moving pipette is resolved between them (`Way`).

As long as nobody tells the cell anything it can be known ahead: many steps are taken at once (`Stretch`), and those
that have not begun are taken back when it is told something after all.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.experiment.controls import CellControl, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.roles import CellReading
from opsicm.physics.cell.cell import Cell, CellStopped
from opsicm.physics.cell.trace import Trace
from opsicm.twin.far_pipette import FarPipette
from opsicm.twin.faults import Faults
from opsicm.twin.potentiostat import COMMON, nodes
from opsicm.twin.specimen import Footprint, Specimen
from opsicm.twin.trajectory import CellCourse, CellMoment, Shown, ShownPast, Stretch, Way
from opsicm.twin.travel import NEVER, Travel

_LONGEST_STEP: Final = 0.1  # [s] contracts: while hopping
_LARGEST_STEP: Final = 1e-3  # [V]
_AFTER_A_CHANGE: Final = 1e-3  # [s] a control that has just changed is resolved this finely once
_LONGEST_WAY: Final = 25e-6  # [m] that the coarse stage may travel in a step: the bath's layers are some 100 µm thick
_MOST_STEPS: Final = 64  # taken at once
AHEAD_NS: Final = 4_000_000_000  # taken beyond what is asked for: steps at once cost less, and can be taken back
_SETPOINT_WORD: Final = {PotentialRamp: "potential", ConstantCurrent: "current", OpenCircuit: "open_circuit"}


class World:
    """Cell, pipette, specimen and time.

    `drift` [m/s] is by what everything that holds the pipette creeps up.
    """

    def __init__(
        self,
        cell: Cell,
        specimen: Specimen,
        pipette: FarPipette,
        coarse: Travel,
        grounding: str = COMMON,
        faults: Faults | None = None,
        drift: float = 0.0,
    ) -> None:
        self.cell = cell
        self.pipette = pipette
        self.specimen = specimen
        self.coarse = coarse
        self.grounding = grounding
        self.faults = faults or Faults()
        self.drift = drift
        self._reference_error = self.faults.reference_error(0)
        self.x = 0.0
        self.y = 0.0
        self.now_ns = 0
        self.control: CellControl = OpenCircuit()
        self._skew = 0.0  # by which the present control runs fast
        self.cut_off = False
        self._waiting: tuple[CellControl, int] | None = None
        self._command = (0.0, 0.0, 0)
        self._told = True  # the cell has been told something since it was last looked at
        self._commanded_step = (0.0, 0)  # [V] and [ns] of the command's last jump
        self._past = ShownPast()
        cell.set_open_circuit()
        conductance, offset = self._pipette_at([self.coarse.carriage(0)])
        self._stretch = Stretch((0,), (self._seen(),), specimen.rise[None], Way((0,), conductance, offset))
        self._shown = self._word()
        self._kept = self._keep()

    # -- what devices ask -------------------------------------------------------------------------------------------

    def moment(self, t_ns: int) -> CellMoment:
        """The cell at `t_ns`, which must lie in the stretch just taken."""
        return self._stretch.moment(t_ns)

    def course(self, t_ns: NDArray[np.int64]) -> CellCourse:
        """The cell at many instants, which must lie in the stretch just taken."""
        return self._stretch.course(t_ns)

    def command(self, t_ns: int) -> float:
        """The amplifier's command [V] at `t_ns`."""
        volts, slope, since = self._command
        return volts + slope * (t_ns - since) * 1e-9

    def set_command(self, volts: float, slope: float) -> None:
        """Command `volts` [V] now, ramping by `slope` [V/s]."""
        self._commanded_step = (volts - self.command(self.now_ns), self.now_ns)
        self._command = (volts, slope, self.now_ns)

    @property
    def command_slope(self) -> float:
        """[V/s] of the command."""
        return self._command[1]

    @property
    def last_jump(self) -> tuple[float, int]:
        """(height [V], instant [ns]) of the command's last jump."""
        return self._commanded_step

    def bulk_current(self, moment: CellMoment) -> float:
        """Current [A] of a sound pipette far from the surface at that moment, with the command of that moment."""
        return moment.conductance * (self.wire(moment) - moment.offset)

    def wire(self, moment: CellMoment) -> float:
        """The wire in the pipette against lithium at the reference [V], truly, with the command of that moment."""
        true = moment.potential - moment.reference_error
        return nodes(true, self.command(moment.t_ns), self.grounding).wire_against_reference

    def shown_wire(self, moment: CellMoment) -> float:
        """The same as far as the instruments can tell."""
        return nodes(moment.potential, self.command(moment.t_ns), self.grounding).wire_against_reference

    def commands(self, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """`command` at many instants."""
        volts, slope, since = self._command
        return np.asarray(volts + slope * (t_ns - since) * 1e-9)

    def bulk_currents(self, course: CellCourse) -> NDArray[np.float64]:
        """`bulk_current` at many moments."""
        wire = nodes(course.potential - course.reference_error, self.commands(course.t_ns), self.grounding)
        return course.conductance * (wire.wire_against_reference - course.offset)

    def shown_wires(self, course: CellCourse) -> NDArray[np.float64]:
        """`shown_wire` at many moments."""
        return nodes(course.potential, self.commands(course.t_ns), self.grounding).wire_against_reference

    def surface_height(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights [m] at x, y [m] as the tip would have read them at the first instant."""
        return self.specimen.footprint(x, y).rest

    def surface_now(self, footprint: Footprint, t_ns: int) -> NDArray[np.float64]:
        """`surfaces` [m, n] at one instant."""
        return np.asarray(self.surfaces(footprint, np.array([t_ns]))[0])

    def surfaces(self, footprint: Footprint, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Heights [m, times × n] under a footprint at instants that must lie in the stretch just taken."""
        return self._stretch.heights(footprint, t_ns)

    def coarse_z(self, t_ns: int) -> float:
        """True height [m] of the scanner's zero at `t_ns`: the carriage of the coarse stage, and thermal drift."""
        return self.coarse.carriage(t_ns) + self.drift * t_ns * 1e-9

    def move_coarse(self, target: float, speed: float | None) -> int:
        """Begin to drive the coarse stage to `target` [m]; returns when it will be there [ns]."""
        self._take_back()
        now, end = self.now_ns, self._stretch.end
        left = self._stretch.way.at(now)
        arrival = self.coarse.begin(target, speed, now)
        # The cell's step under way is kept, and only its end is still known at other heights: what was seen at the
        # height that the pipette leaves fades out until then.
        times = self._stops(now, end)
        conductance, offset = self._pipette_at([self.coarse.carriage(t) for t in times])
        fade = [(end - t) / (end - now) if end > now else 0.0 for t in times]
        miss = left[0] - conductance[0], left[1] - offset[0]
        way = Way(
            times,
            tuple(g + f * miss[0] for g, f in zip(conductance, fade, strict=True)),
            tuple(v + f * miss[1] for v, f in zip(offset, fade, strict=True)),
        )
        self._stretch = replace(self._stretch, way=way)
        return arrival

    def schedule(self, control: CellControl, at_ns: int) -> None:
        """Let the cell hold `control` from `at_ns` on."""
        self._take_back()
        # The step under way cannot be taken back: a control that comes too late for it begins at its end.
        self._waiting = (control, max(at_ns, self._stretch.end))

    def open_now(self) -> None:
        """Open circuit at once, whatever waits: the safe state of a cell."""
        self.schedule(OpenCircuit(), self.now_ns)

    def reading(self, age: float = 0.0) -> CellReading:
        """What a perfect potentiostat shows now, or showed `age` [s] ago."""
        t_ns = max(0, self.now_ns - round(age * 1e9))
        stretch, word, cut_off = self._stretch, *self._shown
        if t_ns < stretch.begin:
            stretch, word, cut_off = self._past.at(t_ns)
        elif t_ns >= stretch.end:
            word, cut_off = self._word()
        seen = stretch.moment(max(t_ns, stretch.begin))
        set_point = None if math.isnan(seen.set_point) else seen.set_point
        stamp = self.faults.stamp(seen.t_ns)
        return CellReading(stamp, seen.potential, seen.current, seen.charge, set_point, word, cut_off)

    def _word(self) -> tuple[str, bool]:
        return "open_circuit" if self.cut_off else _SETPOINT_WORD[type(self.control)], self.cut_off

    # -- time -------------------------------------------------------------------------------------------------------

    def advance_to(self, t_ns: int) -> None:
        """Move time to `t_ns`; the cell goes along in its own steps."""
        while self._stretch.end < t_ns:
            self._go_on(t_ns + AHEAD_NS)
        self.now_ns = t_ns

    def step_end(self) -> int:
        """Until when [ns] all goes straight on from the present moment; takes the next step if none holds it."""
        return self.bends(self.now_ns)[0]

    def bends(self, until_ns: int) -> list[int]:
        """The instants [ns] after the present one between which all goes straight, as far as that is known.

        At least one. Where no step holds the present moment, steps are taken up to about `until_ns`. A fault's edge is
        the last: what comes after it may depend on what the probe does until then.
        """
        if self._stretch.end <= self.now_ns:
            self._go_on(until_ns)
        edge = self.faults.next_edge(self.now_ns)
        ahead = [t for t in self._stretch.way.t_ns if self.now_ns < t < edge]
        return [*ahead, edge] if edge <= self._stretch.end else ahead

    def _go_on(self, until_ns: int) -> None:
        """The next stretch: steps from where the last one ended up to `until_ns`, never past a waiting control."""
        begin = self._stretch.end
        self._past.keep(Shown(self._stretch, *self._shown))
        if self._waiting is not None and self._waiting[1] <= begin:
            self._change_control()
            step_ns, steps = round(_AFTER_A_CHANGE * 1e9), 1
        else:
            step_ns = round(self._step_length() * 1e9)
            steps = min(-((begin - until_ns) // step_ns), _MOST_STEPS)
        if (error := self.faults.reference_error(begin)) != self._reference_error:
            self._reference_moved(error)
        last = NEVER if self._waiting is None else max(self._waiting[1], begin + 1)
        edge = self.faults.next_edge(begin)
        steps = min(steps, (min(last, edge) - begin) // step_ns)
        self._shown = self._word()
        before = self._seen() if self._told else self._stretch.seen[-1]
        self._told = False
        if steps > 1 and not self.coarse.moving(begin) and self._steps(step_ns, steps, before):
            return
        end = min(begin + step_ns, last)
        if self.faults.reference_error(end - 1) != error:
            end = min(end, edge)
        self._step(end, before)

    def _step(self, end: int, before: tuple[float, ...]) -> None:
        """One step, in which the pipette may travel."""
        begin = self._stretch.end
        times = self._stops(begin, end)
        heights = [self.coarse.carriage(t) for t in times]
        first = self._pipette_at(heights)
        trace = self._record(end - begin, 1, heights)
        rise = self.specimen.course((end - begin) * 1e-9, trace)
        last = self.pipette.seen(trace.concentration[0], trace.ohmic_drop[0])
        share = [(t - begin) / (end - begin) for t in times]
        conductance, offset = (
            tuple(a + w * (b - a) for a, b, w in zip(*ends, share, strict=True))
            for ends in zip(first, last, strict=True)
        )
        self._take((begin, end), before, trace, rise, Way(times, conductance, offset))
        self._watch_cut_off()

    def _steps(self, step_ns: int, steps: int, before: tuple[float, ...]) -> bool:
        """Steps at one height of the pipette, as many as nothing happens in; False, and none, if that is none."""
        begin = self._stretch.end
        height = [self.coarse.carriage(begin)]
        first = self._pipette_at(height)
        self._kept = self._keep()
        try:
            trace = self._record(step_ns, steps, height)
            quiet = self._quiet_steps(trace)
        except CellStopped:
            quiet = 0
        if not quiet:
            self.cell.go_back(self._kept[0])
            return False
        rise = self.specimen.course(step_ns * 1e-9, trace if quiet == steps else trace.first(quiet))
        if len(rise) < steps:
            self.cell.go_back(self._kept[0])
            trace = self._record(step_ns, len(rise), height)
        times = tuple(begin + k * step_ns for k in range(len(rise) + 1))
        conductance, offset = self.pipette.seen(trace.concentration.T, trace.ohmic_drop.T)
        self._take(times, before, trace, rise, Way(times, (*first[0], *conductance), (*first[1], *offset)))
        return True

    def _record(self, step_ns: int, steps: int, heights: list[float]) -> Trace:
        return self.cell.record(step_ns * 1e-9, steps, [*heights, self.cell.parameters.reference_height])

    def _take(
        self, times: tuple[int, ...], before: tuple[float, ...], trace: Trace, rise: NDArray[np.float64], way: Way
    ) -> None:
        error = self._reference_error
        controlled = isinstance(self.control, PotentialRamp)
        set_points = self.cell.set_point_at(trace.time) + error if controlled else np.full(trace.time.size, math.nan)
        columns = (trace.potential + error, trace.current, trace.charge, set_points, trace.expansion)
        seen = [(*row, error) for row in np.array(columns).T.tolist()]
        self._stretch = Stretch(times, (before, *seen), np.concatenate((self._stretch.rise[-1:], rise)), way)

    def _keep(self) -> tuple[Any, Any]:
        return self.cell.keep(), self.specimen.keep()

    def _take_back(self) -> None:
        """Forget the steps that have not begun: the cell is about to be told something."""
        stretch = self._stretch
        steps = stretch.step_of(self.now_ns) + 1
        if steps >= len(stretch.t_ns) - 1:
            return
        self.cell.go_back(self._kept[0])
        self.specimen.go_back(self._kept[1])
        step_ns = stretch.t_ns[1] - stretch.t_ns[0]
        self.specimen.course(step_ns * 1e-9, self._record(step_ns, steps, []))
        self._stretch = stretch.first(steps)

    def _quiet_steps(self, trace: Trace) -> int:
        """Steps before the one at whose end a cut-off is met; all if none is."""
        met = np.flatnonzero(self._beyond_cut_off(trace.potential + self._reference_error))
        return int(met[0]) if met.size else trace.time.size

    def _stops(self, begin: int, end: int) -> tuple[int, ...]:
        """Instants from `begin` to `end` between which the pipette's height goes straight, and not far."""
        stops = [begin]
        while stops[-1] < end and self.coarse.moving(stops[-1]):
            leap = round(_LONGEST_WAY / self.coarse.rate() * 1e9) + 1
            stops.append(min(end, stops[-1] + leap, self.coarse.next_bend(stops[-1])))
        if stops[-1] < end:
            stops.append(end)
        return tuple(stops)

    def _reference_moved(self, error: float) -> None:
        """The reference's contact has jumped: a potentiostat that controls a potential holds the wrong one now."""
        program = self.cell.set_point + self._reference_error
        self._reference_error = error
        self._told = True
        if isinstance(self.control, PotentialRamp):
            slope = self.control.slope * (1.0 + self._skew)
            self.cell.set_potential(program - error, slope, self.control.ir_compensation)

    def _step_length(self) -> float:
        slope = abs(self.control.slope) if isinstance(self.control, PotentialRamp) else 0.0
        return _LONGEST_STEP if slope * _LONGEST_STEP <= _LARGEST_STEP else _LARGEST_STEP / slope

    def _change_control(self) -> None:
        assert self._waiting is not None
        self.control, self._waiting = self._waiting[0], None
        self.cut_off = False
        self._told = True
        if isinstance(self.control, PotentialRamp):
            self._skew = self.faults.skew(self._stretch.end)
            start, slope = self.control.start - self._reference_error, self.control.slope * (1.0 + self._skew)
            self.cell.set_potential(start, slope, self.control.ir_compensation)
        elif isinstance(self.control, ConstantCurrent):
            self.cell.set_current(self.control.current)
        else:
            self.cell.set_open_circuit()

    def _watch_cut_off(self) -> None:
        if self._beyond_cut_off(np.array(self._stretch.seen[-1][:1]))[0]:
            self.cut_off = self._told = True
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

    def _seen(self) -> tuple[float, ...]:
        cell = self.cell
        error = self._reference_error
        set_point = cell.set_point + error if isinstance(self.control, PotentialRamp) else math.nan
        return cell.potential + error, cell.current, cell.charge, set_point, cell.expansion, error

    def _pipette_at(self, heights: list[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(conductances [S], opposing potentials [V]) of the pipette now, at heights [m] above the mean surface.

        The height is the coarse one: over the few micrometres of a hop the bath changes by less than the noise.
        """
        return self.pipette.seen(*self.cell.bath_at([*heights, self.cell.parameters.reference_height]))
