"""The parameters of a hop: one object from the experiment file to the hop controller, and the bounds of its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.units import to_si

# Bounds in the units of the keys, inclusive except for 0; used by the models of the file and by `HopParameters`.
AMPLITUDE_NM: Final = (1, 20_000)
FALL_NM_PER_MS: Final = (0.01, 1000)
SETPOINT_PCT: Final = (0, 50)
APPROACH_UM: Final = (0, 1000)
SETTABLE: Final = ("setpoint_pct", "fall_nm_per_ms", "amplitude_nm")
"""Keys of a hopping step that a command may change while it runs."""

_BOUNDS: Final = tuple(
    (name, to_si(key, low), to_si(key, high), unit)
    for name, key, (low, high), unit in (
        ("amplitude", "amplitude_nm", AMPLITUDE_NM, "m"),
        ("fall_rate", "fall_nm_per_ms", FALL_NM_PER_MS, "m/s"),
        ("setpoint", "setpoint_pct", SETPOINT_PCT, "(a 2 % drop is 0.02)"),
        ("approach", "approach_um", APPROACH_UM, "m"),
    )
)


@dataclass(frozen=True, slots=True)
class BiasLevels:
    """Potentials of the pipette electrode [V vs Li/Li+] at the top of every hop, each for `dwell` [s].

    Of each dwell the first `blanking` [s] are not analysed: the stray capacitance charges then.
    """

    levels: tuple[float, ...]
    dwell: float
    blanking: float

    @property
    def duration(self) -> float:
        """Time that all levels take in one hop [s]."""
        return self.dwell * len(self.levels)


@dataclass(frozen=True, slots=True)
class HopParameters:
    """`amplitude` [m] withdrawn after a contact, `fall_rate` [m/s] of the approach, `setpoint` (relative drop), and
    `approach` [m], the longest approach, after which the outcome is no contact.

    Raises `OutsideDomain` for a value out of bounds, whether it comes from a file, a command or a program.
    """

    amplitude: float
    fall_rate: float
    setpoint: float
    approach: float
    bias_levels: BiasLevels | None = None

    def __post_init__(self) -> None:
        for name, low, high, unit in _BOUNDS:
            value = getattr(self, name)
            if not (low <= value <= high and value > 0.0):
                limit = f"must be above {low:g}" if low == 0.0 else f"must be at least {low:g}"
                limit += f" and at most {high:g} {unit}"
                problem = Problem(f"hop {name.replace('_', ' ')}", f"{value:g}", limit, "give a value within the limit")
                raise OutsideDomain(problem)

    @property
    def fall_time(self) -> float:
        """Time of one approach over the amplitude [s]."""
        return self.amplitude / self.fall_rate
