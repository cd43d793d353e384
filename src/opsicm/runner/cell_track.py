"""The cell's track: the present control, the next one that the potentiostat already has, and pauses.

Controls are handed to the potentiostat ahead of time with the nanosecond at which they begin, each after its intent is
on disk. A pause is open circuit: no charge passes, and the rest of the step follows when the cell is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.experiment.controls import (
    SHORTEST_CURRENT,
    SHORTEST_HOLD,
    CellAction,
    CellControl,
    ConstantCurrent,
    OpenCircuit,
    control_data,
    control_text,
)
from opsicm.instruments.roles import CellReading, Potentiostat
from opsicm.runner.fact_log import FactLog

_HAND_OVER_NS: Final = 1_500_000_000  # how far ahead the potentiostat gets its next control: more than a loop turn
_STALE_NS: Final = 200_000_000  # until then a potentiostat may still report the cut-off of the previous control
_LEAD_NS: Final = 200_000_000  # for commands: more than a potentiostat needs to accept a control


@dataclass(frozen=True, slots=True)
class _HandedOver:
    at_ns: int
    purpose: Literal["next", "pause", "resume"]
    action: CellAction | None  # None ends the program


class CellTrack:
    """`reversible` [C] between the program's cut-offs turns charge into SOC; None where it has fewer than two of them.

    `first` is the number of the first of `actions` in the program and `spent_ns` how long that action has already run:
    not 0 where a run is resumed.
    """

    def __init__(
        self,
        actions: Iterator[CellAction],
        potentiostat: Potentiostat,
        facts: FactLog,
        reversible: float | None,
        first: int = 0,
        spent_ns: int = 0,
    ) -> None:
        self._actions = actions
        self._potentiostat = potentiostat
        self._facts = facts
        self._reversible = reversible
        self._soc_zero: float | None = None
        self._next = next(actions, None)
        self.number = first - 1
        """Number of the present action in the program."""
        self._spent_before_ns = 0  # on the present action before its last pause
        self._next_spent_ns = spent_ns
        self._handed_over: _HandedOver | None = None
        self._late = False
        self._uncertain: _HandedOver | None = None  # handed over when the potentiostat was lost: it may have begun
        self._requested: Literal["pause", "resume", "skip"] | None = None
        self._paused_since = 0
        self.action: CellAction | None = None
        self.began_ns = 0
        self._began_charge = 0.0
        self._cut_off = False  # whether the present current has reached its cut-off
        self._opens_step = False  # whether the present control is the first of its step, and has run without a pause
        self._resumed = spent_ns > 0
        self._skipped = False
        self.handed_over_late = False
        """Whether the present control was handed over at its own beginning: the potentiostat may begin it later."""
        self.paused = False
        self.paused_ns = 0
        self.over = False

    @property
    def step(self) -> int:
        """The number of the present step; −1 before the first."""
        return self.action.step if self.action is not None else -1

    @property
    def path(self) -> str:
        """The present step's name in facts."""
        return self.action.path if self.action is not None else "cell"

    @property
    def control(self) -> CellControl:
        """The control that is applied to the cell."""
        return OpenCircuit() if self.action is None or self.paused else self.action.control

    @property
    def ends_ns(self) -> int | None:
        """When the time of the present control is over; None where time does not end it."""
        if self.action is None or self.action.duration_ns is None or self.paused:
            return None
        return self.began_ns + self.action.duration_ns

    @property
    def changes_ns(self) -> int | None:
        """When the control changes next, as far as that is known."""
        return self._handed_over.at_ns if self._handed_over is not None else self.ends_ns

    @property
    def level(self) -> float | None:
        """The level [V] of a ladder that is held; None elsewhere."""
        return self.action.timed.level if self.action is not None and not self.paused else None

    @property
    def rest_complete_ns(self) -> int | None:
        """When the rest of the present action is complete; None where it has none."""
        if self.action is None or self.action.timed.rested_after_ns is None or self.paused:
            return None
        return self.began_ns + self.action.timed.rested_after_ns

    def soc(self, charge: float) -> float | None:
        """State of charge, 0 … 1, at `charge` [C] since the start; None before the first delithiated cut-off."""
        if self._reversible is None or self._soc_zero is None:
            return None
        return -(charge - self._soc_zero) / self._reversible

    def turn(self, now: int, reading: CellReading) -> bool:
        """Hand over the next control when it is due; True when a control that was handed over has begun."""
        if isinstance(self.control, ConstantCurrent) and reading.t_ns >= self.began_ns + _STALE_NS:
            self._cut_off = self._cut_off or reading.cut_off
        if self._handed_over is None:
            self._hand_over_next(now, reading)
        if self._handed_over is not None and now >= self._handed_over.at_ns:
            return self._begin_handed_over(self._handed_over, reading)
        return False

    # -- commands ---------------------------------------------------------------------------------------------------

    def pause(self) -> tuple[bool, str]:
        """Ask for open circuit until `resume`."""
        if self.paused or self._requested == "pause":
            return False, "the cell is paused already"
        if self.action is None:
            return False, "the cell has not begun yet"
        self._requested = "pause"
        return True, f"{self.action.path} goes to open circuit within 1.7 s; what is left of it follows on resume cell"

    def resume(self) -> tuple[bool, str]:
        """Ask for the rest of the step that was paused."""
        if self._requested == "pause":
            self._requested = None
            return True, "the pause had not begun: nothing was changed"
        if not self.paused or self._requested == "resume":
            return False, "the cell is not paused"
        if self._uncertain is not None:
            handed, self._uncertain = self._uncertain, None
            control, at = control_text(self._control(handed)), handed.at_ns * 1e-9
            return False, (
                f"{control} was handed over to begin at {at:.3f} s, just when the potentiostat was lost, and may have "
                "begun: nothing is applied a second time unasked; ask once more to go on from where the cell was last "
                "seen, or stop"
            )
        self._requested = "resume"
        return True, f"{self.path} continues within 0.2 s"

    def skip(self) -> tuple[bool, str]:
        """Ask for the end of the present step."""
        if self.action is None or self.paused or self._requested is not None:
            return False, "the cell is paused or about to change: skip when a step runs"
        if self._handed_over is not None:
            return False, "the next control is handed over already: ask again when it has begun"
        self._requested = "skip"
        return True, f"{self.action.path} ends within 0.2 s"

    # -- a lost instrument -------------------------------------------------------------------------------------------

    def interrupt(self, seen_ns: int, reading: CellReading | None, reachable: bool) -> bool:
        """Pause at `seen_ns`, when the cell was last seen, with its last `reading`; whether it ran until then.

        The rest of the present action follows on `resume`. A control that was handed over and has not begun is
        forgotten, for the potentiostat is made safe; one that may have begun in a potentiostat that is not `reachable`
        is asked about on `resume`.
        """
        handed, self._handed_over, self._requested = self._handed_over, None, None
        if handed is not None and not reachable and handed.purpose != "pause":
            self._uncertain = handed
        elif handed is not None and reading is not None and handed.at_ns <= seen_ns:
            self._begin_handed_over(handed, reading)
        if self.paused or self.over:
            return False
        charge = self._began_charge if reading is None else reading.charge
        if self.action is not None:
            elapsed = max(0, seen_ns - self.began_ns)
            if self.action.duration_ns is not None:
                elapsed = min(elapsed, self.action.duration_ns)
            self._spent_before_ns += elapsed
            self.action = self.action.remainder(elapsed, charge - self._began_charge)
        self._opens_step = False
        self.began_ns, self._began_charge = seen_ns, charge
        self._paused_since, self.paused = seen_ns, True
        return True

    def opened(self) -> None:
        """Record that the cell is at open circuit after `interrupt`: the program stands where it was last seen."""
        data = {
            "control": control_data(OpenCircuit()),
            "at_ns": self._paused_since,
            "action": self.number,
            "spent_ns": self._spent_before_ns,
            "what": "pause",
        }
        self._facts.write("applied", "cell", self.path, data)

    # -- handing over and beginning ---------------------------------------------------------------------------------

    def _hand_over_next(self, now: int, reading: CellReading) -> None:
        end = self.ends_ns
        if self.paused:
            if self._requested == "resume":
                self._hand_over(now + _LEAD_NS, "next" if self.action is None else "resume")
        elif self.action is None:
            self._hand_over(now, "next")
        elif self._ended_early(reading):
            self._refuse_empty_step(reading)
            self._hand_over(now, "next", late=True)
        elif self._requested == "skip":
            self._leave_step()
            self._skipped = True
            self._hand_over(now + _LEAD_NS, "next")
        elif end is not None and end - now <= _HAND_OVER_NS:
            self._hand_over(end, "next")
        elif self._requested == "pause":
            self._hand_over(now + _LEAD_NS, "pause")

    def _leave_step(self) -> None:
        """Skip the remaining actions of the present step."""
        present = self.action
        while present is not None and self._next is not None and present.same_step(self._next):
            self._next, self.number = next(self._actions, None), self.number + 1

    def _ended_early(self, reading: CellReading) -> bool:
        """Whether a cut-off, a current, a charge or a state of charge has ended the present action."""
        action = self.action
        if action is None:
            return False
        timed, control, fresh = action.timed, action.control, reading.t_ns >= self.began_ns + _STALE_NS
        if self._cut_off:
            if timed.cut_off_ends_step:
                self._leave_step()
            return True
        # A potentiostat that has just closed its loop reports no current, a late one that of the previous control.
        if timed.end_current is not None and fresh and abs(reading.current) < timed.end_current:
            return True
        if timed.charge is not None and abs(reading.charge - self._began_charge) >= timed.charge:
            return True
        soc = self.soc(reading.charge)
        if timed.soc is None or soc is None or not isinstance(control, ConstantCurrent):
            return False
        return soc >= timed.soc if control.current < 0.0 else soc <= timed.soc

    def _refuse_empty_step(self, reading: CellReading) -> None:
        """Raises `LimitCrossed` where a step has ended as soon as it began, by its own `until`: it did nothing."""
        action = self.action
        if action is None or not (self._opens_step and action.must_last):
            return
        timed, control = action.timed, action.control
        name, over = f"step {action.path}", "over as soon as it began, at"
        if not isinstance(control, ConstantCurrent):
            if (reading.t_ns - self.began_ns) * 1e-9 <= SHORTEST_HOLD:
                limit = f"its until is {(timed.end_current or 0.0) * 1e3:.3g} mA: the hold did nothing"
                remedy = "delete the hold, write for_s, or end it at a lower current"
                raise LimitCrossed(Problem(name, f"{over} {abs(reading.current) * 1e3:.3g} mA", limit, remedy))
            return
        passed = abs(reading.charge - self._began_charge)
        by_charge = timed.charge is not None and passed >= timed.charge and not self._cut_off
        if by_charge or passed > abs(control.current) * SHORTEST_CURRENT:
            return
        way = "lithiates" if control.current < 0.0 else "delithiates"
        value = f"{over} {reading.potential:.3f} V and {control.current * 1e3:.4g} mA, which {way}"
        end, remedy = "", "turn the sign of the current, or move until: here a negative current lithiates"
        if self._cut_off and control.cut_off is not None:
            end = f"{control.cut_off:g} V"
            if (reading.potential - control.cut_off) * control.current < 0.0:  # back at rest it is not beyond
                remedy = "use a smaller current: its own drop takes the potential past until"
        elif timed.soc is not None:
            end = f"{timed.soc * 100:g} %"
        raise LimitCrossed(Problem(name, value, f"its until is {end}, so it did nothing", remedy))

    def _hand_over(self, at_ns: int, purpose: Literal["next", "pause", "resume"], late: bool = False) -> None:
        """Give the potentiostat its next control, to begin at `at_ns`; the intent is on disk before that."""
        action = self._next if purpose == "next" else self.action
        self._handed_over = _HandedOver(at_ns, purpose, action)
        self._late = late
        path = action.path if action is not None else "end"
        self._facts.write("intent", "cell", path, self._data(self._handed_over))
        self._potentiostat.apply(self._control(self._handed_over), at_ns)
        self._requested = None if purpose != "next" or self._requested == "skip" else self._requested

    def _control(self, handed: _HandedOver) -> CellControl:
        return OpenCircuit() if handed.purpose == "pause" or handed.action is None else handed.action.control

    def _data(self, handed: _HandedOver) -> dict[str, Any]:
        """What a resumed run needs: which action of the program this is, and how long it has already run."""
        number = self.number + 1 if handed.purpose == "next" else self.number
        spent = self._next_spent_ns if handed.purpose == "next" else self._spent_before_ns
        return {
            "control": control_data(self._control(handed)),
            "at_ns": handed.at_ns,
            "action": number,
            "spent_ns": spent + (handed.at_ns - self.began_ns if handed.purpose == "pause" else 0),
            "what": handed.purpose,
        }

    def _begin_handed_over(self, handed: _HandedOver, reading: CellReading) -> bool:
        """Record that the control handed over has begun."""
        self._handed_over, self.handed_over_late = None, self._late
        data = self._data(handed)
        if handed.purpose == "next":
            self._change_step(handed, reading)
            self._spent_before_ns, self._next_spent_ns = self._next_spent_ns, 0
        if handed.action is not None:
            self._facts.write("applied", "cell", handed.action.path, data)
        if handed.purpose == "pause":
            assert self.action is not None
            self._opens_step = False
            elapsed = handed.at_ns - self.began_ns
            self._spent_before_ns += elapsed
            self.action = self.action.remainder(elapsed, reading.charge - self._began_charge)
            self._paused_since = handed.at_ns
        elif self.paused:
            self.paused_ns += handed.at_ns - self._paused_since
        self.paused = handed.purpose == "pause"
        self.began_ns, self._began_charge = handed.at_ns, reading.charge
        self.over = handed.action is None
        return True

    def _change_step(self, handed: _HandedOver, reading: CellReading) -> None:
        old, new = self.action, handed.action
        if old is not None and old.delithiated_end and self._reached_end_potential(old):
            self._soc_zero = reading.charge
            if self._reversible is not None:
                data = {"message": "state of charge: 0 % here", "potential_V": reading.potential}
                self._facts.write("note", "cell", old.path, {**data, "reversible_C": self._reversible})
        self._cut_off = self._skipped = False
        same = old is not None and new is not None and old.same_step(new)
        self._opens_step, self._resumed = not same and not self._resumed, False
        if old is not None and not same:
            self._facts.write("step_ended", "cell", old.path, {})
        if new is None:
            return
        if not same:
            self._facts.write("step_started", "cell", new.path, {"visit": new.visit} if new.visit else {})
        self.action, self._next = new, next(self._actions, None)
        self.number += 1

    def _reached_end_potential(self, action: CellAction) -> bool:
        """Whether the action reached its end potential: not a current that time ended, nor a ramp that was skipped."""
        return self._cut_off if isinstance(action.control, ConstantCurrent) else not self._skipped
