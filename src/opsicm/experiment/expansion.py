"""Expanding an experiment file with `vary` into the experiments of the series."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.file import LoadedExperiment, to_yaml
from opsicm.experiment.model import Experiment
from opsicm.experiment.refusal import KeyPath
from opsicm.experiment.step_model import Scalar
from opsicm.experiment.validation import validated
from opsicm.experiment.vary import parsed_path
from opsicm.experiment.yaml_file import inline, shown

_LONGEST_TITLE: Final = 500


def expanded(loaded: LoadedExperiment) -> list[LoadedExperiment]:
    """One experiment for each combination of the values in `vary`, the last path changing fastest.

    Each has its values in its title, and as its text a file that runs it alone. Without `vary` the experiment itself is
    returned. Raises `BadInput` with every problem of any of them, at the line of the value's key in the file.
    """
    vary = loaded.experiment.vary
    if not vary:
        return [loaded]
    problems: dict[tuple[str, str], Problem] = {}
    runs: list[LoadedExperiment] = []
    for values in itertools.product(*vary.values()):
        chosen = dict(zip(vary, values, strict=True))
        try:
            runs.append(_with(loaded, chosen))
        except BadInput as error:
            combination = ", ".join(f"{path} = {shown(value)}" for path, value in chosen.items())
            for problem in error.problems:
                limit = f"{problem.limit} (with {combination})"
                problems.setdefault((problem.thing, problem.limit), replace(problem, limit=limit))
    if problems:
        raise BadInput(list(problems.values()))
    return runs


def _with(loaded: LoadedExperiment, chosen: Mapping[str, Scalar]) -> LoadedExperiment:
    data = {key: value for key, value in loaded.document.data.items() if key != "vary"}
    lines = dict(loaded.document.lines)
    for text, value in chosen.items():
        path = parsed_path(text)
        assert path is not None, "the experiment is valid, so its paths are"
        data = _put(data, path, value)
        lines[path] = lines.get(("vary", text), 1)
    data["title"] = _title(loaded.experiment.title, chosen)
    document = replace(loaded.document, data=data, lines=lines)
    experiment = validated(document, Experiment)
    header = f"# One run of a series: {inline(dict(chosen))}\n"
    return LoadedExperiment(experiment, replace(document, text=header + to_yaml(experiment)))


def _title(title: str, chosen: Mapping[str, Scalar]) -> str:
    values = ", ".join(
        f"{_key(path)} {value:g}" if _number(value) else f"{_key(path)} {value}" for path, value in chosen.items()
    )
    return f"{title[: _LONGEST_TITLE - len(values) - 3]} ({values})"


def _number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(path: str) -> str:
    return path.rsplit(".", 1)[-1]


def _put(holder: Any, path: KeyPath, value: Scalar) -> Any:
    """A copy of `holder` with `value` at `path`; missing mappings on the path are added."""
    first, rest = path[0], path[1:]
    if isinstance(holder, list):
        copy: Any = list(holder)
        assert isinstance(first, int)
        copy[first] = _put(holder[first], rest, value) if rest else value
        return copy
    inner = _put((holder or {}).get(first, {}), rest, value) if rest else value
    return {**(holder or {}), first: inner}
