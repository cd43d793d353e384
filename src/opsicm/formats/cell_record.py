"""Records of battery cyclers and potentiostats, as every reader of such a file returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A continuous record: `t` [s], `potential` [V] against the instrument's reference, `current` [A] anodic positive.

    (n,) each. `name` is empty where a file holds one record. `counters` are the instrument's own integrals of the
    current [C] by their titles, and `clock` its wall clock [s since 1970], where the file has them.
    """

    name: str
    t: F64
    potential: F64
    current: F64
    counters: Mapping[str, F64] | None = None
    clock: F64 | None = None


@dataclass(frozen=True, slots=True)
class CellFile:
    """All records of a file, its format's name and further settings.

    `notes` state what the reader assumed, `looks` what a person should look at.
    """

    format: str
    records: tuple[CellRecord, ...]
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
