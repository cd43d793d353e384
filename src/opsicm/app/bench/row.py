"""One row of the performance table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BenchRow:
    """What was measured, against whom, and whether it is enough; `met` None needs a `reason`."""

    name: str
    value: float
    unit: str
    peer: str
    limit: str
    goal: str
    met: bool | None
    reason: str = ""
