"""One motorised axis along z as the drivers of coarse stages see it: its frame, its limits, when it arrives.

A stage counts from a switch at an end of its travel; opsicm counts from the specimen's mean surface. The two meet
where the operator has engaged: there the pipette stands `start_height_um` above the surface, and the stage at
`engaged_at_mm`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.core.units import to_si
from opsicm.experiment.step_model import FileModel, Number
from opsicm.instruments.registry import RoleSetup
from opsicm.instruments.specification import CoarseStageSpecification, RigSpecification

Height = Annotated[Number, Field(ge=-2e5, le=2e5)]
_TRAVEL_AGREES: Final = 0.05  # data sheets round the travel; a microstep of another model is wrong by 2 or more


class VerticalAxisSettings(FileModel):
    """What a rig file says of any coarse stage.

    `up` is the sign of the stage's own position where the pipette rises, and has no default: a wrong one drives the
    pipette into the specimen. `engaged_at_mm` is the stage's own position where the pipette stands `start_height_um`
    above the mean surface; without it that is where the stage stands when the run connects, without
    `start_height_um` that of the hop controller. `lowest_um` and `highest_um` bound the heights above the surface.
    """

    display_name = "a coarse stage"
    up: Literal[-1, 1] | None = None
    start_height_um: Annotated[Number, Field(ge=0, le=1e5)] | None = None
    engaged_at_mm: Annotated[Number, Field(ge=-1e4, le=1e4)] | None = None
    lowest_um: Height = -500.0  # as far as engaging goes down before the surface counts as lost
    highest_um: Height = 2e5
    speed_mm_s: Annotated[Number, Field(gt=0, le=100)] = 0.5


def specify(setup: RoleSetup) -> CoarseStageSpecification:
    """What `check` asks of any coarse stage; `BadInput` where a setting that has no safe default is missing."""
    settings: VerticalAxisSettings = setup.settings
    if settings.up is None:
        limit = "is missing: which sign of the stage's own position lifts the pipette"
        raise BadInput(setup.problem("up", "", limit, "drive the stage by its maker's program, then write up: 1 or -1"))
    if settings.lowest_um >= settings.highest_um:
        limit = f"must be below highest_um, {settings.highest_um:g}"
        raise BadInput(setup.problem("lowest_um", settings.lowest_um, limit, "exchange the two"))
    return CoarseStageSpecification(speed=to_si("speed_mm_s", settings.speed_mm_s))


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

    @staticmethod
    def of(name: str, settings: VerticalAxisSettings, rig: RigSpecification, position: float) -> VerticalAxis:
        """The frame that settings and the `position` [m] at connection give."""
        assert settings.up is not None
        at, above = settings.engaged_at_mm, settings.start_height_um
        return VerticalAxis(
            name,
            settings.up,
            position if at is None else to_si("engaged_at_mm", at),
            rig.hop_controller.start_height if above is None else to_si("start_height_um", above),
            to_si("lowest_um", settings.lowest_um),
            to_si("highest_um", settings.highest_um),
        )

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

    def told(self, position: float) -> Mapping[str, float | str]:
        """The frame as `state()` shows it, so that a run that is resumed can be given the same one."""
        return {
            "height_um": self.height(position) * 1e6,
            "engaged_at_mm": self.engaged_at * 1e3,
            "start_height_um": self.start_height * 1e6,
        }


def require_speed(speed: float) -> float:
    """A speed [m/s] that is one; raises `OutsideDomain`."""
    if not 0.0 < speed < math.inf:
        limit = "a speed is above 0"
        raise OutsideDomain(Problem("coarse speed", f"{speed * 1e3:g} mm/s", limit, "give metres per second"))
    return speed


def require_travel(setup: RoleSetup, travel_mm: float | None, measured: float, key: str) -> None:
    """`BadInput` unless the travel [m] between the stage's limits is that of the rig file: a wrong size of its steps
    would drive the pipette by a wrong distance, and this is where it shows.
    """
    if travel_mm is None or abs(measured * 1e3 / travel_mm - 1.0) > _TRAVEL_AGREES:
        limit = f"the stage's own limits are {measured * 1e3:.4g} mm apart with the {key} of the rig file"
        remedy = f"take travel and {key} from the data sheet of exactly this stage"
        raise BadInput(setup.problem("travel_mm", "" if travel_mm is None else travel_mm, limit, remedy))


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


def address_of_safe(module: str, settings: Mapping[str, Any], role: str) -> str:
    """The safe channel that a watchdog opens by itself, in the form `driver:MODULE:FUNCTION {settings}#role`."""
    return f"driver:{module}:safe_channel {json.dumps(dict(settings), sort_keys=True)}#{role}"
