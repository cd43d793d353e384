"""How a step hops: what may change while it runs, and what the wire does at the top."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HopWords:
    """`amplitude` [m] withdrawn after a contact, `fall_rate` [m/s], `setpoint` (relative drop)."""

    amplitude: float
    fall_rate: float
    setpoint: float


@dataclass(frozen=True, slots=True)
class Modulation:
    """Potentials of the wire [V vs Li/Li+] at the top of every hop, each for `dwell` [s]."""

    levels: tuple[float, ...]
    dwell: float
