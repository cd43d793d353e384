"""The digits to which a column of numbers is written: what is lost of a value before anybody reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_NUMBER: Final = re.compile(r"[+-]?\d*(?:[.,](?P<decimals>\d*))?(?:[eE](?P<power>[+-]?\d+))?")
_FINEST: Final = 12  # decimal places that are looked at: more are arithmetic


def written_step(written: Sequence[str], values: NDArray[np.float64]) -> float:
    """What the last digit stands for, in the unit as written: of a sample of a column and of all its `values`.

    The finest decimal place of the sample, made finer until every value is a multiple of it: a program that leaves out
    zeros at the end writes 0.2 and 0.1764 in one column. 0 without a number. Fails for a column of whole numbers that
    are set points: 1 may be meant exactly, but says nothing finer than itself.
    """
    places = [_place(text) for text in written]
    known = [place for place in places if place is not None]
    finite = values[np.isfinite(values)]
    if not known or not finite.size:
        return 0.0
    place = max(known)
    largest = float(np.max(np.abs(finite)))
    while place < _FINEST and largest * 10.0**place < 1e12:
        count = finite * 10.0**place
        if np.all(np.abs(count - np.round(count)) <= 1e-6 + 1e-9 * np.abs(count)):
            break
        place += 1
    return float(10.0**-place)


def _place(text: str) -> int | None:
    match = _NUMBER.fullmatch(text.strip().strip('"'))
    if match is None or not any(character.isdigit() for character in text):
        return None
    return len(match["decimals"] or "") - int(match["power"] or 0)
