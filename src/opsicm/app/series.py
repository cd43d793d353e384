"""`vary`: one experiment file, a series of runs, each as a file of its own would say it."""

from __future__ import annotations

import itertools
from typing import Any

from opsicm.protocol.experiment_file import LoadedExperiment, experiment_from_text
from opsicm.protocol.refusal import KeyPath
from opsicm.protocol.vary import parsed_path
from opsicm.protocol.yaml_text import yaml_text


def runs_of(loaded: LoadedExperiment) -> list[LoadedExperiment]:
    """The experiments that a file means: itself, or one for each combination of the values that it varies.

    The last path changes fastest. Each keeps the file's own name, so that a problem of it names that file; its title
    says what is varied. Raises `BadInput` where a value cannot stand where it belongs.
    """
    vary = loaded.experiment.vary
    if not vary:
        return [loaded]
    data = loaded.experiment.model_dump(mode="json", exclude_unset=True)
    del data["vary"]
    paths = [(text, parsed_path(text)) for text in vary]
    runs = []
    for values in itertools.product(*vary.values()):
        said = []
        one = _copy(data)
        for (text, path), value in zip(paths, values, strict=True):
            assert path is not None, text
            _put(one, path, value)
            said.append(f"{text} {value}")
        one["title"] = f"{data['title']} ({', '.join(said)})"
        runs.append(experiment_from_text(yaml_text(one), loaded.document.name))
    return runs


def _copy(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list | tuple) else data


def _put(data: Any, path: KeyPath, value: Any) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {}) if isinstance(data, dict) else data[part]
    data[path[-1]] = value
