"""Numbers as a person would write them: rounded by their uncertainty, never finer than the quantity can be believed."""

from __future__ import annotations

from math import floor, isfinite, log10
from typing import Final

from opsicm.analysis.result import Result

_MOST_DIGITS: Final = 5  # of a value in a table
_MOST_SPOKEN: Final = 4  # of a value in a sentence: a z scanner, an amplifier and a specimen are known no better
_LEAST_SHARE: Final = 0.1  # of the larger uncertainty: a smaller one is not shown beside it
_WITHOUT_U: Final = 4  # digits of a value whose uncertainty is not known

# The smallest amount of each unit that an instrument of this kind can tell from zero: what is smaller is rounding.
_FINEST: Final = {
    "nm": 1e-2,
    "µm": 1e-5,
    "pA": 1e-2,
    "nA": 1e-5,
    "mA": 1e-7,
    "mV": 1e-3,
    "V": 1e-6,
    "%": 1e-4,
    "MOhm": 1e-4,
    "mAh": 1e-8,
    "ms": 1e-3,
    "mM": 1e-4,
    "pA/s": 1e-5,
}
_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(
    value: float | None,
    u: float | None,
    unit: str = "",
    digits_of_u: int = 2,
    most_digits: int = _MOST_DIGITS,
    u_calibration: float | None = None,
) -> str:
    """`value ± u (± u_calibration)`, without what is not known or under a tenth of the other; a dash without value.

    The larger uncertainty has `digits_of_u` significant digits, and value and smaller one end where it does; the value
    has at most `most_digits` and none below the finest amount of its `unit`: a shift of 6.4e-15 nm is 0.00 nm. Large
    and small numbers have a power of ten.
    """
    if value is None:
        return "–"
    known = [one for one in (u, u_calibration) if one is not None and isfinite(one) and one > 0.0]
    decimals = _decimals(value, max(known, default=None), unit, digits_of_u, most_digits)
    if _plain(value, decimals):
        text = _fixed(value, decimals) if known else _shortest(_fixed(value, decimals))
        return text + _uncertainties(u, u_calibration, decimals)
    power = floor(log10(max(abs(value), *known, 0.0)))
    scaled = _fixed(value / 10.0**power, decimals + power)
    scaled = scaled if known else _shortest(scaled)
    small, large = (None if one is None else one / 10.0**power for one in (u, u_calibration))
    if more := _uncertainties(small, large, decimals + power):
        scaled = f"({scaled}{more})"
    return f"{scaled}·10{str(power).translate(_SUPERSCRIPT)}"


def result_text(result: Result) -> str:
    """`number` of a result, with both of its uncertainties."""
    return number(result.value, result.u, result.unit, u_calibration=result.u_calibration)


def _uncertainties(u: float | None, u_calibration: float | None, decimals: int) -> str:
    # Below a tenth the smaller one is half a percent of both together.
    least = _LEAST_SHARE * max((one for one in (u, u_calibration) if one is not None and isfinite(one)), default=0.0)
    shown = ((u, " ± {}"), (u_calibration, " (± {})"))
    return "".join(
        text.format(_fixed(one, decimals))
        for one, text in shown
        if one is not None and one >= least and _visible(one, decimals)
    )


def quantity(value: float | None, u: float | None, unit: str, u_calibration: float | None = None) -> str:
    """`value ± u (± u_calibration) unit` for a sentence, in a unit of a readable size.

    The larger uncertainty has one digit (two where it begins with 1).

    A length of 14000 nm is 14 µm, a charge of 3e-5 mAh is 30 nAh; "%" and "1" are as they are read.
    """
    factor, shown_unit = _readable(value, max(u or 0.0, u_calibration or 0.0), unit)
    value, u, u_calibration = (None if one is None else factor * one for one in (value, u, u_calibration))
    largest = max((one for one in (u, u_calibration) if one is not None and isfinite(one)), default=0.0)
    leading = f"{largest:.6e}"[0] if largest > 0.0 else "0"  # as it is, not rounded: 160 is no 200
    text = number(value, u, shown_unit, 2 if leading == "1" else 1, _MOST_SPOKEN, u_calibration)
    shown = {"1": "", "MOhm": "MΩ", "unit not stated": "(unit not stated)"}.get(shown_unit, shown_unit)
    return f"{text.replace('-', '−')} {shown}".rstrip()


_PREFIXES: Final = ("p", "n", "µ", "m", "")
_LARGEST: Final = 1e4  # a size that is still read in its unit
_SCALED: Final = {
    f"{prefix}{base}": (k, base)
    for base in ("m", "A", "Ah")
    for k, prefix in enumerate(_PREFIXES)
    if prefix + base != "m"
}


def _readable(value: float | None, u: float, unit: str) -> tuple[float, str]:
    """(factor, unit) with another prefix where the number would be below 0.001 or from 10 000 on."""
    if value is None or unit not in _SCALED:
        return 1.0, unit
    k, base = _SCALED[unit]
    size, factor = max(abs(value), u), 1.0
    while size >= _LARGEST and k < len(_PREFIXES) - 1:
        size, factor, k = 1e-3 * size, 1e-3 * factor, k + 1
    while 0.0 < size < _SMALLEST.get(base, 0.0) and k > 0:
        size, factor, k = 1e3 * size, 1e3 * factor, k - 1
    return factor, _PREFIXES[k] + base


# Below these a number gets a smaller prefix. Lengths do not: 0.4 nm is read as it is.
_SMALLEST: Final = {"A": 0.1, "Ah": 0.1}


def _decimals(value: float, u: float | None, unit: str, digits_of_u: int, most_digits: int) -> int:
    """Decimal places, negative to the left of the point."""
    size = floor(log10(abs(value))) if value else 0
    decimals = min(_WITHOUT_U, most_digits - 1) - 1 - size if u is None else digits_of_u - 1 - floor(log10(u))
    # A value that its own u exceeds keeps the digits of that u.
    if u is None or abs(value) > u:
        decimals = min(decimals, most_digits - 1 - size)
    if unit in _FINEST:
        decimals = min(decimals, -floor(log10(_FINEST[unit])))
    if u is None and float(value).is_integer() and abs(value) < 10.0**_MOST_DIGITS:
        decimals = 0
    return decimals


def _plain(value: float, decimals: int) -> bool:
    return decimals <= 6 and abs(value) < 1e6


def _fixed(value: float | None, decimals: int) -> str:
    rounded = round(value or 0.0, decimals)
    text = f"{rounded:.{max(0, decimals)}f}"
    return text.removeprefix("-") if float(text) == 0.0 else text


def _shortest(text: str) -> str:
    """Without the zeros at the end, which would claim a precision that nobody stated."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _visible(u: float | None, decimals: int) -> bool:
    return u is not None and isfinite(u) and round(u, decimals) > 0.0


def duration(seconds: float) -> str:
    """A time as a person would say it: `85 s`, `12 min`, `3.4 h`, `2.1 d`."""
    if seconds < 120.0:
        return f"{seconds:.3g} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.3g} min"
    return f"{seconds / 3600.0:.3g} h" if seconds < 96 * 3600.0 else f"{seconds / 86400.0:.3g} d"
