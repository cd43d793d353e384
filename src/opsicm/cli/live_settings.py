"""What the runner needs from layers above it: the judgement of a change while a step runs, and image registration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from opsicm.analysis.topography.registration import register
from opsicm.cli.rigs import rig_numbers
from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import ApproachingStep
from opsicm.experiment.program import written_steps
from opsicm.experiment.rig_file import LoadedRig
from opsicm.forecast.prediction import predict
from opsicm.forecast.problems import problems


class Revisions:
    """Changes of how a step hops, judged as `check` judges the file: the experiment as it would then read."""

    def __init__(self, loaded: LoadedExperiment, rig: LoadedRig) -> None:
        self._loaded = loaded
        self._rig = rig

    def __call__(self, path: str, key: str, value: float) -> HopParameters:
        """How the step at `path` hops with `key` at `value`, and from now on; raises `BadInput` where it may not."""
        data = self._loaded.experiment.model_dump(mode="json", exclude_unset=True)
        settings = next(placed.step for placed in written_steps("probe", data["probe"]) if placed.path == path)
        if key not in settings:
            raise BadInput(Problem(f"probe.{key}", f"{value:g}", f"{path} has no {key}", "set what it has"))
        settings[key] = value
        try:
            changed = replace(self._loaded, experiment=Experiment.model_validate(data))
        except ValidationError as error:
            limit = "; ".join(str(detail["msg"]) for detail in error.errors())
            raise BadInput(Problem(f"probe.{key}", f"{value:g}", limit, "set another value")) from None
        numbers = rig_numbers(changed, self._rig)
        refused = problems(changed, numbers, predict(changed.experiment, numbers))
        if refused:
            raise BadInput([replace(problem, file=None, line=None) for problem in refused])
        self._loaded = changed
        step = next(placed.step for placed in written_steps("probe", changed.experiment.probe) if placed.path == path)
        assert isinstance(step, ApproachingStep), "it has a key of how it hops"
        return changed.experiment.hop_parameters(step)


def shift_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """(rows, columns) by which the pattern of `second` lies beside that of `first` [px]."""
    shift = register(first, second)
    return shift.dy, shift.dx
