"""The vocabulary of aurora-unicycler's JSON (0.4): its keys, and which of them a cell program cannot express.

Source: the package's documentation and model (EmpaEconversion/aurora-unicycler, MIT, read, not copied). Its rules, as
its own exporters apply them: 0 stands for "not given" in every optional number, `rate_C` goes before `current_mA`, a
`loop` counts all of its rounds, `loop_to` is a tag or a step's number counted from 1 with the tags, and a rate may be
written as a fraction (`C/5`, `D/2`, `1/3`; D discharges).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, NoReturn

from pydantic import Discriminator, Field, PlainValidator, Tag
from pydantic_core import PydanticCustomError

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.refusal import UNUSABLE, KeyPath, Refusal
from opsicm.experiment.step_model import FileModel, Number, OneKey, Potential, Seconds, Text, Whole, word_of
from opsicm.experiment.validation import validated
from opsicm.experiment.yaml_file import Document, shown, yaml_document

UNNAMED_SAMPLE: Final = "$NAME"
MilliAmpere = Annotated[Number, Field(ge=-10_000, le=10_000)]


def _loop_target(value: Any) -> Any:
    if (isinstance(value, str) and value.strip()) or (type(value) is int and value >= 1):
        return value
    context = {"limit": "must be a tag, or a step's number from 1", "remedy": "write the tag before the first step"}
    raise PydanticCustomError(UNUSABLE, "{limit}; {remedy}", context)


LoopTarget = Annotated[int | str, PlainValidator(_loop_target)]


class _Step(FileModel):
    word: ClassVar[str]
    id: Text | None = None


class OpenCircuitVoltageStep(_Step):
    """No current for a time."""

    word: ClassVar[str] = "open_circuit_voltage"
    until_time_s: Annotated[Seconds, Field(examples=[300])]


class ConstantCurrentStep(_Step):
    """A current until a time or a potential, whichever comes first. Positive raises the potential."""

    word: ClassVar[str] = "constant_current"
    rate_C: Annotated[Number, Field(ge=-1000, le=1000)] | None = None
    current_mA: MilliAmpere | None = None
    until_time_s: Seconds | None = None
    until_voltage_V: Potential | None = None

    @classmethod
    def refusals(cls, settings: Mapping[str, Any]) -> Iterator[Refusal]:
        """A current and an end; no cut-off at 0 V, which the format cannot express."""
        if "rate_C" not in settings and "current_mA" not in settings:
            yield Refusal((), "", "needs rate_C or current_mA, other than 0", "add one, as current_mA: -0.2")
        if "until_time_s" not in settings and "until_voltage_V" not in settings:
            yield Refusal((), "", "needs until_time_s or until_voltage_V", "add one, as until_voltage_V: 0.01")
        if settings.get("until_voltage_V") == 0:
            limit = "aurora-unicycler takes 0 for not given, so a cut-off at 0 V is lost there"
            yield Refusal(("until_voltage_V",), 0, limit, "write 0.001 if the cut-off is meant, or delete the key")


class ConstantVoltageStep(_Step):
    """A potential for a time, or until the current has decayed, whichever comes first.

    The current that ends it carries the direction of flow as its sign; its magnitude is compared.
    """

    word: ClassVar[str] = "constant_voltage"
    voltage_V: Annotated[Potential, Field(examples=[0.1])]
    until_time_s: Seconds | None = None
    until_rate_C: Annotated[Number, Field(ge=-1000, le=1000)] | None = None
    until_current_mA: MilliAmpere | None = None

    @classmethod
    def refusals(cls, settings: Mapping[str, Any]) -> Iterator[Refusal]:
        """At least one of the three ends."""
        if not any(key in settings for key in ("until_time_s", "until_rate_C", "until_current_mA")):
            needs = "needs until_time_s, until_rate_C or until_current_mA, other than 0"
            yield Refusal((), "", needs, "add one, as until_current_mA: 0.01")


class VoltageScanStep(_Step):
    """One linear segment of a sweep."""

    word: ClassVar[str] = "voltage_scan"
    start_voltage_V: Annotated[Potential, Field(examples=[1.7])]
    end_voltage_V: Annotated[Potential, Field(examples=[0.0])]
    scan_rate_mV_per_s: Annotated[Number, Field(gt=0, le=10_000, examples=[0.3])]

    @classmethod
    def refusals(cls, settings: Mapping[str, Any]) -> Iterator[Refusal]:
        """Two different potentials."""
        end = settings.get("end_voltage_V")
        if end is not None and end == settings.get("start_voltage_V"):
            yield Refusal(("end_voltage_V",), end, "must differ from start_voltage_V", "use constant_voltage to stay")


class LoopStep(_Step):
    """Back to a tag or to a step by its number, `cycle_count` rounds in all."""

    word: ClassVar[str] = "loop"
    loop_to: LoopTarget = 1
    cycle_count: Annotated[Whole, Field(ge=1, le=10_000, examples=[3])]


class TagStep(_Step):
    """A name to loop back to."""

    word: ClassVar[str] = "tag"
    tag: Annotated[Text, Field(examples=["cycle"])]


MethodStep = Annotated[
    Annotated[OpenCircuitVoltageStep, OneKey("open_circuit_voltage"), Tag("open_circuit_voltage")]
    | Annotated[ConstantCurrentStep, OneKey("constant_current"), Tag("constant_current")]
    | Annotated[ConstantVoltageStep, OneKey("constant_voltage"), Tag("constant_voltage")]
    | Annotated[VoltageScanStep, OneKey("voltage_scan"), Tag("voltage_scan")]
    | Annotated[LoopStep, OneKey("loop"), Tag("loop")]
    | Annotated[TagStep, OneKey("tag"), Tag("tag")],
    Discriminator(word_of),
]
SingleStep = OpenCircuitVoltageStep | ConstantCurrentStep | ConstantVoltageStep | VoltageScanStep
STEPS: Final = ("open_circuit_voltage", "constant_current", "constant_voltage", "voltage_scan", "loop", "tag")


class WriterVersion(FileModel):
    """The version of aurora-unicycler that wrote the file."""

    display_name: ClassVar[str] = "version"
    version: Text | None = None


class SampleSettings(FileModel):
    """The cell; its capacity [mAh] turns C-rates into currents."""

    display_name: ClassVar[str] = "sample"
    name: Text = UNNAMED_SAMPLE
    capacity_mAh: Annotated[Number, Field(gt=0, le=1e6)] | None = None


class RecordSettings(FileModel):
    """How often a row is recorded."""

    display_name: ClassVar[str] = "record"
    time_s: Annotated[Number, Field(ge=1e-3, le=3600, examples=[1])]
    current_mA: Number | None = None
    voltage_V: Number | None = None

    @classmethod
    def refusals(cls, settings: Mapping[str, Any]) -> Iterator[Refusal]:
        """No rows triggered by a change."""
        for key in ("current_mA", "voltage_V"):
            if key in settings:
                limit = "opsicm keeps rows by time, not by change"
                yield Refusal((key,), settings[key], limit, f"delete {key} and let time_s be short enough")


class SafetyLimits(FileModel):
    """Limits that end the run."""

    display_name: ClassVar[str] = "safety"
    max_voltage_V: Potential | None = None
    min_voltage_V: Potential | None = None
    max_current_mA: MilliAmpere | None = None
    min_current_mA: MilliAmpere | None = None
    max_capacity_mAh: Number | None = None
    delay_s: Number | None = None

    @classmethod
    def refusals(cls, settings: Mapping[str, Any]) -> Iterator[Refusal]:
        """The limits of an envelope: a range of potentials, and one magnitude for both currents."""
        least, most = settings.get("min_current_mA"), settings.get("max_current_mA")
        if (least, most) != (None, None) and (least is None or most is None or not least == -most < 0):
            key = "max_current_mA" if most is not None else "min_current_mA"
            limit = "envelope.cell_mA is one magnitude for both signs"
            larger = max(abs(least or 0), abs(most or 0)) or 20
            remedy = f"write min_current_mA: {-larger:g} and max_current_mA: {larger:g}"
            yield Refusal((key,), settings[key], limit, remedy)
        for key in ("max_capacity_mAh", "delay_s"):
            if settings.get(key):
                limit = "the envelope of opsicm has no such limit, and acts at once"
                yield Refusal((key,), settings[key], limit, f"delete {key}")


class CyclingProtocol(FileModel):
    """A whole file."""

    display_name: ClassVar[str] = "protocol"
    unicycler: WriterVersion = WriterVersion()
    sample: SampleSettings = SampleSettings()
    record: Annotated[RecordSettings, Field(examples=[{"time_s": 1}])]
    safety: SafetyLimits = SafetyLimits()
    method: Annotated[
        tuple[MethodStep, ...], Field(min_length=1, examples=[[{"step": "open_circuit_voltage", "until_time_s": 300}]])
    ]


_RATE: Final = re.compile(r"(?:(\d*\.?\d*)([CD])|([+-]?\d+\.?\d*))/(\d+\.?\d*)")
_UNSET_AT_ZERO: Final = ("rate_C", "current_mA", "until_time_s", "until_rate_C", "until_current_mA")


def read_protocol(text: str, name: str = "<text>") -> tuple[Document, CyclingProtocol]:
    """The protocol in a JSON text, and the lines of its keys; raises `BadInput` with every problem."""
    data = _json(text, name)
    _refuse_unknown_steps(data, name, lines := _key_lines(text, name))
    document = Document(name, text, _nested_steps(data), _nested_lines(data, lines))
    return document, validated(document, CyclingProtocol)


def protocol_text(protocol: CyclingProtocol) -> str:
    """The JSON text of a protocol, without unset keys."""
    data = protocol.model_dump(mode="json", exclude_none=True, exclude={"unicycler"})
    method = [{"step": word, **settings} for step in data.pop("method") for word, settings in step.items()]
    return json.dumps({**data, "method": method}, indent=4, ensure_ascii=False, allow_nan=False) + "\n"


def _json(text: str, name: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in pairs:
            if key in data:
                raise BadInput(Problem(repr(key), "", "is given twice", "delete one of the two", name))
            data[key] = value
        return data

    def no_number(word: str) -> NoReturn:
        raise BadInput(Problem("a number", word, "must be finite", "write a number", name))

    try:
        data = json.loads(text, object_pairs_hook=once, parse_constant=no_number)
    except json.JSONDecodeError as error:
        raise BadInput(Problem("the text", "", f"is not JSON: {error.msg}", "mend it", name, error.lineno)) from None
    except (RecursionError, ValueError) as error:  # ValueError: a whole number of thousands of digits
        limit = f"cannot be read as JSON: {str(error).split(';', maxsplit=1)[0]}"
        raise BadInput(Problem("the text", "", limit, "is this a cycling protocol?", name)) from None
    if any("\ud800" <= character <= "\udfff" for character in json.dumps(data, ensure_ascii=False)):
        limit = "half of a character, as \\ud800 alone, is no text"
        raise BadInput(Problem("the text", "", limit, "write the character itself", name))
    if not isinstance(data, dict):
        remedy = "begin it with {, and give record and method"
        raise BadInput(Problem("the top of the file", shown(data), "must be an object", remedy, name, 1))
    return data


def _key_lines(text: str, name: str) -> Mapping[KeyPath, int]:
    """Lines of the keys, from the YAML reader, which reads nearly every JSON text; none where it does not."""
    try:
        return yaml_document(text, name).lines
    except BadInput:
        return {}


def _refuse_unknown_steps(data: dict[str, Any], name: str, lines: Mapping[KeyPath, int]) -> None:
    method = data.get("method")
    problems = []
    for index, step in enumerate(method if isinstance(method, list) else []):
        word = step.get("step") if isinstance(step, dict) else None
        if word in STEPS:
            continue
        limit, remedy = "is no step of aurora-unicycler", f"steps that can be read are {', '.join(STEPS)}"
        if word == "impedance_spectroscopy":
            limit, remedy = "opsicm has no impedance step", "delete it"
        elif not isinstance(word, str):
            limit, remedy = "a step is an object with its word under step", f"write step: {STEPS[0]}"
        thing = f"method[{index}]"
        problems.append(Problem(thing, shown(word), limit, remedy, name, lines.get(("method", index))))
    if problems:
        raise BadInput(problems)


def _nested_steps(data: dict[str, Any]) -> dict[str, Any]:
    """The file without empty keys, rates as numbers, and each step below its word as in an experiment file."""
    kept: dict[str, Any] = {key: _without_empty(value) for key, value in data.items() if value is not None}
    if isinstance(kept.get("method"), list):
        kept["method"] = [{step["step"]: _settings(step)} for step in kept["method"]]
    return kept


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if not _is_empty(key, inner)}
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value


def _is_empty(key: str, value: Any) -> bool:
    return value is None or (value == "" and key not in ("loop_to", "tag"))


def _settings(step: dict[str, Any]) -> dict[str, Any]:
    settings = {
        key: _rate_number(value) if key.endswith("rate_C") else value for key, value in step.items() if key != "step"
    }
    return {key: value for key, value in settings.items() if not (key in _UNSET_AT_ZERO and _is_zero(value))}


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


def _rate_number(value: Any) -> Any:
    """A rate as a number; anything else unchanged, for the model to refuse."""
    match = _RATE.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
    if match is None:
        return value
    times, letter, plain, denominator = match.groups()
    if float(denominator) == 0 or times == ".":
        return value
    numerator = float(plain) if plain is not None else float(times or 1) * (-1 if letter == "D" else 1)
    return numerator / float(denominator)


def _nested_lines(data: dict[str, Any], lines: Mapping[KeyPath, int]) -> dict[KeyPath, int]:
    moved: dict[KeyPath, int] = {}
    for path, line in lines.items():
        if len(path) > 2 and path[0] == "method" and isinstance(path[1], int):
            moved[(*path[:2], data["method"][path[1]]["step"], *path[2:])] = line
        else:
            moved[path] = line
    return moved
