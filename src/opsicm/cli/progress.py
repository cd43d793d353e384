"""How far a run is: the bar on a terminal, a line a minute in a log file, and the answer to `opsicm status`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from opsicm.instruments.clock import monotonic_ns, utc_now

if TYPE_CHECKING:
    from opsicm.runner.runner import Progress as RunProgress

_WINDOW_NS: Final = 30_000_000_000  # over which the speed is measured: a twin hops more slowly than it parks
_LOG_INTERVAL_NS: Final = 60_000_000_000
_BAR_WIDTH: Final = 20


class Pace:
    """Measures how fast a run passes, and says how long it has yet.

    `expected` [s] is the forecast of its duration. Where it is not known, and for a run that outlasts its forecast, the
    longest duration of its steps counts, if they have one.
    """

    def __init__(self, expected: float | None = None, clock: Callable[[], int] = monotonic_ns) -> None:
        self._expected = expected
        self._clock = clock
        self._seen: deque[tuple[int, int]] = deque()  # (wall clock, time of the run) [ns]
        self._first_total_ns: int | None = None
        self.now: RunProgress | None = None
        """What was reported last."""

    def update(self, now: RunProgress) -> None:
        """Take over what the run reports."""
        wall = self._clock()
        self._first_total_ns = now.total_ns if self._first_total_ns is None else self._first_total_ns
        self._seen.append((wall, now.t_ns))
        while len(self._seen) > 2 and wall - self._seen[1][0] >= _WINDOW_NS:
            self._seen.popleft()
        self.now = now

    def telling(self, listener: Callable[[RunProgress], None]) -> Callable[[RunProgress], None]:
        """A listener that takes over what the run reports and passes it on."""

        def listen(now: RunProgress) -> None:
            self.update(now)
            listener(now)

        return listen

    @property
    def total(self) -> float | None:
        """How long the run will have lasted [s]; None where only a cut-off ends it and nothing was forecast."""
        if self.now is None:
            return self._expected
        longest = self.now.total_ns
        if self._expected is not None:
            # A pause makes the longest duration longer, and the expected one by as much.
            paused = 0 if longest is None or self._first_total_ns is None else longest - self._first_total_ns
            expected = self._expected + paused * 1e-9
            if expected > self.now.t_ns * 1e-9:
                return expected
        return None if longest is None else longest * 1e-9

    @property
    def speed(self) -> float | None:
        """Seconds of the run that pass in one of the wall clock, lately; None before two reports."""
        if len(self._seen) < 2 or self._seen[-1][0] == self._seen[0][0]:
            return None
        (wall, t), (wall_now, t_now) = self._seen[0], self._seen[-1]
        return (t_now - t) / (wall_now - wall)

    @property
    def left(self) -> float | None:
        """Time left on the wall clock [s]; None where it is not known."""
        if self.now is None or self.total is None or not self.speed:
            return None
        return max(0.0, self.total - self.now.t_ns * 1e-9) / self.speed

    def record(self) -> dict[str, Any]:
        """What `opsicm status` asks a run for, in SI."""
        if self.now is None:
            return {"where": "compiling", "hops": 0, "t_s": 0.0, "total_s": self.total}
        return {
            "where": self.now.where,
            "hops": self.now.hops,
            "t_s": self.now.t_ns * 1e-9,
            "total_s": self.total,
            "speed": self.speed,
            "left_s": self.left,
            "potential_V": self.now.potential,
            "cell_current_A": self.now.cell_current,
            "soc": self.now.soc,
            "pipette_current_A": self.now.pipette_current,
            "pipette_share": self.now.pipette_share,
        }


def lasting(seconds: float) -> str:
    """A duration as a person says it: `45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60.0)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600.0)
    return f"{hours // 24} d {hours % 24} h"


def share_text(t: float, total: float | None) -> str:
    """How much of a run is over: ` 43 %`; empty where its end is not known."""
    return f"{min(99, int(100.0 * t / total))} %" if total else ""


def left_text(left: float | None) -> str:
    """`12 min left`, or that it is not known."""
    return "time left unknown" if left is None else f"{lasting(left)} left"


class _Pulse(ProgressColumn):
    """Shows that the run is alive where no bar can: its end is not known."""

    def render(self, task: Task) -> Text:
        return Text("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[int(task.get_time() * 12.5) % 10])


@contextmanager
def run_progress(
    console: Console, title: str = "running", expected: float | None = None, clock: Callable[[], int] = monotonic_ns
) -> Iterator[Callable[[RunProgress], None]]:
    """Shows the progress of a run on `console`: a bar with the time left, or in a log file one line a minute.

    What must be seen comes first in the line, so that a terminal of 80 columns cuts off the least of it: bar, share,
    time left, then the run's time, hops and present steps.
    """
    pace = Pace(expected, clock)
    if not console.is_terminal:
        yield _Log(console, pace, clock)
        return
    columns = (
        _Pulse(),
        BarColumn(bar_width=_BAR_WIDTH),
        TextColumn("{task.fields[share]:>4}", markup=False),
        TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True, min_width=11)),
        TextColumn(
            "{task.fields[shown]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        ),
    )
    console.print(title, markup=False, overflow="ellipsis", no_wrap=True, soft_wrap=False)
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        task = progress.add_task("", total=expected, share="", left="", shown="compiling")

        def update(now: RunProgress) -> None:
            pace.update(now)
            seconds = now.t_ns * 1e-9
            shown = f"{seconds:.0f} s, {now.hops} hops, {now.where}"
            share, left = share_text(seconds, pace.total), left_text(pace.left)
            progress.update(task, completed=seconds, total=pace.total, share=share, left=left, shown=shown)

        yield update


class _Log:
    """One line a minute, with the time of day: what a log file of a night should hold."""

    def __init__(self, console: Console, pace: Pace, clock: Callable[[], int]) -> None:
        self._console = console
        self._pace = pace
        self._clock = clock
        self._due_ns = clock() + _LOG_INTERVAL_NS

    def __call__(self, now: RunProgress) -> None:
        self._pace.update(now)
        wall = self._clock()
        if wall >= self._due_ns:
            self._due_ns = wall + _LOG_INTERVAL_NS
            self._console.print(log_line(self._pace, f"{utc_now():%Y-%m-%d %H:%M:%S}"), markup=False)


def log_line(pace: Pace, when: str) -> str:
    """The line of a log file: `2026-11-30 22:14:03 UTC  43 %, 12 min left, 1234 s, 340 hops, cell[0] probe[0]`."""
    now = pace.now
    assert now is not None, "the run has reported"
    share = share_text(now.t_ns * 1e-9, pace.total)
    parts = [share, left_text(pace.left), f"{now.t_ns * 1e-9:.0f} s", f"{now.hops} hops", now.where]
    return f"{when} UTC  {', '.join(part for part in parts if part)}"
