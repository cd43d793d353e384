"""One motorised axis along z as a coarse stage, whoever made it: its frame, its limits, when it arrives.

A stage counts from a switch at an end of its travel; opsicm counts from the specimen's mean surface. The two meet
where the operator has engaged: there the pipette stands `start_height_um` above the surface, and the stage at
`engaged_at_mm`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal, Protocol

from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OutsideDomain, Problem
from opsicm.core.facts import Quality
from opsicm.core.units import to_si
from opsicm.experiment.step_model import FileModel, Number
from opsicm.instruments.clock import Clock
from opsicm.instruments.registry import RoleSetup
from opsicm.instruments.roles import Identity, RoleState
from opsicm.instruments.specification import CoarseStageSpecification, RigSpecification

Height = Annotated[Number, Field(ge=-2e5, le=2e5)]
_TRAVEL_AGREES: Final = 0.05  # data sheets round the travel; the microstep or unit of another stage is off by 2 or more
_ARRIVED_WITHIN: Final = 1e-6  # [m] a stage at rest may stand off its target: a servo's window, above any microstep


class VerticalAxisSettings(FileModel):
    """What a rig file says of any coarse stage.

    `up` is the sign of the stage's own position where the pipette rises, and has no default: a wrong one drives the
    pipette into the specimen. `engaged_at_mm` is the stage's own position where the pipette stands `start_height_um`
    above the mean surface; without it that is where the stage stands when the run connects, without
    `start_height_um` that of the hop controller. `lowest_um` and `highest_um` bound the heights above the surface.
    `travel_mm` is that of the data sheet: the stage's own limits must agree with it.
    """

    display_name = "a coarse stage"
    up: Literal[-1, 1] | None = None
    travel_mm: Annotated[Number, Field(gt=0, le=5000)] | None = None
    start_height_um: Annotated[Number, Field(ge=0, le=1e5)] | None = None
    engaged_at_mm: Annotated[Number, Field(ge=-1e4, le=1e4)] | None = None
    lowest_um: Height = -500.0  # as far as engaging goes down before the surface counts as lost
    highest_um: Height = 2e5
    speed_mm_s: Annotated[Number, Field(gt=0, le=100)] = 0.5


def specify(setup: RoleSetup) -> CoarseStageSpecification:
    """What `check` asks of any coarse stage; `BadInput` where a setting that has no safe default is missing."""
    settings: VerticalAxisSettings = setup.settings
    require_up(setup, settings.up)
    if settings.travel_mm is None:
        limit = "is missing: the stage's own limits are compared with it"
        raise BadInput(setup.problem("travel_mm", "", limit, "take it from the data sheet of exactly this stage"))
    if settings.lowest_um >= settings.highest_um:
        limit = f"must be below highest_um, {settings.highest_um:g}"
        raise BadInput(setup.problem("lowest_um", settings.lowest_um, limit, "exchange the two"))
    return CoarseStageSpecification(speed=to_si("speed_mm_s", settings.speed_mm_s))


def require_up(setup: RoleSetup, up: int | None) -> int:
    """Which way is up, said in the rig file; `BadInput` where it does not."""
    if up is None:
        limit = "is missing: which sign of the axis' own position lifts the pipette"
        raise BadInput(setup.problem("up", "", limit, "move the axis by its maker's program, then write up: 1 or -1"))
    return up


@dataclass(frozen=True, slots=True)
class VerticalAxis:
    """The frame of a stage: `height` [m] above the mean surface ⇄ the stage's own `position` [m].

    `engaged_at` [m] is the stage's position at `start_height` [m] above the surface; `up` as in the settings; `lowest`
    and `highest` [m] above the surface.
    """

    name: str
    up: int
    engaged_at: float
    start_height: float
    lowest: float
    highest: float

    def height(self, position: float) -> float:
        """[m] above the surface at the stage's own `position` [m]."""
        return self.start_height + self.up * (position - self.engaged_at)

    def position(self, height: float, travel: tuple[float, float]) -> float:
        """The stage's own position [m] for a `height` [m]; raises `OutsideDomain` beyond the bounds or its `travel`."""
        within = "lowest_um and highest_um of the rig file allow"
        self._require(f"{self.name}: height", height, (self.lowest, self.highest), within, "or move those bounds")
        position = self.engaged_at + self.up * (height - self.start_height)
        ends = "the stage's own limits are"
        self._require(f"{self.name}: its position", position, travel, ends, "or mount it so that it has the travel")
        return position

    @staticmethod
    def _require(thing: str, value: float, bounds: tuple[float, float], whose: str, remedy: str) -> None:
        low, high = bounds
        if not low <= value <= high:  # NaN is outside too
            limit = f"{whose} {low * 1e6:.7g} … {high * 1e6:.7g} µm"
            raise OutsideDomain(Problem(thing, f"{value * 1e6:.7g} µm", limit, f"ask for less, {remedy}"))


@dataclass(frozen=True, slots=True)
class MotorState:
    """How a motor is: its own `position` [m], `forbids` why it must not move (None: it may), `trouble` in words, and
    `settings` to be shown.
    """

    position: float
    forbids: Problem | None = None
    trouble: str = ""
    settings: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MotorLimits:
    """How a motor is set: `travel` (lowest, highest) [m] of its own position, `ramps` [m/s²] by which it speeds up and
    slows down (0: at once).
    """

    travel: tuple[float, float]
    ramps: tuple[float, float]


class Motor(Protocol):
    """The motor of a stage behind its maker's client. Every method but `revive` raises `InstrumentLost`."""

    name: str

    @property
    def lost(self) -> str:
        """Why the line is lost; empty while it is open."""
        ...

    def state(self) -> MotorState:
        """How it is now. A run asks at every turn: no more questions than that takes."""
        ...

    def limits(self) -> MotorLimits:
        """How it is set now; asked before each motion, for somebody may have changed it."""
        ...

    def position(self) -> float:
        """Its own position [m]."""
        ...

    def begin(self, position: float, speed: float) -> tuple[float, float]:
        """Set off to `position` [m] at `speed` [m/s]; returns both as the motor rounds them."""
        ...

    def stop(self) -> None:
        """Stop this axis."""
        ...

    def identity(self) -> Identity:
        """Who answers."""
        ...

    def revive(self) -> bool:
        """Whether the line is open, tried once more where it is lost."""
        ...


class MotorisedStage:
    """A coarse stage. Its frame is that of the first connection, where the operator has engaged, or the rig file's."""

    def __init__(self, motor: Motor, setup: RoleSetup, specification: RigSpecification, clock: Clock) -> None:
        settings: VerticalAxisSettings = setup.settings
        assert settings.up is not None
        self._motor, self._clock = motor, clock
        self._speed = specification.coarse_stage.speed
        _require_travel(setup, motor.limits().travel)
        at, above = settings.engaged_at_mm, settings.start_height_um
        self._axis = VerticalAxis(
            motor.name,
            settings.up,
            motor.position() if at is None else to_si("engaged_at_mm", at),
            specification.hop_controller.start_height if above is None else to_si("start_height_um", above),
            to_si("lowest_um", settings.lowest_um),
            to_si("highest_um", settings.highest_um),
        )
        self._engaged_now = at is None
        self._target: float | None = None  # [m] height
        self._arrival_ns = 0

    def engaged_with(self, z: float) -> None:
        """The operator has left the *tip* at the start height, with the piezo at `z` [m]: its zero is lower by that.

        A frame of the rig file's own, `engaged_at_mm`, is the scanner's zero's and stays.
        """
        if self._engaged_now:
            self._axis = replace(self._axis, start_height=self._axis.start_height - z)

    def move_to(self, z: float, speed: float | None = None) -> int:
        """Drive to `z` [m] above the surface; see `roles.CoarseStage`.

        Raises `OutsideDomain` beyond the bounds of the rig file or the travel, and `LimitCrossed` where the motor
        must not move. Sent again on its way it goes on, and arrives as promised or earlier: the time is counted from
        rest.
        """
        rate = self._speed if speed is None else speed
        if not 0.0 < rate < math.inf:
            limit = "a speed is above 0"
            raise OutsideDomain(Problem("coarse speed", f"{rate * 1e3:g} mm/s", limit, "give metres per second"))
        limits, state = self._motor.limits(), self._motor.state()
        position = self._axis.position(z, limits.travel)
        if state.forbids is not None:
            raise LimitCrossed(state.forbids)
        position, rate = self._motor.begin(position, rate)
        duration = travel_time(position - state.position, rate, *limits.ramps)
        self._target = z
        self._arrival_ns = self._clock.now_ns() + round(duration * 1e9)
        return self._arrival_ns

    def position(self) -> float:
        """Coarse height [m] of the scanner's zero, asked of the motor."""
        return self._axis.height(self._motor.position())

    def identity(self) -> Identity:
        """Who answers."""
        return self._motor.identity()

    def state(self) -> RoleState:
        """Suspect where the motor says so, or stands elsewhere than it should have arrived.

        The frame is among the settings, so that a run that is resumed can be given the same one.
        """
        t_ns = self._clock.now_ns()
        if not self._motor.revive():
            return RoleState(t_ns, Quality.MISSING, self._motor.lost)
        try:
            state = self._motor.state()
        except InstrumentLost as error:
            return RoleState(t_ns, Quality.MISSING, str(error))
        height, trouble, target = self._axis.height(state.position), state.trouble, self._target
        if not trouble and target is not None and t_ns > self._arrival_ns and abs(height - target) > _ARRIVED_WITHIN:
            trouble = f"it stands at {height * 1e6:.4g} µm and should have arrived at {target * 1e6:.4g} µm"
        settings = {
            "height_um": height * 1e6,
            "engaged_at_mm": self._axis.engaged_at * 1e3,
            "start_height_um": self._axis.start_height * 1e6,
            **state.settings,
        }
        return RoleState(t_ns, Quality.SUSPECT if trouble else Quality.GOOD, trouble, settings)

    def safe(self) -> None:
        """Stand still; on its way up it goes on."""
        if self._target is not None and self._clock.now_ns() < self._arrival_ns and self.position() < self._target:
            return
        self._motor.stop()
        self._target = None


class StageOnSharedLine(MotorisedStage):
    """One whose line takes a second client, so that a watchdog can open `safe_address` for itself."""

    def __init__(
        self, motor: Motor, setup: RoleSetup, specification: RigSpecification, clock: Clock, safe_address: str
    ) -> None:
        super().__init__(motor, setup, specification, clock)
        self.safe_address = safe_address


def _require_travel(setup: RoleSetup, travel: tuple[float, float]) -> None:
    """`BadInput` unless the travel between the stage's limits is that of the rig file.

    A wrong microstep or unit would drive the pipette by a wrong distance, and this is where it shows.
    """
    settings: VerticalAxisSettings = setup.settings
    stated, measured = settings.travel_mm, (travel[1] - travel[0]) * 1e3
    assert stated is not None
    if abs(measured / stated - 1.0) > _TRAVEL_AGREES:
        limit = f"the stage's own limits are {measured:.4g} mm apart with these settings"
        remedy = "take the travel, and the size of a step where it has one, from the data sheet of exactly this stage"
        raise BadInput(setup.problem("travel_mm", stated, limit, remedy))


def travel_time(distance: float, speed: float, acceleration: float, deceleration: float) -> float:
    """[s] for a `distance` [m] from rest to rest at `speed` [m/s]; accelerations [m/s²] of 0 take no time.

    The trapezium of speed over time: t = d/v + v/(2a) + v/(2b), with the ramps a and b, or its triangle where the stage
    does not reach v. Assumes no jerk limit and no settling, so a servo arrives a little later.
    """
    distance = abs(distance)
    ramps = sum(0.5 / rate for rate in (acceleration, deceleration) if rate > 0.0)  # [s²/m]
    if speed * speed * ramps <= distance:
        return distance / speed + speed * ramps
    return 2.0 * math.sqrt(distance * ramps)
