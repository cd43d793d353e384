"""Records of battery cyclers and potentiostats: what every reader of this folder hands over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import factor, si_unit

F64 = NDArray[np.float64]

# How instruments title their columns: a word, and a unit in brackets or after a slash.
_TITLES: Final[Mapping[str, str]] = {
    "t": r"(?:time|(?:test|total|elapsed|corrected)[ _]time) ?[\[(/](?P<unit>s|min|h)[\])]?",
    "E": r"(?:ewe|<ewe>|ecell|e|voltage|potential|potential applied|we\(1\)\.potential) ?[\[(/](?P<unit>m?V)[\])]?",
    "I": r"(?:<i>|i|current|we\(1\)\.current) ?[\[(/](?P<unit>[munµ]?A)[\])]?",
}
_UNIT_OF: Final = {"t": "s", "E": "V", "I": "A"}


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One stretch of record: `t` [s], `potential` [V] as the instrument referred it, `current` [A] positive anodic.

    (n,) each. `name` is empty where a file holds one stretch.
    """

    name: str
    t: F64
    potential: F64
    current: F64


@dataclass(frozen=True, slots=True)
class CellFile:
    """All stretches of a file, its format's name and what else it states; `notes` say what a reader had to assume."""

    format: str
    records: tuple[CellRecord, ...]
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()


def cell_columns(titles: Sequence[str]) -> dict[str, tuple[int, float]] | None:
    """Column number and factor to SI of t, E and I among `titles`; None where one of the three is missing."""
    found: dict[str, tuple[int, float]] = {}
    for letter, pattern in _TITLES.items():
        for k, title in enumerate(titles):
            match = re.fullmatch(pattern, title.strip(), re.IGNORECASE)
            scale = _scale(match["unit"], letter) if match is not None else None
            if scale is not None and letter not in found:
                found[letter] = (k, scale)
    return found if len(found) == len(_TITLES) else None


def _scale(unit: str, letter: str) -> float | None:
    # Upper and lower case are taken as written: MV is no mV.
    try:
        return factor(unit) if si_unit(unit) == _UNIT_OF[letter] else None
    except OutsideDomain:
        return None
