"""The twin's hop controller: runs plans with the compiled loop, without a gap from plan to plan of one segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import HOP_DTYPE, Channel, Quality, SampleBlock
from opsicm.instruments.hop import HopSettings, HopTiming, start
from opsicm.instruments.roles import HopPlan, PlanOutcome
from opsicm.twin.devices import Monitors, Probe
from opsicm.twin.fast_loop import loop as hop_loop
from opsicm.twin.fast_loop.curve import loop_curve
from opsicm.twin.fast_loop.lanes import BULK, COARSE, FIRST, LEAK, LURCH, run_stretch
from opsicm.twin.fast_loop.sense import Motion
from opsicm.twin.trajectory import CellCourse
from opsicm.twin.world import AHEAD_NS, World

_NEVER: Final = 2**62
_SLICES_PER_LOOK: Final = 5  # of at most 0.1 s each, between two looks whether the plan is to be stopped


class TwinHopController:
    """Runs hop plans. `closest_gap` [m] is the smallest true distance so far: for tests of safety, never recorded."""

    def __init__(
        self,
        probe: Probe,
        timing: HopTiming,
        channels: tuple[Channel, ...],
        monitors: Monitors,
        start_height: float,
        on_advance: Callable[[int], None],
    ) -> None:
        self._probe = probe
        self._timing = timing
        self._channels = (*channels, *monitors.channels)
        self._columns = len(channels)  # of the loop itself
        self._monitors = monitors
        self._start_height = start_height
        self._on_advance = on_advance
        self._segment = -1
        self._sample = 0
        self._state = start(0.0)
        self._motion = Motion(0.0, 0.0, 0.0, 0)
        self._drawn_from = probe.curve(0)
        self._curve = loop_curve(self._drawn_from)
        self._spark_seen = (0.0, 0)
        self.closest_gap = np.inf

    @property
    def world(self) -> World:
        """The truth behind this controller: for tests that compare with it."""
        return self._probe.world

    @property
    def timing(self) -> HopTiming:
        return self._timing

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    @property
    def start_height(self) -> float:
        return self._start_height

    def safe(self) -> None:
        """Withdraw by the start height, at once, as far as the scanner goes."""
        self._probe.follow()
        self._probe.z = min(self._probe.z + self._start_height, self._probe.instrument.z_reach)
        self._probe.z_command = self._probe.z
        self._segment = -1

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        """Run the plan; the world moves with it."""
        world = self._probe.world
        longest = plan.longest()
        settings = self._timing.settings(longest)
        self._probe.follow()
        if plan.segment != self._segment:
            self._begin_segment(plan.segment)
        elif self._state.z_command != self._probe.z_command:  # the coarse stage has moved the piezo meanwhile
            self._state = start(self._probe.z_command)
        self._motion = self._motion._replace(filtered=self._motion.filtered + self._sparked())
        world.x, world.y = (float(plan.x[0]), float(plan.y[0])) if plan.x.size else (world.x, world.y)
        each = self._timing.duration(longest)
        log = _HopLog(plan, self._sample, world.now_ns, *self._true_places(plan))
        log.likely_end_ns = world.now_ns + round(plan.x.size * each * 1e9)
        log.last_start = self._sample + max(0, plan.until_ns - world.now_ns) // self._timing.dt_ns
        blocks: list[SampleBlock] = []
        finished = plan.x.size == 0 and world.now_ns >= plan.until_ns
        while not finished:
            finished = self._run_stretch(plan, settings, log, blocks, stop)
        if log.finished:
            self.closest_gap = min(self.closest_gap, float(log.measured[: log.finished, hop_loop.GAP_MIN].min()))
            world.x, world.y = float(plan.x[log.finished - 1]), float(plan.y[log.finished - 1])
        self._on_advance(world.now_ns)
        return PlanOutcome(blocks, log.records(self._timing.dt_ns))

    def _sparked(self) -> float:
        """The stray capacitance's answer [A] to a jump of the command since the last plan, once."""
        jump = self._probe.world.last_jump
        if jump == self._spark_seen:
            return 0.0
        self._spark_seen = jump
        return self._probe.spark(self._probe.world.now_ns)

    def _true_places(self, plan: HopPlan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the lateral piezos truly stand during each hop of the plan."""
        each = self._timing.duration(replace(plan.parameters, amplitude=1e-6))
        ahead = self._probe.world.now_ns * 1e-9 + each * np.arange(plan.x.size, dtype=np.float64)
        x, y = self._probe.axes
        return x.follow(plan.x, ahead), y.follow(plan.y, ahead)

    def _begin_segment(self, segment: int) -> None:
        self._segment, self._sample = segment, 0
        self._state = start(self._probe.z_command)
        world = self._probe.world
        filtered = self._probe.true_current(world.moment(world.now_ns))
        self._motion = Motion(self._probe.z, 0.0, filtered, 0)

    def _loop_curve(self, t_ns: int) -> NDArray[np.float32]:
        curve = self._probe.curve(t_ns)
        if curve is not self._drawn_from:  # another tip
            self._drawn_from, self._curve = curve, loop_curve(curve)
        return self._curve

    def _run_stretch(
        self, plan: HopPlan, settings: HopSettings, log: _HopLog, blocks: list[SampleBlock], stop: Callable[[], bool]
    ) -> bool:
        """Samples as far as the cell is known, in one block; True when the plan has ended."""
        probe, world, dt_ns = self._probe, self._probe.world, self._timing.dt_ns
        t0, begin = world.now_ns, self._sample
        first = self._slices(plan, log)
        course = world.course(t0 + dt_ns * np.array(first))
        knots, heights = self._knots(first, course), self._heights(log, course.t_ns)
        counts = np.empty((first[-1], self._columns), np.int16)
        before, clipped = log.finished, np.zeros(2, np.int64)
        over = False
        for k in range(0, len(first) - 1, _SLICES_PER_LOOK):
            if stop():
                log.last_start = min(log.last_start, self._sample)
            some = slice(k, k + _SLICES_PER_LOOK + 1)
            clipped += self._run_slices(plan, settings, log, knots[some], heights[some], counts)
            over = self._over(plan, log, self._sample < begin + first[some][-1])
            if over:
                break
        taken = self._sample - begin
        lasted = sum(n < taken for n in first)
        course = world.course(np.append(course.t_ns[:lasted], world.now_ns))
        quality = np.full(counts.shape[1], Quality.GOOD, np.uint8)
        quality[: clipped.size][clipped > 0] = Quality.SATURATED
        if self._monitors.channels:
            counts, quality = self._with_monitors(counts[:taken], quality, course, log, begin)
        blocks.append(SampleBlock(plan.segment, begin, t0, dt_ns, counts[:taken], quality))
        if plan.x.size:
            touched = log.measured[before : self._motion.hop + 1, hop_loop.GAP_MIN]
            probe.felt(float(touched.min(initial=np.inf)), t0)
        log.passed(course, world.shown_wires(course), course.t_ns.size - (not over))
        return over

    def _run_slices(
        self,
        plan: HopPlan,
        settings: HopSettings,
        log: _HopLog,
        knots: NDArray[np.float64],
        heights: NDArray[np.float64],
        counts: NDArray[np.int16],
    ) -> NDArray[np.int64]:
        """Run these slices and move on in time; how many samples of each channel the converter has clipped."""
        probe, world, dwelling = self._probe, self._probe.world, plan.x.size == 0
        self._state, self._motion, taken, *clipped = run_stretch(
            self._state,
            self._motion._replace(z=probe.z, hop=log.finished),
            settings,
            probe.instrument,
            knots,
            heights,
            self._sample,
            plan.segment,
            probe.seed,
            _NEVER if dwelling else log.last_start,
            self._loop_curve(world.now_ns),
            dwelling,
            plan.amplitude,
            log.moments,
            log.measured,
            counts,
        )
        self._sample += taken
        probe.z, log.finished = self._motion.z, self._motion.hop
        probe.z_command = self._state.z_command
        world.now_ns += taken * self._timing.dt_ns
        return np.array(clipped)

    def _over(self, plan: HopPlan, log: _HopLog, ended_early: bool) -> bool:
        if plan.x.size == 0:
            return self._probe.world.now_ns >= plan.until_ns or log.last_start <= self._sample
        return log.finished == plan.x.size or ended_early

    def _slices(self, plan: HopPlan, log: _HopLog) -> list[int]:
        """The first sample of every slice in which the world goes straight, from now on, and the one past the last.

        As many as the plan is likely to need and the world knows; one where a fault is scripted, for what it does may
        depend on what the probe did just before.
        """
        world, dt_ns = self._probe.world, self._timing.dt_ns
        until_ns = log.likely_end_ns if plan.x.size else plan.until_ns
        ends = world.bends(until_ns + AHEAD_NS)
        if world.faults.each:
            ends = ends[:1]
        beyond = next((k for k, end in enumerate(ends) if end >= until_ns), len(ends) - 1)
        ends = ends[: beyond + 1]
        if not plan.x.size:
            ends[-1] = min(ends[-1], plan.until_ns)
        samples = [max(1, -(-(end - world.now_ns) // dt_ns)) for end in ends]
        return [0, *sorted(set(samples))]

    def _knots(self, first: list[int], course: CellCourse) -> NDArray[np.float64]:
        """What the fast loop wants to know of the world at the slices' edges: see `run_stretch`."""
        probe, dt_ns, faults = self._probe, self._timing.dt_ns, self._probe.world.faults
        knots = np.empty((len(first), 5))
        knots[:, FIRST] = first
        times = course.t_ns.tolist()
        knots[:, COARSE] = [probe.world.coarse_z(t_ns) for t_ns in times]
        knots[:, LURCH] = faults.lurch(times[0])
        if faults.each:  # one that begins with the next slice is not in this one
            times[-1] = max(times[0], times[-1] - dt_ns)
        knots[:, BULK] = probe.far_currents(course, times)
        knots[:, LEAK] = probe.leaks(times)
        return knots

    def _heights(self, log: _HopLog, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Surface [m, times × hops] under each hop; under the pipette, and any lurch with it, where it dwells."""
        probe, hops = self._probe, log.plan.x.size
        if not hops:
            if probe.out_of_sight(min(probe.world.coarse_z(t_ns) for t_ns in (int(times[0]), int(times[-1])))):
                return np.full((times.size, 1), hop_loop.DWELL_SURFACE)
            return np.array([[probe.below(t_ns)] for t_ns in times.tolist()])
        many = slice(1) if log.one_place else slice(None)
        footprint = probe.footprint(log.true_x[many], log.true_y[many])
        heights = probe.world.surfaces(footprint, times)
        return heights if heights.shape[1] == hops else np.repeat(heights, hops, axis=1)

    def _with_monitors(
        self, counts: NDArray[np.int16], quality: NDArray[np.uint8], course: CellCourse, log: _HopLog, first_sample: int
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """The loop's samples, from `first_sample` and the first of `course` on, with the other channels beside."""
        world, plan, wanted = self._probe.world, log.plan, self._monitors.names
        together = np.empty((counts.shape[0], len(self._channels)), np.int16)
        together[:, : self._columns] = counts
        knots = {
            "pipette_bias": world.commands(course.t_ns),
            "cell_potential": course.potential,
            "cell_current": course.current,
            "x": np.full(course.t_ns.size, world.x),
            "y": np.full(course.t_ns.size, world.y),
        }
        at = (course.t_ns - course.t_ns[0]) / self._timing.dt_ns
        paths = {}
        if plan.x.size and wanted & {"x", "y"}:
            hop = log.hop_of(first_sample + np.arange(counts.shape[0]))
            paths = {"x": plan.x[hop], "y": plan.y[hop]}
        beside = self._monitors.fill(together[:, self._columns :], at, knots, paths, plan.segment, first_sample)
        return together, np.concatenate([quality, beside])


class _HopLog:
    """The events of a plan, and what the cell did meanwhile at the ends of its slices."""

    def __init__(
        self, plan: HopPlan, first_sample: int, begin_ns: int, true_x: NDArray[np.float64], true_y: NDArray[np.float64]
    ) -> None:
        n = plan.x.size
        self.likely_end_ns = 0
        self.last_start = _NEVER  # sample from which on no hop begins
        self.true_x, self.true_y = true_x, true_y
        self.plan = plan
        self.one_place = bool(n and np.ptp(true_x) == 0.0 == np.ptp(true_y))
        self.finished = 0
        self.moments = np.full((n, 5), -1, np.int64)
        if n:
            self.moments[0, hop_loop.START] = first_sample
        self.measured = np.full((n, 5), np.inf)
        self._first_sample, self._begin_ns = first_sample, begin_ns
        self._knots: list[NDArray[Any]] = []

    def passed(self, course: CellCourse, tip_potential: NDArray[np.float64], count: int) -> None:
        """The cell at the first `count` ends of slices."""
        residual = tip_potential - self.plan.tip_potential
        self._knots.append(np.array((course.t_ns, course.potential, course.current, residual))[:, :count])

    def hop_of(self, samples: NDArray[np.int64]) -> NDArray[np.intp]:
        """The hop in the plan to which each sample belongs."""
        starts = self.moments[:, hop_loop.START]
        return np.searchsorted(starts[starts >= 0], samples, side="right") - 1

    def records(self, dt_ns: int) -> NDArray[Any]:
        """One record per finished hop."""
        n, plan = self.finished, self.plan
        hops = np.zeros(n, HOP_DTYPE)
        if not n:
            return hops
        moments, measured = self.moments[:n], self.measured[:n]
        hops["hop"] = plan.first_hop + np.arange(n)
        for name in ("line", "pixel", "x", "y"):
            hops[name] = getattr(plan, name)[:n]
        hops["segment"] = plan.segment
        for name, column in (("start", 0), ("fall", 1), ("stop", 2), ("top", 3)):
            hops[f"sample_{name}"] = moments[:, column]
        hops["outcome"] = moments[:, hop_loop.OUTCOME]
        for name, column in (("i_ref", 0), ("i_stop", 1), ("z_stop", 2), ("z_min", 3)):
            hops[name] = measured[:, column]
        hops["setpoint"] = plan.parameters.setpoint
        knots = np.concatenate(self._knots, axis=1)
        hops["t_ns"] = self._begin_ns + (moments[:, hop_loop.STOP] - self._first_sample) * dt_ns
        for column, name in enumerate(("cell_potential", "cell_current", "bias_residual"), start=1):
            hops[name] = np.interp(hops["t_ns"], knots[0], knots[column])
        return hops
