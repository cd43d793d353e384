"""Commands to a run in progress: their names, their form as a line of JSON, and the inbox where the loop takes them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment import hop_parameters
from opsicm.experiment.quantities import dimension_text, quantity, unit_of_key, words_of_key

COMMANDS: Final = ("pause-probe", "resume-probe", "pause-cell", "resume-cell", "skip", "stop", "note", "set")
SETTABLE: Final = tuple(f"probe.{key}" for key in hop_parameters.SETTABLE)
_TRACKS: Final = ("probe", "cell")
_LONGEST_NOTE: Final = 4096


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its `word`, with the `track` of a skip, the `text` of a note, or the `key` and `value` of a set."""

    word: str
    track: str = "probe"
    text: str = ""
    key: str = ""
    value: float = 0.0

    def data(self) -> dict[str, Any]:
        """The command as a fact and a line of JSON hold it."""
        fields: dict[str, Any] = {"command": self.word}
        if self.word == "skip":
            fields["track"] = self.track
        elif self.word == "note":
            fields["text"] = self.text
        elif self.word == "set":
            fields |= {"key": self.key, "value": self.value}
        return fields


@dataclass(frozen=True, slots=True)
class Request:
    """A waiting command, who sent it, and how to answer: (accepted, the reason or what happens now)."""

    command: Command
    sender: Mapping[str, Any]
    answer: Callable[[bool, str], None]


class Inbox(Protocol):
    """Where commands wait. It is polled between the samples of a hop plan, so `waiting` must cost microseconds."""

    def waiting(self) -> bool:
        """Whether a request waits: the hop in flight is then the plan's last."""
        ...

    def take(self) -> Sequence[Request]:
        """Remove and return what waits, in order."""
        ...


class StopSignal:
    """An inbox for the one command `stop`, given by a signal of the operating system: Ctrl-C, SIGTERM."""

    def __init__(self, received: Callable[[], bool], name: str = "signal") -> None:
        self._received = received
        self._name = name

    def waiting(self) -> bool:
        return self._received()

    def take(self) -> Sequence[Request]:
        if not self._received():
            return ()
        return (Request(Command("stop"), {"from": self._name}, lambda _accepted, _message: None),)


def from_words(words: Sequence[str]) -> Command:
    """The command in the words of a command line; raises `BadInput` with what they should have been."""
    word, rest = (words[0], list(words[1:])) if words else ("", [])
    if word == "note":
        return _command({"command": word, "text": " ".join(rest)})
    if word == "set":
        key, equals, value = " ".join(rest).partition("=")
        if not equals:
            raise _refusal(" ".join(words), "set takes KEY=VALUE", f"as set {SETTABLE[0]}=2.5")
        key, number = _setting(key.strip(), value.strip())
        return _command({"command": word, "key": key, "value": number})
    if word == "skip" and len(rest) == 1:
        return _command({"command": word, "track": rest[0]})
    if word in ("pause", "resume"):
        if len(rest) != 1 or rest[0] not in _TRACKS:
            raise _refusal(" ".join(words), f"{word} is for one track", f"{word} probe, or {word} cell")
        return _command({"command": f"{word}-{rest[0]}"})
    if rest:
        raise _refusal(" ".join(words), f"{word} takes nothing more", f"leave out {' '.join(rest)}")
    return _command({"command": word})


def _setting(key: str, value: str) -> tuple[str, float | str]:
    """What a person may write for a key and its value: `setpoint=2.5 %` is `probe.setpoint_pct=2.5`."""
    name = key.removeprefix("probe.")
    for known in hop_parameters.SETTABLE:
        written, unit = quantity(value), unit_of_key(known) or ""
        if written is None or name not in (known, *words_of_key(known)):
            continue
        number = written.value if not written.unit and name == known else written.in_unit(unit)
        if number is not None:
            return f"probe.{known}", number
        limit, example = f"{known} is {dimension_text(unit)} in {unit}", "…" if written.unit else f"{written.value:g}"
        remedy = f"as set {known}={example}, or set {words_of_key(known)[0]}={example} {unit}"
        raise _refusal(f"set {key}={value}", limit, remedy)
    return (f"probe.{name}" if name in hop_parameters.SETTABLE else key), value


def from_line(line: bytes) -> tuple[Command, str]:
    """(command, the name that the sender gives itself) of a line of JSON; raises `BadInput`."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _refusal(repr(line[:60]), "a command is one JSON object a line", 'as {"command": "pause-probe"}')
    sender = message.pop("from", "")
    return _command(message), sender[:64] if isinstance(sender, str) and _is_text(sender) else ""


def _command(message: Mapping[str, Any]) -> Command:
    word = message.get("command")
    if word not in COMMANDS:
        raise _refusal(_shown(word), f"the commands are {', '.join(COMMANDS)}", "use one of them")
    if word == "skip":
        track = message.get("track", "probe")
        if track not in _TRACKS:
            raise _refusal(f"skip {_shown(track)}", "skips a step of the probe or of the cell", "skip, or skip cell")
        return Command(word, track=track)
    if word == "note":
        text = message.get("text")
        if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST_NOTE:
            limit = f"a note has a text of at most {_LONGEST_NOTE} characters"
            raise _refusal("note", limit, "as note electrolyte looks cloudy")
        if not _is_text(text):
            raise _refusal(f"note {text[:60]!a}", "has bytes that are no UTF-8 text", "write the note in UTF-8")
        return Command(word, text=text)
    if word == "set":
        key, value = message.get("key"), message.get("value")
        if key not in SETTABLE:
            raise _refusal(f"set {_shown(key)}", f"what can be set is {', '.join(SETTABLE)}", "set one of these")
        if (number := _finite(value)) is None:
            raise _refusal(f"set {key}={_shown(value)}", "the value must be a number", f"as set {key}=2.5")
        return Command(word, key=key, value=number)
    return Command(word)


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON's escapes and a command line may hold half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: Any) -> float | None:
    """The number that a command sets; None where it is none, or too large for one: JSON's integers have no end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _shown(value: Any) -> str:
    """A value of the sender's for a message: its beginning, in characters that every terminal and file takes."""
    text = value if isinstance(value, str) else repr(value)
    return ascii(text[:60])[1:-1] + ("…" if len(text) > 60 else "")


def _refusal(value: str, limit: str, remedy: str) -> BadInput:
    return BadInput(Problem("command", value, limit, remedy))
