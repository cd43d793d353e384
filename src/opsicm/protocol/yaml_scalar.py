"""What a bare word in a file means, by the core schema of YAML 1.2.

PyYAML follows YAML 1.1, where `off` is a boolean, `1e-3` a text, `1:30` ninety and `012` ten. A laboratory that
writes `z: off` or `u: 1e-3` means neither, so the words are read here.
"""

from __future__ import annotations

import re
from typing import Final

_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
# Python refuses to read integers of more than 4300 digits, and no count in a laboratory has more than these.
_LONGEST_INTEGER: Final = 18

Scalar = str | int | float | bool | None


def plain_scalar(text: str) -> Scalar:
    """The value of an unquoted word."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) <= _LONGEST_INTEGER else float(text)
    if FLOAT.fullmatch(text):
        return float(text)
    if len(text) <= _LONGEST_INTEGER and (_OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text)):
        return int(text, base=0)
    if SPECIAL.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return text
