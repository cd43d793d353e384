"""One row of the table of faults, and what the rows share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opsicm.record.validate import validate


@dataclass(frozen=True, slots=True)
class Outcome:
    """`holds` is None where it cannot be judged on this machine; `observed` then gives the reason."""

    row: str
    fault: str
    n: int
    observed: str
    holds: bool | None


def read_log(log: Path) -> tuple[list[list[int]], bool, bool]:
    """(one row per block: number, ring position, position on disk, ns; whether closing began; whether it ended)."""
    text = log.read_text(encoding="ascii") if log.exists() else ""
    rows = [[int(word) for word in line.split()] for line in text.splitlines() if len(line.split()) == 4]
    return rows, "closing" in text, "closed" in text


def failed_checks(run: Path) -> list[str]:
    """The checks of `opsicm validate` that do not hold for a run, as texts."""
    return [f"{result.check}: {result.seen}" for result in validate(run) if not result.ok]
