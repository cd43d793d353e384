"""Refusals of unknown and missing keys, of unknown steps and of wrong values, each with a remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args

import annotated_types
from pydantic_core import ErrorDetails

from opsicm.core.units import KEY_SUFFIX, factor, suffix_of
from opsicm.experiment.cell_steps import CELL_STEPS
from opsicm.experiment.current_words import DIRECTIONS, MAGNITUDE_REMEDY
from opsicm.experiment.key_descriptions import example_value
from opsicm.experiment.probe_steps import PROBE_STEPS
from opsicm.experiment.quantities import (
    C_RATE,
    DECIMAL_POINT,
    Meaning,
    Quantity,
    dimension,
    dimension_text,
    meanings,
    pair_in,
    quantity,
    unit_named,
    unit_of_key,
    unknown_unit,
    words_of_key,
)
from opsicm.experiment.refusal import KeyPath, Refusal, below
from opsicm.experiment.step_model import FileModel, word_of
from opsicm.experiment.yaml_file import inline

# -- Unknown keys, missing keys, unknown steps.

MODELS: Final = {"cell": CELL_STEPS, "probe": PROBE_STEPS}
STEPS: Final = {program: tuple(models) for program, models in MODELS.items()}
# Of two spellings, by difflib's ratio: `sweeps` is 0.91 like `sweep`, `start_um` 0.62 like `to_um`.
_LIKENESS: Final = 0.72
_OTHER: Final = {"cell": "probe", "probe": "cell"}


def name_of(model: type[FileModel]) -> str:
    """The name of a model in messages: a step's word, otherwise its display name."""
    word = getattr(model, "word", model.display_name)
    return word or model.__name__.lower()


def missing_key(owner: type[FileModel], path: KeyPath) -> Refusal:
    """The refusal of a model without a key that it needs."""
    key = str(path[-1])
    return Refusal(path, "", f"is missing and {name_of(owner)} needs it", f"add {example_of(owner, key)}")


def misplaced(owner: type[FileModel], missing: str, beside: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside a missing key but belongs inside it: `for: 20 min` of a current that has no `until`."""
    inner = owner.model_fields[missing].annotation
    if not (isinstance(inner, type) and issubclass(inner, FileModel)):
        return {}
    names = {word for key in inner.model_fields for word in (key, *words_of_key(key))}
    return {key: value for key, value in beside.items() if key in names and key not in owner.model_fields}


def moved_inside(path: KeyPath, settings: Mapping[str, Any]) -> Refusal:
    """The refusal of a model whose settings stand beside the key that holds them."""
    limit = f"is missing, and {' and '.join(settings)} stand{'s' if len(settings) == 1 else ''} outside it"
    written = ", ".join(f"{key}: {inline(value)}" for key, value in settings.items())
    return Refusal(path, "", limit, f"write {path[-1]}: {{{written}}}")


def example_of(owner: type[FileModel], key: str) -> str:
    """A key with an example value: `rate_mV_s: 0.3`."""
    value = example_value(owner, key)
    return f"{key}: …" if value is None or value == {} else f"{key}: {inline(value)}"


def example_settings(model: type[FileModel]) -> dict[str, Any]:
    """The settings of a step as it might be written: what it needs, with the examples of its keys."""
    needed = {key: field for key, field in model.model_fields.items() if field.is_required() or field.default is None}
    return {key: field.examples[0] for key, field in needed.items() if field.examples}


def unknown_key(owner: type[FileModel], path: KeyPath, value: Any) -> Refusal:
    """The refusal of a key that the model does not have, with the key that was probably meant."""
    key = str(path[-1])
    meant = closest_key(owner, key)
    if meant is None:
        remedy = f"its keys are {', '.join(owner.model_fields)}"
    else:
        remedy = f"did you mean {meant}?{_unit_advice(key, meant, value)}"
    return Refusal(path, value, f"{name_of(owner)} has no such key", remedy)


def given_twice(owner: type[FileModel], path: KeyPath, value: Any, document: Any) -> Refusal | None:
    """The refusal of a number with its unit beside the key that it stands for: `for: 1 h` beside `for_s: 3600`."""
    key, holder = str(path[-1]), _holder(document, path)
    same = [known for known in owner.model_fields if key in words_of_key(known) and known in holder]
    if not same or not isinstance(value, str | list):
        return None
    return Refusal(path, value, f"{same[0]} is given too, and both say the same thing", f"delete {key} or {same[0]}")


def closest_key(owner: type[FileModel], key: str) -> str | None:
    """The key that was probably meant by a misspelt one; a wrong unit at its end is the likeliest mistake."""
    same_stem = [known for known in owner.model_fields if _ending(key, known) is not None]
    fitting = [known for known in same_stem if _same_dimension(_written_unit(key, known), unit_of_key(known))]
    if same_stem:
        return max(fitting or same_stem, key=lambda known: difflib.SequenceMatcher(None, key, known).ratio())
    close = difflib.get_close_matches(key, list(owner.model_fields), 1, _LIKENESS)
    return close[0] if close else None


def _same_dimension(unit: str | None, other: str | None) -> bool:
    return unit is not None and other is not None and dimension(unit) == dimension(other) is not None


def _ending(key: str, known: str) -> str | None:
    """The end of `key` after the stem of a known key (`V_s` of `rate_V_s`); None when the stem differs."""
    for stem in words_of_key(known):
        if key.lower() == stem.lower():
            return ""
        if key.lower().startswith(f"{stem.lower()}_"):
            return key[len(stem) + 1 :]
    return None


def _written_unit(key: str, known: str) -> str | None:
    """The unit at the end of a misspelt key, if there is one: V/s for `rate_V_s`."""
    ending = _ending(key, known) or ""
    if not ending:
        return None
    spellings = (KEY_SUFFIX.get(ending, ""), ending, "/".join(ending.rsplit("_", 1)), ending.replace("_per_", "/"))
    units = [unit for unit in map(unit_named, spellings) if unit is not None]
    return units[0] if units else None


def is_misspelt(owner: type[FileModel], missing: str, unknown: list[str]) -> bool:
    """Whether a missing key stands among the unknown ones in a wrong spelling, which is reported already."""
    return any(closest_key(owner, key) == missing for key in unknown)


def _unit_advice(key: str, meant: str, value: Any) -> str:
    unit, ending = unit_of_key(meant), _ending(key, meant)
    if unit is None or ending is None:
        return ""
    expected = f" the unit expected is {written_form(unit)}"
    written, stem = _written_unit(key, meant), words_of_key(meant)[0]
    given = quantity(value) if isinstance(value, str) else None
    if given is not None and given.unit:
        converted = given.in_unit(unit)
        if converted is None:
            return f"{expected}, and {given.unit} measures something else, {dimension_text(given.unit)}"
        return f"{expected}, so write {meant}: {converted:.12g}, or {stem}: {value}"
    plain = value if _is_number(value) else given.value if given is not None else None
    if not ending and plain is not None:
        number = f"{plain:.12g} {written_form(unit)}"
        return f"{expected}: write {stem}: {number}, or {meant}: {plain:.12g} if that is what it is"
    if not ending and isinstance(value, str) and (likely := meanings(value, unit)):
        return f"{expected}: write {meant}: {_readings(likely)}"
    if written is None:
        return expected
    if not _same_dimension(written, unit):
        return f"{expected}, and {written} measures something else, {dimension_text(written)}"
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(_is_number(number) for number in numbers):
        return expected
    converted_numbers = [f"{Quantity(number, written).in_unit(unit):.12g}" for number in numbers]
    text = f"[{', '.join(converted_numbers)}]" if isinstance(value, list) else converted_numbers[0]
    return f"{expected}, so write {meant}: {text}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def written_form(unit: str) -> str:
    """A unit as it is written in a file: a C-rate is written C."""
    return "C" if unit == C_RATE else unit


def unknown_step(path: KeyPath, value: Any) -> Refusal:
    """The refusal of a step whose word is not known, or that is not a mapping with one word."""
    program = str(path[0])
    known = ", ".join(STEPS[program])
    word = word_of(value)
    if word is None:
        return Refusal(path, value, "a step is one word with its settings", _step_form(program, value))
    step_path = (*path, word)
    other = _OTHER[program]
    if word in STEPS[other]:
        return Refusal(step_path, "", f"is a step of the {other} program", f"move it below {other}:")
    close = difflib.get_close_matches(word, STEPS[program], 1, _LIKENESS)
    remedy = f"did you mean {close[0]}?" if close else f"steps are {known}"
    return Refusal(step_path, "", f"is no step of the {program} program", remedy)


def _step_form(program: str, value: Any) -> str:
    """The step that was probably meant, as it should be written."""
    words = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
    meant = next((word for word in words if word in MODELS[program]), STEPS[program][0])
    form = f"write - {meant}: {inline(example_settings(MODELS[program][meant]))}"
    indent = isinstance(value, dict) and value.get(meant, "") is None
    return f"{form}, or indent its settings further than the word" if indent else form


# -- Nested models: the model at a path, and the refusals of every model in a file.


def models_in(annotation: Any) -> list[type[FileModel]]:
    """Every model that an annotation mentions, in order."""
    if isinstance(annotation, type) and issubclass(annotation, FileModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def model_at(root: type[FileModel], path: KeyPath) -> type[FileModel] | None:
    """The model of the value at `path`; None where the value has none, as a number."""
    current: list[type[FileModel]] = [root]
    word_is_next = False  # after a list of steps the path goes on with the word of one
    for part in path:
        if isinstance(part, int):
            continue
        if word_is_next:
            current = [model for model in current if getattr(model, "word", None) == part]
            word_is_next = False
        else:
            field = current[0].model_fields.get(part) if current else None
            current = [] if field is None else models_in(field.annotation)
            word_is_next = any(hasattr(model, "word") for model in current)
    return current[0] if len(current) == 1 and not word_is_next else None


def refusals_within(model: type[FileModel], given: Mapping[str, Any]) -> Iterator[Refusal]:
    """The refusals by `model` and by every model inside it of `given`, the file's form."""
    for key, field in model.model_fields.items():
        inner = models_in(field.annotation)
        value = given.get(key)
        if len(inner) == 1 and isinstance(value, dict):
            yield from below(refusals_within(inner[0], value), key)
        elif isinstance(value, list):
            yield from below(_refusals_of_items(inner, value), key)
    yield from model.refusals(given)


def _refusals_of_items(models: list[type[FileModel]], items: list[Any]) -> Iterator[Refusal]:
    for index, item in enumerate(items):
        word = word_of(item)
        for model in models:
            if word is not None and getattr(model, "word", None) == word and isinstance(item[word], dict):
                yield from below(refusals_within(model, item[word]), index, word)


def without_wrong_values(data: dict[str, Any], unknown: list[KeyPath], wrong: list[KeyPath]) -> dict[str, Any]:
    """`data` without its unknown keys, and with None in place of every value that is wrong in itself."""
    kept: dict[str, Any] = _copy(data)
    for path in wrong:
        _blank(kept, path)
    for path in unknown:
        holder = _holder(kept, path)
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
    return kept


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _holder(data: Any, path: KeyPath) -> Any:
    """The mapping or list that holds the last part of `path`; None where an earlier part is absent."""
    for part in path[:-1]:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _blank(data: dict[str, Any], path: KeyPath) -> None:
    holder = _holder(data, path)
    if isinstance(holder, dict):
        if path[-1] in holder:
            holder[path[-1]] = None
    elif isinstance(holder, list) and path[-2] in _STEP_LISTS and isinstance(path[-1], int):
        holder[path[-1]] = None  # a step is not removed, so that the others keep their numbers
    elif isinstance(holder, list):
        _blank(data, path[:-1])  # a pair with one wrong value is wrong as a whole


_STEP_LISTS = ("cell", "probe", "steps")


# -- Values of the wrong kind or beyond a limit.

_LIMITS: Final = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_KINDS: Final = {
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": "may have 500 characters at most",
    "tuple_type": "must be a list in brackets",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
}


def wrong_value(root: type[FileModel], detail: ErrorDetails) -> Refusal:
    """The refusal for a pydantic error about one value."""
    path, value, kind = detail["loc"], detail["input"], detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    if kind in _LIMITS:
        bound, words = _LIMITS[kind]
        limit = f"must be {words} {context[bound]:g}{_unit(key)}"
        return Refusal(path, value, limit, _limit_remedy(root, path, key, value))
    if kind == "literal_error":
        choices = context["expected"]
        limit = f"must be {choices}".replace("'", "")
        return Refusal(path, value, limit, _literal_remedy(choices, value))
    if kind == "string_pattern_mismatch" and key == "during":
        return Refusal(path, value, "must name a cell step", "write it as during: cell[0], counted from 0")
    if kind == "string_pattern_mismatch":
        limit = "is no name, or has characters that do not belong in one"
        return Refusal(path, value, limit, _by_example(root, path, "write letters, digits and underscores"))
    if kind in ("too_short", "too_long"):
        bound = context["min_length"] if kind == "too_short" else context["max_length"]
        words = "at least" if kind == "too_short" else "at most"
        return Refusal(path, value, f"must have {words} {bound} entries", _by_example(root, path))
    if kind == "missing":  # an entry of a pair
        return Refusal(path[:-1], value, "has too few entries", _by_example(root, path))
    limit = _KINDS.get(kind, detail["msg"])
    return Refusal(path, value, limit, _kind_remedy(root, path, kind, value))


def _unit(key: str) -> str:
    suffix = suffix_of(key)
    return f" {KEY_SUFFIX[suffix]}" if suffix else ""


def _literal_remedy(expected: str, value: Any) -> str:
    close = difflib.get_close_matches(str(value), re.findall(r"'([^']*)'", expected), 1)
    return f"did you mean {close[0]}?" if close else "write one of these"


# A remedy that says "write for_s: 30" means what was typed; where that is not certain, an example shows the form, after
# an "as". Followed to the letter, an example is a value that nobody typed.


def _kind_remedy(root: type[FileModel], path: KeyPath, kind: str, value: Any) -> str:
    key = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    owner = model_at(root, path[:-1])
    if kind == "string_type" and path[-1] in DIRECTIONS:
        return MAGNITUDE_REMEDY
    if kind == "string_type":  # 0x10 and 012 are numbers too, so that the text as it was written is not known here
        number = isinstance(value, int) and not isinstance(value, bool)
        return f'put it in quotes, as "{value}"' if number else "write a text, in quotes"
    if kind == "bool_type":
        meant = flag_meant(value)
        return "write true or false" if meant is None else f"write {key}: {inline(meant)}"
    if kind in ("float_type", "int_type", "int_from_float"):
        if isinstance(value, list) and len(value) == 1 and isinstance(path[-1], str):
            value = value[0]
        if isinstance(value, str):
            remedy = _number_remedy(key, value, path, owner)
            return remedy if remedy is not None else f"write a plain number, {_as_example(owner, key)}".rstrip(", ")
        if _is_number(value) and isinstance(value, float) and kind != "float_type" and abs(value) < 1e15:
            return _whole_remedy(owner, key, value)
        return f"write {key}: {value:.12g}" if _is_number(value) else _by_example(root, path, "write a plain number")
    if kind == "tuple_type" and (list_of_it := _in_brackets(owner, key, value)) is not None:
        return f"write {list_of_it}"
    return _by_example(root, path)


_TRUE: Final = ("true", "yes", "on", "y", "1")
_FALSE: Final = ("false", "no", "off", "n", "0", "none", "not", "never")


def flag_meant(value: Any) -> bool | None:
    """What a value says where true or false belongs; None where it says neither."""
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def _whole_remedy(owner: type[FileModel] | None, key: str, value: float) -> str:
    """The whole number that was written, or those beside it that the key allows."""
    low = int(value // 1)
    if value == low:
        return f"write {key}: {low}"
    field = owner.model_fields.get(key) if owner is not None else None
    bounds = [c.ge for c in field.metadata if isinstance(c, annotated_types.Ge)] if field is not None else []
    least = max((bound for bound in bounds if isinstance(bound, int | float)), default=low)
    allowed = [number for number in (low, low + 1) if number >= least]
    if owner is not None:
        allowed = [number for number in allowed if all(r.path != (key,) for r in owner.refusals({key: number}))]
    return f"write {' or '.join(map(str, allowed))}" if allowed else "write a whole number"


def _by_example(
    root: type[FileModel], path: KeyPath, otherwise: str = "write its keys in braces, as {key: value}"
) -> str:
    while path and isinstance(path[-1], int):
        path = path[:-1]
    owner = model_at(root, path[:-1]) if path else None
    if not path:
        return "write keys and values"
    sample = _as_example(owner, str(path[-1]))
    return f"write it {sample}" if sample else otherwise


def _as_example(owner: type[FileModel] | None, key: str) -> str:
    """`as rate_mV_s: 0.3`; empty where the key has no example."""
    if owner is None or key not in owner.model_fields:
        return ""
    sample = example_of(owner, key)
    return "" if sample.endswith("…") else f"as {sample}"


_ALIKE: Final = ("pixels", "size_um", "points")  # of x and y: one number may be said for both


def _in_brackets(owner: type[FileModel] | None, key: str, value: Any) -> str | None:
    """What stands for one value, or for `64 x 64`, where a list belongs: `pixels: [64, 64]`, `soc_pct: [50]`."""
    field = None if owner is None else owner.model_fields.get(key)
    if field is None or models_in(field.annotation):
        return None
    takes = _arguments(field.annotation)
    numbers = any(part in (int, float) for part in takes)
    pair = pair_in(value) if isinstance(value, str) and numbers else None
    if pair is not None and Ellipsis not in takes:
        return f"{key}: [{pair[0]:.12g}, {pair[1]:.12g}]"
    if numbers and _is_number(value) and Ellipsis not in takes:
        return f"{key}: [{value:.12g}, {value:.12g}]" if key in _ALIKE else None
    several = any(constraint.min_length > 1 for constraint in field.metadata if hasattr(constraint, "min_length"))
    fits = _is_number(value) if numbers else isinstance(value, str)
    return f"{key}: [{inline(value)}]" if fits and Ellipsis in takes and not several else None


def _arguments(annotation: Any) -> list[Any]:
    return [part for argument in get_args(annotation) for part in (argument, *_arguments(argument))]


def _number_remedy(key: str, text: str, path: KeyPath, owner: type[FileModel] | None) -> str | None:
    """What to write instead of a text where a number belongs; each number in it is the one that was meant.

    None where nobody knows what was meant.
    """
    unit = unit_of_key(key)
    sample = "" if owner is None or key not in owner.model_fields else example_of(owner, key)
    sample = "" if sample.endswith("…") else f", as {sample}"
    place = "" if path and isinstance(path[-1], int) else f"{key}: "  # one of several numbers in brackets
    given, strange = quantity(text), unknown_unit(text)
    if unit is not None and (strange or (given is not None and given.unit and given.in_unit(unit) is None)):
        written = f"{strange} is no unit known here" if given is None else _measures(given.unit)
        form = written_form(unit)
        return f"{written}, and {key} is {dimension_text(unit)} in {form}: write it in {form}{sample}"
    if unit is None and (strange or (given is not None and given.unit)):
        return _number_of_no_unit(key, text, owner) or f"{key} takes a number without a unit{sample}"
    if given is not None and given.unit and unit is not None:
        converted = given.in_unit(unit)
        if given.unit == unit:
            return f"write {converted:.12g} alone, without a unit: the unit is in the name of the key"
        if not place:
            return f"write {converted:.12g}: the unit, {unit}, is in the name of the key"
        word = words_of_key(key)[0]
        return f"write {key}: {converted:.12g}, since the unit is in the name of the key, or {word}: {text}"
    likely = meanings(text, unit)
    if not likely:
        return None
    values = [f"{meaning.value:.12g}" for meaning in likely]
    if owner is not None and key in owner.model_fields and int in _types(owner, key):
        whole = [f"{meaning.value:.12g}" for meaning in likely if meaning.value == meaning.value // 1]
        if len(whole) != 1:
            return _whole_remedy(owner, key, likely[0].value) if not whole else f"write {' or '.join(whole)}"
        return f"write {place}{whole[0]}"
    if len(values) > 1:
        return f"write {place}{_readings(likely)}"
    if likely[0].reading == DECIMAL_POINT:
        return f"write a decimal point: {values[0]}"
    return f"write {values[0]} alone, without quotes" if values[0] == text.strip() else f"write {place}{values[0]}"


def _types(owner: type[FileModel], key: str) -> list[Any]:
    annotation = owner.model_fields[key].annotation
    return [annotation, *_arguments(annotation)]


_IN_SI: Final = ("A", "m", "V")


def _number_of_no_unit(key: str, text: str, owner: type[FileModel] | None) -> str | None:
    """A number with a unit where the key has none: a share of it, SI where the key is SI, or `value` beside `unit`."""
    field = None if owner is None else owner.model_fields.get(key)
    if owner is None or field is None or int in _types(owner, key):
        return None
    if key == "value" and "unit" in owner.model_fields and (given := quantity(text)) is not None and given.unit:
        return f"write value: {given.value:.12g}, and its unit as unit: {given.unit}"
    if key in ("gain", "offset"):  # of a channel: the SI value of one unit of its reading, so that `/V` adds nothing
        given = quantity(re.sub(r"\s*/\s*V$", "", text.strip()) if key == "gain" else text)
        if given is not None and dimension(given.unit) in _IN_SI:
            return f"write {key}: {given.value * factor(given.unit):.12g}, since the number is in SI units"
        return None
    given = quantity(text)
    if given is not None and given.unit and dimension(given.unit) == "1":
        return f"write {key}: {given.in_unit('1'):.12g}"
    return None


def _readings(likely: tuple[Meaning, ...]) -> str:
    """What a text may mean: `90 (1 min 30 s) or 5400 (1 h 30 min)`."""
    return " or ".join(f"{meaning.value:.12g}" + f" ({meaning.reading})" * bool(meaning.reading) for meaning in likely)


def _measures(unit: str) -> str:
    return f"{unit} measures {dimension_text(unit)}"


def _limit_remedy(root: type[FileModel], path: KeyPath, key: str, value: Any) -> str:
    special = _REMEDIES.get(key)
    advice = special(value) if special is not None else None
    if advice is not None:
        return advice
    owner = model_at(root, path[:-1])
    field = owner.model_fields.get(key) if owner is not None else None
    bounds = [_bound_text(constraint) for constraint in field.metadata] if field is not None else []
    span = " and ".join(text for text in bounds if text)
    return f"give a value {span}{_unit(key)}" if span else "give a value within the limit"


def _bound_text(constraint: Any) -> str:
    match constraint:
        case annotated_types.Gt():
            return f"above {constraint.gt:g}"
        case annotated_types.Ge():
            return f"of at least {constraint.ge:g}"
        case annotated_types.Lt():
            return f"below {constraint.lt:g}"
        case annotated_types.Le():
            return f"of at most {constraint.le:g}"
        case _:
            return ""


def _setpoint(value: float) -> str:
    remaining = 50 < value < 100
    meant = f": did you mean a drop of {100 - value:.6g}?" if remaining else ", as 2.0"
    return "setpoint_pct is the drop of the current that ends a fall, not what is left of it" + meant


_REMEDIES: Final[dict[str, Callable[[Any], str | None]]] = {
    "setpoint_pct": lambda value: _setpoint(value) if value > 0 else "give the drop that ends a fall, as 2.0",
    "rate_mV_s": lambda value: "a rate has no sign: the direction is from from_V to to_V" if value <= 0 else None,
    "cycles": lambda value: "leave the sweep out, or give 1 or more" if value < 1 else None,
    "ir_compensation_pct": lambda value: (
        "full compensation makes a potentiostat oscillate: use 97 or less" if value >= 100 else None
    ),
    "opsicm": lambda _: "this program reads version 1: write opsicm: 1",
    "opsicm_rig": lambda _: "this program reads version 1: write opsicm_rig: 1",
    "bias_V": lambda _: "give V_tip against Li/Li⁺, as 0.7",
}
