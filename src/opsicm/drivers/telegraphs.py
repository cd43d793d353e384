"""Telegraphs: how a patch clamp with switches says by wires which position they are in.

Each of gain, filter and mode has an output whose voltage (or whose bits) stands for a position. The tables of
amplifiers whose tables are published are here; a rig file may state its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

VOLTAGE_CLAMP: Final = "voltage_clamp"
_TOLERANCE: Final = 0.4
"""Of the smallest step between two positions: below half of it no voltage is two positions, and a few per cent are left
between them, where a loose wire is noticed instead of being rounded to a neighbour."""
_WIDEST: Final = 0.2  # [V]: of a table with one position, or with few far apart

Table = Mapping[float, float | str]
"""Volts of an analogue telegraph, or the number that digital lines make (the first line is its lowest bit) → value."""


@dataclass(frozen=True, slots=True)
class Telegraphs:
    """The tables of one amplifier: gain [mV/pA], filter [kHz], mode; `source` is where they are published."""

    gain: Table = field(default_factory=dict)
    filter: Table = field(default_factory=dict)
    mode: Table = field(default_factory=dict)
    source: str = ""


PUBLISHED: Final[Mapping[str, Telegraphs]] = {
    # The gain is αβ, the headstage's factor included, so it is the scaled output's in voltage clamp and in track; in
    # current clamp the same voltages stand for mV/mV. Positions below 0.5 mV/pA exist with β = 0.1 only.
    "axopatch_200b": Telegraphs(
        gain={
            0.5: 0.05,
            1.0: 0.1,
            1.5: 0.2,
            2.0: 0.5,
            2.5: 1.0,
            3.0: 2.0,
            3.5: 5.0,
            4.0: 10.0,
            4.5: 20.0,
            5.0: 50.0,
            5.5: 100.0,
            6.0: 200.0,
            6.5: 500.0,
        },
        filter={2.0: 1.0, 4.0: 2.0, 6.0: 5.0, 8.0: 10.0, 10.0: 100.0},
        mode={1.0: "current_clamp_fast", 2.0: "current_clamp", 3.0: "current_zero", 4.0: "track", 6.0: VOLTAGE_CLAMP},
        source="mode: Axopatch 200B Theory and Operation, 2500-121 Rev D, p. 66; gain and filter: ACQ4, "
        "devices/AxoPatch200, with which WinWCP's AmpModule agrees for the gain",
    ),
    # Five digital lines: bits 0 to 2 count the six positions of a range, bits 3 and 4 are the range, of which medium
    # is 0, high 1 and low 2.
    "epc_8": Telegraphs(
        gain={
            float(8 * code + k): scale * step
            for code, scale in ((0, 1.0), (1, 100.0), (2, 0.01))
            for k, step in enumerate((0.5, 1.0, 2.0, 5.0, 10.0, 20.0))
        },
        source="WinWCP's AmpModule, GetEPC8Gain, tried there with an amplifier; the manual's page was not at hand",
    ),
}
"""Amplifier → its tables. A MultiClamp 700A or 700B has no such outputs: its program tells other programs the settings
by messages of Windows, which this driver does not hear; its positions are then not read back."""


def position(table: Table, told: float) -> float | str | None:
    """The value of the position that is `told`, in volts or as a number of bits; None where it is none of them."""
    code = min(table, key=lambda each: abs(each - told))
    return table[code] if abs(code - told) <= tolerance(table) else None


def tolerance(table: Table) -> float:
    """[V] by which a voltage may miss its position."""
    codes = sorted(table)
    smallest = min((after - before for before, after in itertools.pairwise(codes)), default=math.inf)
    return min(_TOLERANCE * smallest, _WIDEST)


def parsed(text: str, words: bool) -> Table:
    """The table that a rig file states as `0.5:0.05, 1.0:0.1`; raises `ValueError` where it is none.

    `words`: the values are words, as those of a mode.
    """
    pairs = [part.split(":") for part in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(text)
    table: dict[float, float | str] = {}
    for told, value in pairs:
        code = float(told)
        if not math.isfinite(code) or code in table or not value.strip():
            raise ValueError(text)
        table[code] = value.strip() if words else _positive(value)
    return table


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < math.inf:
        raise ValueError(text)
    return value
