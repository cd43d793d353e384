"""Figures as a person reads them: 3.19 nA, not 3190 pA; below 0.01 %, not 2.3e-07 %."""

from __future__ import annotations

import math
from typing import Final

_PREFIXES: Final = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_LEAST_SHARE: Final = 1e-4
_LEAST_COUNT: Final = 1e-3


def amount(value: float, unit: str, digits: int = 3) -> str:
    """`value` in SI with the prefix that leaves one to three figures before the point: `3.19 nA`."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    rounded = float(f"{value:.{digits - 1}e}")
    power = min(max(3 * math.floor(math.log10(abs(rounded)) / 3.0), min(_PREFIXES)), max(_PREFIXES))
    figure = rounded / 10.0**power
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(figure))))
    return f"{figure:.{decimals}f} {_PREFIXES[power]}{unit}"


def percent(share: float) -> str:
    """A share [1] in percent, two figures; what is below a hundredth of a percent is called that."""
    return f"{share * 100:.2g} %" if share >= _LEAST_SHARE else "less than 0.01 %"


def expected(count: float) -> str:
    """How many events are to be expected: `none` where there would be one in a thousand runs."""
    return "none" if count < _LEAST_COUNT else f"{count:.2g}"
