"""What to say about a key that is not known, a key that is missing, and a step that is none."""

from __future__ import annotations

import difflib
from typing import Any, Final

from opsicm.protocol.frozen import Frozen
from opsicm.protocol.one_key import word_of
from opsicm.protocol.refusal import KeyPath, Refusal
from opsicm.protocol.vocabulary import LATER_KEYS, LATER_STEPS, NOT_YET, STEPS
from opsicm.protocol.yaml_text import inline
from opsicm.units import KEY_SUFFIX, factor, si_unit, suffix_of

_LIKENESS: Final = 0.6  # of two spellings, by difflib's ratio
_OTHER: Final = {"cell": "probe", "probe": "cell"}


def name_of(model: type[Frozen]) -> str:
    """What a person calls a model: a step by its word, others by their key."""
    word = getattr(model, "word", None)
    return word if isinstance(word, str) else model.__name__.lower()


def missing_key(owner: type[Frozen], path: KeyPath) -> Refusal:
    """A key that must be given is not."""
    key = str(path[-1])
    return Refusal(path, "", f"is missing and {name_of(owner)} needs it", f"add {example_of(owner, key)}")


def example_of(owner: type[Frozen], key: str) -> str:
    """A key with a value that would do: `rate_mV_s: 0.3`."""
    examples = owner.model_fields[key].examples
    return f"{key}: {inline(examples[0])}" if examples else f"{key}: …"


def unknown_key(owner: type[Frozen], path: KeyPath, value: Any) -> Refusal:
    """A key that the model does not have: not executed yet, misspelt, or foreign."""
    key = str(path[-1])
    later = LATER_KEYS.get(name_of(owner), {}).get(key)
    if later is not None:
        return Refusal(path, value, NOT_YET, later)
    meant = meant_key(owner, key)
    if meant is None:
        known = ", ".join(owner.model_fields)
        return Refusal(path, value, f"{name_of(owner)} has no such key", f"its keys are {known}")
    return Refusal(
        path, value, f"{name_of(owner)} has no such key", f"did you mean {meant}?{_unit_advice(key, meant, value)}"
    )


def meant_key(owner: type[Frozen], key: str) -> str | None:
    """The key that a misspelt one stands for; a wrong unit at its end is the likeliest mistake."""
    known = list(owner.model_fields)
    for candidate in known:
        suffix = suffix_of(candidate)
        stem = candidate.removesuffix(f"_{suffix}") if suffix else candidate
        if suffix and (key.lower() == stem.lower() or key.lower().startswith(stem.lower() + "_")):
            return candidate
    close = difflib.get_close_matches(key, known, 1, _LIKENESS)
    return close[0] if close else None


def unmistaken(owner: type[Frozen], missing: str, unknown: list[str]) -> bool:
    """Whether a missing key is not one of the unknown ones in a wrong spelling, which is reported already."""
    return not any(meant_key(owner, key) == missing for key in unknown)


def _unit_advice(key: str, meant: str, value: Any) -> str:
    suffix = suffix_of(meant)
    if suffix is None or key.endswith(f"_{suffix}"):
        return ""
    unit = KEY_SUFFIX[suffix]
    written = suffix_of(key)
    if written is None or isinstance(value, bool) or not isinstance(value, int | float):
        return f" the unit expected is {unit}"
    if si_unit(KEY_SUFFIX[written]) != si_unit(unit):
        return f" the unit expected is {unit}, and {KEY_SUFFIX[written]} measures something else"
    converted = value * factor(KEY_SUFFIX[written]) / factor(unit)
    return f" the unit expected is {unit}, so write {meant}: {converted:.6g}"


def unknown_step(path: KeyPath, value: Any) -> Refusal:
    """A step whose word is not known, or that is no mapping with one word."""
    program = str(path[0])
    known = ", ".join(STEPS[program])
    form = f"write - {STEPS[program][0]}: {{…}}, its settings indented below the word or in braces; steps are {known}"
    word = word_of(value)
    if word is None:
        return Refusal(path, value, "a step is one word with its settings", form)
    here = (*path, word)
    if word in LATER_STEPS[program]:
        return Refusal(here, "", NOT_YET, f"steps of this version are {known}")
    if word in STEPS[_OTHER[program]] + LATER_STEPS[_OTHER[program]]:
        return Refusal(here, "", f"is a step of the {_OTHER[program]} program", f"move it below {_OTHER[program]}:")
    close = difflib.get_close_matches(word, [*STEPS[program], *LATER_STEPS[program]], 1, _LIKENESS)
    remedy = f"did you mean {close[0]}?" if close else f"steps are {known}"
    return Refusal(here, "", f"is no step of the {program} program", remedy)
