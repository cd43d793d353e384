"""docs/reference/experiment-file.md from the models: every key with its meaning, unit, default and range.

python -m scripts.experiment_reference writes it; tests/house/test_experiment_reference.py says when it is out of date.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from opsicm.core.units import KEY_SUFFIX, suffix_of
from opsicm.experiment.cell_steps import CELL_STEPS, CutOff, EndCurrent, Until
from opsicm.experiment.key_descriptions import description_of
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_bounds import AwaitedEvents
from opsicm.experiment.probe_steps import PROBE_STEPS, Modulation
from opsicm.experiment.quantities import words_of_key
from opsicm.experiment.setup import ElectrolyteSettings, Envelope, PipetteSettings, RecordingPolicies, SpecimenSettings
from opsicm.experiment.step_model import FileModel
from opsicm.experiment.twin_settings import FaultSettings, TermSwitches, TwinSettings
from opsicm.experiment.yaml_file import inline

PAGE: Final = Path(__file__).parents[1] / "docs/reference/experiment-file.md"
_SIGNS: Final = {
    annotated_types.Gt: ("gt", "> "),
    annotated_types.Ge: ("ge", "≥ "),
    annotated_types.Lt: ("lt", "< "),
    annotated_types.Le: ("le", "≤ "),
}
_INTRODUCTION: Final = """\
# The experiment file

Every key with its meaning, unit, default and range; made from the models by `scripts/experiment_reference.py`, so it is
what the program reads. `opsicm schema` prints the same as JSON Schema, with which [an editor](../tutorials/editor.md)
completes and explains every key. Negative current lithiates; potentials are against Li/Li⁺; z is up. A key without a
default must be given; one with `none` may be left out.

## Numbers and units

A unit stands at the end of a key's name, and the key takes a plain number in it: `for_s: 1800`. The same word without
the unit takes a number with its unit, in any unit of its kind:

| written | read as |
|---|---|
| `for: 30 min`, `for: 1 h 30 min` | `for_s: 1800`, `for_s: 5400` |
| `rate: -1/5 C`, `current: -C/5`, `c_rate: -C/5` | `c_rate: -0.2` |
| `current: -0.4 mA/cm²`, `current: -20 µA` | `current_mA_cm2: -0.4`, `current_mA: -0.02` |
| `rate: 0.3 mV/s` of a sweep | `rate_mV_s: 0.3` |
| `amplitude: 4 um`, `setpoint: 2 %` | `amplitude_nm: 4000`, `setpoint_pct: 2` |
| `size: [20 um, 20 um]`, `center: [0, 5 um]` | `size_um: [20, 20]`, `center_um: [0, 5]` |
| `vary: {cell[0].rest.for: [10 min, 1 h]}` | `vary: {cell[0].rest.for_s: [600, 3600]}` |

Two units that contradict each other (`rest_s: 30 min`), and numbers that may mean two things (`1:30`, `1,500`, `-1/5`
without a C), are refused with the number to write for each meaning.

## When a probe step runs

After the one before it, unless it says otherwise: `during: cell[1]` begins and ends with that cell step; `at:` waits
for events of the cell and runs once, to its own end, at each; `every_min: 30` (or `every: 30 min`) runs once at the
beginning of its cell step (`during`), or of the run, and after every interval. While a step with `at` or `every_min`
runs the present one is suspended. A repetition that is still running when the next one is due is not made up for, and
`check` refuses it. `opsicm check` prints the time line that follows, and `--plot plan.png` draws it:

    cell:
      - constant_current: {c_rate: -C/5, until: {potential: 50 mV}}
      - gitt: {current: -C/10, pulse: 10 min, rest: 1 h, pulses: 20}
    probe:
      - raster: {center: [0, 0 um], size: [20 um, 20 um], pixels: [64, 64], amplitude: 2 um, fall: 30 nm/ms,
                 setpoint: 2 %, every: 30 min, during: "cell[0]"}
      - park: {height: 15 um, during: "cell[1]"}
"""


def described(model: type[FileModel], key: str) -> str:
    """What a key of an experiment file says."""
    return description_of(model, key).text


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, section("The file", Experiment, "##")]
    blocks: dict[str, type[FileModel]] = {
        "pipette": PipetteSettings,
        "specimen": SpecimenSettings,
        "electrolyte": ElectrolyteSettings,
        "envelope": Envelope,
        "record": RecordingPolicies,
        "twin": TwinSettings,
        "twin.terms": TermSwitches,
        "twin.faults": FaultSettings,
    }
    parts += [section(f"`{name}`", model, "##") for name, model in blocks.items()]
    parts.append("## Cell steps\n")
    parts += [section(f"`{word}`", model, "###") for word, model in CELL_STEPS.items()]
    parts += [section("`until` of `constant_current`", Until, "###"), section("`until` of `gitt`", CutOff, "###")]
    parts.append(section("`until` of `hold`", EndCurrent, "###"))
    parts.append("## Probe steps\n")
    parts += [section(f"`{word}`", model, "###") for word, model in PROBE_STEPS.items()]
    parts += [section("`at`", AwaitedEvents, "###"), section("`modulate` of a hopping step", Modulation, "###")]
    return "\n".join(parts)


def section(
    title: str, model: type[FileModel], level: str, meaning: Callable[[type[FileModel], str], str] | None = described
) -> str:
    """A heading, the model's docstring, and a table of its keys with `meaning`, unit, default and range.

    `meaning` None leaves that column out, where the docstring says it all.
    """
    said = " ".join((model.__doc__ or "").split())
    rows = [
        f"| {_names(model, key)} |{'' if meaning is None else f' {meaning(model, key)} |'} {_unit(key)} | "
        f"{_default(field)} | {_range(field)} |"
        for key, field in model.model_fields.items()
    ]
    head = ["| key | meaning | unit | default | range |", "|---|---|---|---|---|"]
    if meaning is None:
        head = ["| key | unit | default | range |", "|---|---|---|---|"]
    return "\n".join([f"{level} {title}\n", f"{said}\n", *head, *rows, ""])


def _names(model: type[FileModel], key: str) -> str:
    """A key, and the words that take a number with its unit in its place."""
    words = [word for word in words_of_key(key) if word not in model.model_fields]
    return ", ".join(f"`{name}`" for name in (key, *words))


def _unit(key: str) -> str:
    suffix = suffix_of(key)
    return KEY_SUFFIX[suffix] if suffix else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "none"
    if isinstance(value, FileModel):
        return "its own"
    if value is PydanticUndefined or value in ((), {}):
        return "empty"
    return f"`{inline(list(value) if isinstance(value, tuple) else value)}`"


def _range(field: FieldInfo) -> str:
    bounds = " and ".join(dict.fromkeys(_bounds([*field.metadata, field.annotation])))
    return bounds or _choices(field.annotation)


def _bounds(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        for kind, (name, sign) in _SIGNS.items():
            if isinstance(part, kind):
                yield f"{sign}{getattr(part, name):g}"
        if isinstance(part, FieldInfo):
            yield from _bounds(list(part.metadata))
        arguments = typing.get_args(part)
        origin = typing.get_origin(part)
        if origin is typing.Annotated or origin in (tuple, typing.Union, types.UnionType):
            plain = [argument for argument in arguments if not _is_model(argument)]
            yield from _bounds(plain)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, FileModel)


def _choices(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    inner = [_choices(argument) for argument in typing.get_args(annotation) if argument is not type(None)]
    return next((text for text in inner if text), "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
