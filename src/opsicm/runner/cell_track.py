"""The cell's track: what is held, what was handed over to be held next, and what a pause leaves.

Controls are handed to the potentiostat ahead of time with the nanosecond at which they begin, each after its intent is
on the disk. A pause is open circuit: no charge passes, and what is left of the step follows when it is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from opsicm.experiment.controls import CellAction, CellControl, ConstantCurrent, OpenCircuit, control_data
from opsicm.instruments.roles import CellReading, Potentiostat
from opsicm.runner.fact_log import FactLog

_HAND_OVER_NS: Final = 1_500_000_000  # how far ahead the potentiostat gets its next control: more than any turn
_STALE_NS: Final = 200_000_000  # a potentiostat may still show the cut-off of the control before
_LEAD_NS: Final = 200_000_000  # for what is asked meanwhile: more than a potentiostat needs to take a control


@dataclass(frozen=True, slots=True)
class _HandedOver:
    at_ns: int
    what: Literal["next", "pause", "resume"]
    action: CellAction | None


class CellTrack:
    """`reversible` [C] between the program's cut-offs turns charge into SOC; None where it has no two of them.

    `first` is the number of the first of `actions` in the program, `spent_ns` what of it was spent already: not 0
    where a run is resumed.
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
        """Of the present action in the program."""
        self._before_ns = 0  # of the present action, spent before its present part
        self._next_spent_ns = spent_ns
        self._handed_over: _HandedOver | None = None
        self._wanted: Literal["pause", "resume", "skip"] | None = None
        self._paused_since = 0
        self.action: CellAction | None = None
        self.began_ns = 0
        self._began_charge = 0.0
        self._cut_off = False  # the present current has come to its cut-off
        self._skipped = False
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
        """What the cell is held at."""
        return OpenCircuit() if self.action is None or self.paused else self.action.control

    @property
    def ends_ns(self) -> int | None:
        """When the present control ends by its own time; None where it does not."""
        if self.action is None or self.action.duration_ns is None or self.paused:
            return None
        return self.began_ns + self.action.duration_ns

    @property
    def changes_ns(self) -> int | None:
        """When the control changes next, as far as that is known."""
        return self._handed_over.at_ns if self._handed_over is not None else self.ends_ns

    @property
    def level(self) -> float | None:
        """The rung [V] on which a ladder stands; None elsewhere."""
        return self.action.timed.level if self.action is not None and not self.paused else None

    @property
    def rested_ns(self) -> int | None:
        """When the specimen has rested in the present action; None where it does not."""
        if self.action is None or self.action.timed.rested_ns is None or self.paused:
            return None
        return self.began_ns + self.action.timed.rested_ns

    def soc(self, charge: float) -> float | None:
        """State of charge, 0 … 1, at `charge` [C] since the start; None until a delithiated cut-off gave it a zero."""
        if self._reversible is None or self._soc_zero is None:
            return None
        return -(charge - self._soc_zero) / self._reversible

    def turn(self, now: int, reading: CellReading) -> bool:
        """Hand over what is due and notice what has begun; True when the control has changed."""
        if isinstance(self.control, ConstantCurrent) and reading.t_ns >= self.began_ns + _STALE_NS:
            self._cut_off = self._cut_off or reading.cut_off
        if self._handed_over is None:
            self._act(now, reading)
        if self._handed_over is not None and now >= self._handed_over.at_ns:
            return self._take_over(self._handed_over, reading)
        return False

    # -- commands ---------------------------------------------------------------------------------------------------

    def pause(self) -> tuple[bool, str]:
        """Ask for open circuit until `resume`."""
        if self.paused or self._wanted == "pause":
            return False, "the cell is paused already"
        if self.action is None:
            return False, "the cell has not begun yet"
        self._wanted = "pause"
        return True, f"{self.action.path} goes to open circuit within 1.7 s; what is left of it follows on resume-cell"

    def resume(self) -> tuple[bool, str]:
        """Ask for what a pause has left."""
        if self._wanted == "pause":
            self._wanted = None
            return True, "the pause had not begun: nothing was changed"
        if not self.paused or self._wanted == "resume":
            return False, "the cell is not paused"
        self._wanted = "resume"
        assert self.action is not None
        return True, f"{self.action.path} goes on within 0.2 s"

    def skip(self) -> tuple[bool, str]:
        """Ask for the end of the present step."""
        if self.action is None or self.paused or self._wanted is not None:
            return False, "the cell is paused or about to change: skip when a step runs"
        if self._handed_over is not None:
            return False, "the next control is handed over already: ask again when it has begun"
        self._wanted = "skip"
        return True, f"{self.action.path} ends within 0.2 s"

    # -- hand over, take over ---------------------------------------------------------------------------------------

    def _act(self, now: int, reading: CellReading) -> None:
        end = self.ends_ns
        if self.action is None:
            self._hand_over(now, "next")
        elif self.paused:
            if self._wanted == "resume":
                self._hand_over(now + _LEAD_NS, "resume")
        elif self._over_early(reading):
            self._hand_over(now, "next")
        elif self._wanted == "skip":
            self._leave_step()
            self._skipped = True
            self._hand_over(now + _LEAD_NS, "next")
        elif end is not None and end - now <= _HAND_OVER_NS:
            self._hand_over(end, "next")
        elif self._wanted == "pause":
            self._hand_over(now + _LEAD_NS, "pause")

    def _leave_step(self) -> None:
        """Pass over what else the present step holds."""
        here = self.action
        while here is not None and self._next is not None and here.same_step(self._next):
            self._next, self.number = next(self._actions, None), self.number + 1

    def _over_early(self, reading: CellReading) -> bool:
        """Whether something else than its time has ended the present action, by a reading of its own control."""
        action = self.action
        if action is None:
            return False
        timed, control, fresh = action.timed, action.control, reading.t_ns >= self.began_ns + _STALE_NS
        if self._cut_off:
            if timed.cut_off_ends_step:
                self._leave_step()
            return True
        # A potentiostat that has just closed its loop shows no current, a late one still that of the control before.
        if timed.fallen_current is not None and fresh and abs(reading.current) < timed.fallen_current:
            return True
        if timed.charge is not None and abs(reading.charge - self._began_charge) >= timed.charge:
            return True
        soc = self.soc(reading.charge)
        if timed.soc is None or soc is None or not isinstance(control, ConstantCurrent):
            return False
        return soc >= timed.soc if control.current < 0.0 else soc <= timed.soc

    def _hand_over(self, at_ns: int, what: Literal["next", "pause", "resume"]) -> None:
        """Give the potentiostat what comes next, to begin at `at_ns`; the intent is on disk before that."""
        action = self._next if what == "next" else self.action
        self._handed_over = _HandedOver(at_ns, what, action)
        path = action.path if action is not None else "end"
        self._facts.write("intent", "cell", path, self._data(self._handed_over))
        self._potentiostat.apply(self._control(self._handed_over), at_ns)
        self._wanted = None if what != "next" or self._wanted == "skip" else self._wanted

    def _control(self, handed: _HandedOver) -> CellControl:
        return OpenCircuit() if handed.what == "pause" or handed.action is None else handed.action.control

    def _data(self, handed: _HandedOver) -> dict[str, Any]:
        """What a resumed run needs: which action of the program this is, and how much of it was spent before."""
        number = self.number + 1 if handed.what == "next" else self.number
        spent = self._next_spent_ns if handed.what == "next" else self._before_ns
        return {
            "control": control_data(self._control(handed)),
            "at_ns": handed.at_ns,
            "action": number,
            "spent_ns": spent + (handed.at_ns - self.began_ns if handed.what == "pause" else 0),
            "what": handed.what,
        }

    def _take_over(self, handed: _HandedOver, reading: CellReading) -> bool:
        """The control handed over has begun."""
        self._handed_over = None
        data = self._data(handed)
        if handed.what == "next":
            self._change_step(handed, reading)
            self._before_ns, self._next_spent_ns = self._next_spent_ns, 0
        if handed.action is not None:
            self._facts.write("applied", "cell", handed.action.path, data)
        if handed.what == "pause":
            assert self.action is not None
            elapsed = handed.at_ns - self.began_ns
            self._before_ns += elapsed
            self.action = self.action.remainder(elapsed, reading.charge - self._began_charge)
            self._paused_since = handed.at_ns
        elif handed.what == "resume":
            self.paused_ns += handed.at_ns - self._paused_since
        self.paused = handed.what == "pause"
        self.began_ns, self._began_charge = handed.at_ns, reading.charge
        self.over = handed.action is None
        return True

    def _change_step(self, handed: _HandedOver, reading: CellReading) -> None:
        old, new = self.action, handed.action
        if old is not None and old.delithiated_end and self._came_to_its_end(old):
            self._soc_zero = reading.charge
        self._cut_off = self._skipped = False
        same = old is not None and new is not None and old.same_step(new)
        if old is not None and not same:
            self._facts.write("step_ended", "cell", old.path, {})
        if new is None:
            return
        if not same:
            self._facts.write("step_started", "cell", new.path, {"visit": new.visit} if new.visit else {})
        self.action, self._next = new, next(self._actions, None)
        self.number += 1

    def _came_to_its_end(self, action: CellAction) -> bool:
        """Whether it stands at its end potential: not after a current that time ended, nor a ramp that was skipped."""
        return self._cut_off if isinstance(action.control, ConstantCurrent) else not self._skipped
