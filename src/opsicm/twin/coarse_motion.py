"""The coarse stage's motion: a motor at constant speed, in steps, and what its thread's backlash makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

NEVER: Final = 2**62  # [ns] later than any run


@dataclass(slots=True)
class CoarseMotion:
    """Where the motor is and where the pipette's carriage truly is, at any instant.

    `height` [m] at the start, `speed` [m/s] usual, `backlash` [m] of the thread, `step` [m] of the motor (0: none).
    The carriage hangs on the thread's lower flank: driven down it follows exactly, driven up it stands still until
    the backlash is taken up. So heights approached from above repeat, as on a real stage, and after a way up the
    carriage is lower than the motor says by the backlash. Assumes no acceleration and no lost steps.
    """

    height: float
    speed: float
    backlash: float = 0.0
    step: float = 0.0
    _from: float = field(init=False)
    _to: float = field(init=False)
    _begins_ns: int = field(init=False, default=0)
    _ends_ns: int = field(init=False, default=0)
    _carriage: float = field(init=False)  # when the present motion began

    def __post_init__(self) -> None:
        self._from = self._to = self._carriage = self.height

    def begin(self, target: float, speed: float | None, now_ns: int) -> int:
        """Drive from where the motor is to `target` [m] at `speed` [m/s]; returns when it will be there [ns]."""
        here, carriage = self.motor(now_ns), self.carriage(now_ns)
        there = round(target / self.step) * self.step if self.step > 0.0 else target
        self._from, self._to, self._carriage = here, there, carriage
        self._begins_ns = now_ns
        self._ends_ns = now_ns + round(abs(there - here) / (speed or self.speed) * 1e9)
        return self._ends_ns

    @property
    def target(self) -> float:
        """Where the present or last motion ends [m]."""
        return self._to

    def motor(self, t_ns: int) -> float:
        """What the stage reports [m]."""
        if t_ns >= self._ends_ns:
            return self._to
        if t_ns <= self._begins_ns:
            return self._from
        done = (t_ns - self._begins_ns) / (self._ends_ns - self._begins_ns)
        return self._from + done * (self._to - self._from)

    def carriage(self, t_ns: int) -> float:
        """Where the pipette's carriage truly is [m]: the play of width `backlash` below the motor."""
        motor = self.motor(t_ns)
        return min(max(self._carriage, motor - self.backlash), motor)

    def moving(self, t_ns: int) -> bool:
        """Whether the motor turns at `t_ns`."""
        return self._begins_ns <= t_ns < self._ends_ns

    def rate(self) -> float:
        """Speed of the present or last motion [m/s], unsigned; 0 if there was none."""
        elapsed = self._ends_ns - self._begins_ns
        return abs(self._to - self._from) / (elapsed * 1e-9) if elapsed else 0.0

    def next_breakpoint(self, t_ns: int) -> int:
        """The first instant after `t_ns` at which the motion changes its slope [ns]."""
        if not self.moving(t_ns):
            return NEVER
        taken_up = self._ends_ns
        # Driven up the carriage starts late, driven down after a way up it starts late too.
        slack = self._carriage - (self._from - self.backlash) if self._to > self._from else self._from - self._carriage
        if 0.0 < slack < abs(self._to - self._from):
            taken_up = self._begins_ns + round(slack / self.rate() * 1e9)
        return min(t for t in (taken_up, self._ends_ns) if t > t_ns)
