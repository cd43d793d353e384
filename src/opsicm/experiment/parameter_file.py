"""Reading parameter sets: every number with its unit, its uncertainty, its status and its source.

A set may name `parents` and change a few of their leaves; a later parent overrides an earlier one, the set itself
overrides all, and another material inherits nothing of its parent's (`physics.parameters.not_inherited`). The packaged
sets are such files too. A leaf's name is its path of keys joined by dots; each leaf keeps its file and line, which
later refusals cite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.core.units import factor
from opsicm.experiment.data_files import read_curve
from opsicm.experiment.refusal import KeyPath, Refusal
from opsicm.experiment.rig_file import PRESETS, named_file
from opsicm.experiment.step_model import FileModel, Number, Text, Whole
from opsicm.experiment.validation import validated
from opsicm.experiment.yaml_file import Document, read_yaml
from opsicm.physics.parameters import Curve, Leaf, ParameterSet, Status, not_inherited, problem_with

DEFAULT_SET: Final = "graphite-li-ec-dec"
PARAMETER_SETS: Final = PRESETS / "parameters"
TABLES: Final = PARAMETER_SETS / "tables"
UNSTATED: Final = "unstated"
_PART_PREFIX: Final = "part-"  # of files that are no complete set, only parents of others
_HEADER: Final = ("opsicm_parameters", "title", "parents")


@dataclass(frozen=True, slots=True)
class LocatedLeaf:
    """A leaf with its file and line."""

    leaf: Leaf
    file: str
    line: int | None


class ParameterSetHeader(FileModel):
    """The header of a parameter set."""

    display_name: ClassVar[str] = "header"
    opsicm_parameters: Annotated[Whole, Field(ge=1, le=1, examples=[1])] = 1
    title: Text = "a parameter set"
    parents: tuple[Text, ...] = ()


class SourcedLeaf(FileModel):
    """A leaf with its status, which says how reliable it is, and its source."""

    status: Annotated[Status, Field(examples=["measured"])]
    source: Annotated[Text, Field(examples=["where the number is from"])]


class NumberLeaf(SourcedLeaf):
    """A number with its unit."""

    value: Annotated[Number, Field(examples=[1.56])]
    unit: Annotated[Text, Field(examples=["g/cm3"])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The unit is a known one."""
        unit = given.get("unit")
        try:
            factor("1" if unit is None else unit)
        except OutsideDomain as error:
            problem = error.problems[0]
            yield Refusal(("unit",), unit, problem.limit, problem.remedy)


class QuantityLeaf(NumberLeaf):
    """A number with its standard uncertainty."""

    display_name: ClassVar[str] = "a number"
    u: Annotated[Number, Field(ge=0, examples=[0.02])]


class UnstatedLeaf(NumberLeaf):
    """A number whose uncertainty nobody has stated."""

    display_name: ClassVar[str] = "a number"
    u: Literal["unstated"]


class IntervalLeaf(NumberLeaf):
    """A number of which only the range is known: sources differ, and none is better."""

    display_name: ClassVar[str] = "a number with a range"
    interval: Annotated[tuple[Number, Number], Field(examples=[[0.2, 0.4]])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The interval holds the value, its lower end first."""
        yield from super().refusals(given)
        ends, value = given.get("interval"), given.get("value")
        if ends is not None and value is not None and len(ends) == 2:
            low, high = ends
            if not (low < high and low <= value <= high):
                limit = f"its lower end comes first, and {value:g} lies inside"
                yield Refusal(("interval",), ends, limit, "correct its ends")


class WordLeaf(SourcedLeaf):
    """A choice or a name: `facing: {value: up, …}`."""

    display_name: ClassVar[str] = "a word"
    value: Annotated[Text, Field(examples=["up"])]
    unit: Literal["word"] = "word"


class StagesLeaf(SourcedLeaf):
    """Compositions with a name, each with its stoichiometry, in order."""

    display_name: ClassVar[str] = "a list of stages"
    value: Annotated[dict[Text, Number], Field(min_length=2)]


class CurveLeaf(SourcedLeaf):
    """A curve: the name of a packaged table or the path of another one, and its columns."""

    display_name: ClassVar[str] = "a curve"
    table: Annotated[Text, Field(examples=["ocp.csv"])]
    columns: Annotated[tuple[Text, ...], Field(min_length=2, examples=[["stoichiometry", "potential_V"]])]


def parameter_set_names() -> tuple[str, ...]:
    """The packaged sets, the default first."""
    names = sorted(file.stem for file in PARAMETER_SETS.glob("*.yaml") if not file.stem.startswith(_PART_PREFIX))
    return (DEFAULT_SET, *(name for name in names if name != DEFAULT_SET))


def parameter_set(name_or_path: str = DEFAULT_SET, relative_to: Path | str = ".") -> ParameterSet:
    """A packaged set by its name, or the set of a YAML file whose path is relative to `relative_to`."""
    if name_or_path.endswith((".yaml", ".yml")):
        return read_parameter_set(parameters_path(name_or_path, relative_to))
    if name_or_path not in parameter_set_names():
        limit = f"is no parameter set; sets are {', '.join(parameter_set_names())}"
        raise BadInput(Problem("parameter set", repr(name_or_path), limit, "write one of these, or a .yaml file"))
    return _packaged_set(name_or_path)


@cache
def _packaged_set(name: str) -> ParameterSet:
    return replace(read_parameter_set(PARAMETER_SETS / f"{name}.yaml"), name=name)


def parameters_path(name_or_path: str, relative_to: Path | str = ".") -> Path:
    """The file of a parameter set: a packaged one by its name, or a path relative to `relative_to`."""
    return named_file(name_or_path, Path(relative_to), PARAMETER_SETS, "parameters")


def read_parameter_set(path: Path | str) -> ParameterSet:
    """The parameter set of a file; without a packaged ancestor it changes the leaves of the default set.

    Raises `BadInput` with the line of every leaf that no set has, or whose value or unit is of the wrong kind.
    """
    leaves = read_parameters(path)
    if not any(Path(stated.file).is_relative_to(PARAMETER_SETS) for stated in leaves.values()):
        leaves = _merged(read_parameters(PARAMETER_SETS / f"{DEFAULT_SET}.yaml"), leaves)
    problems = [
        replace(problem, file=stated.file, line=stated.line)
        for name, stated in leaves.items()
        if (problem := problem_with(name, stated.leaf))
    ]
    if problems:
        raise BadInput(problems)
    title = str(read_yaml(path).data.get("title", ParameterSetHeader().title))
    chosen = ParameterSet(str(path), title, MappingProxyType({name: stated.leaf for name, stated in leaves.items()}))
    try:
        chosen.values  # noqa: B018  refuses numbers that no cell can have
    except OutsideDomain as error:
        lines = {name: stated.line for name, stated in leaves.items() if stated.file == str(path)}
        refused = [replace(problem, file=str(path), line=lines.get(problem.thing)) for problem in error.problems]
        raise BadInput(refused) from None
    return chosen


def read_parameters(path: Path | str) -> dict[str, LocatedLeaf]:
    """Every leaf of a parameter set and of its parents; raises `BadInput` with every problem in a file."""
    return _read(Path(path), ())


def _merged(below: Mapping[str, LocatedLeaf], above: Mapping[str, LocatedLeaf]) -> dict[str, LocatedLeaf]:
    dropped = not_inherited(
        {name: stated.leaf for name, stated in below.items()}, {name: stated.leaf for name, stated in above.items()}
    )
    return {**{name: stated for name, stated in below.items() if name not in dropped}, **above}


def _read(path: Path, children: tuple[Path, ...]) -> dict[str, LocatedLeaf]:
    document = read_yaml(path)
    header_keys = {key: value for key, value in document.data.items() if key in _HEADER}
    header = validated(Document(document.name, document.text, header_keys, document.lines), ParameterSetHeader)
    descendants = (*children, path.resolve())
    leaves: dict[str, LocatedLeaf] = {}
    for index, parent in enumerate(header.parents):
        leaves = _merged(leaves, _parent(document, index, parent, descendants))
    problems: list[Problem] = []
    body = {key: value for key, value in document.data.items() if key not in _HEADER}
    changed = _leaves(document, body, (), problems)
    if problems:
        raise BadInput(problems)
    return _merged(leaves, changed)


def _parent(document: Document, index: int, parent: str, descendants: tuple[Path, ...]) -> dict[str, LocatedLeaf]:
    key = ("parents", index)
    try:
        path = parameters_path(parent, Path(document.name).parent)
    except BadInput as error:
        problem = error.problems[0]
        raise BadInput(document.problem(key, parent, problem.limit, problem.remedy)) from None
    if path.resolve() in descendants:
        limit = "is its own ancestor, so the set would never end"
        raise BadInput(document.problem(key, parent, limit, "take it out of one of the files"))
    if not path.is_file():
        raise BadInput(document.problem(key, parent, "there is no such file", "check the spelling and the folder"))
    return _read(path, descendants)


def _leaves(
    document: Document, group: dict[str, Any], path: KeyPath, problems: list[Problem]
) -> dict[str, LocatedLeaf]:
    leaves: dict[str, LocatedLeaf] = {}
    for key, value in group.items():
        here = (*path, key)
        if not isinstance(value, dict) or not value:
            limit = "must be a leaf {value, unit, u, status, source}, or a group of leaves"
            problems.append(document.problem(here, value, limit, "give it a unit, an uncertainty and a source"))
        elif {"value", "unit", "table", "columns", "status", "source"} & value.keys():
            try:
                leaf = _leaf(document, value, here)
            except BadInput as error:
                problems.extend(error.problems)
            else:
                leaves[".".join(map(str, here))] = LocatedLeaf(leaf, document.name, document.line(here))
        else:
            leaves.update(_leaves(document, value, here, problems))
    return leaves


def _leaf(document: Document, given: dict[str, Any], path: KeyPath) -> Leaf:
    part = document.below(path)
    value = given.get("value")
    if "table" in given or "columns" in given:
        curve = validated(part, CurveLeaf)
        columns, units = read_curve(_table(Path(document.name).parent, curve.table), curve.columns, part)
        return Leaf(
            Curve(curve.table, tuple(columns.values()), tuple(units.values())),
            "curve",
            None,
            curve.status,
            curve.source,
        )
    if isinstance(value, dict):
        stages = validated(part, StagesLeaf)
        return Leaf(tuple(stages.value.items()), "stages", None, stages.status, stages.source)
    if isinstance(value, str) and given.get("unit", "word") == "word" and "u" not in given:
        word = validated(part, WordLeaf)
        return Leaf(word.value, "word", None, word.status, word.source)
    if given.get("u") == UNSTATED:
        number = validated(part, UnstatedLeaf)
        return Leaf(float(number.value), number.unit, None, number.status, number.source)
    if "interval" in given:
        ranged = validated(part, IntervalLeaf)
        low, high = map(float, ranged.interval)
        return Leaf(float(ranged.value), ranged.unit, None, ranged.status, ranged.source, (low, high))
    quantity = validated(part, QuantityLeaf)
    return Leaf(float(quantity.value), quantity.unit, float(quantity.u), quantity.status, quantity.source)


def _table(folder: Path, name: str) -> Path:
    """A packaged table by its name, or a file relative to `folder`."""
    packaged = TABLES / f"{name}.csv"
    return packaged if "/" not in name and packaged.is_file() else folder / name
