"""docs/reference/experiment-file.md from the models: every key with its unit, default and range.

python -m scripts.experiment_reference writes it; tests/house/test_experiment_reference.py says when it is out of date.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from opsicm.core.units import KEY_SUFFIX, suffix_of
from opsicm.experiment.cell_steps import CELL_STEPS, CutOff, EndCurrent, Until
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_bounds import AwaitedEvents
from opsicm.experiment.probe_steps import PROBE_STEPS, Modulation
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

Every key with its unit, default and range; made from the models by `scripts/experiment_reference.py`, so it is what the
program reads. `opsicm schema` prints the same as JSON Schema. A unit stands at the end of a key's name. Negative
current lithiates; potentials are against Li/Li⁺; z is up. A key without a default must be given; one with `none` may
be left out.
"""


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


def section(title: str, model: type[FileModel], level: str) -> str:
    """A heading, the model's docstring, and a table of its keys with unit, default and range."""
    said = " ".join((model.__doc__ or "").split())
    rows = [
        f"| `{key}` | {_unit(key)} | {_default(field)} | {_range(field)} |" for key, field in model.model_fields.items()
    ]
    return "\n".join(
        [f"{level} {title}\n", f"{said}\n", "| key | unit | default | range |", "|---|---|---|---|", *rows, ""]
    )


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
