"""Any potentiostat with an external input and monitors of potential and current, behind a card: the paper's own way.

    potentiostat:
      driver: analogue_potentiostat
      address: localhost:31763
      settings: {potential_output: Dev1/ao1, input_V_per_V: -1, potential_input: Dev1/ai2, current_input: Dev1/ai3,
                 current_mA_per_V: 1, cell_line: Dev1/port0/line0, mode_line: Dev1/port0/line1,
                 galvanostat_mA_per_V: 1, rest_V: 1.2}

The program is the driver's: it writes the set point's ramp, switches cell and mode by digital lines, counts the charge
from every sample of the current monitor, and opens the cell at a cut-off. A thread looks at the monitors 100 times a
second and begins each control at its nanosecond.

Between the two modes the same input means a potential or a current, so a mode is never changed with the cell on: the
cell is opened, the input goes to what is harmless in the mode that comes (the program's first potential, or no
current), the mode is switched, and only then the cell is closed. That takes some milliseconds, which are taken from the
end of the control before, so that the new one begins in time.

Connecting closes no cell, and nothing is written before it has been compared with the ranges of the rig file.

The safe channel is the card's: a second client of it sets the cell's line to open.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OpsicmError, OutsideDomain, Problem
from opsicm.core.facts import Quality
from opsicm.core.units import to_si
from opsicm.drivers.card import Card
from opsicm.drivers.card_of_rig import card_of, scale_of
from opsicm.experiment.controls import (
    CellControl,
    ConstantCurrent,
    OpenCircuit,
    PotentialRamp,
    TimedControl,
    control_text,
    controls_of,
)
from opsicm.experiment.program import written_steps
from opsicm.experiment.step_model import FileModel, Flag, Number, Text
from opsicm.instruments.clock import Clock
from opsicm.instruments.link import defect
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import CellReading, Identity, RoleState
from opsicm.instruments.specification import PotentiostatSpecification, RigSpecification

POTENTIOSTATIC: Final = "potentiostatic"
GALVANOSTATIC: Final = "galvanostatic"
_LOOK: Final = 0.01  # [s] between two looks at the monitors: twice as often as a cut-off must be judged
_AVERAGED: Final = 0.01  # [s] of samples that a reading averages; a look's worth, so that none counts twice
_LONGEST_GAP: Final = 0.5  # [s] that one look may fetch; a longer silence of the card is a gap of the charge
_FIRST_LEAD_NS: Final = 50_000_000  # before the first control: a card's first command to a line also makes its task
_SHORTEST_LEAD_NS: Final = 3_000_000  # before a control, in which mode and set point are prepared
_LEAD: Final = 1.5  # times what the last preparation took
_LONGEST_LEAD_NS: Final = 100_000_000  # by which a change of mode may shorten the control before it
_LONGEST_TRIP_NS: Final = 4_000_000  # [ns] of a command that is sent ahead of its time by half of it
_TRIP_GROWS_NS: Final = 200_000
_MISSES: Final = 0.1  # [V] between set point and monitor: ten times what a potentiostat in control is off
_MISSES_COMPENSATED: Final = 0.5  # [V]: the monitor then is off by design, by the compensated f i R_u
_AWAY_FOR_NS: Final = 20_000_000  # two looks, so that one disturbed reading opens no cell
_MISSES_FOR_NS: Final = 200_000_000  # a double layer is charged in less, at the current limit
_RETRY_NS: Final = 20_000_000  # [ns] before what could not be written is written again
_MONITOR_FULL: Final = 9.95  # [V] of a monitor: a potentiostat's outputs end at 10 V, and beyond it reads on
_AGREES: Final = 1e-9
_WORDS: Final = {PotentialRamp: "potential", ConstantCurrent: "current", OpenCircuit: "open_circuit"}
_MODES: Final = {PotentialRamp: POTENTIOSTATIC, ConstantCurrent: GALVANOSTATIC}


class AnaloguePotentiostatSettings(FileModel):
    """Where the potentiostat's input, monitors and lines are on the card, and what a volt there means."""

    display_name = "the analogue potentiostat"
    potential_output: Text | None = None
    output_range_V: Annotated[Number, Field(gt=0, le=20)] = 10.0
    input_V_per_V: Annotated[Number, Field(ge=-100, le=100)] = 1.0
    potential_input: Text | None = None
    potential_V_per_V: Annotated[Number, Field(gt=0, le=100)] = 1.0
    current_input: Text | None = None
    current_mA_per_V: Annotated[Number, Field(gt=0, le=1e6)] | None = None
    cell_line: Text | None = None
    cell_on_high: Flag = True
    mode_line: Text | None = None
    galvanostatic_high: Flag = True
    panel_mode: Literal["potentiostatic", "galvanostatic"] = "potentiostatic"
    galvanostat_mA_per_V: Annotated[Number, Field(ge=-1e6, le=1e6)] | None = None
    ir_compensation_pct: Annotated[Number, Field(ge=0, le=100)] = 0.0
    lowest_V: Annotated[Number, Field(ge=-20, le=20)] = -10.0
    highest_V: Annotated[Number, Field(ge=-20, le=20)] = 10.0
    largest_mA: Annotated[Number, Field(gt=0, le=1e6)] | None = None
    rest_V: Annotated[Number, Field(ge=-10, le=10)] | None = None


# -- What the rig file and the program ask of it, before anything is connected.


def specify(setup: RoleSetup) -> PotentiostatSpecification:
    """The rest potential of the specimen; refused where the program needs what the rig file does not give."""
    settings: AnaloguePotentiostatSettings = setup.settings
    missing = {
        "current_mA_per_V": "write what one volt of the current monitor means, as current_mA_per_V: 1",
        "cell_line": "write the card's digital line that connects the cell: without it nothing could open it",
        "rest_V": "write the specimen's potential before the run, as rest_V: 1.2",
    }
    problems = [
        setup.problem(key, "", "is missing", how) for key, how in missing.items() if getattr(settings, key) is None
    ]
    if settings.input_V_per_V == 0.0:
        limit = "must not be zero"
        problems.append(
            setup.problem("input_V_per_V", 0, limit, "write the volts of potential per volt, with its sign")
        )
    if settings.lowest_V >= settings.highest_V:
        limit = f"must be below highest_V, {settings.highest_V:g}"
        problems.append(setup.problem("lowest_V", settings.lowest_V, limit, "swap the two"))
    problems += _program_problems(setup)
    if problems or settings.rest_V is None or settings.current_mA_per_V is None:
        raise BadInput(problems)
    scale_of(setup, "cell_potential", settings.potential_input, settings.potential_V_per_V, "potential_V_per_V")
    scale_of(setup, "cell_current", settings.current_input, 1e-3 * settings.current_mA_per_V, "current_mA_per_V")
    return PotentiostatSpecification(rest_potential=settings.rest_V)


def _program_problems(setup: RoleSetup) -> list[Problem]:
    """What the cell program asks that lines, panel and ranges do not give: the first step of each kind of problem."""
    settings: AnaloguePotentiostatSettings = setup.settings
    reach = settings.output_range_V
    found: dict[str, Problem] = {}
    for path, timed in _controls(setup):
        refusal = _refusal(settings, timed.control, (-reach, reach), timed.end_potential)
        if refusal is not None and refusal.key not in found:
            given = getattr(settings, refusal.key)
            limit = f"{path} is a {control_text(timed.control)}: {refusal.limit}"
            value = "" if given is None else given
            found[refusal.key] = setup.problem(refusal.key, value, limit, refusal.remedy)
    return list(found.values())


def _controls(setup: RoleSetup) -> list[tuple[str, TimedControl]]:
    """(path of the step, control) of the whole program, for the specimen's own size."""
    specimen = setup.rig.specimen
    area, capacity = specimen.area, specimen.areal_capacity * specimen.area
    return [
        (placed.path, timed)
        for placed in written_steps("cell", setup.rig.experiment.cell)
        for timed in controls_of(placed.step, area, capacity).round
    ]


class _Refusal(NamedTuple):
    """Why a control is not begun: the setting that stands against it, the limit, and what to do."""

    key: str
    limit: str
    remedy: str


def _refusal(
    s: AnaloguePotentiostatSettings, control: CellControl, output: tuple[float, float], end: float | None = None
) -> _Refusal | None:
    """What forbids a `control` whose potential goes to `end` [V]; `output` [V] is the output's (lowest, highest)."""
    if isinstance(control, OpenCircuit):
        return None
    if s.mode_line is None and s.panel_mode != _MODES[type(control)]:
        limit = f"no line switches the mode, and the panel is {s.panel_mode}"
        return _Refusal("mode_line", limit, "add mode_line to the rig file, or turn the panel and write panel_mode")
    if s.potential_output is None:
        return _Refusal("potential_output", "the rig file names no output for the set point", "add potential_output")
    if isinstance(control, PotentialRamp):
        asked = 100.0 * control.ir_compensation
        if abs(asked - s.ir_compensation_pct) > _AGREES:
            limit = (
                f"it asks {asked:g} % iR compensation, and the panel's {s.ir_compensation_pct:g} % stays all the time"
            )
            remedy = f"dial {asked:g} % and write ir_compensation_pct: {asked:g}, or change the step"
            return _Refusal("ir_compensation_pct", limit, remedy)
        potentials = [control.start, *([] if end is None else [end])]
        volts = [potential / s.input_V_per_V for potential in potentials]
    else:
        assert isinstance(control, ConstantCurrent)
        if not s.galvanostat_mA_per_V:
            remedy = "write the current per volt at the external input, negative where the instrument inverts"
            return _Refusal("galvanostat_mA_per_V", "is missing, and a current needs it", remedy)
        if abs(control.current) > (largest := _largest_current(s)):
            limit = f"the current range ends at {largest * 1e3:g} mA"
            return _Refusal("largest_mA", limit, "use a larger range of the potentiostat, or a smaller current")
        potentials = [each for each in (control.lowest, control.highest) if each is not None]
        volts = [control.current / to_si("galvanostat_mA_per_V", s.galvanostat_mA_per_V)]
    if not all(s.lowest_V <= potential <= s.highest_V for potential in potentials):
        limit = f"the rig file allows {s.lowest_V:g} … {s.highest_V:g} V"
        return _Refusal("highest_V", limit, "change the program, or lowest_V and highest_V")
    low, high = output
    if not all(low <= each <= high for each in volts):
        worst = max(volts, key=abs)
        limit = f"it needs {worst:.3g} V at the output, which ends at {low:g} and {high:g} V"
        return _Refusal("potential_output", limit, "set another scale of the external input")
    return None


def _largest_current(s: AnaloguePotentiostatSettings) -> float:
    """[A]: the current range, by default what its monitor shows at 10 V."""
    volts = to_si("current_mA_per_V", s.current_mA_per_V or math.inf)
    return 10.0 * volts if s.largest_mA is None else to_si("largest_mA", s.largest_mA)


# -- The instrument.


class AnaloguePotentiostat:
    """The potentiostat behind a card. Its thread is the only one that begins controls; commands only tell it which."""

    def __init__(self, setup: RoleSetup, _: RigSpecification, clock: Clock) -> None:
        settings: AnaloguePotentiostatSettings = setup.settings
        assert settings.current_mA_per_V is not None
        assert settings.cell_line is not None
        self._settings, self._clock = settings, clock
        self._cell_line = settings.cell_line
        current = to_si("current_mA_per_V", settings.current_mA_per_V)
        self._potential = scale_of(
            setup, "cell_potential", settings.potential_input, settings.potential_V_per_V, "potential_V_per_V"
        )
        self._current = scale_of(setup, "cell_current", settings.current_input, current, "current_mA_per_V")
        self._card: Card = card_of(setup, clock)
        self._lock = threading.RLock()
        self._waiting: tuple[CellControl, int] | None = None
        self._prepared = False  # what waits has its set point and mode already
        self._control: CellControl = OpenCircuit()
        self._since_ns = 0
        self._cut_off = False
        self._mode: str = "" if settings.mode_line else settings.panel_mode  # unknown until it was switched
        self._lost: OpsicmError | None = None
        self._counter = _Counter()
        self._lead_ns = _FIRST_LEAD_NS
        self._off_since_ns: int | None = None  # when the monitor was first seen far from the set point
        self._jump = 0.0  # [V] from where the cell was to where the control began
        self._opened: Problem | None = None  # why the driver has opened the cell by itself, for a fault
        self._began_late_ns = 0
        self._acted_ns = self._trip_ns = 0  # of the last command to the card, and how long one takes
        self._is_on = False
        # Written before it is read: a line that is read first becomes an input, floats, and may close the cell.
        self._card.set_line(self._cell_line, not settings.cell_on_high)
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._attend, name="analogue-potentiostat", daemon=True)
        self._thread.start()
        setup.rig.connections.callback(self._close)

    # -- commands ---------------------------------------------------------------------------------------------------

    def apply(self, control: CellControl, at_ns: int) -> None:
        """Begin `control` at `at_ns`, at once where that is past. Refused beyond the ranges, before anything is
        written."""
        output = self._settings.potential_output
        reach = self._card.output_range(output) if output is not None else (0.0, 0.0)
        if (refusal := _refusal(self._settings, control, reach)) is not None:
            raise OutsideDomain(Problem("cell control", control_text(control), refusal.limit, refusal.remedy))
        with self._lock:
            self._waiting, self._prepared, self._opened = (control, at_ns), False, None
        self._wake.set()

    def read(self) -> CellReading:
        """The cell as it was last measured, at most a hundredth of a second ago; `t_ns` is the middle of that reading.

        Raises `InstrumentLost` while the card gives nothing, and `LimitCrossed` where the driver has opened the cell
        because the potential was not the one asked for.
        """
        with self._lock:
            if self._opened is not None:
                raise LimitCrossed(self._opened)
            if self._lost is not None or self._counter.t_ns is None:
                self._look()
            counter = self._counter
            assert counter.t_ns is not None
            control = self._control
            set_point = self._set_point(control, counter.t_ns) if isinstance(control, PotentialRamp) else None
            word = _WORDS[type(control)]
            return CellReading(
                max(0, counter.t_ns),  # a card may have sampled before a run's clock began
                counter.potential,
                counter.current,
                counter.charge,
                set_point,
                word,
                self._cut_off,
            )

    def identity(self) -> Identity:
        """An analogue potentiostat cannot be asked; the card's client."""
        card = self._card.identity()
        return Identity(f"analogue potentiostat, by the lines of {card.model}", card.serial, card.firmware, card.client)

    def state(self) -> RoleState:
        """Cell, mode and compensation; the lines as they are read back, and whether they are what was set."""
        now = self._clock.now_ns()
        s = self._settings
        card = self._card.state([self._potential.input, self._current.input])  # a lost card is tried once more there
        if card.quality == Quality.STALE:  # a few samples that it has lost do not make it one that is lost
            return RoleState(now, card.quality, card.message)
        try:
            with self._lock:
                self._look()
                cell_on = self._card.line(self._cell_line) == s.cell_on_high
                wanted = not isinstance(self._control, OpenCircuit)
                mode = self._mode_told()
        except OpsicmError as error:
            return RoleState(now, Quality.MISSING, str(error.problems[0]))
        settings: dict[str, float | str] = {
            "cell": "on" if cell_on else "off",
            "mode": mode,
            "ir_compensation_pct": s.ir_compensation_pct,
            "begins_late_s": self._began_late_ns * 1e-9,
        }
        if self._opened is not None:
            return RoleState(now, Quality.SUSPECT, str(self._opened), settings)
        if cell_on and not wanted:
            message = "the cell is on, and nothing has switched it on here: open it by hand"
            return RoleState(now, Quality.SUSPECT, message, settings)
        if wanted and not cell_on:
            return RoleState(now, Quality.SUSPECT, "the cell is off and should be on: look at its line", settings)
        if self._counter.full:
            return RoleState(now, Quality.SATURATED, f"the {self._counter.full} monitor is at its end", settings)
        if self._counter.lost_s > 0.0:
            message = f"charge: {self._counter.lost_s:.2g} s of samples did not come and are bridged by straight lines"
            return RoleState(now, Quality.SUSPECT, message, settings)
        return RoleState(now, Quality.GOOD, "", settings)

    def _mode_told(self) -> str:
        line = self._settings.mode_line
        if line is None:
            return self._settings.panel_mode
        high = self._card.line(line)
        return GALVANOSTATIC if high == self._settings.galvanostatic_high else POTENTIOSTATIC

    def safe(self) -> None:
        """Open circuit, whatever waits: the line first, then everything that might close it again."""
        self._card.set_line(self._cell_line, not self._settings.cell_on_high)
        with self._lock:
            self._waiting = None
            self._open()

    @property
    def safe_address(self) -> str:
        """The safe channel of the card that opens the cell."""
        return self._card.safe_address("potentiostat", {}, {self._cell_line: not self._settings.cell_on_high})

    def _close(self) -> None:
        self._closing.set()
        self._wake.set()
        self._thread.join(1.0)

    # -- the thread -------------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        retry_ns = 0
        while not self._closing.is_set():
            self._wake.wait(self._pause_s())
            self._wake.clear()
            if self._clock.now_ns() < retry_ns or self._closing.is_set():
                continue
            try:
                with self._lock:
                    self._begin_what_waits()
                    self._look()
            except OpsicmError as error:  # told by the next reading, and by `state()`; what waits goes on waiting
                self._lost = error
                retry_ns = self._clock.now_ns() + _RETRY_NS
            except Exception as error:  # noqa: BLE001 - a thread that ended in silence would leave an old reading
                with self._lock, suppress(Exception):  # the same defect may keep it from that, too
                    self._waiting = None
                    self._open()
                self._opened = defect("potentiostat", error).problems[0]

    def _pause_s(self) -> float:
        """Until the next look, or until what waits must begin if that is sooner."""
        with self._lock:
            if self._waiting is None:
                return _LOOK
            lead = 0 if self._prepared else self._lead_ns
            left = (self._waiting[1] - lead - self._clock.now_ns()) * 1e-9
        return min(max(left, 0.0), _LOOK)

    def _begin_what_waits(self) -> None:
        if self._waiting is None:
            return
        control, at_ns = self._waiting
        began_ns = self._clock.now_ns()
        if not self._prepared and began_ns >= at_ns - self._lead_ns:
            self._prepare(control)
            self._prepared = True
            if not isinstance(control, OpenCircuit):
                took = self._clock.now_ns() - began_ns
                self._lead_ns = max(_SHORTEST_LEAD_NS, min(round(_LEAD * took), _LONGEST_LEAD_NS))
        if not self._prepared or self._clock.now_ns() < at_ns - self._trip_ns // 2:
            return
        if isinstance(control, OpenCircuit):
            self._open()
        else:
            self._start(control, at_ns)
        # A control that was asked for the past begins now; its ramp is what it would have been by now.
        self._control, self._since_ns, self._cut_off, self._waiting = control, at_ns, False, None

    def _prepare(self, control: CellControl) -> None:
        """Cell off, set point to what is harmless, mode: in this order, and only where the mode changes.

        With the cell off already the set point is put to the control's first value, which then meets no jump.
        """
        if isinstance(control, OpenCircuit):
            return
        mode = _MODES[type(control)]
        changes = self._settings.mode_line is not None and self._mode != mode
        is_open = isinstance(self._control, OpenCircuit)
        if changes or is_open:  # where it is open already, the line is made sure of before it matters
            self._switch(on=False)
            self._write(self._harmless(control), 0.0)
        if changes and self._settings.mode_line is not None:
            high = self._settings.galvanostatic_high
            self._card.set_line(self._settings.mode_line, high if mode == GALVANOSTATIC else not high)
            self._mode = mode

    def _harmless(self, control: CellControl) -> float:
        """[V] at the output: no current in galvanostatic mode, the program's own start in potentiostatic mode."""
        if isinstance(control, PotentialRamp):
            return control.start / self._settings.input_V_per_V
        return 0.0

    def _start(self, control: CellControl, at_ns: int) -> None:
        """Close the cell, if it is open, and let the set point go: to where it is due when the command acts."""
        was_on = self._is_on
        if not was_on:
            self._switch(on=True)
            self._began_late_ns = self._acted_ns - at_ns
        if isinstance(control, PotentialRamp):
            self._jump = abs(self._counter.potential - control.start)
            scale = self._settings.input_V_per_V
            late = max(0, self._clock.now_ns() + self._trip_ns // 2 - at_ns) * 1e-9
            self._write((control.start + control.slope * late) / scale, control.slope / scale)
        elif isinstance(control, ConstantCurrent):
            self._write(self._galvanostat_volts(control.current), 0.0)
        if was_on:
            self._began_late_ns = self._acted_ns - at_ns

    def _open(self) -> None:
        self._switch(on=False)
        self._control, self._since_ns = OpenCircuit(), self._clock.now_ns()
        if self._settings.potential_output is not None:
            # The set point too stands still: its ramp would else go on to the end of the output's range, and whoever
            # closes the cell by hand would find it there.
            held = 0.0 if self._mode == GALVANOSTATIC else self._card.written(self._settings.potential_output)
            self._write(held, 0.0)

    def _switch(self, on: bool) -> None:
        self._timed(lambda: self._card.set_line(self._cell_line, on == self._settings.cell_on_high))
        self._is_on = on
        self._counter.switched(self._acted_ns, on)

    def _write(self, volts: float, slope: float) -> None:
        output = self._settings.potential_output
        assert output is not None
        self._timed(lambda: self._card.write(output, volts, slope))

    def _timed(self, command: Callable[[], None]) -> None:
        """Send a command and note when it acted: a card acts about half-way between command and answer."""
        sent_ns = self._clock.now_ns()
        command()
        trip_ns = self._clock.now_ns() - sent_ns
        self._acted_ns = sent_ns + trip_ns // 2
        # The shortest of late: one command that something delayed would else send the next one too early.
        self._trip_ns = min(trip_ns, _LONGEST_TRIP_NS, self._trip_ns + _TRIP_GROWS_NS)

    def _galvanostat_volts(self, current: float) -> float:
        return current / to_si("galvanostat_mA_per_V", self._settings.galvanostat_mA_per_V or math.inf)

    # -- monitors ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Fetch what the monitors have shown since the last look; judge the cut-offs."""
        last_ns = self._counter.until_ns
        seconds = _AVERAGED
        if last_ns is not None:
            seconds = min(max((self._clock.now_ns() - last_ns) * 1e-9 + _AVERAGED, _AVERAGED), _LONGEST_GAP)
        try:
            samples = self._card.latest([self._potential.input, self._current.input], seconds)
        except OpsicmError as error:
            self._lost = error
            raise
        taken = np.isfinite(samples.volts).all(axis=1)  # what a card has lost, it says is no number
        if not taken.any():
            problem = Problem("potentiostat", "not a number", "a monitor shows no voltage", "check the card's inputs")
            self._lost = InstrumentLost("potentiostat", problem)
            raise self._lost
        self._lost = None
        t_ns = samples.t0_ns + samples.dt_ns * np.flatnonzero(taken)
        volts = samples.volts[taken]
        potential = self._potential.gain * volts[:, 0] + self._potential.offset
        current = self._current.gain * volts[:, 1] + self._current.offset
        self._counter.add(t_ns, samples.dt_ns, potential, current)
        self._counter.full = _full(volts)
        self._judge()

    def _judge(self) -> None:
        """Open the cell at the control's cut-off; hold a set point that has gone as far as the rig file allows."""
        control, counter, s = self._control, self._counter, self._settings
        if counter.t_ns is None or counter.t_ns < self._since_ns:
            return
        if isinstance(control, PotentialRamp) and self._misses(control, counter.t_ns):
            return
        if isinstance(control, PotentialRamp) and control.slope:
            end = s.lowest_V if control.slope < 0.0 else s.highest_V
            if (self._set_point(control, counter.t_ns) - end) * control.slope >= 0.0:
                self._control, self._since_ns = PotentialRamp(end, 0.0, control.ir_compensation), counter.t_ns
                self._write(end / s.input_V_per_V, 0.0)
        if isinstance(control, ConstantCurrent):
            low, high = control.lowest, control.highest
            if (low is not None and counter.potential <= low) or (high is not None and counter.potential >= high):
                self._open()
                self._cut_off = True

    def _misses(self, control: PotentialRamp, t_ns: int) -> bool:
        """Open the cell where the potential is not the one that is asked for: whether it was.

        A potentiostat in control keeps its monitor at the set point. Where it does not, the input is inverted, the
        reference electrode is off, or the current is at its limit: in the first two cases the cell is being driven to
        the end of the potentiostat's power.
        """
        allowed = _MISSES if control.ir_compensation == 0.0 else _MISSES_COMPENSATED
        set_point, shown = self._set_point(control, t_ns), self._counter.potential
        if abs(shown - set_point) <= allowed:
            self._off_since_ns = None
            return False
        if self._off_since_ns is None or self._off_since_ns < self._since_ns:
            self._off_since_ns = t_ns
        # Towards the set point it may be on its way; away from it, it never is.
        away = abs(shown - set_point) > self._jump + allowed
        if t_ns - self._off_since_ns < (_AWAY_FOR_NS if away else _MISSES_FOR_NS):
            return False
        self._open()
        limit = f"the set point is {set_point:.3f} V: the potentiostat is not in control, and the cell was opened"
        remedy = (
            "look at the sign of input_V_per_V and of the channel cell_potential, the reference electrode and its "
            "wire, and the current limit"
        )
        self._opened = Problem("cell potential", f"{shown:.3f} V", limit, remedy)
        return True

    def _set_point(self, control: PotentialRamp, t_ns: int) -> float:
        return control.start + control.slope * max(0, t_ns - self._since_ns) * 1e-9


class _Counter:
    """Counts the charge by trapezoids over every sample, and keeps the mean of the latest `_AVERAGED` seconds.

    An open cell passes no charge: the offset of its current monitor is not counted. Samples come some time after they
    were taken, so the cell's switch is kept with its times, and each sample counts as the cell was when it was taken.
    """

    def __init__(self) -> None:
        self.t_ns: int | None = None  # the middle of the reading
        self.until_ns: int | None = None  # of the last sample that was counted
        self.potential = self.current = self.charge = 0.0
        self.lost_s = 0.0
        self.full = ""
        self._last = 0.0  # [A] counted at `until_ns`
        self._switched: list[tuple[int, bool]] = [(-(2**62), False)]  # (ns, whether the cell is on from then)

    def switched(self, t_ns: int, on: bool) -> None:
        """The cell is on, or open, from `t_ns` on."""
        if self._switched[-1][1] != on:
            self._switched.append((t_ns, on))

    def add(
        self, t_ns: NDArray[np.int64], dt_ns: int, potential: NDArray[np.float64], current: NDArray[np.float64]
    ) -> None:
        """Samples at `t_ns`, `dt_ns` apart but for gaps; those that were counted before are passed over."""
        fresh = t_ns > (-(2**62) if self.until_ns is None else self.until_ns)
        if fresh.any():
            times, passing = t_ns[fresh], self._passing(t_ns[fresh], current[fresh])
            if self.until_ns is not None:
                times, passing = np.append(self.until_ns, times), np.append(self._last, passing)
            steps = np.diff(times)
            self.charge += float(0.5e-9 * np.sum((passing[1:] + passing[:-1]) * steps))
            gaps = (steps > dt_ns + dt_ns // 2) & ((passing[1:] != 0.0) | (passing[:-1] != 0.0))
            self.lost_s += float(np.sum(steps[gaps] - dt_ns)) * 1e-9
            self.until_ns, self._last = int(times[-1]), float(passing[-1])
        latest = t_ns > t_ns[-1] - _AVERAGED * 1e9
        self.potential, self.current = float(potential[latest].mean()), float(current[latest].mean())
        self.t_ns = round(float(t_ns[latest].mean()))

    def _passing(self, t_ns: NDArray[np.int64], current: NDArray[np.float64]) -> NDArray[np.float64]:
        """The current [A] that passes the cell: none while it is open."""
        while len(self._switched) > 1 and self._switched[1][0] <= t_ns[0]:
            del self._switched[0]
        at = np.searchsorted([since for since, _ in self._switched], t_ns, side="right") - 1
        return np.where(np.array([on for _, on in self._switched])[at], current, 0.0)


def _full(volts: NDArray[np.float64]) -> str:
    """The monitor that is at its end; empty where none is."""
    largest: Mapping[str, float] = dict(zip(("potential", "current"), abs(volts).max(axis=0).tolist(), strict=True))
    return next((name for name, value in largest.items() if value >= _MONITOR_FULL), "")


DRIVER = Driver(
    "analogue_potentiostat",
    "potentiostat",
    "any potentiostat with an external input and monitors of potential and current, behind a card",
    AnaloguePotentiostat,
    specify,
    AnaloguePotentiostatSettings,
    client="nidaqmx",
    extra="ni",
    verified="through NI's client against the emulated card, never with a potentiostat",
)
