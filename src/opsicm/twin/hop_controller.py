"""The twin's hop controller: runs plans with the compiled loop, without a gap from plan to plan of one segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import HOP_DTYPE, Channel, Outcome, Quality, SampleBlock
from opsicm.instruments.hop import HopSettings, HopTiming, start
from opsicm.instruments.roles import HopPlan, PlanOutcome
from opsicm.twin import fast_loop
from opsicm.twin.devices import Monitors, Probe, TwinDevice
from opsicm.twin.fast_loop import Breakpoints, FilterState, Hops, LoopState, Stream, approach_table, run_slices
from opsicm.twin.trajectory import CellStates
from opsicm.twin.world import AHEAD_NS, World

_SLICES_PER_LOOK: Final = 5  # of at most 0.1 s each, between two looks whether the plan is to be stopped
OnBlock = Callable[[SampleBlock, NDArray[Any]], None]
"""Called with every block as soon as it is there, and with the records of the hops that have ended before it."""

_NO_HOPS: Final = np.zeros(0, HOP_DTYPE)


class TwinHopController(TwinDevice):
    """Runs hop plans. `closest_gap` [m] is the smallest true distance so far: for tests of safety, never recorded.

    Where others act on the world during a plan, as over the wires of an emulated rig, `slice_ns` is the longest piece
    that is taken at once; after each `on_advance` may hold the world back and let the others act.
    """

    def __init__(
        self,
        probe: Probe,
        timing: HopTiming,
        channels: tuple[Channel, ...],
        monitors: Monitors,
        start_height: float,
        on_advance: Callable[[int], None],
        slice_ns: int | None = None,
    ) -> None:
        self._probe = probe
        self._now_ns = lambda: probe.world.now_ns
        self._slice_ns = slice_ns
        self._timing = timing
        self._channels = (*channels, *monitors.channels)
        self._columns = len(channels)  # of the loop itself
        self._monitors = monitors
        self._start_height = start_height
        self._on_advance = on_advance
        self._segment = -1
        self._sample = 0
        self._loop = LoopState(start(0.0), FilterState(0.0, 0.0, 0.0), 0)
        self._tabulated = probe.curve(0)
        self._table = approach_table(self._tabulated)
        self._transient_seen = (0.0, 0)
        self._sampled_ns = 0  # up to where samples have been taken
        self._withdrawn = False
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
        self._withdrawn = True  # a plan under way ends within its hop

    def rise_to(self, z: float) -> None:
        """Withdraw to `z` [m] as far as the scanner goes; a pipette that is higher stays where it is."""
        self._probe.follow()
        self._probe.z = self._probe.z_command = max(self._probe.z, min(z, self._probe.instrument.z_reach))

    def run(self, plan: HopPlan, stop: Callable[[], bool], on_block: OnBlock | None = None) -> PlanOutcome:
        """Run the plan; the world moves with it. Whoever makes the pipette safe meanwhile ends it within the hop.

        With `on_block` the samples are those of a clock that nobody waits for: what passed since the last plan counts.
        """
        world = self._probe.world
        longest_hop = plan.longest_hop()
        settings = self._timing.settings(longest_hop)
        self._probe.follow()
        self._withdrawn = False
        if plan.segment != self._segment:
            self._begin_segment(plan.segment)
        elif on_block is not None and world.now_ns > self._sampled_ns:
            self._skip_what_was_not_sampled()
        if self._loop.controller.z_command != self._probe.z_command:  # the coarse stage has moved the piezo meanwhile
            self._loop = self._loop._replace(controller=start(self._probe.z_command))
        filters = self._loop.filters
        filters = filters._replace(filtered=filters.filtered + self._capacitive_transient())
        self._loop = LoopState(self._loop.controller, filters, 0)
        world.x, world.y = (float(plan.x[0]), float(plan.y[0])) if plan.x.size else (world.x, world.y)
        each = self._timing.duration(longest_hop)
        log = _HopLog(plan, self._sample, world.now_ns, *self._true_positions(plan), world.electrode_follows_cell)
        log.likely_end_ns = world.now_ns + round(plan.x.size * each * 1e9)
        log.stop_after(self._sample + max(0, plan.until_ns - world.now_ns) // self._timing.dt_ns)
        blocks: list[SampleBlock] = []
        finished = plan.x.size == 0 and world.now_ns >= plan.until_ns
        reported = 0
        while not (finished or self._withdrawn):
            ended = log.finished
            finished = self._run_segment(plan, settings, log, blocks, stop)
            if on_block is not None:
                # Not the hops that have ended in this very block: the cell at their stop is known with the next one.
                records = (
                    log.records(self._timing.dt_ns, self._monitors)[reported:ended] if ended > reported else _NO_HOPS
                )
                reported = ended
                on_block(blocks[-1], records)
            self._sampled_ns = world.now_ns
            if self._slice_ns is not None:
                self._on_advance(world.now_ns)
        if log.finished:
            self.closest_gap = min(self.closest_gap, float(log.hops.measured[: log.finished, fast_loop.GAP_MIN].min()))
            world.x, world.y = float(plan.x[log.finished - 1]), float(plan.y[log.finished - 1])
        self._on_advance(world.now_ns)
        return PlanOutcome(blocks, log.records(self._timing.dt_ns, self._monitors))

    def _capacitive_transient(self) -> float:
        """The stray capacitance's answer [A] to a jump of the command since the last plan, once."""
        jump = self._probe.world.last_jump
        if jump == self._transient_seen:
            return 0.0
        self._transient_seen = jump
        return self._probe.capacitive_transient(self._probe.world.now_ns)

    def _true_positions(self, plan: HopPlan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the lateral piezos truly stand during each hop of the plan."""
        each = self._timing.duration(replace(plan.parameters, amplitude=1e-6))
        ahead = self._probe.world.now_ns * 1e-9 + each * np.arange(plan.x.size, dtype=np.float64)
        x, y = self._probe.axes
        return x.follow(plan.x, ahead), y.follow(plan.y, ahead)

    def _skip_what_was_not_sampled(self) -> None:
        """Count the samples since the last plan, which nobody asked for: sample k is at t0 + k dt, come what may."""
        skipped = -(-(self._probe.world.now_ns - self._sampled_ns) // self._timing.dt_ns)
        self._probe.world.advance_to(self._sampled_ns + skipped * self._timing.dt_ns)
        self._sample += skipped
        self._sampled_ns = self._probe.world.now_ns

    def _begin_segment(self, segment: int) -> None:
        self._segment, self._sample = segment, 0
        world = self._probe.world
        filtered = self._probe.true_current(world.state_at(world.now_ns))
        self._loop = LoopState(start(self._probe.z_command), FilterState(self._probe.z, 0.0, filtered), 0)

    def _approach_table(self, t_ns: int) -> NDArray[np.float32]:
        curve = self._probe.curve(t_ns)
        if curve is not self._tabulated:  # another tip
            self._tabulated, self._table = curve, approach_table(curve)
        return self._table

    def _run_segment(
        self, plan: HopPlan, settings: HopSettings, log: _HopLog, blocks: list[SampleBlock], stop: Callable[[], bool]
    ) -> bool:
        """Samples as far as the cell is known, in one block; True when the plan has ended."""
        probe, world, dt_ns = self._probe, self._probe.world, self._timing.dt_ns
        t0, begin = world.now_ns, self._sample
        rows = self._slices(plan, log)
        states = world.states_at(t0 + dt_ns * np.array(rows))
        breakpoints = self._breakpoints(rows, states, log)
        counts = np.empty((rows[-1], self._columns), np.int16)
        before, clipped = log.finished, np.zeros(2, np.int64)
        over = False
        for k in range(0, len(rows) - 1, _SLICES_PER_LOOK):
            if stop():
                log.stop_after(self._sample)
            some = breakpoints.between(k, k + _SLICES_PER_LOOK)
            clipped += self._run_slices(plan, settings, log, some, counts)
            if np.any(log.hops.moments[before : log.finished, fast_loop.OUTCOME] == Outcome.OVERLOAD):
                log.stop_after(self._sample)  # whoever gave the plan must judge that before the pipette goes down again
            over = self._over(plan, log, self._sample < begin + some.rows[-1])
            if over:
                break
        taken = self._sample - begin
        lasted = sum(n < taken for n in rows)
        states = world.states_at(np.append(states.t_ns[:lasted], world.now_ns))
        quality = np.full(counts.shape[1], Quality.GOOD, np.uint8)
        quality[: clipped.size][clipped > 0] = Quality.SATURATED
        if self._monitors.channels:
            counts, quality = self._with_monitors(counts[:taken], quality, states, log, begin)
        blocks.append(SampleBlock(plan.segment, begin, t0, dt_ns, counts[:taken], quality))
        if plan.x.size:
            gaps = log.hops.measured[before : self._loop.finished + 1, fast_loop.GAP_MIN]
            probe.check_contact(float(gaps.min(initial=np.inf)), t0)
        log.append(states, world.apparent_electrode_potentials(states), states.t_ns.size - (not over))
        return over

    def _run_slices(
        self, plan: HopPlan, settings: HopSettings, log: _HopLog, breakpoints: Breakpoints, counts: NDArray[np.int16]
    ) -> NDArray[np.int64]:
        """Run these slices and move on in time; how many samples of each channel the converter has clipped."""
        probe, world = self._probe, self._probe.world
        filters = self._loop.filters._replace(z=probe.z)
        self._loop, taken, *clipped = run_slices(
            LoopState(self._loop.controller, filters, log.finished),
            settings,
            probe.instrument,
            breakpoints,
            Stream(self._sample, plan.segment, probe.seed),
            log.hops,
            self._approach_table(world.now_ns),
            counts,
        )
        self._sample += taken
        probe.z, log.finished = self._loop.filters.z, self._loop.finished
        probe.z_command = self._loop.controller.z_command
        world.now_ns += taken * self._timing.dt_ns
        return np.array(clipped)

    def _over(self, plan: HopPlan, log: _HopLog, ended_early: bool) -> bool:
        if plan.x.size == 0:
            return self._probe.world.now_ns >= plan.until_ns or log.hops.last_start <= self._sample
        return log.finished == plan.x.size or ended_early

    def _slices(self, plan: HopPlan, log: _HopLog) -> list[int]:
        """The first sample of every slice in which the world is linear, from now on, and the one past the last.

        As many as the plan is likely to need and the world knows; one where a fault is scripted, for what it does may
        depend on what the probe did just before.
        """
        world, dt_ns = self._probe.world, self._timing.dt_ns
        until_ns = log.likely_end_ns if plan.x.size else plan.until_ns
        ends = world.breakpoints(until_ns + AHEAD_NS)
        if self._slice_ns is not None:
            ends = [min(ends[0], world.now_ns + self._slice_ns)]
        elif world.faults.each:
            ends = ends[:1]
        beyond = next((k for k, end in enumerate(ends) if end >= until_ns), len(ends) - 1)
        ends = ends[: beyond + 1]
        if not plan.x.size:
            ends[-1] = min(ends[-1], plan.until_ns)
        samples = [max(1, -(-(end - world.now_ns) // dt_ns)) for end in ends]
        return [0, *sorted(set(samples))]

    def _breakpoints(self, rows: list[int], states: CellStates, log: _HopLog) -> Breakpoints:
        """What the fast loop needs of the world at the slices' ends."""
        probe, world = self._probe, self._probe.world
        times = states.t_ns.tolist()
        coarse_z = world.coarse_heights(times)
        z_step = world.faults.z_step(times[0])
        if world.faults.each:  # one that begins with the next slice is not in this one
            times[-1] = max(times[0], times[-1] - self._timing.dt_ns)
        far, leaks = probe.far_currents(states, times), probe.leaks(times)
        return Breakpoints(np.array(rows), far, leaks, coarse_z, self._heights(log, states.t_ns), z_step)

    def _heights(self, log: _HopLog, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Surface [m, times × hops] under each hop; under the pipette, and any z step with it, where it dwells."""
        probe, hops = self._probe, log.plan.x.size
        if not hops:
            if probe.out_of_range(min(probe.world.coarse_z(t_ns) for t_ns in (int(times[0]), int(times[-1])))):
                return np.full((times.size, 1), fast_loop.DWELL_SURFACE)
            return np.array([[probe.below(t_ns)] for t_ns in times.tolist()])
        many = slice(1) if log.one_position else slice(None)
        footprint = probe.footprint(log.true_x[many], log.true_y[many])
        heights = probe.world.surfaces(footprint, times)
        return heights if heights.shape[1] == hops else np.repeat(heights, hops, axis=1)

    def _with_monitors(
        self, counts: NDArray[np.int16], quality: NDArray[np.uint8], states: CellStates, log: _HopLog, first_sample: int
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """The loop's samples, from `first_sample` and the first of `states` on, with the other channels beside."""
        world, plan, wanted = self._probe.world, log.plan, self._monitors.names
        together = np.empty((counts.shape[0], len(self._channels)), np.int16)
        together[:, : self._columns] = counts
        breakpoints = {
            "pipette_bias": world.commands(states.t_ns),
            "cell_potential": states.potential,
            "cell_current": states.current,
            "x": np.full(states.t_ns.size, world.x),
            "y": np.full(states.t_ns.size, world.y),
        }
        at = (states.t_ns - states.t_ns[0]) / self._timing.dt_ns
        paths = {}
        if plan.x.size and wanted & {"x", "y"}:
            hop = log.hop_of(first_sample + np.arange(counts.shape[0]))
            paths = {"x": plan.x[hop], "y": plan.y[hop]}
        beside = self._monitors.fill(together[:, self._columns :], at, breakpoints, paths, plan.segment, first_sample)
        return together, np.concatenate([quality, beside])


class _HopLog:
    """The events of a plan, and what the cell did meanwhile at the ends of its slices."""

    def __init__(
        self,
        plan: HopPlan,
        first_sample: int,
        begin_ns: int,
        true_x: NDArray[np.float64],
        true_y: NDArray[np.float64],
        follows_cell: float,
    ) -> None:
        n = plan.x.size
        self.likely_end_ns = 0
        self.true_x, self.true_y = true_x, true_y
        self.plan = plan
        self.one_position = bool(n and np.ptp(true_x) == 0.0 == np.ptp(true_y))
        self.finished = 0
        self._follows_cell = follows_cell  # share of the potentiostat's potential in the pipette electrode's
        self.hops = Hops(np.zeros(n), plan.amplitude, np.full((n, 5), -1, np.int64), np.full((n, 5), np.inf))
        if n:
            self.hops.moments[0, fast_loop.START] = first_sample
        self._first_sample, self._begin_ns = first_sample, begin_ns
        self._cell: list[NDArray[Any]] = []

    def stop_after(self, sample: int) -> None:
        """Let no hop begin after `sample`."""
        self.hops = self.hops._replace(last_start=min(self.hops.last_start, sample))

    def append(self, states: CellStates, electrode_potential: NDArray[np.float64], count: int) -> None:
        """The cell at the first `count` ends of slices."""
        residual = electrode_potential - self.plan.tip_potential
        self._cell.append(np.array((states.t_ns, states.potential, states.current, residual))[:, :count])

    def hop_of(self, samples: NDArray[np.int64]) -> NDArray[np.intp]:
        """The hop in the plan to which each sample belongs."""
        starts = self.hops.moments[:, fast_loop.START]
        return np.searchsorted(starts[starts >= 0], samples, side="right") - 1

    def records(self, dt_ns: int, monitors: Monitors) -> NDArray[Any]:
        """One record per finished hop; the cell as the potentiostat shows it, so its noise is in the residual too."""
        n, plan = self.finished, self.plan
        hops = np.zeros(n, HOP_DTYPE)
        if not n:
            return hops
        moments, measured = self.hops.moments[:n], self.hops.measured[:n]
        hops["hop"] = plan.first_hop + np.arange(n)
        for name in ("line", "pixel", "x", "y"):
            hops[name] = getattr(plan, name)[:n]
        hops["segment"] = plan.segment
        for name in ("start", "fall", "stop", "top"):
            hops[f"sample_{name}"] = moments[:, getattr(fast_loop, name.upper())]
        hops["outcome"] = moments[:, fast_loop.OUTCOME]
        for name in ("i_ref", "i_stop", "z_stop", "z_min"):
            hops[name] = measured[:, getattr(fast_loop, name.upper())]
        hops["setpoint"] = plan.parameters.setpoint
        cell = np.concatenate(self._cell, axis=1)
        hops["t_ns"] = self._begin_ns + (moments[:, fast_loop.STOP] - self._first_sample) * dt_ns
        for column, name in enumerate(("cell_potential", "cell_current", "bias_residual"), start=1):
            hops[name] = np.interp(hops["t_ns"], cell[0], cell[column])
        potential, current = (
            monitors.noise_of_hops(name, plan.segment, plan.first_hop, n) for name in ("cell_potential", "cell_current")
        )
        hops["cell_potential"] += potential
        hops["cell_current"] += current
        hops["bias_residual"] += potential * self._follows_cell
        return hops
