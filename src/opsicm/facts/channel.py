"""Channels: the quantities that are sampled, always under these names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Policy = Literal["full", "decimated", "off"]


class Quality(IntEnum):
    """State of a channel during a block."""

    GOOD = 0
    SATURATED = 1
    STALE = 2
    MISSING = 3
    SUSPECT = 4


@dataclass(frozen=True, slots=True)
class Channel:
    """One sampled quantity: SI value = counts * scale + offset.

    `sign` says in words what a positive number means; `source` names the device; `filter_Hz` is the −3 dB
    frequency of the low-pass before the converter, None where there is none.
    """

    name: str
    quantity: str
    unit: str
    sign: str
    scale: float
    offset: float
    source: str
    filter_Hz: float | None = None
    policy: Policy = "full"

    def si(self, counts: NDArray[np.int16]) -> NDArray[np.float64]:
        """Counts in SI units."""
        return counts.astype(np.float64) * self.scale + self.offset


# name → (quantity, unit, what positive means)
MEANING: Final[dict[str, tuple[str, str, str]]] = {
    "pipette_current": (
        "ion current through the pipette",
        "A",
        "positive flows out of the pipette into the bath",
    ),
    "z": ("measured height of the pipette", "m", "positive is up, away from the specimen"),
    "z_command": ("commanded height of the pipette", "m", "positive is up, away from the specimen"),
    "pipette_bias": (
        "command voltage at the amplifier",
        "V",
        "added to the pipette electrode against amplifier ground",
    ),
    "cell_potential": ("specimen potential", "V", "against Li/Li+ at the reference electrode"),
    "cell_current": ("current through the specimen", "A", "negative lithiates"),
    "x": ("lateral position", "m", "along the fast axis"),
    "y": ("lateral position", "m", "along the slow axis"),
}


def channel(name: str, scale: float, source: str, offset: float = 0.0, filter_Hz: float | None = None,
            policy: Policy = "full") -> Channel:  # fmt: skip
    """A channel under one of the fixed names, with the meaning that name always has."""
    quantity, unit, sign = MEANING[name]
    return Channel(name, quantity, unit, sign, scale, offset, source, filter_Hz, policy)
