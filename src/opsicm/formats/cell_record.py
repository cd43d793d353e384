"""Records of battery cyclers and potentiostats, as every reader of such a file returns them."""

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

# Column titles of the instruments: a word, and a unit in brackets or after a slash.
_TITLES: Final[Mapping[str, str]] = {
    "t": r"(?:time|(?:test|total|elapsed|corrected)[ _]time) ?[\[(/](?P<unit>s|min|h)[\])]?",
    "E": r"(?:ewe|<ewe>|ecell|e|voltage|potential|potential applied|we\(1\)\.potential) ?[\[(/](?P<unit>m?V)[\])]?",
    "I": r"(?:<i>|i|current|we\(1\)\.current) ?[\[(/](?P<unit>[munµ]?A)[\])]?",
}
_UNIT_OF: Final = {"t": "s", "E": "V", "I": "A"}


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A continuous record: `t` [s], `potential` [V] against the instrument's reference, `current` [A] anodic positive.

    (n,) each. `name` is empty where a file holds one record. `counters` are the instrument's own integrals of the
    current [C] by their titles, and `clock` its wall clock [s since 1970], where the file has them. `potential_step`
    [V], `current_step` [A]: what the last digit of a column stands for, 0 where it is not known.
    """

    name: str
    t: F64
    potential: F64
    current: F64
    counters: Mapping[str, F64] | None = None
    clock: F64 | None = None
    potential_step: float = 0.0
    current_step: float = 0.0


@dataclass(frozen=True, slots=True)
class CellFile:
    """All records of a file, its format's name and further settings; `notes` state what the reader assumed."""

    format: str
    records: tuple[CellRecord, ...]
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()


def cell_columns(titles: Sequence[str]) -> dict[str, tuple[int, float]] | None:
    """Column number and factor to SI of t, E and I among `titles`; None where one of the three is missing."""
    columns: dict[str, tuple[int, float]] = {}
    for letter, pattern in _TITLES.items():
        for k, title in enumerate(titles):
            match = re.fullmatch(pattern, title.strip(), re.IGNORECASE)
            scale = _scale(match["unit"], letter) if match is not None else None
            if scale is not None and letter not in columns:
                columns[letter] = (k, scale)
    return columns if len(columns) == len(_TITLES) else None


def _scale(unit: str, letter: str) -> float | None:
    # Case matters: MV is not mV.
    try:
        return factor(unit) if si_unit(unit) == _UNIT_OF[letter] else None
    except OutsideDomain:
        return None
