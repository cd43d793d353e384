"""Signs: one module, one table, one test.

The potentiostat holds its working electrode, the specimen, at system ground. The potential E asked of the specimen
is therefore applied, inverted, to the shared reference electrode, which sits at -E against ground. The amplifier's
command is added to its own working electrode, the wire in the pipette. With common grounds the wire stands at
V_cmd - (-E) = V_cmd + E against the reference, so to hold it at V_tip

    V_cmd = V_tip - E,

E being the *actual* potential of the specimen against the reference: measured, or, with iR compensation,
E_set + f i R_u. Source: the circuit described in JACS Au 2023, 3, 1089 (methods); the relation is implied there.
"""

from __future__ import annotations

from typing import Final

from opsicm.errors import OutsideDomain, Problem

GROUNDINGS: Final = ("common",)
"""How the grounds may be joined: the relation above holds for these."""

SIGNS: Final[dict[str, str]] = {
    "cell_current": "negative lithiates the specimen",
    "cell_potential": "specimen against Li/Li+ at the reference electrode",
    "pipette_current": "positive flows out of the pipette into the bath",
    "pipette_bias": "command added to the pipette wire against amplifier ground",
    "z": "positive is up, away from the specimen",
}
"""Quantity → what a positive number means. Every channel and every figure takes its convention from here."""


def command_for(tip_potential: float, cell_potential: float) -> float:
    """V_cmd [V] that holds the pipette wire at `tip_potential` [V vs Li/Li+], the specimen being at `cell_potential`.

    V_cmd = V_tip - E. For the common grounding; `cell_potential` is the actual potential, not the set one.
    """
    return tip_potential - cell_potential


def tip_potential_of(command: float, cell_potential: float) -> float:
    """V_tip [V vs Li/Li+] that a command makes: the inverse of `command_for`, for residuals and read-backs."""
    return command + cell_potential


def command_span(tip_potential: float, cell_low: float, cell_high: float) -> tuple[float, float]:
    """(lowest, highest) V_cmd [V] over a program whose cell potential stays within [cell_low, cell_high]."""
    if cell_low > cell_high:
        raise OutsideDomain(
            Problem("cell potential range", f"{cell_low:g} … {cell_high:g} V", "must ascend", "swap the two numbers")
        )
    return command_for(tip_potential, cell_high), command_for(tip_potential, cell_low)
