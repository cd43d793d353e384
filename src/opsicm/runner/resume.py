"""Where a run begins: at the beginning, or where another run was cut off.

What the journal of a run that a crash has cut off says of what is left, and what nobody can know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import Fact
from opsicm.experiment.controls import control_from, control_text

Meanwhile = Literal["open", "held", "unknown"]
LostIntent = Literal["began", "never"]


@dataclass(frozen=True, slots=True)
class Continuation:
    """`action` is the number of the cell's action to begin with, `spent_ns` and `passed` [C] what of it is done.

    `probe` is the number of the probe step to begin with, `done` its hops (trips, cycles) and `probe_ns` its time so
    far. `gone_ns` of the program are over. `said` is what the run that goes on assumes, for its first fact.
    """

    action: int = 0
    spent_ns: int = 0
    passed: float = 0.0
    probe: int = 0
    done: int = 0
    probe_ns: int = 0
    gone_ns: int = 0
    said: tuple[tuple[str, Any], ...] = ()

    def data(self) -> Mapping[str, Any]:
        """For the fact that begins the run."""
        return dict(self.said)


BEGINNING: Final = Continuation()


@dataclass(frozen=True, slots=True)
class Applied:
    """A control that was applied for certain: `action` None is open circuit, of a pause or an end."""

    at_ns: int
    action: int | None
    spent_ns: int


def applied_controls(facts: Sequence[Fact], lost: LostIntent | None = None) -> list[Applied]:
    """Every control of a run in the order in which they began; a lost intent counts if it `began`."""
    found = [_applied(fact) for fact in facts if fact.kind == "applied" and "at_ns" in fact.data]
    intent = lost_intent(facts)
    if intent is not None and lost == "began":
        found.append(_applied(intent))
    return found


def lost_intent(facts: Sequence[Fact]) -> Fact | None:
    """The intent that lacks its `applied`: handed over before the crash, and nobody saw whether it began."""
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
    meanwhile: Meanwhile,
    gap_ns: int,
    lost: LostIntent | None,
    name: str,
) -> Continuation:
    """Where the run that `facts` tell of is to go on. `last_ns` is the last moment that its record holds.

    `meanwhile` says what the cell did during the `gap_ns` since: `open` circuit; `held` at its last set-point, so that
    the time of a hold and the charge of a current went on; `unknown`. Raises `BadInput` where nothing is left, where an
    intent lacks its `applied` and `lost` does not say whether it began, and where a charge cannot be known.
    """
    _refuse(facts, meanwhile, lost, name)
    applied = applied_controls(facts, lost)
    said = {"resumes": name, "cell_meanwhile": meanwhile, "gap_ns": gap_ns, "last_ns": last_ns}
    intent = lost_intent(facts)
    if intent is not None:
        said["lost_intent"] = {"action": intent.data["action"], "assumed": lost}
    probe, done, probe_ns = _probe(facts, last_ns)
    if not applied:
        return Continuation(probe=probe, done=done, probe_ns=probe_ns, said=tuple(said.items()))
    last = applied[-1]
    number, spent_ns, passed = _left(applied, last_ns, charge_at)
    before = facts[0].data if facts else {}
    if before.get("action") == number:  # of a run that was itself resumed in this action
        passed += float(before["passed_C"])
    if last.action is not None and meanwhile == "held":
        spent_ns += gap_ns
    said |= {"action": number, "spent_ns": spent_ns, "passed_C": passed}
    gone_ns = _gone(applied, last_ns)
    return Continuation(number, spent_ns, passed, probe, done, probe_ns, gone_ns, tuple(said.items()))


def _refuse(facts: Sequence[Fact], meanwhile: Meanwhile, lost: LostIntent | None, name: str) -> None:
    ended = next((fact for fact in reversed(facts) if fact.kind == "run_ended"), None)
    if ended is not None and ended.data.get("outcome") == "completed":
        raise BadInput(Problem("run", name, "was completed", "nothing is left of it: run the experiment anew"))
    opened = any(fact.kind == "applied" and fact.step == "end" for fact in facts)
    if ended is not None and opened and meanwhile != "open":
        limit = "the run ended by itself and its journal says that the cell went to open circuit"
        raise BadInput(Problem("--cell-meanwhile", meanwhile, limit, "say open"))
    intent = lost_intent(facts)
    if intent is None or opened:
        return
    if lost is None:
        control, at = control_text(control_from(intent.data["control"])), intent.data["at_ns"] * 1e-9
        limit = (
            f"handed over to begin at {at:.3f} s, and the journal ends before it says that it did: it is not applied a "
            "second time unasked"
        )
        remedy = "look at the potentiostat; then --lost-intent began, or --lost-intent never to apply it now"
        raise BadInput(Problem(f"intent of {intent.step}", control, limit, remedy))


def _applied(fact: Fact) -> Applied:
    data = fact.data
    open_circuit = data["what"] == "pause"
    return Applied(int(data["at_ns"]), None if open_circuit else int(data["action"]), int(data["spent_ns"]))


def _left(applied: Sequence[Applied], last_ns: int, charge_at: Callable[[int], float]) -> tuple[int, int, float]:
    """(number of the action, what of it was spent [ns], what it has passed [C])."""
    number = next((one.action for one in reversed(applied) if one.action is not None), 0)
    spent_ns, passed = 0, 0.0
    for k, one in enumerate(applied):
        if one.action != number:
            continue
        until = applied[k + 1].at_ns if k + 1 < len(applied) else last_ns
        until = max(one.at_ns, min(until, last_ns))
        spent_ns = one.spent_ns + until - one.at_ns
        passed += charge_at(until) - charge_at(one.at_ns)
    return number, spent_ns, passed


def _gone(applied: Sequence[Applied], last_ns: int) -> int:
    """How much of the program is over [ns]: pauses do not count."""
    gone = 0
    for k, one in enumerate(applied):
        until = applied[k + 1].at_ns if k + 1 < len(applied) else last_ns
        if one.action is not None:
            gone += max(0, until - one.at_ns)
    return gone


def _probe(facts: Sequence[Fact], last_ns: int) -> tuple[int, int, int]:
    """(number of the probe step, how much of it is done, for how long it ran)."""
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
