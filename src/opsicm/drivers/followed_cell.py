"""A cell that the laboratory's own software runs: its growing export file is followed, and nothing is ever driven.

For the many potentiostats that cannot be driven: EC-Lab's, Gamry's, a cycler's, any program that writes a text table
while it measures. What a format means is known to `opsicm.formats`, which stands above the drivers; its reader is
handed in with the setup (`RigSetup.cell_rows`), and reads the file's head again with each new piece.

**Clock.** Rows carry the other computer's time, and arrive late. Arrival minus stamp is offset + delay, the delay never
negative: the offset is the lower envelope of these points, and once they span a minute its slope is the drift (the edge
of the lower convex hull below their mean: Moon, Skelly & Towsley, INFOCOM 1999, 227). What cannot be seen is a delay
that every row has; `least_delay_ms` states it where it is known.

**A file that has ended** looks as one that grows until its next row does not come. Rows that are there at the start are
the past, so a run begins with the first one that comes after it.

**Safety.** Neither `apply` nor `safe` acts on the cell. What is seen is watched: the run's limits see every reading, a
file that no longer grows first is stale and then lost, which brings the probe up, and a cell that departs from the
stated program is suspect.
"""

from __future__ import annotations

import math
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, Problem
from opsicm.core.facts import Quality
from opsicm.core.units import to_si
from opsicm.experiment.controls import (
    CellControl,
    ConstantCurrent,
    OpenCircuit,
    PotentialRamp,
    control_text,
    nominal_controls,
)
from opsicm.experiment.program import written_steps
from opsicm.experiment.step_model import FileModel, Flag, Number, Potential, Text
from opsicm.instruments.clock import Clock, pause, stopwatch
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import CellReading, Identity, RoleState
from opsicm.instruments.specification import PotentiostatSpecification, RigSpecification

_LOOKS_EVERY: Final = 0.05  # [s]
_PIECE: Final = 1 << 22  # [bytes] read at once; the head ends within as many
_HEAD: Final = 400  # lines that a file may need to say what its columns are, and its first rows
_LEAST_SPAN: Final = 60.0  # [s] of rows before a drift is told from the scatter of the delays
_LARGEST_DRIFT: Final = 1e-3  # a computer's clock that runs faster or slower than that is another fault
_DEPARTED_FOR: Final = 2.0  # [s]
_ENDED: Final = 0.05  # of a stated current: less than that has ended
_WORDS: Final = {PotentialRamp: "potential", ConstantCurrent: "current", OpenCircuit: "open_circuit"}


class FollowedCellSettings(FileModel):
    """`columns` says what the columns of a table are where its titles do not, as `opsicm identify --columns` does.

    `states_program`: the experiment's cell program is what the other software has been told to do. Without it the
    experiment may have `open_circuit` only. A departure of more than `tolerance_mV`, or of `tolerance_pct` of a stated
    current, is reported. `stale_after_s` without a new row its last one is no longer the present, `lost_after_s` the
    run pauses; both must be longer than the other software waits between two rows. `rest_V` is where the specimen
    stands before the run.
    """

    display_name = "the followed cell"
    columns: Text | None = None
    states_program: Flag = False
    tolerance_mV: Annotated[Number, Field(gt=0, le=1000)] = 20.0
    tolerance_pct: Annotated[Number, Field(gt=0, le=100)] = 5.0
    stale_after_s: Annotated[Number, Field(gt=0, le=3600)] = 5.0
    lost_after_s: Annotated[Number, Field(gt=0, le=36_000)] = 20.0
    first_row_within_s: Annotated[Number, Field(gt=0, le=600)] = 10.0
    least_delay_ms: Annotated[Number, Field(ge=0, le=60_000)] = 0.0
    rest_V: Potential


class ClockOfAnother:
    """Offset and drift of another clock from the arrival of what it has stamped.

    Both in seconds; `least_delay` [s] is the part of the delay that every row has.
    """

    def __init__(self, least_delay: float = 0.0) -> None:
        self._least = least_delay
        self._hull: list[tuple[float, float]] = []  # (stamp, arrival - stamp), the lower convex hull
        self._sum, self._count = 0.0, 0

    def add(self, stamp: float, arrival: float) -> None:
        """A row that was stamped and has arrived; stamps ascend."""
        point = (stamp, arrival - stamp - self._least)
        self._sum, self._count = self._sum + stamp, self._count + 1
        while len(self._hull) > 1 and _turns_down(self._hull[-2], self._hull[-1], point):
            self._hull.pop()
        self._hull.append(point)

    @property
    def drift(self) -> float:
        """By how much the other clock is slow [s/s]; 0 until it can be told."""
        return self._line()[1]

    def time_of(self, stamp: float) -> float:
        """Our time [s] of a stamp."""
        offset, drift = self._line()
        return stamp + offset + drift * stamp

    def delay_of(self, stamp: float, arrival: float) -> float:
        """By how much [s] it came later than the quickest."""
        return arrival - self.time_of(stamp)

    def _line(self) -> tuple[float, float]:
        lowest = min(delay for _, delay in self._hull)
        mean = self._sum / self._count
        if self._hull[-1][0] - self._hull[0][0] < _LEAST_SPAN:
            return lowest, 0.0
        for (t0, d0), (t1, d1) in zip(self._hull, self._hull[1:], strict=False):
            if t0 <= mean <= t1:
                drift = (d1 - d0) / (t1 - t0)
                return (d0 - drift * t0, drift) if abs(drift) <= _LARGEST_DRIFT else (lowest, 0.0)
        return lowest, 0.0


def _turns_down(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


class _GrowingText:
    """The whole lines that have come to a text file since one looked last; the newest of those that fit `pattern`.

    `more`: what was read is not all that has come. `BadInput` for a pattern that can name no file, and for what is
    found and is no file: a pipe would be waited for without end, and a device read without end.
    """

    def __init__(self, pattern: str) -> None:
        limit = ""
        try:
            self._pattern = Path(pattern).expanduser()
            found = list(self._pattern.parent.glob(self._pattern.name))
            if found and not self._files():
                limit = "it is no regular file"
        except OSError:  # its share is away: looked for again until the first row must be there
            found = []
        except (ValueError, RuntimeError) as error:  # `**` in a name, no name, an unknown `~user`
            limit = f"no file can be found by it ({error})"
        if limit:
            remedy = "write the path of the export file, or a pattern as C:/Data/*.mpt"
            raise BadInput(Problem("file of the cell", repr(pattern), limit, remedy))
        self.path, self.more = self._pattern, False
        self._inode, self._offset = 0, 0

    def _files(self) -> list[Path]:
        """The regular files that fit, the newest last."""
        found = [(path, path.stat()) for path in self._pattern.parent.glob(self._pattern.name)]
        files = [(status.st_mtime_ns, path) for path, status in found if stat.S_ISREG(status.st_mode)]
        return [path for _, path in sorted(files)]

    def written(self) -> str:
        """When the file was written last, as `2026-11-30 20:58:41` by the clock of whoever keeps it."""
        try:
            last = self.path.stat().st_mtime
        except OSError:
            return "a time that is not known: it is not there now"
        return f"{datetime.fromtimestamp(last, UTC).astimezone():%Y-%m-%d %H:%M:%S}"

    def look(self) -> tuple[bytes, bool]:
        """(new whole lines, whether they are those of another file or of a file begun anew)."""
        self.more = False
        found = self._files()
        if not found:
            return b"", False
        self.path = found[-1]
        with self.path.open("rb") as file:
            status = self.path.stat()
            anew = status.st_ino != self._inode or status.st_size < self._offset
            if anew:
                self._inode, self._offset = status.st_ino, 0
            file.seek(self._offset)
            data = file.read(_PIECE)
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        self.more = len(data) == _PIECE and bool(whole)
        return whole, anew


class FollowedCell:
    """Reads the rows; `apply` keeps what the program states, for comparison."""

    def __init__(self, setup: RoleSetup, clock: Clock) -> None:
        settings: FollowedCellSettings = setup.settings
        assert setup.address is not None
        self._settings, self._clock, self._rows_of = settings, clock, setup.rig.cell_rows
        self._file = _GrowingText(setup.address)
        self._head, self._rows_in_head = b"", 0
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._other = ClockOfAnother(to_si("least_delay_ms", settings.least_delay_ms))
        self._stamp, self._charge, self._current = math.inf, 0.0, 0.0
        self._potential, self._delay, self._interval, self._damaged = math.nan, 0.0, 0.0, 0
        self._t_ns = 0
        self._since_row: Callable[[], float] = stopwatch()
        self._stated: tuple[CellControl, int] = (OpenCircuit(), 0)
        self._next: tuple[CellControl, int] | None = None
        self._flowed = self._cut_off = False
        self._departed: Callable[[], float] | None = None
        self._departure = ""
        self._wait_for_the_first_row()
        self._charge = 0.0  # what has flowed before is not this run's
        self._thread = threading.Thread(target=self._follow, name="followed-cell", daemon=True)
        self._thread.start()

    # -- the role ---------------------------------------------------------------------------------------------------

    def apply(self, control: CellControl, at_ns: int) -> None:
        """Keep that the program states `control` from `at_ns` on; nothing is done to the cell."""
        with self._lock:
            self._begin_stated(self._clock.now_ns())
            self._next = (control, at_ns)

    def read(self) -> CellReading:
        """The last row, at the time at which it was measured; `InstrumentLost` where none has come for too long."""
        if self._since_row() > self._settings.lost_after_s:
            limit = f"{self._no_row(self._since_row())}; lost_after_s is {self._settings.lost_after_s:g}"
            remedy = "see whether the other software still measures; the cell is as it has left it"
            problem = Problem(f"cell in {self._file.path.name}", "no longer followed", limit, remedy)
            raise InstrumentLost("potentiostat", problem)
        with self._lock:
            self._begin_stated(self._t_ns)
            control = self._stated[0]
            word = "open_circuit" if self._cut_off else _WORDS[type(control)]
            return CellReading(
                self._t_ns, self._potential, self._current, self._charge, self._set_point(), word, self._cut_off
            )

    def identity(self) -> Identity:
        """The file that is followed."""
        return Identity(f"cell run by other software, followed in {self._file.path.name}")

    def state(self) -> RoleState:
        """Whether rows come, how late they are, and whether the cell does what the program states."""
        now_ns, waited = self._clock.now_ns(), self._since_row()
        with self._lock:
            settings: dict[str, float | str] = {
                "drives": "nothing: read only",
                "clock_offset_s": self._other.time_of(self._stamp) - self._stamp,
                "clock_drift_ppm": 1e6 * self._other.drift,
                "delay_s": self._delay,
                "rows_every_s": self._interval,
                "damaged_rows": float(self._damaged),
            }
            departure = self._departure
        if waited > self._settings.lost_after_s:
            return RoleState(now_ns, Quality.MISSING, self._no_row(waited), settings)
        if waited > self._settings.stale_after_s:
            return RoleState(now_ns, Quality.STALE, self._no_row(waited), settings)
        if departure:
            return RoleState(now_ns, Quality.SUSPECT, departure, settings)
        return RoleState(now_ns, settings=settings)

    def safe(self) -> None:
        """Nothing: the cell is the other software's. The rig's probe is brought up by its own channel, before this."""

    def close(self) -> None:
        """Stop following."""
        self._closing.set()
        self._thread.join(5.0)

    # -- the file ---------------------------------------------------------------------------------------------------

    def _no_row(self, waited: float) -> str:
        return f"no row for {waited:.1f} s; the file was written last at {self._file.written()}"

    def _wait_for_the_first_row(self) -> None:
        """The first row that comes from now on; what is in the file already may be of a measurement that has ended."""
        remedy = "start the measurement in the other software first, with its export to text while it runs"
        ended, within = self._look(), self._settings.first_row_within_s
        if ended:
            within = max(within, self._settings.lost_after_s)  # rows may be as far apart as that
        waited = stopwatch()
        while not self._look():
            if waited() > within:
                limit = f"no row of a cell's record within {within:g} s"
                if ended:
                    limit = f"it has ended: no new row within {within:g} s, and it was written last at "
                    limit += self._file.written()
                    remedy += "; or write the address of the file that grows, and lost_after_s if its rows are rarer"
                raise BadInput(Problem("file of the cell", str(self._file.path), limit, remedy))
            pause(_LOOKS_EVERY)

    def _follow(self) -> None:
        while not self._closing.wait(_LOOKS_EVERY):
            self._look()

    def _look(self) -> bool:
        """Take in all that has come; whether there was a row."""
        arrived = self._take_piece()
        while self._file.more and not self._closing.is_set():
            arrived = self._take_piece() or arrived
        if not arrived:
            return False
        with self._lock:
            self._arrived(arrived)
        return True

    def _take_piece(self) -> int:
        """Take in a piece of what has come; when it was there, 0 where it has no row."""
        try:
            lines, anew = self._file.look()
        except OSError:  # the file is being replaced, or its share is away: the rows that do not come are the alarm
            return 0
        if anew:
            self._head, self._rows_in_head = b"", 0
            self._stamp = math.inf  # whatever it says is another beginning
        if not lines:
            return 0
        arrived = self._clock.now_ns()
        head_was_known = self._rows_in_head > 0
        rows = self._read_rows(lines)
        if head_was_known:  # what is no row is named in the state: none is dropped in silence
            self._damaged += max(sum(bool(line.strip()) for line in lines.splitlines()) - len(rows), 0)
        with self._lock:
            taken = [self._take(*row) for row in rows]
        return arrived if any(taken) else 0

    def _read_rows(self, lines: bytes) -> list[tuple[float, float, float]]:
        """The rows in `lines`. Until the head is known, lines are added to it."""
        try:
            if not self._rows_in_head:
                self._head = (self._head + lines)[:_PIECE]
                rows = self._parsed(self._head)
                kept = b"".join(self._head.splitlines(keepends=True)[:_HEAD])
                self._head, self._rows_in_head = kept, len(self._parsed(kept))
                return rows
            return self._parsed(self._head + lines)[self._rows_in_head :]
        except BadInput:
            if not self._rows_in_head:
                return []  # titles without a row yet
        rows = []
        for line in lines.splitlines(keepends=True):
            with suppress(BadInput):
                rows += self._parsed(self._head + line)[self._rows_in_head :]
        return rows

    def _parsed(self, data: bytes) -> list[tuple[float, float, float]]:
        columns = self._rows_of(data, self._file.path, self._settings.columns)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def _take(self, stamp: float, potential: float, current: float) -> bool:
        """Take in a row; whether it was one that is later than the last."""
        if not all(map(math.isfinite, (stamp, potential, current))):
            self._damaged += 1
            return False
        since = stamp - self._stamp
        if since == 0.0:
            return False
        if since > 0.0:
            self._charge += 0.5 * (current + self._current) * since
        elif since < 0.0:  # it has been set anew, as by the next technique of a sequence
            self._other = ClockOfAnother(to_si("least_delay_ms", self._settings.least_delay_ms))
        self._stamp, self._potential, self._current = stamp, potential, current
        return True

    def _arrived(self, arrived_ns: int) -> None:
        """What the last row of a piece says: it is the one that waited least for the others."""
        arrival = arrived_ns * 1e-9
        self._other.add(self._stamp, arrival)
        self._delay = self._other.delay_of(self._stamp, arrival)
        # An estimate that has become better may not take a reading back in time.
        self._interval = max(self._since_row(), 0.9 * self._interval) if self._t_ns else 0.0
        self._t_ns = min(max(round(self._other.time_of(self._stamp) * 1e9), self._t_ns + 1), arrived_ns)
        self._since_row = stopwatch()
        self._begin_stated(self._t_ns)
        self._compare()

    # -- the program that is stated ---------------------------------------------------------------------------------

    def _begin_stated(self, t_ns: int) -> None:
        if self._next is not None and self._next[1] <= t_ns:
            self._stated, self._next = self._next, None
            self._flowed = self._cut_off = False
            self._departed, self._departure = None, ""

    def _set_point(self) -> float | None:
        control, since_ns = self._stated
        if not isinstance(control, PotentialRamp):
            return None
        return control.start + control.slope * max(self._t_ns - since_ns, 0) * 1e-9

    def _compare(self) -> None:
        """Whether the cell does what the program states; a current that has ended has met its cut-off."""
        control, stated_V = self._stated[0], self._set_point()
        off = ""
        allowed_V = to_si("tolerance_mV", self._settings.tolerance_mV)
        if stated_V is not None and abs(self._potential - stated_V) > allowed_V:
            off = f"{self._potential:.4f} V where the program states {stated_V:.4f} V"
        elif isinstance(control, ConstantCurrent) and control.current:
            share = self._current / control.current
            self._flowed = self._flowed or share > 0.5
            beyond = control.cut_off is not None and (self._potential - control.cut_off) * control.current >= 0.0
            self._cut_off = self._cut_off or beyond or (self._flowed and abs(share) < _ENDED)
            if not self._cut_off and abs(share - 1.0) > to_si("tolerance_pct", self._settings.tolerance_pct):
                off = f"{self._current * 1e3:.4g} mA where the program states a {control_text(control)}"
        if not off:
            self._departed, self._departure = None, ""
            return
        self._departed = self._departed or stopwatch()
        if self._departed() > _DEPARTED_FOR:
            self._departure = f"the other software departs from the program: {off}"


def specify(setup: RoleSetup) -> PotentiostatSpecification:
    """What `check` asks; a program that drives is refused unless it states what the other software does."""
    settings: FollowedCellSettings = setup.settings
    problems: list[Problem] = []
    if setup.address is None:
        where, limit = ("roles", setup.role, "address"), "is missing"
        remedy = "write the path of the export file, or a pattern as C:/Data/*.mpt whose newest file is followed"
        problems.append(setup.rig.rig.problem(where, "", limit, remedy))
    if not settings.states_program:
        for placed in written_steps("cell", setup.rig.experiment.cell):
            if nominal_controls(placed.step).controls_cell:
                limit = "the cell is run by other software, which is not driven from here"
                remedy = (
                    "if this program is the one started there, write states_program: true in the potentiostat's "
                    "settings; else write open_circuit: {for_s: …} for as long as the probe works"
                )
                problems.append(Problem(placed.path, placed.step.word, limit, remedy))
    if problems:
        raise BadInput(problems)
    return PotentiostatSpecification(settings.rest_V)


def connect(setup: RoleSetup, _: RigSpecification, clock: Clock) -> FollowedCell:
    """The follower, with its first row."""
    device = FollowedCell(setup, clock)
    setup.rig.connections.callback(device.close)
    return device


DRIVERS: Final = (
    Driver(
        "followed_cell",
        "potentiostat",
        "read only: the cell is run by other software, whose growing export file is followed",
        connect,
        specify,
        FollowedCellSettings,
        verified="on files written in real time in EC-Lab's form; beside no laboratory's software",
    ),
)
