"""Signs: one module, one table, one test.

The potentiostat holds its working electrode, the specimen, at system ground. The potential E asked of the specimen
is therefore applied, inverted, to the shared reference electrode, which is at -E against ground. The amplifier's
command is added to its own working electrode, the wire in the pipette. With common grounds the wire is at
V_cmd - (-E) = V_cmd + E against the reference, so to hold it at V_tip

    V_cmd = V_tip - E,

E being the *actual* potential of the specimen against the reference: measured, or, with iR compensation,
E_set + f i R_u. With two electrodes there is no potentiostat: the reference itself is grounded, the specimen floats,
and the command is the wire's potential, V_cmd = V_tip. Source: the circuit described in JACS Au 2023, 3, 1089
(methods); the relation is implied there.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain, Problem

Volts = TypeVar("Volts", float, NDArray[np.float64])
REFERENCE_FOLLOWS_CELL: Final[dict[str, float]] = {"common": 1.0, "two_electrode": 0.0}
"""Grounding → g, the reference being at -g E against ground and E the specimen's potential against the reference.

`common`: the potentiostat keeps the specimen at ground, so the reference is at -E. `two_electrode`: the reference is
the ground, as in a voltammogram of the pipette alone.
"""
GROUNDINGS: Final = tuple(REFERENCE_FOLLOWS_CELL)

SIGNS: Final[dict[str, str]] = {
    "cell_current": "negative lithiates the specimen",
    "cell_potential": "specimen against Li/Li+ at the reference electrode",
    "pipette_current": "positive flows out of the pipette into the bath",
    "pipette_bias": "command added to the pipette wire against amplifier ground",
    "z": "positive is up, away from the specimen",
}
"""Quantity → what a positive number means. Every channel and every figure takes its convention from here."""


def command_for(tip_potential: float, cell_potential: float, grounding: str = "common") -> float:
    """V_cmd [V] that holds the pipette electrode at `tip_potential` [V vs Li/Li+], the specimen at `cell_potential`.

    V_cmd = V_tip - g E, g of `REFERENCE_FOLLOWS_CELL`; `cell_potential` is the actual potential, not the set one.
    """
    return tip_potential - REFERENCE_FOLLOWS_CELL[grounding] * cell_potential


def tip_potential_of(command: Volts, cell_potential: Volts, grounding: str = "common") -> Volts:
    """V_tip [V vs Li/Li+] at a command: the inverse of `command_for`, for residuals and read-backs."""
    return command + REFERENCE_FOLLOWS_CELL[grounding] * cell_potential


def command_span(
    tip_potential: float, cell_low: float, cell_high: float, grounding: str = "common"
) -> tuple[float, float]:
    """(lowest, highest) V_cmd [V] over a program whose cell potential stays within [cell_low, cell_high]."""
    if cell_low > cell_high:
        raise OutsideDomain(
            Problem("cell potential range", f"{cell_low:g} … {cell_high:g} V", "must ascend", "swap the two numbers")
        )
    return command_for(tip_potential, cell_high, grounding), command_for(tip_potential, cell_low, grounding)
