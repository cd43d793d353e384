"""A stored run as a rig: every role answers from the run file, at the replay's own clock.

The run's rig file gives what a run file does not state: ranges, hop times, start height. Commands are compared with the
record and refused by `NotAsRecorded` where they differ; nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.facts import Channel, SampleBlock
from opsicm.experiment.controls import CellControl
from opsicm.experiment.rig_file import RoleName
from opsicm.instruments.clock import Clock
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import CellReading, HopPlan, Identity, PlanOutcome, RoleState
from opsicm.instruments.specification import HopControllerSpecification, RigSpecification, ScannerSpecification
from opsicm.record.replay import Replay, ReplayedRun

_ARRIVED: Final = 1e-6  # [m] within which the coarse stage has arrived: more than a step of its motor
_POSITION_COLUMNS: Final = ("x", "y", "line", "pixel")


class _ReplayedRole:
    def __init__(self, run: ReplayedRun) -> None:
        self._run = run

    def identity(self) -> Identity:
        return Identity(f"stored run {self._run.header.title}")

    def state(self) -> RoleState:
        return RoleState(self._run.now_ns)

    def safe(self) -> None:
        """Nothing moves in a replay; from here on it refuses commands."""
        self._run.made_safe = True


class _ReplayClock:
    def __init__(self, run: ReplayedRun) -> None:
        self._run = run

    def now_ns(self) -> int:
        return self._run.now_ns

    def wait_until(self, t_ns: int) -> None:
        self._run.wait_until(t_ns)


class _ReplayedAmplifier(_ReplayedRole):
    """Returns the recorded current and bias; commands are not in the record, so any within the range is accepted."""

    def __init__(self, run: ReplayedRun, command_range: tuple[float, float]) -> None:
        super().__init__(run)
        self._range = command_range

    @property
    def command_range(self) -> tuple[float, float]:
        return self._range

    def command(self, volts: float, slope: float = 0.0) -> None:  # noqa: ARG002
        self._run.refuse_if_safe("amplifier command")
        low, high = self._range
        if not low <= volts <= high:
            limit = f"the command input reaches {low:g} … {high:g} V"
            raise OutsideDomain(Problem("amplifier command", f"{volts:.3f} V", limit, "use a smaller potential range"))

    def read(self) -> tuple[float, float]:
        row = self._run.reading()
        return row.pipette_current, row.pipette_bias

    def state(self) -> RoleState:
        """Gain, filter and mode as they were recorded."""
        run = self._run
        if not run.rows:
            return RoleState(run.now_ns)
        row = run.reading()
        told = {"gain_V_A": row.amplifier_gain, "filter_Hz": row.amplifier_filter, "mode": row.amplifier_mode or None}
        return RoleState(run.now_ns, settings={name: value for name, value in told.items() if value is not None})


class _ReplayedPotentiostat(_ReplayedRole):
    def apply(self, control: CellControl, at_ns: int) -> None:
        self._run.apply(control, at_ns)

    def read(self) -> CellReading:
        """The cell now; after `safe` only where the record is at open circuit too."""
        run, row = self._run, self._run.reading()
        if run.made_safe and row.control != "open_circuit":
            run.refuse("cell", "expected at open circuit", f"control {row.control}: it was not made safe here")
        return CellReading(
            row.t_ns, row.potential, row.current, row.charge, row.set_point, row.control, run.reached_cut_off(row)
        )


class _ReplayedScanner(_ReplayedRole):
    def __init__(self, run: ReplayedRun, specification: ScannerSpecification) -> None:
        super().__init__(run)
        self._z_range = (-specification.z_reach, specification.z_reach)
        self._xy_range = (-specification.xy_reach, specification.xy_reach)

    @property
    def z_range(self) -> tuple[float, float]:
        return self._z_range

    @property
    def xy_range(self) -> tuple[float, float]:
        return self._xy_range

    def read_z(self) -> float:
        return self._run.reading().z


class _ReplayedCoarseStage(_ReplayedRole):
    def move_to(self, z: float, speed: float | None = None) -> int:  # noqa: ARG002
        """Arrival time [ns]: the first row at `z`, at the latest the start of the next hop.

        Refused where no later row is at `z` and the next one is no nearer to it than the present height.
        """
        run = self._run
        run.refuse_if_safe("coarse stage")
        height, now = self.position(), run.now_ns
        if abs(height - z) <= _ARRIVED:
            return now
        later = [row for row in run.rows if row.t_ns > now]
        arrived = next((row.t_ns for row in later if abs(row.coarse_z - z) <= _ARRIVED), None)
        if arrived is None:
            if later and abs(later[0].coarse_z - z) >= abs(height - z):
                asked = f"asked to {z * 1e6:.2f} µm"
                run.refuse("coarse stage", asked, f"it on its way to {later[0].coarse_z * 1e6:.2f} µm")
            arrived = run.end_ns
        hops: list[int] = run.started_ns[run.hops_replayed : run.hops_replayed + 1].tolist()
        return max(now, min([arrived, *hops]))

    def position(self) -> float:
        return self._run.reading().coarse_z


class _ReplayedHopController(_ReplayedRole):
    """Returns the recorded samples and hops, turn by turn; a plan limits how much, and never changes them."""

    def __init__(self, run: ReplayedRun, specification: HopControllerSpecification) -> None:
        super().__init__(run)
        # A run that never sampled names no channels and no period.
        self._channels = run.header.channels
        self._timing = replace(specification.timing, dt_ns=run.header.dt_ns) if self._channels else specification.timing
        self._start_height = specification.start_height

    @property
    def timing(self) -> HopTiming:
        return self._timing

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    @property
    def start_height(self) -> float:
        return self._start_height

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        """The recorded samples from now to the end of the recorded turn, no longer than the plan asks, and their hops.

        Raises `NotAsRecorded` where the record has hops that the plan does not, or has ended.
        """
        run = self._run
        run.refuse_if_safe("hop plan")
        if plan.x.size == 0 and run.now_ns >= plan.until_ns:
            return PlanOutcome([], run.hops[:0])
        began, first = run.now_ns, run.hops_replayed
        blocks = self._replayed_blocks(plan, stop)
        done = int(np.searchsorted(run.ended_ns[first:], run.now_ns, side="right"))
        if run.now_ns == began and not done:
            run.refuse("hop plan", f"until {plan.until_ns * 1e-9:.6f} s", "ended")
        self._compare(plan, first, done)
        run.hops_replayed += done
        return PlanOutcome(blocks, run.hops[first : first + done])

    def _replayed_blocks(self, plan: HopPlan, stop: Callable[[], bool]) -> list[SampleBlock]:
        run, dt_ns = self._run, self._timing.dt_ns
        limit = self._latest_end(plan)
        blocks: list[SampleBlock] = []
        while (block := run.next_block()) is not None and block.t0_ns < limit and not self._turn_ends_before(block):
            if block.segment != plan.segment:
                run.refuse("hop plan", f"of segment {plan.segment}", f"samples of segment {block.segment}")
            if stop():
                limit = min(limit, self._end_of_hop(run.now_ns, block.t0_ns + block.counts.shape[0] * dt_ns))
            # A sample that begins before the end belongs to the plan, as it did when the run was recorded.
            blocks.append(run.take(block, limit))
            if run.now_ns > limit - dt_ns or (run.now_ns in run.turn_ends and not self._hop_in_progress(run.now_ns)):
                return blocks
        # Nothing more was sampled in this turn: the coarse stage moved, or the record ends.
        ahead = [t for t in run.turn_ends if t > run.now_ns]
        run.advance(min([limit, run.end_ns, *ahead]))
        return blocks

    def _turn_ends_before(self, block: SampleBlock) -> bool:
        """Whether a turn ends in a gap of the samples before the next block."""
        return any(self._run.now_ns < t <= block.t0_ns for t in self._run.turn_ends)

    def _latest_end(self, plan: HopPlan) -> int:
        """[ns] at which the plan ends at the latest: with its last hop, or the one in progress at `until_ns`."""
        if plan.x.size == 0:
            return plan.until_ns
        first, ended = self._run.hops_replayed, self._run.ended_ns
        limit = self._end_of_hop(plan.until_ns, plan.until_ns)
        last = first + plan.x.size - 1
        return min(limit, int(ended[last])) if last < ended.size else limit

    def _end_of_hop(self, t_ns: int, otherwise: int) -> int:
        """[ns] at which the hop in progress at `t_ns` ends; `otherwise` between two hops."""
        k = int(np.searchsorted(self._run.started_ns, t_ns, side="right")) - 1
        return int(self._run.ended_ns[k]) if k >= 0 and self._run.ended_ns[k] > t_ns else otherwise

    def _hop_in_progress(self, t_ns: int) -> bool:
        k = int(np.searchsorted(self._run.started_ns, t_ns, side="left")) - 1
        return k >= 0 and int(self._run.ended_ns[k]) > t_ns

    def _compare(self, plan: HopPlan, first: int, done: int) -> None:
        """Refuse a plan whose hops are not the recorded ones."""
        run = self._run
        hops = run.hops[first : first + done]
        if done > plan.x.size or self._hop_in_progress(run.now_ns):
            run.refuse("hop plan", f"of {plan.x.size} hops", f"{done + 1} or more")
        if not done:
            return
        agreements = [bool(np.array_equal(hops[name], getattr(plan, name)[:done])) for name in _POSITION_COLUMNS]
        agreements += [bool(np.all(run.steps[first : first + done] == plan.step))]
        agreements += [bool(np.all(hops["setpoint"] == plan.parameters.setpoint))]
        agreements += [bool(np.array_equal(hops["hop"], plan.first_hop + np.arange(done)))]
        if not all(agreements):
            names = (*_POSITION_COLUMNS, "step", "setpoint", "number")
            differing = ", ".join(name for name, matches in zip(names, agreements, strict=True) if not matches)
            run.refuse("hop plan", f"of {plan.step}", f"hop {int(hops['hop'][0])} with another {differing}")


def _replayed_run(setup: RoleSetup) -> ReplayedRun:
    run = setup.address or ""
    return setup.rig.shared(
        ("replay", run),
        lambda: ReplayedRun(setup.rig.connections.enter_context(Replay(Path(run))), setup.rig.on_advance),
    )


def _driver(role: RoleName, connect: Callable[[ReplayedRun, RigSpecification], Any]) -> Driver:
    return Driver(
        "replay",
        role,
        "a stored run, with run --rig RUN",
        lambda setup, specification, _: connect(_replayed_run(setup), specification),
        clock=_clock,
        real_time=False,
    )


def _clock(setup: RoleSetup, _: RigSpecification) -> Clock:
    return _ReplayClock(_replayed_run(setup))


DRIVERS: Final = (
    _driver("amplifier", lambda run, specification: _ReplayedAmplifier(run, specification.amplifier.command_range)),
    _driver("potentiostat", lambda run, _: _ReplayedPotentiostat(run)),
    _driver("scanner", lambda run, specification: _ReplayedScanner(run, specification.scanner)),
    _driver("coarse_stage", lambda run, _: _ReplayedCoarseStage(run)),
    _driver("hop_controller", lambda run, specification: _ReplayedHopController(run, specification.hop_controller)),
)
