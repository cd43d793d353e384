"""What all probe steps share: the instruments, the bias, the record, and what is known of the surface."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite, nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import InstrumentLost, Problem
from opsicm.core.facts import AMPLIFIER_FLAG, Kind, Outcome, Quality, SampleBlock
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.patterns import Points
from opsicm.instruments.roles import CellReading, HopPlan, PlanOutcome, Rig, RoleState
from opsicm.physics.specimen.clearance import NEAR_ENOUGH, WITHDRAWN, clear_height, comes_too_near
from opsicm.physics.specimen.drift import drift_per_fall, restless
from opsicm.record.recorder import Reading, Recorder
from opsicm.runner.bias import BiasTracker
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.fact_log import FactLog
from opsicm.runner.limits import Limits

_PLANS_KEPT: Final = 1000  # whose contacts are remembered: an image of 128² at least
_DRIFTING_NS: Final = 50_000_000  # between two readings of a bulk current that drifts too fast to hop


class ProbeContext:
    """The context of one run: `approach` [m] is the longest approach, `interrupted` ends a plan after the present hop,
    `swelling` is the thickness [m] that the specimen is expected to have gained for a charge [C].

    It keeps the height of the last contact, the landmarks and how far the specimen has shifted.
    """

    def __init__(
        self,
        rig: Rig,
        recorder: Recorder,
        facts: FactLog,
        bias: BiasTracker,
        limits: Limits,
        cell: CellTrack,
        approach: float,
        interrupted: Callable[[], bool],
        swelling: Callable[[float], float],
    ) -> None:
        self.rig = rig
        self.bias = bias
        self.limits = limits
        self.approach = approach
        self._recorder = recorder
        self._facts = facts
        self._cell = cell
        self._interrupted = interrupted
        self._swelling = swelling
        self._thickness: float | None = None  # [m] that `swelling` expects now
        self._thickness_at_contact = 0.0
        self.surface = 0.0  # [m] height of the last contact; before the first, where the operator has engaged
        self._contacts: deque[NDArray[np.float64]] = deque(maxlen=_PLANS_KEPT)  # (x, y, height) [m] of latest plans
        self.offset = (0.0, 0.0)  # [m] by which the specimen has shifted under the scanner
        self.landmarks: dict[str, NDArray[np.float64]] = {}
        self.segment = 0
        self._sampled_segment = 0  # the last one of which there are samples
        self.without_task = False  # no step runs, and the pipette waits
        self.not_live: frozenset[str] = frozenset()  # roles whose values must not be taken for present ones
        self.hops = 0
        self.stage_arrival_ns = 0
        self.ends_ns: int | None = None  # when the present control or probe step ends, as far as that is known
        self._amplifier: RoleState | None = None  # as it was when it was last asked
        self._currents: list[tuple[int, float]] = []
        self._drifts = False
        # A plan without hops needs hop parameters all the same; they are not used.
        self._dwelling = HopParameters(1e-6, 1e-6, 0.01, approach)

    def now(self) -> int:
        """[ns] since the run started."""
        return self.rig.clock.now_ns()

    def fact(self, kind: Kind, path: str, data: Mapping[str, Any]) -> None:
        """Record a fact of the probe's track."""
        self._facts.write(kind, "probe", path, data)

    # -- motion -----------------------------------------------------------------------------------------------------

    @property
    def rise(self) -> float:
        """[m] by which the surface is expected to have risen since the last contact; negative where it has shrunk."""
        return 0.0 if self._thickness is None else self._thickness - self._thickness_at_contact

    def follow_swelling(self, charge: float) -> None:
        """Take note of the charge [C] that has passed; the first one is that at which the operator has engaged."""
        thickness = self._swelling(charge)
        if self._thickness is None:
            self._thickness_at_contact = thickness
        self._thickness = thickness

    def lift_to(self, height: float, speed: float | None = None) -> None:
        """Start the coarse stage towards `height` [m] above the surface: the last contact, and what it has risen since.

        Where that is more than the last contact can vouch for, it goes higher.
        """
        above = clear_height(height, self.rise)
        self.stage_arrival_ns = self.rig.coarse_stage.move_to(self.surface + above, speed)

    def lift_over(self, x: float, y: float, height: float) -> None:
        """Start towards `height` [m] above the last contact, and above what is known of the surface at x, y [m].

        A step that begins elsewhere would else go sideways into a flake that is higher than the place left.
        """
        lower = 0.0
        if self._contacts:
            known = np.concatenate(self._contacts)
            distance = np.hypot(known[:, 0] - x - self.offset[0], known[:, 1] - y - self.offset[1])
            nearest = int(np.argmin(distance))
            if distance[nearest] <= NEAR_ENOUGH:
                lower = max(0.0, float(known[nearest, 2]) - self.surface)
        self.lift_to(height + lower)

    def comes_too_near(self) -> bool:
        """Whether the surface is expected to come too near to the pipette where it stands; not while the stage goes."""
        if self.now() < self.stage_arrival_ns or self.rise <= 0.0:
            return False
        return comes_too_near(self._height(), self.rise)

    def withdraw(self) -> None:
        """Start the coarse stage to where a pipette without a task waits, unless it is about there, or higher."""
        if self.now() >= self.stage_arrival_ns and self._height() < clear_height(0.5 * WITHDRAWN, self.rise):
            self.lift_to(WITHDRAWN)

    def lift_clear(self) -> None:
        """Start the coarse stage to where a pipette without a task waits, unless it is there or higher by itself."""
        clear, stage = self.surface + clear_height(WITHDRAWN, self.rise), self.rig.coarse_stage
        if self.coarse_height() < clear:
            self.stage_arrival_ns = stage.move_to(clear)

    def _is_far_up(self) -> bool:
        """Whether nothing is where the pipette stands; where its height cannot be read it has been withdrawn."""
        if self.not_live & {"scanner", "coarse_stage"}:
            return True
        return self._height() >= clear_height(0.5 * WITHDRAWN, self.rise)

    def _height(self) -> float:
        """Height [m] of the tip above the last contact."""
        return self.coarse_height() + self.scanner_height() - self.surface

    def coarse_height(self) -> float:
        """Height [m] of the scanner's zero; raises `InstrumentLost` where the coarse stage answers with no number."""
        return finite("coarse_stage", "height", self.rig.coarse_stage.position())

    def scanner_height(self) -> float:
        """Measured z [m] of the scanner; raises `InstrumentLost` where it answers with no number."""
        return finite("scanner", "height", self.rig.scanner.read_z())

    def withdraw_from_rising_surface(self, path: str) -> None:
        """Withdraw, and record why."""
        data = {
            "message": "withdrawn: the swelling surface is expected to come near the pipette, which stood there",
            "rise_m": self.rise,
            "height_m": self._height(),
        }
        self.fact("alarm", path, data)
        self.lift_to(WITHDRAWN)

    def begin_segment(self) -> None:
        """Begin a new segment: the next samples are not continuous with the last ones."""
        self.segment += 1

    def dwell(self, path: str, until_ns: int) -> None:
        """Stay at the top until `until_ns`, and sample once the coarse stage has arrived: a segment has no hole."""
        self.wait_for_stage(until_ns)
        if self.now() < until_ns:
            self.run(self.plan(path, Points.none(), self._dwelling, until_ns))

    def wait_for_stage(self, until_ns: int) -> bool:
        """Wait, but not beyond `until_ns`, for the coarse stage to arrive; False when it is there already.

        Nothing is sampled meanwhile: samples taken in the present segment before, and those to come, are of two.
        """
        if self.now() >= self.stage_arrival_ns:
            return False
        self.rig.clock.wait_until(min(until_ns, self.stage_arrival_ns))
        if self._sampled_segment == self.segment:
            self.begin_segment()
        return True

    def plan(self, path: str, points: Points, hop: HopParameters, until_ns: int) -> HopPlan:
        """A plan of hops at `points`, moved by the present shift of the specimen."""
        amplitude = np.full(points.x.size, hop.amplitude) if points.amplitude is None else points.amplitude
        return HopPlan(
            path,
            self.segment,
            self.hops,
            points.x + self.offset[0],
            points.y + self.offset[1],
            points.line,
            points.pixel,
            amplitude,
            hop,
            self.bias.tip_potential(self.now()),
            until_ns,
        )

    def run(self, plan: HopPlan, count_misses: bool = True) -> NDArray[Any]:
        """Run a plan, record its samples and hops, check the limits; returns the hop records."""
        try:
            outcome = self.rig.hop_controller.run(plan, self._interrupted)
        except InstrumentLost as lost:
            if isinstance(lost.outcome, PlanOutcome):  # what had arrived is kept
                self._keep(plan, lost.outcome, self._is_set_otherwise)
            raise
        # A switch that was turned during the plan: nobody knows at which of its samples.
        otherwise = self._is_set_otherwise
        state = self.watch_amplifier()
        outcome = self._keep(plan, outcome, otherwise or self._is_set_otherwise)
        self.limits.check_amplifier(state)
        hops = outcome.hops
        if not hops.size:
            return hops
        self.limits.check_hops(hops, count_misses)
        residual = hops["bias_residual"]
        if not np.all(np.isnan(residual)):  # a controller that samples no cell records none: the slow readings have it
            self.bias.check_residual(float(np.max(np.abs(residual))))
        contacts = hops[hops["outcome"] == Outcome.CONTACT]
        if contacts.size:
            heights = self.coarse_height() + contacts["z_stop"]
            self.surface = float(heights[-1])
            self._contacts.append(np.column_stack([contacts["x"], contacts["y"], heights]))
            self._thickness_at_contact = self._thickness or 0.0
        return hops

    def _keep(self, plan: HopPlan, outcome: PlanOutcome, suspect: bool) -> PlanOutcome:
        """Record the samples and hops of a plan, flagged where its currents are `suspect`; returns what is recorded."""
        if suspect:
            blocks = [self._suspect(block) for block in outcome.blocks]
            hops = outcome.hops.copy()
            hops["flags"] |= AMPLIFIER_FLAG
            outcome = PlanOutcome(blocks, hops)
        for block in outcome.blocks:
            self._recorder.block(block)
            self._sampled_segment = block.segment
        hops = outcome.hops
        if hops.size:
            self._recorder.hops(plan.step, hops)
            self.hops += hops.size
            self.fact("hops", plan.step, {"range": [int(hops["hop"][0]), int(hops["hop"][-1])]})
        return outcome

    def _suspect(self, block: SampleBlock) -> SampleBlock:
        """A block whose pipette current has another scale than the record says."""
        quality = block.quality.copy()
        for column, channel in enumerate(self.rig.hop_controller.channels):
            if channel.name == "pipette_current" and quality[column] in (Quality.GOOD, Quality.SATURATED):
                quality[column] = Quality.SUSPECT
        return replace(block, quality=quality)

    # -- the amplifier's settings -----------------------------------------------------------------------------------

    @property
    def _is_set_otherwise(self) -> bool:
        return self._amplifier is not None and self._amplifier.quality == Quality.SUSPECT

    def watch_amplifier(self) -> RoleState:
        """Gain, filter and mode as the amplifier tells them now; the first ones and every change are recorded."""
        before, state = self._amplifier, self.rig.amplifier.state()
        if state.quality == Quality.MISSING:  # it is lost, which the next turn acts upon: its switches have not changed
            return state if before is None else before
        self._amplifier = state
        told = (dict(state.settings), state.quality == Quality.SUSPECT)
        if before is None:
            changed = bool(state.settings or state.message)
        else:
            changed = told != (dict(before.settings), before.quality == Quality.SUSPECT)
        if changed:
            message = "; ".join(part for part in (_settings_text(state.settings), state.message) if part)
            kind: Kind = "alarm" if told[1] else "quality"
            data = {"message": f"amplifier: {message or 'tells nothing of itself'}", "role": "amplifier"}
            self.fact(kind, "probe", {**data, **state.settings})
        return state

    # -- readings ---------------------------------------------------------------------------------------------------

    @property
    def far_current(self) -> float | None:
        """The last pipette current at the experiment's bias, far from the surface [A]; None before the first."""
        return self._currents[-1][1] if self._currents else None

    def read_current(self) -> float:
        """The pipette current now [A]; NaN while the amplifier is not to be believed."""
        current, _ = self._read_amplifier()
        if isfinite(current):
            self._remember_current(current)
        return current

    def _read_amplifier(self) -> tuple[float, float]:
        """(pipette current [A], command [V]) now, NaN while the amplifier is not to be believed.

        Raises `InstrumentLost` where it answers with a number that is none: the limits could not judge that.
        """
        if "amplifier" in self.not_live:
            return nan, nan
        current, command = self.rig.amplifier.read()
        return finite("amplifier", "pipette current", current), finite("amplifier", "command", command)

    def check_current(self, current: float, residual: float = 0.0) -> None:
        """Compare a reading [A] with the limits, whose bias was `residual` [V] off its target.

        Of a pipette without a task, far up, it may be small: nothing is there that the tip could touch, and what then
        cancels its bias is the cell's current. So it may where the error of the bias alone could cancel it.
        """
        far_up = self.without_task and self._is_far_up()
        told = self.bias.at_nominal and not far_up and not self.bias.could_cancel(residual)
        self.limits.check_reading(current, told)

    def _remember_current(self, current: float) -> None:
        """Keep the last two bulk currents at the experiment's bias, of different instants: they give the drift."""
        if self.bias.at_nominal:
            now = self.now()
            earlier = [entry for entry in self._currents if entry[0] < now]
            self._currents = [*earlier[-1:], (now, current)]

    def record_reading(self, cell: CellReading) -> None:
        """Record a slow row with the potentiostat's present reading `cell`, and check the limits.

        What an instrument that is lost or stale would say is NaN. A row is the cell's: without a present reading of the
        cell there is none.
        """
        current, command = self._read_amplifier()
        residual = self.bias.residual(command, cell)
        if isfinite(current):
            self._check_bias_and_current(current, residual)
        if "potentiostat" in self.not_live:
            return
        blind = self.not_live
        amplifier = self.watch_amplifier()
        gain, cut = (_number(amplifier.settings.get(key)) for key in ("gain_V_A", "filter_Hz"))
        self._recorder.reading(
            Reading(
                t_ns=cell.t_ns,
                potential=cell.potential,
                current=cell.current,
                charge=cell.charge,
                set_point=cell.set_point,
                control=cell.control,
                soc=self._cell.soc(cell.charge),
                pipette_current=current,
                pipette_bias=command,
                bias_residual=residual,
                z=nan if "scanner" in blind else self.scanner_height(),
                coarse_z=nan if "coarse_stage" in blind else self.coarse_height(),
                amplifier_gain=gain,
                amplifier_filter=cut,
                amplifier_mode=str(amplifier.settings.get("mode", "")),
            )
        )
        self.limits.check_amplifier(amplifier)

    def _check_bias_and_current(self, current: float, residual: float) -> None:
        self.check_current(current, residual)
        if self.bias.check_reading(residual):
            message = "the pipette's bias was off its target: the cell's potential has jumped since the last reading"
            self.fact("quality", "probe", {"message": message, "residual_V": residual})
        if not self.bias.could_cancel(residual):
            self._remember_current(current)

    def wait_for_steady_current(self, path: str, hop: HopParameters, until_ns: int) -> bool:
        """Dwell for a moment where the bulk current drifts so fast that it would stop an approach; False otherwise."""
        if len(self._currents) < 2:
            return False
        (t0, before), (t1, after) = self._currents
        drift = drift_per_fall(before, after, (t1 - t0) * 1e-9, hop.fall_time)
        drifts = restless(drift, hop.setpoint)
        if drifts != self._drifts:
            self._drifts = drifts
            message = "waiting at the top" if drifts else "hopping again"
            self.fact("quality", path, {"message": message, "drift_per_fall": drift, "setpoint": hop.setpoint})
        if drifts:
            self.dwell(path, min(until_ns, self.now() + _DRIFTING_NS))
        return drifts


def _number(told: float | str | None) -> float | None:
    return float(told) if isinstance(told, float | int) else None


def _settings_text(settings: Mapping[str, float | str]) -> str:
    """Gain, filter and mode in words; empty where nothing is told."""
    gain, cut = _number(settings.get("gain_V_A")), _number(settings.get("filter_Hz"))
    parts = [
        "" if gain is None else f"gain {gain * 1e-9:g} mV/pA",
        "" if cut is None else f"filter {cut * 1e-3:g} kHz",
        str(settings.get("mode", "")).replace("_", " "),
    ]
    return ", ".join(part for part in parts if part)


def finite(role: str, what: str, value: float) -> float:
    """The value that an instrument answered; raises `InstrumentLost` where it is no number."""
    if not isfinite(value):
        name = role.replace("_", " ")
        raise InstrumentLost(role, Problem(f"{name}'s {what}", f"{value}", "is no number", "look at it, then resume"))
    return value
