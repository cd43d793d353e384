"""A run in memory on a laboratory's rig file, steered by a script: (ns at which a command comes, the command)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from faults.steered import Kept, steered
from laboratory import RIG, TEXT, Laboratory
from opsicm.instruments.rig import Rig
from opsicm.run.commands import Command
from opsicm.run.continuation import BEGINNING, Continuation

__all__ = ["Kept", "run"]


def run(
    laboratory: Laboratory,
    text: str = TEXT,
    commands: Sequence[tuple[int, Command]] = (),
    rig: str = RIG,
    start: Continuation = BEGINNING,
    change: Callable[[Rig], None] = lambda _: None,
) -> Kept:
    """Run an experiment in memory; `change` may tamper with the rig before it begins."""
    return steered(laboratory.experiment(text, rig), commands, start, change)
