"""From YAML events to plain values and their lines, refusing what a file of settings does not need."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from opsicm.errors import BadInput, Problem
from opsicm.protocol.refusal import KeyPath, path_text
from opsicm.protocol.yaml_scalar import plain_scalar

DEEPEST: Final = 50
MOST_VALUES: Final = 50_000
_STEP_REFERENCE: Final = re.compile(r"[a-z]+\[[0-9]+\](?:[._a-zA-Z0-9]|\[[0-9]+\])*(?=[ \t]*[,}\]\r\n#:])")


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and parser; its constructor is never used.

    `{during: cell[1]}` and `{cell[0].sweep.rate_mV_s: [1, 2]}` are not YAML by the book, since `[` may not stand in
    a bare word inside braces. They are what a person writes, and can mean nothing else: read as one word.
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
    """Walks the events of one document once; holds the lines it has seen."""

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
        if len(path) >= DEEPEST:
            limit = f"values may be nested {DEEPEST} deep"
            raise self.refused(here, "the nesting", "", limit, "look for brackets that are not closed")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        return self.sequence(path)

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self.loader.check_event(yaml.MappingEndEvent):
            event = self.loader.get_event()
            here = event.start_mark.line + 1
            self.allowed(event, path, here)
            if not isinstance(event, yaml.ScalarEvent):
                raise self.refused(here, "a key", "", "a key must be a word", "write it as word: value")
            key = event.value
            if event.implicit[0] and not isinstance(plain_scalar(key), str):
                name, before = next(reversed(found.items()), ("", None))
                if isinstance(before, int) and key.isdigit() and self.lines[(*path, name)] == here:  # {salt_M: 1,0}
                    value, limit = f"{before},{key}", "a comma begins another key"
                    raise self.refused(here, path_text((*path, name)), value, limit, f"write {name}: {before}.{key}")
                raise self.refused(here, "the key", repr(key), "a key must be a word", "write it as word: value")
            if key in found:
                first = self.lines[(*path, key)]
                limit = f"it stands already on line {first}, and one of the two would be lost"
                raise self.refused(here, path_text((*path, key)), "", limit, "delete one of them")
            found[key] = self.value((*path, key), here)
        self.loader.get_event()
        return found

    def sequence(self, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while not self.loader.check_event(yaml.SequenceEndEvent):
            found.append(self.value((*path, len(found)), None))
        self.loader.get_event()
        return found

    def allowed(self, event: yaml.NodeEvent, path: KeyPath, here: int) -> None:
        thing = path_text(path) or "the file"
        self.values += 1
        if self.values > MOST_VALUES:
            limit = f"a file may hold {MOST_VALUES} values at most"
            raise self.refused(here, "the file", "", limit, "is this the right file?")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            mark = "*" if isinstance(event, yaml.AliasEvent) else "&"
            limit = "anchors and aliases are not read here"
            raise self.refused(here, thing, f"{mark}{event.anchor}", limit, "write the value out, or put it in quotes")
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            raise self.refused(
                here, thing, shown, "YAML tags are not read here", "write the plain value without the tag"
            )

    def refused(self, line: int, thing: str, value: str, limit: str, remedy: str) -> BadInput:
        return BadInput(Problem(thing, value, limit, remedy, self.name, line))


def compose(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    """The value of the one document in `text` and the line of every path in it, the root's being `()`."""
    composer = _Composer(text, name)
    try:
        return composer.document(), composer.lines
    finally:
        composer.loader.dispose()
