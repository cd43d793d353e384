"""YAML in, with the line of every key, and nothing that a text file of settings does not need.

Tags, anchors, aliases, repeated keys and second documents are refused: a tag can run code, an alias can grow
a kilobyte into a gigabyte, and of a repeated key one value would be lost without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from opsicm.errors import BadInput, Problem
from opsicm.protocol.refusal import KeyPath, path_text
from opsicm.protocol.yaml_events import compose
from opsicm.protocol.yaml_text import inline

LARGEST_FILE: Final = 1_000_000


@dataclass(frozen=True)
class Document:
    """The content of one file: `data` as plain Python values, and where each of them stands."""

    name: str
    text: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(repr=False, compare=False)
    place: KeyPath = ()

    def line(self, path: KeyPath) -> int | None:
        """Line of a key, counted from 1; of the nearest key around it when it is not in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def below(self, path: KeyPath) -> Document:
        """The part of this document at `path`, a mapping; its problems still name the whole path and line."""
        data: Any = self.data
        for part in path:
            data = data[part]
        lines = {key[len(path) :]: line for key, line in self.lines.items() if key[: len(path)] == path}
        return Document(self.name, self.text, data, lines, (*self.place, *path))

    def problem(self, path: KeyPath, value: object, limit: str, remedy: str) -> Problem:
        """A problem with the key at `path`, with its file and line."""
        return Problem(
            path_text((*self.place, *path)) or "the file", shown(value), limit, remedy, self.name, self.line(path)
        )


def shown(value: object) -> str:
    """A value as a message prints it: short, texts in quotes, nothing for an empty text."""
    if value is None or value == "" or (isinstance(value, dict | list | tuple) and not value):
        return ""
    if isinstance(value, bool | dict | list | tuple):
        text = inline(list(value) if isinstance(value, tuple) else value)
    else:
        text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_yaml(path: Path | str) -> Document:
    """Read one file; raises `BadInput` for whatever is not one YAML mapping of plain values."""
    return yaml_document(read_text(Path(path)), str(path))


def yaml_document(text: str, name: str = "<text>") -> Document:
    """The document in `text`; raises `BadInput` as `read_yaml` does."""
    if not text.strip():
        raise _refused(name, None, "the file", "", "it is empty", "write the settings into it, or name another file")
    try:
        data, lines = compose(text, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        said = ", ".join(part for part in (error.context, error.problem) if part)
        remedy = _SYNTAX_REMEDY if "\\t" not in said else "indent with spaces, not tabs"
        raise _refused(name, line, "the text", "", f"is not YAML: {said}", remedy) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        limit = "this character does not belong in a text file"
        raise _refused(name, line, "a character", repr(chr(error.character)), limit, _TEXT_REMEDY) from None
    if not isinstance(data, dict):
        limit = "the file must be a mapping of keys to values"
        remedy = "begin it with a key, as opsicm: 1"
        raise _refused(name, lines.get((), 1), "the top of the file", shown(data), limit, remedy)
    return Document(name, text, data, lines)


_SYNTAX_REMEDY: Final = "look for a missing space after a colon, a bracket or quote left open, or a wrong indent"
_TEXT_REMEDY: Final = "save the file as plain text in UTF-8"


def _refused(name: str, line: int | None, thing: str, value: str, limit: str, remedy: str) -> BadInput:
    return BadInput(Problem(thing, value, limit, remedy, name, line))


def read_text(path: Path) -> str:
    """The text of a regular file of moderate size in UTF-8; raises `BadInput` for anything else."""
    name = str(path)
    content = _bytes(path)
    if b"\0" in content:
        raise _refused(name, None, "the file", "", "it is binary, not text", _TEXT_REMEDY)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"0x{content[error.start]:02x}"
        raise _refused(name, line, "a byte", found, "the file must be text in UTF-8", _TEXT_REMEDY) from None


def _bytes(path: Path) -> bytes:
    name = str(path)
    try:
        if path.is_dir():
            raise _refused(name, None, "the path", "", "it is a folder, not a file", "name a file in it")
        if not path.exists():
            raise _refused(name, None, "the file", "", "it does not exist", "check the spelling and the folder")
        if not path.is_file():  # a device or a pipe may never end
            raise _refused(name, None, "the path", "", "it is no regular file", "copy its content into a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _refused(name, None, "the file", "", f"it cannot be read: {reason}", "check its permissions") from None
    if len(content) > LARGEST_FILE:
        limit = f"a file may have {LARGEST_FILE // 1000} kB at most"
        raise _refused(name, None, "the file", "", limit, "is this the right file? settings take a few kB")
    return content
