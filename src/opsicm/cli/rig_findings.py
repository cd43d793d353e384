"""What `opsicm rig check` finds, and how it is printed: a line for each finding, and the table at the end."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from opsicm.core.errors import InstrumentLost, OpsicmError

WIDTH: Final = 80
Outcome = Literal["ok", "remark", "not tried", "missing", "wrong", "fault"]
NOT_READY: Final[tuple[Outcome, ...]] = ("missing", "wrong")
RIG: Final = "rig"
"""The role of a finding that concerns the instruments together."""
UNTRIED: Final = "not verified on hardware"
_INDENT: Final = 18
_STATE: Final = 34  # characters of the table's middle column
_MARKS: Final[dict[Outcome, str]] = {
    "ok": "",
    "remark": "note: ",
    "not tried": "not tried: ",
    "missing": "MISSING: ",
    "wrong": "WRONG: ",
    "fault": "FAULT: ",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `step` of the check, `role` or `RIG`, what came out, and the remedy.

    `value` and `limit` are in SI, of `unit`; None where the finding is no number. `missing` is what does not answer or
    is not there, `wrong` what answers with something wrong: either keeps the rig from being ready. `fault` ended the
    check.
    """

    step: str
    role: str
    outcome: Outcome
    text: str
    remedy: str = ""
    value: float | None = None
    limit: float | None = None
    unit: str = ""

    def record(self) -> dict[str, Any]:
        """With stable keys."""
        return {
            "step": self.step,
            "role": self.role,
            "outcome": self.outcome,
            "text": self.text,
            "remedy": self.remedy or None,
            "value": self.value,
            "limit": self.limit,
            "unit": self.unit or None,
        }


def of_error(step: str, role: str, error: OpsicmError, outcome: Outcome | None = None) -> list[Finding]:
    """One finding for each problem of an error: by default `missing` where something did not answer, else `wrong`."""
    # A refusal with a cause is that of a client or of the system, which found no instrument, no line or no package.
    unanswered = isinstance(error, InstrumentLost) or error.__cause__ is not None
    outcome = outcome or ("missing" if unanswered else "wrong")
    return [
        Finding(step, role, outcome, f"{p.thing}{f' is {p.value}' if p.value else ''}; {p.limit}", p.remedy)
        for p in error.problems
    ]


def lines_of(finding: Finding) -> list[str]:
    """The finding as it is printed under the heading of its step."""
    head = f"  {finding.role:<{_INDENT - 2}}"
    text = _MARKS[finding.outcome] + finding.text
    lines = _wrapped(text, WIDTH, first=head, then=" " * _INDENT)
    if finding.remedy and finding.outcome not in ("ok", "not tried"):
        lines += _wrapped(f"→ {finding.remedy}", WIDTH, first=" " * _INDENT, then=" " * 20)
    return lines


def _wrapped(text: str, width: int, first: str = "", then: str = "") -> list[str]:
    """Lines that break between words only: a command, a name or a number is copied whole."""
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)


def table_of(findings: Sequence[Finding], roles: Sequence[str]) -> Iterator[str]:
    """The table that ends a check: role, ready or what is missing or wrong, remedy; `WIDTH` columns wide."""
    yield f"{'role':<16}{'ready, or what keeps it from it':<{_STATE}}remedy"
    yield "-" * WIDTH
    said: dict[str, str] = {}  # problem → the role that it was said of: of one card it is the same for all
    for role in (*roles, *([RIG] if any(each.role == RIG and each.outcome != "ok" for each in findings) else [])):
        own = [each for each in findings if each.role == role]
        rows = [_bad(each, said) for each in own if each.outcome in (*NOT_READY, "fault")] or [(_ready(role, own), "")]
        # How a driver was tried stands above, at its length; here that it was not tried on the instrument.
        remarks = {
            each.text.partition(":")[0] if each.step == "drivers" else each.text: each.remedy
            for each in own
            if each.outcome == "remark"
        }
        rows += [(_MARKS["remark"] + text, remedy) for text, remedy in remarks.items()]
        rows += [(f"not tried: {each.step}", each.remedy) for each in own if each.outcome == "not tried"]
        for k, (state, remedy) in enumerate(rows):
            yield from _row(role if k == 0 else "", state, remedy)


def _bad(finding: Finding, said: dict[str, str]) -> tuple[str, str]:
    """What is missing or wrong and its remedy, at length once."""
    problem = finding.text.removeprefix(f"{finding.role} is ")
    if problem in said:
        return f"{_MARKS[finding.outcome]}the same as {said[problem]}", ""
    said[problem] = finding.role
    return _MARKS[finding.outcome] + finding.text, finding.remedy


def _ready(role: str, own: Sequence[Finding]) -> str:
    if role != RIG and not any(each.step == "connection" for each in own):
        return "not connected: the file comes first"
    return "ready as far as it was tried" if any(each.outcome == "not tried" for each in own) else "ready"


def _row(role: str, state: str, remedy: str) -> Iterator[str]:
    left = _wrapped(state, _STATE - 2) or [""]
    right = _wrapped(remedy, WIDTH - 16 - _STATE) or [""]
    for k in range(max(len(left), len(right))):
        columns = (role if k == 0 else "", left[k] if k < len(left) else "", right[k] if k < len(right) else "")
        yield f"{columns[0]:<16}{columns[1]:<{_STATE}}{columns[2]}".rstrip()


def exit_code(findings: Sequence[Finding]) -> int:
    """0 ready, 2 something is missing or wrong, 3 a fault ended the check."""
    outcomes = {each.outcome for each in findings}
    return 3 if "fault" in outcomes else 2 if outcomes.intersection(NOT_READY) else 0
