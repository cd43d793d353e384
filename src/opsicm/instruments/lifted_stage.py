"""A coarse stage whose motor turns only with the piezo drawn up, for stage and piezo that know nothing of each other.

Heights add: a piezo that stands low when the stage comes down stands in the specimen. So it is drawn up before a motion
begins, and the stage does not come down over one that stays below the middle of its travel. Whoever can lift it offers
`draw_up` and `centre_at`: the scanner, or the hop controller that drives it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from opsicm.core.errors import InstrumentLost, LimitCrossed, Problem
from opsicm.instruments.roles import CoarseStage, Identity, RoleState, Scanner

_LOW: Final = 0.2e-6  # [m] below the middle: more than the noise and offset of a sensor
_ARRIVED: Final = 1e-6  # [m]


@runtime_checkable
class Liftable(Protocol):
    """What can draw the piezo up for a coarse motion."""

    def draw_up(self) -> None:
        """To the middle of its travel, or stay above it; returns when it is there."""
        ...

    def centre_at(self, t_ns: int, arrived: Callable[[], bool]) -> None:
        """To the middle of its travel once it is `t_ns` and the stage has `arrived`, if approaches begin there.

        At the next thing that it is asked for; a device that lowers the pipette in hops only begins from above.
        """
        ...


@runtime_checkable
class Engaged(Protocol):
    """A stage whose frame is where the operator has left the tip."""

    def engaged_with(self, z: float) -> None:
        """Take note that the piezo stood at `z` [m] then: the frame is that of the scanner's zero."""
        ...


class LiftedStage:
    """The stage's methods; `move_to` has the piezo drawn up by `lift` first, where there is one."""

    def __init__(self, stage: CoarseStage, scanner: Scanner, lift: Liftable | None) -> None:
        self._stage, self._scanner, self._lift = stage, scanner, lift
        if isinstance(stage, Engaged):
            stage.engaged_with(scanner.read_z())

    def move_to(self, z: float, speed: float | None = None) -> int:
        """Raises `LimitCrossed` where the stage would come down over a piezo that nobody has drawn up."""
        comes_down = z < self._stage.position()
        if self._lift is not None:
            try:
                self._lift.draw_up()
            except InstrumentLost:  # up is away from everything, whoever is lost: that is how a run withdraws
                if comes_down:
                    raise
        # Not "at least": a piezo of which nobody can say where it stands is not drawn up.
        if comes_down and not (stands := self._scanner.read_z()) >= -_LOW:
            value = f"asked to come down to {z * 1e6:.4g} µm"
            limit = f"the piezo stands at {stands * 1e6:.4g} µm, below the middle of its travel, and the tip with it"
            raise LimitCrossed(Problem("coarse stage", value, limit, "draw the piezo up, then resume"))
        arrival = self._stage.move_to(z, speed)
        if self._lift is not None:
            self._lift.centre_at(arrival, lambda: abs(self._stage.position() - z) < _ARRIVED)
        return arrival

    def position(self) -> float:
        return self._stage.position()

    def identity(self) -> Identity:
        return self._stage.identity()

    def state(self) -> RoleState:
        return self._stage.state()

    def safe(self) -> None:
        self._stage.safe()
