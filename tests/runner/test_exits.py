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


class Told(MemoryRecorder):
    """Notes the end of the record in one line with what the instruments are told."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def fact(self, fact: Fact) -> None:
        super().fact(fact)
        if fact.kind == "run_ended" or (fact.kind == "applied" and fact.step == "end"):
            self.order.append(fact.kind)


def said(told: Told, name: str, plain: Callable[[], None]) -> Callable[[], None]:
    """`plain`, noted by `name`."""

    def safe() -> None:
        told.order.append(name)
        plain()

    return safe


def listening(told: Told, tamper: Callable[[Rig], None] = lambda _: None) -> Callable[[Rig], None]:
    """Lets a rig say when it is made safe, then tampers with it."""

    def change(rig: Rig) -> None:
        for name in SAFE:
            role: Any = getattr(rig, name)
            role.safe = said(told, name, role.safe)
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
    told = Told()
    run_steered(laboratory.experiment(text), commands, change=listening(told, tamper), recorder=told)
    # A pause withdraws the probe too, and the pipette's current keeps its bias meanwhile.
    assert told.order[-6:] == [*SAFE, "applied", "run_ended"]
    assert told.order.count("run_ended") == 1
    assert told.ending is not None
    assert told.ending.outcome == outcome == told.facts[-1].data["outcome"]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_an_error_of_ours_ends_no_other_way(laboratory: Laboratory, error: BaseException) -> None:
    told = Told()
    with pytest.raises(type(error)):
        run_steered(
            laboratory.experiment(SHORT),
            change=listening(told, breaks("hop_controller", "run", error, 3)),
            recorder=told,
        )
    assert told.order == [*SAFE, "applied", "run_ended"]
    assert told.facts[-1].data["outcome"] == "fault"


@pytest.mark.parametrize("role", SAFE)
def test_an_instrument_that_does_not_obey_keeps_no_other_from_being_made_safe(
    laboratory: Laboratory, role: str
) -> None:
    told = Told()

    def tamper(rig: Rig) -> None:
        breaks(role, "safe", GONE)(rig)

    run_steered(laboratory.experiment(SHORT), [(2 * S, Command("stop"))], change=listening(told, tamper), recorder=told)
    assert told.order == [name for name in SAFE if name != role] + ["run_ended"]
    assert told.ending is not None
    assert told.ending.outcome == "fault"
    assert "not known to be safe" in told.kinds("alarm")[-1].data["message"]
