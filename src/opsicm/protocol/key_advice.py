"""What to say about a key that is not known, a key that is missing, and a step that is none."""

from __future__ import annotations

import difflib
from typing import Any, Final

from opsicm.errors import OutsideDomain
from opsicm.protocol.frozen import Frozen
from opsicm.protocol.one_key import word_of
from opsicm.protocol.refusal import KeyPath, Refusal
from opsicm.protocol.vocabulary import LATER_KEYS, MODELS, NOT_YET, STEPS
from opsicm.protocol.yaml_text import inline
from opsicm.units import KEY_SUFFIX, factor, si_unit, suffix_of

_LIKENESS: Final = 0.6  # of two spellings, by difflib's ratio
_OTHER: Final = {"cell": "probe", "probe": "cell"}


def name_of(model: type[Frozen]) -> str:
    """What a person calls a model: a step by its word, others by their key."""
    word = getattr(model, "word", model.called)
    return word or model.__name__.lower()


def missing_key(owner: type[Frozen], path: KeyPath) -> Refusal:
    """A key that must be given is not."""
    key = str(path[-1])
    return Refusal(path, "", f"is missing and {name_of(owner)} needs it", f"add {example_of(owner, key)}")


def example_of(owner: type[Frozen], key: str) -> str:
    """A key with a value that would do: `rate_mV_s: 0.3`."""
    field = owner.model_fields[key]
    if field.examples:
        return f"{key}: {inline(field.examples[0])}"
    default = field.get_default()
    return f"{key}: {inline(default)}" if isinstance(default, str | int | float) else f"{key}: …"


def _step_example(model: type[Frozen]) -> str:
    needed = {key: field for key, field in model.model_fields.items() if field.is_required() or field.default is None}
    settings = {key: field.examples[0] for key, field in needed.items() if field.examples}
    return f"- {name_of(model)}: {inline(settings)}"


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
    same_thing = [known for known in owner.model_fields if suffix_of(known) and _ending(key, known) is not None]
    if same_thing:
        return max(same_thing, key=lambda known: _likeness(key, known))
    close = difflib.get_close_matches(key, list(owner.model_fields), 1, _LIKENESS)
    return close[0] if close else None


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _ending(key: str, known: str) -> str | None:
    """What follows in `key` the stem of a known key (`V_s` of `rate_V_s`); None when the stem differs."""
    stem = known.removesuffix(f"_{suffix_of(known)}").lower()
    if key.lower() == stem:
        return ""
    return key[len(stem) + 1 :] if key.lower().startswith(f"{stem}_") else None


def _written_unit(key: str, known: str) -> str | None:
    """The unit that the end of a misspelt key says, if it says one: V/s for `rate_V_s`."""
    ending = _ending(key, known) or ""
    for unit in (KEY_SUFFIX.get(ending, ""), ending, "/".join(ending.rsplit("_", 1)), ending.replace("_per_", "/")):
        try:
            factor(unit)
        except OutsideDomain:
            continue
        return unit
    return None


def _measures_alike(key: str, known: str) -> bool:
    written = _written_unit(key, known)
    return written is not None and si_unit(written) == si_unit(_unit_of(known))


def _unit_of(known: str) -> str:
    return KEY_SUFFIX[suffix_of(known) or ""]


def unmistaken(owner: type[Frozen], missing: str, unknown: list[str]) -> bool:
    """Whether a missing key is not one of the unknown ones in a wrong spelling, which is reported already."""
    return not any(meant_key(owner, key) == missing for key in unknown)


def _unit_advice(key: str, meant: str, value: Any) -> str:
    if suffix_of(meant) is None or _ending(key, meant) is None:
        return ""
    unit = _unit_of(meant)
    written = _written_unit(key, meant)
    if written is None or isinstance(value, bool) or not isinstance(value, int | float):
        return f" the unit expected is {unit}"
    if not _measures_alike(key, meant):
        return f" the unit expected is {unit}, and {written} measures something else"
    return f" the unit expected is {unit}, so write {meant}: {value * factor(written) / factor(unit):.6g}"


def unknown_step(path: KeyPath, value: Any) -> Refusal:
    """A step whose word is not known, or that is no mapping with one word."""
    program = str(path[0])
    known = ", ".join(STEPS[program])
    word = word_of(value)
    if word is None:
        return Refusal(path, value, "a step is one word with its settings", _step_form(program, value))
    here = (*path, word)
    if word in STEPS[_OTHER[program]]:
        return Refusal(here, "", f"is a step of the {_OTHER[program]} program", f"move it below {_OTHER[program]}:")
    close = difflib.get_close_matches(word, STEPS[program], 1, _LIKENESS)
    remedy = f"did you mean {close[0]}?" if close else f"steps are {known}"
    return Refusal(here, "", f"is no step of the {program} program", remedy)


def _step_form(program: str, value: Any) -> str:
    """The step that was probably meant, as it should be written."""
    words = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
    meant = next((word for word in words if word in MODELS[program]), STEPS[program][0])
    form = f"write {_step_example(MODELS[program][meant])}"
    indent = isinstance(value, dict) and value.get(meant, "") is None
    return f"{form}, or indent its settings further than the word" if indent else form
