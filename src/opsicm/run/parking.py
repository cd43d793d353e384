"""Standing and travelling: a pipette parked at a height, or on its way up and down a tower."""

from __future__ import annotations

from opsicm.run.hop_words import HopWords
from opsicm.run.probe_bench import ProbeBench


class Parked:
    """At a height [m] above the surface; slow rows only."""

    def __init__(self, bench: ProbeBench, height: float) -> None:
        self._bench = bench
        self._height = height
        self.words: HopWords | None = None
        self.done = 0

    @property
    def over(self) -> bool:
        """Never by itself."""
        return False

    def enter(self) -> None:
        """Go there."""
        self._bench.lift_to(self._height)

    def leave(self) -> None:
        """Nothing to put back."""

    def pass_time(self, until_ns: int) -> None:
        """Stand."""
        self._bench.rig.clock.wait_until(until_ns)

    def turn(self, until_ns: int) -> None:
        """Stand, no longer than the bias can be trusted."""
        if not self._bench.travels(until_ns):
            self.pass_time(min(until_ns, self._bench.now() + self._bench.bias.trusted_ns))


class Travelling:
    """Up and down by the coarse stage between `low` and `high` [m] at `speed` [m/s], `dwell` [s] at either end."""

    def __init__(
        self, bench: ProbeBench, low: float, high: float, speed: float, dwell: float, row_period: float,
        trips: int | None,
    ) -> None:  # fmt: skip
        self._bench = bench
        self._ends = (high, low)
        self._speed = speed
        self._dwell_ns = round(dwell * 1e9)
        self._row_ns = round(row_period * 1e9)
        self._trips = trips
        self._leaves_ns = 0
        self._legs = 0  # gone so far, of which two make a trip
        self.words: HopWords | None = None
        self.done = 0

    @property
    def over(self) -> bool:
        """Whether every trip is done."""
        return self._trips is not None and self.done >= self._trips

    def enter(self) -> None:
        """Go to the lower end; a trip that was interrupted begins anew."""
        self._legs = 2 * self.done
        self._bench.lift_to(self._ends[1], self._speed)
        self._leaves_ns = self._bench.arrives_ns + self._dwell_ns

    def leave(self) -> None:
        """Stand still where it is: what follows says where to go."""
        self._bench.arrives_ns = self._bench.rig.coarse_stage.move_to(self._bench.rig.coarse_stage.position())

    def pass_time(self, until_ns: int) -> None:
        """Travel on: the stage needs nobody."""
        self._bench.rig.clock.wait_until(until_ns)

    def turn(self, until_ns: int) -> None:
        """Until the next slow row; where the stage has arrived and dwelt, back it goes."""
        bench, now = self._bench, self._bench.now()
        if now >= self._leaves_ns:
            bench.lift_to(self._ends[self._legs % 2], self._speed)
            self._leaves_ns = bench.arrives_ns + self._dwell_ns
            self._legs += 1
        turns = [until_ns, now + self._row_ns, now + bench.bias.trusted_ns]
        if self._leaves_ns > now:
            turns.append(self._leaves_ns)
        self.pass_time(min(turns))
        self.done = max(self.done, (self._legs - (bench.now() < self._leaves_ns)) // 2)
