"""Numbers with units as people write them: `30 min`, `1 h 30 min`, `C/5`, `0.4 mA/cm²`, `[20 um, 20 um]`.

A key whose name ends in a unit takes a plain number in that unit, `for_s: 1800`. The same word without the unit takes a
number with its unit, `for: 30 min`. Both in one, `for_s: 30 min`, is refused and not converted: one of the two units is
a slip of the pen, and only the writer knows which. The message then gives the number for either.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import KEY_SUFFIX, factor, si_unit, suffix_of

C_RATE: Final = "C-rate"
"""The unit of `c_rate`: the capacity of the specimen per hour. In a file it is written C, which is the coulomb too; the
key decides."""

_SPELLINGS: Final = {
    spelling: unit
    for unit, spellings in {
        "ms": ("msec", "millisecond", "milliseconds"),
        "s": ("sec", "secs", "second", "seconds"),
        "min": ("mins", "minute", "minutes"),
        "h": ("hr", "hrs", "hour", "hours"),
        "d": ("day", "days"),
        "nm": ("nanometre", "nanometres", "nanometer", "nanometers"),
        "um": ("micron", "microns", "micrometre", "micrometres", "micrometer", "micrometers"),
        "mm": ("millimetre", "millimetres", "millimeter", "millimeters"),
        "V": ("volt", "volts", "V vs Li", "V vs Li/Li+", "V vs. Li", "V vs. Li/Li+"),
        "mV": ("mV vs Li", "mV vs Li/Li+", "mV vs. Li", "mV vs. Li/Li+"),
        "%": ("percent", "per cent"),
        "deg": ("°", "degree", "degrees"),
        "M": ("mol/L", "mol/l"),
        "mM": ("mmol/L", "mmol/l"),
        "C": ("C-rate",),
    }.items()
    for spelling in spellings
}
_DIMENSIONS: Final = {
    "s": "a time",
    "m": "a length",
    "V": "a potential",
    "V/s": "a rate of a potential",
    "A": "a current",
    "A/m2": "a current per area",
    "C": "a charge",
    "m/s": "a speed",
    "m2": "an area",
    "mol/m3": "a concentration",
    "rad": "an angle",
    "A/V": "a current per voltage",
    "m/V": "a length per voltage",
    "1/s": "a change of a share with time",
    "Hz": "a frequency",
    "1": "a share",
    C_RATE: "a C-rate",
}
_NUMBER: Final = r"(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_VALUE: Final = re.compile(rf"(?P<value>[-+]?\s*{_NUMBER}(?:\s*/\s*{_NUMBER})?)\s*(?P<unit>[^\s0-9.,:_/'].*)?")
_C_OVER: Final = re.compile(rf"(?P<sign>[-+]?)\s*(?P<times>{_NUMBER})?\s*C\s*/\s*(?P<hours>{_NUMBER})")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)\s*")
_DURATION: Final = re.compile(rf"(?:{_DURATION_PART.pattern}){{2,4}}")
_CLOCK: Final = re.compile(r"([0-9]{1,5}):([0-5]?[0-9])(?::([0-5]?[0-9](?:\.[0-9]+)?))?")
_GROUPED: Final = re.compile(r"[-+]?[0-9]{1,3}(?:[,_' ][0-9]{3})+(?:\.[0-9]+)?")
_UNDERSCORED: Final = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")
_LONGEST: Final = 60  # characters of a quantity: a text from a hostile file is not searched through


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit, a unit of `core.units`, `C_RATE`, or empty where none was written."""

    value: float
    unit: str

    def in_unit(self, unit: str) -> float | None:
        """The number in another unit of the same dimension; None where the dimensions differ."""
        written = C_RATE if unit == C_RATE and self.unit == "C" else self.unit
        if written == unit:
            return self.value
        if dimension(written) is None or dimension(written) != dimension(unit):
            return None
        # 4 um are 4000 nm and not 4000.0000000000005: a person wrote fewer than 15 digits.
        return float(f"{self.value * (factor(written) / factor(unit)):.15g}")


def dimension(unit: str) -> str | None:
    """The SI unit of a unit, as its dimension; None for a unit that is not known."""
    if unit == C_RATE:
        return C_RATE
    try:
        return si_unit(unit)
    except OutsideDomain:
        return None


def dimension_text(unit: str) -> str:
    """What a unit measures: `a time`, or `something in mg/cm2`."""
    return _DIMENSIONS.get(dimension(unit) or "", f"something in {unit}")


def unit_of_key(key: str) -> str | None:
    """The unit that the name of a key states (`rest_s` → s, `c_rate` → the C-rate); None where it states none."""
    if key == "c_rate":
        return C_RATE
    suffix = suffix_of(key)
    return None if suffix is None else KEY_SUFFIX[suffix]


def words_of_key(key: str) -> tuple[str, ...]:
    """A key without its unit, which takes a number with its unit: `rest` for `rest_s`; `rate`, `current` for c_rate."""
    if key == "c_rate":
        return "rate", "current"
    suffix = suffix_of(key)
    return () if suffix in (None, key) else (key.removesuffix(f"_{suffix}"),)


def unit_named(text: str) -> str | None:
    """The unit that a text names in one of its spellings (`µm`, `mA cm⁻²`, `minutes`); None where it names none."""
    plain = _plain(text)
    for spelling in (plain, re.sub(r"(?<=\S) ?([a-zA-Z]+)-([12])$", _inverse, plain)):
        if dimension(_SPELLINGS.get(spelling, spelling)) is not None:
            return _SPELLINGS.get(spelling, spelling)
    lower = plain.lower()
    return _SPELLINGS.get(lower) if len(lower) > 2 else None  # mV is not MV, but Minutes are minutes


def _inverse(match: re.Match[str]) -> str:
    return f"/{match[1]}{match[2] if match[2] != '1' else ''}"


def _plain(text: str) -> str:
    """A text without typographic variants: µ is u, ² is 2, − is -, · is a space."""
    text = unicodedata.normalize("NFKC", text).replace("μ", "u").replace("−", "-").replace("⁺", "+")
    return re.sub(r"\s+", " ", re.sub(r"[·*]", " ", text.replace("^", ""))).strip()


def quantity(text: str) -> Quantity | None:
    """The number and the unit in a text; the unit is empty where there is none. None for whatever is no quantity."""
    text = _plain(text) if len(text) <= _LONGEST else ""
    if text.lstrip("+-").strip() == "C":  # one capacity an hour
        return Quantity(-1.0 if text.startswith("-") else 1.0, "C")
    if over := _C_OVER.fullmatch(text):
        value = _ratio(f"{over['sign']}{over['times'] or 1}/{over['hours']}")
        return None if value is None else Quantity(value, "C")
    if _DURATION.fullmatch(text) and (duration := _duration(_DURATION_PART.findall(text))) is not None:
        return duration
    match = _VALUE.fullmatch(text)
    if match is None:
        return None
    value, unit = _ratio(match["value"]), unit_named(match["unit"]) if match["unit"] else ""
    return None if value is None or unit is None else Quantity(value, unit)


def unknown_unit(text: str) -> str | None:
    """What stands in the place of a unit after a number, where it is no unit that is known."""
    match = _VALUE.fullmatch(_plain(text)) if len(text) <= _LONGEST else None
    return match["unit"] if match is not None and match["unit"] and unit_named(match["unit"]) is None else None


def _ratio(text: str) -> float | None:
    """The value of `0.3`, `-1/5`, `+ 2`; None for a division by zero and for what no float holds."""
    over, _, under = text.replace(" ", "").partition("/")
    numerator, denominator = float(over), float(under or 1.0)
    value = numerator / denominator if denominator else float("inf")
    return value if abs(value) < float("inf") else None


def _duration(parts: Iterable[tuple[str, str]]) -> Quantity | None:
    """The sum of `1 h 30 min` in seconds; the units must be times, the largest first."""
    seconds, last = 0.0, float("inf")
    for number, word in parts:
        unit = unit_named(word)
        if unit is None or dimension(unit) != "s" or factor(unit) >= last:
            return None
        last = factor(unit)
        seconds += float(number) * last
    return Quantity(float(f"{seconds:.15g}"), "s")


# -- What was probably meant by a text that is no quantity.


DECIMAL_POINT: Final = "with a decimal point"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A value that a text may stand for in the unit of its key, and how it was read; empty where there is one way."""

    value: float
    reading: str = ""


def meanings(text: str, unit: str | None) -> tuple[Meaning, ...]:
    """What a text without a unit may mean, as a number in `unit`, likeliest first; empty where nothing is likely.

    `1:30` is minutes and seconds, as YAML 1.1 and a stopwatch read it, or hours and minutes; `1,500` is 1500 or 1.5.
    All readings are given, because one alone would be wrong by a factor for somebody.
    """
    text = _plain(text) if len(text) <= _LONGEST else ""
    if clock := _CLOCK.fullmatch(text):
        return _clock(clock, unit)
    if _UNDERSCORED.fullmatch(text):  # 1_000, as in a programming language and in YAML 1.1
        return (Meaning(float(text.replace("_", ""))),)
    if _GROUPED.fullmatch(text):
        together = Meaning(float(re.sub("[,_' ]", "", text)), "where the digits are grouped")
        if text.count(",") == 1 and "." not in text and " " not in text and "'" not in text:
            return Meaning(float(text.replace(",", ".")), DECIMAL_POINT), together
        return (Meaning(together.value),)
    if text.count(",") == 1 and (decimal := _VALUE.fullmatch(text.replace(",", "."))) and not decimal["unit"]:
        value = _ratio(decimal["value"])
        return () if value is None else (Meaning(value, DECIMAL_POINT),)
    plain = quantity(text)
    return (Meaning(plain.value),) if plain is not None and not plain.unit else ()


def _clock(match: re.Match[str], unit: str | None) -> tuple[Meaning, ...]:
    if unit is None or dimension(unit) != "s":
        return ()
    first, second, third = int(match[1]), int(match[2]), match[3]
    if third is not None:
        readings = {f"{first} h {second} min {third} s": 3600.0 * first + 60.0 * second + float(third)}
    else:
        readings = {
            f"{first} min {second} s": 60.0 * first + second,
            f"{first} h {second} min": 3600.0 * first + 60.0 * second,
        }
    return tuple(Meaning(float(f"{seconds / factor(unit):.15g}"), reading) for reading, seconds in readings.items())


_PRODUCT: Final = re.compile(r"([0-9.]+)\s*(?:[xX×]|by)\s*([0-9.]+)")


def pair_in(text: str) -> tuple[float, float] | None:
    """The two numbers of `64 x 64`; None for another text."""
    match = _PRODUCT.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    try:
        return None if match is None else (float(match[1]), float(match[2]))
    except ValueError:
        return None
