"""Units at the edge: the factor that takes a number in a unit to SI, and the unit in the name of a key."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from opsicm.core.errors import OutsideDomain, Problem

# Unit → (factor to SI, SI unit). A list rather than a parser: a file format should fail on "nV/h".
_UNITS: Final[dict[str, tuple[float, str]]] = {
    "1": (1.0, "1"),
    "%": (0.01, "1"),
    "s": (1.0, "s"),
    "ms": (1e-3, "s"),
    "us": (1e-6, "s"),
    "µs": (1e-6, "s"),
    "ns": (1e-9, "s"),
    "min": (60.0, "s"),
    "h": (3600.0, "s"),
    "d": (86400.0, "s"),
    "m": (1.0, "m"),
    "cm": (1e-2, "m"),
    "mm": (1e-3, "m"),
    "um": (1e-6, "m"),
    "µm": (1e-6, "m"),
    "nm": (1e-9, "m"),
    "Å": (1e-10, "m"),
    "pm": (1e-12, "m"),
    "V": (1.0, "V"),
    "mV": (1e-3, "V"),
    "uV": (1e-6, "V"),
    "µV": (1e-6, "V"),
    "V/s": (1.0, "V/s"),
    "mV/s": (1e-3, "V/s"),
    "uV/s": (1e-6, "V/s"),
    "mV/h": (1e-3 / 3600.0, "V/s"),
    "mV/min": (1e-3 / 60.0, "V/s"),
    "A": (1.0, "A"),
    "mA": (1e-3, "A"),
    "uA": (1e-6, "A"),
    "µA": (1e-6, "A"),
    "nA": (1e-9, "A"),
    "pA": (1e-12, "A"),
    "fA": (1e-15, "A"),
    "fA/rtHz": (1e-15, "A/rtHz"),
    "A/m2": (1.0, "A/m2"),
    "mA/cm2": (10.0, "A/m2"),
    "uA/cm2": (1e-2, "A/m2"),
    "A/cm2": (1e4, "A/m2"),
    "C": (1.0, "C"),
    "mAh": (3.6, "C"),
    "uAh": (3.6e-3, "C"),
    "Ah": (3600.0, "C"),
    "mAh/g": (3600.0, "C/kg"),
    "C/kg": (1.0, "C/kg"),
    "Ohm": (1.0, "Ohm"),
    "kOhm": (1e3, "Ohm"),
    "MOhm": (1e6, "Ohm"),
    "GOhm": (1e9, "Ohm"),
    "Ohm m2": (1.0, "Ohm m2"),
    "Ohm cm2": (1e-4, "Ohm m2"),
    "S/m": (1.0, "S/m"),
    "mS/cm": (0.1, "S/m"),
    "S m2/mol": (1.0, "S m2/mol"),
    "mol/m3": (1.0, "mol/m3"),
    "M": (1e3, "mol/m3"),
    "mM": (1.0, "mol/m3"),
    "kg/mol": (1.0, "kg/mol"),
    "m2": (1.0, "m2"),
    "cm2": (1e-4, "m2"),
    "mm2": (1e-6, "m2"),
    "m2/s": (1.0, "m2/s"),
    "cm2/s": (1e-4, "m2/s"),
    "m/s": (1.0, "m/s"),
    "mm/s": (1e-3, "m/s"),
    "nm/ms": (1e-6, "m/s"),
    "um/V": (1e-6, "m/V"),
    "um/s": (1e-6, "m/s"),
    "um/ms": (1e-3, "m/s"),
    "nm/s": (1e-9, "m/s"),
    "nm/min": (1e-9 / 60.0, "m/s"),
    "ppm": (1e-6, "1"),
    "mV/V": (1e-3, "1"),
    "V/A": (1.0, "V/A"),
    "mV/pA": (1e9, "V/A"),
    "mA/V": (1e-3, "A/V"),
    "nA/V": (1e-9, "A/V"),
    "A/V": (1.0, "A/V"),
    "m/V": (1.0, "m/V"),
    "%/min": (1e-2 / 60.0, "1/s"),
    "V/V": (1.0, "1"),
    "kg/m2": (1.0, "kg/m2"),
    "mg/cm2": (1e-2, "kg/m2"),
    "kg/m3": (1.0, "kg/m3"),
    "g/cm3": (1e3, "kg/m3"),
    "Pa s": (1.0, "Pa s"),
    "mPa s": (1e-3, "Pa s"),
    "K": (1.0, "K"),
    "F": (1.0, "F"),
    "pF": (1e-12, "F"),
    "F/m2": (1.0, "F/m2"),
    "uF/cm2": (1e-2, "F/m2"),
    "C/m2": (1.0, "C/m2"),
    "mC/m2": (1e-3, "C/m2"),
    "Hz": (1.0, "Hz"),
    "kHz": (1e3, "Hz"),
    "MHz": (1e6, "Hz"),
    "kS/s": (1e3, "Hz"),
    "deg": (0.017453292519943295, "rad"),
    "rad": (1.0, "rad"),
}

# The unit a key name ends in → the unit above. Longest endings first when read.
KEY_SUFFIX: Final[dict[str, str]] = {
    "nm_per_ms": "nm/ms",
    "um_per_V": "um/V",
    "mV_per_V": "mV/V",
    "mV_per_pA": "mV/pA",
    "V_A": "V/A",
    "mA_per_V": "mA/V",
    "nA_per_V": "nA/V",
    "pct_per_min": "%/min",
    "V_per_V": "V/V",
    "mA_cm2": "mA/cm2",
    "mg_cm2": "mg/cm2",
    "mC_m2": "mC/m2",
    "mV_s": "mV/s",
    "mm_s": "mm/s",
    "m_s": "m/s",
    "nm_min": "nm/min",
    "mV_h": "mV/h",
    "uV": "uV",
    "pF": "pF",
    "fA_rtHz": "fA/rtHz",
    "ppm": "ppm",
    "kS_s": "kS/s",
    "mS_cm": "mS/cm",
    "S_m": "S/m",
    "cm2": "cm2",
    "pct": "%",
    "nm": "nm",
    "um": "um",
    "mm": "mm",
    "m": "m",
    "mV": "mV",
    "mA": "mA",
    "nA": "nA",
    "pA": "pA",
    "mAh": "mAh",
    "MOhm": "MOhm",
    "ms": "ms",
    "us": "us",
    "Hz": "Hz",
    "kHz": "kHz",
    "deg": "deg",
    "min": "min",
    "V": "V",
    "M": "M",
    "s": "s",
    "h": "h",
}


def at_least(value: float, digits: int = 2) -> str:
    """A value above 0 with few digits and never below it, so that a remedy holds: 1.84 with two digits is 1.9."""
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    # 3.0000000000000004, as 0.3 in tenths is in binary, is not more than 3.
    return f"{math.ceil(value / step * (1.0 - 1e-12)) * step:.6g}"


def at_most(value: float, digits: int = 2) -> str:
    """A value above 0 with few digits and never above it, so that a remedy holds: 1.86 with two digits is 1.8."""
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return f"{math.floor(value / step * (1.0 + 1e-12)) * step:.6g}"


def factor(unit: str) -> float:
    """The number that takes a value in `unit` to SI; raises `OutsideDomain` for a unit that is not known."""
    return _look_up(unit)[0]


def si_unit(unit: str) -> str:
    """The SI unit that `unit` becomes; raises `OutsideDomain` for a unit that is not known."""
    return _look_up(unit)[1]


def _look_up(unit: str) -> tuple[float, str]:
    try:
        return _UNITS[unit]
    except KeyError:
        known = ", ".join(_UNITS)
        raise OutsideDomain(Problem("unit", repr(unit), f"known units are {known}", "write one of these")) from None


@lru_cache(maxsize=1024)
def suffix_of(key: str) -> str | None:
    """The unit ending of a key (`rate_mV_s` → `mV_s`), or None when it has none."""
    # A key may be its unit and no more, as pct_per_min; but no key `s` is a time.
    endings = [ending for ending in KEY_SUFFIX if key.endswith(f"_{ending}") or (key == ending and "_per_" in ending)]
    return max(endings, key=len) if endings else None


def to_si(key: str, value: float) -> float:
    """`value` of a key whose name carries its unit, in SI: `to_si("rate_mV_s", 0.3)` is 0.0003."""
    suffix = suffix_of(key)
    if suffix is None:
        raise OutsideDomain(Problem("key", repr(key), "carries no unit", "end its name in one, as rate_mV_s"))
    return value * factor(KEY_SUFFIX[suffix])
