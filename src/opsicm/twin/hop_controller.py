"""The twin's hop controller: runs plans with the compiled loop, without a gap from plan to plan of one segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.facts.channel import Channel, Quality
from opsicm.facts.hop import HOP_DTYPE, Outcome
from opsicm.facts.samples import SampleBlock
from opsicm.instruments.hop import HopSettings, HopTiming, start
from opsicm.instruments.roles import HopPlan, PlanOutcome
from opsicm.twin import hop_loop
from opsicm.twin.devices import Probe
from opsicm.twin.hop_lanes import run_lanes
from opsicm.twin.hop_sense import Motion, Slice
from opsicm.twin.loop_curve import loop_curve
from opsicm.twin.monitors import Monitors
from opsicm.twin.world import CellMoment, World

_NEVER: Final = 2**62


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
        settings = self._settings(plan)
        self._probe.follow()
        if plan.segment != self._segment:
            self._begin_segment(plan.segment)
        elif self._state.z_command != self._probe.z_command:  # the coarse stage has moved the piezo meanwhile
            self._state = start(self._probe.z_command)
        self._motion = self._motion._replace(filtered=self._motion.filtered + self._sparked())
        world.x, world.y = (float(plan.x[0]), float(plan.y[0])) if plan.x.size else (world.x, world.y)
        log = _HopLog(plan, self._sample, *self._true_places(plan))
        blocks: list[SampleBlock] = []
        last_start = self._sample + max(0, plan.until_ns - world.now_ns) // self._timing.dt_ns
        finished = plan.x.size == 0 and world.now_ns >= plan.until_ns
        while not finished:
            if stop():
                last_start = min(last_start, self._sample)
            finished = self._run_slice(plan, settings, log, blocks, last_start)
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

    def _settings(self, plan: HopPlan) -> HopSettings:
        # A dwell does not step: any amplitude does. Both ends are asked, so that a bad one anywhere is refused.
        amplitudes = plan.amplitude if plan.amplitude.size else np.array([plan.approach])
        smallest, largest = (float(f(amplitudes)) for f in (np.min, np.max))
        self._timing.settings(smallest, plan.fall_rate, plan.setpoint, plan.approach)
        return self._timing.settings(largest, plan.fall_rate, plan.setpoint, plan.approach)

    def _true_places(self, plan: HopPlan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the lateral piezos truly stand during each hop of the plan."""
        each = self._timing.duration(1e-6, plan.fall_rate)
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

    def _run_slice(
        self,
        plan: HopPlan,
        settings: HopSettings,
        log: _HopLog,
        blocks: list[SampleBlock],
        last_start: int,
    ) -> bool:
        """Samples up to the end of the present cell step; True when the plan has ended."""
        probe, world, dt_ns = self._probe, self._probe.world, self._timing.dt_ns
        dwelling = plan.x.size == 0
        end = min(world.step_end(), plan.until_ns) if dwelling else world.step_end()
        count = max(1, -(-(end - world.now_ns) // dt_ns))
        t0 = world.now_ns
        a, b = world.moment(t0), world.moment(t0 + count * dt_ns)
        surface, rise, rise_end = self._surface(log, a.t_ns, b.t_ns)
        last = max(t0, end - 1)  # a fault that begins with the next slice is not in this one
        now = Slice(
            probe.far_current(a, t0), probe.far_current(b, last), rise, rise_end, probe.leak(t0), probe.leak(last)
        )
        counts = np.empty((count, self._columns), np.int16)
        before = log.finished
        self._state, self._motion, taken, *clipped = run_lanes(
            self._state,
            self._motion._replace(z=probe.z, hop=log.finished),
            settings,
            probe.instrument,
            now,
            count,
            self._sample,
            plan.segment,
            probe.seed,
            _NEVER if dwelling else last_start,
            self._loop_curve(t0),
            surface,
            plan.amplitude,
            log.moments,
            log.measured,
            counts,
        )
        quality = np.full(counts.shape[1], Quality.GOOD, np.uint8)
        quality[: len(clipped)] = [Quality.SATURATED if count else Quality.GOOD for count in clipped]
        log.passed(t0, a.potential, a.current, world.shown_wire(a))
        t1 = t0 + taken * dt_ns
        c = world.moment(t1)
        if self._monitors.channels:
            counts, quality = self._with_monitors(counts[:taken], quality, a, c, log)
        blocks.append(SampleBlock(plan.segment, self._sample, t0, dt_ns, counts[:taken], quality))
        if plan.x.size:
            touched = log.measured[before : self._motion.hop + 1, hop_loop.GAP_MIN]
            probe.felt(float(touched.min(initial=np.inf)), t0)
        self._sample += taken
        probe.z, log.finished = self._motion.z, self._motion.hop
        probe.z_command = self._state.z_command
        world.now_ns = t1
        if not dwelling:
            hop_over = log.finished == plan.x.size or (taken < count)
        else:
            hop_over = t1 >= plan.until_ns or last_start <= self._sample
        if hop_over:
            log.passed(t1, c.potential, c.current, world.shown_wire(c))
        return hop_over

    def _surface(self, log: _HopLog, begin_ns: int, end_ns: int) -> tuple[NDArray[np.float64], float, float]:
        """(surface under each hop [m], rise at the slice's two ends [m]) against the scanner's zero.

        The rise is that under the hop in flight, coarse motion included; another hop of the plan may rise otherwise,
        which within one slice comes to less than its share of a step of the cell (0.1 s or 1 mV).
        """
        world, plan = self._probe.world, log.plan
        coarse = world.coarse_z(begin_ns), world.coarse_z(end_ns)
        if not plan.x.size:
            if self._probe.out_of_sight(min(coarse)):
                return plan.x, -coarse[0], -coarse[1]
            begins, ends = (self._probe.below(t_ns) - hop_loop.DWELL_SURFACE for t_ns in (begin_ns, end_ns))
            return plan.x, begins - coarse[0], ends - coarse[1]
        one = log.one_place
        many = slice(1) if one else slice(None)
        footprint = self._probe.footprint(log.true_x[many], log.true_y[many])
        begin, end = world.surface_now(footprint, begin_ns), world.surface_now(footprint, end_ns)
        hop = 0 if one else log.finished
        surface = np.full(plan.x.size, begin[0]) if one else begin
        if lurch := world.faults.lurch(begin_ns):
            surface = surface + lurch
        return surface, -coarse[0], float(end[hop] - begin[hop]) - coarse[1]

    def _with_monitors(
        self, counts: NDArray[np.int16], quality: NDArray[np.uint8], a: CellMoment, b: CellMoment, log: _HopLog
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """The loop's samples between moments `a` and `b`, with the other channels beside them."""
        world, plan, wanted = self._probe.world, log.plan, self._monitors.names
        together = np.empty((counts.shape[0], len(self._channels)), np.int16)
        together[:, : self._columns] = counts
        ends = {
            "pipette_bias": (world.command(a.t_ns), world.command(b.t_ns)),
            "cell_potential": (a.potential, b.potential),
            "cell_current": (a.current, b.current),
            "x": (world.x, world.x),
            "y": (world.y, world.y),
        }
        paths = {}
        if plan.x.size and wanted & {"x", "y"}:
            at = log.hop_of(self._sample + np.arange(counts.shape[0]))
            paths = {"x": plan.x[at], "y": plan.y[at]}
        beside = self._monitors.fill(together[:, self._columns :], ends, paths, plan.segment, self._sample)
        return together, np.concatenate([quality, beside])


class _HopLog:
    """The events of a plan, and what the cell did meanwhile at the ends of its slices."""

    def __init__(
        self, plan: HopPlan, first_sample: int, true_x: NDArray[np.float64], true_y: NDArray[np.float64]
    ) -> None:
        n = plan.x.size
        self.true_x, self.true_y = true_x, true_y
        self.plan = plan
        self.one_place = bool(n and np.ptp(true_x) == 0.0 == np.ptp(true_y))
        self.finished = 0
        self.moments = np.full((n, 5), -1, np.int64)
        if n:
            self.moments[0, hop_loop.START] = first_sample
        self.measured = np.full((n, 5), np.inf)
        self._first_sample = first_sample
        self._knots: list[tuple[int, float, float, float]] = []

    def passed(self, t_ns: int, potential: float, current: float, tip_potential: float) -> None:
        """The cell at the end of a slice."""
        self._knots.append((t_ns, potential, current, tip_potential - self.plan.tip_potential))

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
        hops["setpoint"] = plan.setpoint
        knots = np.array(self._knots)
        hops["t_ns"] = self._knots[0][0] + (moments[:, hop_loop.STOP] - self._first_sample) * dt_ns
        for column, name in enumerate(("cell_potential", "cell_current", "bias_residual"), start=1):
            hops[name] = np.interp(hops["t_ns"], knots[:, 0], knots[:, column])
        assert set(np.unique(hops["outcome"])) <= {int(o) for o in Outcome}
        return hops
