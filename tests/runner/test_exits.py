"""Every exit: probe up first, then the cell to open circuit, then the end is recorded; whatever ended the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from faults.steered_run import MemoryRecorder, run_steered
from opsicm.core.errors import LimitCrossed, Problem
from opsicm.core.facts import Fact
from opsicm.instruments.roles import Rig
from opsicm.runner.commands import Command
from tests.fixtures.laboratory import TEXT, Laboratory

S = 1_000_000_000
SAFE = ["hop_controller", "scanner", "potentiostat", "amplifier"]
SHORT = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 100")
ENDLESS = (
    TEXT[: TEXT.index("  - sweep")]
    + "  - constant_current: {current_mA: -0.0001, until: {potential_V: -0.5}}\n"
    + TEXT[TEXT.index("probe:") :].replace("2.0]", "2.0], run_h: 0.001")
)


class ExitRecorder(MemoryRecorder):
    """Records the order in which the instruments are made safe and the end of the run is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def fact(self, fact: Fact) -> None:
        super().fact(fact)
        if fact.kind == "run_ended" or (fact.kind == "applied" and fact.step == "end"):
            self.order.append(fact.kind)


def noted(kept: ExitRecorder, name: str, plain: Callable[[], None]) -> Callable[[], None]:
    """`plain`, with `name` appended to the order of the exit."""

    def safe() -> None:
        kept.order.append(name)
        plain()

    return safe


def recording_safe_calls(kept: ExitRecorder, tamper: Callable[[Rig], None] = lambda _: None) -> Callable[[Rig], None]:
    """Makes a rig record when each role is made safe, then tampers with it."""

    def change(rig: Rig) -> None:
        for name in SAFE:
            role: Any = getattr(rig, name)
            role.safe = noted(kept, name, role.safe)
        tamper(rig)

    return change


def breaks(role: str, method: str, error: BaseException, after: int = 0) -> Callable[[Rig], None]:
    """An instrument whose `method` raises `error` from its call number `after` on."""

    def tamper(rig: Rig) -> None:
        instrument: Any = getattr(rig, role)
        plain, calls = getattr(instrument, method), iter(range(10**9))

        def call(*given: Any) -> Any:
            if next(calls) >= after:
                raise error
            return plain(*given)

        setattr(instrument, method, call)

    return tamper


GONE = LimitCrossed(Problem("amplifier", "silent", "it does not answer", "check its cable"))
EXITS: dict[str, tuple[str, list[tuple[int, Command]], Callable[[Rig], None], str]] = {
    "completed": (SHORT, [], lambda _: None, "completed"),
    "stopped": (SHORT, [(2 * S, Command("stop"))], lambda _: None, "interrupted"),
    "stopped in a pause": (
        SHORT,
        [(2 * S, Command("pause-probe")), (4 * S, Command("stop"))],
        lambda _: None,
        "interrupted",
    ),
    "cell limit": (SHORT.replace("2.0]", "2.0], cell_mA: 0.2"), [], lambda _: None, "fault"),
    "pipette limit": (SHORT.replace("2.0]", "2.0], pipette_nA: 2"), [], lambda _: None, "fault"),
    "too long": (ENDLESS, [], lambda _: None, "fault"),
    "an instrument is lost": (SHORT, [], breaks("amplifier", "read", GONE, 40), "fault"),
    "a plan of hops fails": (SHORT, [], breaks("hop_controller", "run", GONE, 3), "fault"),
}


@pytest.mark.parametrize("name", EXITS)
def test_probe_up_then_cell_open_then_the_end_is_recorded(laboratory: Laboratory, name: str) -> None:
    text, commands, tamper, outcome = EXITS[name]
    kept = ExitRecorder()
    run_steered(laboratory.experiment(text), commands, change=recording_safe_calls(kept, tamper), recorder=kept)
    # A pause withdraws the probe too, and the pipette's current keeps its bias meanwhile.
    assert kept.order[-6:] == [*SAFE, "applied", "run_ended"]
    assert kept.order.count("run_ended") == 1
    assert kept.ending is not None
    assert kept.ending.outcome == outcome == kept.facts[-1].data["outcome"]


def test_a_defect_of_the_program_is_a_fault_like_another(laboratory: Laboratory) -> None:
    kept = ExitRecorder()
    error = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
    run_steered(
        laboratory.experiment(SHORT),
        change=recording_safe_calls(kept, breaks("hop_controller", "run", error, 3)),
        recorder=kept,
    )
    assert kept.order == [*SAFE, "applied", "run_ended"]
    assert kept.facts[-1].data["outcome"] == "fault"
    (alarm,) = kept.kinds("alarm")
    assert "UnicodeEncodeError" in alarm.data["message"]
    assert "met in test_exits.py:" in alarm.data["message"]
    assert kept.ending is not None
    assert isinstance(kept.ending.error, LimitCrossed)
    assert kept.ending.safe


def test_an_interrupt_ends_the_run_the_same_way(laboratory: Laboratory) -> None:
    kept = ExitRecorder()
    with pytest.raises(KeyboardInterrupt):
        run_steered(
            laboratory.experiment(SHORT),
            change=recording_safe_calls(kept, breaks("hop_controller", "run", KeyboardInterrupt(), 3)),
            recorder=kept,
        )
    assert kept.order == [*SAFE, "applied", "run_ended"]
    assert kept.facts[-1].data["outcome"] == "fault"


@pytest.mark.parametrize("role", SAFE)
def test_an_instrument_that_does_not_obey_keeps_no_other_from_being_made_safe(
    laboratory: Laboratory, role: str
) -> None:
    kept = ExitRecorder()

    def tamper(rig: Rig) -> None:
        breaks(role, "safe", GONE)(rig)

    run_steered(
        laboratory.experiment(SHORT),
        [(2 * S, Command("stop"))],
        change=recording_safe_calls(kept, tamper),
        recorder=kept,
    )
    assert kept.order == [name for name in SAFE if name != role] + ["run_ended"]
    assert kept.ending is not None
    assert kept.ending.outcome == "fault"
    assert "not known to be safe" in kept.kinds("alarm")[-1].data["message"]
    # This rig has no watchdog that could make it safe by other means: whoever reads the error must.
    assert not kept.ending.safe
    assert "by hand" in str(kept.ending.error)


class WatchBeside:
    """A watchdog whose channels reach these roles."""

    def __init__(self, reaches: dict[str, bool]) -> None:
        self._reaches = reaches
        self.asked = 0

    def beat(self) -> Sequence[str]:
        return ()

    def make_safe(self) -> Mapping[str, bool]:
        self.asked += 1
        return self._reaches

    def make_roles_safe(self, roles: Sequence[str]) -> Mapping[str, bool]:
        return {role: self._reaches[role] for role in roles if role in self._reaches}


@pytest.mark.parametrize("reached", [True, False])
def test_a_rig_that_does_not_obey_is_made_safe_by_the_watchdog(laboratory: Laboratory, reached: bool) -> None:
    kept = ExitRecorder()
    watch = WatchBeside({"hop_controller": True, "scanner": True, "potentiostat": reached, "amplifier": True})
    gone = BrokenPipeError(32, "Broken pipe")  # not one of our errors

    def tamper(rig: Rig) -> None:
        for role in SAFE:
            breaks(role, "safe", gone)(rig)
        breaks("potentiostat", "read", gone, 40)(rig)

    run_steered(laboratory.experiment(SHORT), change=tamper, recorder=kept, watch=watch)
    assert watch.asked == 1
    assert kept.facts[-1].kind == "run_ended"
    assert kept.facts[-1].data["outcome"] == "fault"
    assert kept.ending is not None
    assert kept.ending.safe is reached
    state = "potentiostat is safe" if reached else "potentiostat has NOT confirmed it"
    assert state in kept.kinds("alarm")[-1].data["message"]
    assert ("by hand" in str(kept.ending.error)) is not reached
    assert any(fact.step == "end" for fact in kept.kinds("applied")) is reached
