"""YAML in, with the line of every key, and nothing that a text file of settings does not need.

Tags, anchors, aliases, repeated keys and second documents are refused: a tag can run code, an alias can grow
a kilobyte into a gigabyte, and of a repeated key one value would be lost without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.refusal import KeyPath, path_text

# -- The value of an unquoted word, by the core schema of YAML 1.2. PyYAML follows YAML 1.1, where `off` is a boolean,
# -- `1e-3` a text, `1:30` ninety and `012` ten, none of which is meant by `z: off` or `u: 1e-3`.

_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
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


# -- From YAML events to plain values and their lines; what a file of settings does not need is refused.

MAX_DEPTH: Final = 50
MAX_VALUES: Final = 50_000
_STEP_REFERENCE: Final = re.compile(r"[a-z]+\[[0-9]+\](?:[._a-zA-Z0-9]|\[[0-9]+\])*(?=[ \t]*[,}\]\r\n#:])")


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and parser; its constructor is never used.

    `{during: cell[1]}` and `{cell[0].sweep.rate_mV_s: [1, 2]}` are not strictly YAML, since an unquoted word inside
    braces may not contain `[`. They are natural to write and unambiguous, so each is read as one word.
    """

    buffer: str
    pointer: int
    flow_level: int

    def scan_plain(self) -> Any:
        reference = _STEP_REFERENCE.match(self.buffer, self.pointer) if self.flow_level else None
        if reference is None:
            return super().scan_plain()
        start = self.get_mark()
        self.forward(len(reference[0]))
        return yaml.ScalarToken(reference[0], True, start, self.get_mark())


class _Composer:
    """Walks the events of one document once and keeps the line of every key."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.loader: Any = _Loader(text)  # its events are not typed
        self.lines: dict[KeyPath, int] = {}
        self.values = 0

    def document(self) -> Any:
        self.loader.get_event()  # the stream
        if self.loader.check_event(yaml.StreamEndEvent):
            raise self.refused(1, "the file", "", "it holds no settings", "write some, as opsicm: 1")
        self.loader.get_event()  # the document
        data = self.value((), None)
        self.loader.get_event()  # its end
        if not self.loader.check_event(yaml.StreamEndEvent):
            line = self.loader.peek_event().start_mark.line + 1
            raise self.refused(line, "a second document", "", "a file holds one document", "delete the line ---")
        return data

    def value(self, path: KeyPath, line: int | None) -> Any:
        event = self.loader.get_event()
        here = event.start_mark.line + 1
        self.lines[path] = here if line is None else line
        self.allowed(event, path, here)
        if isinstance(event, yaml.ScalarEvent):
            return plain_scalar(event.value) if event.implicit[0] else event.value
        if len(path) >= MAX_DEPTH:
            limit = f"values may be nested {MAX_DEPTH} deep"
            raise self.refused(here, "the nesting", "", limit, "look for brackets that are not closed")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        return self.sequence(path)

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        written = ""  # the value before, as it stands in the file: of -0,5 the number is 0
        while not self.loader.check_event(yaml.MappingEndEvent):
            event = self.loader.get_event()
            here = event.start_mark.line + 1
            self.allowed(event, path, here)
            if not isinstance(event, yaml.ScalarEvent):
                raise self.refused(here, "a key", "", "a key must be a word", "write it as word: value")
            key = event.value
            if event.implicit[0] and not isinstance(plain_scalar(key), str):
                name, before = next(reversed(entries.items()), ("", None))
                if isinstance(before, int) and key.isdigit() and self.lines[(*path, name)] == here:  # {salt_M: 1,0}
                    value, limit = f"{written},{key}", "a comma begins another key"
                    remedy = f"write {name}: {written}.{key}"
                    if len(key) == 3 and before:  # 1,800 may group its digits
                        remedy += f", or {name}: {written}{key} where the digits are grouped"
                    raise self.refused(here, path_text((*path, name)), value, limit, remedy)
                raise self.refused(here, "the key", repr(key), "a key must be a word", "write it as word: value")
            if key in entries:
                first = self.lines[(*path, key)]
                limit = f"it stands already on line {first}, and one of the two would be lost"
                raise self.refused(here, path_text((*path, key)), "", limit, "delete one of them")
            value = self.loader.peek_event()
            written = value.value if isinstance(value, yaml.ScalarEvent) else ""
            entries[key] = self.value((*path, key), here)
        self.loader.get_event()
        return entries

    def sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not self.loader.check_event(yaml.SequenceEndEvent):
            items.append(self.value((*path, len(items)), None))
        self.loader.get_event()
        return items

    def allowed(self, event: yaml.NodeEvent, path: KeyPath, here: int) -> None:
        thing = path_text(path) or "the file"
        self.values += 1
        if self.values > MAX_VALUES:
            limit = f"a file may hold {MAX_VALUES} values at most"
            raise self.refused(here, "the file", "", limit, "is this the right file?")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            mark = "*" if isinstance(event, yaml.AliasEvent) else "&"
            limit = "anchors and aliases are not read here"
            raise self.refused(here, thing, f"{mark}{event.anchor}", limit, "write the value out, or put it in quotes")
        tag = getattr(event, "tag", None)
        if tag is not None:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            raise self.refused(
                here, thing, short, "YAML tags are not read here", "write the plain value without the tag"
            )

    def refused(self, line: int, thing: str, value: str, limit: str, remedy: str) -> BadInput:
        return BadInput(Problem(thing, value, limit, remedy, self.name, line))


def compose(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    """The value of the one document in `text`, and the line of every path in it; `()` is the root."""
    composer = _Composer(text, name)
    try:
        return composer.document(), composer.lines
    finally:
        composer.loader.dispose()


# -- YAML out: text that every YAML reader understands alike, 1.1 or 1.2.


class _Dumper(yaml.SafeDumper):
    """Quotes a text that YAML 1.2 would read as a number; writes a float with all its digits."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text:  # YAML 1.1 takes 1e-09 for a text
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _float)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, None)
for _first in "0123456789+-.":
    _Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, [_first])


def yaml_text(data: Any) -> str:
    """`data` as YAML: order kept, the innermost mappings and lists on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def inline(data: Any) -> str:
    """`data` on one line, for a message: `{for_s: 300}`."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=1000).split("\n", 1)[0]


LARGEST_FILE: Final = 1_000_000


@dataclass(frozen=True)
class Document:
    """The content of one file: `data` as plain Python values, and the line of each of them."""

    name: str
    text: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(repr=False, compare=False)
    parent_path: KeyPath = ()

    def line(self, path: KeyPath) -> int | None:
        """Line of a key, counted from 1; of the nearest key around it when it is not in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def below(self, path: KeyPath) -> Document:
        """The part of this document at `path`, a mapping, empty where there is none; its problems still name the whole
        path and line.
        """
        data: Any = self.data
        for part in path:
            data = data.get(part, {})
        lines = {key[len(path) :]: line for key, line in self.lines.items() if key[: len(path)] == path}
        if (line := self.line(path)) is not None:
            lines.setdefault((), line)
        return Document(self.name, self.text, data, lines, (*self.parent_path, *path))

    def problem(self, path: KeyPath, value: object, limit: str, remedy: str) -> Problem:
        """A problem with the key at `path`, with its file and line."""
        return Problem(
            path_text((*self.parent_path, *path)) or "the file", shown(value), limit, remedy, self.name, self.line(path)
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
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        remedy = _SYNTAX_REMEDY if "\\t" not in reason else "indent with spaces, not tabs"
        raise _refused(name, line, "the text", "", f"is not YAML: {reason}", remedy) from None
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
        byte = f"0x{content[error.start]:02x}"
        raise _refused(name, line, "a byte", byte, "the file must be text in UTF-8", _TEXT_REMEDY) from None


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
