"""What the title of a column states: its quantity and unit, in the spellings of instruments and of BDF."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import factor, si_unit

# The letter of a column → its SI unit. `I` pipette current, `R` resistance, `V` pipette bias.
# `E` the cell's potential: beside it, I is the cell's current. `sto` the stoichiometry of an open-circuit curve, `c`
# the concentration of a bath.
QUANTITIES: Final[Mapping[str, str]] = {
    "t": "s",
    "I": "A",
    "z": "m",
    "x": "m",
    "y": "m",
    "R": "Ohm",
    "V": "V",
    "E": "V",
    "sto": "1",
    "c": "mol/m3",
}
# Words of a quantity by rank: of two columns of one quantity the lower rank is taken, of two of one rank neither.
_RANKED: Final[Mapping[str, Sequence[str]]] = {
    "t": (
        "test time|testtime|total time|totaltime|cumulative time|elapsed time|time elapsed|corrected time|run time|"
        "runtime|run-time|program duration|prog time|program time|test|gesamtzeit|prüfzeit|laufzeit|总时间|测试时间",
        "time|t|zeit|temps|tiempo|时间",
        "date time|datetime|date and time|timestamp|time stamp|date|dpt time|dpt-time|real time|absolute time|abs time|"
        "absolutetime|systime|system time|record time|unix time|unixtime|uts|epoch|datum|clock|日期",
        "step time|steptime|t-step|relative time|state time|step duration|step",
    ),
    "E": (
        "ewe|potential|voltage|e|u|volts|vf|we(1) potential|spannung|potenzial|potentiel|tension|cell voltage|"
        "cell potential|battery voltage|measured potential|working electrode potential|working electrode|we potential|"
        "e(we)|ocp|ocv|e we|电压",
        "<ewe>|<e>|average voltage",
        "ecell|<ecell>|ewe-ece",
        "potential applied|applied potential",
    ),
    # The mean over an interval comes first: times its duration it is the charge that passed.
    "I": (
        "<i>|average current",
        "i|current|cur|curr|amps|amp|ampere|im|strom|stromstärke|courant|we(1) current|cell current|measured current|"
        "pipette current|ion current|i we|电流",
    ),
    "z": ("z|z-pos|z pos|height|z position|höhe|z height|z sensor",),
    "x": ("x|x-pos|x pos|x position",),
    "y": ("y|y-pos|y pos|y position",),
    "R": ("r|resistance|widerstand",),
    "V": ("v|bias|pipette bias",),
    "sto": ("sto|stoichiometry",),
    "c": ("concentration|salt concentration|conc|salt|konzentration|c(salt)",),
}
_WORDS: Final[Mapping[str, tuple[str, int]]] = {
    word: (letter, rank)
    for letter, ranks in _RANKED.items()
    for rank, words in enumerate(ranks)
    for word in words.split("|")
}
STEP_TIME: Final = 3  # rank of a clock that restarts with each step
WALL_CLOCK: Final = 2
_NEED_UNIT: Final = ("T", "test", "step", "Test", "Step")  # words of other things, but for a unit of time beside them
_UNIT_IN_WORD: Final = {"amps": "A", "amp": "A", "ampere": "A", "volts": "V", "volt": "V", "uts": "s", "unix time": "s"}
_UNIT_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("sec", "secs", "second", "seconds", "sek", "sekunden", "s."), "s"),
    **dict.fromkeys(("msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("minute", "minutes", "mins"), "min"),
    **dict.fromkeys(("hour", "hours", "hr", "hrs", "std"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("volt", "volts"), "V"),
    **dict.fromkeys(("millivolt", "millivolts"), "mV"),
    **dict.fromkeys(("amp", "amps", "ampere", "amperes"), "A"),
    **dict.fromkeys(("milliamp", "milliamps", "milliampere", "milliamperes"), "mA"),
    **dict.fromkeys(("microamp", "microamps", "microampere", "microamperes"), "µA"),
    **dict.fromkeys(("nanoamp", "nanoamps", "nanoampere"), "nA"),
    **dict.fromkeys(("picoamp", "picoamps", "picoampere"), "pA"),
    **dict.fromkeys(("ohm", "ohms", "ω", "Ω".lower()), "Ohm"),
    **dict.fromkeys(("metre", "meter", "metres", "meters"), "m"),
    **dict.fromkeys(("micron", "microns", "micrometer", "micrometre"), "µm"),
    **dict.fromkeys(("nanometer", "nanometre"), "nm"),
    **dict.fromkeys(("å", "ang", "angstrom", "ångström", "ångstrom", "angström"), "Å"),
}
_TIME_FORMAT: Final = re.compile(r"(?:hours in )?(?:d+[: ])?h+:m+(?:in)?:s+(?:[.:,]\w+)?", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"(?P<word>.*?\S)\s*[\[({](?P<unit>[^\[\](){}]+)[\])}]\s*(?:(?:vs|versus)\b.*)?")
_REFERENCE: Final = re.compile(r"\s*[\[(]?\b(?:vs|versus|gegen|against)\b\.?\s*(?P<to>[^\])]*)[\])]?.*$", re.IGNORECASE)
_LATIN_1_OF_UTF_8: Final = (("Âµ", "µ"), ("Î¼", "µ"), ("Ã…", "Å"), ("Î©", "Ω"), ("â„¦", "Ω"), ("μ", "µ"), ("Ω", "Ω"))


@dataclass(frozen=True, slots=True)
class Meaning:
    """Quantity, unit and rank of a title; `letter` is None for a word that is not known, `unit` for a missing one.

    `unit` is one of `core.units`, or "h:mm:ss" for a stated time format, or as written where it is not known.
    """

    title: str
    letter: str | None = None
    unit: str | None = None
    rank: int = 0
    reference: str = ""

    @property
    def factor(self) -> float | None:
        """The factor to SI, None where the unit is missing, unknown, or one of another quantity."""
        if self.letter is None or self.unit is None:
            return None
        if self.unit == "h:mm:ss":
            return 1.0 if self.letter == "t" else None
        return unit_factor(self.unit, QUANTITIES[self.letter])


def unit_factor(unit: str, expected: str) -> float | None:
    """The factor of `unit` to the SI unit `expected`; None for an unknown unit and for one of another quantity."""
    try:
        return factor(unit) if si_unit(unit) == expected else None
    except OutsideDomain:
        return None


def unit_name(text: str) -> str | None:
    """The name in `core.units` of a unit as people write it: "sec", "Volts", "V vs. Ref.", "MΩ"; None for no unit."""
    text = repaired(text).strip().strip("[](){}").strip()
    if _TIME_FORMAT.fullmatch(text):
        return "h:mm:ss"
    text = _REFERENCE.sub("", text).strip() if _REFERENCE.search(text) else text
    for name in (text, text.rstrip("."), _UNIT_WORDS.get(text.lower(), ""), _with_ohm(text)):
        if name and _known(name):
            return name
    return None


def _with_ohm(text: str) -> str:
    """ "MΩ", "Mohm" and "kOhms" as "MOhm" and "kOhm"."""
    match = re.fullmatch(r"(?P<prefix>[kMG]?)(?:Ω|ω|ohms?)", text, re.IGNORECASE)
    return f"{match['prefix']}Ohm" if match else ""


def _known(unit: str) -> bool:
    try:
        si_unit(unit)
    except OutsideDomain:
        return False
    return True


def repaired(text: str) -> str:
    """`text` with the micro sign, Å and Ω, also where UTF-8 was read as latin-1."""
    for wrong, right in _LATIN_1_OF_UTF_8:
        text = text.replace(wrong, right)
    return text


def meaning(title: str) -> Meaning:
    """What a title states: "I [pA]", "Test Time / s", "<Ewe/V>", "E vs. Li/Li+ (V)", "z_um", "voltage_volt"."""
    text = repaired(title).strip().strip('"').strip().lstrip("~#%\ufeff").strip()
    inner = text[1:-1] if text.startswith("<") and text.endswith(">") and "/" in text else text
    whole = _word(inner)
    if whole is not None and whole[3] is None and inner.strip() not in _NEED_UNIT:  # a known word without more
        return Meaning(title, whole[0], whole[2], whole[1])
    for word, unit in _splits(inner):
        known = _word(word)
        name = unit_name(unit)
        if known is not None and (name is not None or known[3] is None):
            if word.strip() in _NEED_UNIT and unit_factor(name or "", "s") is None and name != "h:mm:ss":
                continue  # a temperature, a number of a step
            return Meaning(title, known[0], name or unit.strip(), known[1], _reference(inner))
    if whole is not None and inner.strip() not in _NEED_UNIT:
        return Meaning(title, whole[0], whole[2], whole[1], whole[3] or "")
    return Meaning(title)


def _splits(text: str) -> list[tuple[str, str]]:
    """The ways in which a title may be divided into word and unit, the surest first."""
    splits = []
    match = _BRACKETS.fullmatch(text)
    if match is not None:
        splits.append((match["word"], match["unit"]))
    splits += [(text[:k], text[k + 1 :]) for k, c in enumerate(text) if c == "/"]
    splits += [(text[:k], text[k + 1 :]) for k, c in enumerate(text) if c in "#,"]
    splits += [(text[: match.start()], text[match.end() :]) for match in re.finditer(r"\s+in\s+", text)]
    if "_" in text or " " in text:
        word, _, unit = text.replace("_", " ").rpartition(" ")
        splits.append((word, unit) if unit_name(unit) is not None else (text, ""))
    return [(word, unit) for word, unit in splits if word.strip() and unit.strip()]


def _word(word: str) -> tuple[str, int, str | None, str | None] | None:
    """Letter, rank, unit and reference electrode of a word."""
    text = word.strip().strip(":").strip()
    if text == "T":
        text = "t"
    for spelled in (text, _REFERENCE.sub("", text)):
        key = " ".join(spelled.replace("_", " ").replace(".", " ").lower().split()).strip(" (")
        if key in _WORDS:
            letter, rank = _WORDS[key]
            reference = _reference(word)
            return letter, rank, _UNIT_IN_WORD.get(key), reference or None
    return None


def _reference(text: str) -> str:
    match = _REFERENCE.search(text)
    return re.split(r"\s*[\[(/]\s*m?V\b", match["to"])[0].strip() if match is not None else ""


def is_unit_row(fields: Sequence[str]) -> bool:
    """Whether the fields of a row are units: below titles, as in "s", "V", "mA"."""
    written = [field.strip() for field in fields if field.strip()]
    units = [field for field in written if unit_name(field) is not None or field in ("-", "#", "°C", "C", "K", "W")]
    return len(units) >= 2 and 2 * len(units) > len(written) and not any(_digits(f) for f in written)


def _digits(field: str) -> bool:
    return field not in ("1", "%") and any(c.isdigit() for c in field) and unit_name(field) is None


def meanings(titles: Sequence[str], units: Sequence[str] = ()) -> list[Meaning]:
    """The meaning of each title; `units` of a row below complete those that state none."""
    result = []
    for k, title in enumerate(titles):
        one = meaning(title)
        below = units[k].strip() if k < len(units) else ""
        if one.letter is not None and one.unit is None and below:
            one = Meaning(title, one.letter, unit_name(below) or below, one.rank, _reference(below) or one.reference)
        result.append(one)
    return result


def stated_unit(title: str) -> str | None:
    """The unit that a title of any word states, or None."""
    text = repaired(title).strip().strip('"').strip()
    inner = text[1:-1] if text.startswith("<") and text.endswith(">") and "/" in text else text
    for _, unit in _splits(inner):
        name = unit_name(unit)
        if name is not None:
            return name
    return _UNIT_IN_WORD.get(inner.lower())
