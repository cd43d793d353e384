"""Parameter sets as data: every number with its unit, its uncertainty, its status and its source.

A set may name `parents` and change a few of their leaves; a later parent overrides an earlier one, the
set itself overrides all. Names of leaves are the keys that lead to them, joined by dots. Which names exist is the
business of the physics that uses them: each leaf carries its file and line, so that the caller can cite them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field

from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.core.units import factor, si_unit
from opsicm.experiment.data_files import read_curve
from opsicm.experiment.model_problems import made_of
from opsicm.experiment.refusal import KeyPath, Refusal
from opsicm.experiment.rig_file import PRESETS, named_file
from opsicm.experiment.step_model import Frozen, Number, Text, Whole
from opsicm.experiment.yaml_file import Document, read_yaml
from opsicm.physics.parameters import DEFAULT_SET, ParameterSet, parameter_set, parameter_set_names
from opsicm.physics.parameters import Curve as SetCurve
from opsicm.physics.parameters import Leaf as SetLeaf

PARAMETER_SETS: Final = PRESETS / "parameters"
Status = Literal["measured", "literature", "derived", "assumed"]
_HEADER: Final = ("opsicm_parameters", "title", "parents")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number in SI; `u` is its standard uncertainty (k = 1) in the same unit."""

    name: str
    value: float
    unit: str
    u: float
    status: Status
    source: str
    file: str
    line: int | None


@dataclass(frozen=True, slots=True)
class Curve:
    """A table in SI: one tuple of numbers a column, by the column's name less its unit."""

    name: str
    columns: Mapping[str, tuple[float, ...]]
    units: Mapping[str, str]
    status: Status
    source: str
    file: str
    line: int | None


Leaf = Quantity | Curve


class Header(Frozen):
    """What a parameter set says about itself."""

    opsicm_parameters: Annotated[Whole, Field(ge=1, le=1, examples=[1])] = 1
    title: Text = "a parameter set"
    parents: tuple[Text, ...] = ()


class QuantityLeaf(Frozen):
    """A number as it stands in the file."""

    value: Annotated[Number, Field(examples=[1.56])]
    unit: Annotated[Text, Field(examples=["g/cm3"])]
    u: Annotated[Number, Field(ge=0, examples=[0.02])]
    status: Annotated[Status, Field(examples=["measured"])]
    source: Annotated[Text, Field(examples=["where the number is from"])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The unit is one that this program knows."""
        unit = given.get("unit")
        try:
            factor("1" if unit is None else unit)
        except OutsideDomain as error:
            found = error.problems[0]
            yield Refusal(("unit",), unit, found.limit, found.remedy)


class CurveLeaf(Frozen):
    """A curve as it stands in the file: a table beside it, and the names of its columns."""

    table: Annotated[Text, Field(examples=["ocp.csv"])]
    columns: Annotated[tuple[Text, ...], Field(min_length=2, examples=[["stoichiometry", "potential_V"]])]
    status: Annotated[Status, Field(examples=["measured"])]
    source: Annotated[Text, Field(examples=["where the curve is from"])]


def read_parameters(path: Path | str) -> dict[str, Leaf]:
    """Every leaf of a parameter set and of its parents, in SI; raises `BadInput` with every problem in a file."""
    return _read(Path(path), ())


def parameters_path(name_or_path: str, relative_to: Path | str = ".") -> Path:
    """The file of a parameter set: one of this package's by its name, or a path seen from `relative_to`."""
    return named_file(name_or_path, Path(relative_to), PARAMETER_SETS, "parameters")


def read_parameter_set(path: Path | str) -> ParameterSet:
    """The parameter set of a file: a set of this package (its parent, or the default) with the file's leaves in place.

    Raises `BadInput` with the line of every leaf that no set has, or whose unit is of another kind.
    """
    leaves = read_parameters(path)
    base = parameter_set(_package_parent(Path(path)) or DEFAULT_SET)
    changes: dict[str, SetLeaf] = {}
    problems: list[Problem] = []
    for name, leaf in leaves.items():
        known = base.leaves.get(name)
        if known is None:
            near = get_close_matches(name, base.leaves, 1)
            remedy = f"did you mean {near[0]}?" if near else "opsicm parameters show lists the names"
            problems.append(Problem(name, "", "is no parameter of this set", remedy, leaf.file, leaf.line))
        elif isinstance(leaf, Curve):
            changes[name] = SetLeaf(_set_curve(leaf), "curve", None, leaf.status, leaf.source)
        elif not isinstance(known.value, float) or known.si_unit != leaf.unit:
            limit = f"must be in units of {known.si_unit}"
            problems.append(Problem(name, leaf.unit, limit, f"as {known.value} {known.unit}", leaf.file, leaf.line))
        else:
            changes[name] = SetLeaf(leaf.value, leaf.unit, leaf.u, leaf.status, leaf.source)
    if problems:
        raise BadInput(problems)
    try:
        found = base.with_leaves(changes)
        found.values  # noqa: B018  refuses numbers that no cell can have
    except OutsideDomain as error:
        lines = {name: leaf.line for name, leaf in leaves.items()}
        refused = [replace(problem, file=str(path), line=lines.get(problem.thing)) for problem in error.problems]
        raise BadInput(refused) from None
    return replace(found, name=str(path))


def _set_curve(curve: Curve) -> SetCurve:
    x, y = (np.asarray(column) for column in list(curve.columns.values())[:2])
    return SetCurve(curve.name, x, y)


def _package_parent(path: Path) -> str | None:
    """The set of this package that a file, or the file it comes from, names as a parent."""
    parents = read_yaml(path).data.get("parents", ())
    for parent in parents:
        if parent in parameter_set_names():
            return str(parent)
        found = _package_parent(parameters_path(parent, path.parent))
        if found is not None:
            return found
    return None


def _read(path: Path, children: tuple[Path, ...]) -> dict[str, Leaf]:
    document = read_yaml(path)
    header_keys = {key: value for key, value in document.data.items() if key in _HEADER}
    header = made_of(Document(document.name, document.text, header_keys, document.lines), Header)
    line_of_ancestors = (*children, path.resolve())
    leaves: dict[str, Leaf] = {}
    for index, parent in enumerate(header.parents):
        leaves.update(_parent(document, index, parent, line_of_ancestors))
    problems: list[Problem] = []
    body = {key: value for key, value in document.data.items() if key not in _HEADER}
    leaves.update(_leaves(document, body, (), problems))
    if problems:
        raise BadInput(problems)
    return leaves


def _parent(document: Document, index: int, parent: str, ancestors: tuple[Path, ...]) -> dict[str, Leaf]:
    where = ("parents", index)
    if parent in parameter_set_names():
        return {}
    try:
        path = parameters_path(parent, Path(document.name).parent)
    except BadInput as error:
        found = error.problems[0]
        raise BadInput(document.problem(where, parent, found.limit, found.remedy)) from None
    if path.resolve() in ancestors:
        limit = "is its own ancestor, so the set would never end"
        raise BadInput(document.problem(where, parent, limit, "take it out of one of the files"))
    if not path.is_file():
        raise BadInput(document.problem(where, parent, "there is no such file", "check the spelling and the folder"))
    return _read(path, ancestors)


def _leaves(document: Document, group: dict[str, Any], path: KeyPath, problems: list[Problem]) -> dict[str, Leaf]:
    found: dict[str, Leaf] = {}
    for key, value in group.items():
        here = (*path, key)
        if not isinstance(value, dict) or not value:
            limit = "must be a leaf {value, unit, u, status, source}, or a group of leaves"
            problems.append(document.problem(here, value, limit, "give it a unit, an uncertainty and a source"))
        elif {"value", "unit", "table", "columns", "status", "source"} & value.keys():
            try:
                found[".".join(map(str, here))] = _leaf(document, value, here)
            except BadInput as error:
                problems.extend(error.problems)
        else:
            found.update(_leaves(document, value, here, problems))
    return found


def _leaf(document: Document, value: dict[str, Any], path: KeyPath) -> Leaf:
    name, line = ".".join(map(str, path)), document.line(path)
    part = document.below(path)
    if "table" in value or "columns" in value:
        curve = made_of(part, CurveLeaf)
        columns, units = read_curve(Path(document.name).parent / curve.table, curve.columns, part)
        return Curve(name, columns, units, curve.status, curve.source, document.name, line)
    leaf = made_of(part, QuantityLeaf)
    scale = factor(leaf.unit)
    unit = si_unit(leaf.unit)
    return Quantity(name, leaf.value * scale, unit, leaf.u * scale, leaf.status, leaf.source, document.name, line)
