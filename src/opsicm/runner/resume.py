"""Where a run begins: at the beginning of its programs, or where another run was interrupted.

The journal of an interrupted run tells how much of both programs is left, and what must be asked of the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import Fact
from opsicm.experiment.controls import control_from_data, control_text

CellMeanwhile = Literal["open", "held", "unknown"]
LostIntent = Literal["began", "never"]


@dataclass(frozen=True, slots=True)
class Continuation:
    """The cell begins with action number `action`, of which `spent_ns` have run and `passed` [C] have flowed.

    The probe begins with step number `probe`, of which `done` hops (trips, cycles) and `probe_ns` have run. The cell
    program has run for `completed_ns`. `assumptions` are recorded in the first fact of the resumed run.
    """

    action: int = 0
    spent_ns: int = 0
    passed: float = 0.0
    probe: int = 0
    done: int = 0
    probe_ns: int = 0
    completed_ns: int = 0
    assumptions: Mapping[str, Any] = field(default_factory=dict)


BEGINNING: Final = Continuation()


@dataclass(frozen=True, slots=True)
class AppliedControl:
    """A control that is known to have been applied; `action` None is open circuit, in a pause or at the end."""

    at_ns: int
    action: int | None
    spent_ns: int


def applied_controls(facts: Sequence[Fact], lost: LostIntent | None = None) -> list[AppliedControl]:
    """Every control of a run in the order in which they began; a lost intent is included if it `began`."""
    controls = [_applied(fact) for fact in facts if fact.kind == "applied" and "at_ns" in fact.data]
    intent = lost_intent(facts)
    if intent is not None and lost == "began":
        controls.append(_applied(intent))
    return controls


def lost_intent(facts: Sequence[Fact]) -> Fact | None:
    """The intent without an `applied`: handed over before the crash, and whether it began is unknown."""
    pending: Fact | None = None
    for fact in facts:
        if fact.kind == "intent":
            pending = fact
        elif fact.kind == "applied":
            pending = None
    return pending


def continuation(
    facts: Sequence[Fact],
    last_ns: int,
    charge_at: Callable[[int], float],
    meanwhile: CellMeanwhile,
    gap_ns: int,
    lost: LostIntent | None,
    name: str,
) -> Continuation:
    """Where the run with these `facts` continues. `last_ns` is the latest time in its record.

    `meanwhile` says what the cell did in the `gap_ns` since then: `open` circuit; `held` at its last set-point, so that
    the time of a hold and the charge of a current continued; `unknown`. Raises `BadInput` where nothing is left and
    where an intent has no `applied` and `lost` does not say whether it began.
    """
    _check_resumable(facts, meanwhile, lost, name)
    applied = applied_controls(facts, lost)
    assumptions = {"resumes": name, "cell_meanwhile": meanwhile, "gap_ns": gap_ns, "last_ns": last_ns}
    intent = lost_intent(facts)
    if intent is not None:
        assumptions["lost_intent"] = {"action": intent.data["action"], "assumed": lost}
    probe, done, probe_ns = _probe_progress(facts, last_ns)
    if not applied:
        return Continuation(probe=probe, done=done, probe_ns=probe_ns, assumptions=assumptions)
    last = applied[-1]
    number, spent_ns, passed = _cell_progress(applied, last_ns, charge_at)
    before = facts[0].data if facts else {}
    if before.get("action") == number:  # of a run that was itself resumed in this action
        passed += float(before["passed_C"])
    if last.action is not None and meanwhile == "held":
        spent_ns += gap_ns
    assumptions |= {"action": number, "spent_ns": spent_ns, "passed_C": passed}
    completed_ns = _completed(applied, last_ns)
    return Continuation(number, spent_ns, passed, probe, done, probe_ns, completed_ns, assumptions)


def _check_resumable(facts: Sequence[Fact], meanwhile: CellMeanwhile, lost: LostIntent | None, name: str) -> None:
    ended = next((fact for fact in reversed(facts) if fact.kind == "run_ended"), None)
    if ended is not None and ended.data.get("outcome") == "completed":
        raise BadInput(Problem("run", name, "was completed", "nothing is left of it: run the experiment again"))
    opened = any(fact.kind == "applied" and fact.step == "end" for fact in facts)
    if ended is not None and opened and meanwhile != "open":
        limit = "the run ended by itself and its journal says that the cell went to open circuit"
        raise BadInput(Problem("--cell-meanwhile", meanwhile, limit, "say open"))
    intent = lost_intent(facts)
    if intent is None or opened:
        return
    if lost is None:
        control, at = control_text(control_from_data(intent.data["control"])), intent.data["at_ns"] * 1e-9
        limit = (
            f"was handed over to begin at {at:.3f} s, and the journal ends before it says whether it did: it is not "
            "applied a second time unasked"
        )
        remedy = "check the potentiostat; then --lost-intent began, or --lost-intent never to apply it now"
        raise BadInput(Problem(f"intent of {intent.step}", control, limit, remedy))


def _applied(fact: Fact) -> AppliedControl:
    data = fact.data
    open_circuit = data["what"] == "pause"
    return AppliedControl(int(data["at_ns"]), None if open_circuit else int(data["action"]), int(data["spent_ns"]))


def _cell_progress(
    applied: Sequence[AppliedControl], last_ns: int, charge_at: Callable[[int], float]
) -> tuple[int, int, float]:
    """(number of the last action, how long it has run [ns], the charge that it has passed [C])."""
    number = next((control.action for control in reversed(applied) if control.action is not None), 0)
    spent_ns, passed = 0, 0.0
    for control, end_ns in _with_ends(applied, last_ns):
        if control.action != number:
            continue
        until = max(control.at_ns, min(end_ns, last_ns))
        spent_ns = control.spent_ns + until - control.at_ns
        passed += charge_at(until) - charge_at(control.at_ns)
    return number, spent_ns, passed


def _completed(applied: Sequence[AppliedControl], last_ns: int) -> int:
    """How long the program has run [ns]; pauses do not count."""
    return sum(max(0, end_ns - c.at_ns) for c, end_ns in _with_ends(applied, last_ns) if c.action is not None)


def _with_ends(applied: Sequence[AppliedControl], last_ns: int) -> Iterator[tuple[AppliedControl, int]]:
    """Each control with the time [ns] at which the next one begins."""
    return zip(applied, [*(control.at_ns for control in applied[1:]), last_ns], strict=True)


def _probe_progress(facts: Sequence[Fact], last_ns: int) -> tuple[int, int, int]:
    """(number of the probe step, how much of it is done, how long it has run [ns])."""
    number = done = 0
    path, began_ns = "", last_ns
    for fact in facts:
        if fact.track != "probe":
            continue
        if fact.kind == "step_started" and "at" not in fact.data:
            number, done = int(fact.data["number"]), int(fact.data["done"])
            path, began_ns = fact.step, fact.t_ns
        elif fact.kind == "step_ended" and fact.step == path:
            number, done, path = number + 1, 0, ""
        elif fact.kind == "hops" and fact.step == path:
            first, last = fact.data["range"]
            done += last - first + 1
    return number, done, (last_ns - began_ns if path else 0)
