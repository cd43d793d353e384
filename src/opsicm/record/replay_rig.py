"""A stored run as a rig: every role answers from the run file, at the replay's own clock.

The specification of the run's own rig file gives what a run file does not state: ranges, hop times, start height.
What is commanded is compared with what was recorded and refused by `NotAsRecorded` where it differs; nothing moves.
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
from opsicm.instruments.roles import CellReading, HopPlan, PlanOutcome
from opsicm.instruments.specification import HopControllerSpecification, RigSpecification, ScannerSpecification
from opsicm.record.replay import Recorded, Replay

_THERE: Final = 1e-6  # [m] within which the coarse stage has arrived: more than a step of its motor
_PLACE: Final = ("x", "y", "line", "pixel")


class _Role:
    def __init__(self, run: Recorded) -> None:
        self._run = run

    def safe(self) -> None:
        """A record moves nothing: it only stops being told."""
        self._run.made_safe = True


class _Clock:
    def __init__(self, run: Recorded) -> None:
        self._run = run

    def now_ns(self) -> int:
        return self._run.now_ns

    def wait_until(self, t_ns: int) -> None:
        self._run.wait_until(t_ns)


class _Amplifier(_Role):
    """What the wire did is in the record, what it was told is not: a command within the range changes nothing."""

    def __init__(self, run: Recorded, command_range: tuple[float, float]) -> None:
        super().__init__(run)
        self._range = command_range

    @property
    def command_range(self) -> tuple[float, float]:
        return self._range

    def command(self, volts: float, slope: float = 0.0) -> None:  # noqa: ARG002
        self._run.must_go_on("amplifier command")
        low, high = self._range
        if not low <= volts <= high:
            limit = f"the command input reaches {low:g} … {high:g} V"
            raise OutsideDomain(Problem("amplifier command", f"{volts:.3f} V", limit, "use a smaller potential range"))

    def read(self) -> tuple[float, float]:
        row = self._run.reading()
        return row.pipette_current, row.pipette_bias


class _Potentiostat(_Role):
    def apply(self, control: CellControl, at_ns: int) -> None:
        self._run.apply(control, at_ns)

    def read(self) -> CellReading:
        """The cell now; after `safe` only where the record is at open circuit too."""
        run, row = self._run, self._run.reading()
        if run.made_safe and row.control != "open_circuit":
            run.refuse("cell", "meant to be open", f"control {row.control}: it was not made safe here")
        return CellReading(
            row.t_ns, row.potential, row.current, row.charge, row.set_point, row.control, run.cut_off(row)
        )


class _Scanner(_Role):
    def __init__(self, run: Recorded, like: ScannerSpecification) -> None:
        super().__init__(run)
        self._z_range = (-like.z_reach, like.z_reach)
        self._xy_range = (-like.xy_reach, like.xy_reach)

    @property
    def z_range(self) -> tuple[float, float]:
        return self._z_range

    @property
    def xy_range(self) -> tuple[float, float]:
        return self._xy_range

    def read_z(self) -> float:
        return self._run.reading().z


class _CoarseStage:
    def __init__(self, run: Recorded) -> None:
        self._run = run

    def move_to(self, z: float, speed: float | None = None) -> int:  # noqa: ARG002
        """When the record is there: at the first row that shows it, at the latest when the next hop begins.

        Refused where no later row is at `z` and the next one is no nearer to it than now.
        """
        run = self._run
        run.must_go_on("coarse stage")
        here, now = self.position(), run.now_ns
        if abs(here - z) <= _THERE:
            return now
        later = [row for row in run.rows if row.t_ns > now]
        arrived = next((row.t_ns for row in later if abs(row.coarse_z - z) <= _THERE), None)
        if arrived is None:
            if later and abs(later[0].coarse_z - z) >= abs(here - z):
                asked = f"asked to {z * 1e6:.2f} µm"
                run.refuse("coarse stage", asked, f"it on its way to {later[0].coarse_z * 1e6:.2f} µm")
            arrived = run.end_ns
        hops: list[int] = run.started_ns[run.hops_told : run.hops_told + 1].tolist()
        return max(now, min([arrived, *hops]))

    def position(self) -> float:
        return self._run.reading().coarse_z


class _HopController(_Role):
    """Returns what was recorded, turn by turn: a plan is what may be told at most, never what is made."""

    def __init__(self, run: Recorded, like: HopControllerSpecification) -> None:
        super().__init__(run)
        # A run that never sampled names no channels and no period.
        self._channels = run.header.channels
        self._timing = replace(like.timing, dt_ns=run.header.dt_ns) if self._channels else like.timing
        self._start_height = like.start_height

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
        run.must_go_on("hop plan")
        if plan.x.size == 0 and run.now_ns >= plan.until_ns:
            return PlanOutcome([], run.hops[:0])
        began, first = run.now_ns, run.hops_told
        blocks = self._told(plan, stop)
        done = int(np.searchsorted(run.topped_ns[first:], run.now_ns, side="right"))
        if run.now_ns == began and not done:
            run.refuse("hop plan", f"until {plan.until_ns * 1e-9:.6f} s", "ended")
        self._compare(plan, first, done)
        run.hops_told += done
        return PlanOutcome(blocks, run.hops[first : first + done])

    def _told(self, plan: HopPlan, stop: Callable[[], bool]) -> list[SampleBlock]:
        run, dt_ns = self._run, self._timing.dt_ns
        limit = self._last(plan)
        blocks: list[SampleBlock] = []
        while (block := run.coming_block()) is not None and block.t0_ns < limit and not self._a_turn_ends(block):
            if block.segment != plan.segment:
                run.refuse("hop plan", f"of segment {plan.segment}", f"samples of segment {block.segment}")
            if stop():
                limit = min(limit, self._in_flight(run.now_ns, block.t0_ns + block.counts.shape[0] * dt_ns))
            # A sample that begins before the end belongs to the plan: where the plan ended between two, so did it then.
            blocks.append(run.take(block, limit))
            if run.now_ns > limit - dt_ns or (run.now_ns in run.stops and not self._hops_at(run.now_ns)):
                return blocks
        # Nothing more was sampled in this turn: the pipette travelled, or the record ends.
        ahead = [t for t in run.stops if t > run.now_ns]
        run.advance(min([limit, run.end_ns, *ahead]))
        return blocks

    def _a_turn_ends(self, block: SampleBlock) -> bool:
        """Whether time passes without samples before the coming block, and a turn ends in it."""
        return any(self._run.now_ns < t <= block.t0_ns for t in self._run.stops)

    def _last(self, plan: HopPlan) -> int:
        """[ns] where the plan ends at the latest: with its last hop, or the one in flight at `until_ns`."""
        if plan.x.size == 0:
            return plan.until_ns
        first, topped = self._run.hops_told, self._run.topped_ns
        limit = self._in_flight(plan.until_ns, plan.until_ns)
        last = first + plan.x.size - 1
        return min(limit, int(topped[last])) if last < topped.size else limit

    def _in_flight(self, t_ns: int, otherwise: int) -> int:
        """[ns] at which the hop ends that has begun by `t_ns`; `otherwise` between two hops."""
        k = int(np.searchsorted(self._run.started_ns, t_ns, side="right")) - 1
        return int(self._run.topped_ns[k]) if k >= 0 and self._run.topped_ns[k] > t_ns else otherwise

    def _hops_at(self, t_ns: int) -> bool:
        k = int(np.searchsorted(self._run.started_ns, t_ns, side="left")) - 1
        return k >= 0 and int(self._run.topped_ns[k]) > t_ns

    def _compare(self, plan: HopPlan, first: int, done: int) -> None:
        """Refuse a plan whose hops are not the recorded ones."""
        run = self._run
        hops = run.hops[first : first + done]
        if done > plan.x.size or self._hops_at(run.now_ns):
            run.refuse("hop plan", f"of {plan.x.size} hops", f"{done + 1} or more")
        if not done:
            return
        same = [bool(np.array_equal(hops[name], getattr(plan, name)[:done])) for name in _PLACE]
        same += [bool(np.all(run.steps[first : first + done] == plan.step))]
        same += [bool(np.all(hops["setpoint"] == plan.parameters.setpoint))]
        same += [bool(np.array_equal(hops["hop"], plan.first_hop + np.arange(done)))]
        if not all(same):
            names = (*_PLACE, "step", "setpoint", "number")
            other = ", ".join(name for name, one in zip(names, same, strict=True) if not one)
            run.refuse("hop plan", f"of {plan.step}", f"hop {int(hops['hop'][0])} with another {other}")


def _recorded(setup: RoleSetup) -> Recorded:
    run = setup.address or ""
    return setup.rig.shared(
        ("replay", run), lambda: Recorded(setup.rig.connections.enter_context(Replay(Path(run))), setup.rig.on_advance)
    )


def _driver(role: RoleName, connect: Callable[[Recorded, RigSpecification], Any]) -> Driver:
    return Driver(
        "replay",
        role,
        "a stored run, with run --rig RUN",
        lambda setup, like, _: connect(_recorded(setup), like),
        clock=_clock,
        real_time=False,
    )


def _clock(setup: RoleSetup, _: RigSpecification) -> Clock:
    return _Clock(_recorded(setup))


DRIVERS: Final = (
    _driver("amplifier", lambda run, like: _Amplifier(run, like.amplifier.command_range)),
    _driver("potentiostat", lambda run, _: _Potentiostat(run)),
    _driver("scanner", lambda run, like: _Scanner(run, like.scanner)),
    _driver("coarse_stage", lambda run, _: _CoarseStage(run)),
    _driver("hop_controller", lambda run, like: _HopController(run, like.hop_controller)),
)
