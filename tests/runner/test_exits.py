"""Every exit: probe up first, then the cell to open circuit, then the end is recorded; whatever ended the run."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_an_unexpected_error_ends_the_run_the_same_way(laboratory: Laboratory, error: BaseException) -> None:
    kept = ExitRecorder()
    with pytest.raises(type(error)):
        run_steered(
            laboratory.experiment(SHORT),
            change=recording_safe_calls(kept, breaks("hop_controller", "run", error, 3)),
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
