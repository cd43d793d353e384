"""Time: nanoseconds since the run started, monotonic. The only module of the package that imports `time`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

_LONGEST_SLEEP: Final = 0.005  # [s] between two looks whether to stop: four times as long was half of what a stop took


class Clock(Protocol):
    """The time of a run: a wall clock or a twin's virtual one."""

    def now_ns(self) -> int:
        """Nanoseconds since the run started."""
        ...

    def wait_until(self, t_ns: int) -> None:
        """Return when `now_ns()` is at least `t_ns`; on a twin this advances the simulated world."""
        ...


class WallClock:
    """The machine's monotonic clock, for a rig in which nothing is simulated."""

    def __init__(self) -> None:
        self._started = time.monotonic_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns() - self._started

    def wait_until(self, t_ns: int) -> None:
        while (left := t_ns - self.now_ns()) > 0:
            time.sleep(left * 1e-9)


class Pacer:
    """Holds a virtual clock back so that it runs at `speed` times real time.

    `speed` None never waits. Waiting happens in short sleeps and ends early when `interrupted()` says so: a stop must
    not wait for the virtual second to pass.
    """

    def __init__(self, speed: float | None, interrupted: Callable[[], bool]) -> None:
        self._speed = speed
        self._interrupted = interrupted
        self._started: float | None = None

    def hold(self, t_ns: int) -> None:
        """Sleep until the wall clock has caught up with virtual time `t_ns`."""
        if self._speed is None:
            return
        if self._started is None:
            # From the first time that passes: connecting instruments takes a second or two, which the virtual clock
            # would else make up for at once, and a reading after a wait would not have waited.
            self._started = time.monotonic_ns() - t_ns / self._speed
        due = self._started + t_ns / self._speed
        while not self._interrupted() and (left := due - time.monotonic_ns()) > 0:
            time.sleep(min(left * 1e-9, _LONGEST_SLEEP))


def utc_now() -> datetime:
    """The wall clock's UTC time: for names and headers, never for stamps of data."""
    return datetime.now(UTC)


def monotonic_ns() -> int:
    """The machine's monotonic clock, common to its processes: for latencies, never for stamps of data."""
    return time.monotonic_ns()


def pause(seconds: float) -> None:
    """Wait on the wall clock, for a program that looks again and again; never in a run."""
    time.sleep(seconds)


def stopwatch() -> Callable[[], float]:
    """A function that returns the seconds of wall time since this call: for progress and benchmarks."""
    started = time.perf_counter()
    return lambda: time.perf_counter() - started
