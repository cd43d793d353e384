"""The JSON Schema of an experiment file, with which an editor completes, explains and checks it.

Every key has a sentence and an example. What the program reads, the schema accepts: a key without its unit takes a
number with one, `for: 30 min` for `for_s: 1800`.
"""

from __future__ import annotations

from typing import Any, Final

from opsicm.experiment.key_descriptions import description_of, example_value
from opsicm.experiment.key_refusals import MODELS, example_settings, models_in
from opsicm.experiment.model import Experiment
from opsicm.experiment.quantities import C_RATE, unit_of_key, words_of_key
from opsicm.experiment.step_model import FileModel

Schema = dict[str, Any]
# A number, perhaps a fraction, and a unit, or C/5. Whether the unit is one of the key is for `check` to say.
_QUANTITY: Final = r"^[-+−]?\s*([0-9.][0-9.eE+/ -]*\s*[a-zA-Zµμ%°]|[0-9.]*\s*C\s*/\s*[0-9.]+$)"
_EXAMPLES: Final = {
    "s": "30 min",
    "min": "0.5 h",
    "h": "2 d",
    "nm": "4 um",
    "um": "500 nm",
    "V": "50 mV",
    "mV": "0.2 V",
    "mV/s": "0.3 mV/s",
    "mA": "-0.2 mA",
    "mA/cm2": "-0.4 mA/cm2",
    C_RATE: "-C/5",
}


def json_schema() -> Schema:
    """JSON Schema, draft 2020-12, of the YAML form: each step a mapping with one key, its word."""
    schema = Experiment.model_json_schema(mode="validation")
    plain: Schema = _for_a_file(schema)
    models = {model.__name__: model for model in _models(Experiment)}
    for name, definition in plain["$defs"].items():
        _complete(definition, models[name])
    _complete(plain, Experiment)
    _describe_steps(plain)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **plain, "title": "opsicm experiment file"}


def _models(model: type[FileModel]) -> dict[type[FileModel], None]:
    """The model and every one inside it, once."""
    found: dict[type[FileModel], None] = {}
    ahead = [model]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found[one] = None
            ahead += [inner for field in one.model_fields.values() for inner in models_in(field.annotation)]
    return found


def _for_a_file(node: Any) -> Any:
    """The schema without `null`, since an optional key may be omitted but not left empty, and without titles."""
    if isinstance(node, list):
        return [_for_a_file(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _for_a_file(value) for key, value in node.items() if not _is_noise(key, value)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del kept["anyOf"]
        kept = {**rest[0], **kept} if len(rest) == 1 else {**kept, "anyOf": rest}
    return kept


def _is_noise(key: str, value: Any) -> bool:
    return (key == "default" and value is None) or (key == "title" and isinstance(value, str))


def _complete(schema: Schema, model: type[FileModel]) -> None:
    """Describe every key of a model, and add the words that take a number with its unit."""
    properties: dict[str, Schema] = schema["properties"]
    words: dict[str, list[str]] = {}
    for key, value in properties.items():
        unit = unit_of_key(key)
        text = description_of(model, key).text
        value["description"] = text if unit is None or unit == C_RATE else f"{text[:-1]} [{unit}]."
        value.setdefault("examples", [example_value(model, key)])
        for word in words_of_key(key):
            if word not in model.model_fields:
                words.setdefault(word, []).append(key)
    if "c_rate" in properties:
        rate = properties["c_rate"]
        number = {name: rate.pop(name) for name in list(rate) if name not in ("description", "examples", "default")}
        rate["anyOf"] = [number, {"type": "string", "pattern": _QUANTITY}]
    if not words:
        return
    required = schema.pop("required", [])
    schema |= _with_words({name: schema[name] for name in ("oneOf", "anyOf", "not") if name in schema}, words)
    if plain := [key for key in required if not _words_for(key, words)]:
        schema["required"] = plain
    either = [_any_of(_names(key, words)) for key in required if _words_for(key, words)]
    twice = [{"required": [key, word]} for word, keys in words.items() for key in keys]
    schema["allOf"] = [*either, {"not": {"anyOf": twice}}]
    for word, keys in words.items():
        properties[word] = _word_schema(model, properties, keys)


def _word_schema(model: type[FileModel], properties: dict[str, Schema], keys: list[str]) -> Schema:
    text = description_of(model, keys[0]).text
    unit = unit_of_key(keys[0]) or ""
    described = f"{text[:-1]}, with its unit; the same as {' or '.join(keys)}."
    single: Schema = {"type": "string", "pattern": _QUANTITY}
    if properties[keys[0]].get("type") != "array":
        return {**single, "description": described, "examples": [_EXAMPLES.get(unit, f"1 {unit}")]}
    values = properties[keys[0]]["examples"][0]
    items = {"anyOf": [single, {"const": 0}]}
    count: Schema = {
        name: properties[keys[0]][name] for name in ("minItems", "maxItems") if name in properties[keys[0]]
    }
    example = [f"{value:g} {unit}" for value in values]
    return {"type": "array", "items": items, **count, "description": described, "examples": [example]}


def _words_for(key: str, words: dict[str, list[str]]) -> list[str]:
    return [word for word, keys in words.items() if key in keys]


def _names(key: str, words: dict[str, list[str]]) -> list[str]:
    return [key, *_words_for(key, words)]


def _any_of(names: list[str]) -> Schema:
    return {"anyOf": [{"required": [name]} for name in names]}


def _with_words(node: Any, words: dict[str, list[str]]) -> Any:
    """A condition on which keys there are, with the words counted as the keys that they stand for."""
    if isinstance(node, list):
        return [_with_words(item, words) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _with_words(value, words) for name, value in node.items() if name not in ("required", "oneOf")}
    if "oneOf" in node:  # exactly one of several ways: each word is one more
        keys = [choice["required"][0] for choice in node["oneOf"]]
        names = dict.fromkeys(name for key in keys for name in _names(key, words))
        kept["oneOf"] = [{"required": [name]} for name in names]
    if "required" in node:
        plain = [key for key in node["required"] if not _words_for(key, words)]
        either = [_any_of(_names(key, words)) for key in node["required"] if _words_for(key, words)]
        kept |= {"required": plain} if plain else {}
        kept |= {"allOf": [*kept.get("allOf", []), *either]} if either else {}
    return kept


def _describe_steps(node: Any) -> None:
    """Give each step's word the description of its step, and the step as it would be written."""
    if isinstance(node, list):
        for item in node:
            _describe_steps(item)
    elif isinstance(node, dict):
        properties = node.get("properties", {})
        required = (node.get("required") or [None])[0]
        if list(properties) == [required] and "$ref" in properties[required]:
            name = properties[required]["$ref"].rsplit("/", 1)[-1]
            step = next(model for models in MODELS.values() for model in models.values() if model.__name__ == name)
            properties[required]["description"] = " ".join((step.__doc__ or "").split())
            properties[required]["examples"] = [example_settings(step)]
        for value in node.values():
            _describe_steps(value)
