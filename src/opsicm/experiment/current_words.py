"""A current as people say it: a direction in words and a magnitude with its unit, `lithiate: C/5`.

The direction is in the key, so a sign is neither needed nor taken: what charges one electrode lithiates another, and
programs disagree about the sign of either.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from opsicm.core.units import factor
from opsicm.experiment.refusal import UNUSABLE
from opsicm.experiment.step_model import Text

DIRECTIONS: Final = {"lithiate": -1.0, "delithiate": 1.0}
_NUMBER: Final = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_C_RATE: Final = re.compile(rf"({_NUMBER})?\s*C(?:\s*/\s*({_NUMBER}))?|({_NUMBER})\s*/\s*({_NUMBER})\s*C")
_AMPERES: Final = re.compile(rf"({_NUMBER})\s*([munµμ]?A)\s*(/\s*cm(?:2|²|\^2)|\s*cm(?:-2|⁻²|\^-2))?")
_LARGEST: Final = {"c_rate": 1000.0, "current_mA": 10_000.0, "current_mA_cm2": 10_000.0}
_UNITS: Final = {"c_rate": "C", "current_mA": "mA", "current_mA_cm2": "mA/cm²"}
MAGNITUDE_REMEDY: Final = "write a magnitude with its unit, as C/5, 0.2 C, 0.4 mA/cm2 or 100 uA"


def magnitude(text: str) -> tuple[str, float]:
    """(key, value) of a current without a sign: `C/5` is ("c_rate", 0.2), `100 uA` is ("current_mA", 0.1).

    Raises `ValueError` with what is wrong where the text is no such current.
    """
    written = text.strip()
    if written[:1] in ("-", "−", "+"):
        raise ValueError("has a sign, and the word already says the direction")
    if rate := _C_RATE.fullmatch(written):
        numerator, denominator = rate[1] or rate[3] or "1", rate[2] or rate[4] or "1"
        if float(denominator) == 0.0:
            raise ValueError("divides by zero")
        key, value = "c_rate", float(numerator) / float(denominator)
    elif amperes := _AMPERES.fullmatch(written):
        key = "current_mA" if amperes[3] is None else "current_mA_cm2"
        value = float(amperes[1]) * round(factor(amperes[2].replace("μ", "µ")) / factor("mA"), 9)
    else:
        raise ValueError("is no current with a unit")
    if not 0.0 < value <= _LARGEST[key]:
        raise ValueError(f"must be above 0 and at most {_LARGEST[key]:g} {_UNITS[key]}")
    return key, value


def _checked(text: str) -> str:
    try:
        magnitude(text)
    except ValueError as error:
        raise PydanticCustomError(
            UNUSABLE, "{limit}; {remedy}", {"limit": str(error), "remedy": MAGNITUDE_REMEDY}
        ) from None
    return text


Magnitude = Annotated[Text, AfterValidator(_checked)]
