"""A row of the performance table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BenchRow:
    """`value` in `unit`; `peer` and `limit` say in words what it was measured against in the same run.

    `goal` was set before the first measurement and is never edited; `met` is None, with a `reason`, where it cannot
    be judged on this machine.
    """

    name: str
    value: float
    unit: str
    peer: str
    limit: str
    goal: str
    met: bool | None
    reason: str = ""
