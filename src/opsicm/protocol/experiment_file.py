"""The experiment file: YAML in and out, every problem at once and with its line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from opsicm.errors import BadInput, Problem
from opsicm.protocol.experiment import Experiment
from opsicm.protocol.experiment_schema import json_schema
from opsicm.protocol.model_problems import made_of
from opsicm.protocol.refusal import KeyPath
from opsicm.protocol.rig_file import rig_path
from opsicm.protocol.twin_settings import Twin
from opsicm.protocol.yaml_file import Document, read_yaml, yaml_document
from opsicm.protocol.yaml_text import yaml_text

__all__ = ["LoadedExperiment", "experiment_from_text", "json_schema", "read_experiment", "to_yaml"]


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment and the file that it came from, so that a later check can still cite a line."""

    experiment: Experiment
    document: Document = field(repr=False)

    @property
    def text(self) -> str:
        """The file as it was written, comments and all."""
        return self.document.text

    def problem(self, path: KeyPath, value: object, limit: str, remedy: str) -> Problem:
        """A problem with the key at `path`, as `("cell", 0, "sweep", "rate_mV_s")`."""
        return self.document.problem(path, value, limit, remedy)

    def rig_path(self) -> Path:
        """The rig file that the experiment names; `BadInput` with its line when there is none."""
        try:
            return rig_path(self.experiment.rig, Path(self.document.name).parent)
        except BadInput as error:
            found = error.problems[0]
            raise BadInput(self.problem(("rig",), self.experiment.rig, found.limit, found.remedy)) from None


def read_experiment(path: Path | str) -> LoadedExperiment:
    """Read an experiment file; raises `BadInput` with every problem in it."""
    return _loaded(read_yaml(path))


def experiment_from_text(text: str, name: str = "<text>") -> LoadedExperiment:
    """Read an experiment from text that no file holds."""
    return _loaded(yaml_document(text, name))


def to_yaml(experiment: Experiment) -> str:
    """The experiment as a file, defaults written out: what was meant stays so when a default changes.

    `twin` is left out when it says nothing, since a real rig refuses the key.
    """
    data = experiment.model_dump(mode="json", exclude_none=True)
    if experiment.twin == Twin():
        del data["twin"]
    if not experiment.vary:
        del data["vary"]
    return yaml_text(data)


def _loaded(document: Document) -> LoadedExperiment:
    try:
        return LoadedExperiment(made_of(document, Experiment), document)
    except BadInput as error:
        found = [*error.problems, *_rig_problems(document)]
        raise BadInput(sorted(found, key=lambda problem: math.inf if problem.line is None else problem.line)) from None


def _rig_problems(document: Document) -> list[Problem]:
    """What is wrong with the rig that a file names which is wrong elsewhere: all is said at once."""
    named = document.data.get("rig")
    if not isinstance(named, str) or not named:
        return []
    try:
        path = rig_path(named, Path(document.name).parent)
    except BadInput as error:
        return [document.problem(("rig",), named, p.limit, p.remedy) for p in error.problems]
    if path.is_file():
        return []
    return [document.problem(("rig",), named, "there is no such file", "check the spelling and the folder")]
