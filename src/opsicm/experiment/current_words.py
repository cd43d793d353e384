"""A current as people say it: a direction in words and a magnitude with its unit, `lithiate: C/5`.

The direction is in the key, so a sign is neither needed nor taken: what charges one electrode lithiates another, and
programs disagree about the sign of either.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from opsicm.experiment.quantities import C_RATE, quantity, unit_of_key
from opsicm.experiment.refusal import UNUSABLE
from opsicm.experiment.step_model import Text

DIRECTIONS: Final = {"lithiate": -1.0, "delithiate": 1.0}
_LARGEST: Final = {"c_rate": 1000.0, "current_mA": 10_000.0, "current_mA_cm2": 10_000.0}
_OVER_NOTHING: Final = re.compile(r"/\s*0*\.?0+\s*C?\s*$")
MAGNITUDE_REMEDY: Final = "write a magnitude with its unit, as C/5, 0.2 C, 0.4 mA/cm2 or 100 uA"


def magnitude(text: str) -> tuple[str, float]:
    """(key, value) of a current without a sign: `C/5` is ("c_rate", 0.2), `100 uA` is ("current_mA", 0.1).

    Raises `ValueError` with what is wrong where the text is no such current.
    """
    if text.strip()[:1] in ("-", "−", "+"):
        raise ValueError("has a sign, and the word already says the direction")
    written = quantity(text)
    if written is None and _OVER_NOTHING.search(text):
        raise ValueError("divides by zero")
    for key, largest in _LARGEST.items():
        unit = unit_of_key(key) or ""
        value = None if written is None or not written.unit else written.in_unit(unit)
        if value is not None:
            if not 0.0 < value <= largest:
                raise ValueError(f"must be above 0 and at most {largest:g} {'C' if unit == C_RATE else unit}")
            return key, value
    raise ValueError("is no current with a unit")


def _checked(text: str) -> str:
    try:
        magnitude(text)
    except ValueError as error:
        raise PydanticCustomError(
            UNUSABLE, "{limit}; {remedy}", {"limit": str(error), "remedy": MAGNITUDE_REMEDY}
        ) from None
    return text


Magnitude = Annotated[Text, AfterValidator(_checked)]
