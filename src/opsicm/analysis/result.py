"""A result is never a bare float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import xarray as xr


@dataclass(frozen=True, slots=True)
class Result:
    """A measured quantity: value, standard uncertainty (k = 1), unit, method, and the trace that shows why.

    `outcome` is "ok" or a named reason ("no hops", "constant current"); `value` is None unless it is "ok".
    `reason` says in a sentence what happened and what to do. `flags` are counts, as {"bad_hops": 3}.
    """

    name: str
    value: float | None
    u: float | None
    unit: str
    method: str
    outcome: str = "ok"
    reason: str = ""
    flags: Mapping[str, int] = field(default_factory=dict)
    trace: xr.DataArray | xr.Dataset | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.value is None) == (self.outcome == "ok"):
            raise ValueError(f"result {self.name}: value is {self.value} but outcome is {self.outcome!r}")
        numbers = (self.value, self.u) if self.value is not None else ()
        if any(number is not None and not isfinite(number) for number in numbers):
            raise ValueError(f"result {self.name}: {self.value} ± {self.u} is no number; say why it failed instead")

    def record(self) -> dict[str, Any]:
        """The keys that `--json` prints: everything but the trace."""
        return {
            "name": self.name,
            "value": self.value,
            "u": self.u,
            "unit": self.unit,
            "method": self.method,
            "outcome": self.outcome,
            "reason": self.reason,
            "flags": dict(self.flags),
        }


def failed(name: str, unit: str, method: str, outcome: str, reason: str) -> Result:
    """A result without a value: `outcome` names why, `reason` says it in a sentence with the remedy."""
    return Result(name, None, None, unit, method, outcome, reason)
