"""What stands in one field of a text table: a number, a duration, a time of day, or a date with a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SPACES: Final = "\u00a0\u202f\u2009"
_EXPONENT: Final = r"(?:[eEdD][+-]?\d+)?"
_SPECIAL: Final = re.compile(r"[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
_DIGITS: Final = re.compile(rf"[+\-−]?(?P<body>[\d.,' {_SPACES}]*\d[.,]?)(?P<exponent>[eEdD][+-]?\d+)?")
# What instruments write for "no value"; anything with a digit in it that is no number is damage instead.
_MISSING: Final = frozenset(
    (
        *("-", "--", "---", "n/a", "na", "#n/a", "#div/0!", "#value!", "#ref!", "#num!", "#null!", "#name?", "nan"),
        *("none", "null", "?", "*", "n. def.", "n.def.", "overload", "overflow", "ovl", "ovld", "ol", "over", "error"),
        *("err", "1.#qnan", "-1.#ind", "1.#inf", "-1.#inf", "-nan(ind)", "#nv", "#n/v", "#wert!", "#zahl!", "#bezug!"),
    )
)

_TIME: Final = r"(?P<h>\d{1,5}):(?P<m>\d{1,2}):(?P<s>\d{1,2}(?:[.,]\d*)?)"
_DURATION: Final = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<d>\d+)\s*(?:d|days?|tage?)?[\s,.\-]\s*)?{_TIME}(?P<half>\s*[AaPp]\.?\s?[Mm]\.?)?"
)
_CLOCK_TIME: Final = (
    r"(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{1,2}(?:[.,]\d*)?))?(?P<half>\s*[AaPp]\.?\s?[Mm]\.?)?"
    r"\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?"
)
_TIME_OF_DAY: Final = re.compile(
    r"(?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{1,2}(?:[.,]\d*)?))?\s*(?P<half>[AaPp])\.?\s?[Mm]\.?"
)
_MONTHS: Final = {
    name: k
    for k, names in enumerate(
        (
            ("jan",),
            ("feb",),
            ("mar", "mär", "mrz"),
            ("apr",),
            ("may", "mai"),
            ("jun",),
            ("jul",),
            ("aug",),
            ("sep",),
            ("oct", "okt"),
            ("nov",),
            ("dec", "dez"),
        ),
        start=1,
    )
    for name in names
}
_DATES: Final = tuple(
    re.compile(rf"(?:[A-Za-z]{{3,9}},?\s+)?{date}(?:[T ,;]+\s*{_CLOCK_TIME})?")
    for date in (
        r"(?P<y>\d{4})[-/.](?P<mo>\d{1,2})[-/.](?P<d>\d{1,2})",
        r"(?P<a>\d{1,2})(?P<mark>[-/.])(?P<b>\d{1,2})[-/.](?P<y>\d{4}|\d{2})",
        r"(?P<d>\d{1,2})[-. ]\s?(?P<name>[^\W\d_]{3,9})\.?[-, ]+(?P<y>\d{4}|\d{2})",
        r"(?P<name>[^\W\d_]{3,9})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})",
    )
)


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How the numbers of a column are written: the decimal mark, and the marks that may group thousands."""

    decimal: str = "."
    grouping: str = ""

    def number(self, token: str) -> float | None:
        """The number that `token` is, or None."""
        token = token.strip().strip('"').strip().replace("−", "-")
        if self._pattern.fullmatch(token):
            return float(self.plain(token))
        return float(token) if _SPECIAL.fullmatch(token) else None

    def plain(self, token: str) -> str:
        """A number as Python writes it: ungrouped, with a point and an e."""
        for mark in self.grouping:
            token = token.replace(mark, "")
        return token.replace(self.decimal, ".").replace("d", "e").replace("D", "e")

    @property
    def _pattern(self) -> re.Pattern[str]:
        return _pattern(self.decimal, self.grouping)


_patterns: dict[tuple[str, str], re.Pattern[str]] = {}


def _pattern(decimal: str, grouping: str) -> re.Pattern[str]:
    if (decimal, grouping) not in _patterns:
        mark = re.escape(decimal)
        fraction = rf"(?:{mark}\d*)?" if decimal == "." else rf"(?:{mark}\d+)?"
        grouped = rf"|\d{{1,3}}(?:[{re.escape(grouping)}]\d{{3}})+{fraction}" if grouping else ""
        bare = rf"|{mark}\d+" if decimal == "." else ""
        _patterns[decimal, grouping] = re.compile(rf"[+-]?(?:\d+{fraction}{bare}{grouped}){_EXPONENT}")
    return _patterns[decimal, grouping]


def says_missing(token: str) -> bool:
    """Whether a field is empty or one of the words by which programs write "no value"."""
    token = token.strip().strip('"').strip().lower()
    return not token or token in _MISSING


def is_missing(token: str) -> bool:
    """Whether a field holds no value: a word in the place of a number is none, digits that are no number are damage."""
    return says_missing(token) or not any(c.isdigit() for c in token)


def looks_like_number(token: str, blanks: bool = False) -> bool:
    """Whether a field is a number under some decimal mark and some grouping; `blanks` may group digits or not."""
    token = token.strip().strip('"').strip()
    styles = _WITH_BLANKS if blanks else _WITHOUT_BLANKS
    return any(style.number(token) is not None for style in styles)


_WITHOUT_BLANKS: Final = (NumberStyle(".", ",'" + _SPACES), NumberStyle(",", ".'" + _SPACES))
_WITH_BLANKS: Final = tuple(NumberStyle(one.decimal, one.grouping + " ") for one in _WITHOUT_BLANKS)


@dataclass(frozen=True, slots=True)
class DecimalEvidence:
    """What the numbers of a column show about their decimal mark."""

    point: bool  # a token that is a number with a point as decimal mark alone
    comma: bool  # the same with a comma
    three: str  # the mark of tokens such as 1,234, which are a number either way; "" without such tokens
    always: bool  # every number of the column has that mark, once, with three digits after it
    blanks: bool  # digits are grouped by blanks


def decimal_evidence(tokens: Iterable[str]) -> DecimalEvidence:
    """See `DecimalEvidence`; `tokens` are fields of one column."""
    point = comma = blanks = False
    three, always, seen = "", True, False
    for token in tokens:
        match = _DIGITS.fullmatch(token.strip().strip('"').strip())
        if match is None:
            continue
        seen = True
        body = match["body"]
        blanks = blanks or " " in body
        marks = [c for c in body if c in ".,"]
        if not marks:
            always = False
            continue
        last = marks[-1]
        left, _, right = body.rpartition(last)
        if len(set(marks)) == 2:
            point, comma = point or last == ".", comma or last == ","
        elif len(marks) > 1:  # 1.234.567: the mark groups, so the other one is decimal
            point, comma = point or last == ",", comma or last == "."
        elif len(right) != 3 or len(left) > 3 or left in ("", "0") or left.startswith("0") or match["exponent"]:
            point, comma = point or last == ".", comma or last == ","
        else:
            three = last if not three or three == last else "both"
            continue
        always = False
    return DecimalEvidence(point, comma, three, always and seen and bool(three), blanks)


def duration(token: str) -> float | None:
    """[s] of h:mm:ss, d-hh:mm:ss, 1d 02:03:04.5 …; None for another text, and for two parts, which could be either."""
    match = _DURATION.fullmatch(token.strip().strip('"').strip())
    if match is None or match["half"] or int(match["m"]) > 59 or (s := _seconds(match["s"])) >= 60.5:
        return None
    total = 86400 * int(match["d"] or 0) + 3600 * int(match["h"]) + 60 * int(match["m"]) + s
    return -total if match["sign"] == "-" else total


def plain_duration(token: str) -> float | None:
    """As `duration`, of h:mm:ss alone: fast, for there are as many as rows."""
    try:
        hours, minutes, seconds = token.split(":")
        h, m, s = int(hours), int(minutes), float(seconds)
    except ValueError:
        return plain_duration(token.replace(",", ".")) if "," in token else None
    return 3600.0 * h + 60.0 * m + s if 0 <= m < 60 and 0.0 <= s < 60.5 and hours[:1].isdigit() else None


def time_of_day(token: str) -> float | None:
    """[s] since midnight of a time with AM or PM."""
    match = _TIME_OF_DAY.fullmatch(token.strip().strip('"').strip())
    if match is None or not 1 <= int(match["h"]) <= 12 or int(match["m"]) > 59:
        return None
    hour = int(match["h"]) % 12 + (12 if match["half"] in "pP" else 0)
    return 3600.0 * hour + 60.0 * int(match["m"]) + _seconds(match["s"])


@dataclass(frozen=True, slots=True)
class WallClock:
    """A date, and a time where one is given: seconds since 1970, day and month read in the order `day_first`."""

    seconds: float
    with_time: bool
    ambiguous: bool  # 03/04/2024: day and month could change places


def wall_clock(token: str, day_first: bool | None = None) -> WallClock | None:
    """The date and time that a field is, or None; `day_first` for 03/04/2024 (by default a point means yes)."""
    token = token.strip().strip('"').strip()
    if not token or not any(c.isdigit() for c in token):
        return None
    for pattern in _DATES:
        match = pattern.fullmatch(token)
        if match is not None:
            return _wall_clock(match, day_first)
    return None


def _wall_clock(match: re.Match[str], day_first: bool | None) -> WallClock | None:
    groups = match.groupdict()
    year = int(groups["y"]) + (2000 if len(groups["y"]) == 2 else 0)
    ambiguous = False
    if groups.get("name"):
        month, day = _MONTHS.get(groups["name"][:3].lower(), 0), int(groups["d"])
    elif groups.get("a"):
        a, b = int(groups["a"]), int(groups["b"])
        ambiguous = a <= 12 and b <= 12 and a != b
        first = groups["mark"] == "." if day_first is None else day_first
        day, month = (a, b) if a > 12 or (first and b <= 12) else (b, a)
    else:
        month, day = int(groups["mo"]), int(groups["d"])
    hour = int(groups["h"] or 0)
    if groups["half"]:
        hour = hour % 12 + (12 if groups["half"].strip()[0] in "pP" else 0)
    try:
        date = datetime(year, month, day, tzinfo=UTC).timestamp()
    except ValueError:
        return None
    if hour > 24 or int(groups["m"] or 0) > 59:
        return None
    with_time = groups["h"] is not None
    seconds = date + 3600.0 * hour + 60.0 * int(groups["m"] or 0) + _seconds(groups["s"])
    return WallClock(seconds, with_time, ambiguous)


def _seconds(text: str | None) -> float:
    return float((text or "0").replace(",", "."))
