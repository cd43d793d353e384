"""Text files of instruments: encoding, line ends and plain numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, Problem

LARGEST_TEXT: Final = 256 * 1024 * 1024
_POINT: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf)", re.IGNORECASE)
# A decimal comma stands between digits: "1," is an item of a list, not a number.
_COMMA: Final = re.compile(r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf)", re.IGNORECASE)
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_LOOKED_AT: Final = 65536


@dataclass(frozen=True, slots=True)
class Text:
    """The lines of a file without their ends, and how they were written."""

    lines: tuple[str, ...]
    encoding: str
    line_end: str


def read_bytes(path: Path, largest: int = LARGEST_TEXT) -> bytes:
    """The bytes of a file; `BadInput` when there is none, it is empty, or larger than `largest`."""
    if path.is_dir():
        raise bad(path, "path", "a folder", "a file is needed", "name one of the files in it")
    try:
        size = path.stat().st_size
        if size > largest:
            raise bad(path, "file size", f"{size} bytes", f"the limit is {largest} bytes", "split the file")
        data = path.read_bytes()
    except OSError as error:
        raise bad(
            path, "file", f"unreadable ({error.strerror})", "it must exist and be readable", "check the path"
        ) from None
    if not data:
        raise bad(path, "file", "empty (0 bytes)", "a data file has content", "copy it again from the instrument")
    return data


def bad(path: Path, thing: str, value: str, limit: str, remedy: str, line: int | None = None) -> BadInput:
    """A `BadInput` about this file."""
    return BadInput(Problem(thing, value, limit, remedy, file=path.name, line=line))


def is_text(data: bytes) -> bool:
    """Whether `data` is text in an encoding that `decode` knows."""
    if data.startswith(tuple(mark for mark, _ in _BOMS)) or _utf_16_without_mark(data):
        return True
    return b"\x00" not in data[:_LOOKED_AT] and _control_share(data[:_LOOKED_AT]) <= 0.02


def decode(data: bytes, path: Path) -> Text:
    """The text of `data`: a byte order mark decides; else UTF-8 if it is that, else Windows' cp1252, else latin-1."""
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "") or _utf_16_without_mark(data)
    if not encoding and not is_text(data):
        raise bad(path, "content", "binary", "a text file or a known archive is needed", "export the data as text")
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        if encoding:
            raise bad(
                path, "text", f"not valid {encoding}", "its byte order mark says so", "save it as UTF-8"
            ) from None
        encoding, text = _of_one_byte(data)
    line_end = "CRLF" if "\r\n" in text else "LF" if "\n" in text else "CR" if "\r" in text else "none"
    return Text(tuple(lines_of(text)), encoding or "utf-8", line_end)


def lines_of(text: str) -> list[str]:
    """The lines of a text, without the further characters (NEL, form feed …) at which `str.splitlines` splits too.

    A comment may hold them, as cp1252's "…" read as latin-1, and a line more shifts everything that is counted in
    lines. For the same reason a CR alone ends a line only where there is no LF.
    """
    lines = [line.rstrip("\r") for line in text.split("\n")] if "\n" in text else text.split("\r")
    if lines and not lines[-1]:
        lines.pop()
    return lines


def number(token: str, decimal: str) -> float | None:
    """The number that a token is, with this decimal sign, or None: "59,080" is 59.08 with a comma."""
    token = token.strip()
    pattern = _COMMA if decimal == "," else _POINT
    return float(token.replace(",", ".")) if pattern.fullmatch(token) else None


def _of_one_byte(data: bytes) -> tuple[str, str]:
    if any(0x80 <= byte < 0xA0 for byte in set(data)):
        try:
            return "cp1252", data.decode("cp1252")
        except UnicodeDecodeError:
            pass  # one of its five undefined bytes
    return "latin-1", data.decode("latin-1")


def _utf_16_without_mark(data: bytes) -> str:
    """The byte order of UTF-16 without a mark: in a table's ASCII every other byte is zero."""
    head = data[:1024]
    if len(head) < 4 or 2 * head.count(0) < 0.9 * len(head):
        return ""
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if 0 not in head[1 - first :: 2] and set(head[first::2]) == {0}:
            return name
    return ""


def _control_share(data: bytes) -> float:
    control = sum(data.count(bytes([code])) for code in range(32) if code not in (9, 10, 12, 13))
    return control / max(len(data), 1)
