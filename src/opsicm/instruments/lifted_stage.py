"""A coarse stage whose motor turns only with the piezo drawn up, for scanners that somebody else's stage carries.

The stage and the piezo are two makers' devices that know nothing of each other, and heights add: a piezo that stands
low when the stage comes down stands in the specimen. A scanner that offers `draw_up` and `centre_at` is drawn up before
a motion begins, and is in the middle of its travel when it has ended, whence approaches begin: as the twin has it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from opsicm.instruments.roles import CoarseStage, Identity, RoleState


@runtime_checkable
class Liftable(Protocol):
    """A scanner that can be drawn up for a coarse motion."""

    def draw_up(self) -> None:
        """To the middle of its travel, or stay above it."""
        ...

    def centre_at(self, t_ns: int) -> None:
        """To the middle of its travel once it is `t_ns`: at the next thing that it is asked for."""
        ...


class LiftedStage:
    """The stage's methods; `move_to` draws `scanner` up first."""

    def __init__(self, stage: CoarseStage, scanner: Liftable) -> None:
        self._stage, self._scanner = stage, scanner

    def move_to(self, z: float, speed: float | None = None) -> int:
        self._scanner.draw_up()
        arrival = self._stage.move_to(z, speed)
        self._scanner.centre_at(arrival)
        return arrival

    def position(self) -> float:
        return self._stage.position()

    def identity(self) -> Identity:
        return self._stage.identity()

    def state(self) -> RoleState:
        return self._stage.state()

    def safe(self) -> None:
        self._stage.safe()
