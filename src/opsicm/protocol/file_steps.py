"""Steps in the file's form: walked through, repeats included, and how long they last.

A step that is wrong in itself is passed over, and so is a key that is wrong: it stands there as None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opsicm.protocol.one_key import word_of
from opsicm.protocol.refusal import KeyPath
from opsicm.units import to_si

Settings = Mapping[str, Any]
Steps = list[tuple[KeyPath, Settings]]


def sound(settings: Settings | None) -> Settings:
    """The keys that are right in themselves."""
    return {key: value for key, value in (settings or {}).items() if value is not None}


def steps_in(given: Settings, key: str) -> Iterator[tuple[KeyPath, Settings]]:
    """The steps listed under `key`: (path from `given` with the word at its end, settings)."""
    for index, step in enumerate(given.get(key) or ()):
        word = word_of(step)
        if word is not None and isinstance(step[word], dict):
            yield (key, index, word), step[word]


def steps_within(given: Settings, key: str) -> Iterator[tuple[KeyPath, Settings]]:
    """The same, with the steps inside repeats in the place of each repeat."""
    for path, settings in steps_in(given, key):
        if path[-1] == "repeat":
            for inner, inner_settings in steps_within(settings, "steps"):
                yield (*path, *inner), inner_settings
        else:
            yield path, settings


def seconds(word: str, settings: Settings) -> float | None:
    """The longest that a cell step can last [s]; None where a key is missing or only a cut-off knows."""
    settings = sound(settings)
    if word in ("sweep", "conditioning"):
        return _sweep_seconds(settings)
    if word == "ladder" and {"from_V", "to_V", "step_mV", "rest_s", "hold_s"} <= settings.keys():
        levels = 1 + round(abs(settings["to_V"] - settings["from_V"]) / to_si("step_mV", settings["step_mV"]))
        return float(levels * (settings["rest_s"] + settings["hold_s"]))
    if word == "gitt" and {"pulses", "pulse_s", "rest_s"} <= settings.keys():
        return float(settings["pulses"] * (settings["pulse_s"] + settings["rest_s"]))
    if word == "repeat":
        inner = [seconds(str(path[-1]), step) for path, step in steps_in(settings, "steps")]
        return float(settings.get("times", 1) * sum(part for part in inner if part is not None))
    return settings.get("for_s")


def _sweep_seconds(settings: Settings) -> float | None:
    if not {"from_V", "to_V", "rate_mV_s"} <= settings.keys():
        return None
    start, end = settings["from_V"], settings["to_V"]
    begin = settings.get("start_V", start)
    span = abs(end - begin) + abs(end - start) + abs(start - begin)
    return float(span / to_si("rate_mV_s", settings["rate_mV_s"]) * settings.get("cycles", 1))
