"""What the runner gets from layers above it: the check of a setting changed during a run, and image registration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from opsicm.analysis.topography.registration import register
from opsicm.cli.rigs import rig_numbers
from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.data_files import amplitude_maps
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_steps import ApproachingStep
from opsicm.experiment.program import written_steps
from opsicm.experiment.rig_file import LoadedRig
from opsicm.forecast.prediction import predict
from opsicm.forecast.problems import problems


class Revisions:
    """Changes of a step's hop parameters during a run, checked as `check` would check the changed experiment file."""

    def __init__(self, loaded: LoadedExperiment, rig: LoadedRig, seed: int | None = None) -> None:
        self._loaded = loaded
        self._rig = rig
        self._seed = seed

    def __call__(self, path: str, key: str, value: float) -> HopParameters:
        """The hop parameters of the step at `path` with `key` set to `value`; raises `BadInput` if refused."""
        data = self._loaded.experiment.model_dump(mode="json", exclude_unset=True)
        settings = next(placed.step for placed in written_steps("probe", data["probe"]) if placed.path == path)
        if key not in settings:
            raise BadInput(Problem(f"probe.{key}", f"{value:g}", f"{path} has no {key}", "set one of its own keys"))
        settings[key] = value
        try:
            changed = replace(self._loaded, experiment=Experiment.model_validate(data))
        except ValidationError as error:
            limit = "; ".join(str(detail["msg"]) for detail in error.errors())
            raise BadInput(Problem(f"probe.{key}", f"{value:g}", limit, "set another value")) from None
        numbers = rig_numbers(changed, self._rig, self._seed)
        refused = problems(changed, numbers, predict(changed.experiment, numbers, amplitude_maps(changed)))
        if refused:
            raise BadInput([replace(problem, file=None, line=None) for problem in refused])
        self._loaded = changed
        step = next(placed.step for placed in written_steps("probe", changed.experiment.probe) if placed.path == path)
        assert isinstance(step, ApproachingStep), "only such a step has hop parameters"
        return changed.experiment.hop_parameters(step)


def shift_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """(rows, columns) [px] by which `second` is shifted against `first`."""
    shift = register(first, second)
    return shift.dy, shift.dx
