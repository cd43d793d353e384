"""A hardware hop controller that speaks the hop protocol of `docs/reference/hop-protocol.md`, version 1, over TCP.

    hop_controller:
      driver: hop_box
      address: tcp://192.168.10.20:6400
      settings: {settle_ms: 4, reference_ms: 4, withdraw_nm_per_ms: 400, start_height_um: 3, max_fall_nm_per_ms: 100}

It hops by itself: nothing here is in the loop. Its sample clock is the run's where `clock.master` is `hop_controller`.
"""

from __future__ import annotations

import json
import math
import queue
import secrets
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, Problem
from opsicm.core.facts import HOP_DTYPE, Channel, Outcome, Quality, SampleBlock
from opsicm.core.units import to_si
from opsicm.drivers import hop_wire as wire
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.step_model import FileModel, Number
from opsicm.instruments.clock import Clock, monotonic_ns, pause, stopwatch
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.link import NOTICED, TIMEOUT, Link
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import HopPlan, Identity, PlanOutcome, RoleState
from opsicm.instruments.specification import HopControllerSpecification, RigSpecification

ROLE: Final = "hop_controller"
_LOOK: Final = 0.02  # [s] between two looks whether a plan is to be stopped
_NAP: Final = 0.05  # [s] of waiting at once: what is known of the device's clock gets better meanwhile
_ENDS: Final = 1.0  # [s] besides its hop in flight within which an aborted plan has ended
_FIRST: Final = 2.0  # [s] for the first greeting: nothing depends on it yet
_FOREVER_NS: Final = 2**62
_LONGEST_GAP: Final = 6_000_000  # samples, a minute at 100 kS/s: what is missing for longer is a loss
_PIECE: Final = 100_000  # samples of one block in their place
Answer = TypeVar("Answer")


class HopBoxSettings(FileModel):
    """The times of a hop as the device is set; `max_fall_nm_per_ms` bounds every plan, whatever the device allows."""

    display_name = "a hop controller that speaks the hop protocol"
    settle_ms: Annotated[Number, Field(ge=0, le=4000)] = 4.0
    reference_ms: Annotated[Number, Field(ge=0.004, le=4000)] = 4.0
    withdraw_nm_per_ms: Annotated[Number, Field(ge=0.4, le=4e5)] = 400.0
    start_height_um: Annotated[Number, Field(ge=0.003, le=3000)] = 3.0
    max_fall_nm_per_ms: Annotated[Number, Field(gt=0, le=1000)] = 1000.0
    silence_ms: Annotated[Number, Field(ge=200, le=5000)] = 1000.0


def specify(setup: RoleSetup) -> HopControllerSpecification:
    """What the rig file says of the device; `connect` compares it with what the device says of itself."""
    settings: HopBoxSettings = setup.settings
    rig = setup.rig.rig.rig
    timing = HopTiming(
        to_si("settle_ms", settings.settle_ms),
        to_si("reference_ms", settings.reference_ms),
        to_si("withdraw_nm_per_ms", settings.withdraw_nm_per_ms),
        rig.latency,
        rig.limits.overload,
        round(1e9 / rig.clock.rate),
    )
    return HopControllerSpecification(timing, to_si("start_height_um", settings.start_height_um))


class HopBoxClock:
    """The device's sample clock since this run connected, from the host's clock by offset and rate.

    Never goes back: where a better measured offset would take it back, it stands until it has caught up. A device
    behind which time is simulated states the speed of it, and so this clock runs at that speed.
    """

    def __init__(self, time: wire.TimeMap) -> None:
        self._time = time
        self.epoch_ns = time.device_ns(monotonic_ns())
        self._last_ns = 0

    def now_ns(self) -> int:
        """Nanoseconds of the device since this run connected."""
        self._last_ns = max(self._last_ns, self._time.device_ns(monotonic_ns()) - self.epoch_ns)
        return self._last_ns

    def wait_until(self, t_ns: int) -> None:
        """Return when the device's clock says `t_ns`."""
        while (left := t_ns - self.now_ns()) > 0:
            pause(min(left * 1e-9 / self._time.rate, _NAP))


class HopBox:
    """The role. `link` carries commands, each with a number of its own: sent twice, it is executed once."""

    def __init__(self, setup: RoleSetup, specification: HopControllerSpecification) -> None:
        settings: HopBoxSettings = setup.settings
        self._address = setup.address or ""
        host, port = self._where = _host_and_port(setup)
        session, silence = secrets.randbits(64), to_si("silence_ms", settings.silence_ms)
        self._time = wire.TimeMap()
        self._connected_before = False

        def connect() -> wire.HopLine:
            patience = TIMEOUT if self._connected_before else _FIRST
            line = _connected(*self._where, wire.CONTROLLER, session, silence, self._time, patience)
            self._connected_before, self._where = True, line.peer
            return line

        self._link: Link[wire.HopLine] = Link(ROLE, f"the hop controller at {host}:{port}", connect, _close, (OSError,))
        self._sequence = 0
        self._fastest = to_si("max_fall_nm_per_ms", settings.max_fall_nm_per_ms)
        self._segment = _Segment(-1)
        self._offset_ns = 0
        self._sampled_before: list[SampleBlock] = []  # since the last plan
        self._from_above = False  # whether a coarse motion has come since the last hop
        self._told = False  # that it has been lost: whoever goes on after that has looked
        self._complaint = ""
        try:
            self._link.open()
            self._welcome = self._link.ask(lambda line: line.welcome)
            self._link.ask(lambda line: line.exchange())
        except LimitCrossed as error:
            self._link.close()
            raise BadInput(error.problems) from error
        setup.rig.connections.callback(self.close)
        self._refuse_other_settings(setup, specification)
        if self._time.wrong:
            raise BadInput(self._wrong_time())
        self.clock = HopBoxClock(self._time)
        self._clock: Clock = self.clock
        self._command(wire.ARM, b"\x01")

    def stamp_on(self, clock: Clock) -> None:
        """Stamp what comes from here on `clock`, which is the rig's; its own or another."""
        self._clock = clock

    # -- the role

    @property
    def timing(self) -> HopTiming:
        """The times of a hop besides its approach, as the device states them."""
        return self._welcome.timing

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the sample blocks, in order, as the device states them."""
        return self._welcome.channels

    @property
    def start_height(self) -> float:
        """[m] above the mean surface from which the first approach of a step begins."""
        return self._welcome.start_height

    @property
    def safe_address(self) -> str:
        """Where a watchdog withdraws the pipette, on a connection of its own."""
        return f"driver:{__name__}:safe_channel {json.dumps({'address': self._address})}#{ROLE}"

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        """Run the plan on the device; once `stop()` is true the hop in flight is the last.

        Raises `LimitCrossed` for a plan beyond the ranges, before anything is sent, and `InstrumentLost` where the
        device is lost, or sends what cannot be believed: its `outcome` is what had arrived.
        """
        self._refuse_beyond(plan)
        if plan.segment != self._segment.number:
            self._segment = _Segment(plan.segment)
            own = self._clock is self.clock
            device_ns = self._time.device_ns(monotonic_ns())
            # One offset for a segment: sample k of it is at t0 + k dt, whatever is learnt of the other clock meanwhile.
            self._offset_ns = -self.clock.epoch_ns if own else self._clock.now_ns() - device_ns
        try:
            line, sequence = self._start(plan)
            outcome = _Plan(self, line, sequence, plan, self._segment, self._offset_ns).follow(stop)
        except InstrumentLost:
            self._told = True
            raise
        self._complaint = self._segment.gaps
        before, self._sampled_before = self._sampled_before, []
        before = [block for block in before if block.segment == plan.segment]
        outcome = replace(outcome, blocks=[*before, *outcome.blocks])
        if outcome.blocks and self._clock is not self.clock:  # one that is simulated has to be brought along
            last = outcome.blocks[-1]
            self._clock.wait_until(last.t0_ns + last.counts.shape[0] * last.dt_ns)
        return outcome

    def draw_up(self) -> None:
        """To the middle of the travel, or stay above it, before a coarse motion: a plan without hops, over at once."""
        time = self._link.ask(lambda line: line.exchange())
        if not time.z >= 0.0:
            none, numbers = np.zeros(0), np.zeros(0, np.int32)
            still = HopParameters(1e-6, 1e-6, 0.02, 1e-6)
            # In the present segment, whose samples go on: the plan itself has none.
            rise = HopPlan("draw up", self._segment.number, 0, none, none, numbers, numbers, none, still, 0.0, 0)
            line, sequence = self._start(rise, rise_to=0.0)
            # What was sampled since the last plan comes with this one, and belongs to the next.
            done = _Plan(self, line, sequence, rise, self._segment, self._offset_ns).follow(lambda: False)
            self._sampled_before += done.blocks
        self._from_above = True

    def centre_at(self, t_ns: int, arrived: Callable[[], bool]) -> None:
        """Nothing: only a hop lowers the pipette, watching its current; the next approach is longer by that way."""

    def identity(self) -> Identity:
        """Who answers; asked anew each time: the greeting of a line says it."""
        welcome = self._link.ask(lambda line: (line.exchange(), line.welcome)[1])
        return Identity(welcome.model, welcome.serial, welcome.firmware)

    def state(self) -> RoleState:
        """Quality now; height, state and the rate of the device's clock as it says them."""
        now_ns = self._clock.now_ns
        try:
            self._link.revive()
            time = self._link.ask(lambda line: line.exchange())
        except InstrumentLost as lost:
            self._told = True
            return RoleState(now_ns(), Quality.MISSING, str(lost))
        state = wire.STATES[time.state] if time.state < len(wire.STATES) else f"state {time.state}"
        settings: dict[str, float | str] = {"state": state, "z_m": time.z, "clock_rate": self._time.rate}
        complaint = str(self._wrong_time()) if self._time.wrong else self._complaint
        if time.state == wire.LATCHED:
            complaint = f"it is latched safe: {_reason(time.reason)}"
        elif not math.isfinite(time.z):
            complaint = "it says no height"
        return RoleState(now_ns(), Quality.SUSPECT if complaint else Quality.GOOD, complaint, settings)

    def safe(self) -> None:
        """Pipette up at once, whatever runs."""
        self._segment = _Segment(-1)  # a withdrawal ends it
        self._command(wire.WITHDRAW)

    def close(self) -> None:
        """Disarm, so that the next controller need not wait for this one to come back, and leave."""
        if not self._link.lost:
            with suppress(LimitCrossed):  # it then finds out by itself that nobody is there, and withdraws
                self._command(wire.ARM, b"\x00")
        self._link.close()

    # -- commands

    def command_on(self, line: wire.HopLine, kind: int) -> None:
        """A command on this line or not at all, as while a plan runs on it."""
        self._sequence += 1
        line.request(kind, self._sequence)

    def _command(self, kind: int, payload: bytes = b"") -> bytes:
        self._sequence += 1
        sequence = self._sequence
        return self._asked(lambda line: line.request(kind, sequence, payload))

    def _asked(self, what: Callable[[wire.HopLine], Answer]) -> Answer:
        try:
            return self._link.ask(what)
        except wire.Refused as refused:
            remedy = "look at what it says, then start the run anew"
            raise LimitCrossed(Problem(ROLE, "refused by the device", refused.text, remedy)) from refused

    def _start(self, plan: HopPlan, rise_to: float = math.nan) -> tuple[wire.HopLine, int]:
        """The line on which the device has accepted the plan, and the plan's number."""
        until_ns = _FOREVER_NS if plan.until_ns >= _FOREVER_NS else plan.until_ns - self._offset_ns
        time = self._link.ask(lambda line: line.exchange())
        waited, hop = stopwatch(), self._welcome.timing.duration(plan.longest_hop()) / self._welcome.speed
        while time.state == wire.RUNNING and waited() < _ENDS + hop:  # the hop in flight of a plan that was interrupted
            pause(_LOOK)
            time = self._link.ask(lambda line: line.exchange())
        if self._time.wrong:
            raise InstrumentLost(ROLE, self._wrong_time())
        if time.state == wire.LATCHED:
            self._arm_again(time.reason)
        payload = wire.plan_payload(self._reaching(plan, time.z), until_ns, rise_to)
        self._sequence += 1
        sequence, sent = self._sequence, []

        def start(line: wire.HopLine) -> tuple[wire.HopLine, bytes]:
            sent.append(line)
            return line, line.request(wire.PLAN, sequence, payload)

        line, answer = self._asked(start)
        if wire.acknowledged(answer)[2] and line is not sent[0]:
            # Accepted on a line that broke before its answer came: the device has ended that plan, and runs none twice.
            limit = "the line broke as the plan began, and what was hopped until then has not arrived"
            raise InstrumentLost(ROLE, Problem(ROLE, "plan interrupted", limit, "check its cable, then resume"))
        return line, sequence

    def _reaching(self, plan: HopPlan, z: float) -> HopPlan:
        """The first plan of hops after a coarse motion approaches from `z` [m], where approaches usually begin at 0."""
        if not (plan.x.size and self._from_above):
            return plan
        self._from_above = False
        low, high = self._welcome.z_range
        farther = min(plan.parameters.approach + max(0.0, z), high - low)
        return replace(plan, parameters=replace(plan.parameters, approach=farther))

    def _arm_again(self, reason: int) -> None:
        """Only what the line's own failure has latched, and only once somebody has heard of it and goes on."""
        if reason in (wire.SILENCE, wire.LINE) and self._told:
            self._told = False
            self._command(wire.ARM, b"\x01")
            return
        remedy = "look at the rig, then resume" if reason in (wire.SILENCE, wire.LINE) else "look, then start a new run"
        limit = f"the pipette is up, for {_reason(reason)}"
        raise InstrumentLost(ROLE, Problem(ROLE, "latched safe", limit, remedy))

    # -- what is refused

    def _refuse_beyond(self, plan: HopPlan) -> None:
        welcome, hop = self._welcome, plan.longest_hop()
        (x0, x1), (z0, z1) = welcome.xy_range, welcome.z_range
        problems = []
        for axis, positions in (("x", plan.x), ("y", plan.y)):
            outside = positions[~((positions >= x0) & (positions <= x1))]
            if outside.size:
                limit = f"the scanner goes from {x0 * 1e6:g} to {x1 * 1e6:g} µm"
                problems.append(Problem(f"hop {axis}", f"{outside[0] * 1e6:g} µm", limit, "hop within its range"))
        fastest = min(self._fastest, welcome.fastest)
        largest = min(welcome.largest_amplitude, z1 - z0)
        for thing, value, most, unit in (
            ("approach rate", hop.fall_rate * 1e6, fastest * 1e6, "nm/ms"),
            ("hop amplitude", hop.amplitude * 1e9, largest * 1e9, "nm"),
            ("longest approach", hop.approach * 1e6, (z1 - z0) * 1e6, "µm"),
            ("hops of a plan", float(plan.x.size), float(welcome.most_hops), ""),
        ):
            if not value <= most * (1.0 + 1e-9):
                limit = f"this controller allows at most {most:g} {unit}".rstrip()
                problems.append(Problem(thing, f"{value:g} {unit}".rstrip(), limit, "give a smaller one"))
        if not math.isfinite(plan.tip_potential):
            problems.append(Problem("tip potential", f"{plan.tip_potential}", "must be a number", "report it"))
        if problems:
            raise LimitCrossed(problems)

    def _refuse_other_settings(self, setup: RoleSetup, specification: HopControllerSpecification) -> None:
        """`BadInput` where the device is set otherwise than the rig file says: the forecast would be another's."""
        device, file = self._welcome.timing, specification.timing
        problems = []
        for key, unit, factor, said, written in (
            ("settle_ms", "ms", 1e3, device.settle, file.settle),
            ("reference_ms", "ms", 1e3, device.reference, file.reference),
            ("withdraw_nm_per_ms", "nm/ms", 1e6, device.withdraw_rate, file.withdraw_rate),
            ("start_height_um", "µm", 1e6, self._welcome.start_height, specification.start_height),
        ):
            if not math.isclose(said, written, rel_tol=1e-6):
                limit = f"the device says {said * factor:g} {unit}"
                problems.append(setup.problem(key, float(f"{written * factor:.6g}"), limit, "set one as the other"))
        rig = setup.rig.rig
        if not math.isclose(device.latency, file.latency, rel_tol=1e-6, abs_tol=1e-9):
            limit = f"the device says {device.latency * 1e6:g} µs"
            problems.append(
                rig.problem(("latency_us",), float(f"{file.latency * 1e6:.6g}"), limit, "set one as the other")
            )
        if device.dt_ns != file.dt_ns:
            limit, rate = f"the device samples every {device.dt_ns} ns", float(f"{1e6 / file.dt_ns:.6g}")
            problems.append(rig.problem(("clock", "rate_kS_s"), rate, limit, f"write {1e6 / device.dt_ns:g}"))
        if device.overload > file.overload * (1.0 + 1e-9):
            limit = f"the device withdraws only at {device.overload * 1e9:g} nA"
            where = ("limits", "pipette_overload_nA")
            problems.append(
                rig.problem(where, float(f"{file.overload * 1e9:.6g}"), limit, "set the device to this limit")
            )
        if problems:
            raise BadInput(problems)

    def _wrong_time(self) -> Problem:
        remedy = "check the unit of its counter and its firmware, then start the run anew"
        return Problem(ROLE, "out of time", self._time.wrong, remedy)


@dataclass(slots=True)
class _Segment:
    """What has arrived of a segment: the time of sample 0 [device ns], the next sample, how many are missing."""

    number: int
    t0_ns: int | None = None
    sample: int = 0
    missing: int = 0

    @property
    def gaps(self) -> str:
        """What is missing, in words; empty where nothing is."""
        return f"{self.missing} samples of segment {self.number} have not arrived" if self.missing else ""


@dataclass(slots=True)
class _Plan:
    """A plan under way on a line, and what has arrived of it."""

    box: HopBox
    line: wire.HopLine
    sequence: int
    plan: HopPlan
    segment: _Segment
    offset_ns: int
    blocks: list[SampleBlock] = field(default_factory=list)
    hops: list[NDArray[Any]] = field(default_factory=list)

    def follow(self, stop: Callable[[], bool]) -> PlanOutcome:
        """The outcome, when the device says that the plan has ended."""
        quiet, aborted = stopwatch(), None
        while True:
            if aborted is None and stop():
                aborted = stopwatch()
                try:
                    self.box.command_on(self.line, wire.ABORT)
                except (OSError, wire.Refused) as error:
                    raise self._lost(f"it does not obey an abort ({error})", reachable=False) from error
            try:
                sequence, arrived = self.line.arrived.get(timeout=_LOOK)
            except queue.Empty:
                if quiet() > NOTICED:
                    raise self._lost(f"it has accepted a plan and sent nothing of it for {NOTICED:g} s") from None
            else:
                quiet = stopwatch()
                if isinstance(arrived, OSError):
                    raise self._lost(f"its line broke ({arrived})", reachable=False)
                if isinstance(arrived, SampleBlock):
                    self._take_block(arrived)  # of the last plan too: its segment may go on between two plans
                elif sequence == self.sequence:
                    if isinstance(arrived, wire.End):
                        return self._ended(arrived)
                    self._take_records(arrived)
            if aborted is not None and aborted() > self._patience():
                raise self._lost(f"it goes on {aborted():.1f} s after an abort")

    def _patience(self) -> float:
        timing, speed = self.line.welcome.timing, self.line.welcome.speed
        return _ENDS + timing.duration(self.plan.longest_hop()) / speed

    def _take_records(self, hops: NDArray[Any]) -> None:
        """Records of the plan's next hops; a contact's height would become the surface of the next approach.

        What is not the plan's is a loss, and is not among what had arrived: nobody can say where it was hopped.
        """
        first = sum(each.size for each in self.hops)
        self._require_planned(hops, first)
        hops["t_ns"] += self.offset_ns
        self.hops.append(hops)
        contacts = hops[hops["outcome"] == Outcome.CONTACT]
        for name in ("z_stop", "z_min", "i_ref", "i_stop"):
            without = contacts["hop"][~np.isfinite(contacts[name])]
            if without.size:
                raise self._lost(f"hop {without[0]} has ended in contact and its {name} is no number")
        low, high = self.line.welcome.z_range
        for name in ("z_stop", "z_min"):
            beyond = contacts[~((contacts[name] >= low) & (contacts[name] <= high))]
            if beyond.size:
                where = f"{beyond[name][0] * 1e6:g} µm, beyond {low * 1e6:g} … {high * 1e6:g} µm"
                raise self._lost(f"hop {beyond['hop'][0]} has ended in contact and its {name} is {where}")

    def _require_planned(self, hops: NDArray[Any], first: int) -> None:
        plan, last = self.plan, first + hops.size
        if last > plan.x.size:
            raise self._lost(f"it sends {last} records of a plan of {plan.x.size} hops")
        for name, planned in (
            ("hop", np.arange(plan.first_hop + first, plan.first_hop + last)),
            *((name, getattr(plan, name)[first:last]) for name in ("line", "pixel", "x", "y")),
        ):
            other = np.flatnonzero(hops[name] != planned)
            if other.size:
                k = other[0]
                raise self._lost(f"record {first + k} says {name} {hops[name][k]:g}, and the plan {planned[k]:g}")
        if hops.size and hops["outcome"].max() > max(Outcome):
            raise self._lost(f"it sends outcome {hops['outcome'].max()}, which no hop has")

    def _take_block(self, block: SampleBlock) -> None:
        segment = self.segment
        if block.segment != segment.number:
            return  # the tail of the one before, after its last plan: nobody has asked for it
        if segment.t0_ns is None:
            segment.t0_ns = block.t0_ns - block.first_sample * block.dt_ns
            segment.sample = block.first_sample
        late = block.t0_ns - segment.t0_ns - block.first_sample * block.dt_ns
        if late or block.first_sample < segment.sample:
            what = f"sample {block.first_sample} is {late} ns beside its time, after sample {segment.sample - 1}"
            raise self._lost(f"its samples and its clock disagree: {what}")
        if (gap := block.first_sample - segment.sample) > 0:
            self._mark_missing(block, gap)
        segment.sample = block.first_sample + block.counts.shape[0]
        self.blocks.append(replace(block, t0_ns=block.t0_ns + self.offset_ns))

    def _mark_missing(self, after: SampleBlock, gap: int) -> None:
        """Samples of quality missing in the place of those that did not come: a segment is recorded without a gap."""
        if gap > _LONGEST_GAP:
            raise self._lost(f"{gap} samples have not arrived")
        self.segment.missing += gap
        quality = np.full(after.quality.shape, Quality.MISSING, np.uint8)
        counts = np.zeros((min(gap, _PIECE), after.counts.shape[1]), np.int16)
        for first in range(after.first_sample - gap, after.first_sample, _PIECE):
            t0_ns = after.t0_ns - (after.first_sample - first) * after.dt_ns + self.offset_ns
            rows = counts[: after.first_sample - first]
            self.blocks.append(SampleBlock(after.segment, first, t0_ns, after.dt_ns, rows, quality))

    def _ended(self, end: wire.End) -> PlanOutcome:
        outcome = self.outcome()
        if end.hops != outcome.hops.size:
            raise self._lost(f"it has hopped {end.hops} times, and {outcome.hops.size} records have arrived")
        if end.reason not in _ORDINARY:
            raise self._lost(f"it has ended the plan by itself, for {_reason(end.reason)}")
        return outcome

    def outcome(self) -> PlanOutcome:
        """What has arrived."""
        return PlanOutcome(self.blocks, np.concatenate(self.hops) if self.hops else np.zeros(0, HOP_DTYPE))

    def _lost(self, limit: str, reachable: bool = True) -> InstrumentLost:
        """The error with what has arrived; a device that can still be reached is withdrawn, for it may be hopping."""
        if reachable:
            with suppress(OSError, wire.Refused):
                self.box.command_on(self.line, wire.WITHDRAW)
        problem = Problem(ROLE, "lost during a plan", limit, "look at the pipette and the cable, then resume")
        return InstrumentLost(ROLE, problem, self.outcome())


_ORDINARY: Final = (1, 2, 3, 7)  # completed, aborted, overload (which its records say), withdrawn by this host


def _reason(code: int) -> str:
    return wire.REASONS[code] if code < len(wire.REASONS) else f"reason {code}"


def _close(line: wire.HopLine) -> None:
    line.close()


def _connected(
    host: str, port: int, client: int, session: int, silence: float, time: wire.TimeMap, patience: float
) -> wire.HopLine:
    try:
        return wire.HopLine(host, port, client, session, silence, "opsicm", time, patience)
    except wire.Refused as refused:
        limit, remedy = refused.text, "end what holds it, or wait until it has gone"
        raise LimitCrossed(Problem(ROLE, f"{host}:{port}", limit, remedy)) from refused


def _host_and_port(setup: RoleSetup) -> tuple[str, int]:
    host, _, port = (setup.address or "").removeprefix("tcp://").rpartition(":")
    if not host or not port.isdigit():
        limit, remedy = "must be host:port, of a device that speaks the hop protocol", "write tcp://192.168.10.20:6400"
        raise BadInput(setup.rig.rig.problem(("roles", ROLE, "address"), setup.address or "", limit, remedy))
    return host, int(port)


class SafeChannel:
    """A safe client: its call withdraws the pipette, latches the device and says whether it is so."""

    def __init__(self, host: str, port: int) -> None:
        self._where = host, port
        self._line = self._connected(_FIRST)

    def __call__(self) -> bool:
        """A line that has gone is made anew, once."""
        for _ in range(2):
            try:
                return wire.acknowledged(self._line.request(wire.WITHDRAW, 1))[0] == wire.LATCHED
            except (OSError, struct.error):
                self._line.close()
            try:
                self._line = self._connected(TIMEOUT)
            except (OSError, LimitCrossed):
                return False
        return False

    def close(self) -> None:
        """Leave; a latch stays."""
        self._line.close()

    def _connected(self, patience: float) -> wire.HopLine:
        line = _connected(*self._where, wire.SAFE_CLIENT, 0, 1.0, wire.TimeMap(), patience)
        self._where = line.peer
        return line


def safe_channel(settings: dict[str, str]) -> SafeChannel:
    """For a watchdog, connected at once: a device admits any number of safe clients beside its controller."""
    host, _, port = settings["address"].removeprefix("tcp://").rpartition(":")
    return SafeChannel(host, int(port))


def _box(setup: RoleSetup, specification: RigSpecification) -> HopBox:
    return setup.rig.shared((__name__, setup.address), lambda: HopBox(setup, specification.hop_controller))


def connect(setup: RoleSetup, specification: RigSpecification, clock: Clock) -> HopBox:
    """The device, on the clock of the rig."""
    box = _box(setup, specification)
    box.stamp_on(clock)
    return box


def clock(setup: RoleSetup, specification: RigSpecification) -> Clock:
    """The device's sample clock."""
    return _box(setup, specification).clock


DRIVERS: Final = (
    Driver(
        "hop_box",
        ROLE,
        "a hardware hop controller that speaks the hop protocol, version 1",
        connect,
        specify,
        HopBoxSettings,
        clock=clock,
        verified="against the reference server with the twin behind it; on no hardware",
    ),
)
