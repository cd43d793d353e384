"""Errors that name the thing, its value, the limit and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, said so that a person can mend it without reading code."""

    thing: str
    value: str
    limit: str
    remedy: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = ""
        if self.file is not None:
            where = f"{self.file}:{self.line}: " if self.line is not None else f"{self.file}: "
        value = f" is {self.value}" if self.value else ""
        return f"{where}{self.thing}{value}; {self.limit}; {self.remedy}"


class OpsicmError(Exception):
    """Base of every error this package raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 3

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes from process to process; by default each letter of the text would become a problem."""
        return _restored, (type(self), self.args, self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of the traceback, which would bury the remedy."""
        return [f"{type(self).__name__}: {self}", *getattr(self, "__notes__", ())]


def _restored(kind: type[OpsicmError], args: tuple[str], state: dict[str, Any]) -> OpsicmError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class BadInput(OpsicmError):
    """A file or an argument cannot be used. Nothing has moved and nothing was written."""

    exit_code = 2


class OutsideDomain(OpsicmError, ValueError):
    """A number lies where an equation does not hold."""

    exit_code = 2


class LimitCrossed(OpsicmError):
    """A limit or a fault ended a run. The rig is safe and the file is kept."""

    exit_code = 3


class InstrumentLost(LimitCrossed):
    """An instrument does not answer, or answers what cannot be believed, after the retries that it was given.

    `role` is the one it plays. A run pauses instead of ending: the instrument may come back. `outcome` is what had
    arrived of a plan of hops that was under way, a `PlanOutcome`; None where there was none.
    """

    def __init__(self, role: str, problems: Problem | Iterable[Problem], outcome: Any = None) -> None:
        super().__init__(problems)
        self.role = role
        self.outcome = outcome


class UnreadableRun(OpsicmError):
    """A run file cannot be read whole; the remedy says what can still be read."""

    exit_code = 2
