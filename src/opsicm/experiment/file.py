"""Reading and writing experiment files in YAML; every problem is reported at once, with its line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.model import Experiment
from opsicm.experiment.refusal import KeyPath
from opsicm.experiment.rig_file import rig_path
from opsicm.experiment.twin_settings import TwinSettings
from opsicm.experiment.validation import validated, with_plain_numbers
from opsicm.experiment.yaml_file import Document, read_yaml, yaml_document, yaml_text


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment and the file that it was read from, so that later problems can cite a line."""

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
            limit, remedy = error.problems[0].limit, error.problems[0].remedy
            raise BadInput(self.problem(("rig",), self.experiment.rig, limit, remedy)) from None


def read_experiment(path: Path | str) -> LoadedExperiment:
    """Read an experiment file; raises `BadInput` with every problem in it."""
    return _loaded(read_yaml(path))


def experiment_from_text(text: str, name: str = "<text>") -> LoadedExperiment:
    """Read an experiment from a text."""
    return _loaded(yaml_document(text, name))


def to_yaml(experiment: Experiment) -> str:
    """The experiment as a file with its defaults written out, so that it keeps its meaning when a default changes.

    `twin` is left out when all of it is default, since a real rig refuses the key.
    """
    data = experiment.model_dump(mode="json", exclude_none=True)
    if experiment.twin == TwinSettings():
        del data["twin"]
    if not experiment.vary:
        del data["vary"]
    return yaml_text(data)


def _loaded(document: Document) -> LoadedExperiment:
    document = with_plain_numbers(document, Experiment)
    try:
        return LoadedExperiment(validated(document, Experiment), document)
    except BadInput as error:
        problems = [*error.problems, *_rig_problems(document)]
        raise BadInput(
            sorted(problems, key=lambda problem: math.inf if problem.line is None else problem.line)
        ) from None


def _rig_problems(document: Document) -> list[Problem]:
    """Problems with the `rig` of a file that has other problems too, so that all are reported at once."""
    name = document.data.get("rig")
    if not isinstance(name, str) or not name:
        return []
    try:
        path = rig_path(name, Path(document.name).parent)
    except BadInput as error:
        return [document.problem(("rig",), name, p.limit, p.remedy) for p in error.problems]
    if path.is_file():
        return []
    return [document.problem(("rig",), name, "there is no such file", "check the spelling and the folder")]


# -- Experiment files that come with the package.


EXPERIMENTS: Final = Path(__file__).parent.parent / "experiments"


def experiment_path(name: str) -> Path:
    """The file of a packaged experiment, as `short/e09_height_during_voltammogram.yaml`."""
    return EXPERIMENTS / name
