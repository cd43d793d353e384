"""Steps of the pipette's wire alone: its voltammogram, and the amplifier's zero."""

from __future__ import annotations

from typing import Final

import numpy as np

from opsicm.runner.hop_words import HopWords
from opsicm.runner.probe_context import ProbeBench

_LOOK_NS: Final = 50_000_000


class WireSweep:
    """The wire from `start` to `end` [V vs Li/Li+] and back, `cycles` times, at `height` [m], sampled in full."""

    def __init__(
        self, bench: ProbeBench, path: str, start: float, end: float, rate: float, cycles: int, height: float
    ) -> None:
        self._bench = bench
        self._path = path
        self._corners = (start, end)
        self._rate = rate
        self._leg_ns = round(abs(end - start) / rate * 1e9)
        self._height = height
        self._spent_ns = 0
        self._cycles = cycles
        self.words: HopWords | None = None

    @property
    def done(self) -> int:
        """Cycles."""
        return self._spent_ns // (2 * self._leg_ns)

    @done.setter
    def done(self, cycles: int) -> None:
        self._spent_ns = cycles * 2 * self._leg_ns

    @property
    def over(self) -> bool:
        """Whether every cycle is done."""
        return self.done >= self._cycles

    def enter(self) -> None:
        """To the height; what follows is a segment of its own."""
        self._bench.lift_to(self._height)
        self._bench.begin_segment()

    def leave(self) -> None:
        """Back to the bias."""
        self._bench.bias.aim_nominal()

    def pass_time(self, until_ns: int) -> None:
        """The sweep stands still."""
        self._bench.bias.aim(self._now()[0])
        self._bench.dwell(self._path, until_ns)

    def turn(self, until_ns: int) -> None:
        """On along the present straight piece."""
        bench = self._bench
        if bench.travels(until_ns):
            return
        volts, slope, left_ns = self._now()
        bench.bias.aim(volts, slope)
        began = bench.now()
        bench.dwell(self._path, min(until_ns, began + left_ns, began + bench.bias.trusted_ns))
        self._spent_ns += bench.now() - began

    def _now(self) -> tuple[float, float, int]:
        """(potential [V], slope [V/s], what is left of this piece [ns])."""
        leg, spent_ns = divmod(self._spent_ns, self._leg_ns)
        here, there = self._corners if leg % 2 == 0 else self._corners[::-1]
        slope = self._rate if there > here else -self._rate
        return here + slope * spent_ns * 1e-9, slope, self._leg_ns - spent_ns


class Zeroing:
    """The wire at the reference's potential for a time: what the amplifier shows then is its offset.

    The cell's own ohmic drop reaches the pipette too, so the offset means something at open circuit.
    """

    def __init__(self, bench: ProbeBench, path: str, seconds: float) -> None:
        self._bench = bench
        self._path = path
        self._left_ns = round(seconds * 1e9)
        self._read: list[float] = []
        self.words: HopWords | None = None
        self.done = 0

    @property
    def over(self) -> bool:
        """Whether its time has passed."""
        return self._left_ns <= 0

    def enter(self) -> None:
        """Far enough that nothing but the amplifier is seen."""
        self._bench.lift_to(self._bench.rig.hop_controller.start_height)

    def leave(self) -> None:
        """Back to the bias; where its time has passed, the offset is a fact."""
        self._bench.bias.aim_nominal()
        if self.over and self._read:
            offset, n = float(np.mean(self._read)), len(self._read)
            u = float(np.std(self._read, ddof=1) / np.sqrt(n)) if n > 1 else None
            data = {"message": "amplifier offset at zero bias", "offset_A": offset, "u_A": u, "n": n}
            self._bench.fact("note", self._path, data)
            self._read = []

    def pass_time(self, until_ns: int) -> None:
        """Stand."""
        self._bench.rig.clock.wait_until(until_ns)

    def turn(self, until_ns: int) -> None:
        """A look, and a little time."""
        bench = self._bench
        if bench.travels(until_ns):
            return
        bench.bias.aim(0.0)
        began = bench.now()
        self.pass_time(min(until_ns, began + _LOOK_NS, began + self._left_ns))
        self._read.append(bench.read_current())
        self._left_ns -= bench.now() - began
