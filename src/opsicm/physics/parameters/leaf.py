"""One number of a parameter set with its unit, its uncertainty, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.units import factor, si_unit

Status = Literal["measured", "literature", "derived", "assumed"]
STATUSES: Final = ("measured", "literature", "derived", "assumed")


@dataclass(frozen=True, eq=False)
class Curve:
    """A measured curve: `x` rises strictly; both columns in SI. `label` names it in listings."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Leaf:
    """`value` in `unit` with standard uncertainty `u` (same unit; None: nobody has stated one).

    A word (`"up"`, `"ecker-2015"`) or a `Curve` has unit `"word"` or `"curve"` and no uncertainty.
    """

    value: float | str | Curve
    unit: str
    u: float | None
    status: Status
    source: str

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise OutsideDomain(Problem("status", repr(self.status), ", ".join(STATUSES), "write one of these"))
        if not self.source:
            raise OutsideDomain(Problem("source", "empty", "every number says where it comes from", "name the source"))
        if isinstance(self.value, float):
            factor(self.unit)

    @property
    def si(self) -> float:
        """The value in SI; raises for a word or a curve."""
        if not isinstance(self.value, float):
            raise OutsideDomain(Problem("leaf", repr(self.value), "a number is needed here", "give a number"))
        return self.value * factor(self.unit)

    @property
    def si_unit(self) -> str:
        """The unit of `si`."""
        return si_unit(self.unit) if isinstance(self.value, float) else self.unit
