"""The vocabulary of aurora-unicycler's JSON (0.4): its keys, and what of them a cell program cannot say.

Source: the package's documentation and model (EmpaEconversion/aurora-unicycler, MIT, read, not copied). Its rules, as
its own exporters apply them: 0 stands for "not given" in every optional number, `rate_C` goes before `current_mA`, a
`loop` counts all of its rounds, `loop_to` is a tag or a step's number counted from 1 with the tags, and a rate may be
written as a fraction (`C/5`, `D/2`, `1/3`; D discharges).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Discriminator, Field, PlainValidator
from pydantic import Tag as Labelled
from pydantic_core import PydanticCustomError

from opsicm.protocol.frozen import Frozen, Number, Potential, Seconds, Text, Whole
from opsicm.protocol.one_key import OneKey, word_of
from opsicm.protocol.refusal import UNUSABLE, Refusal

NO_NAME: Final = "$NAME"
MilliAmpere = Annotated[Number, Field(ge=-10_000, le=10_000)]


def _target(value: Any) -> Any:
    if (isinstance(value, str) and value.strip()) or (type(value) is int and value >= 1):
        return value
    context = {"limit": "must be a tag, or a step's number from 1", "remedy": "write the tag before the first step"}
    raise PydanticCustomError(UNUSABLE, "{limit}; {remedy}", context)


Target = Annotated[int | str, PlainValidator(_target)]


class _Step(Frozen):
    word: ClassVar[str]
    id: Text | None = None


class OpenCircuitVoltage(_Step):
    """No current for a time."""

    word: ClassVar[str] = "open_circuit_voltage"
    until_time_s: Annotated[Seconds, Field(examples=[300])]


class ConstantCurrent(_Step):
    """A current until a time or a potential, whichever comes first. Positive raises the potential."""

    word: ClassVar[str] = "constant_current"
    rate_C: Annotated[Number, Field(ge=-1000, le=1000)] | None = None
    current_mA: MilliAmpere | None = None
    until_time_s: Seconds | None = None
    until_voltage_V: Potential | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A current and an end; no cut-off at 0 V, which that vocabulary cannot say."""
        if "rate_C" not in given and "current_mA" not in given:
            yield Refusal((), "", "needs rate_C or current_mA, other than 0", "add one, as current_mA: -0.2")
        if "until_time_s" not in given and "until_voltage_V" not in given:
            yield Refusal((), "", "needs until_time_s or until_voltage_V", "add one, as until_voltage_V: 0.01")
        if given.get("until_voltage_V") == 0:
            limit = "aurora-unicycler takes 0 for not given, so a cut-off at 0 V is lost there"
            yield Refusal(("until_voltage_V",), 0, limit, "write 0.001 if the cut-off is meant, or delete the key")


class ConstantVoltage(_Step):
    """A potential for a time, or until the current has fallen, whichever comes first.

    The sign of the current that ends it says on which side of the cell it flows; its magnitude is what is compared.
    """

    word: ClassVar[str] = "constant_voltage"
    voltage_V: Annotated[Potential, Field(examples=[0.1])]
    until_time_s: Seconds | None = None
    until_rate_C: Annotated[Number, Field(ge=-1000, le=1000)] | None = None
    until_current_mA: MilliAmpere | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """An end."""
        if not any(key in given for key in ("until_time_s", "until_rate_C", "until_current_mA")):
            needs = "needs until_time_s, until_rate_C or until_current_mA, other than 0"
            yield Refusal((), "", needs, "add one, as until_current_mA: 0.01")


class VoltageScan(_Step):
    """One straight piece of a sweep."""

    word: ClassVar[str] = "voltage_scan"
    start_voltage_V: Annotated[Potential, Field(examples=[1.7])]
    end_voltage_V: Annotated[Potential, Field(examples=[0.0])]
    scan_rate_mV_per_s: Annotated[Number, Field(gt=0, le=10_000, examples=[0.3])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A scan goes somewhere."""
        end = given.get("end_voltage_V")
        if end is not None and end == given.get("start_voltage_V"):
            yield Refusal(("end_voltage_V",), end, "must differ from start_voltage_V", "use constant_voltage to stay")


class Loop(_Step):
    """Back to a tag or to a step by its number, `cycle_count` rounds in all."""

    word: ClassVar[str] = "loop"
    loop_to: Target = 1
    cycle_count: Annotated[Whole, Field(ge=1, le=10_000, examples=[3])]


class Tag(_Step):
    """A name to loop back to."""

    word: ClassVar[str] = "tag"
    tag: Annotated[Text, Field(examples=["cycle"])]


MethodStep = Annotated[
    Annotated[OpenCircuitVoltage, OneKey("open_circuit_voltage"), Labelled("open_circuit_voltage")]
    | Annotated[ConstantCurrent, OneKey("constant_current"), Labelled("constant_current")]
    | Annotated[ConstantVoltage, OneKey("constant_voltage"), Labelled("constant_voltage")]
    | Annotated[VoltageScan, OneKey("voltage_scan"), Labelled("voltage_scan")]
    | Annotated[Loop, OneKey("loop"), Labelled("loop")]
    | Annotated[Tag, OneKey("tag"), Labelled("tag")],
    Discriminator(word_of),
]
Plain = OpenCircuitVoltage | ConstantCurrent | ConstantVoltage | VoltageScan
STEPS: Final = ("open_circuit_voltage", "constant_current", "constant_voltage", "voltage_scan", "loop", "tag")


class Version(Frozen):
    """Which aurora-unicycler wrote the file."""

    version: Text | None = None


class Sample(Frozen):
    """The cell; its capacity [mAh] turns C-rates into currents."""

    name: Text = NO_NAME
    capacity_mAh: Annotated[Number, Field(gt=0, le=1e6)] | None = None


class Record(Frozen):
    """How often a row is kept."""

    time_s: Annotated[Number, Field(ge=1e-3, le=3600, examples=[1])]
    current_mA: Number | None = None
    voltage_V: Number | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """No rows by change."""
        for key in ("current_mA", "voltage_V"):
            if key in given:
                limit = "opsicm keeps rows by time, not by change"
                yield Refusal((key,), given[key], limit, f"delete {key} and let time_s be short enough")


class Safety(Frozen):
    """Limits that end the run."""

    max_voltage_V: Potential | None = None
    min_voltage_V: Potential | None = None
    max_current_mA: MilliAmpere | None = None
    min_current_mA: MilliAmpere | None = None
    max_capacity_mAh: Number | None = None
    delay_s: Number | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """What an envelope can say: a range of potentials, and one magnitude for both currents."""
        least, most = given.get("min_current_mA"), given.get("max_current_mA")
        if (least, most) != (None, None) and (least is None or most is None or not least == -most < 0):
            key = "max_current_mA" if most is not None else "min_current_mA"
            limit = "envelope.cell_mA is one magnitude for both signs"
            larger = max(abs(least or 0), abs(most or 0)) or 20
            remedy = f"write min_current_mA: {-larger:g} and max_current_mA: {larger:g}"
            yield Refusal((key,), given[key], limit, remedy)
        for key in ("max_capacity_mAh", "delay_s"):
            if given.get(key):
                limit = "the envelope of opsicm has no such limit, and acts at once"
                yield Refusal((key,), given[key], limit, f"delete {key}")


class Protocol(Frozen):
    """A whole file."""

    unicycler: Version = Version()
    sample: Sample = Sample()
    record: Annotated[Record, Field(examples=[{"time_s": 1}])]
    safety: Safety = Safety()
    method: Annotated[
        tuple[MethodStep, ...],
        Field(min_length=1, examples=[[{"step": "open_circuit_voltage", "until_time_s": 300}]]),
    ]
