"""Hopping in software: the pure hop step on a card's samples as they come, its command written after each block.

    hop_controller:
      driver: nidaqmx
      address: Dev1
      settings: {latency_output: Dev1/ao3, latency_input: Dev1/ai7}   # joined by a wire: the loop measures itself

Between a sample and the pipette's answer to it lie the block, its transport, this program and the write: some
milliseconds, in which the pipette goes on falling. Two things keep it off the surface:

* a fall rate at which the overshoot v · (latency + lag) would reach the surface is refused, and the safe one is named;
* a write lets the pipette fall by one turn of the loop at most, and none at all after a block that is older than the
  latency or stands still: what has not been seen is not approached. So a program that is held up for a second costs a
  second and no tip. Between the last sample before the setpoint and the turn lie two writes at most, hence a latency
  of two turns at least.

Fails where the wire between `latency_output` and `latency_input` is missing *and* the card's transport is slow: without
the wire only the turns of the loop are timed, and `state` says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain, Problem
from opsicm.core.facts import HOP_DTYPE, Channel, Outcome, Quality, SampleBlock
from opsicm.core.units import to_si
from opsicm.drivers.analogue_scanner import axes_of
from opsicm.drivers.card_channels import CardChannels
from opsicm.drivers.ni_card import READ_EVERY, NiCard, card
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.step_model import FileModel, Number, Text
from opsicm.instruments.clock import Clock, stopwatch
from opsicm.instruments.hop import (
    FALL,
    FALL_BEGINS,
    NO_EVENT,
    RISE,
    SETTLE,
    STOP_DECIDED,
    TOP_REACHED,
    HopSettings,
    HopState,
    HopTiming,
    start,
    step_block,
)
from opsicm.instruments.link import NOTICED
from opsicm.instruments.registry import RoleSetup
from opsicm.instruments.roles import HopPlan, Identity, PlanOutcome, RoleState
from opsicm.instruments.specification import HopControllerSpecification, RigSpecification
from opsicm.instruments.wiring import tip_potential_of

_ECHOES: Final = 60
_ECHO: Final = 0.5  # [V] either way
_USUAL: Final = 0.9  # quantile of the measured latencies that counts: what is later than that lets nothing fall
_SAFE_SHARE: Final = 0.5  # of the gap at the setpoint, that an approach may overshoot by, as the forecast advises
_WRITES_BLIND: Final = 2.0
_BLOCK: Final = 0.08  # [s]
_STATED_TURNS: Final = 3.0  # of the loop, where the rig file states no latency


class SoftwareHopSettings(FileModel):
    """Times of a hop as a twin's; `turn_ms` of the loop; a spare output wired to a spare input, to measure its latency.

    `stop_gap_nm` is the distance from the surface at the setpoint where the pipette is none of the finite-element
    table's: without it that of the approach curve.
    """

    display_name = "hopping in software"
    settle_ms: Annotated[Number, Field(ge=0.004, le=4000)] = 4.0
    reference_ms: Annotated[Number, Field(ge=0.004, le=4000)] = 4.0
    withdraw_nm_per_ms: Annotated[Number, Field(ge=0.4, le=4e5)] = 400.0
    start_height_um: Annotated[Number, Field(ge=0.003, le=3000)] = 3.0
    turn_ms: Annotated[Number, Field(ge=0.5, le=50)] = 2.0
    latency_output: Text | None = None
    latency_input: Text | None = None
    stop_gap_nm: Annotated[Number, Field(gt=0, le=1e5)] | None = None


def specify_hops(setup: RoleSetup) -> HopControllerSpecification:
    """Timing from the rig file; its latency is `latency_us`, else three turns, until the loop has measured itself."""
    settings: SoftwareHopSettings = setup.settings
    rig = setup.rig.rig.rig
    turn = to_si("turn_ms", settings.turn_ms)
    timing = HopTiming(
        to_si("settle_ms", settings.settle_ms),
        to_si("reference_ms", settings.reference_ms),
        to_si("withdraw_nm_per_ms", settings.withdraw_nm_per_ms),
        rig.latency or _STATED_TURNS * turn,
        rig.limits.overload,
        round(1e9 / rig.clock.rate),
    )
    return HopControllerSpecification(timing, to_si("start_height_um", settings.start_height_um))


class _Hop:
    """What is known of the hop in flight, in samples of its segment."""

    def __init__(self, start_sample: int) -> None:
        self.start = start_sample
        self.fall = self.stop = self.top = -1
        self.cell = (np.nan, np.nan, np.nan)  # potential [V], current [A], command [V] at the stop


class SoftwareHopController:
    """The role. `latency` [s] is measured when it connects, and watched while it hops."""

    def __init__(self, setup: RoleSetup, rig: RigSpecification, clock: Clock) -> None:
        settings: SoftwareHopSettings = setup.settings
        self._setup, self._settings, self._rig = setup, settings, rig
        self._card: NiCard = card(setup, clock)
        self._clock = clock
        self._axes = axes_of(setup, rig.scanner, clock)
        self._channels = CardChannels(setup, self._card, self._axes, rig)
        self._turn = to_si("turn_ms", settings.turn_ms)
        self._grounding = setup.rig.rig.rig.wiring.grounding
        self._start_height = rig.hop_controller.start_height
        self._segment = -1
        self._first = 0  # the card's sample that is the segment's first
        self._t0_ns = 0
        self._next = 0
        self._state = start(0.0)
        self._writing = threading.RLock()
        self._safed = 0
        self._held = 0
        # Compiled now, before anything falls.
        step_block(start(0.0), rig.hop_controller.timing.settings(_SLOW), np.ones(8), np.zeros(8), 0)
        self._gap(_SLOW.setpoint)
        measured, self.echoed = self._measured_latency()
        self.latency = max(measured, _WRITES_BLIND * self._turn)

    # -- The role ---------------------------------------------------------------------------------------------------

    @property
    def timing(self) -> HopTiming:
        return replace(self._rig.hop_controller.timing, latency=self.latency)

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self._channels.channels

    @property
    def start_height(self) -> float:
        return self._start_height

    def identity(self) -> Identity:
        """The card; the step that runs on it is this program's own."""
        return self._card.identity()

    def state(self) -> RoleState:
        """The card's, with the latency of the loop and the fall rate that is safe at a drop of 2 %."""
        state = self._card.state([self._card.inputs[self._channels.column("pipette_current")]])
        safe = self.safe_fall_rate(0.02)
        told = {
            "loop_latency_ms": self.latency * 1e3,
            "safe_fall_nm_per_ms": safe * 1e6,
            "turns_held": float(self._held),
        }
        message = state.message
        if not self.echoed and not message:
            message = "latency without the card's transport: wire latency_output to latency_input"
        return RoleState(state.t_ns, state.quality, message, {**state.settings, **told})

    def safe(self) -> None:
        """Withdraw by the start height at once, as far as the scanner goes; a plan under way ends."""
        with self._writing:
            self._safed += 1
            self._axes.centre_ns = None
            self._segment = -1
            self._axes.write_z(self._axes.z + self._start_height)

    def safe_fall_rate(self, setpoint: float) -> float:
        """[m/s] at which half of the gap at `setpoint` [1] is left over when the pipette turns."""
        return _SAFE_SHARE * self._gap(setpoint) / (self.latency + self._rig.lag)

    def _gap(self, setpoint: float) -> float:
        own = self._settings.stop_gap_nm
        return self._setup.rig.stop_distance(setpoint) if own is None else to_si("stop_gap_nm", own)

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        """Run the plan; a fall rate that could crash is refused before anything moves."""
        if plan.x.size:
            self._refuse_crash(plan.parameters)
        self._axes.require_xy(plan.x, plan.y)
        self._axes.centre_if_due()
        if plan.segment != self._segment:
            self._segment = plan.segment
            # From now on: what was sampled before is older than the segment, and may be older than the run.
            self._first = self._next = max(self._card.ring.end, -(-self._card.clock.now_ns() // self._card.dt_ns))
            self._t0_ns = self._card.stamp(self._first)
            self._state = start(self._axes.z)
        self._card.read_every = self._turn if plan.x.size else READ_EVERY
        try:
            outcome = _PlanRun(self, plan, stop).outcome()
        finally:
            self._card.read_every = READ_EVERY
        # A twin among the instruments has a time that only moves when somebody waits for it.
        self._clock.wait_until(self._t0_ns + (self._next - self._first) * self._card.dt_ns)
        return outcome

    def _refuse_crash(self, hop: HopParameters) -> None:
        overshoot = hop.fall_rate * (self.latency + self._rig.lag)
        gap = self._gap(hop.setpoint)
        if overshoot >= gap:
            limit = (
                f"would overshoot by {overshoot * 1e9:.0f} nm in the {(self.latency + self._rig.lag) * 1e3:.1f} ms of "
                f"the loop, and the surface is {gap * 1e9:.0f} nm away at a {hop.setpoint * 100:g} % drop: the tip "
                "would touch"
            )
            remedy = f"fall at {self.safe_fall_rate(hop.setpoint) * 1e6:.2g} nm/ms, or take a hardware hop controller"
            raise OutsideDomain(Problem("fall_nm_per_ms", f"{hop.fall_rate * 1e6:g}", limit, remedy))

    # -- How late it is -----------------------------------------------------------------------------------------------

    def _measured_latency(self) -> tuple[float, bool]:
        """(latency [s], whether a wire has told it)."""
        self._card.read_every = self._turn
        # What has just been compiled may have held this program up for longer than a line may be silent.
        self._card.state()
        try:
            if not self._card.ring.wait_for(self._card.ring.end + 2 * self._samples(self._turn), NOTICED):
                raise InstrumentLost(self._setup.role, _no_samples(self._card.address))
            output, echo = self._settings.latency_output, self._settings.latency_input
            if output is not None and echo is not None:
                late = [self._echo(output, self._card.column(echo), (-1) ** k * _ECHO) for k in range(_ECHOES)]
                return float(np.quantile(late, _USUAL)), True
            late = [self._turn_time() for _ in range(_ECHOES // 2)]
            return self._turn + float(np.quantile(late, _USUAL)), False
        finally:
            self._card.read_every = READ_EVERY

    def _echo(self, output: str, column: int, volts: float) -> float:
        """[s] from a write to its sight in a block of samples."""
        ring = self._card.ring
        watch, seen = stopwatch(), ring.end
        self._card.write(output, volts)
        while watch() < NOTICED:
            ring.wait_for(seen + 1, NOTICED)
            end = ring.end
            readings = ring.between(seen, end)[0][:, column]
            seen = end
            if np.any(readings * np.sign(volts) > 0.5 * abs(volts)):
                return watch()
        limit = f"{volts:g} V on {output} were not seen within {NOTICED:g} s"
        remedy = "join the two by a wire, or delete latency_output and latency_input"
        raise BadInput(self._setup.problem("latency_input", self._settings.latency_input, limit, remedy))

    def _turn_time(self) -> float:
        """[s] that a question to the card takes, and the age of the samples by then: no output is touched for it."""
        self._card.ring.wait_for(self._card.ring.end + 1, NOTICED)
        watch = stopwatch()
        self._card.output_range_read()
        return watch() + max(0.0, self._card.age())

    def _samples(self, seconds: float) -> int:
        return max(1, round(seconds * self._card.rate))


_SLOW: Final = HopParameters(1e-6, 1e-6, 0.02, 1e-6)


class _PlanRun:
    """One plan under way."""

    def __init__(self, controller: SoftwareHopController, plan: HopPlan, stop: Callable[[], bool]) -> None:
        self._of, self._plan, self._stop = controller, plan, stop
        self._card, self._axes, self._channels = controller._card, controller._axes, controller._channels
        self._blocks: list[SampleBlock] = []
        self._blocked = controller._next  # samples before this one are in blocks
        self._hops: list[tuple[_Hop, HopState]] = []
        self._safed = controller._safed
        self._aborted = False
        self._up = controller._next  # the card's sample from which on the pipette is known to be at the top

    def outcome(self) -> PlanOutcome:
        """Run it; an `InstrumentLost` carries what had arrived by then."""
        try:
            if self._plan.x.size:
                self._hop_on()
            else:
                self._dwell()
        except InstrumentLost as lost:
            self._cut_blocks(everything=True)
            lost.outcome = PlanOutcome(self._blocks, self._records())
            raise
        self._cut_blocks(everything=True)
        return PlanOutcome(self._blocks, self._records())

    def _dwell(self) -> None:
        of, dt_ns = self._of, self._card.dt_ns
        last = of._first + max(0, -((of._t0_ns - self._plan.until_ns) // dt_ns))
        while of._next < last and not self._stop():
            self._await(min(last, of._next + of._samples(READ_EVERY)))
            of._next = min(self._card.ring.end, last)
            self._cut_blocks()

    def _await(self, end: int) -> None:
        """Wait for samples up to `end`; withdraw and raise `InstrumentLost` where none come."""
        if self._card.ring.wait_for(end, NOTICED) and not self._card.lost:
            return
        with suppress(InstrumentLost):
            self._of.safe()
        problem = self._card.lost or str(_no_samples(self._card.address))
        raise InstrumentLost(self._of._setup.role, Problem("samples", "none", problem, "check the card, then resume"))

    def _hop_on(self) -> None:
        of, plan = self._of, self._plan
        timing = of.timing.settings(plan.longest_hop())
        waits = of._samples(of.latency)
        of._state = start(self._axes.z)._replace(i_far=of._state.i_far)
        hop: _Hop | None = None
        while len(self._hops) < plan.x.size:
            if hop is None:
                if self._hops and (self._aborted or self._ends()):
                    break
                k = len(self._hops)
                hop = _Hop(of._next - of._first)
                self._axes.write_xy(float(plan.x[k]), float(plan.y[k]))
                # The latency is in the loop already, once: it must not be waited for again. At the top it must, for
                # samples that were on their way when the top was commanded.
                settings = timing._replace(latency=0, settle=timing.settle + waits, amplitude=float(plan.amplitude[k]))
            self._await(of._next + 1)
            if self._turn(hop, settings):
                self._hops.append((hop, of._state))
                hop = None
            self._cut_blocks()

    def _ends(self) -> bool:
        """Whether no further hop begins: after an overload whoever gave the plan must judge it first."""
        if self._hops[-1][1].outcome == Outcome.OVERLOAD:
            return True
        t_ns = self._of._t0_ns + (self._of._next - self._of._first) * self._card.dt_ns
        return t_ns >= self._plan.until_ns or self._stop()

    def _turn(self, hop: _Hop, settings: HopSettings) -> bool:
        """Step over what has been sampled since the last turn, write what follows; True at the top of the hop."""
        of = self._of
        first, end = of._next, self._card.ring.end
        first = max(first, end - self._card.ring.capacity)
        volts, quality = self._card.ring.between(first, end)
        current = self._channels.si("pipette_current", volts, first)
        z = self._channels.si("z", volts, first)
        column = self._channels.column("pipette_current")
        self._require_readable(quality[column], z)
        if of._state.phase == FALL and (self._stop() or of._safed != self._safed):
            hop.stop, hop.cell = first - of._first, self._cell(volts, first, 0)
            self._abort(float(current[0]), float(z[0]), settings.amplitude)
        before, event = of._state, NO_EVENT
        # At the top samples count from when its command was written: in a program that was held up for a moment the
        # others show a pipette that still stands below, and a reference measured there would end the approach too late.
        k = min(max(0, self._up - first), current.size) if before.phase == SETTLE else 0
        while k < current.size and event != TOP_REACHED:
            of._state, k, event = step_block(of._state, settings, current, z, k)
            at = first + k - 1 - of._first
            if event == FALL_BEGINS:
                hop.fall = at
            elif event == STOP_DECIDED:
                hop.stop, hop.cell = at, self._cell(volts, first, k - 1)
            elif event == TOP_REACHED:
                hop.top = at
        of._next = first + k
        self._write(before, settings, self._card.ring.repeats(column) > 0)
        if event == TOP_REACHED:
            self._up = self._card.clock.now_ns() // self._card.dt_ns
        return event == TOP_REACHED

    def _abort(self, current: float, z: float, amplitude: float) -> None:
        """Withdraw to the top, and by a full amplitude, instead of approaching on."""
        state = self._of._state
        target = max(state.z_top, z + amplitude)
        self._of._state = state._replace(
            phase=RISE, spent=0, z_target=target, outcome=int(Outcome.ABORTED), i_stop=current, z_stop=z
        )
        self._aborted = True

    def _require_readable(self, quality: int, z: NDArray[np.float64]) -> None:
        """Nobody falls blind: a current or height that is none withdraws the pipette."""
        if quality in (Quality.GOOD, Quality.SATURATED) and np.isfinite(z).all():
            return
        of = self._of
        with suppress(InstrumentLost):
            of.safe()
        said = Quality(quality).name.lower() if quality else "the height's samples are missing"
        limit = f"hopping needs it at every sample; it is {said}"
        problem = Problem("pipette current", said, limit, "check amplifier, cable and card, then resume")
        raise InstrumentLost(of._setup.role, problem)

    def _write(self, before: HopState, settings: HopSettings, standing: bool) -> None:
        """Command what the step wants, no lower than what has been seen allows."""
        of, state = self._of, self._of._state
        if state.phase == FALL and state.spent > 0:
            top = before.z_command if before.phase == FALL else state.z_top
            allowed = 0.0 if standing or self._card.age() > of.latency else of._turn
            lowest = top - allowed / (self._card.dt_ns * 1e-9) * settings.fall_step
            if state.z_command < lowest:
                of._held += allowed == 0.0
                # Count back the samples that were not used, so that the fall goes on from where the pipette is.
                excess = int(np.ceil((lowest - state.z_command) / settings.fall_step))
                spent = max(1, state.spent - excess)
                state = of._state = state._replace(spent=spent, z_command=state.z_top - spent * settings.fall_step)
        with of._writing:
            if of._safed == self._safed:
                self._axes.write_z(state.z_command)

    def _cell(self, volts: NDArray[np.float64], first: int, k: int) -> tuple[float, float, float]:
        """(cell potential [V], current [A], amplifier's command [V]) about sample `k`, over a millisecond."""
        around = slice(max(0, k - self._of._samples(1e-3)), k + 1)
        some = volts[around]
        start_at = first + max(0, k - self._of._samples(1e-3))
        potential, current, bias = (
            float(np.mean(self._channels.si(name, some, start_at)))
            for name in ("cell_potential", "cell_current", "pipette_bias")
        )
        return potential, current, bias

    def _cut_blocks(self, everything: bool = False) -> None:
        of = self._of
        longest = of._samples(_BLOCK)
        while of._next - self._blocked >= (1 if everything else longest):
            end = min(of._next, self._blocked + longest)
            index = self._blocked - of._first
            t0_ns = of._t0_ns + index * self._card.dt_ns
            self._blocks.append(self._channels.block(self._plan.segment, index, self._blocked, end, t0_ns))
            self._blocked = end

    def _records(self) -> NDArray[Any]:
        plan, of, n = self._plan, self._of, len(self._hops)
        records = np.zeros(n, HOP_DTYPE)
        if not n:
            return records
        records["hop"] = plan.first_hop + np.arange(n)
        for name in ("line", "pixel", "x", "y"):
            records[name] = getattr(plan, name)[:n]
        records["segment"] = plan.segment
        for name in ("start", "fall", "stop", "top"):
            records[f"sample_{name}"] = [getattr(hop, name) for hop, _ in self._hops]
        for name in ("outcome", "i_ref", "i_stop", "z_stop", "z_min"):
            records[name] = [getattr(state, name) for _, state in self._hops]
        records["setpoint"] = plan.parameters.setpoint
        records["t_ns"] = of._t0_ns + records["sample_stop"] * self._card.dt_ns
        potential, current, bias = np.array([hop.cell for hop, _ in self._hops]).T
        records["cell_potential"], records["cell_current"] = potential, current
        records["bias_residual"] = tip_potential_of(bias, potential, of._grounding) - plan.tip_potential
        return records


def _no_samples(address: str) -> Problem:
    return Problem(f"NI card {address}", "silent", f"no sample for {NOTICED:g} s", "check its cable, then resume")
